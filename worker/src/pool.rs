//! Sandboxes that are booted before anybody asks, with their language runtime already started.
//!
//! ```text
//!            take ─▶ owner (core: what to boot, what to discard)
//!                      │ give                     │ boot
//!                      ▼                          ▼
//!  caller ◀─ sandbox ─ keeper (one per pooled sandbox; notices when it dies)
//! ```
//!
//! Sandboxes of one class serve for each other; which classes there are, `class` says (docs/decisions/0040, 0126).

mod boot;
mod core;
mod restore;
mod version;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use hearth_daemon::{Clock, OnFailure, Tasks};
use hearth_domain::Moment;
use hearth_guest_protocol::guest_message;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

pub(crate) use self::boot::{BootFailure, BootParts, Booted, Boots, Purpose};
pub(crate) use self::core::PoolBounds;
use self::core::{Outbox, PoolCore, SandboxNumber};
pub(crate) use self::restore::{REST_TIMEOUT, Resumed};
pub(crate) use self::version::VersionKey;
use crate::class::SandboxClass;

/// Requests that wait for the pool's owner.
const REQUESTS_MAX: usize = 1_024;
/// Log messages of a sandbox that has no function yet; a language runtime says next to nothing at its start.
const POOLED_LOGS_MAX: u32 = 1_000;

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    requests: mpsc::Sender<Request>,
    boots: Arc<Boots>,
    tasks: Tasks,
    state: watch::Receiver<PoolState>,
}

/// The pool, seen from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PoolState {
    /// Whether it could take a call of every class it can boot.
    pub(crate) ready: bool,
    /// What keeps sandboxes from booting.
    pub(crate) troubles: Vec<String>,
    /// Booted sandboxes by class.
    pub(crate) counts: Vec<(SandboxClass, u32)>,
}

enum Request {
    Take { class: SandboxClass, to: oneshot::Sender<Booted> },
    Booted { number: SandboxNumber, give: Give },
    Failed { number: SandboxNumber, reason: String },
}

/// Asks a keeper for its sandbox; dropping it asks to destroy the sandbox.
type Give = oneshot::Sender<oneshot::Sender<Booted>>;

impl Pool {
    /// Starts filling the pool for `classes`.
    pub(crate) fn start(
        bounds: PoolBounds,
        classes: impl Iterator<Item = SandboxClass>,
        boots: Arc<Boots>,
        clock: Clock,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (state_tx, state) = watch::channel(PoolState::default());
        let core = PoolCore::new(bounds, classes);
        let keepers = Keepers {
            boots: boots.clone(),
            requests: requests.downgrade(),
            tasks: tasks.clone(),
            gives: HashMap::new(),
        };
        let owner = Owner { core, keepers, inbox, state: state_tx, clock };
        let stop = tasks.clone();
        tasks.spawn("pool", OnFailure::EndRole, async move { owner.run(stop).await });
        Arc::new(Self { requests, boots, tasks: tasks.clone(), state })
    }

    /// A sandbox of `class`: from the pool, or started now.
    pub(crate) async fn take(&self, class: SandboxClass) -> Result<Booted, BootFailure> {
        let (to, pooled) = oneshot::channel();
        if self.requests.send(Request::Take { class, to }).await.is_ok()
            && let Ok(booted) = pooled.await
        {
            return Ok(booted);
        }
        let started = self.boots.start(class, Purpose::Call).await;
        if self.boots.lacks_snapshot(class) {
            // Where there is no pool that would make one while it fills.
            let (boots, stop) = (self.boots.clone(), self.tasks.clone());
            self.tasks.spawn("snapshot", OnFailure::Log, async move {
                tokio::select! {
                    made = boots.make_snapshot(class) => made.map(drop),
                    () = stop.stopping() => Ok(()),
                }
            });
        }
        started
    }

    /// What it looks like now, and when that changes.
    pub(crate) fn state(&self) -> watch::Receiver<PoolState> {
        self.state.clone()
    }
}

/// Owns the core and feeds it.
struct Owner {
    core: PoolCore,
    keepers: Keepers,
    inbox: mpsc::Receiver<Request>,
    state: watch::Sender<PoolState>,
    clock: Clock,
}

impl Owner {
    async fn run(mut self, tasks: Tasks) -> Result<(), Infallible> {
        self.core.on_time(self.now(), &mut self.keepers);
        loop {
            self.publish();
            let deadline = self.core.deadline().map(|at| self.clock.instant(at.since(Moment::ORIGIN)));
            tokio::select! {
                request = self.inbox.recv() => match request {
                    Some(request) => self.on_request(request),
                    None => return Ok(()),
                },
                () = sleep_until(deadline) => self.core.on_time(self.now(), &mut self.keepers),
                () = tasks.stopping() => return Ok(()),
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Take { class, to } => self.on_take(now, class, to),
            Request::Booted { number, give } => {
                self.keepers.gives.insert(number, give);
                self.core.on_booted(now, number, &mut self.keepers);
            }
            Request::Failed { number, reason } => {
                self.keepers.gives.remove(&number);
                self.core.on_failed(now, number, reason, &mut self.keepers);
            }
        }
    }

    /// A keeper whose sandbox just died can't give it any more; then the next one is asked. If there is none, dropping
    /// `to` tells the caller.
    fn on_take(&mut self, now: Moment, class: SandboxClass, mut to: oneshot::Sender<Booted>) {
        self.core.on_wanted(now, class);
        while let Some(number) = self.core.on_take(class) {
            let Some(give) = self.keepers.gives.remove(&number) else { continue };
            match give.send(to) {
                Ok(()) => break,
                Err(back) => to = back,
            }
        }
        self.core.on_time(now, &mut self.keepers);
    }

    fn publish(&self) {
        let next = PoolState { ready: self.core.ready(), troubles: self.core.troubles(), counts: self.core.counts() };
        self.state.send_if_modified(|state| {
            let changed = *state != next;
            *state = next;
            changed
        });
    }

    fn now(&self) -> Moment {
        now(&self.clock)
    }
}

/// Boots and keeps what the core decides on.
struct Keepers {
    boots: Arc<Boots>,
    requests: mpsc::WeakSender<Request>,
    tasks: Tasks,
    gives: HashMap<SandboxNumber, Give>,
}

impl Outbox for Keepers {
    fn boot(&mut self, number: SandboxNumber, class: SandboxClass) {
        let keeper = Keeper { number, class, boots: self.boots.clone(), requests: self.requests.clone() };
        let tasks = self.tasks.clone();
        self.tasks.spawn("pooled sandbox", OnFailure::Log, async move {
            keeper.run(tasks).await;
            Ok::<(), Infallible>(())
        });
    }

    fn discard(&mut self, number: SandboxNumber) {
        self.gives.remove(&number);
    }
}

/// Boots one sandbox and keeps it until it is taken, discarded or dead.
struct Keeper {
    number: SandboxNumber,
    class: SandboxClass,
    boots: Arc<Boots>,
    requests: mpsc::WeakSender<Request>,
}

impl Keeper {
    async fn run(self, tasks: Tasks) {
        let (number, class) = (self.number, self.class);
        let booted = tokio::select! {
            booted = self.boots.start(class, Purpose::Pool) => booted,
            () = tasks.stopping() => return,
        };
        match booted {
            Ok(booted) => self.keep(booted, tasks).await,
            Err(failure) => {
                warn!(%class, %failure, "a sandbox for the pool did not start");
                self.tell(Request::Failed { number, reason: format!("{class}: {failure}") }).await;
            }
        }
    }

    async fn keep(&self, mut booted: Booted, tasks: Tasks) {
        let (give, given) = oneshot::channel();
        self.tell(Request::Booted { number: self.number, give }).await;
        tokio::select! {
            to = given => match to {
                Ok(to) => {
                    booted.from_pool = true;
                    // Should the caller have left, its sandbox is dropped with the message, and that destroys it.
                    let _ = to.send(booted);
                }
                Err(_) => destroy(booted).await,
            },
            reason = death(&mut booted) => {
                let class = self.class;
                warn!(%class, %reason, "a pooled sandbox ended");
                destroy(booted).await;
                self.tell(Request::Failed { number: self.number, reason: format!("{class}: {reason}") }).await;
            }
            () = tasks.stopping() => destroy(booted).await,
        }
    }

    /// If the owner is gone, so is the pool.
    async fn tell(&self, request: Request) {
        if let Some(requests) = self.requests.upgrade() {
            let _ = requests.send(request).await;
        }
    }
}

/// Resolves when a pooled sandbox is of no more use.
async fn death(booted: &mut Booted) -> String {
    for _ in 0..POOLED_LOGS_MAX {
        match booted.channel.reader.receive().await {
            Ok(guest_message::Kind::Log(log)) => debug!(bytes = log.data.len(), "a pooled sandbox wrote something"),
            Ok(_) => return "an unexpected message while pooled".into(),
            Err(error) => return error.to_string(),
        }
    }
    "a flood of log messages while pooled".into()
}

async fn destroy(mut booted: Booted) {
    if let Err(error) = booted.sandbox.kill().await {
        warn!(%error, "a sandbox left something behind");
    }
}

/// The clock's reading, as cores take it.
pub(crate) fn now(clock: &Clock) -> Moment {
    Moment::from_nanos(u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Sleeps until `deadline`; for ever if there is none.
pub(crate) async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
