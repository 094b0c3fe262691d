//! Under what conditions a job ran, for the head of a report: figures mean little without.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hearth_frontend::calendar;

/// Processors, kernel and load, in one line.
#[must_use]
pub fn describe() -> String {
    format!("{}, load {}", name(), load())
}

/// Processors, kernel and memory.
#[must_use]
pub fn name() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    format!(
        "{cpus} × {}, {:.1} GiB, Linux {}",
        model.map_or("CPU", |(_, name)| name.trim()),
        kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1_048_576.0,
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// Processes that ran or wanted to, in the mean of the last minute.
#[must_use]
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("?").to_owned()
}

/// A run of a job that has begun.
#[derive(Debug)]
pub struct Run {
    date: String,
    load: String,
    begun: Instant,
}

impl Run {
    /// Now.
    #[must_use]
    pub fn begin() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = calendar::iso_8601(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        Self { date, load: load(), begun: Instant::now() }
    }

    /// What is to be told of it, now that it has ended: names and values.
    #[must_use]
    pub fn end(self) -> Vec<(&'static str, String)> {
        let commit = option_env!("HEARTH_COMMIT").filter(|commit| !commit.is_empty());
        let commit = commit.map_or(String::new(), |commit| format!(" ({commit})"));
        let build = if cfg!(debug_assertions) { "; a debug build: slow" } else { "" };
        vec![
            ("machine", name()),
            ("load", format!("{} before, {} after", self.load, load())),
            ("date", self.date),
            ("took", format!("{:.0} s", self.begun.elapsed().as_secs_f64())),
            ("hearth", format!("{}{commit}{build}", env!("CARGO_PKG_VERSION"))),
            ("command", command()),
        ]
    }
}

/// As it was typed, but for the program's folder.
fn command() -> String {
    let rest = std::env::args().skip(1).map(|argument| format!(" {argument}"));
    format!("hearth bench{}", rest.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_told() {
        let facts = Run::begin().end();
        assert!(facts.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{facts:?}");
        assert!(name().contains("Linux ") && load().parse::<f64>().is_ok());
    }
}
