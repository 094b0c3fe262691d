//! From text to typed values.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::layers::Layers;
use super::mistake::{Mistake, Mistakes};
use super::value::DurationText;

/// Reads settings one by one. A mistake never ends the reading; [`Self::finish`] tells all of them.
#[derive(Debug)]
pub struct Reader {
    layers: Layers,
    known: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn new(mut layers: Layers) -> Self {
        let mistakes = layers.take_mistakes();
        Self { layers, known: BTreeSet::new(), mistakes }
    }

    /// A setting that may be left out. `None` also after a mistake.
    pub fn optional<T>(&mut self, setting: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.known.insert(setting.to_owned());
        let (text, _) = self.layers.get(setting)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(problem) => {
                self.reject(setting, problem.to_string());
                None
            }
        }
    }

    /// A setting with a default.
    pub fn or<T>(&mut self, setting: &str, default: T) -> T
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.optional(setting).unwrap_or(default)
    }

    /// A setting that must be given. `None` only after a mistake.
    pub fn required<T>(&mut self, setting: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        if self.layers.get(setting).is_none() {
            self.known.insert(setting.to_owned());
            self.mistakes.push(Mistake::Missing { setting: setting.to_owned() });
            return None;
        }
        self.optional(setting)
    }

    /// A duration with its unit, such as `500ms`, `30s`, `10m`, `1h`.
    pub fn duration_or(&mut self, setting: &str, default: Duration) -> Duration {
        self.optional::<DurationText>(setting).map_or(default, |DurationText(duration)| duration)
    }

    /// A list: `a,b` in flags and environment, `["a", "b"]` in the file. Empty if not given.
    pub fn list<T>(&mut self, setting: &str) -> Vec<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.known.insert(setting.to_owned());
        let text = self.layers.get(setting).map(|(text, _)| text.to_owned()).unwrap_or_default();
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let parse = |item: &str| item.parse::<T>().map_err(|problem| format!("{item:?}: {problem}"));
        match items.map(parse).collect() {
            Ok(values) => values,
            Err(problem) => {
                self.reject(setting, problem);
                Vec::new()
            }
        }
    }

    /// Notes that a value which parsed is wrong nevertheless (together with others, say).
    pub fn reject(&mut self, setting: &str, problem: impl Into<String>) {
        let mistake = match self.layers.get(setting) {
            Some((value, origin)) => Mistake::Invalid {
                setting: setting.to_owned(),
                origin,
                value: value.to_owned(),
                problem: problem.into(),
            },
            None => Mistake::Missing { setting: setting.to_owned() },
        };
        self.mistakes.push(mistake);
    }

    /// Names that are no mistake although this process does not read them: the settings of other roles in a file they
    /// share, the variables of the client commands.
    pub fn also_known(&mut self, settings: &[&str]) {
        self.known.extend(settings.iter().map(|&setting| setting.to_owned()));
    }

    /// The configuration, if there was no mistake. `config` is `None` only where [`Self::required`] gave `None`.
    pub fn finish<T>(mut self, config: Option<T>) -> Result<T, Mistakes> {
        let unknown = self.layers.names().filter(|(name, _)| !self.known.contains(*name));
        let unknown: Vec<_> = unknown
            .map(|(name, origin)| {
                let nearest = self.known.iter().find(|known| near(name, known)).cloned();
                Mistake::Unknown { setting: name.to_owned(), origin, nearest }
            })
            .collect();
        self.mistakes.extend(unknown);
        match config {
            Some(config) if self.mistakes.is_empty() => Ok(config),
            _ => Err(Mistakes(self.mistakes)),
        }
    }
}

/// One letter missing, extra, or different, or one name the beginning of the other.
fn near(written: &str, known: &str) -> bool {
    if written.len() >= 4 && known.starts_with(written) {
        return true;
    }
    let (short, long) = if written.len() <= known.len() { (written, known) } else { (known, written) };
    let same_start = short.bytes().zip(long.bytes()).take_while(|(a, b)| a == b).count();
    let same_end = short.bytes().rev().zip(long.bytes().rev()).take_while(|(a, b)| a == b).count();
    long.len() - short.len() <= 1 && same_start + same_end + 1 >= long.len()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn flags_go_before_environment_before_file_before_default() {
        let file = "pool-size = 3\nlisten = \"127.0.0.1:3\"\n[log]\nformat = \"json\"\n";
        let layers = Layers::new()
            .with_flag("pool-size", Some("1"))
            .with_flag("listen", None::<String>)
            .with_environment(variables(&[("HEARTH_POOL_SIZE", "2"), ("HEARTH_LISTEN", "127.0.0.1:2"), ("PATH", "/")]))
            .with_file_text(Path::new("hearth.toml"), file);
        let mut reader = layers.reader();
        assert_eq!(reader.or("pool-size", 9), 1);
        assert_eq!(reader.required::<SocketAddr>("listen").unwrap().port(), 2);
        assert_eq!(reader.or("log-format", "text".to_owned()), "json");
        assert_eq!(reader.or("region", "us-east-1".to_owned()), "us-east-1");
        assert_eq!(reader.finish(Some(())), Ok(()));
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_its_source() {
        let layers = Layers::new()
            .with_flag("listen", Some("nowhere"))
            .with_environment(variables(&[("HEARTH_POOL_SIZE", "many"), ("HEARTH_POLL_SIZE", "1")]))
            .with_file_text(
                Path::new("/etc/hearth.toml"),
                "grace = \"5 parsecs\"\nruntimes = [\"a\", [1]]\ndata-dri = \"/x\"\n",
            );
        let mut reader = layers.reader();
        let listen = reader.required::<SocketAddr>("listen");
        let pool = reader.or("pool-size", 1_u32);
        let grace = reader.duration_or("grace", Duration::from_secs(30));
        let placement = reader.required::<String>("placement-url");
        let data_dir = reader.or("data-dir", "/var/lib/hearth".to_owned());
        let runtimes = reader.list::<String>("runtimes");
        let config = (|| Some((listen?, pool, grace, placement?, data_dir, runtimes)))();
        let told = reader.finish(config).unwrap_err().to_string();
        let expected = "\
/etc/hearth.toml: runtimes = \"[…]\": a list may hold texts, numbers and true or false only
--listen \"nowhere\": invalid socket address syntax
HEARTH_POOL_SIZE=\"many\": invalid digit found in string
/etc/hearth.toml: grace = \"5 parsecs\": write a number and ms, s, m or h, such as 500ms or 30s
placement-url is not set: give --placement-url, HEARTH_PLACEMENT_URL or placement-url in the configuration file
HEARTH_POLL_SIZE: there is no such setting (did you mean pool-size?)
/etc/hearth.toml: data-dri: there is no such setting";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_broken_or_missing_file_is_a_mistake_among_the_others() {
        let mut reader = Layers::new()
            .with_flag("pool-size", Some("x"))
            .with_file_text(Path::new("hearth.toml"), "listen = \n")
            .reader();
        let _ = reader.or("pool-size", 1_u32);
        let Mistakes(mistakes) = reader.finish(Some(())).unwrap_err();
        assert!(
            matches!(&mistakes[..], [Mistake::File { problem, .. }, Mistake::Invalid { .. }] if problem.contains("line 1"))
        );
        let reader = Layers::new().with_file(Path::new("/nonexistent/hearth.toml")).reader();
        let told = reader.finish(Some(())).unwrap_err().to_string();
        assert!(told.starts_with("/nonexistent/hearth.toml: can't be read: No such file"), "{told}");
    }

    #[test]
    fn values_that_clash_are_rejected_where_they_stand_and_known_names_are_left_alone() {
        let variables = variables(&[("HEARTH_LOW", "5"), ("HEARTH_ENDPOINT", "http://x")]);
        let mut reader = Layers::new().with_environment(variables).reader();
        reader.also_known(&["endpoint"]);
        let (low, high) = (reader.or("low", 1_u32), reader.or("high", 2_u32));
        if low > high {
            reader.reject("low", format!("must be at most high ({high})"));
        }
        let told = reader.finish(Some(())).unwrap_err().to_string();
        assert_eq!(told, "HEARTH_LOW=\"5\": must be at most high (2)");
    }

    #[test]
    fn lists_come_from_text_and_from_arrays() {
        let mut reader = Layers::new().with_flag("ports", Some("1, 2")).reader();
        assert_eq!(reader.list::<u16>("ports"), [1, 2]);
        let mut reader = Layers::new().with_file_text(Path::new("f"), "ports = [3, 4]").reader();
        assert_eq!(reader.list::<u16>("ports"), [3, 4]);
        let mut reader = Layers::new().with_flag("ports", Some("1,x")).reader();
        assert_eq!(reader.list::<u16>("ports"), [0_u16; 0]);
        assert_eq!(
            reader.finish(Some(())).unwrap_err().to_string(),
            "--ports \"1,x\": \"x\": invalid digit found in string"
        );
    }
}
