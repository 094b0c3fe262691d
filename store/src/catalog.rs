//! Functions and their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FunctionName, FunctionRef, FunctionSpec, Isolation, Logging, MemorySize,
    RevisionId, Runtime, Timeout, Version,
};
use serde::{Deserialize, Serialize};

use crate::StoreFailure;

/// Functions, versions, credentials.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Adds a function's `$LATEST`. Fails if the name is taken.
    async fn create(&self, record: FunctionRecord) -> Result<(), CatalogError>;

    /// One version of a function. Cheap enough for every invocation.
    async fn get(
        &self,
        account: &AccountId,
        name: &FunctionName,
        version: Version,
    ) -> Result<Option<Arc<FunctionRecord>>, StoreFailure>;

    /// Replaces a version if its revision is still `expected`.
    async fn replace(&self, record: FunctionRecord, expected: &RevisionId) -> Result<(), CatalogError>;

    /// Stores a copy of `record` under the function's next version number and returns it as stored. Numbers count
    /// from 1 and are never used again, not even after the function was deleted and created anew.
    async fn publish(&self, record: FunctionRecord) -> Result<Arc<FunctionRecord>, CatalogError>;

    /// Removes one version, or the whole function. Fails if it is not there.
    async fn delete(
        &self,
        account: &AccountId,
        name: &FunctionName,
        version: Option<Version>,
    ) -> Result<(), CatalogError>;

    /// Functions of an account by name, each as its `$LATEST` or, if `all_versions`, as every version of it, from
    /// after `after` (exclusive), at most `limit` records.
    async fn list(
        &self,
        account: &AccountId,
        all_versions: bool,
        after: Option<(FunctionName, Version)>,
        limit: usize,
    ) -> Result<Vec<Arc<FunctionRecord>>, StoreFailure>;

    /// Versions of one function, `$LATEST` first, then by number, from after `after`, at most `limit`.
    async fn list_versions(
        &self,
        account: &AccountId,
        name: &FunctionName,
        after: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Arc<FunctionRecord>>, StoreFailure>;

    /// Every bundle that a record refers to, so that the others can be removed.
    async fn referenced_bundles(&self) -> Result<Vec<BundleDigest>, StoreFailure>;

    /// Stores an access key.
    async fn put_access_key(&self, key: AccessKey) -> Result<(), StoreFailure>;

    /// The access key with this id. Cheap enough for every request.
    async fn access_key(&self, id: &str) -> Result<Option<Arc<AccessKey>>, StoreFailure>;

    /// Removes an access key; one that is not there is no error.
    async fn remove_access_key(&self, id: &str) -> Result<(), StoreFailure>;

    /// Every access key, by id.
    async fn access_keys(&self) -> Result<Vec<Arc<AccessKey>>, StoreFailure>;
}

/// A change of the catalog that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The name is taken.
    #[error("function {0} exists already")]
    Exists(FunctionName),
    /// There is no such function or version.
    #[error("there is no {name}:{version}")]
    NotFound {
        /// The function.
        name: FunctionName,
        /// The version.
        version: Version,
    },
    /// Somebody else changed it meanwhile.
    #[error("{name} is at revision {found}, not {expected}")]
    RevisionMismatch {
        /// The function.
        name: FunctionName,
        /// What the caller had read.
        expected: RevisionId,
        /// What is stored.
        found: RevisionId,
    },
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// One version of a function, with all the API shows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRecord {
    /// Which version of which function, at which revision.
    pub function: FunctionRef,
    /// Region in its ARN.
    pub region: String,
    /// What starts it.
    pub runtime: Runtime,
    /// The execution role's ARN, as given.
    pub role: String,
    /// The handler string; empty if none was given.
    pub handler: String,
    /// Free text.
    pub description: String,
    /// Memory.
    pub memory: MemorySize,
    /// Timeout.
    pub timeout: Timeout,
    /// `/tmp`.
    pub ephemeral_storage: EphemeralStorage,
    /// Environment variables; `None` if never set (the API then leaves the member out).
    pub environment: Option<BTreeMap<String, String>>,
    /// The code.
    pub bundle: BundleDigest,
    /// Size of the zip, bytes.
    pub code_size: u64,
    /// Size of its files, bytes; 0 if it was stored when nobody counted them.
    #[serde(default)]
    pub unzipped_bytes: u64,
    /// When code or configuration changed last, Unix milliseconds.
    pub last_modified_unix_ms: u64,
    /// Where failed asynchronous invocations go.
    pub dead_letter_target: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// `SnapStart: {ApplyOn: PublishedVersions}`.
    #[serde(default)]
    pub snap_start: bool,
    /// `Layers`, in the order in which they are merged.
    #[serde(default)]
    pub layers: Vec<FunctionLayer>,
    /// `LoggingConfig`.
    #[serde(default)]
    pub logging: Logging,
    /// `State`.
    pub state: FunctionState,
    /// `LastUpdateStatus`.
    pub last_update: UpdateStatus,
    /// `RevisionId` since something changed that leaves code and configuration as they are, and with them the slots:
    /// a state, or `$LATEST` when a version was published of it (LocalStack's recordings, TestLambdaRevisions).
    #[serde(default)]
    pub revision_id: Option<RevisionId>,
}

/// A layer version that a function uses, as it was when the function took it: it goes on running when the layer version
/// is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionLayer {
    /// The layer version's ARN.
    pub arn: String,
    /// Its content.
    pub bundle: BundleDigest,
    /// Size of its zip, bytes.
    pub code_size: u64,
    /// Size of its files, bytes.
    pub unzipped_bytes: u64,
}

/// `State` of a function version (AWS: FunctionConfiguration).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionState {
    /// Being created; can't be invoked yet.
    Pending,
    /// Can be invoked.
    Active,
    /// Creation failed.
    Failed {
        /// In words.
        reason: String,
    },
}

/// `LastUpdateStatus` of a function (AWS: FunctionConfiguration).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateStatus {
    /// The last update is in effect.
    Successful,
    /// An update is being carried out.
    InProgress,
    /// The last update failed; the version before it is still in effect.
    Failed {
        /// In words.
        reason: String,
    },
}

/// The tag that names the least isolation a function may run in.
pub const ISOLATION_TAG: &str = "hearth:isolation";

impl FunctionRecord {
    /// Whether environments of this version come of a snapshot: `$LATEST` has none (AWS: SnapStart applies to published
    /// versions).
    #[must_use]
    pub fn is_optimized(&self) -> bool {
        self.snap_start && self.function.version != Version::Latest
    }

    /// `RevisionId`.
    #[must_use]
    pub fn revision_id(&self) -> &RevisionId {
        self.revision_id.as_ref().unwrap_or(&self.function.revision)
    }

    /// What [`ISOLATION_TAG`] asks for. A value that is none, which no API lets in, asks for the strongest.
    fn isolation(&self) -> Option<Isolation> {
        self.tags.get(ISOLATION_TAG).map(|asked| asked.parse().unwrap_or(Isolation::Kvm))
    }

    /// What is needed to run this version.
    #[must_use]
    pub fn spec(&self) -> FunctionSpec {
        FunctionSpec {
            function: self.function.clone(),
            region: self.region.clone(),
            runtime: self.runtime,
            handler: self.handler.clone(),
            memory: self.memory,
            timeout: self.timeout,
            ephemeral_storage: self.ephemeral_storage,
            environment: self.environment.clone().unwrap_or_default(),
            bundle: self.bundle,
            isolation: self.isolation(),
            snap_start: self.is_optimized(),
            provisioned: false,
            layers: self.layers.iter().map(|layer| layer.bundle).collect(),
            logging: self.logging.clone(),
            credentials: None,
        }
    }
}

/// A credential of the HTTP API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// `AKIA…`, 20 characters.
    pub id: String,
    /// The secret, 40 characters.
    pub secret: String,
    /// Whose it is.
    pub account: AccountId,
    /// The user it belongs to; `None` for the account itself, which may do everything in it.
    #[serde(default)]
    pub user: Option<String>,
    /// Refused until it is enabled again.
    #[serde(default)]
    pub disabled: bool,
    /// When it was made, Unix milliseconds; 0 if nobody knows.
    #[serde(default)]
    pub created_unix_ms: u64,
}

impl AccessKey {
    /// A key of the account itself.
    #[must_use]
    pub fn root(id: impl Into<String>, secret: impl Into<String>, account: AccountId) -> Self {
        let (id, secret) = (id.into(), secret.into());
        Self { id, secret, account, user: None, disabled: false, created_unix_ms: 0 }
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).field("account", &self.account).finish_non_exhaustive()
    }
}
