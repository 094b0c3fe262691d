//! Starts one sandbox up to the word of its shim that it is there: from a snapshot where there is one, else booted.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hearth_guest_protocol::{PROTOCOL_VERSION, Ready, guest_message};
use hearth_microvm::{BootError, BootSpec, Isolation, Launcher, Sandbox, SandboxError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tracing::debug;

use crate::channel::{Channel, ChannelError};
use crate::class::{SandboxClass, Sizing};
use crate::config::StartTimeouts;
use crate::metrics::Metrics;
use crate::runtime::{Bootstraps, Offer, RUNTIME_DIR, RuntimeClass, shim_environment};
use crate::snapshots::{Snapshot, Snapshots};
use crate::starting::Starting;

/// Log messages before the shim's word: what a language runtime says when it can't start.
const BOOT_LOGS_MAX: u32 = 100;

/// Starts sandboxes, a bounded number at a time.
pub(crate) struct Boots {
    pub(super) parts: BootParts,
    permits: Semaphore,
    count: AtomicU64,
}

/// What sandboxes are started with.
pub(crate) struct BootParts {
    /// Starts them.
    pub(crate) launcher: Arc<dyn Launcher>,
    /// Their first program.
    pub(crate) shim: PathBuf,
    /// What can be started in them.
    pub(crate) offer: Offer,
    /// The languages' part of what is started.
    pub(crate) bootstraps: Bootstraps,
    /// Most that start at the same time.
    pub(crate) concurrency: u32,
    /// How long each may take.
    pub(crate) timeouts: StartTimeouts,
    /// Tells the sandboxes of this worker's run from others'.
    pub(crate) prefix: String,
    /// Starts that are under way.
    pub(crate) starting: Starting,
    /// Where snapshots are, if sandboxes start from them.
    pub(crate) snapshots: Option<Arc<Snapshots>>,
    /// Counts starts.
    pub(crate) metrics: Metrics,
}

/// What a sandbox is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To wait, warm: its language runtime is there and has done all it can before it has a function.
    Pool,
    /// A call that waits for it: it counts as booted when its shim is up, so that the code can be put there while the
    /// language runtime starts.
    Call,
}

/// A sandbox whose shim is up.
pub(crate) struct Booted {
    /// The sandbox.
    pub(crate) sandbox: Box<dyn Sandbox>,
    /// The talk with its shim.
    pub(crate) channel: Channel,
    /// Whether it waited in the pool.
    pub(crate) from_pool: bool,
    /// What it was restored from.
    pub(crate) origin: Option<Snapshot>,
}

/// A sandbox did not come up. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootFailure {
    /// The launcher could not start it.
    #[error(transparent)]
    Launcher(#[from] BootError),
    /// It ended, or its first words were no protocol.
    #[error("{source}{}", said(.output))]
    Channel {
        /// What happened.
        source: ChannelError,
        /// What it wrote before.
        output: String,
    },
    /// It said nothing.
    #[error("its shim did not report within {} s", .within.as_secs())]
    Silent {
        /// How long was waited.
        within: Duration,
    },
    /// Its first word was another than Ready.
    #[error("its shim did not begin with Ready{}", said(.output))]
    NotReady {
        /// What it wrote before.
        output: String,
    },
    /// The shim is of another version.
    #[error("its shim speaks protocol version {found}, this worker {PROTOCOL_VERSION}: they must come from one build")]
    Version {
        /// The shim's.
        found: u32,
    },
    /// The launcher gave no channel.
    #[error("the launcher gave no channel")]
    NoChannel,
    /// The worker stops.
    #[error("the worker is shutting down")]
    Stopping,
}

impl Boots {
    /// Starts nothing yet.
    pub(crate) fn new(parts: BootParts) -> Arc<Self> {
        let permits = Semaphore::new(parts.concurrency.max(1) as usize);
        Arc::new(Self { parts, permits, count: AtomicU64::new(0) })
    }

    /// Starts one sandbox of `class`. One for the pool makes the snapshot first if it is missing; a call has no time for
    /// that.
    pub(crate) async fn start(&self, class: SandboxClass, purpose: Purpose) -> Result<Booted, BootFailure> {
        let _permit = self.permit().await?;
        if purpose == Purpose::Pool {
            self.make_missing_snapshot(class).await?;
        }
        if let Some(restored) = self.restore_pooled(class, None).await? {
            return Ok(restored);
        }
        self.boot(class, purpose, None).await
    }

    /// Boots one sandbox of `class`, from which a snapshot will be made in `snapshot_into`, if given.
    pub(super) async fn boot(
        &self,
        class: SandboxClass,
        purpose: Purpose,
        snapshot_into: Option<PathBuf>,
    ) -> Result<Booted, BootFailure> {
        let began = Instant::now();
        let spec = BootSpec { snapshot_into, ..self.spec(class, purpose) };
        let boot = async {
            let under_way = self.parts.starting.begin().await;
            let mut sandbox = self.parts.launcher.boot(spec).await?;
            drop(under_way);
            let stream = sandbox.channel().ok_or(BootFailure::NoChannel)?;
            let mut channel = Channel::new(stream)
                .map_err(|error| BootFailure::Channel { source: error.into(), output: String::new() })?;
            let ready = first_word(&mut channel).await?;
            if ready.protocol_version != PROTOCOL_VERSION {
                return Err(BootFailure::Version { found: ready.protocol_version });
            }
            if let Err(error) = sandbox.record_prefetch().await {
                debug!(%error, "boots go on without bringing anything in ahead");
            }
            Ok(Booted { sandbox, channel, from_pool: false, origin: None })
        };
        let within = self.parts.timeouts.boot;
        let booted = tokio::time::timeout(within, boot).await.unwrap_or(Err(BootFailure::Silent { within }))?;
        self.parts.metrics.started(false, began.elapsed());
        Ok(booted)
    }

    /// A permit for a start that is nobody's call and not the pool's.
    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>, BootFailure> {
        self.permits.acquire().await.map_err(|_| BootFailure::Stopping)
    }

    /// Makes a function's code visible in its sandbox, and says where.
    pub(crate) async fn attach_code(&self, sandbox: &mut dyn Sandbox, code: &Path) -> Result<PathBuf, SandboxError> {
        let _under_way = self.parts.starting.begin().await;
        sandbox.attach_code(code).await
    }

    /// Makes a function's merged layers visible in its sandbox, and says where.
    pub(crate) async fn attach_layers(
        &self,
        sandbox: &mut dyn Sandbox,
        layers: &Path,
    ) -> Result<PathBuf, SandboxError> {
        let _under_way = self.parts.starting.begin().await;
        sandbox.attach_layers(layers).await
    }

    /// When sandboxes get their size here.
    pub(crate) fn sizing(&self) -> Sizing {
        Sizing::of(self.parts.launcher.isolation())
    }

    /// Where a function sees the bootstraps.
    pub(crate) fn runtime_dir(&self) -> &Path {
        match self.parts.launcher.isolation() {
            // Without a mount namespace there is only the host's path.
            Isolation::Process => self.parts.bootstraps.dir(),
            Isolation::Jail | Isolation::Kvm => Path::new(RUNTIME_DIR),
        }
    }

    /// A name for one more sandbox.
    pub(super) fn next_id(&self) -> String {
        format!("{}-{}", self.parts.prefix, self.count.fetch_add(1, Ordering::Relaxed))
    }

    fn spec(&self, class: SandboxClass, purpose: Purpose) -> BootSpec {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        BootSpec {
            id: format!("{}-{number}", self.parts.prefix),
            init: self.parts.shim.clone(),
            args: self.shim_arguments(class.runtime, purpose),
            env: shim_environment(self.runtime_dir()),
            read_only: vec![(self.parts.bootstraps.dir().to_owned(), RUNTIME_DIR.into())],
            limits: self.sizing().boot_limits(class.memory),
            image: self.parts.offer.image(class.runtime).map(str::to_owned),
            snapshot_into: None,
        }
    }

    fn shim_arguments(&self, class: RuntimeClass, purpose: Purpose) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if self.parts.launcher.isolation() == Isolation::Process {
            // The host's ports are shared with everybody: any free one.
            arguments.extend(["--runtime-api".into(), "127.0.0.1:0".into()]);
        }
        if let Some((uid, gid)) = self.parts.launcher.user() {
            arguments.extend(["--user".into(), format!("{uid}:{gid}").into()]);
        }
        if purpose == Purpose::Call {
            arguments.push("--wanted".into());
        }
        let command = self.parts.offer.command(class, self.runtime_dir());
        if !command.is_empty() {
            // Not `--`: a kernel, which is what starts the shim of a microVM, keeps that to itself.
            arguments.push("--command".into());
            arguments.extend(command);
        }
        arguments
    }
}

impl fmt::Debug for Boots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boots")
            .field("prefix", &self.parts.prefix)
            .field("shim", &self.parts.shim)
            .finish_non_exhaustive()
    }
}

/// Waits for Ready, and keeps what is written before it for the case that it never comes.
async fn first_word(channel: &mut Channel) -> Result<Ready, BootFailure> {
    let mut output = String::new();
    for _ in 0..BOOT_LOGS_MAX {
        match channel.reader.receive().await {
            Ok(guest_message::Kind::Ready(ready)) => return Ok(ready),
            Ok(guest_message::Kind::Log(log)) if output.len() < OUTPUT_KEPT_BYTES => {
                output.push_str(&String::from_utf8_lossy(&log.data));
            }
            Ok(guest_message::Kind::Log(_)) => {}
            Ok(_) => break,
            Err(source) => return Err(BootFailure::Channel { source, output }),
        }
    }
    Err(BootFailure::NotReady { output })
}

/// Output kept of a sandbox that does not come up, bytes (and at most one message more).
const OUTPUT_KEPT_BYTES: usize = 4 * 1024;

fn said(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() { String::new() } else { format!("; it wrote: {output:?}") }
}
