//! The role: puts the parts together, starts and stops them, and answers as `hearth_protocol::Worker`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_daemon::{Clock, Tasks};
use hearth_domain::{FencingToken, SlotId};
use hearth_microvm::{Isolation, Launcher, SandboxError, Unenforced};
use hearth_protocol::placement::{Capacity, Placement};
use hearth_protocol::worker::{
    FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError, InvokeRequest, InvokeResponse, LogDeletion,
    LogList, LogListQuery, LogPage, LogQuery, StreamSender,
};
use hearth_protocol::{Unreachable, Worker as WorkerRole};
use hearth_store::BundleStore;
use prometheus::{IntGauge, Registry};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::capacity::{self, Admission};
use crate::class::SandboxClass;
use crate::code::CodeCache;
use crate::config::Config;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::pool::{BootParts, Boots, Pool, PoolBounds, PoolState};
use crate::pressure::{MemorySource, Pressure};
use crate::report::{Identity, Reporter};
use crate::runtime::{Bootstraps, Offer};
use crate::slot::{Host, SlotBounds, Slots};
use crate::snapshots::{Cleanup, Snapshots};
use crate::starting::Starting;

/// Other roles and parts that a worker works with.
pub struct Deps {
    /// Boots sandboxes.
    pub launcher: Arc<dyn Launcher>,
    /// Has the functions' code.
    pub bundles: Arc<dyn BundleStore>,
    /// Is told about slots and load.
    pub placement: Arc<dyn Placement>,
    /// Tells when the host's memory is short: [`crate::HostMemory`].
    pub memory: Box<dyn MemorySource>,
}

/// A worker that runs.
pub struct Worker {
    slots: Arc<Slots>,
    host: Arc<Host>,
    tasks: Tasks,
    draining: watch::Sender<bool>,
    launcher: Arc<dyn Launcher>,
    name: String,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What an earlier worker left can't be removed.
    #[error("what an earlier worker left can't be removed: {0}")]
    CleanUp(#[from] SandboxError),
    /// A directory or file of the worker's can't be used.
    #[error("{what} {path}: {source}")]
    Directory {
        /// What it is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The shim is not where it should be.
    #[error("the shim {path} can't be run: {source}")]
    Shim {
        /// Where it should be.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The metrics are registered already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Worker {
    /// Ends what an earlier worker left, then starts. Sandboxes boot in the background: see [`Self::ready`].
    pub async fn start(config: Config, deps: Deps, registry: &Registry) -> Result<Arc<Self>, StartError> {
        let Deps { launcher, bundles, placement, memory } = deps;
        check_shim(&config.shim)?;
        let left = launcher.clean_up().await?;
        if left > 0 {
            warn!(sandboxes = left, "ended what an earlier worker had left");
        }
        let (tasks, metrics, incarnation) = (Tasks::new(), Metrics::new(registry)?, rand::random());
        let capacity = capacity::detect(&config);
        let host = host(&config, launcher.clone(), bundles, &tasks, metrics, capacity, incarnation).await?;
        let isolation = launcher.isolation();
        info!(%isolation, ?capacity, runtimes = ?host.offer.runtimes(), "worker starts");
        let slots = Arc::new(Slots::new(host.clone()));
        let (draining, drains) = watch::channel(false);
        let name = config.endpoint.id.to_string();
        let identity = Identity {
            endpoint: config.endpoint,
            incarnation,
            capacity,
            isolation: reported(isolation),
            interval: config.report_interval,
        };
        let pool = host.pool.state();
        Reporter { identity, host: host.clone(), slots: slots.clone(), placement, draining: drains, pool }
            .start(&tasks);
        Pressure { source: memory, slots: slots.clone(), host: host.clone() }.start(&tasks);
        Ok(Arc::new(Self { slots, host, tasks, draining, launcher, name }))
    }

    /// Resolves when the pool can take a call of every runtime that boots here at all.
    pub async fn ready(&self) {
        // The pool's owner lives as long as the worker; should it have failed, the role ends by that.
        if self.host.pool.state().wait_for(|state| state.ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why the worker is not ready, or not for every runtime; empty if nothing is wrong.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let PoolState { ready, troubles, .. } = self.host.pool.state().borrow().clone();
        if ready || !troubles.is_empty() { troubles } else { vec!["sandboxes are booting".into()] }
    }

    /// How sandboxes are separated from the host here.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.launcher.isolation()
    }

    /// Limits that this host can't hold.
    #[must_use]
    pub fn unenforced(&self) -> Vec<Unenforced> {
        self.launcher.unenforced()
    }

    /// The runtimes this host can start.
    #[must_use]
    pub fn runtimes(&self) -> Vec<hearth_domain::Runtime> {
        self.host.offer.runtimes()
    }

    /// The worker's background tasks, to be told when one that it needs has failed.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Takes no new slots, lets running invocations finish for at most `grace`, then ends everything.
    pub async fn shutdown(&self, grace: Duration) {
        self.draining.send_replace(true);
        if tokio::time::timeout(grace, self.slots.drain()).await.is_err() {
            warn!("invocations still run at the end of the grace period: they are ended");
            self.slots.kill().await;
        }
        if !self.tasks.stop(TASKS_END_WAIT).await {
            warn!("some tasks of the worker did not end");
        }
    }

    fn unreachable(&self, reason: &impl ToString) -> Unreachable {
        Unreachable { role: format!("worker {}", self.name), reason: reason.to_string(), not_sent: false }
    }
}

/// Longest wait at shutdown for the pool's sandboxes to be destroyed and the last log lines to be written.
const TASKS_END_WAIT: Duration = Duration::from_secs(10);

#[async_trait]
impl WorkerRole for Worker {
    async fn init_slot(&self, request: InitSlot) -> Result<InitDone, InitSlotError> {
        self.slots.init(request).await
    }

    async fn invoke(&self, request: InvokeRequest) -> Result<InvokeResponse, InvokeError> {
        self.slots.invoke(request, None).await
    }

    async fn invoke_streaming(
        &self,
        request: InvokeRequest,
        pieces: StreamSender,
    ) -> Result<InvokeResponse, InvokeError> {
        self.slots.invoke(request, Some(pieces)).await
    }

    async fn fence(&self, request: FenceRequest) -> Result<Fenced, Unreachable> {
        Ok(self.slots.fence(request).await)
    }

    async fn reclaim(&self, slots: Vec<(SlotId, FencingToken)>) -> Result<(), Unreachable> {
        self.slots.reclaim(slots);
        Ok(())
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, Unreachable> {
        self.host.logs.read(query).await.map_err(|error| self.unreachable(&error))
    }

    async fn list_logs(&self, query: LogListQuery) -> Result<LogList, Unreachable> {
        self.host.logs.list(query).await.map_err(|error| self.unreachable(&error))
    }

    async fn delete_log(&self, deletion: LogDeletion) -> Result<(), Unreachable> {
        self.host.logs.delete(deletion).await.map_err(|error| self.unreachable(&error))
    }
}

/// The launcher's word in that of the roles.
const fn reported(isolation: Isolation) -> hearth_domain::Isolation {
    match isolation {
        Isolation::Kvm => hearth_domain::Isolation::Kvm,
        Isolation::Jail => hearth_domain::Isolation::Jail,
        Isolation::Process => hearth_domain::Isolation::Process,
    }
}

/// Puts together what slots work with.
async fn host(
    config: &Config,
    launcher: Arc<dyn Launcher>,
    bundles: Arc<dyn BundleStore>,
    tasks: &Tasks,
    metrics: Metrics,
    capacity: Capacity,
    incarnation: u64,
) -> Result<Arc<Host>, StartError> {
    let (clock, isolation) = (Clock::start(), launcher.isolation());
    let state = |what, name| StateDir { what, path: config.data_dir.join(name) };
    let bootstraps = state("runtime files", "runtime")
        .open(|path| Bootstraps::write(path, config.compiled_bootstraps.as_deref()))?;
    let (code_bytes, starting) = (metrics.code_bytes.clone(), Starting::default());
    let code = state("unpacked code", "code").open(|path| {
        let max_bytes = config.code_cache_max_bytes;
        CodeCache::open(path, &boot_id(), bundles.clone(), launcher.clone(), max_bytes, starting.clone(), code_bytes)
    })?;
    let logs = state("logs", "logs");
    let opened = Logs::open(logs.path.clone(), config.logs, tasks, metrics.log_entries_dropped.clone()).await;
    let logs = opened.map_err(|source| logs.failed(source))?;
    let offer = match isolation {
        Isolation::Kvm => Offer::of_images(launcher.images(), &bootstraps),
        Isolation::Jail | Isolation::Process => {
            let offer = Offer::of_this_host(bootstraps.has_java()).await;
            offer.compile_python(&bootstraps).await;
            offer
        }
    };
    // Sandboxes are named after the worker's run, so that those of an earlier one can't be meant.
    let prefix = format!("s{:08x}", incarnation >> 32);
    let snapshots = state("snapshots", "snapshots")
        .open(|path| open_snapshots(path, config, &*launcher, &bootstraps, clock, metrics.snapshot_bytes.clone()))?;
    if let Some(snapshots) = snapshots.clone() {
        Cleanup { snapshots, bundles: bundles.clone() }.start(tasks);
    }
    let boots = Boots::new(BootParts {
        launcher,
        shim: config.shim.clone(),
        offer: offer.clone(),
        bootstraps,
        concurrency: config.boot_concurrency,
        timeouts: config.start_timeouts,
        prefix,
        starting,
        snapshots,
        metrics: metrics.clone(),
    });
    let (min, max, booting) = (config.pool_size, config.pool_max, config.boot_concurrency.div_ceil(2));
    let sizes = boots.sizing().classes();
    let classes = offer.classes().flat_map(|runtime| sizes.iter().map(move |&memory| SandboxClass { runtime, memory }));
    let pool = Pool::start(PoolBounds { min, max, booting }, classes, boots.clone(), clock, tasks);
    Ok(Arc::new(Host {
        clock,
        tasks: tasks.clone(),
        logs,
        code: Arc::new(code),
        pool,
        boots,
        offer,
        isolation: reported(isolation),
        admission: Admission::new(capacity),
        metrics,
        changed: Notify::new(),
        bounds: SlotBounds {
            init_timeout: config.init_timeout,
            freeze_idle_after: config.freeze_idle_after,
            guest_counts: isolation == Isolation::Kvm,
        },
    }))
}

/// Snapshots, if sandboxes start from them; else what an earlier worker left of them goes.
fn open_snapshots(
    path: &Path,
    config: &Config,
    launcher: &dyn Launcher,
    bootstraps: &Bootstraps,
    clock: Clock,
    bytes: IntGauge,
) -> io::Result<Option<Arc<Snapshots>>> {
    if !config.snapshots || !launcher.has_snapshots() {
        return match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(None),
        };
    }
    let shim = crc32fast::hash(&std::fs::read(&config.shim)?);
    let (version, boot, bootstraps) = (env!("CARGO_PKG_VERSION"), boot_id(), bootstraps.dir().display());
    let launcher = launcher.snapshots_depend_on();
    // One line, so that what it names ends where the line does.
    let generation =
        format!("{version} boot {boot} shim {shim:08x} bootstraps {bootstraps} {launcher}").replace('\n', " ");
    Snapshots::open(path, generation, config.snapshots_max_bytes, clock, bytes).map(Some)
}

/// A directory of the worker's.
struct StateDir {
    what: &'static str,
    path: PathBuf,
}

impl StateDir {
    fn open<T>(self, open: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, StartError> {
        open(&self.path).map_err(|source| self.failed(source))
    }

    fn failed(self, source: io::Error) -> StartError {
        StartError::Directory { what: self.what, path: self.path, source }
    }
}

fn check_shim(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Shim { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_file() { Ok(()) } else { Err(failed(io::Error::other("it is no file"))) }
}

/// Names this start of the machine.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    // Without an id nothing can be told from a reboot, so nothing is kept.
    if id.is_empty() { format!("start-{:016x}", rand::random::<u64>()) } else { id }
}
