//! The three layers as they were given: text by setting, nothing read into it yet.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::mistake::{Mistake, Origin};
use super::reader::Reader;
use super::{ENVIRONMENT_PREFIX, FILE_MAX_BYTES};

/// Flags, environment and file, to be read by a [`Reader`].
#[derive(Debug, Default)]
pub struct Layers {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    path: PathBuf,
    mistakes: Vec<Mistake>,
}

impl Layers {
    /// No layer says anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a flag, if it was given.
    #[must_use]
    pub fn with_flag(mut self, setting: &str, value: Option<impl Into<String>>) -> Self {
        if let Some(value) = value {
            self.flags.insert(setting.to_owned(), value.into());
        }
        self
    }

    /// Adds those of the process's environment variables that are ours.
    #[must_use]
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in variables {
            let Some(setting) = name.to_str().and_then(|name| name.strip_prefix(ENVIRONMENT_PREFIX)) else { continue };
            let setting = setting.replace('_', "-").to_ascii_lowercase();
            match value.into_string() {
                Ok(value) => drop(self.environment.insert(setting, value)),
                Err(value) => self.mistakes.push(Mistake::Invalid {
                    setting,
                    origin: Origin::Environment,
                    value: value.to_string_lossy().into_owned(),
                    problem: "is not UTF-8".into(),
                }),
            }
        }
        self
    }

    /// Reads the configuration file. That it can't be read is a mistake like any other.
    #[must_use]
    pub fn with_file(mut self, path: &Path) -> Self {
        match read_bounded(path) {
            Ok(text) => self.with_file_text(path, &text),
            Err(problem) => {
                self.mistakes.push(Mistake::File { path: path.to_owned(), problem });
                self
            }
        }
    }

    /// Takes `text` for what stands in the file at `path`.
    #[must_use]
    pub fn with_file_text(mut self, path: &Path, text: &str) -> Self {
        self.path = path.to_owned();
        match text.parse::<toml::Table>() {
            Ok(table) => self.flatten("", table),
            Err(error) => {
                let problem = format!("is not TOML: {}", error.to_string().trim_end());
                self.mistakes.push(Mistake::File { path: path.to_owned(), problem });
            }
        }
        self
    }

    /// Begins to read.
    #[must_use]
    pub fn reader(self) -> Reader {
        Reader::new(self)
    }

    /// `[pool] size = 2` is `pool-size = 2`.
    fn flatten(&mut self, prefix: &str, table: toml::Table) {
        for (key, value) in table {
            let setting = format!("{prefix}{}", key.replace('_', "-"));
            let taken = match value {
                toml::Value::Table(inner) => {
                    self.flatten(&format!("{setting}-"), inner);
                    continue;
                }
                toml::Value::Array(items) => {
                    items.into_iter().map(scalar).collect::<Option<Vec<_>>>().map(|all| all.join(","))
                }
                scalar_value => scalar(scalar_value),
            };
            match taken {
                Some(text) => drop(self.file.insert(setting, text)),
                None => self.mistakes.push(Mistake::Invalid {
                    setting,
                    origin: Origin::File(self.path.clone()),
                    value: "[…]".into(),
                    problem: "a list may hold texts, numbers and true or false only".into(),
                }),
            }
        }
    }

    /// The value that counts for `setting`: the first layer that has one.
    pub(super) fn get(&self, setting: &str) -> Option<(&str, Origin)> {
        let flag = self.flags.get(setting).map(|text| (text.as_str(), Origin::Flag));
        let variable = || self.environment.get(setting).map(|text| (text.as_str(), Origin::Environment));
        let entry = || self.file.get(setting).map(|text| (text.as_str(), Origin::File(self.path.clone())));
        flag.or_else(variable).or_else(entry)
    }

    /// Every name that some layer gives a value.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Origin)> {
        let flags = self.flags.keys().map(|name| (name.as_str(), Origin::Flag));
        let variables = self.environment.keys().map(|name| (name.as_str(), Origin::Environment));
        flags.chain(variables).chain(self.file.keys().map(|name| (name.as_str(), Origin::File(self.path.clone()))))
    }

    /// The mistakes of the layers themselves.
    pub(super) fn take_mistakes(&mut self) -> Vec<Mistake> {
        std::mem::take(&mut self.mistakes)
    }
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(time) => Some(time.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("can't be read: {error}");
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)).map_err(told)?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_MAX_BYTES) {
        return Err(format!("is larger than {FILE_MAX_BYTES} bytes"));
    }
    Ok(text)
}
