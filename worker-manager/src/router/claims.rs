//! Asking placement for slots, and what comes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_domain::{FunctionSpec, InitFailure, Moment, SlotId};
use hearth_protocol::placement::{ClaimOutcome, Grant};
use hearth_protocol::worker_manager::{AwaitedStart, ReserveError};

use crate::alarms::Armed;
use crate::leases::HeldLease;

use super::function::FunctionIndex;
use super::slot::{Slot, SlotPlace};
use super::{Alarm, Claim, ClaimNumber, Outbox, Router};

/// A claim under way.
#[derive(Debug)]
pub(super) struct ClaimState {
    pub(super) function: FunctionIndex,
    /// Its slots are to be kept ready.
    pub(super) pinned: bool,
    pub(super) sent_at: Moment,
    /// Outcomes still to come.
    pub(super) outstanding: u32,
    /// What it gave so far, to know an outcome that arrives twice.
    pub(super) granted: BTreeSet<SlotId>,
    pub(super) deadline: Moment,
    pub(super) armed: Armed,
}

impl Router {
    /// An outcome of a claim. One of a claim that was given up is released; one that arrives twice is ignored.
    pub fn on_claim_outcome(
        &mut self,
        now: Moment,
        number: ClaimNumber,
        outcome: ClaimOutcome,
        outbox: &mut impl Outbox,
    ) {
        match outcome {
            ClaimOutcome::Granted(grant) => self.on_granted(now, number, grant, outbox),
            ClaimOutcome::InitFailed(failure) => match self.take_outcome(now, number) {
                Some((index, true)) => self.on_pinning_failed(now, index, &failure),
                Some((index, false)) => self.on_init_failed(now, index, failure, outbox),
                None => {}
            },
            ClaimOutcome::NoCapacity { reason, full } => {
                if let Some((index, pinned)) = self.take_outcome(now, number) {
                    self.on_no_capacity(now, index, pinned, reason, full);
                }
            }
        }
    }

    /// The stream of a claim's outcomes ended, or it could not be sent. After its last outcome this changes nothing;
    /// before, what is outstanding is given up and, while calls wait, claimed again after a back-off.
    pub fn on_claim_cut(&mut self, now: Moment, number: ClaimNumber, reason: &str) {
        let Some(mut claim) = self.claims.remove(&number) else { return };
        self.alarms.disarm(Alarm::Claim(number), &mut claim.armed);
        self.stats.claims_cut += 1;
        let function = &mut self.functions[claim.function];
        if claim.pinned {
            function.pinned.claiming -= claim.outstanding;
            function.pinned.backoff.on_refused(now, &self.config);
        } else {
            function.claiming -= claim.outstanding;
            function.last_refusal = Some(reason.to_owned());
            function.backoff.on_refused(now, &self.config);
        }
        self.unsettle(now, claim.function);
    }

    /// Sends the claims that the function's waiters ask for now.
    pub(super) fn claim_for_waiters(&mut self, now: Moment, index: FunctionIndex, outbox: &mut impl Outbox) {
        let function = &mut self.functions[index];
        let Some(spec) = function.spec.clone() else { return };
        if !self.stage.recovered || now < function.backoff.retry_at() {
            return;
        }
        let mut wanted = u32::try_from(function.unprovided()).unwrap_or(u32::MAX);
        if wanted > 0 {
            // The next refusal will say anew what is missing.
            function.unmet_mb = 0;
            self.starving.remove(&index);
        }
        while wanted > 0 {
            let count = wanted.min(self.config.max_claim_count);
            wanted -= count;
            self.functions[index].claiming += count;
            self.send_claim(now, index, &spec, count, false, outbox);
        }
    }

    /// Sends a claim that its function counts already.
    pub(super) fn send_claim(
        &mut self,
        now: Moment,
        function: FunctionIndex,
        spec: &Arc<FunctionSpec>,
        count: u32,
        pinned: bool,
        outbox: &mut impl Outbox,
    ) {
        self.last_claim.0 += 1;
        let (number, deadline) = (self.last_claim, now + self.config.claim_bound(spec.timeout.duration()));
        let mut armed = Armed::default();
        self.alarms.arm(Alarm::Claim(number), &mut armed, deadline);
        let granted = BTreeSet::new();
        let claim = ClaimState { function, pinned, sent_at: now, outstanding: count, granted, deadline, armed };
        self.claims.insert(number, claim);
        self.stats.slots_claimed += u64::from(count);
        outbox.claim(Claim { number, function: spec.clone(), count, give_up_at: deadline });
    }

    fn on_granted(&mut self, now: Moment, number: ClaimNumber, grant: Grant, outbox: &mut impl Outbox) {
        if self.slots.contains_key(&grant.slot) {
            return;
        }
        let Some(claim) = self.claims.get_mut(&number) else {
            // The claim was given up; nobody else will give this slot back.
            self.releasing.push((grant.slot, grant.token));
            return self.end_turn(now);
        };
        if !claim.granted.insert(grant.slot) {
            return;
        }
        let sent_at = claim.sent_at;
        let Some((index, pinned)) = self.take_outcome(now, number) else { return };
        if grant.function != self.functions[index].id {
            self.releasing.push((grant.slot, grant.token));
            return;
        }
        self.stats.slots_granted += 1;
        let function = &mut self.functions[index];
        if pinned {
            function.pinned.backoff.on_served();
            function.pinned.failure = None;
            if function.pinned.held >= function.pinned.target && function.waiters.is_empty() {
                // The target was lowered meanwhile.
                self.releasing.push((grant.slot, grant.token));
                return;
            }
            function.pinned.held += 1;
        } else {
            function.backoff.on_served();
        }
        self.install(now, index, pinned, sent_at, grant, outbox);
    }

    /// Takes a granted slot in: to the head waiter, to the idle ones, or first to a renewal.
    pub(super) fn install(
        &mut self,
        now: Moment,
        index: FunctionIndex,
        pinned: bool,
        sent_at: Moment,
        grant: Grant,
        outbox: &mut impl Outbox,
    ) {
        let lease = HeldLease::granted(grant.slot, grant.token, grant.terms, sent_at, now);
        let mut slot = Slot {
            lease,
            worker: grant.worker,
            function: index,
            place: SlotPlace::Refreshing,
            pinned,
            granted_at: now,
            answered_at: now,
            start: grant.start.map(|times| Box::new(AwaitedStart { awaited: now.since(sent_at), times })),
            armed: Armed::default(),
        };
        let deadline = slot.deadline(&self.config);
        self.alarms.arm(Alarm::Slot(grant.slot), &mut slot.armed, deadline);
        self.by_worker.entry(slot.worker.id.clone()).or_default().insert(grant.slot);
        self.slots.insert(grant.slot, slot);
        if lease.usable(now + self.config.first_use_margin) {
            self.make_available(now, grant.slot, outbox);
        } else {
            self.refresh(now, grant.slot);
        }
    }

    /// Every environment would fail alike, but each call gets an init of its own, as each call of Lambda does.
    fn on_init_failed(
        &mut self,
        now: Moment,
        index: FunctionIndex,
        failure: Box<InitFailure>,
        outbox: &mut impl Outbox,
    ) {
        self.functions[index].backoff.on_served();
        self.stats.inits_failed += 1;
        let head = self.functions[index].waiters.first_key_value().map(|(_, id)| *id);
        if let Some(id) = head
            && self.end_waiter(now, id).is_some()
        {
            self.stats.init_failed += 1;
            outbox.answer(id, Err(ReserveError::InitFailed(failure)));
        }
    }

    fn on_no_capacity(&mut self, now: Moment, index: FunctionIndex, pinned: bool, reason: String, full: bool) {
        self.stats.no_capacity += 1;
        let function = &mut self.functions[index];
        if pinned {
            return function.pinned.backoff.on_refused(now, &self.config);
        }
        function.last_refusal = Some(reason);
        function.backoff.on_refused(now, &self.config);
        if full && !function.waiters.is_empty() {
            function.unmet_mb += function.memory_mb();
            self.starving.insert(index);
        }
    }

    /// Counts one outcome of a claim; its function and whether it is for keeping ready, or `None` if no more of it is
    /// expected.
    fn take_outcome(&mut self, now: Moment, number: ClaimNumber) -> Option<(FunctionIndex, bool)> {
        let claim = self.claims.get_mut(&number)?;
        let (index, pinned) = (claim.function, claim.pinned);
        claim.outstanding -= 1;
        if claim.outstanding == 0 {
            self.alarms.disarm(Alarm::Claim(number), &mut claim.armed);
            self.claims.remove(&number);
        }
        let function = &mut self.functions[index];
        let claiming = if pinned { &mut function.pinned.claiming } else { &mut function.claiming };
        *claiming -= 1;
        self.unsettle(now, index);
        Some((index, pinned))
    }
}
