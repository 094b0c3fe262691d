//! What a worker is told at its start. Complete and typed; where the values come from is the command line's affair.

use std::path::PathBuf;
use std::time::Duration;

use hearth_domain::timing;
use hearth_protocol::WorkerEndpoint;

/// Sandboxes kept ready for each runtime, unless configured otherwise.
pub const POOL_SIZE_DEFAULT: u32 = 2;
/// Most sandboxes kept ready for one runtime however many cold starts there are, unless configured otherwise.
pub const POOL_MAX_DEFAULT: u32 = 16;
/// Most slots of one worker, unless configured otherwise.
pub const MAX_SLOTS_DEFAULT: u32 = 1_000;
/// Memory left to the host itself when the rest is offered to slots, MB, unless configured otherwise.
pub const MEMORY_RESERVE_DEFAULT_MB: u64 = 512;
/// Memory promised to slots in percent of what there is, unless configured otherwise: functions seldom use all they
/// ask for, and each is held to its own limit.
pub const MEMORY_OVERCOMMIT_DEFAULT_PERCENT: u32 = 200;
/// Disk for unpacked code, bytes, unless configured otherwise.
pub const CODE_CACHE_MAX_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;
/// Disk for snapshots of sandboxes, bytes, unless configured otherwise: some fifty to a hundred MB each, and one for
/// each runtime and size that is used.
pub const SNAPSHOTS_MAX_BYTES_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;
/// How long a slot is idle before its processes are frozen, unless configured otherwise. Lambda freezes at once; we
/// wait, so that a call that follows soon pays nothing for the thaw.
pub const FREEZE_IDLE_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// The shortest that a worker may be told to wait for a sandbox: less, and none comes up.
pub const START_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest that a worker may be told to wait for a sandbox: an environment lives no longer for one call.
pub const START_TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// Longest times of the steps towards a sandbox. How long they take is a matter of the host alone; an emulated one needs
/// many times more than these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTimeouts {
    /// From the start of a boot to the shim's word.
    pub boot: Duration,
    /// From the start of a restore to the shim's word.
    pub restore: Duration,
    /// From a booted sandbox to its snapshot on disk.
    pub snapshot: Duration,
}

impl Default for StartTimeouts {
    fn default() -> Self {
        // A microVM boots a kernel before its shim, and many at once share the host's CPUs.
        Self { boot: Duration::from_secs(30), restore: Duration::from_secs(10), snapshot: Duration::from_secs(60) }
    }
}

/// Configuration of a worker.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this worker is, and where it answers.
    pub endpoint: WorkerEndpoint,
    /// Its directory: unpacked code, logs, runtime files.
    pub data_dir: PathBuf,
    /// The shim's executable.
    pub shim: PathBuf,
    /// Where those of our bootstraps are that have to be compiled (Java's); without, or where they are not there, their
    /// runtimes are not offered.
    pub compiled_bootstraps: Option<PathBuf>,
    /// Sandboxes kept ready for each runtime; 0 turns the pool off.
    pub pool_size: u32,
    /// Most sandboxes kept ready for one runtime.
    pub pool_max: u32,
    /// Whether sandboxes start from snapshots, where the launcher has them.
    pub snapshots: bool,
    /// Disk for snapshots, bytes.
    pub snapshots_max_bytes: u64,
    /// Sandboxes that boot at the same time.
    pub boot_concurrency: u32,
    /// Memory for slots, MB; `None` takes what the host or its cgroup has, less the reserve.
    pub memory_mb: Option<u64>,
    /// Memory left to the host, MB.
    pub memory_reserve_mb: u64,
    /// Memory promised to slots in percent of what there is; from 100.
    pub memory_overcommit_percent: u32,
    /// CPU for slots, thousandths of one; `None` takes what the host has.
    pub milli_cpus: Option<u64>,
    /// Most slots.
    pub max_slots: u32,
    /// Disk for unpacked code, bytes.
    pub code_cache_max_bytes: u64,
    /// Disk for logs.
    pub logs: LogBounds,
    /// How long a slot is idle before its processes are frozen; `None` never freezes.
    pub freeze_idle_after: Option<Duration>,
    /// Longest boot, restore and making of a snapshot.
    pub start_timeouts: StartTimeouts,
    /// Longest first init of an environment.
    pub init_timeout: Duration,
    /// How often to report to placement when nothing changes.
    pub report_interval: Duration,
}

/// Disk that logs may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// One segment file, bytes: a log shrinks by whole segments.
    pub segment_max_bytes: u64,
    /// One function's log, bytes.
    pub function_max_bytes: u64,
    /// All logs, bytes.
    pub total_max_bytes: u64,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self {
            segment_max_bytes: 1024 * 1024,
            function_max_bytes: 16 * 1024 * 1024,
            total_max_bytes: 1024 * 1024 * 1024,
        }
    }
}

impl Config {
    /// The defaults, for a worker that lives in `data_dir` and starts `shim` in its sandboxes.
    #[must_use]
    pub fn new(endpoint: WorkerEndpoint, data_dir: PathBuf, shim: PathBuf) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            endpoint,
            data_dir,
            shim,
            compiled_bootstraps: None,
            pool_size: POOL_SIZE_DEFAULT,
            pool_max: POOL_MAX_DEFAULT,
            snapshots: true,
            snapshots_max_bytes: SNAPSHOTS_MAX_BYTES_DEFAULT,
            boot_concurrency: u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(2),
            memory_mb: None,
            memory_reserve_mb: MEMORY_RESERVE_DEFAULT_MB,
            memory_overcommit_percent: MEMORY_OVERCOMMIT_DEFAULT_PERCENT,
            milli_cpus: None,
            max_slots: MAX_SLOTS_DEFAULT,
            code_cache_max_bytes: CODE_CACHE_MAX_BYTES_DEFAULT,
            logs: LogBounds::default(),
            freeze_idle_after: Some(FREEZE_IDLE_AFTER_DEFAULT),
            start_timeouts: StartTimeouts::default(),
            init_timeout: timing::INIT_TIMEOUT,
            report_interval: timing::WORKER_REPORT_INTERVAL,
        }
    }
}
