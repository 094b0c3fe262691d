//! `LoggingConfig`, as CreateFunction and UpdateFunctionConfiguration give it. The service model's constraints hold
//! already ([`crate::model`]).

use hearth_domain::{FunctionName, LogFormat, LogGroup, LogLevel, Logging};
use serde::Deserialize;

/// Both levels of a function that names none (AWS Lambda developer guide, "Log-level filtering").
const LEVEL_DEFAULT: LogLevel = LogLevel::Info;

/// What is `None` was not given.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LoggingConfig {
    log_format: Option<String>,
    application_log_level: Option<String>,
    system_log_level: Option<String>,
    log_group: Option<String>,
}

/// Well formed, and still not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoggingError {
    /// Only JSON lines say which level they have.
    #[error("Log levels can be set only with LogFormat JSON.")]
    LevelOfText,
    /// Its name is too long for us.
    #[error("The log group {0} can't be used: Hearth has names of at most 254 characters.")]
    Group(String),
}

impl LoggingConfig {
    /// What the function `name` has from now on. What is not given stays; text has no levels.
    pub(super) fn applied(&self, before: &Logging, name: &FunctionName) -> Result<Logging, LoggingError> {
        let format = parsed(&self.log_format).unwrap_or(before.format);
        let levels = [parsed::<LogLevel>(&self.application_log_level), parsed(&self.system_log_level)];
        if format == LogFormat::Text && levels.iter().any(Option::is_some) {
            return Err(LoggingError::LevelOfText);
        }
        let [application_level, system_level] = levels;
        let level = |given: Option<LogLevel>, before: Option<LogLevel>| {
            (format == LogFormat::Json).then(|| given.or(before).unwrap_or(LEVEL_DEFAULT))
        };
        let group = match &self.log_group {
            None => before.group.clone(),
            Some(group) => {
                let group = LogGroup::new(group).map_err(|_| LoggingError::Group(group.clone()))?;
                Some(group).filter(|group| *group != LogGroup::of_function(name))
            }
        };
        Ok(Logging {
            format,
            application_level: level(application_level, before.application_level),
            system_level: level(system_level, before.system_level),
            group,
        })
    }
}

/// What a check has found good before.
fn parsed<T: std::str::FromStr>(text: &Option<String>) -> Option<T> {
    text.as_ref().and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(json: &str, before: &Logging) -> Result<Logging, LoggingError> {
        let config: LoggingConfig = serde_json::from_str(json).unwrap();
        config.applied(before, &FunctionName::new("hello").unwrap())
    }

    #[test]
    fn json_has_levels_and_text_has_none() {
        let json = applied(r#"{"LogFormat":"JSON","SystemLogLevel":"WARN"}"#, &Logging::default()).unwrap();
        assert_eq!((json.application_level, json.system_level), (Some(LogLevel::Info), Some(LogLevel::Warn)));
        let louder = applied(r#"{"ApplicationLogLevel":"TRACE"}"#, &json).unwrap();
        assert_eq!((louder.application_level, louder.system_level), (Some(LogLevel::Trace), Some(LogLevel::Warn)));
        assert_eq!(applied(r#"{"LogFormat":"Text"}"#, &louder), Ok(Logging::default()));
        assert_eq!(applied(r#"{"SystemLogLevel":"WARN"}"#, &Logging::default()), Err(LoggingError::LevelOfText));
    }

    #[test]
    fn a_function_writes_to_its_own_group_or_to_another() {
        let other = applied(r#"{"LogGroup":"shared"}"#, &Logging::default()).unwrap();
        assert_eq!(other.group, LogGroup::new("shared").ok());
        assert_eq!(applied(r#"{"LogFormat":"Text"}"#, &other).unwrap().group, other.group);
        assert_eq!(applied(r#"{"LogGroup":"/aws/lambda/hello"}"#, &other), Ok(Logging::default()));
        let long = format!(r#"{{"LogGroup":"{}"}}"#, "x".repeat(300));
        assert!(matches!(applied(&long, &other), Err(LoggingError::Group(_))));
    }
}
