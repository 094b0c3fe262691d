//! From text to the roles' own typed configurations.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use hearth_daemon::config::{DurationText, Reader};
use hearth_daemon::telemetry::{LogFilter, LogFormat};
use hearth_domain::timing::{INIT_TIMEOUT, SHUTDOWN_GRACE_DEFAULT};
use hearth_domain::{HolderId, WorkerId};
use hearth_placement as placement;
use hearth_placement::allocation::RESERVED_CPU_PERCENT;
use hearth_worker::config::{START_TIMEOUT_MAX, START_TIMEOUT_MIN, StartTimeouts};
use hearth_worker_manager as worker_manager;

use super::guest::{self, GuestSettings};
use super::{IsolationChoice, Role};

/// Everything a process needs to know before it binds or makes anything.
#[derive(Debug)]
pub(crate) struct ProcessConfig {
    /// What to serve, and where.
    pub(crate) role: RoleConfig,
    /// The role's own port.
    pub(crate) listen: SocketAddr,
    /// `/live`, `/ready`, `/metrics`.
    pub(crate) admin_listen: SocketAddr,
    /// Time for running calls after SIGTERM.
    pub(crate) grace: Duration,
    /// What to tell on standard error.
    pub(crate) log: (LogFormat, LogFilter),
}

/// The part of the configuration that differs by role.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
pub(crate) enum RoleConfig {
    /// All four.
    Up {
        /// Where all state is.
        data_dir: PathBuf,
        /// The frontend's settings.
        frontend: hearth_frontend::Config,
        /// The worker manager's.
        worker_manager: worker_manager::Config,
        /// Placement's.
        placement: placement::Config,
        /// The worker's.
        worker: WorkerSettings,
    },
    /// One of them.
    Frontend {
        /// Catalog, events, usage, bundles, credentials.
        data_dir: PathBuf,
        /// Its settings.
        config: hearth_frontend::Config,
        /// Where the worker manager serves.
        worker_manager: String,
    },
    /// One of them.
    WorkerManager {
        /// Its settings.
        config: worker_manager::Config,
        /// Where placement serves.
        placement: String,
    },
    /// One of them.
    Placement {
        /// Its settings.
        config: placement::Config,
    },
    /// One of them.
    Worker {
        /// Its settings.
        config: WorkerSettings,
        /// Where placement serves.
        placement: String,
        /// Where others reach it, if not at its listening address.
        advertise: Option<String>,
    },
}

/// A worker's settings, as far as they are known before anything binds.
#[derive(Debug)]
pub(crate) struct WorkerSettings {
    /// Its name.
    pub(crate) id: WorkerId,
    /// Its own directory.
    pub(crate) data_dir: PathBuf,
    /// Where the frontend's bundles are.
    pub(crate) bundle_dir: PathBuf,
    /// How sandboxes are separated.
    pub(crate) isolation: IsolationChoice,
    /// What microVMs boot from.
    pub(crate) guest_images: PathBuf,
    /// How microVMs are made of those.
    pub(crate) guests: GuestSettings,
    /// See [`hearth_worker::Config`].
    pub(crate) pool_size: Option<u32>,
    /// See [`hearth_worker::Config`].
    pub(crate) pool_max: Option<u32>,
    /// See [`hearth_worker::Config`].
    pub(crate) snapshots: Option<Switch>,
    /// Megabytes; see [`hearth_worker::Config`].
    pub(crate) snapshots_max_mb: Option<u64>,
    /// See [`hearth_worker::Config`].
    pub(crate) start_timeouts: StartTimeouts,
    /// See [`hearth_worker::Config`].
    pub(crate) init_timeout: Duration,
    /// See [`hearth_worker::Config`].
    pub(crate) max_slots: Option<u32>,
    /// See [`hearth_worker::Config`].
    pub(crate) memory_mb: Option<u64>,
    /// See [`hearth_worker::Config`].
    pub(crate) memory_overcommit_percent: Option<u32>,
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err("use on or off".into()),
        }
    }
}

/// Reads a role's settings. `None` only where a mistake was noted.
pub(super) fn read(role: Role, reader: &mut Reader, default_data_dir: &Path) -> Option<ProcessConfig> {
    let (port, admin_port) = match role {
        Role::Up | Role::Frontend => (9000, 9001),
        Role::Placement => (9101, 0),
        Role::WorkerManager => (9102, 0),
        Role::Worker => (9103, 0),
    };
    let listen = reader.or("listen", SocketAddr::from(([127, 0, 0, 1], port)));
    let admin_listen = reader.or("admin-listen", SocketAddr::from(([127, 0, 0, 1], admin_port)));
    let grace = reader.duration_or("shutdown-grace", SHUTDOWN_GRACE_DEFAULT);
    let log = (reader.or("log-format", LogFormat::default()), reader.or("log", LogFilter::default()));
    let role = read_role(role, reader, default_data_dir)?;
    Some(ProcessConfig { role, listen, admin_listen, grace, log })
}

fn read_role(role: Role, reader: &mut Reader, default_data_dir: &Path) -> Option<RoleConfig> {
    let url = |reader: &mut Reader, setting: &str, port: u16| reader.or(setting, format!("http://127.0.0.1:{port}"));
    Some(match role {
        Role::Up => {
            let data_dir = directory(reader, "data-dir", default_data_dir.to_owned());
            let worker = worker(reader, data_dir.join("worker"), data_dir.join("bundles"), "local")?;
            RoleConfig::Up {
                data_dir,
                frontend: frontend(reader),
                worker_manager: worker_manager(reader, "local")?,
                placement: local_placement(reader),
                worker,
            }
        }
        Role::Frontend => RoleConfig::Frontend {
            data_dir: directory(reader, "data-dir", default_data_dir.to_owned()),
            config: frontend(reader),
            worker_manager: url(reader, "worker-manager", 9102),
        },
        Role::WorkerManager => RoleConfig::WorkerManager {
            config: worker_manager(reader, &host_name())?,
            placement: url(reader, "placement", 9101),
        },
        Role::Placement => RoleConfig::Placement { config: placement(reader) },
        Role::Worker => {
            let data_dir = directory(reader, "data-dir", default_data_dir.join("worker"));
            RoleConfig::Worker {
                config: worker(reader, data_dir, default_data_dir.join("bundles"), &host_name())?,
                placement: url(reader, "placement", 9101),
                advertise: reader.optional("advertise"),
            }
        }
    })
}

fn frontend(reader: &mut Reader) -> hearth_frontend::Config {
    let mut config = hearth_frontend::Config::default();
    config.region = reader.or("region", config.region);
    config.function_url_base = reader.optional::<String>("function-url-base");
    if config
        .function_url_base
        .as_ref()
        .is_some_and(|base| !base.starts_with("http://") && !base.starts_with("https://"))
    {
        reader.reject("function-url-base", "must begin with http:// or https://");
    }
    config.capacity_wait = reader.duration_or("capacity-wait", config.capacity_wait);
    config.account_concurrency = reader.or("account-concurrency", config.account_concurrency);
    let delays = reader.list::<DurationText>("async-retry-delays");
    if !delays.is_empty() {
        config.events.retry.waits = delays.into_iter().map(|DurationText(delay)| delay).collect();
    }
    config.events.retry.max_age = reader.duration_or("async-max-age", config.events.retry.max_age);
    config.events.max_running = reader.or("async-concurrency", config.events.max_running);
    config
}

fn worker_manager(reader: &mut Reader, name: &str) -> Option<worker_manager::Config> {
    let holder = reader.optional::<HolderId>("id").or_else(|| HolderId::new(name).ok());
    let mut config = worker_manager::Config::new(holder?);
    let router = &mut config.router;
    router.keep_alive.min = reader.duration_or("keep-alive-min", router.keep_alive.min);
    router.keep_alive.max = reader.duration_or("keep-alive-max", router.keep_alive.max);
    router.keep_alive.default =
        router.keep_alive.default.clamp(router.keep_alive.min, router.keep_alive.max.max(router.keep_alive.min));
    if router.keep_alive.min > router.keep_alive.max {
        reader.reject("keep-alive-min", "must not be above keep-alive-max");
    }
    Some(config)
}

fn placement(reader: &mut Reader) -> placement::Config {
    const SETTING: &str = "cpu-overcommit-percent";
    let mut config = placement::Config::default();
    let percent = &mut config.ledger.load.reserved_cpu_percent;
    *percent = reader.or(SETTING, *percent);
    if !RESERVED_CPU_PERCENT.contains(percent) {
        let (min, max) = (RESERVED_CPU_PERCENT.start(), RESERVED_CPU_PERCENT.end());
        reader.reject(SETTING, format!("must be from {min} to {max}"));
    }
    config
}

/// One worker is all there is: claims need not wait for others to report.
fn local_placement(reader: &mut Reader) -> placement::Config {
    let mut config = placement(reader);
    config.ledger.expected_workers = Some(1);
    config
}

fn worker(reader: &mut Reader, data_dir: PathBuf, bundle_dir: PathBuf, name: &str) -> Option<WorkerSettings> {
    let id = reader.optional::<WorkerId>("id").or_else(|| WorkerId::new(name).ok());
    let usual = StartTimeouts::default();
    Some(WorkerSettings {
        id: id?,
        data_dir,
        bundle_dir: directory(reader, "bundle-dir", bundle_dir),
        isolation: reader.or("isolation", IsolationChoice::Auto),
        guest_images: directory(reader, "guest-images", beside_this_program("guest-images")),
        guests: guest::read(reader),
        pool_size: reader.optional("pool-size"),
        pool_max: reader.optional("pool-max"),
        snapshots: reader.optional("snapshots"),
        snapshots_max_mb: reader.optional("snapshots-max-mb"),
        start_timeouts: StartTimeouts {
            boot: start_timeout(reader, "boot-timeout", usual.boot),
            restore: start_timeout(reader, "restore-timeout", usual.restore),
            snapshot: start_timeout(reader, "snapshot-timeout", usual.snapshot),
        },
        init_timeout: start_timeout(reader, "init-timeout", INIT_TIMEOUT),
        max_slots: reader.optional("max-slots"),
        memory_mb: reader.optional("memory-mb"),
        memory_overcommit_percent: reader.optional("memory-overcommit-percent"),
    })
}

/// How long a worker waits for a sandbox, or for what runs in it before its first call.
fn start_timeout(reader: &mut Reader, setting: &str, default: Duration) -> Duration {
    let timeout = reader.duration_or(setting, default);
    if !(START_TIMEOUT_MIN..=START_TIMEOUT_MAX).contains(&timeout) {
        let [min, max] = [START_TIMEOUT_MIN, START_TIMEOUT_MAX].map(|bound| bound.as_secs());
        reader.reject(setting, format!("must be from {min}s to {max}s"));
    }
    timeout
}

/// A directory, made absolute: sandboxes and child processes have other working directories.
fn directory(reader: &mut Reader, setting: &str, default: PathBuf) -> PathBuf {
    let path = reader.or(setting, default);
    std::path::absolute(&path).unwrap_or(path)
}

/// A path beside this very program; the bare name where that is not known.
pub(crate) fn beside_this_program(name: &str) -> PathBuf {
    std::env::current_exe().map_or_else(|_| name.into(), |own| own.with_file_name(name))
}

/// The kernel's host name, as far as it can be an identifier.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String =
        name.trim().chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    if name.is_empty() { "localhost".into() } else { name }
}
