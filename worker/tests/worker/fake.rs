//! A launcher whose sandboxes are tasks of the test: each speaks the guest protocol over a socket pair as its script says.
//! As microVMs they have images and snapshots: what a script remembers is in its sandbox's snapshot, and known to those
//! that are restored from it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::BytesMut;
use hearth_guest_protocol::{GuestMessage, HostMessage, decode, encode, host_message};
use hearth_microvm::{
    BootError, BootSpec, Ended, GuestImage, Isolation, Launcher, Limits, RestoreError, RestoreSpec, Sandbox,
    SandboxError, SandboxUsage, Unenforced,
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

/// The file of a fake snapshot.
const SNAPSHOT: &str = "memory";

/// The inside of a fake sandbox.
pub(crate) struct Guest {
    stream: UnixStream,
    buffer: BytesMut,
    inside: Arc<Mutex<Inside>>,
    /// Whether it goes on where a snapshot was taken.
    pub(crate) restored: bool,
    /// What it was told to be when it was restored: entropy and host name.
    pub(crate) identity: String,
}

/// What the host sees of it.
#[derive(Default)]
struct Inside {
    usage: SandboxUsage,
    memory: String,
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
        self.inside.lock().unwrap().usage =
            SandboxUsage { memory_bytes: bytes, memory_peak_bytes: bytes, oom_kills, ..SandboxUsage::default() };
    }

    /// Keeps `text` in its memory, and so in its snapshot.
    pub(crate) fn remember(&self, text: &str) {
        text.clone_into(&mut self.inside.lock().unwrap().memory);
    }

    /// What it remembers.
    pub(crate) fn memory(&self) -> String {
        self.inside.lock().unwrap().memory.clone()
    }
}

/// What happened to sandboxes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Booted,
    Restored,
    Code(PathBuf),
    Limits(Limits),
    Paused,
    Resumed,
    Snapshot,
    Prefetch,
    Killed,
}

/// Boots fake sandboxes.
pub(crate) struct FakeLauncher {
    script: Script,
    isolation: Isolation,
    acts: Arc<Mutex<Vec<(String, Act)>>>,
    alive: Arc<AtomicUsize>,
    specs: Mutex<Vec<BootSpec>>,
    /// Boots to refuse before one succeeds.
    pub(crate) refuse: AtomicUsize,
    /// Restores to refuse, the snapshot being of no use, before one succeeds.
    pub(crate) unusable: AtomicUsize,
    /// What snapshots depend on.
    pub(crate) build: Mutex<String>,
}

impl FakeLauncher {
    pub(crate) fn new(isolation: Isolation, script: Script) -> Arc<Self> {
        Arc::new(Self {
            script,
            isolation,
            acts: Arc::default(),
            alive: Arc::default(),
            specs: Mutex::default(),
            refuse: AtomicUsize::new(0),
            unusable: AtomicUsize::new(0),
            build: Mutex::new("build-1".into()),
        })
    }

    /// What happened to the sandboxes, each by its name.
    pub(crate) fn acts(&self) -> Vec<(String, Act)> {
        self.acts.lock().unwrap().clone()
    }

    /// How often something happened.
    pub(crate) fn count(&self, act: &Act) -> usize {
        self.acts.lock().unwrap().iter().filter(|(_, other)| other == act).count()
    }

    /// What was asked for at boots, in order.
    pub(crate) fn specs(&self) -> Vec<BootSpec> {
        self.specs.lock().unwrap().clone()
    }

    /// Sandboxes that are not destroyed.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    fn start(&self, id: String, act: Act, memory: Option<String>, snapshot_into: Option<PathBuf>) -> Box<dyn Sandbox> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let restored = memory.is_some();
        let usage = SandboxUsage { memory_peak_bytes: 10 << 20, ..SandboxUsage::default() };
        let inside = Arc::new(Mutex::new(Inside { usage, memory: memory.unwrap_or_default() }));
        let guest = Guest {
            stream: theirs,
            buffer: BytesMut::new(),
            inside: inside.clone(),
            restored,
            identity: String::new(),
        };
        let (end, ended) = watch::channel(None);
        let running = (self.script)(guest);
        let tell = end.clone();
        let task = tokio::spawn(async move {
            let end = running.await;
            tell.send_if_modified(|ended| ended.replace(end).is_none());
        });
        self.alive.fetch_add(1, Ordering::SeqCst);
        let (task, acts, alive) = (task.abort_handle(), self.acts.clone(), self.alive.clone());
        let channel = Some(ours);
        let sandbox = FakeSandbox { id, channel, inside, ended, end, task, acts, alive, snapshot_into, restored };
        sandbox.act(act);
        Box::new(sandbox)
    }
}

fn count_down(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Launcher for FakeLauncher {
    fn isolation(&self) -> Isolation {
        self.isolation
    }

    fn unenforced(&self) -> Vec<Unenforced> {
        Vec::new()
    }

    async fn boot(&self, spec: BootSpec) -> Result<Box<dyn Sandbox>, BootError> {
        self.specs.lock().unwrap().push(spec.clone());
        if count_down(&self.refuse) {
            let source = std::io::Error::from_raw_os_error(12);
            return Err(BootError { id: spec.id, step: "clone".into(), source });
        }
        Ok(self.start(spec.id, Act::Booted, None, spec.snapshot_into))
    }

    fn images(&self) -> Vec<GuestImage> {
        if self.isolation != Isolation::Kvm {
            return Vec::new();
        }
        let python = GuestImage { name: "python3.11".into(), interpreter: Some("/usr/bin/python3.11".into()) };
        vec![GuestImage { name: "provided".into(), interpreter: None }, python]
    }

    fn has_snapshots(&self) -> bool {
        self.isolation == Isolation::Kvm
    }

    fn snapshots_depend_on(&self) -> String {
        self.build.lock().unwrap().clone()
    }

    async fn restore(&self, spec: RestoreSpec) -> Result<Box<dyn Sandbox>, RestoreError> {
        let unusable = |reason: &str| RestoreError::Unusable { snapshot: spec.snapshot.clone(), reason: reason.into() };
        if count_down(&self.unusable) {
            return Err(unusable("it is of another build"));
        }
        let memory = std::fs::read_to_string(spec.snapshot.join(SNAPSHOT)).map_err(|_| unusable("it is damaged"))?;
        Ok(self.start(spec.id, Act::Restored, Some(memory), spec.snapshot_into))
    }

    async fn clean_up(&self) -> Result<usize, SandboxError> {
        Ok(0)
    }
}

struct FakeSandbox {
    id: String,
    channel: Option<UnixStream>,
    inside: Arc<Mutex<Inside>>,
    ended: watch::Receiver<Option<Ended>>,
    end: watch::Sender<Option<Ended>>,
    task: AbortHandle,
    acts: Arc<Mutex<Vec<(String, Act)>>>,
    alive: Arc<AtomicUsize>,
    snapshot_into: Option<PathBuf>,
    restored: bool,
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
        Ok(self.inside.lock().unwrap().usage)
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

    async fn snapshot(&mut self) -> Result<PathBuf, SandboxError> {
        self.act(Act::Snapshot);
        let into = self.snapshot_into.take().expect("nobody said where to");
        std::fs::create_dir(&into).unwrap();
        std::fs::write(into.join(SNAPSHOT), &self.inside.lock().unwrap().memory).unwrap();
        self.task.abort();
        Ok(into)
    }

    async fn record_prefetch(&self) -> Result<(), SandboxError> {
        // Boots ask for it, too, each time; what of it is new is the launcher's to know.
        if self.restored {
            self.act(Act::Prefetch);
        }
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
