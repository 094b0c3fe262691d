//! Provisioned concurrency: slots of a version that are made before anybody calls, and kept.
//!
//! ```text
//!              target says so                    call
//!  (nothing) ──────────────▶ claim ──▶ pinned idle ⇄ busy
//!                              ▲            │
//!                              └── lost, or too old for its credentials
//! ```
//!
//! A pinned slot does not age out and makes no room for others; it ends when its target is lowered, when its lease or
//! its worker is lost, when it fails, or when it has lived as long as an environment may. What is missing is claimed
//! again, after ever longer pauses while its init fails. Calls take pinned slots before others. Claims for pinning are
//! counted apart from those for waiters, so that neither is asked for twice or taken for the other.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hearth_domain::{FunctionSpec, InitFailure, Moment, SlotId};
use hearth_protocol::worker_manager::{Provision, ProvisionReport, ProvisionTarget, Provisioned};

use super::function::{Backoff, FunctionIndex};
use super::{Outbox, Router};

/// What is kept ready of one function.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    /// How many slots are to be.
    pub(super) target: u32,
    /// How many there are, wherever they are.
    pub(super) held: u32,
    /// Slots asked for, whose outcome is not known yet.
    pub(super) claiming: u32,
    /// Those that can take a call, the one used last at the back, with the moment it turned idle.
    pub(super) idle: VecDeque<(Moment, SlotId)>,
    pub(super) backoff: Backoff,
    /// Why the last one could not be made.
    pub(super) failure: Option<String>,
    /// What they are made for.
    spec: Option<Arc<FunctionSpec>>,
}

impl Pinned {
    /// How many are missing and not asked for.
    pub(super) fn missing(&self) -> u32 {
        self.target.saturating_sub(self.held + self.claiming)
    }

    /// Whether forgetting it loses nothing.
    pub(super) fn unused(&self) -> bool {
        self.target == 0 && self.claiming == 0 && self.held == 0
    }

    /// When to claim what is missing.
    pub(super) fn deadline(&self) -> Option<Moment> {
        (self.missing() > 0).then_some(self.backoff.retry_at())
    }
}

impl Router {
    /// Says what is to be kept ready from here on, all of it. Tells how far that is.
    pub fn on_provision(&mut self, now: Moment, provision: &Provision) -> ProvisionReport {
        let mut named = BTreeSet::new();
        for target in &provision.targets {
            named.insert(self.set_target(now, target));
        }
        let others: Vec<_> = self.pinning.iter().copied().filter(|index| !named.contains(index)).collect();
        for index in others {
            self.lower_target(now, index, 0);
        }
        let functions = provision.targets.iter().map(|target| self.provisioned(now, target)).collect();
        ProvisionReport { functions }
    }

    /// Keeps `count` slots of the function at most; those too many go as soon as no call runs on them.
    pub(super) fn lower_target(&mut self, now: Moment, index: FunctionIndex, count: u32) {
        let pinned = &mut self.functions[index].pinned;
        pinned.target = count;
        let mut ending = Vec::new();
        while pinned.held - u32::try_from(ending.len()).unwrap_or(u32::MAX) > count {
            let Some((_, id)) = pinned.idle.pop_front() else { break };
            ending.push(id);
        }
        if count == 0 {
            self.pinning.remove(&index);
        }
        for id in ending {
            self.release(now, id);
        }
        self.unsettle(now, index);
    }

    /// Asks for the slots that are missing.
    pub(super) fn claim_for_pinning(&mut self, now: Moment, index: FunctionIndex, outbox: &mut impl Outbox) {
        let pinned = &mut self.functions[index].pinned;
        let Some(spec) = pinned.spec.clone() else { return };
        if !self.stage.recovered || now < pinned.backoff.retry_at() {
            return;
        }
        let mut wanted = pinned.missing();
        pinned.claiming += wanted;
        while wanted > 0 {
            let count = wanted.min(self.config.max_claim_count);
            wanted -= count;
            self.send_claim(now, index, &spec, count, true, outbox);
        }
    }

    /// An init failed that no call waits for.
    pub(super) fn on_pinning_failed(&mut self, now: Moment, index: FunctionIndex, failure: &InitFailure) {
        let pinned = &mut self.functions[index].pinned;
        pinned.failure = Some(failure.error_type.clone());
        pinned.backoff.on_failed(now, &self.config);
        self.stats.inits_failed += 1;
    }

    /// A call gave a pinned slot back, or placement gave one: whether there are more than there should be.
    pub(super) fn is_too_many(&self, index: FunctionIndex) -> bool {
        let pinned = &self.functions[index].pinned;
        pinned.held > pinned.target
    }

    fn set_target(&mut self, now: Moment, target: &ProvisionTarget) -> FunctionIndex {
        let index = self.function_for(&target.function.function);
        let function = &mut self.functions[index];
        // What is retired or given back at the end is not begun again.
        let count = if function.retired || self.stage.draining { 0 } else { target.count };
        function.spec.get_or_insert_with(|| target.function.clone());
        // Its credentials are newer each time.
        function.pinned.spec = Some(Arc::new(FunctionSpec { provisioned: true, ..(*target.function).clone() }));
        if count > 0 {
            self.pinning.insert(index);
        }
        self.lower_target(now, index, count);
        index
    }

    fn provisioned(&self, now: Moment, target: &ProvisionTarget) -> Provisioned {
        let function = target.function.function.clone();
        let Some(index) = self.by_ref.get(&function) else {
            return Provisioned { function, allocated: 0, available: 0, failure: None };
        };
        let pinned = &self.functions[*index].pinned;
        let unusable = self.functions[*index].refreshing.iter().filter(|id| self.slots[*id].pinned).count();
        let idle_unusable = pinned.idle.iter().filter(|(_, id)| !self.slots[id].lease.usable(now)).count();
        let unusable = u32::try_from(unusable + idle_unusable).unwrap_or(u32::MAX);
        Provisioned {
            function,
            allocated: pinned.held,
            available: pinned.held.saturating_sub(unusable),
            failure: pinned.failure.clone(),
        }
    }
}
