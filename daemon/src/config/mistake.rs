//! What is wrong with a configuration, and where it says so.

use std::fmt;
use std::path::PathBuf;

use super::ENVIRONMENT_PREFIX;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A command line flag.
    Flag,
    /// An environment variable.
    Environment,
    /// The configuration file.
    File(PathBuf),
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// A value that can't be taken.
    Invalid {
        /// The setting.
        setting: String,
        /// Where its value came from.
        origin: Origin,
        /// The value as it was written.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting without a default was not given.
    Missing {
        /// The setting.
        setting: String,
    },
    /// A name that no setting has.
    Unknown {
        /// As it was written.
        setting: String,
        /// Where it stands.
        origin: Origin,
        /// The setting whose name is nearest, if one is near.
        nearest: Option<String>,
    },
    /// The file itself can't be read or is not TOML.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Every mistake of a configuration, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

/// The name of a setting's environment variable.
pub(super) fn variable(setting: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", setting.replace('-', "_").to_ascii_uppercase())
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { setting, origin, value, problem } => match origin {
                Origin::Flag => write!(f, "--{setting} {value:?}: {problem}"),
                Origin::Environment => write!(f, "{}={value:?}: {problem}", variable(setting)),
                Origin::File(path) => write!(f, "{}: {setting} = {value:?}: {problem}", path.display()),
            },
            Self::Missing { setting } => write!(
                f,
                "{setting} is not set: give --{setting}, {} or {setting} in the configuration file",
                variable(setting)
            ),
            Self::Unknown { setting, origin, nearest } => {
                match origin {
                    Origin::Flag => write!(f, "--{setting}: there is no such setting")?,
                    Origin::Environment => write!(f, "{}: there is no such setting", variable(setting))?,
                    Origin::File(path) => write!(f, "{}: {setting}: there is no such setting", path.display())?,
                }
                nearest.as_ref().map_or(Ok(()), |nearest| write!(f, " (did you mean {nearest}?)"))
            }
            Self::File { path, problem } => write!(f, "{}: {problem}", path.display()),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}
