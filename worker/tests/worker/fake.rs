//! A launcher whose sandboxes are tasks of the test: each speaks the guest protocol over a socket pair as its script says.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::BytesMut;
use hearth_guest_protocol::{GuestMessage, HostMessage, decode, encode, host_message};
use hearth_microvm::{
    BootError, BootSpec, Ended, Isolation, Launcher, Limits, Sandbox, SandboxError, SandboxUsage, Unenforced,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What a sandbox does; its end is the sandbox's end.
pub(crate) type Script = Arc<dyn Fn(Guest) -> Pin<Box<dyn Future<Output = Ended> + Send>> + Send + Sync>;

/// A clean end.
pub(crate) const EXIT_0: Ended = Ended { status: Some(0), signal: None, out_of_memory: false };
/// The end of what was killed.
pub(crate) const KILLED: Ended = Ended { status: None, signal: Some(9), out_of_memory: false };

/// The inside of a fake sandbox.
pub(crate) struct Guest {
    stream: UnixStream,
    buffer: BytesMut,
    usage: Arc<Mutex<SandboxUsage>>,
}

impl Guest {
    /// The worker's next message; `None` once the channel is closed.
    pub(crate) async fn hear(&mut self) -> Option<host_message::Kind> {
        loop {
            if let Some(message) = decode::<HostMessage>(&mut self.buffer).unwrap() {
                return message.kind;
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Says something. What nobody hears any more is lost.
    pub(crate) async fn say(&mut self, message: impl Into<GuestMessage>) {
        let mut bytes = BytesMut::new();
        encode(&message.into(), &mut bytes).unwrap();
        self.say_bytes(&bytes).await;
    }

    /// Says any bytes at all.
    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Uses so much memory.
    pub(crate) fn use_memory(&self, bytes: u64, oom_kills: u64) {
        *self.usage.lock().unwrap() =
            SandboxUsage { memory_bytes: bytes, memory_peak_bytes: bytes, oom_kills, ..SandboxUsage::default() };
    }
}

/// What happened to sandboxes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Booted,
    Code(PathBuf),
    Limits(Limits),
    Paused,
    Resumed,
    Killed,
}

/// Boots fake sandboxes.
pub(crate) struct FakeLauncher {
    script: Script,
    acts: Arc<Mutex<Vec<(String, Act)>>>,
    alive: Arc<AtomicUsize>,
    /// Boots to refuse before one succeeds.
    pub(crate) refuse: AtomicUsize,
}

impl FakeLauncher {
    pub(crate) fn new(script: Script) -> Arc<Self> {
        let alive = Arc::new(AtomicUsize::new(0));
        Arc::new(Self { script, acts: Arc::default(), alive, refuse: AtomicUsize::new(0) })
    }

    /// What happened to the sandboxes, each by its name.
    pub(crate) fn acts(&self) -> Vec<(String, Act)> {
        self.acts.lock().unwrap().clone()
    }

    /// Sandboxes that are not destroyed.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Launcher for FakeLauncher {
    fn isolation(&self) -> Isolation {
        Isolation::Jail
    }

    fn unenforced(&self) -> Vec<Unenforced> {
        Vec::new()
    }

    async fn boot(&self, spec: BootSpec) -> Result<Box<dyn Sandbox>, BootError> {
        let refuse = self.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if refuse {
            let source = std::io::Error::from_raw_os_error(12);
            return Err(BootError { id: spec.id, step: "clone".into(), source });
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let usage = Arc::new(Mutex::new(SandboxUsage { memory_peak_bytes: 10 << 20, ..SandboxUsage::default() }));
        let guest = Guest { stream: theirs, buffer: BytesMut::new(), usage: usage.clone() };
        let (ended_tx, ended) = watch::channel(None);
        let running = (self.script)(guest);
        let tell = ended_tx.clone();
        let task = tokio::spawn(async move {
            let end = running.await;
            tell.send_if_modified(|ended| ended.replace(end).is_none());
        });
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.acts.lock().unwrap().push((spec.id.clone(), Act::Booted));
        let sandbox = FakeSandbox {
            id: spec.id,
            channel: Some(ours),
            usage,
            ended,
            end: ended_tx,
            task: task.abort_handle(),
            acts: self.acts.clone(),
            alive: self.alive.clone(),
        };
        Ok(Box::new(sandbox))
    }

    async fn clean_up(&self) -> Result<usize, SandboxError> {
        Ok(0)
    }
}

struct FakeSandbox {
    id: String,
    channel: Option<UnixStream>,
    usage: Arc<Mutex<SandboxUsage>>,
    ended: watch::Receiver<Option<Ended>>,
    end: watch::Sender<Option<Ended>>,
    task: AbortHandle,
    acts: Arc<Mutex<Vec<(String, Act)>>>,
    alive: Arc<AtomicUsize>,
}

impl FakeSandbox {
    fn act(&self, act: Act) {
        self.acts.lock().unwrap().push((self.id.clone(), act));
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    fn id(&self) -> &str {
        &self.id
    }

    fn channel(&mut self) -> Option<UnixStream> {
        self.channel.take()
    }

    async fn attach_code(&mut self, code: &Path) -> Result<PathBuf, SandboxError> {
        self.act(Act::Code(code.to_owned()));
        Ok("/var/task".into())
    }

    async fn set_limits(&self, limits: Limits) -> Result<(), SandboxError> {
        self.act(Act::Limits(limits));
        Ok(())
    }

    fn usage(&self) -> Result<SandboxUsage, SandboxError> {
        Ok(*self.usage.lock().unwrap())
    }

    fn reset_memory_peak(&self) {}

    async fn pause(&self) -> Result<(), SandboxError> {
        self.act(Act::Paused);
        Ok(())
    }

    async fn resume(&self) -> Result<(), SandboxError> {
        self.act(Act::Resumed);
        Ok(())
    }

    async fn ended(&self) -> Ended {
        self.ended.clone().wait_for(Option::is_some).await.ok().and_then(|ended| *ended).unwrap_or(KILLED)
    }

    async fn kill(&mut self) -> Result<Ended, SandboxError> {
        self.task.abort();
        self.end.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(KILLED);
            first
        });
        self.act(Act::Killed);
        Ok(self.ended().await)
    }
}

impl Drop for FakeSandbox {
    fn drop(&mut self) {
        self.task.abort();
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}
