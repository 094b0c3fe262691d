//! What a worker talks to besides its sandboxes: a store of bundles, and placement.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_domain::{BundleDigest, FencingToken, HolderId, SlotId};
use hearth_protocol::placement::{
    ClaimOutcome, ClaimRequest, FleetWorker, Grant, ReleaseRequest, RenewRequest, RenewResponse, ReportAck,
    WorkerReport,
};
use hearth_protocol::{Placement, Unreachable};
use hearth_store::{BundleStore, StoreFailure};
use hearth_worker::{MemorySource, Sample};
use tokio::sync::watch;

/// Bundles that tests put together file by file.
pub(crate) struct Bundles {
    dir: tempfile::TempDir,
}

impl Bundles {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { dir: tempfile::tempdir().unwrap() })
    }

    /// Removes a bundle.
    pub(crate) fn remove(&self, digest: BundleDigest) {
        std::fs::remove_file(self.dir.path().join(digest.to_string())).unwrap();
    }

    /// Adds a bundle of files, each with its content and mode.
    pub(crate) fn add(&self, digest: BundleDigest, files: &[(&str, impl AsRef<[u8]>, u32)]) {
        let mut zip = zip::ZipWriter::new(File::create(self.dir.path().join(digest.to_string())).unwrap());
        for (name, content, mode) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            zip.write_all(content.as_ref()).unwrap();
        }
        zip.finish().unwrap();
    }
}

#[async_trait]
impl BundleStore for Bundles {
    async fn put(&self, _: Bytes) -> Result<BundleDigest, StoreFailure> {
        unreachable!("a worker stores no bundles")
    }

    async fn fetch(&self, digest: BundleDigest) -> Result<Option<PathBuf>, StoreFailure> {
        let path = self.dir.path().join(digest.to_string());
        Ok(path.exists().then_some(path))
    }

    async fn retain(&self, _: &[BundleDigest]) -> Result<usize, StoreFailure> {
        unreachable!("a worker removes no bundles")
    }
}

/// A placement that keeps the last report and answers as it is told.
pub(crate) struct FakePlacement {
    pub(crate) reports: watch::Sender<Option<WorkerReport>>,
    pub(crate) away: std::sync::atomic::AtomicBool,
    pub(crate) reclaim: std::sync::Mutex<Vec<(SlotId, FencingToken)>>,
    /// Not placement's: the host's memory, as the worker is to see it.
    pub(crate) memory: watch::Sender<Sample>,
}

/// The host's memory, as a test says it is.
pub(crate) struct FakeMemory(pub(crate) watch::Receiver<Sample>);

#[async_trait]
impl MemorySource for FakeMemory {
    async fn changed(&mut self) -> Sample {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.0.borrow_and_update()
    }

    fn now(&mut self) -> Sample {
        Sample { stalled: false, ..*self.0.borrow() }
    }
}

impl Default for FakePlacement {
    fn default() -> Self {
        let memory = watch::Sender::new(Sample { stalled: false, available_permille: 800 });
        Self { reports: watch::Sender::new(None), away: false.into(), reclaim: Default::default(), memory }
    }
}

#[async_trait]
impl Placement for FakePlacement {
    async fn claim(&self, _: ClaimRequest) -> Result<BoxStream<'static, ClaimOutcome>, Unreachable> {
        unreachable!("a worker claims nothing")
    }

    async fn renew(&self, _: RenewRequest) -> Result<RenewResponse, Unreachable> {
        unreachable!("a worker renews nothing")
    }

    async fn release(&self, _: ReleaseRequest) -> Result<(), Unreachable> {
        unreachable!("a worker releases nothing")
    }

    async fn recover(&self, _: HolderId) -> Result<Vec<Grant>, Unreachable> {
        unreachable!("a worker recovers nothing")
    }

    async fn report(&self, report: WorkerReport) -> Result<ReportAck, Unreachable> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Unreachable { role: "placement".into(), reason: "away".into(), not_sent: true });
        }
        self.reports.send_replace(Some(report));
        Ok(ReportAck { reclaim: std::mem::take(&mut self.reclaim.lock().unwrap()) })
    }

    async fn fleet(&self) -> Result<Vec<FleetWorker>, Unreachable> {
        unreachable!("a worker asks nothing")
    }
}
