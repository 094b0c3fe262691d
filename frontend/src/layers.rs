//! Layers: versions of content that functions take in under `/opt`, as documents.
//!
//! ```text
//! layer          ACCOUNT/NAME            the newest number, so that none is used again
//! layer-version  ACCOUNT/NAME/NUMBER     one version with its policy; NUMBER has 20 digits, so that paths sort
//! ```
//!
//! A function keeps what it needs of a version in its own record, so a version can be deleted while functions use it.

mod arn;
mod policy;

use std::sync::Arc;

use hearth_domain::{AccountId, BundleDigest};
use hearth_store::document::{CommitError, Expected, Found};
use hearth_store::{Collection, Document, Documents, StoreFailure};
use serde::{Deserialize, Serialize};

pub use arn::{InvalidLayer, LayerName, LayerVersionArn};
pub use policy::{LayerPolicy, LayerStatement, PolicyChangeError};

/// Versions of one layer that are looked through at most.
const VERSIONS_MAX: usize = 10_000;
/// How often publishing begins anew because another number was taken meanwhile.
const PUBLISH_TRIES: usize = 16;

/// What is known of a layer besides its versions. Stays when all of them are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The newest number that a version had.
    pub last_version: u64,
}

/// One version of a layer (AWS: GetLayerVersion).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerVersion {
    /// Its number, from 1; 0 until it has one.
    pub number: u64,
    /// Free text.
    pub description: String,
    /// When it was published, Unix milliseconds.
    pub created_unix_ms: u64,
    /// Its content.
    pub bundle: BundleDigest,
    /// Size of the zip, bytes.
    pub code_size: u64,
    /// Size of its files, bytes.
    pub unzipped_bytes: u64,
    /// `CompatibleRuntimes`, if given.
    pub compatible_runtimes: Option<Vec<String>>,
    /// `CompatibleArchitectures`, if given.
    pub compatible_architectures: Option<Vec<String>>,
    /// `LicenseInfo`, if given.
    pub license_info: Option<String>,
    /// Who else may use it.
    pub policy: LayerPolicy,
}

impl Document for Layer {
    const KIND: &'static str = "layer";
}

impl Document for LayerVersion {
    const KIND: &'static str = "layer-version";
}

/// What a list is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerFilter {
    /// `CompatibleRuntime`
    pub runtime: Option<String>,
    /// `CompatibleArchitecture`
    pub architecture: Option<String>,
}

impl LayerFilter {
    /// Whether a version says that it goes with what is asked for.
    #[must_use]
    pub fn has(&self, version: &LayerVersion) -> bool {
        let listed = |asked: &Option<String>, given: &Option<Vec<String>>| {
            asked.as_ref().is_none_or(|asked| given.as_ref().is_some_and(|given| given.contains(asked)))
        };
        listed(&self.runtime, &version.compatible_runtimes)
            && listed(&self.architecture, &version.compatible_architectures)
    }
}

/// The documents.
#[derive(Clone)]
pub struct Layers {
    documents: Arc<dyn Documents>,
    layers: Collection<Layer>,
    versions: Collection<LayerVersion>,
}

impl Layers {
    /// The layers in this engine.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        let (layers, versions) = (Collection::new(documents.clone()), Collection::new(documents.clone()));
        Self { documents, layers, versions }
    }

    /// Stores a version under the layer's next number, and returns that.
    pub async fn publish(
        &self,
        account: &AccountId,
        name: &LayerName,
        mut version: LayerVersion,
    ) -> Result<LayerVersion, StoreFailure> {
        let path = layer_path(account, name);
        for _ in 0..PUBLISH_TRIES {
            let known = self.layers.get(&path).await?;
            version.number = known.as_ref().map_or(0, |known| known.value.last_version) + 1;
            let expected = known.map_or(Expected::Absent, |known| Expected::Revision(known.revision));
            let layer = Layer { last_version: version.number };
            let changes = vec![
                Collection::putting(&path, &layer, expected)?,
                Collection::putting(&version_path(account, name, version.number), &version, Expected::Absent)?,
            ];
            match self.documents.commit(changes).await {
                Ok(()) => return Ok(version),
                // Somebody else published meanwhile.
                Err(CommitError::Unexpected { .. }) => {}
                Err(CommitError::Store(failure)) => return Err(failure),
            }
        }
        let crowded = std::io::Error::other("others publish versions of it without pause");
        Err(StoreFailure::new(format!("publish layer {path}"), crowded))
    }

    /// One version.
    pub async fn version(
        &self,
        account: &AccountId,
        name: &LayerName,
        number: u64,
    ) -> Result<Option<Found<LayerVersion>>, StoreFailure> {
        self.versions.get(&version_path(account, name, number)).await
    }

    /// Versions of a layer, the newest first.
    pub async fn versions(
        &self,
        account: &AccountId,
        name: &LayerName,
    ) -> Result<Vec<Arc<LayerVersion>>, StoreFailure> {
        let prefix = format!("{}/", layer_path(account, name));
        let found = self.versions.scan(&prefix, None, VERSIONS_MAX).await?;
        Ok(found.into_iter().rev().map(|(_, found)| found.value).collect())
    }

    /// Names of layers that an account has or had versions of, from after `after`, at most `limit`.
    pub async fn names(
        &self,
        account: &AccountId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LayerName>, StoreFailure> {
        let prefix = format!("{account}/");
        let after = after.map(|after| format!("{prefix}{after}"));
        let found = self.layers.scan(&prefix, after.as_deref(), limit).await?;
        Ok(found.iter().filter_map(|(path, _)| path.strip_prefix(&prefix)?.parse().ok()).collect())
    }

    /// Removes a version. Functions that use it go on.
    pub async fn delete(&self, account: &AccountId, name: &LayerName, number: u64) -> Result<(), StoreFailure> {
        match self.versions.remove(&version_path(account, name, number), Expected::Anything).await {
            Ok(()) | Err(CommitError::Unexpected { .. }) => Ok(()),
            Err(CommitError::Store(failure)) => Err(failure),
        }
    }

    /// Replaces a version's policy, if the version is still as it was read.
    pub async fn put_policy(
        &self,
        account: &AccountId,
        name: &LayerName,
        read: &Found<LayerVersion>,
        policy: LayerPolicy,
    ) -> Result<(), CommitError> {
        let version = LayerVersion { policy, ..(*read.value).clone() };
        let path = version_path(account, name, version.number);
        self.versions.put(&path, &version, Expected::Revision(read.revision)).await
    }

    /// The content of every version, whoever's it is: none of it may be cleaned up.
    pub async fn bundles(&self) -> Result<Vec<BundleDigest>, StoreFailure> {
        Ok(self.versions.all("", None).await?.iter().map(|(_, found)| found.value.bundle).collect())
    }
}

fn layer_path(account: &AccountId, name: &LayerName) -> String {
    format!("{account}/{name}")
}

fn version_path(account: &AccountId, name: &LayerName, number: u64) -> String {
    format!("{account}/{name}/{number:020}")
}
