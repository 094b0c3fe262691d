//! The worker's side of the channel, as far as measuring needs it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use hearth_guest_protocol::{
    GuestMessage, HostMessage, Init, Invoke, PrepareSnapshot, RESTORE_ENTROPY_BYTES, Ready, Restore, decode, encode,
    guest_message, response,
};
use hearth_microvm::Sandbox;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Longest wait for a word: an emulated machine takes its time.
const WORD_TIMEOUT: Duration = Duration::from_secs(120);

/// A channel to a shim.
pub(super) struct Dialogue {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Dialogue {
    /// Takes the sandbox's channel.
    pub(super) fn with(sandbox: &mut dyn Sandbox) -> Result<Self> {
        let stream = sandbox.channel().context("the sandbox has no channel")?;
        Ok(Self { stream, buffer: BytesMut::new() })
    }

    /// Waits until the shim is up.
    pub(super) async fn ready(&mut self) -> Result<Ready> {
        match self.next().await? {
            guest_message::Kind::Ready(ready) => Ok(ready),
            other => bail!("the shim said {other:?} instead of Ready"),
        }
    }

    /// Has the shim come to rest for a snapshot.
    pub(super) async fn prepare_snapshot(&mut self) -> Result<()> {
        self.say(&PrepareSnapshot {}.into()).await?;
        match self.next().await? {
            guest_message::Kind::SnapshotReady(ready) if ready.error.is_none() => Ok(()),
            other => bail!("the shim said {other:?} instead of SnapshotReady"),
        }
    }

    /// Tells a restored shim who it is now, and waits until it is that.
    pub(super) async fn restored(&mut self, host_name: &str) -> Result<()> {
        let mut entropy = [0; RESTORE_ENTROPY_BYTES];
        getrandom(&mut entropy, GetRandomFlags::empty())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let restore = Restore {
            entropy: Bytes::copy_from_slice(&entropy),
            unix_ns: now.as_nanos().try_into().unwrap_or(u64::MAX),
            host_name: host_name.to_owned(),
            network: None,
            environment: Vec::new(),
        };
        self.say(&restore.into()).await?;
        match self.next().await? {
            guest_message::Kind::Restored(restored) if restored.error.is_none() => Ok(()),
            other => bail!("the shim said {other:?} instead of Restored"),
        }
    }

    /// Has the runtime load its function.
    pub(super) async fn init(&mut self, init: Init) -> Result<()> {
        self.say(&init.into()).await?;
        match self.next().await? {
            guest_message::Kind::InitDone(done) if done.error.is_none() => Ok(()),
            other => bail!("the shim said {other:?} instead of InitDone"),
        }
    }

    /// Calls the function, which is to answer with what it was asked.
    pub(super) async fn call(&mut self, invoke: Invoke) -> Result<()> {
        let question = invoke.payload.clone();
        self.say(&invoke.into()).await?;
        match self.next().await? {
            guest_message::Kind::Response(answer) => match answer.outcome {
                Some(response::Outcome::Payload(payload)) if same_json(&payload, &question) => Ok(()),
                other => bail!("the function answered {other:?}"),
            },
            other => bail!("the shim said {other:?} instead of an answer"),
        }
    }

    async fn say(&mut self, message: &HostMessage) -> Result<()> {
        let mut frame = BytesMut::new();
        encode(message, &mut frame)?;
        Ok(self.stream.write_all(&frame).await?)
    }

    /// The next message that is neither a log nor usage.
    async fn next(&mut self) -> Result<guest_message::Kind> {
        tokio::time::timeout(WORD_TIMEOUT, self.receive()).await.context("the shim says nothing")?
    }

    async fn receive(&mut self) -> Result<guest_message::Kind> {
        loop {
            if let Some(message) = decode::<GuestMessage>(&mut self.buffer)? {
                match message.kind.context("the shim sent an empty message")? {
                    guest_message::Kind::Log(log) => eprint!("{}", String::from_utf8_lossy(&log.data)),
                    guest_message::Kind::Stats(_) => {}
                    kind => return Ok(kind),
                }
            } else if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the sandbox ended without a word");
            }
        }
    }
}

/// Each language has spaces of its own.
fn same_json(answer: &[u8], question: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    read(answer).is_some_and(|answer| Some(answer) == read(question))
}
