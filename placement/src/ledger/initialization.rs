//! Making a slot for a claim: choose a worker, ask it, and on refusal the next.

use hearth_domain::{ClaimId, FencingToken, Moment, SlotId, WorkerId};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::ClaimOutcome;
use hearth_protocol::worker::{InitDone, InitSlot, InitSlotError};

use super::claim::Claim;
use super::limits::PLACEMENT_ATTEMPTS_MAX;
use super::slot::{Phase, Sight, Slot};
use super::{Ledger, Outbox};
use crate::allocation::{self, Need};

impl Ledger {
    /// What came of [`Outbox::init_slot`]; told once for each. A slot that was given up meanwhile is ended: nobody was ever told
    /// of it.
    pub fn on_init_result(
        &mut self,
        now: Moment,
        worker: &WorkerEndpoint,
        (id, token): (SlotId, FencingToken),
        result: Result<InitDone, InitSlotError>,
        out: &mut impl Outbox,
    ) {
        let Some((claim, attempt)) = self.initializing(id, token) else {
            if result.is_ok() {
                self.end_unannounced(worker, (id, token), out);
            }
            return;
        };
        match result {
            Ok(done) => self.initialized(now, (id, token), (&claim, attempt), done, out),
            Err(InitSlotError::InitFailed(failure)) => {
                self.remove_slot(id);
                self.placed_one(&claim);
                self.answer_failed(now, &claim, ClaimOutcome::InitFailed(failure), out);
            }
            Err(InitSlotError::Refused { reason }) => {
                self.remove_slot(id);
                self.refused(&claim, reason);
                self.place_again(now, &claim, attempt, worker.id.clone(), out);
            }
            Err(InitSlotError::Unreachable(unreachable)) => {
                if unreachable.not_sent {
                    self.remove_slot(id);
                } else {
                    // Perhaps the worker makes the slot all the same. It stays in the books until reports say no.
                    self.set_phase(id, Phase::Ending);
                    out.reclaim(worker, id, token);
                }
                self.shun(now, &worker.id);
                self.refused(&claim, unreachable.to_string());
                self.place_again(now, &claim, attempt, worker.id.clone(), out);
            }
        }
    }

    /// A grant certainly did not reach its holder: the slot ends now instead of when the lease is gone. Unless another answer
    /// carried it, too: that one may have arrived.
    pub fn on_undelivered(&mut self, slot: SlotId, token: FencingToken, out: &mut impl Outbox) {
        let granted = |slot: &&Slot| slot.token == token && slot.answers == 1 && matches!(slot.phase, Phase::Leased(_));
        if self.slots.get(&slot).filter(granted).is_some() {
            self.end_slot(slot, out);
        }
    }

    /// Asks a worker for a slot of the claim, or answers that there is none.
    pub(super) fn place(&mut self, now: Moment, id: &ClaimId, attempt: u32, out: &mut impl Outbox) {
        let Some(claim) = self.claims.get(id) else { return };
        let chosen = match self.choose(claim) {
            Some(worker) if attempt <= PLACEMENT_ATTEMPTS_MAX => worker.clone(),
            Some(_) => {
                let last = claim.refusal.as_deref().unwrap_or("none said why");
                let reason = format!("{PLACEMENT_ATTEMPTS_MAX} workers did not take the slot; the last: {last}");
                let outcome = ClaimOutcome::NoCapacity { reason, full: self.could_fit(claim) };
                return self.answer_failed(now, id, outcome, out);
            }
            None => {
                let outcome = ClaimOutcome::NoCapacity { reason: self.why_none(claim), full: self.could_fit(claim) };
                return self.answer_failed(now, id, outcome, out);
            }
        };
        let Some(claim) = self.claims.get_mut(id) else { return };
        claim.placing += 1;
        let slot = Slot {
            worker: chosen,
            token: self.tokens.draw(),
            holder: claim.holder.clone(),
            function: claim.function.function.clone(),
            need: Need::of(claim.function.memory),
            phase: Phase::Initializing { claim: id.clone(), attempt },
            sight: Sight::UNSEEN,
            answers: 0,
        };
        let request = InitSlot {
            slot: self.ids.draw(),
            token: slot.token,
            holder: slot.holder.clone(),
            function: claim.function.clone(),
        };
        if let Some(worker) = self.workers.get_mut(&slot.worker) {
            worker.expect(&request.function);
            out.init_slot(&worker.report.worker, request.clone());
        }
        self.insert_slot(request.slot, slot);
    }

    /// A slot of the claim did not come about on `worker`: another is asked.
    pub(super) fn place_again(
        &mut self,
        now: Moment,
        id: &ClaimId,
        attempt: u32,
        worker: WorkerId,
        out: &mut impl Outbox,
    ) {
        self.placed_one(id);
        if let Some(claim) = self.claims.get_mut(id) {
            claim.refused_by.insert(worker);
        }
        self.place(now, id, attempt + 1, out);
    }

    /// Nobody may use the slot any more: its worker is told, and its reports will be answered so until it is gone.
    pub(super) fn end_slot(&mut self, id: SlotId, out: &mut impl Outbox) {
        self.set_phase(id, Phase::Ending);
        let Some(slot) = self.slots.get(&id) else { return };
        if let Some(worker) = self.workers.get(&slot.worker) {
            out.reclaim(&worker.report.worker, id, slot.token);
        }
    }

    /// A slot that was given up came about all the same. By now a report may have brought it back as leased; only its claim
    /// could have been told of it, and was not.
    fn end_unannounced(&mut self, worker: &WorkerEndpoint, (id, token): (SlotId, FencingToken), out: &mut impl Outbox) {
        match self.slots.get(&id) {
            None => out.reclaim(worker, id, token),
            Some(slot) if slot.token == token && matches!(slot.phase, Phase::Leased(_)) => self.end_slot(id, out),
            Some(_) => {}
        }
    }

    fn initialized(
        &mut self,
        now: Moment,
        (id, token): (SlotId, FencingToken),
        (claim, attempt): (&ClaimId, u32),
        done: InitDone,
        out: &mut impl Outbox,
    ) {
        debug_assert!(self.slots.get(&id).is_some_and(|slot| slot.token == token));
        let draining = self.slots.get(&id).filter(|slot| slot.draining()).map(|slot| slot.worker.clone());
        if let Some(worker) = draining {
            self.set_phase(id, Phase::Ending);
            self.place_again(now, claim, attempt, worker, out);
        } else {
            self.placed_one(claim);
            self.answer_granted(now, claim, (id, Some(done.times)), out);
        }
    }

    fn initializing(&self, id: SlotId, token: FencingToken) -> Option<(ClaimId, u32)> {
        match self.slots.get(&id)? {
            Slot { token: known, phase: Phase::Initializing { claim, attempt }, .. } if *known == token => {
                Some((claim.clone(), *attempt))
            }
            _ => None,
        }
    }

    fn placed_one(&mut self, id: &ClaimId) {
        if let Some(claim) = self.claims.get_mut(id) {
            claim.placing -= 1;
        }
    }

    fn refused(&mut self, id: &ClaimId, reason: String) {
        if let Some(claim) = self.claims.get_mut(id) {
            claim.refusal = Some(reason);
        }
    }

    /// The worker could not be called: others go first for a while.
    pub(super) fn shun(&mut self, now: Moment, id: &WorkerId) {
        let until = now + self.config.avoided_after;
        if let Some(worker) = self.workers.get_mut(id) {
            worker.shunned_until = worker.shunned_until.max(until);
            if worker.listed.is_some() {
                self.watch(now, id);
            }
        }
    }

    /// The worker for one more slot of the claim.
    fn choose(&self, claim: &Claim) -> Option<&WorkerId> {
        let function = &claim.function;
        let refused = |worker: &WorkerId| claim.refused_by.contains(worker);
        let shortlist = self.candidates.shortlist(claim.wanted(), |kind| kind.can_run(function), refused);
        let warmth = |id| self.workers.get(id).map(|worker| worker.warmth(function)).unwrap_or_default();
        allocation::warmest(&shortlist, warmth)
    }

    /// Whether a worker would take a slot of the claim if it had no others: then it is others' slots that stand in the way.
    fn could_fit(&self, claim: &Claim) -> bool {
        self.candidates.could_fit(claim.wanted(), |kind| kind.can_run(&claim.function))
    }

    fn why_none(&self, claim: &Claim) -> String {
        let runtime = claim.function.runtime;
        let offering = self.candidates.count(|kind| kind.can_run(&claim.function));
        if self.candidates.count(|_| true) == 0 {
            "no worker has reported".to_owned()
        } else if let Some(isolation) = claim.function.isolation
            && offering == 0
        {
            format!("no worker offers {runtime} in isolation {isolation}, and the function runs in nothing less")
        } else if offering == 0 {
            format!("no worker offers {runtime}")
        } else if self.candidates.are_closed(|kind| kind.can_run(&claim.function)) {
            format!("of {offering} workers that offer {runtime}, none takes new slots now")
        } else if let Some(refusal) = &claim.refusal {
            refusal.clone()
        } else {
            format!("each of {offering} workers that offer {runtime} is full")
        }
    }
}
