//! What the router knows of one revision of a function: its slots, waiters and claims under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::limits::MEMORY_MIN_MB;
use hearth_domain::{FunctionRef, FunctionSpec, Moment, SlotId};

use crate::alarms::Armed;
use crate::keep_alive::{History, HistoryKey};

use super::provision::Pinned;
use super::{Alarm, Router, RouterConfig, WaiterId};

/// Where a function is in the router's slab.
pub(super) type FunctionIndex = usize;

/// A place in the queues: the smaller one came earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) u64);

/// One revision of a function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) id: FunctionRef,
    /// Known as soon as a call came; what was recovered is known by its reference only.
    pub(super) spec: Option<Arc<FunctionSpec>>,
    /// Slots that can take a call, the one used last at the back, with the moment it turned idle.
    pub(super) idle: VecDeque<(Moment, SlotId)>,
    /// Slots that wait for a renewal.
    pub(super) refreshing: BTreeSet<SlotId>,
    /// Reserved slots.
    pub(super) busy: u32,
    /// Calls that wait, in the order they came.
    pub(super) waiters: BTreeMap<Place, WaiterId>,
    /// Slots asked for, whose outcome is not known yet.
    pub(super) claiming: u32,
    pub(super) backoff: Backoff,
    /// What placement said when it last gave no slot.
    pub(super) last_refusal: Option<String>,
    /// Memory that idle slots of others should make room for, MB.
    pub(super) unmet_mb: u64,
    /// Slots that are kept ready, and stand in none of the lists above while they are idle.
    pub(super) pinned: Pinned,
    /// Another revision took its place: what gets free is released.
    pub(super) retired: bool,
    pub(super) history: Box<History>,
    pub(super) armed: Armed,
}

/// When to claim again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    retry_at: Moment,
}

impl Backoff {
    /// Claims are allowed from here on.
    pub(super) fn retry_at(self) -> Moment {
        self.retry_at
    }

    /// A claim brought no slot. Several refusals of one round count once.
    pub(super) fn on_refused(&mut self, now: Moment, config: &RouterConfig) {
        if now >= self.retry_at {
            self.failures = self.failures.saturating_add(1);
            self.retry_at = now + config.claim_backoff(self.failures);
        }
    }

    /// An init failed that nobody waited for.
    pub(super) fn on_failed(&mut self, now: Moment, config: &RouterConfig) {
        if now >= self.retry_at {
            self.failures = self.failures.saturating_add(1);
            self.retry_at = now + config.pinning_backoff(self.failures);
        }
    }

    /// A claim brought a slot, or at least an init.
    pub(super) fn on_served(&mut self) {
        self.failures = 0;
    }

    /// There is reason to hope sooner.
    pub(super) fn hurry(&mut self, at: Moment) {
        self.retry_at = self.retry_at.min(at);
    }
}

impl Function {
    fn new(id: FunctionRef, history: Box<History>) -> Self {
        Self {
            id,
            spec: None,
            idle: VecDeque::new(),
            refreshing: BTreeSet::new(),
            busy: 0,
            waiters: BTreeMap::new(),
            claiming: 0,
            backoff: Backoff::default(),
            last_refusal: None,
            unmet_mb: 0,
            pinned: Pinned::default(),
            retired: false,
            history,
            armed: Armed::default(),
        }
    }

    /// Whether any call runs or waits.
    pub(super) fn in_flight(&self) -> bool {
        self.busy > 0 || !self.waiters.is_empty()
    }

    /// Waiters for whom nothing is under way.
    pub(super) fn unprovided(&self) -> usize {
        let under_way = self.claiming as usize + self.refreshing.len();
        self.waiters.len().saturating_sub(under_way)
    }

    /// Whether forgetting it loses nothing.
    pub(super) fn unused(&self) -> bool {
        let on_demand = self.claiming == 0 && self.idle.is_empty() && self.refreshing.is_empty();
        on_demand && !self.in_flight() && self.pinned.unused()
    }

    /// Memory of one of its slots, MB. What was recovered and not called since counts as the smallest.
    pub(super) fn memory_mb(&self) -> u64 {
        u64::from(self.spec.as_ref().map_or(MEMORY_MIN_MB, |spec| spec.memory.get()))
    }

    /// Longest run of one of its calls.
    pub(super) fn timeout(&self) -> Duration {
        self.spec.as_ref().map_or(Duration::ZERO, |spec| spec.timeout.duration())
    }

    /// When to look at it again at the latest.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let expiry = self.idle.front().map(|(since, _)| *since + self.history.window());
        let retry = (self.unprovided() > 0).then_some(self.backoff.retry_at);
        [expiry, retry, self.pinned.deadline()].into_iter().flatten().min()
    }

    /// The idle slots of a kind, the one used last at the back.
    pub(super) fn idle_of(&mut self, pinned: bool) -> &mut VecDeque<(Moment, SlotId)> {
        if pinned { &mut self.pinned.idle } else { &mut self.idle }
    }

    /// Takes a slot out of the idle ones.
    pub(super) fn remove_idle(&mut self, pinned: bool, since: Moment, slot: SlotId) {
        let idle = self.idle_of(pinned);
        let mut at = idle.partition_point(|(other, _)| *other < since);
        while idle.get(at).is_some_and(|(other, id)| *other == since && *id != slot) {
            at += 1;
        }
        if idle.get(at) == Some(&(since, slot)) {
            idle.remove(at);
        }
    }
}

impl Router {
    /// The function's entry, made if need be.
    pub(super) fn function_for(&mut self, id: &FunctionRef) -> FunctionIndex {
        if let Some(index) = self.by_ref.get(id) {
            return *index;
        }
        let history = self.history_for(id);
        let index = self.functions.insert(Function::new(id.clone(), history));
        self.by_ref.insert(id.clone(), index);
        self.by_name.entry((id.account.clone(), id.name.clone())).or_default().push(index);
        index
    }

    /// Forgets the function if nothing of it is left; its history is put away.
    pub(super) fn forget_if_unused(&mut self, index: FunctionIndex) {
        if !self.functions.get(index).is_some_and(Function::unused) {
            return;
        }
        let mut function = self.functions.remove(index);
        self.alarms.disarm(Alarm::Function(index), &mut function.armed);
        self.unsettled.remove(&index);
        self.starving.remove(&index);
        self.pinning.remove(&index);
        self.by_ref.remove(&function.id);
        let name = (function.id.account.clone(), function.id.name.clone());
        if let Some(siblings) = self.by_name.get_mut(&name) {
            siblings.retain(|sibling| *sibling != index);
            if siblings.is_empty() {
                self.by_name.remove(&name);
            }
        }
        self.archive.put(HistoryKey::from(&function.id), function.history);
    }

    pub(super) fn arm_function(&mut self, index: FunctionIndex) {
        let function = &mut self.functions[index];
        if let Some(at) = function.deadline() {
            self.alarms.arm(Alarm::Function(index), &mut function.armed, at);
        }
    }

    /// A function's history goes on over its revisions: from the archive, or from a revision that is still in use.
    fn history_for(&mut self, id: &FunctionRef) -> Box<History> {
        if let Some(history) = self.archive.take(&HistoryKey::from(id)) {
            return history;
        }
        let siblings = self.by_name.get(&(id.account.clone(), id.name.clone()));
        siblings
            .into_iter()
            .flatten()
            .map(|sibling| &self.functions[*sibling])
            .filter(|sibling| sibling.id.version == id.version)
            .max_by_key(|sibling| sibling.history.total())
            .map_or_else(|| Box::new(History::new(&self.config.keep_alive)), |sibling| sibling.history.clone())
    }
}
