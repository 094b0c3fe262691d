//! A running microVM.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_vmm::control::{Reply, Request, StopReason};
use hearth_vmm::snapshot::Draft;
use tokio::net::UnixStream;

use super::control::{ANSWER_TIMEOUT, Control, ControlError, DISK_TIMEOUT, Parcel, plain};
use super::entry::{OPEN_FILES_MAX, THREADS_MAX};
use super::launcher::Shared;
use super::origin::Origin;
use super::snapshots::Drives;
use super::starter::Vmm;
use crate::account::Account;
use crate::burial::{Body, Burial};
use crate::exit::Child;
use crate::jail::TASK_ROOT;
use crate::sandbox::{Ended, Limits, Sandbox, SandboxError, SandboxUsage};

/// Memory that a `hearth-vmm` may use beside the guest's, bytes: its own, sockets, what the kernel keeps for a machine.
pub(super) const OVERHEAD_MIN_BYTES: u64 = 24 << 20;
/// One byte more for so many of the guest's: page tables, the process's and the nested ones, eight bytes a page each.
const BYTES_PER_TABLE_BYTE: u64 = 128;
/// Of what a process says of its end, so many bytes are read.
const WORDS_MAX_BYTES: u64 = 4096;

/// How large a machine is, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) memory_mib: u32,
    pub(super) vcpus: u8,
}

impl Size {
    /// What its process may use on the host.
    fn limits(self, milli_cpus: u32) -> Limits {
        let guest = u64::from(self.memory_mib) << 20;
        Limits {
            memory_bytes: guest + OVERHEAD_MIN_BYTES + guest / BYTES_PER_TABLE_BYTE,
            milli_cpus,
            max_processes: THREADS_MAX,
            max_open_files: OPEN_FILES_MAX,
            tmp_bytes: 0,
        }
    }
}

/// A machine and what there is of it on the host. Made before the guest is: dropping it ends the process.
pub(super) struct Machine {
    pub(super) size: Size,
    pub(super) channel: Option<UnixStream>,
    pub(super) control: Control,
    /// The memory and state of a snapshot to come.
    pub(super) draft: Option<Draft>,
    /// What its drives are made of, for that snapshot.
    pub(super) drives: Drives,
    /// What it maps privately, if it does.
    pub(super) origin: Option<Origin>,
    shared: Arc<Shared>,
    /// What its process says of its end.
    words: OwnedFd,
    burial: Burial,
}

impl Machine {
    /// Makes a waiting process into the sandbox `id`, without a guest as yet. Within a tokio runtime. Leaves nothing if
    /// it fails.
    pub(super) fn claim(
        id: String,
        vmm: Vmm,
        size: Size,
        milli_cpus: u32,
        drives: Drives,
        shared: Arc<Shared>,
    ) -> Result<Self, (&'static str, io::Error)> {
        let (child, control) = match prepare(&id, &vmm, size, milli_cpus, &shared) {
            Ok(prepared) => prepared,
            Err(failure) => {
                if let Err(error) = vmm.destroy(&shared.state) {
                    tracing::warn!(id, %error, "something of a machine stays until the next clean-up");
                }
                return Err(failure);
            }
        };
        let Vmm { spawned, words, group, ids, .. } = vmm;
        let pid = spawned.pid.as_raw_nonzero().get();
        let account = Account::new(group, pid);
        let body = Body { id, child, pid, account, state: Arc::clone(&shared.state), _ids: ids };
        let burial = Burial::of(body, Arc::clone(&shared.undertaker));
        Ok(Self { size, channel: None, control, draft: None, drives, origin: None, shared, words, burial })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.body().id
    }

    fn body(&self) -> &Body {
        self.burial.body()
    }

    /// What an attempt to talk to the process came to, with its last words if it is gone.
    pub(super) fn told(&self, error: ControlError) -> io::Error {
        let error = io::Error::from(error);
        let (reason, words) = (self.control.stop_reason(), self.last_words());
        if reason.is_none() && words.is_empty() {
            return error;
        }
        io::Error::new(
            error.kind(),
            format!("{error} {}{words}", reason.map(|reason| stopped(&reason)).unwrap_or_default()),
        )
    }

    fn failed(&self, step: &str) -> impl Fn(io::Error) -> SandboxError {
        let (id, step) = (self.name().to_owned(), step.to_owned());
        move |source| SandboxError { id: id.clone(), step: step.clone(), source }
    }

    async fn ask(&self, request: Request, parcel: Parcel<'_>, limit: Duration, step: &str) -> Result<(), SandboxError> {
        let answer = self.control.ask(&request, parcel, limit).await;
        answer.map_err(|error| self.failed(step)(self.told(error)))
    }

    async fn write_snapshot(&mut self) -> Result<PathBuf, SandboxError> {
        let missing = || io::Error::new(io::ErrorKind::Unsupported, "it was not booted to have a snapshot");
        let draft = self.draft.take().ok_or_else(|| self.failed("snapshot")(missing()))?;
        self.ask(Request::Pause, Parcel::default(), ANSWER_TIMEOUT, "pause for a snapshot").await?;
        let mut parcel = Parcel::default();
        let state = parcel.add(draft.state());
        self.ask(Request::Snapshot { state }, parcel, DISK_TIMEOUT, "write a snapshot").await?;
        // Most of a process's end is waiting, and most of the checksums work.
        let summing = tokio::task::spawn_blocking(move || draft.checksums().map(|checksums| (draft, checksums)));
        let (killed, summed) = tokio::join!(self.kill(), summing);
        killed?;
        let summed = summed.map_err(io::Error::other).and_then(|summed| summed.map_err(io::Error::other));
        let (draft, checksums) = summed.map_err(self.failed("take a snapshot's checksums"))?;
        // From here on nobody else writes to its files.
        let (shared, drives) = (Arc::clone(&self.shared), self.drives.clone());
        let finished = tokio::task::spawn_blocking(move || shared.snapshots.finish(draft, &checksums, drives)).await;
        finished.map_err(io::Error::other).and_then(|finished| finished).map_err(self.failed("finish a snapshot"))
    }

    /// What the process has said on its standard error; it says nothing as long as all is well.
    fn last_words(&self) -> String {
        let Ok(words) = self.words.try_clone() else { return String::new() };
        let mut bytes = Vec::new();
        // Ends in "would block", or where the last writer is gone.
        let _ = File::from(words).take(WORDS_MAX_BYTES).read_to_end(&mut bytes);
        plain(String::from_utf8_lossy(&bytes).trim())
    }

    fn tell_end(&self, ended: Ended) {
        if let Some(StopReason::Failed { reason }) = self.control.stop_reason() {
            tracing::warn!(id = self.name(), reason, "a machine could not go on");
        }
        let words = self.last_words();
        if !words.is_empty() {
            tracing::warn!(id = self.name(), ?ended, words, "last words of a hearth-vmm");
        }
    }

    /// Removes the snapshot that did not come to be, on a thread that may wait.
    fn give_up_draft(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.burial.later(move || drop(draft));
        }
    }
}

fn prepare(
    id: &str,
    vmm: &Vmm,
    size: Size,
    milli_cpus: u32,
    shared: &Shared,
) -> Result<(Child, Control), (&'static str, io::Error)> {
    let step = |name: &'static str| move |error: io::Error| (name, error);
    vmm.group.apply(&size.limits(milli_cpus), shared.cpus.as_deref()).map_err(step("set limits"))?;
    let child = vmm.spawned.pidfd.try_clone().and_then(Child::new).map_err(step("watch the process"))?;
    let control = vmm.control.try_clone().and_then(Control::new).map_err(step("watch the control socket"))?;
    // Last: from here on the record has the sandbox's name.
    shared.state.rename_sandbox(&vmm.record, id).map_err(step("write the record"))?;
    Ok((child, control))
}

fn stopped(reason: &StopReason) -> String {
    match reason {
        StopReason::Reset => "(the guest had reset the machine) ".to_owned(),
        StopReason::Failed { reason } => format!("({reason}) "),
    }
}

#[async_trait]
impl Sandbox for Machine {
    fn id(&self) -> &str {
        self.name()
    }

    fn channel(&mut self) -> Option<UnixStream> {
        self.channel.take()
    }

    async fn attach_code(&mut self, code: &Path) -> Result<PathBuf, SandboxError> {
        let step = format!("attach {}", code.display());
        if self.drives.code.is_some() {
            return Err(self.failed(&step)(io::ErrorKind::AlreadyExists.into()));
        }
        let image = open_image(code).map_err(self.failed(&step))?;
        let mut parcel = Parcel::default();
        let request = Request::AttachCode { image: parcel.add(&image) };
        self.ask(request, parcel, ANSWER_TIMEOUT, &step).await?;
        self.drives.code = Some(code.to_owned());
        Ok(PathBuf::from(TASK_ROOT))
    }

    async fn set_limits(&self, limits: Limits) -> Result<(), SandboxError> {
        let limits = self.size.limits(limits.milli_cpus);
        self.body().account.group().apply(&limits, self.shared.cpus.as_deref()).map_err(self.failed("set limits"))
    }

    fn usage(&self) -> Result<SandboxUsage, SandboxError> {
        self.body().account.usage(&self.body().child).map_err(self.failed("read usage"))
    }

    fn memory_peak_bytes(&self) -> Result<u64, SandboxError> {
        self.body().account.memory_peak_bytes(&self.body().child).map_err(self.failed("read the memory peak"))
    }

    fn reset_memory_peak(&self) {
        self.body().account.reset_memory_peak();
    }

    async fn pause(&self) -> Result<(), SandboxError> {
        self.ask(Request::Pause, Parcel::default(), ANSWER_TIMEOUT, "pause").await
    }

    async fn resume(&self) -> Result<(), SandboxError> {
        self.ask(Request::Resume, Parcel::default(), ANSWER_TIMEOUT, "resume").await
    }

    async fn snapshot(&mut self) -> Result<PathBuf, SandboxError> {
        let written = self.write_snapshot().await;
        // It ends either way.
        self.kill().await?;
        written
    }

    async fn record_prefetch(&self) -> Result<(), SandboxError> {
        let Some(origin) = self.origin.clone().filter(|origin| !origin.has_prefetch()) else { return Ok(()) };
        let reply = self.control.request(&Request::Stats, Parcel::default(), ANSWER_TIMEOUT).await;
        let stats = match reply.map_err(|error| self.failed("ask for its memory's place")(self.told(error)))? {
            Reply::Stats(stats) => stats,
            Reply::Hello { .. } | Reply::Done | Reply::Failed { .. } => {
                return Err(self.failed("ask for its memory's place")(io::ErrorKind::InvalidData.into()));
            }
        };
        let pagemap =
            File::open(format!("/proc/{}/pagemap", self.body().pid)).map_err(self.failed("open its page map"))?;
        if self.body().child.is_collected() {
            return Err(self.failed("read its page map")(io::ErrorKind::NotFound.into()));
        }
        let record = move || origin.record_prefetch(&pagemap, stats.memory_mapped_at);
        let recorded = tokio::task::spawn_blocking(record).await.map_err(io::Error::other);
        recorded.and_then(|recorded| recorded).map_err(self.failed("record what it touched"))
    }

    async fn ended(&self) -> Ended {
        self.burial.ended().await
    }

    async fn kill(&mut self) -> Result<Ended, SandboxError> {
        let is_news = !self.burial.is_over();
        let ended = self.burial.kill().await;
        let ended = ended.map_err(self.failed("remove cgroups"))?;
        if is_news {
            self.tell_end(ended);
            self.give_up_draft();
        }
        Ok(ended)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.give_up_draft();
    }
}

/// An image file, read-only; nothing else is given to a machine as a drive.
pub(super) fn open_image(path: &Path) -> io::Result<File> {
    let found = fs::metadata(path)?.file_type();
    if !found.is_file() && !found.is_block_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a drive's image is a file"));
    }
    File::open(path)
}
