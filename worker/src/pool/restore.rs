//! Sandboxes from snapshots: making the snapshot of a class, and restoring from it.
//!
//! ```text
//! boot ─Ready─▶ PrepareSnapshot ─SnapshotReady─▶ snapshot (the sandbox ends)
//! restore ─▶ Restore (entropy, clock, name) ─Restored─▶ as if it had just booted
//! ```
//!
//! A snapshot that can't be used is never a failure of the call that met it: a sandbox is booted instead.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_daemon::Clock;
use hearth_guest_protocol::{
    EnvironmentVariable, FrameError, GuestError, Log, PrepareSnapshot, RESTORE_ENTROPY_BYTES, Restore, Restored,
    SnapshotReady, guest_message,
};
use hearth_microvm::{BootError, RestoreError, RestoreSpec, Sandbox, SandboxError};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::boot::{BootFailure, Booted, Boots, Purpose};
use crate::channel::{Channel, ChannelError};
use crate::class::SandboxClass;
use crate::snapshots::{Making, Snapshot};

/// Longest time that the before-snapshot hooks of a function get.
pub(crate) const REST_TIMEOUT: Duration = Duration::from_secs(10);
/// Log messages before the word that is waited for.
const LOGS_MAX: u32 = 100;

/// No snapshot came about; the sandbox that was to become one is gone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeFailure {
    /// There was no sandbox to begin with.
    #[error(transparent)]
    Boot(#[from] BootFailure),
    /// Its shim did not come to rest.
    #[error("its shim did not come to rest: {0}")]
    Talk(#[from] TalkFailure),
    /// The launcher could not write it.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The launcher took too long to write it.
    #[error("it was not written within {} s", .within.as_secs())]
    Slow {
        /// How long was waited.
        within: Duration,
    },
    /// The worker's own part of it failed.
    #[error("its directory: {0}")]
    Directory(#[from] io::Error),
}

/// A shim did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkFailure {
    /// The channel ended or brought no protocol.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// What is to be said does not fit.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It said nothing in time.
    #[error("it was silent")]
    Silent,
    /// It said something else.
    #[error("it said something else")]
    Unexpected,
    /// It could not do it.
    #[error("{} {}", .0.error_type, String::from_utf8_lossy(&.0.document))]
    Failed(GuestError),
    /// The host has no randomness to give.
    #[error("no randomness: {0}")]
    Entropy(rand::rand_core::OsError),
}

/// How a restore went.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// From its start to the shim's word.
    pub(crate) took: Duration,
    /// The shim's part of that: after-restore hooks. A guest's word, so at most the whole.
    pub(crate) hooks: Duration,
    /// What was written meanwhile.
    pub(crate) output: Vec<Log>,
}

/// No sandbox came of a snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreFailure {
    /// Nor would it another time.
    #[error("{0}")]
    Unusable(String),
    /// The host could not start it this time.
    #[error(transparent)]
    Boot(#[from] BootError),
}

impl Boots {
    /// Whether a snapshot of `class` is missing and may be made now.
    pub(crate) fn lacks_snapshot(&self, class: SandboxClass) -> bool {
        self.parts.snapshots.as_ref().is_some_and(|snapshots| snapshots.lacks(&class.to_string()))
    }

    /// Makes the snapshot of `class` unless it is there, is being made, or failed a short while ago. Returns whether it
    /// was made.
    pub(crate) async fn make_snapshot(&self, class: SandboxClass) -> Result<bool, BootFailure> {
        let _permit = self.permit().await?;
        self.make_missing_snapshot(class).await
    }

    /// As [`Self::make_snapshot`], for who has a permit. Fails only if no sandbox boots; any other failure is told here.
    pub(super) async fn make_missing_snapshot(&self, class: SandboxClass) -> Result<bool, BootFailure> {
        let Some(snapshots) = &self.parts.snapshots else { return Ok(false) };
        let made = match snapshots.begin(&key_of(class)) {
            Ok(None) => return Ok(false),
            Ok(Some(making)) => self.make(class, making).await,
            Err(error) => Err(error.into()),
        };
        self.parts.metrics.snapshot_made(made.is_ok());
        match made {
            Ok(()) => Ok(true),
            Err(MakeFailure::Boot(failure)) => Err(failure),
            Err(failure) => {
                warn!(%class, %failure, "no snapshot could be made: sandboxes are booted");
                Ok(false)
            }
        }
    }

    async fn make(&self, class: SandboxClass, making: Making) -> Result<(), MakeFailure> {
        let mut booted = self.boot(class, Purpose::Pool, Some(making.machine())).await?;
        let rest = timeout(self.parts.timeouts.snapshot, prepare_snapshot(&mut booted.channel));
        rest.await.unwrap_or(Err(TalkFailure::Silent))?;
        self.write_snapshot(&mut *booted.sandbox, making).await
    }

    /// Writes the snapshot of a sandbox at rest, which ends.
    pub(crate) async fn write_snapshot(&self, sandbox: &mut dyn Sandbox, making: Making) -> Result<(), MakeFailure> {
        let within = self.parts.timeouts.snapshot;
        timeout(within, sandbox.snapshot()).await.map_err(|_| MakeFailure::Slow { within })??;
        Ok(making.done().await?)
    }

    /// A sandbox from the snapshot of `class`; `None` if there is none that can be used.
    pub(super) async fn restore_pooled(
        &self,
        class: SandboxClass,
        snapshot_into: Option<PathBuf>,
    ) -> Result<Option<Booted>, BootFailure> {
        let restored = self.restore_known(class, &key_of(class), snapshot_into, Vec::new()).await?;
        Ok(restored.map(|(booted, _)| booted))
    }

    /// A sandbox from the snapshot of `key`, with new values of some environment variables; `None` if there is none that
    /// can be used.
    pub(super) async fn restore_known(
        &self,
        class: SandboxClass,
        key: &Arc<str>,
        snapshot_into: Option<PathBuf>,
        environment: Vec<EnvironmentVariable>,
    ) -> Result<Option<(Booted, Resumed)>, BootFailure> {
        let found = self.parts.snapshots.as_ref().and_then(|snapshots| snapshots.find(key));
        let Some(snapshot) = found else { return Ok(None) };
        match self.restore(class, snapshot.clone(), snapshot_into, environment).await {
            Ok(restored) => Ok(Some(restored)),
            Err(RestoreFailure::Boot(error)) => Err(error.into()),
            Err(RestoreFailure::Unusable(reason)) => {
                self.parts.metrics.snapshot_refused();
                snapshot.unusable(&reason);
                Ok(None)
            }
        }
    }

    async fn restore(
        &self,
        class: SandboxClass,
        snapshot: Snapshot,
        snapshot_into: Option<PathBuf>,
        environment: Vec<EnvironmentVariable>,
    ) -> Result<(Booted, Resumed), RestoreFailure> {
        let began = Instant::now();
        let spec = RestoreSpec {
            id: self.next_id(),
            snapshot: snapshot.machine(),
            limits: self.sizing().boot_limits(class.memory),
            snapshot_into,
        };
        let host_name = spec.id.clone();
        let restore = async {
            let under_way = self.parts.starting.begin().await;
            let mut sandbox = self.parts.launcher.restore(spec).await?;
            drop(under_way);
            let stream =
                sandbox.channel().ok_or_else(|| RestoreFailure::Unusable(BootFailure::NoChannel.to_string()))?;
            let unusable = |failure: TalkFailure| RestoreFailure::Unusable(failure.to_string());
            let mut channel = Channel::new(stream).map_err(|error| unusable(ChannelError::from(error).into()))?;
            // Only now: it tells the time.
            let message = restore_message(host_name, environment).map_err(unusable)?;
            let resumed = tell_restored(&mut channel, message).await.map_err(unusable)?;
            Ok((sandbox, channel, resumed))
        };
        let silent = |_| Err(RestoreFailure::Unusable(TalkFailure::Silent.to_string()));
        let (sandbox, channel, resumed) = timeout(self.parts.timeouts.restore, restore).await.unwrap_or_else(silent)?;
        snapshot.used();
        let took = began.elapsed();
        self.parts.metrics.started(true, took);
        let resumed = Resumed { took, hooks: resumed.hooks.min(took), ..resumed };
        Ok((Booted { sandbox, channel, from_pool: false, origin: Some(snapshot) }, resumed))
    }
}

impl From<RestoreError> for RestoreFailure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Unusable { reason, .. } => Self::Unusable(reason),
            RestoreError::Boot(error) => Self::Boot(error),
        }
    }
}

/// What the snapshot of a class is known by.
fn key_of(class: SandboxClass) -> Arc<str> {
    class.to_string().into()
}

/// Brings the shim to rest.
async fn prepare_snapshot(channel: &mut Channel) -> Result<(), TalkFailure> {
    channel.writer.queue(&PrepareSnapshot {}.into())?;
    channel.writer.flush().await?;
    match next_word(channel, &mut Vec::new()).await? {
        guest_message::Kind::SnapshotReady(SnapshotReady { error: None }) => Ok(()),
        guest_message::Kind::SnapshotReady(SnapshotReady { error: Some(error) }) => Err(TalkFailure::Failed(error)),
        _ => Err(TalkFailure::Unexpected),
    }
}

/// Makes the sandbox another than those that came of the same snapshot.
async fn tell_restored(channel: &mut Channel, message: Restore) -> Result<Resumed, TalkFailure> {
    channel.writer.queue(&message.into())?;
    channel.writer.flush().await?;
    let mut output = Vec::new();
    match next_word(channel, &mut output).await? {
        guest_message::Kind::Restored(Restored { error: None, duration_us }) => {
            Ok(Resumed { took: Duration::ZERO, hooks: Duration::from_micros(duration_us), output })
        }
        guest_message::Kind::Restored(Restored { error: Some(error), .. }) => Err(TalkFailure::Failed(error)),
        _ => Err(TalkFailure::Unexpected),
    }
}

/// What every sandbox gets of its own.
fn restore_message(host_name: String, environment: Vec<EnvironmentVariable>) -> Result<Restore, TalkFailure> {
    let mut entropy = vec![0; RESTORE_ENTROPY_BYTES];
    OsRng.try_fill_bytes(&mut entropy).map_err(TalkFailure::Entropy)?;
    let unix_ns = Clock::unix_ms().saturating_mul(1_000_000);
    Ok(Restore { entropy: Bytes::from(entropy), unix_ns, host_name, network: None, environment })
}

/// The next message that is no output; what is goes to `output`.
async fn next_word(channel: &mut Channel, output: &mut Vec<Log>) -> Result<guest_message::Kind, TalkFailure> {
    for _ in 0..LOGS_MAX {
        match channel.reader.receive().await? {
            guest_message::Kind::Log(log) => output.push(log),
            other => return Ok(other),
        }
    }
    Err(TalkFailure::Unexpected)
}
