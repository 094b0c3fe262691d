//! Boots jails, and removes what an earlier launcher left.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;

use super::builder::{Builder, Settings};
use super::cell::Cell;
use super::doorman::Doorman;
use super::unenforced::{self, LIMITS, Limit};
use super::{JailConfig, JailError, filter, root, rootless};
use crate::cgroup::{Controller, Layout, Parent};
use crate::ids::Ids;
use crate::leftovers;
use crate::sandbox::{BootError, BootSpec, Isolation, Launcher, Sandbox, SandboxError, Unenforced};
use crate::state::State;
use crate::thread::Thread;

/// Boots programs in jails. While one lives it has its state directory for itself.
pub struct JailLauncher {
    builder: Arc<Thread<Builder>>,
    shared: Arc<Shared>,
    controllers: Vec<Controller>,
    only_own_user: bool,
}

/// What sandboxes need while they live.
pub(super) struct Shared {
    pub(super) state: Arc<State>,
    pub(super) doorman: Thread<Doorman>,
    pub(super) undertaker: Arc<Thread<()>>,
    pub(super) cpus: Option<String>,
    /// Its end would end every sandbox: it is their parent.
    _builder: Arc<Thread<Builder>>,
}

impl JailLauncher {
    /// Prepares what all sandboxes share: threads, the root file system, cgroup directories.
    pub fn new(config: JailConfig) -> Result<Self, JailError> {
        let failed = |step: &'static str| move |source: io::Error| JailError { step, source };
        let state = Arc::new(State::open(&config.state_dir).map_err(failed("take the state directory"))?);
        let layout = Layout::of_this_process().map_err(failed("look for cgroups"))?;
        let below = config.cgroup_parent.as_deref();
        state.write_groups(&Parent::paths(&layout, below, state.owner())).map_err(failed("write down cgroups"))?;
        let parent = Arc::new(Parent::create(&layout, below, state.owner()));
        let controllers = parent.controllers();
        let ids = Arc::new(match rootless::own_ids().map_err(failed("read user ids"))? {
            None => Ids::of_host(config.first_uid, &config.lock_dir).map_err(failed("take user ids"))?,
            Some(ids) => Ids::of_namespace(ids),
        });
        let only_own_user = ids.only_own();
        let filter =
            filter::program().map_err(|error| JailError::new("make the seccomp filter", io::Error::other(error)))?;
        let limit_processes = !controllers.contains(&Controller::Pids) && Limit::by_resource();
        let settings = Settings { shm_bytes: config.shm_bytes, cpus: config.cpus.clone(), limit_processes };
        let builder_state = Arc::clone(&state);
        let make = move || Builder::new(builder_state, parent, ids, filter, settings);
        let builder = Arc::new(Thread::start("jail-builder", make).map_err(failed("prepare the root file system"))?);
        let doorman = Thread::start("jail-doorman", Doorman::new).map_err(failed("start the doorman"))?;
        let undertaker =
            Thread::start("jail-undertaker", || Ok::<_, io::Error>(())).map_err(failed("start a thread"))?;
        let undertaker = Arc::new(undertaker);
        let shared = Shared { state, doorman, undertaker, cpus: config.cpus, _builder: Arc::clone(&builder) };
        Ok(Self { builder, shared: Arc::new(shared), controllers, only_own_user })
    }
}

#[async_trait]
impl Launcher for JailLauncher {
    fn isolation(&self) -> Isolation {
        Isolation::Jail
    }

    fn unenforced(&self) -> Vec<Unenforced> {
        let missing = LIMITS.iter().filter(|limit| !limit.holds(&self.controllers));
        let mut found: Vec<_> = missing.map(Limit::tell).collect();
        if self.only_own_user {
            found.push(unenforced::own_user());
        }
        found
    }

    fn user(&self) -> Option<(u32, u32)> {
        (!self.only_own_user).then_some(root::USER)
    }

    async fn boot(&self, spec: BootSpec) -> Result<Box<dyn Sandbox>, BootError> {
        let spec = spec.checked()?;
        let id = spec.id.clone();
        let failed = |source| BootError { id: id.clone(), step: "boot".to_owned(), source };
        let shared = Arc::clone(&self.shared);
        let runtime = Handle::current();
        // Made on the thread: a sandbox that nobody waits for any more is dropped there, and so killed.
        let boot = move |builder: &mut Builder| -> Result<Cell, BootError> {
            let booted = builder.boot(&spec)?;
            let _runtime = runtime.enter();
            Cell::new(spec.id, booted, shared)
        };
        let booting = self.builder.run(boot);
        // Asked for at once: the thread must leave the sandbox's groups also if nobody waits for the boot.
        self.builder.post(|builder| {
            if let Err(error) = builder.prepare_berth() {
                tracing::warn!(%error, "no control groups for the next sandbox as yet");
            }
        });
        Ok(Box::new(booting.await.map_err(failed)??))
    }

    async fn clean_up(&self) -> Result<usize, SandboxError> {
        let state = Arc::clone(&self.shared.state);
        let id = state.directory().display().to_string();
        let cleaned =
            self.shared.undertaker.run(move |()| leftovers::clean_up(&state)).await.and_then(|outcome| outcome);
        cleaned.map_err(|source| SandboxError { id, step: "clean up".to_owned(), source })
    }
}

impl Drop for JailLauncher {
    fn drop(&mut self) {
        // Sandboxes that were dropped before are gone after; also those whose boot nobody waited for.
        self.builder.settle();
        self.shared.undertaker.settle();
    }
}
