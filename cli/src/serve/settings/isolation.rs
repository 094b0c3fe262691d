//! What `--isolation` asks for.

use std::str::FromStr;

use hearth_microvm::Isolation;

/// The isolation that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsolationChoice {
    /// The strongest that this host has; never `process`.
    Auto,
    /// Just this one.
    Only(Isolation),
}

impl FromStr for IsolationChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            named => named.parse().map(Self::Only).map_err(|_| "use auto, kvm, jail or process".into()),
        }
    }
}
