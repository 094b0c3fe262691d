//! Code bundles: zips by their SHA-256.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_domain::BundleDigest;

use crate::StoreFailure;

/// Bundles by digest. Content never changes under a digest.
#[async_trait]
pub trait BundleStore: Send + Sync + 'static {
    /// Stores a zip and returns its digest; storing it again changes nothing.
    async fn put(&self, zip: Bytes) -> Result<BundleDigest, StoreFailure>;

    /// The zip as a local file, fetched first if the store is far away.
    async fn fetch(&self, digest: BundleDigest) -> Result<Option<PathBuf>, StoreFailure>;

    /// Removes every bundle that is not in `keep` and is older than a grace period for uploads under way. Returns how many.
    async fn retain(&self, keep: &[BundleDigest]) -> Result<usize, StoreFailure>;
}
