//! How a function's log is written, and where (AWS: CreateFunction, `LoggingConfig`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{FunctionName, InvalidId, LogGroup};

/// `LoggingConfig` of a function version. The default is what a function that says nothing has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logging {
    /// `LogFormat`
    pub format: LogFormat,
    /// `ApplicationLogLevel`: the least that the function's own lines say. Only with [`LogFormat::Json`].
    pub application_level: Option<LogLevel>,
    /// `SystemLogLevel`: the least that the platform's lines say. Only with [`LogFormat::Json`].
    pub system_level: Option<LogLevel>,
    /// `LogGroup`, where it is not the function's own.
    pub group: Option<LogGroup>,
}

impl Logging {
    /// The group that the lines of the function `name` go to.
    #[must_use]
    pub fn group_of(&self, name: &FunctionName) -> LogGroup {
        self.group.clone().unwrap_or_else(|| LogGroup::of_function(name))
    }
}

/// `LogFormat`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LogFormat {
    /// Lines as they are written.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

impl LogFormat {
    /// As AWS spells it, in the API and in `AWS_LAMBDA_LOG_FORMAT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Json => "JSON",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LogFormat {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let known = [Self::Text, Self::Json].into_iter().find(|format| format.name() == value);
        known.ok_or_else(|| InvalidId::new("log format", value, "Text or JSON"))
    }
}

/// How much a line matters, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LogLevel {
    /// `TRACE`
    Trace,
    /// `DEBUG`
    Debug,
    /// `INFO`
    Info,
    /// `WARN`
    Warn,
    /// `ERROR`
    Error,
    /// `FATAL`
    Fatal,
}

impl LogLevel {
    /// All, least first.
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// As AWS spells it, in the API and in `AWS_LAMBDA_LOG_LEVEL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LogLevel {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let known = Self::ALL.into_iter().find(|level| level.name() == value);
        known.ok_or_else(|| InvalidId::new("log level", value, "TRACE, DEBUG, INFO, WARN, ERROR or FATAL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for level in LogLevel::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert_eq!("JSON".parse(), Ok(LogFormat::Json));
        assert!("json".parse::<LogFormat>().is_err());
        assert!(LogLevel::Debug < LogLevel::Warn);
    }

    #[test]
    fn a_function_has_a_group_of_its_own_unless_it_names_one() {
        let name = FunctionName::new("hello").unwrap();
        assert_eq!(Logging::default().group_of(&name).as_str(), "/aws/lambda/hello");
        let shared = Logging { group: LogGroup::new("my/group").ok(), ..Logging::default() };
        assert_eq!(shared.group_of(&name).as_str(), "my/group");
    }
}
