//! The interface behind which jail, microVM and plain process stand.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UnixStream;

/// How a sandbox is separated from its host, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// A microVM of its own on KVM.
    Kvm,
    /// Namespaces, cgroups, seccomp, no capabilities.
    Jail,
    /// A process group with resource limits: no security boundary.
    Process,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Jail => "jail",
            Self::Process => "process",
        })
    }
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        match value {
            "kvm" => Ok(Self::Kvm),
            "jail" => Ok(Self::Jail),
            "process" => Ok(Self::Process),
            other => Err(format!("unknown isolation {other:?}: use kvm, jail or process")),
        }
    }
}

/// What a sandbox may use. Exceeding one ends or blocks only that sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of everything inside, bytes, `/tmp` included.
    pub memory_bytes: u64,
    /// CPU time per time, thousandths of a CPU.
    pub milli_cpus: u32,
    /// Processes and threads.
    pub max_processes: u32,
    /// Open files of one process.
    pub max_open_files: u64,
    /// Size of `/tmp`, bytes.
    pub tmp_bytes: u64,
}

/// What to boot.
#[derive(Debug, Clone)]
pub struct BootSpec {
    /// Names the sandbox on this host: `[a-z0-9-]`, at most 64 bytes, unique among those alive.
    pub id: String,
    /// The program that becomes the sandbox's first process; a path on the host.
    pub init: PathBuf,
    /// Its arguments, without the program name.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Files and directories of the host that are visible inside, read-only: (host path, absolute path inside).
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// What it may use until [`Sandbox::set_limits`]. A microVM has this much memory and this many CPUs for good.
    pub limits: Limits,
    /// The root file system, by the name of one of [`Launcher::images`]; the host's own programs if absent, which
    /// only sandboxes on the host's kernel can have.
    pub image: Option<String>,
    /// Where [`Sandbox::snapshot`] will put its snapshot, a directory that does not exist yet; absent if there will be
    /// none. The sandbox's memory lies there from the start, so that the snapshot costs no copy of it.
    pub snapshot_into: Option<PathBuf>,
}

/// Longest [`BootSpec::id`], bytes.
const MAX_ID_BYTES: usize = 64;

impl BootSpec {
    /// Refuses an id that could be a path, and makes the host's paths independent of who looks.
    pub(crate) fn checked(mut self) -> Result<Self, BootError> {
        match self.make_absolute() {
            Ok(()) => Ok(self),
            Err(source) => Err(BootError { id: self.id, step: "check".to_owned(), source }),
        }
    }

    fn make_absolute(&mut self) -> io::Result<()> {
        check_id(&self.id)?;
        self.init = std::path::absolute(&self.init)?;
        for (host, _) in &mut self.read_only {
            *host = std::path::absolute(&*host)?;
        }
        Ok(())
    }
}

/// Refuses a name that could be a path.
pub(crate) fn check_id(id: &str) -> io::Result<()> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(legal) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "an id is 1 to 64 of a-z, 0-9 and -"))
}

/// Boots sandboxes of one kind.
#[async_trait]
pub trait Launcher: Send + Sync + 'static {
    /// The kind.
    fn isolation(&self) -> Isolation;

    /// What can't be enforced on this host, each with what to do about it. Empty where all holds.
    fn unenforced(&self) -> Vec<Unenforced>;

    /// The user and group, as seen inside, for programs other than the first; `None` where there is only one user.
    fn user(&self) -> Option<(u32, u32)> {
        None
    }

    /// Starts a sandbox. Answers as soon as its first process runs; that it is *up* is for the channel to say.
    async fn boot(&self, spec: BootSpec) -> Result<Box<dyn Sandbox>, BootError>;

    /// Root file systems that sandboxes of this kind can have; none where they have the host's.
    fn images(&self) -> Vec<GuestImage> {
        Vec::new()
    }

    /// Whether [`Sandbox::snapshot`] and [`Self::restore`] work here.
    fn has_snapshots(&self) -> bool {
        false
    }

    /// What snapshots made here depend on besides what [`BootSpec`] says: kernel, images, the monitor's version. One that
    /// was made while this said something else is not restored.
    fn snapshots_depend_on(&self) -> String {
        String::new()
    }

    /// Makes what [`Sandbox::attach_code`] wants from a directory of code that will not change any more: the directory
    /// itself, or an image beside it. Blocking; called once for each directory. The image is the caller's to remove.
    fn prepare_code(&self, code: &Path) -> std::io::Result<PathBuf> {
        Ok(code.to_owned())
    }

    /// Whether sandboxes have layers in the image of their code, which then has the directories `task` and `opt`: there is
    /// no [`Sandbox::attach_layers`] then.
    fn layers_in_code(&self) -> bool {
        false
    }

    /// Starts a sandbox from a snapshot. Its first process goes on where it was; it has a new channel in place of the
    /// old, and has to be told that it is another now.
    async fn restore(&self, spec: RestoreSpec) -> Result<Box<dyn Sandbox>, RestoreError> {
        Err(RestoreError::Unusable { snapshot: spec.snapshot, reason: "this kind of sandbox has none".to_owned() })
    }

    /// Ends whatever sandboxes an earlier process left under this launcher's state directory; returns how many.
    async fn clean_up(&self) -> Result<usize, SandboxError>;
}

/// A root file system for microVMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestImage {
    /// Its name, such as `python3.11`: the runtime it is for.
    pub name: String,
    /// The interpreter within it, if it has one to be started ahead of any code.
    pub interpreter: Option<PathBuf>,
}

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreSpec {
    /// As [`BootSpec::id`].
    pub id: String,
    /// The directory that [`Sandbox::snapshot`] filled.
    pub snapshot: PathBuf,
    /// As [`BootSpec::limits`]; the machine itself is as large as it was.
    pub limits: Limits,
    /// As [`BootSpec::snapshot_into`]: the restored sandbox will be snapshotted in its turn.
    pub snapshot_into: Option<PathBuf>,
}

/// No sandbox came of a snapshot. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot will never do here: another version, another CPU, damaged. Boot instead, and make a new one.
    #[error("the snapshot {snapshot} can't be used: {reason}")]
    Unusable {
        /// Its directory.
        snapshot: PathBuf,
        /// Why.
        reason: String,
    },
    /// This time it failed.
    #[error(transparent)]
    Boot(#[from] BootError),
}

/// A limit that this host can't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unenforced {
    /// Which limit or wall.
    pub what: String,
    /// Why not here.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

/// A running sandbox. Dropping it kills it.
#[async_trait]
pub trait Sandbox: Send + Sync + 'static {
    /// The name from [`BootSpec::id`].
    fn id(&self) -> &str;

    /// The channel to the first process. Given out once; `None` afterwards.
    fn channel(&mut self) -> Option<UnixStream>;

    /// Makes code visible, read-only, inside the sandbox, and says where: `/var/task`, except where there is no mount
    /// namespace. `code` is what [`Launcher::prepare_code`] made. In a microVM it is there as a drive, which the first
    /// process mounts. At most once.
    async fn attach_code(&mut self, code: &Path) -> Result<PathBuf, SandboxError>;

    /// Makes a directory of merged layers visible, read-only, and says where: `/opt`, except where there is no mount
    /// namespace. At most once. Not for kinds with [`Launcher::layers_in_code`].
    async fn attach_layers(&mut self, layers: &Path) -> Result<PathBuf, SandboxError> {
        let source = std::io::ErrorKind::Unsupported.into();
        Err(SandboxError { id: self.id().to_owned(), step: format!("attach {}", layers.display()), source })
    }

    /// Sets new limits. Lowering memory below what is in use fails.
    async fn set_limits(&self, limits: Limits) -> Result<(), SandboxError>;

    /// What it uses and used.
    fn usage(&self) -> Result<SandboxUsage, SandboxError>;

    /// [`SandboxUsage::memory_peak_bytes`] alone. It is read before every answer, so it must cost no more than one
    /// small read of a file that is kept open.
    fn memory_peak_bytes(&self) -> Result<u64, SandboxError> {
        self.usage().map(|usage| usage.memory_peak_bytes)
    }

    /// Starts a new high-water mark for [`SandboxUsage::memory_peak_bytes`], where the host can do that.
    fn reset_memory_peak(&self);

    /// Stops everything inside without ending it.
    async fn pause(&self) -> Result<(), SandboxError>;

    /// Goes on after [`Self::pause`].
    async fn resume(&self) -> Result<(), SandboxError>;

    /// Ends the sandbox and leaves its snapshot in [`BootSpec::snapshot_into`], complete or not at all. Its first
    /// process should be at rest, with nothing under way on its channel.
    async fn snapshot(&mut self) -> Result<PathBuf, SandboxError> {
        let source = std::io::ErrorKind::Unsupported.into();
        Err(SandboxError { id: self.id().to_owned(), step: "snapshot".to_owned(), source })
    }

    /// To be called when a sandbox that was restored has given its first answer, or one that was booted has said that it
    /// is up: what it touched until now is brought in ahead for those that start from the same snapshot, or boot
    /// alike. Does nothing where that is known, or has no use.
    async fn record_prefetch(&self) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Waits until the sandbox has ended by itself or was killed. May be called again, and after the end.
    async fn ended(&self) -> Ended;

    /// Kills everything inside and removes every trace of it on the host. Returns when that is done.
    async fn kill(&mut self) -> Result<Ended, SandboxError>;
}

/// Resources of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SandboxUsage {
    /// Memory in use now, bytes.
    pub memory_bytes: u64,
    /// The most it was, bytes.
    pub memory_peak_bytes: u64,
    /// CPU time since boot.
    pub cpu: Duration,
    /// How often its memory limit made the kernel kill something in it.
    pub oom_kills: u64,
}

/// How a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit status of its first process, if it exited.
    pub status: Option<i32>,
    /// The signal that ended its first process, if one did.
    pub signal: Option<i32>,
    /// Whether its memory limit made the kernel kill something in it.
    pub out_of_memory: bool,
}

/// A sandbox did not start. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[error("sandbox {id} did not start: {step}: {source}")]
pub struct BootError {
    /// [`BootSpec::id`].
    pub id: String,
    /// Which step failed, such as `mount /tmp`.
    pub step: String,
    /// The operating system's word.
    pub source: std::io::Error,
}

/// An operation on a running sandbox failed.
#[derive(Debug, thiserror::Error)]
#[error("sandbox {id}: {step}: {source}")]
pub struct SandboxError {
    /// The sandbox, or the launcher's state directory.
    pub id: String,
    /// Which step failed.
    pub step: String,
    /// The operating system's word.
    pub source: std::io::Error,
}
