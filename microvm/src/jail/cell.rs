//! A running jail.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal};
use tokio::net::UnixStream;

use super::builder::Booted;
use super::launcher::Shared;
use super::root;
use crate::account::Account;
use crate::cgroup::Controller;
use crate::exit::Child;
use crate::ids::Lease;
use crate::program::limit_open_files;
use crate::sandbox::{BootError, Ended, Limits, Sandbox, SandboxError, SandboxUsage};
use crate::tree;

/// Longest time a killed sandbox's first process may take to end: it waits for all others inside.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

/// A sandbox and what there is of it on the host.
pub(super) struct Cell {
    id: String,
    channel: Option<UnixStream>,
    code_attached: bool,
    shared: Arc<Shared>,
    remains: Arc<Remains>,
    buried: Option<Ended>,
}

/// What has to be removed in the end.
struct Remains {
    child: Child,
    pid: i32,
    account: Account,
    mounts: Arc<OwnedFd>,
    paused: AtomicBool,
    /// Free for another sandbox when this one is gone.
    _ids: Lease,
}

impl Cell {
    /// Within a tokio runtime. Leaves nothing if it fails.
    pub(super) fn new(id: String, mut booted: Booted, shared: Arc<Shared>) -> Result<Self, BootError> {
        match watch(&mut booted) {
            Ok((child, channel)) => Ok(Self::watched(id, booted, child, channel, shared)),
            Err(source) => {
                if let Err(error) = booted.destroy() {
                    tracing::warn!(id, %error, "something of a sandbox stays until the next clean-up");
                }
                shared.state.forget_sandbox(&id);
                Err(BootError { id, step: "watch the channel and the process".to_owned(), source })
            }
        }
    }

    fn watched(id: String, booted: Booted, child: Child, channel: UnixStream, shared: Arc<Shared>) -> Self {
        let Booted { spawned, mounts, group, ids, .. } = booted;
        let pid = spawned.pid.as_raw_nonzero().get();
        let remains = Remains {
            child,
            pid,
            account: Account::new(group, pid),
            mounts: Arc::new(mounts),
            paused: AtomicBool::new(false),
            _ids: ids,
        };
        let channel = Some(channel);
        Self { id, channel, code_attached: false, shared, remains: Arc::new(remains), buried: None }
    }

    fn failed(&self, step: &str) -> impl Fn(io::Error) -> SandboxError {
        let (id, step) = (self.id.clone(), step.to_owned());
        move |source| SandboxError { id: id.clone(), step: step.clone(), source }
    }

    /// Shows a directory of the host inside.
    async fn show(&self, directory: &Path, inside: &'static str) -> Result<PathBuf, SandboxError> {
        let step = format!("attach {}", directory.display());
        let directory = std::path::absolute(directory).map_err(self.failed(&step))?;
        let mounts = Arc::clone(&self.remains.mounts);
        let shown = self.shared.doorman.run(move |doorman| doorman.show(&mounts, &directory, inside)).await;
        shown.and_then(|outcome| outcome).map_err(self.failed(&step))?;
        Ok(PathBuf::from(inside))
    }

    async fn freeze(&self, frozen: bool, step: &str) -> Result<(), SandboxError> {
        let remains = Arc::clone(&self.remains);
        let change = move || {
            remains.paused.store(true, Ordering::Release);
            let outcome = remains.freeze(frozen);
            if outcome.is_ok() {
                remains.paused.store(frozen, Ordering::Release);
            }
            outcome
        };
        let outcome = tokio::task::spawn_blocking(change).await.map_err(io::Error::other);
        outcome.and_then(|outcome| outcome).map_err(self.failed(step))
    }
}

/// Has tokio watch the process and the channel.
fn watch(booted: &mut Booted) -> io::Result<(Child, UnixStream)> {
    let child = Child::new(booted.spawned.pidfd.try_clone()?)?;
    let channel = booted.channel.try_clone()?;
    channel.set_nonblocking(true)?;
    Ok((child, UnixStream::from_std(channel)?))
}

impl Remains {
    fn freeze(&self, frozen: bool) -> io::Result<()> {
        if self.account.group().has(Controller::Freezer) {
            return self.account.group().freeze(frozen);
        }
        if !self.child.is_collected() {
            tree::signal(self.pid, if frozen { Signal::STOP } else { Signal::CONT });
        }
        Ok(())
    }

    fn processes(&self) -> io::Result<Vec<Pid>> {
        match self.account.group().processes()? {
            Some(pids) => Ok(pids),
            None if self.child.is_collected() => Ok(Vec::new()),
            None => Ok(tree::pids(self.pid).into_iter().filter_map(Pid::from_raw).collect()),
        }
    }

    fn kill(&self) {
        self.child.kill();
        if self.paused.load(Ordering::Acquire)
            && let Err(error) = self.freeze(false)
        {
            tracing::warn!(%error, "a paused sandbox could not be thawed to die");
        }
    }

    /// When the first process is gone, so are all others: its end waits for theirs.
    fn remove(&self, id: &str, shared: &Shared) -> io::Result<()> {
        self.account.group().remove()?;
        shared.state.forget_sandbox(id);
        Ok(())
    }
}

#[async_trait]
impl Sandbox for Cell {
    fn id(&self) -> &str {
        &self.id
    }

    fn channel(&mut self) -> Option<UnixStream> {
        self.channel.take()
    }

    async fn attach_code(&mut self, code: &Path) -> Result<PathBuf, SandboxError> {
        if self.code_attached {
            return Err(self.failed(&format!("attach {}", code.display()))(io::ErrorKind::AlreadyExists.into()));
        }
        let shown = self.show(code, root::TASK_ROOT).await?;
        self.code_attached = true;
        Ok(shown)
    }

    async fn attach_layers(&mut self, layers: &Path) -> Result<PathBuf, SandboxError> {
        self.show(layers, root::LAYERS_ROOT).await
    }

    async fn set_limits(&self, limits: Limits) -> Result<(), SandboxError> {
        let cpus = self.shared.cpus.as_deref();
        self.remains.account.group().apply(&limits, cpus).map_err(self.failed("set limits"))?;
        for pid in self.remains.processes().map_err(self.failed("list processes"))? {
            limit_open_files(pid, limits.max_open_files).map_err(self.failed("limit open files"))?;
        }
        let mounts = Arc::clone(&self.remains.mounts);
        let resized = self.shared.doorman.run(move |doorman| doorman.resize_tmp(&mounts, limits.tmp_bytes)).await;
        resized.and_then(|outcome| outcome).map_err(self.failed("resize /tmp"))
    }

    fn usage(&self) -> Result<SandboxUsage, SandboxError> {
        self.remains.account.usage(&self.remains.child).map_err(self.failed("read usage"))
    }

    fn memory_peak_bytes(&self) -> Result<u64, SandboxError> {
        self.remains.account.memory_peak_bytes(&self.remains.child).map_err(self.failed("read the memory peak"))
    }

    fn reset_memory_peak(&self) {
        self.remains.account.reset_memory_peak();
    }

    async fn pause(&self) -> Result<(), SandboxError> {
        self.freeze(true, "pause").await
    }

    async fn resume(&self) -> Result<(), SandboxError> {
        self.freeze(false, "resume").await
    }

    async fn ended(&self) -> Ended {
        match self.buried {
            Some(ended) => ended,
            None => self.remains.account.ended(self.remains.child.ended().await),
        }
    }

    async fn kill(&mut self) -> Result<Ended, SandboxError> {
        if let Some(ended) = self.buried {
            return Ok(ended);
        }
        self.remains.kill();
        let ended = self.remains.account.ended(self.remains.child.ended().await);
        let (remains, shared, id) = (Arc::clone(&self.remains), Arc::clone(&self.shared), self.id.clone());
        let removed = self.shared.undertaker.run(move |()| remains.remove(&id, &shared)).await;
        removed.and_then(|outcome| outcome).map_err(self.failed("remove cgroups"))?;
        self.buried = Some(ended);
        Ok(ended)
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if self.buried.is_some() {
            return;
        }
        self.remains.kill();
        let (remains, shared, id) = (Arc::clone(&self.remains), Arc::clone(&self.shared), self.id.clone());
        self.shared.undertaker.post(move |()| {
            if !remains.child.wait_blocking(DEATH_TIMEOUT) {
                return tracing::error!(id, "a killed sandbox does not end");
            }
            if let Err(error) = remains.remove(&id, &shared) {
                tracing::warn!(id, %error, "something of a sandbox stays until the next clean-up");
            }
        });
    }
}
