//! A running plain process and all it started.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, pidfd_send_signal, prlimit, waitid};
use tokio::net::UnixStream;

use super::{Shared, mark};
use crate::exit::{Child, ExitStatus};
use crate::program::limit_open_files;
use crate::sandbox::{BootError, Ended, Limits, Sandbox, SandboxError, SandboxUsage};
use crate::sys::spawn::Spawned;
use crate::tree;

/// Longest time a killed process may take to end.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Running {
    id: String,
    channel: Option<UnixStream>,
    code_attached: bool,
    body: Arc<Body>,
    ended: Option<Ended>,
}

/// What has to be ended and removed.
struct Body {
    id: String,
    pid: i32,
    child: Child,
    home: PathBuf,
    /// The most memory seen, bytes.
    peak: AtomicU64,
    shared: Arc<Shared>,
}

impl Running {
    /// Within a tokio runtime. Leaves nothing if it fails.
    pub(super) fn new(
        id: String,
        spawned: Spawned,
        channel: StdUnixStream,
        home: PathBuf,
        shared: Arc<Shared>,
    ) -> Result<Self, BootError> {
        let failed =
            |source| BootError { id: id.clone(), step: "watch the channel and the process".to_owned(), source };
        let pid = spawned.pid.as_raw_nonzero().get();
        let spare = spawned.pidfd.try_clone();
        let child = spare.and_then(Child::new).map_err(|error| {
            let _ = pidfd_send_signal(&spawned.pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(spawned.pidfd.as_fd()), WaitIdOptions::EXITED);
            let _ = fs::remove_dir_all(&home);
            shared.state.forget_sandbox(&id);
            failed(error)
        })?;
        let body = Body { id: id.clone(), pid, child, home, peak: AtomicU64::new(0), shared };
        // From here on dropping it ends it.
        let mut running =
            Self { id: id.clone(), channel: None, code_attached: false, body: Arc::new(body), ended: None };
        channel.set_nonblocking(true).map_err(failed)?;
        running.channel = Some(UnixStream::from_std(channel).map_err(failed)?);
        Ok(running)
    }

    fn failed(&self, step: &str, source: io::Error) -> SandboxError {
        SandboxError { id: self.id.clone(), step: step.to_owned(), source }
    }
}

impl Body {
    /// Ends everything. The first process is stopped, not killed, until the others are gone: orphans come to it.
    fn kill_all(&self) {
        if !self.child.is_collected() {
            self.child.signal(Signal::STOP);
            tree::kill_descendants(self.pid);
            self.child.kill();
        }
        if !self.child.wait_blocking(DEATH_TIMEOUT) {
            tracing::error!(id = self.id, "a killed process does not end");
        }
        // Those it lost before: it had ended by itself.
        tree::kill_marked(&mark(&self.home));
    }

    fn signal(&self, signal: Signal) {
        if !self.child.is_collected() {
            tree::signal(self.pid, signal);
        }
    }

    fn pids(&self) -> Vec<i32> {
        if self.child.is_collected() { Vec::new() } else { tree::pids(self.pid) }
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.home) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.shared.state.forget_sandbox(&self.id);
        Ok(())
    }
}

fn ended(ExitStatus { status, signal }: ExitStatus) -> Ended {
    // Nothing limits memory here, so nothing is killed for it.
    Ended { status, signal, out_of_memory: false }
}

#[async_trait]
impl Sandbox for Running {
    fn id(&self) -> &str {
        &self.id
    }

    fn channel(&mut self) -> Option<UnixStream> {
        self.channel.take()
    }

    async fn attach_code(&mut self, code: &Path) -> Result<PathBuf, SandboxError> {
        if self.code_attached {
            return Err(self.failed("attach code", io::ErrorKind::AlreadyExists.into()));
        }
        let code = fs::canonicalize(code).map_err(|error| self.failed("attach code", error))?;
        self.code_attached = true;
        Ok(code)
    }

    async fn attach_layers(&mut self, layers: &Path) -> Result<PathBuf, SandboxError> {
        // Without a mount namespace there is only the host's path.
        fs::canonicalize(layers).map_err(|error| self.failed("attach layers", error))
    }

    async fn set_limits(&self, limits: Limits) -> Result<(), SandboxError> {
        for pid in self.body.pids().into_iter().filter_map(Pid::from_raw) {
            limit_open_files(pid, limits.max_open_files).map_err(|error| self.failed("limit open files", error))?;
            let size = Rlimit { current: Some(limits.tmp_bytes), maximum: Some(limits.tmp_bytes) };
            match prlimit(Some(pid), Resource::Fsize, size) {
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(self.failed("limit file size", error.into())),
            }
        }
        Ok(())
    }

    fn usage(&self) -> Result<SandboxUsage, SandboxError> {
        // After its end there is nothing left in /proc to read.
        let used = if self.body.child.is_collected() { tree::TreeUsage::default() } else { tree::usage(self.body.pid) };
        let before = self.body.peak.fetch_max(used.memory_bytes, Ordering::Relaxed);
        let memory_peak_bytes = before.max(used.memory_bytes);
        Ok(SandboxUsage { memory_bytes: used.memory_bytes, memory_peak_bytes, cpu: used.cpu, oom_kills: 0 })
    }

    fn reset_memory_peak(&self) {
        self.body.peak.store(0, Ordering::Relaxed);
    }

    async fn pause(&self) -> Result<(), SandboxError> {
        self.body.signal(Signal::STOP);
        Ok(())
    }

    async fn resume(&self) -> Result<(), SandboxError> {
        self.body.signal(Signal::CONT);
        Ok(())
    }

    async fn ended(&self) -> Ended {
        match self.ended {
            Some(known) => known,
            None => ended(self.body.child.ended().await),
        }
    }

    async fn kill(&mut self) -> Result<Ended, SandboxError> {
        if let Some(known) = self.ended {
            return Ok(known);
        }
        let body = Arc::clone(&self.body);
        let removed = tokio::task::spawn_blocking(move || {
            body.kill_all();
            body.remove()
        });
        removed
            .await
            .map_err(io::Error::other)
            .and_then(|outcome| outcome)
            .map_err(|error| self.failed("kill", error))?;
        let end = ended(self.body.child.ended().await);
        self.ended = Some(end);
        Ok(end)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let body = Arc::clone(&self.body);
        self.body.shared.undertaker.post(move |()| {
            body.kill_all();
            if let Err(error) = body.remove() {
                tracing::warn!(id = body.id, %error, "a temporary directory stays until the next clean-up");
            }
        });
    }
}
