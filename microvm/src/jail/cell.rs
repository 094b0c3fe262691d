//! A running jail.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rustix::process::{Pid, Signal};
use tokio::net::UnixStream;

use super::builder::Booted;
use super::launcher::Shared;
use super::root;
use crate::account::Account;
use crate::burial::{Body, Burial};
use crate::cgroup::Controller;
use crate::exit::Child;
use crate::program::limit_open_files;
use crate::sandbox::{BootError, Ended, Limits, Sandbox, SandboxError, SandboxUsage};
use crate::tree;

/// A sandbox and what there is of it on the host.
pub(super) struct Cell {
    channel: Option<UnixStream>,
    code_attached: bool,
    shared: Arc<Shared>,
    mounts: Arc<OwnedFd>,
    paused: Arc<AtomicBool>,
    burial: Burial,
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
        let (account, state) = (Account::new(group, pid), Arc::clone(&shared.state));
        let body = Body { id, child, pid, account, state, _ids: ids };
        Self {
            channel: Some(channel),
            code_attached: false,
            mounts: Arc::new(mounts),
            paused: Arc::default(),
            burial: Burial::of(body, Arc::clone(&shared.undertaker)),
            shared,
        }
    }

    fn body(&self) -> &Arc<Body> {
        self.burial.body()
    }

    fn failed(&self, step: &str) -> impl Fn(io::Error) -> SandboxError {
        let (id, step) = (self.body().id.clone(), step.to_owned());
        move |source| SandboxError { id: id.clone(), step: step.clone(), source }
    }

    /// Shows a directory of the host inside.
    async fn show(&self, directory: &Path, inside: &'static str) -> Result<PathBuf, SandboxError> {
        let step = format!("attach {}", directory.display());
        let directory = std::path::absolute(directory).map_err(self.failed(&step))?;
        let mounts = Arc::clone(&self.mounts);
        let shown = self.shared.doorman.run(move |doorman| doorman.show(&mounts, &directory, inside)).await;
        shown.and_then(|outcome| outcome).map_err(self.failed(&step))?;
        Ok(PathBuf::from(inside))
    }

    async fn freeze(&self, frozen: bool, step: &str) -> Result<(), SandboxError> {
        let (body, paused) = (Arc::clone(self.body()), Arc::clone(&self.paused));
        let change = move || {
            paused.store(true, Ordering::Release);
            let outcome = freeze(&body, frozen);
            if outcome.is_ok() {
                paused.store(frozen, Ordering::Release);
            }
            outcome
        };
        let outcome = tokio::task::spawn_blocking(change).await.map_err(io::Error::other);
        outcome.and_then(|outcome| outcome).map_err(self.failed(step))
    }

    /// Kills the first process, and lets it die if it is paused. When it is gone, so are all others: its end waits for
    /// theirs.
    fn put_down(&self) {
        if self.burial.is_over() {
            return;
        }
        self.body().child.kill();
        if self.paused.load(Ordering::Acquire)
            && let Err(error) = freeze(self.body(), false)
        {
            tracing::warn!(id = self.body().id, %error, "a paused sandbox could not be thawed to die");
        }
    }
}

/// Has tokio watch the process and the channel.
fn watch(booted: &mut Booted) -> io::Result<(Child, UnixStream)> {
    let child = Child::new(booted.spawned.pidfd.try_clone()?)?;
    let channel = booted.channel.try_clone()?;
    channel.set_nonblocking(true)?;
    Ok((child, UnixStream::from_std(channel)?))
}

fn freeze(body: &Body, frozen: bool) -> io::Result<()> {
    if body.account.group().has(Controller::Freezer) {
        return body.account.group().freeze(frozen);
    }
    if !body.child.is_collected() {
        tree::signal(body.pid, if frozen { Signal::STOP } else { Signal::CONT });
    }
    Ok(())
}

fn processes(body: &Body) -> io::Result<Vec<Pid>> {
    match body.account.group().processes()? {
        Some(pids) => Ok(pids),
        None if body.child.is_collected() => Ok(Vec::new()),
        None => Ok(tree::pids(body.pid).into_iter().filter_map(Pid::from_raw).collect()),
    }
}

#[async_trait]
impl Sandbox for Cell {
    fn id(&self) -> &str {
        &self.body().id
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
        self.body().account.group().apply(&limits, cpus).map_err(self.failed("set limits"))?;
        for pid in processes(self.body()).map_err(self.failed("list processes"))? {
            limit_open_files(pid, limits.max_open_files).map_err(self.failed("limit open files"))?;
        }
        let mounts = Arc::clone(&self.mounts);
        let resized = self.shared.doorman.run(move |doorman| doorman.resize_tmp(&mounts, limits.tmp_bytes)).await;
        resized.and_then(|outcome| outcome).map_err(self.failed("resize /tmp"))
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
        self.freeze(true, "pause").await
    }

    async fn resume(&self) -> Result<(), SandboxError> {
        self.freeze(false, "resume").await
    }

    async fn ended(&self) -> Ended {
        self.burial.ended().await
    }

    async fn kill(&mut self) -> Result<Ended, SandboxError> {
        self.put_down();
        let ended = self.burial.kill().await;
        ended.map_err(self.failed("remove cgroups"))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.put_down();
    }
}
