//! A function version, as far as running it needs to know.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, BundleDigest, FunctionName, RevisionId, Version};
use crate::isolation::Isolation;
use crate::logging::Logging;
use crate::runtime::Runtime;
use crate::size::{EphemeralStorage, MemorySize, Timeout};

/// What a slot is bound to for its whole life: one version of one function of one account, at one revision. A change
/// of `$LATEST` makes a new revision, so slots of the old one are never chosen again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionRef {
    /// Whose function.
    pub account: AccountId,
    /// Its bare name.
    pub name: FunctionName,
    /// The version.
    pub version: Version,
    /// The revision of that version's code and configuration.
    pub revision: RevisionId,
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.account, self.name, self.version)
    }
}

impl fmt::Debug for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}@{}", self.revision)
    }
}

/// Everything that routing, placement and a worker need to run a function version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// Which one.
    pub function: FunctionRef,
    /// The region in its ARN and in `AWS_REGION`.
    pub region: String,
    /// What starts it.
    pub runtime: Runtime,
    /// The handler string, as the runtime reads it; may be empty for custom runtimes.
    pub handler: String,
    /// Memory, and with it CPU.
    pub memory: MemorySize,
    /// Longest run of one invocation.
    pub timeout: Timeout,
    /// Size of `/tmp`.
    pub ephemeral_storage: EphemeralStorage,
    /// The function's own environment variables.
    pub environment: BTreeMap<String, String>,
    /// Its code.
    pub bundle: BundleDigest,
    /// Its layers, merged under `/opt`, a later one over an earlier one; at most [`crate::limits::LAYERS_MAX`].
    #[serde(default)]
    pub layers: Vec<BundleDigest>,
    /// How its log is written, and where.
    #[serde(default)]
    pub logging: Logging,
    /// The least isolation it may run in; `None` leaves that to the workers.
    #[serde(default)]
    pub isolation: Option<Isolation>,
    /// Whether environments of this version come of a snapshot that was taken after its init, where there are snapshots.
    #[serde(default)]
    pub snap_start: bool,
    /// Whether an environment made for this is kept ready for calls to come: provisioned concurrency. Says how one is
    /// made, not which version it runs; a call may run in either kind.
    #[serde(default)]
    pub provisioned: bool,
    /// Who the function is to the API. Not part of what it is: two specs of one revision may differ here.
    #[serde(default)]
    pub credentials: Option<FunctionCredentials>,
}

/// Temporary credentials of a function's role, as its environment has them. They outlive
/// [`crate::timing::ENVIRONMENT_LIFE_MAX`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCredentials {
    /// `AWS_ACCESS_KEY_ID`
    pub key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret: String,
    /// `AWS_SESSION_TOKEN`
    pub session_token: String,
}

impl fmt::Debug for FunctionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionCredentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
