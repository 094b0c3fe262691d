//! Identifiers. Each is a type of its own and is validated once, where it enters.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A string that is not a valid identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} {value:?}: {rule}")]
pub struct InvalidId {
    /// Which identifier was asked for.
    pub kind: &'static str,
    /// What was given, cut to 200 characters.
    pub value: String,
    /// What a valid one looks like.
    pub rule: &'static str,
}

impl InvalidId {
    pub(crate) fn new(kind: &'static str, value: &str, rule: &'static str) -> Self {
        Self { kind, value: value.chars().take(200).collect(), rule }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `value` against the rule and takes it.
            pub fn new(value: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(value) { Ok(Self(Arc::from(value))) } else { Err(InvalidId::new($kind, value, $rule)) }
            }

            /// The identifier as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, InvalidId> {
                Self::new(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(value: String) -> Result<Self, InvalidId> {
                Self::new(&value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }
    };
}

fn is_token(value: &str, max: usize) -> bool {
    !value.is_empty()
        && value.len() <= max
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

text_id!(
    /// An account: twelve decimal digits, as at AWS.
    AccountId, "account id", "twelve decimal digits", |v| v.len() == 12 && v.bytes().all(|b| b.is_ascii_digit())
);
text_id!(
    /// The bare name of a function: 1–64 of letters, digits, `-` and `_`
    /// (AWS: CreateFunction, `FunctionName`).
    FunctionName, "function name", "1 to 64 letters, digits, hyphens and underscores", |v| (1..=64).contains(&v.len())
        && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
);
text_id!(
    /// The name of an alias: 1–128 of letters, digits, `-` and `_`, not digits only, which would be a version
    /// (AWS: CreateAlias, `Name`).
    AliasName, "alias name", "1 to 128 letters, digits, hyphens and underscores, not digits only",
        |v| (1..=128).contains(&v.len())
            && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !v.bytes().all(|b| b.is_ascii_digit())
);
text_id!(
    /// One request through the public API, from reply header to log line; a UUID in practice.
    RequestId, "request id", "1 to 64 letters, digits, and any of - _ . :", |v| is_token(v, 64)
);
text_id!(
    /// Changes whenever a version's code or configuration changes; a UUID in practice.
    RevisionId, "revision id", "1 to 64 letters, digits, and any of - _ . :", |v| is_token(v, 64)
);
text_id!(
    /// A worker, unique in its fleet and stable over its restarts.
    WorkerId, "worker id", "1 to 128 letters, digits, and any of - _ . :", |v| is_token(v, 128)
);
text_id!(
    /// Who holds a lease: a worker manager, unique in its fleet and stable over its restarts.
    HolderId, "holder id", "1 to 128 letters, digits, and any of - _ . :", |v| is_token(v, 128)
);
text_id!(
    /// One claim of one holder; claiming again with the same id creates nothing new.
    ClaimId, "claim id", "1 to 64 letters, digits, and any of - _ . :", |v| is_token(v, 64)
);
text_id!(
    /// A log group (CloudWatch Logs: CreateLogGroup, `logGroupName`). AWS allows 512 characters; ours is one file name.
    LogGroup, "log group", "1 to 254 letters, digits, and any of . - _ / #", |v| (1..=254).contains(&v.len())
        && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'#'))
);

impl LogGroup {
    /// The group that a function writes to unless it names another: `/aws/lambda/NAME`.
    #[must_use]
    pub fn of_function(name: &FunctionName) -> Self {
        Self(Arc::from(format!("{}{name}", Self::FUNCTIONS)))
    }

    /// How the names of functions' own groups begin.
    pub const FUNCTIONS: &str = "/aws/lambda/";
}

/// A slot: one execution environment on one worker, from its claim to its end. Never used twice in a fleet:
/// placement draws it at random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotId(pub u64);

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot-{:016x}", self.0)
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which version of a function: `$LATEST` or a published number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Version {
    /// The one version that can be changed.
    Latest,
    /// A published, frozen version.
    Number(u64),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl FromStr for Version {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        if value == "$LATEST" {
            return Ok(Self::Latest);
        }
        match value.parse::<u64>() {
            Ok(number) if number > 0 && !value.starts_with(['0', '+']) => Ok(Self::Number(number)),
            _ => Err(InvalidId::new("version", value, "$LATEST or a number from 1")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<Version> for String {
    fn from(value: Version) -> Self {
        value.to_string()
    }
}

/// The SHA-256 of a code bundle: its name in the bundle store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleDigest(pub [u8; 32]);

impl fmt::Display for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BundleDigest {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new("bundle digest", value, "64 hexadecimal digits");
        if value.len() != 64 || !value.is_ascii() {
            return Err(invalid());
        }
        let mut digest = [0; 32];
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&value[2 * index..2 * index + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for BundleDigest {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<BundleDigest> for String {
    fn from(value: BundleDigest) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_round_trips_and_refuses_what_is_no_version() {
        for text in ["$LATEST", "1", "42"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        for text in ["", "0", "01", "+1", "-1", "latest", "$latest", "1.0"] {
            assert!(text.parse::<Version>().is_err(), "{text:?} was taken for a version");
        }
    }

    #[test]
    fn names_hold_their_rules() {
        assert!(FunctionName::new("my-function_1").is_ok());
        assert!(FunctionName::new(&"x".repeat(64)).is_ok());
        for bad in ["", "a b", "a.b", "ä", &"x".repeat(65)] {
            assert!(FunctionName::new(bad).is_err(), "{bad:?} was taken for a function name");
        }
        assert!(AliasName::new("prod-2_b").is_ok());
        for bad in ["", "12", "a.b", "$LATEST", &"x".repeat(129)] {
            assert!(AliasName::new(bad).is_err(), "{bad:?} was taken for an alias name");
        }
        assert!(AccountId::new("000000000000").is_ok());
        assert!(AccountId::new("00000000000a").is_err());
    }

    #[test]
    fn digest_round_trips() {
        let digest = BundleDigest([0xab; 32]);
        assert_eq!(digest.to_string().parse::<BundleDigest>().unwrap(), digest);
        assert!("zz".repeat(32).parse::<BundleDigest>().is_err());
        assert!("é".repeat(32).parse::<BundleDigest>().is_err());
    }
}
