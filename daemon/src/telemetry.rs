//! What the process says of itself: events on standard error, as text or JSON.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// Which events are told unless configured otherwise: ours from `info`, those of libraries from `warn`.
const FILTER_DEFAULT: &str = "warn,hearth=info,hearth_frontend=info,hearth_worker_manager=info,hearth_placement=info,\
hearth_worker=info,hearth_microvm=info,hearth_store=info,hearth_protocol=info,hearth_daemon=info";

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which events are told: directives such as `info` or `warn,hearth_worker=debug`
/// (tracing-subscriber, `EnvFilter`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Telemetry was started already; a process has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("telemetry was started already")]
pub struct AlreadyStarted;

/// Starts to write the process's events to standard error.
pub fn start(format: LogFormat, filter: &LogFilter) -> Result<(), AlreadyStarted> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&filter.0))
        .with_writer(std::io::stderr)
        .with_ansi(format == LogFormat::Text && std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| AlreadyStarted)
}

impl Default for LogFilter {
    fn default() -> Self {
        Self(FILTER_DEFAULT.to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("{error}; write info, or warn,hearth_worker=debug")),
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("use text or json".into()),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_formats_are_checked_before_anything_starts() {
        assert!(LogFilter::default().0.parse::<LogFilter>().is_ok());
        assert!("warn,hearth_worker=debug".parse::<LogFilter>().is_ok());
        assert!("hearth_worker=loud".parse::<LogFilter>().is_err());
        assert_eq!("json".parse::<LogFormat>(), Ok(LogFormat::Json));
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
