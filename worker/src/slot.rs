//! Slots: execution environments bound to one function version.
//!
//! ```text
//! Slots (who is there) ──command──▶ SlotTask (one per slot, owns its sandbox) ──event──▶ SlotCore (decides)
//!        ▲                                 │
//!        └────────── SlotView ─────────────┘
//! ```
//!
//! The registry only finds the task; whether a call may run, the core decides, so a stale token can't slip past it.

mod core;
mod failure;
mod guest_use;
mod hands;
mod output;
mod prepare;
mod task;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearth_daemon::{Clock, OnFailure, Tasks};
use hearth_domain::{FencingToken, FunctionRef, HolderId, Isolation, MemorySize, Moment, SlotId, SlotState};
use hearth_protocol::worker::{
    FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError, InvokeRequest, InvokeResponse, StreamSender,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

pub(crate) use self::core::SlotBounds;
pub(crate) use self::failure::{Failure, timed_out};
use self::task::{Command, SlotTask};
use crate::capacity::Admission;
use crate::code::CodeCache;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::pool::{Boots, Pool};
use crate::runtime::Offer;

/// Commands that wait for one slot's task.
const COMMANDS_MAX: usize = 32;
/// Ended slots whose init is remembered, so that asking again gives the same answer.
const REMEMBERED_MAX: usize = 4_096;

type InitAnswer = Result<InitDone, InitSlotError>;

/// What slots work with.
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) logs: Logs,
    pub(crate) code: Arc<CodeCache>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) boots: Arc<Boots>,
    pub(crate) offer: Offer,
    pub(crate) isolation: Isolation,
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Metrics,
    /// Placement should hear of a change soon.
    pub(crate) changed: Notify,
    /// Bounds that no function sets.
    pub(crate) bounds: SlotBounds,
}

/// A slot, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotView {
    /// Which.
    pub(crate) slot: SlotId,
    /// The newest token it was told.
    pub(crate) token: FencingToken,
    /// The newest holder it was told.
    pub(crate) holder: HolderId,
    /// What runs in it.
    pub(crate) function: FunctionRef,
    /// Its memory.
    pub(crate) memory: MemorySize,
    /// Its state.
    pub(crate) state: SlotState,
    /// Memory in use when last measured, bytes.
    pub(crate) memory_bytes: u64,
    /// CPU time used when last measured.
    pub(crate) cpu: Duration,
    /// Since when it is idle, if it is.
    pub(crate) idle_since: Option<Moment>,
}

/// All slots of a worker.
pub(crate) struct Slots {
    host: Arc<Host>,
    registry: Arc<Registry>,
}

#[derive(Default)]
struct Registry {
    inner: Mutex<Inner>,
    left: Notify,
}

#[derive(Default)]
struct Inner {
    live: HashMap<SlotId, Live>,
    ended: HashMap<SlotId, (FencingToken, InitAnswer)>,
    ended_order: VecDeque<SlotId>,
    closed: bool,
}

#[derive(Clone)]
struct Live {
    first_token: FencingToken,
    commands: mpsc::Sender<Command>,
    init: watch::Receiver<Option<InitAnswer>>,
    view: watch::Receiver<SlotView>,
}

impl Slots {
    /// No slots yet.
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, registry: Arc::default() }
    }

    /// Makes a slot, or waits for the one that is being made under the same id and token.
    pub(crate) async fn init(&self, request: InitSlot) -> InitAnswer {
        let mut init = match self.find_or_make(request)? {
            Found::Answered(answer) => return answer,
            Found::Live(init) => init,
        };
        let answer = init.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err(refused("the slot broke during its init")))
    }

    /// Runs an invocation. What it streams goes to `pieces`, if that is wanted.
    pub(crate) async fn invoke(
        &self,
        request: InvokeRequest,
        pieces: Option<StreamSender>,
    ) -> Result<InvokeResponse, InvokeError> {
        let slot = request.slot;
        let unknown = || InvokeError::StaleSlot { slot, reason: "there is no such slot".into() };
        let commands = self.registry.commands(slot).ok_or_else(unknown)?;
        let (answer, answered) = oneshot::channel();
        commands.send(Command::Invoke(Box::new(request), pieces, answer)).await.map_err(|_| unknown())?;
        let broke = |_| InvokeError::WorkerFailed { reason: "the slot broke".into() };
        answered.await.map_err(broke)?
    }

    /// Gives a slot a new token.
    pub(crate) async fn fence(&self, request: FenceRequest) -> Fenced {
        let Some(commands) = self.registry.commands(request.slot) else { return Fenced::Unknown };
        let (answer, answered) = oneshot::channel();
        if commands.send(Command::Fence(request, answer)).await.is_err() {
            return Fenced::Unknown;
        }
        answered.await.unwrap_or(Fenced::Unknown)
    }

    /// Drains slots that carry no newer token. One that is too busy ending to take the word is passed over: who
    /// wants it gone asks again.
    pub(crate) fn reclaim(&self, slots: Vec<(SlotId, FencingToken)>) {
        for (slot, token) in slots {
            if let Some(commands) = self.registry.commands(slot) {
                let _ = commands.try_send(Command::Reclaim(token));
            }
        }
    }

    /// Idle slots with their tokens, the one idle longest first.
    pub(crate) fn idle(&self) -> Vec<(SlotId, FencingToken)> {
        let inner = self.registry.lock();
        let views = inner.live.values().map(|live| live.view.borrow());
        let mut idle: Vec<_> = views.filter_map(|view| Some((view.idle_since?, view.slot, view.token))).collect();
        idle.sort_unstable();
        idle.into_iter().map(|(_, slot, token)| (slot, token)).collect()
    }

    /// Ends slots that are idle still, because the host needs their memory.
    pub(crate) fn end_idle(&self, slots: &[(SlotId, FencingToken)]) {
        for (slot, token) in slots {
            if let Some(commands) = self.registry.commands(*slot) {
                // One that is too busy to take the word is not idle any more.
                let _ = commands.try_send(Command::EndIdle(*token));
            }
        }
    }

    /// What all slots look like now.
    pub(crate) fn views(&self) -> Vec<SlotView> {
        self.registry.lock().live.values().map(|live| live.view.borrow().clone()).collect()
    }

    /// Takes no new slots and drains all; resolves when the last one is gone.
    pub(crate) async fn drain(&self) {
        let commands = self.registry.close();
        for commands in commands {
            let _ = commands.send(Command::Drain).await;
        }
        self.registry.emptied().await;
    }

    /// Ends all slots at once; resolves when the last one is gone.
    pub(crate) async fn kill(&self) {
        for commands in self.registry.close() {
            let _ = commands.send(Command::Kill).await;
        }
        self.registry.emptied().await;
    }

    fn find_or_make(&self, request: InitSlot) -> Result<Found, InitSlotError> {
        let mut inner = self.registry.lock();
        if let Some(live) = inner.live.get(&request.slot) {
            let same = live.first_token == request.token;
            return if same {
                Ok(Found::Live(live.init.clone()))
            } else {
                Err(refused("the slot exists under another token"))
            };
        }
        if let Some((token, answer)) = inner.ended.get(&request.slot) {
            let same = *token == request.token;
            return if same { Ok(Found::Answered(answer.clone())) } else { Err(refused("the slot has ended")) };
        }
        if inner.closed {
            return Err(refused("the worker is shutting down"));
        }
        let function = &request.function;
        if !self.host.offer.has(crate::runtime::RuntimeClass::of(function.runtime)) {
            return Err(refused(&format!("this worker's host has no {}", function.runtime)));
        }
        if let Some(asked) = function.isolation.filter(|asked| *asked > self.host.isolation) {
            return Err(refused(&format!(
                "{} runs in {asked} or nothing, and this worker has {}",
                function.function, self.host.isolation
            )));
        }
        let reservation = self.host.admission.reserve(function.memory).map_err(|full| refused(&full.to_string()))?;
        let (slot, first_token) = (request.slot, request.token);
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (task, init, view) = SlotTask::new(self.host.clone(), request, reservation, inbox);
        inner.live.insert(slot, Live { first_token, commands, init: init.clone(), view });
        drop(inner);
        let leaving = Leaving { registry: self.registry.clone(), slot };
        self.host.tasks.spawn("slot", OnFailure::Log, async move {
            task.run().await;
            drop(leaving);
            Ok::<(), Infallible>(())
        });
        Ok(Found::Live(init))
    }
}

enum Found {
    Live(watch::Receiver<Option<InitAnswer>>),
    Answered(InitAnswer),
}

impl Registry {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commands(&self, slot: SlotId) -> Option<mpsc::Sender<Command>> {
        self.lock().live.get(&slot).map(|live| live.commands.clone())
    }

    fn close(&self) -> Vec<mpsc::Sender<Command>> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.live.values().map(|live| live.commands.clone()).collect()
    }

    async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().live.is_empty() {
                return;
            }
            left.await;
        }
    }
}

/// Takes a slot out of the registry however its task ends.
struct Leaving {
    registry: Arc<Registry>,
    slot: SlotId,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut inner = self.registry.lock();
        if let Some(live) = inner.live.remove(&self.slot) {
            let answer = live.init.borrow().clone().unwrap_or_else(|| Err(refused("the slot broke during its init")));
            inner.ended.insert(self.slot, (live.first_token, answer));
            inner.ended_order.push_back(self.slot);
            if inner.ended_order.len() > REMEMBERED_MAX
                && let Some(oldest) = inner.ended_order.pop_front()
            {
                inner.ended.remove(&oldest);
            }
        }
        drop(inner);
        self.registry.left.notify_waiters();
    }
}

fn refused(reason: &str) -> InitSlotError {
    InitSlotError::Refused { reason: reason.to_owned() }
}
