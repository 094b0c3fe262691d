//! Sandboxes of one function version that come of a snapshot taken after its init (SnapStart).
//!
//! They are never pooled: what is in the snapshot has seen code. Two sandboxes of one version come of it, and of no other.

use std::sync::Arc;

use hearth_domain::{BundleDigest, FunctionSpec};
use hearth_guest_protocol::EnvironmentVariable;
use tracing::warn;

use super::boot::{BootFailure, Booted, Boots, Purpose};
use super::restore::Resumed;
use crate::class::SandboxClass;
use crate::snapshots::Making;

/// What a version's snapshot is known by: `version BUNDLE FUNCTION of CLASS`.
#[derive(Debug, Clone)]
pub(crate) struct VersionKey(Arc<str>);

impl VersionKey {
    fn of(function: &FunctionSpec, class: SandboxClass) -> Self {
        Self(format!("version {} {:?} {class}", function.bundle, function.function).into())
    }

    /// The bundle in a snapshot's key, if it is a version's.
    pub(crate) fn bundle(key: &str) -> Option<BundleDigest> {
        key.strip_prefix("version ")?.split(' ').next()?.parse().ok()
    }
}

impl Boots {
    /// The key of the function's snapshot, if its environments come of one here.
    pub(crate) fn version_key(&self, function: &FunctionSpec) -> Option<VersionKey> {
        let class = self.sizing().class_of(function);
        (function.snap_start && self.parts.snapshots.is_some()).then(|| VersionKey::of(function, class))
    }

    /// Begins to make the version's snapshot, unless it is there, somebody makes it, or it failed a short while ago.
    pub(crate) fn begin_version(&self, key: &VersionKey) -> Option<Making> {
        let begun = self.parts.snapshots.as_ref()?.begin(&key.0);
        begun.unwrap_or_else(|error| {
            warn!(%error, "a version's snapshot has no directory: its environments start as others do");
            None
        })
    }

    /// A sandbox that will become the version's snapshot.
    pub(crate) async fn start_version(&self, class: SandboxClass, making: &Making) -> Result<Booted, BootFailure> {
        let _permit = self.permit().await?;
        if let Some(restored) = self.restore_pooled(class, Some(making.machine())).await? {
            return Ok(restored);
        }
        self.boot(class, Purpose::Call, Some(making.machine())).await
    }

    /// A sandbox from the version's snapshot, initialized; `None` if there is none that can be used.
    pub(crate) async fn restore_version(
        &self,
        class: SandboxClass,
        key: &VersionKey,
        environment: Vec<EnvironmentVariable>,
    ) -> Result<Option<(Booted, Resumed)>, BootFailure> {
        let _permit = self.permit().await?;
        self.restore_known(class, &key.0, None, environment).await
    }

    /// Counts a version's snapshot that was made or could not be.
    pub(crate) fn version_made(&self, success: bool) {
        self.parts.metrics.snapshot_made(success);
    }
}
