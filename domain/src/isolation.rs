//! How execution environments are separated from their host and from each other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::InvalidId;

/// A kind of separation, weakest first: of two, the greater holds more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Isolation {
    /// A process with resource limits: no security boundary.
    Process,
    /// Namespaces, cgroups and seccomp on the host's kernel.
    Jail,
    /// A microVM with a kernel of its own.
    Kvm,
}

impl Isolation {
    /// Every kind, weakest first.
    pub const ALL: [Self; 3] = [Self::Process, Self::Jail, Self::Kvm];

    /// Its name on the wire, in tags and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Jail => "jail",
            Self::Kvm => "kvm",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Isolation {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == value).ok_or_else(|| InvalidId {
            kind: "isolation",
            value: value.chars().take(200).collect(),
            rule: "process, jail or kvm",
        })
    }
}

impl TryFrom<String> for Isolation {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<Isolation> for String {
    fn from(value: Isolation) -> Self {
        value.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_kind_is_greater_and_names_round_trip() {
        assert!(Isolation::Kvm > Isolation::Jail && Isolation::Jail > Isolation::Process);
        for kind in Isolation::ALL {
            assert_eq!(kind.as_str().parse::<Isolation>().unwrap(), kind);
        }
        assert!("vm".parse::<Isolation>().is_err());
    }
}
