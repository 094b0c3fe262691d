//! Runtimes: what starts a function's code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::InvalidId;

/// A runtime that Hearth knows how to start. Whether a worker offers it depends on what its host or its images have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Runtime {
    /// `provided`, `provided.al2`, `provided.al2023`: the bundle's own `bootstrap` executable.
    Provided(ProvidedOs),
    /// `python3.N`.
    Python {
        /// The `N`.
        minor: u8,
    },
    /// `nodejsN.x`.
    Nodejs {
        /// The `N`.
        major: u8,
    },
    /// `rubyM.N`.
    Ruby {
        /// The `M`.
        major: u8,
        /// The `N`.
        minor: u8,
    },
    /// `javaN`.
    Java {
        /// The `N`.
        major: u8,
    },
}

/// Which of the three names of the custom runtime was asked for. All start the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProvidedOs {
    /// `provided`
    Al1,
    /// `provided.al2`
    Al2,
    /// `provided.al2023`
    Al2023,
}

/// What starts the code: runtimes of one family share their bootstrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RuntimeFamily {
    /// A `bootstrap` executable.
    Provided,
    /// CPython with our bootstrap.
    Python,
    /// Node.js with our bootstrap.
    Nodejs,
    /// Ruby with our bootstrap.
    Ruby,
    /// A Java virtual machine with our bootstrap.
    Java,
}

impl Runtime {
    /// The family.
    #[must_use]
    pub const fn family(self) -> RuntimeFamily {
        match self {
            Self::Provided(_) => RuntimeFamily::Provided,
            Self::Python { .. } => RuntimeFamily::Python,
            Self::Nodejs { .. } => RuntimeFamily::Nodejs,
            Self::Ruby { .. } => RuntimeFamily::Ruby,
            Self::Java { .. } => RuntimeFamily::Java,
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provided(ProvidedOs::Al1) => f.write_str("provided"),
            Self::Provided(ProvidedOs::Al2) => f.write_str("provided.al2"),
            Self::Provided(ProvidedOs::Al2023) => f.write_str("provided.al2023"),
            Self::Python { minor } => write!(f, "python3.{minor}"),
            Self::Nodejs { major } => write!(f, "nodejs{major}.x"),
            Self::Ruby { major, minor } => write!(f, "ruby{major}.{minor}"),
            Self::Java { major } => write!(f, "java{major}"),
        }
    }
}

impl FromStr for Runtime {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let number = |text: &str| (!text.starts_with(['0', '+'])).then(|| text.parse::<u8>().ok()).flatten();
        let minor = |text: &str| if text == "0" { Some(0) } else { number(text) };
        let runtime = match value {
            "provided" => Some(Self::Provided(ProvidedOs::Al1)),
            "provided.al2" => Some(Self::Provided(ProvidedOs::Al2)),
            "provided.al2023" => Some(Self::Provided(ProvidedOs::Al2023)),
            _ => None,
        };
        let python = || Some(Self::Python { minor: number(value.strip_prefix("python3.")?)? });
        let nodejs = || Some(Self::Nodejs { major: number(value.strip_prefix("nodejs")?.strip_suffix(".x")?)? });
        let ruby = || {
            let (major, after) = value.strip_prefix("ruby")?.split_once('.')?;
            Some(Self::Ruby { major: number(major)?, minor: minor(after)? })
        };
        let java = || Some(Self::Java { major: number(value.strip_prefix("java")?)? });
        runtime.or_else(python).or_else(nodejs).or_else(ruby).or_else(java).ok_or_else(|| InvalidId {
            kind: "runtime",
            value: value.chars().take(200).collect(),
            rule: "provided, provided.al2, provided.al2023, python3.N, nodejsN.x, rubyM.N or javaN",
        })
    }
}

impl TryFrom<String> for Runtime {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<Runtime> for String {
    fn from(value: Runtime) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_round_trip() {
        for text in [
            "provided",
            "provided.al2",
            "provided.al2023",
            "python3.11",
            "python3.9",
            "nodejs20.x",
            "ruby3.1",
            "ruby4.0",
            "java17",
            "java25",
        ] {
            assert_eq!(text.parse::<Runtime>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "python",
            "python3.",
            "python3.011",
            "python2.7",
            "nodejs",
            "nodejs20",
            "nodejs.x",
            "go1.x",
            "ruby3",
            "ruby.1",
            "ruby3.01",
            "java",
            "java8.al2",
            "java017",
        ] {
            assert!(text.parse::<Runtime>().is_err(), "{text:?} was taken for a runtime");
        }
    }
}
