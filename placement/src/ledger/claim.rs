//! Claims: from the request to exactly as many outcomes as it asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_domain::{ClaimId, FencingToken, FunctionSpec, HolderId, Lease, Moment, SlotId, StartTimes, WorkerId};
use hearth_protocol::placement::{ClaimOutcome, ClaimRequest, Grant};

use super::limits::{CLAIM_SLOTS_MAX, CLAIMS_MAX};
use super::slot::Phase;
use super::{Ledger, Outbox};
use crate::allocation::{FunctionHash, Need, Wanted};

/// Names whoever listens to the outcomes of a claim. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimTicket(pub u64);

/// A claim that can't be taken; it has no outcomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// More slots than one claim may ask for.
    #[error("claim {claim} asks for {count} slots, {CLAIM_SLOTS_MAX} at most are allowed")]
    TooManySlots {
        /// Which claim.
        claim: ClaimId,
        /// What it asks for.
        count: u32,
    },
    /// As many claims as may be are open.
    #[error("{CLAIMS_MAX} claims are open, which is the limit")]
    TooManyClaims,
    /// The id is known, for another holder, function or count.
    #[error("claim {claim} is known and was for something else")]
    Differs {
        /// Which claim.
        claim: ClaimId,
    },
}

/// One claim, open or finished not long ago.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) ticket: ClaimTicket,
    pub(super) holder: HolderId,
    pub(super) function: Arc<FunctionSpec>,
    pub(super) hash: FunctionHash,
    pub(super) count: u32,
    /// Slots not asked for yet, because the ledger has not settled.
    pub(super) waiting: u32,
    /// Slots that workers are making.
    pub(super) placing: u32,
    /// What was answered, so that the claim can be answered again.
    pub(super) answered: Vec<Answer>,
    /// Workers that refused a slot of this claim or could not be called.
    pub(super) refused_by: BTreeSet<WorkerId>,
    /// What the last of them said.
    pub(super) refusal: Option<String>,
}

/// One outcome, as far as it has to be remembered.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Granted(SlotId, FencingToken),
    Failed(ClaimOutcome),
}

impl Claim {
    pub(super) fn finished(&self) -> bool {
        self.waiting == 0 && self.placing == 0
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted { function: self.hash, need: Need::of(self.function.memory) }
    }
}

impl Ledger {
    /// A holder claims slots; the outcomes go to `ticket`. A claim that is known already creates nothing: `ticket` takes
    /// the place of the ticket before, which is given back, is told all outcomes there were and gets the ones to come.
    /// A slot it was granted and that ended meanwhile counts as `NoCapacity` then.
    pub fn on_claim(
        &mut self,
        now: Moment,
        request: ClaimRequest,
        ticket: ClaimTicket,
        out: &mut impl Outbox,
    ) -> Result<Option<ClaimTicket>, ClaimError> {
        if let Some(known) = self.claims.get_mut(&request.id) {
            let asked = (&request.holder, request.count, &request.function.function);
            if asked != (&known.holder, known.count, &known.function.function) {
                return Err(ClaimError::Differs { claim: request.id });
            }
            let before = std::mem::replace(&mut known.ticket, ticket);
            self.answer_again(now, &request.id, out);
            return Ok(Some(before));
        }
        if request.count > CLAIM_SLOTS_MAX {
            return Err(ClaimError::TooManySlots { claim: request.id, count: request.count });
        }
        self.make_room_for_claim()?;
        let id = request.id.clone();
        let claim = Claim {
            ticket,
            hash: FunctionHash::of(&request.function.function),
            holder: request.holder,
            function: request.function,
            count: request.count,
            waiting: request.count,
            placing: 0,
            answered: Vec::new(),
            refused_by: BTreeSet::new(),
            refusal: None,
        };
        self.claims.insert(id.clone(), claim);
        if self.settled {
            self.place_waiting(now, &id, out);
        }
        self.note_finished(now, &id);
        Ok(None)
    }

    /// Places what a claim waits for.
    pub(super) fn place_waiting(&mut self, now: Moment, id: &ClaimId, out: &mut impl Outbox) {
        const FIRST_ATTEMPT: u32 = 1;
        let Some(claim) = self.claims.get_mut(id) else { return };
        for _ in 0..std::mem::take(&mut claim.waiting) {
            self.place(now, id, FIRST_ATTEMPT, out);
        }
    }

    /// A slot of the claim is ready: its lease begins, counted from now, which is when the answer goes out.
    pub(super) fn answer_granted(
        &mut self,
        now: Moment,
        id: &ClaimId,
        (slot, start): (SlotId, Option<StartTimes>),
        out: &mut impl Outbox,
    ) {
        let Some(grant) = self.lease_out(now, slot, start) else { return };
        let Some(claim) = self.claims.get_mut(id) else { return };
        claim.answered.push(Answer::Granted(slot, grant.token));
        out.claim_outcome(claim.ticket, ClaimOutcome::Granted(grant));
        self.note_finished(now, id);
    }

    /// A slot of the claim can't be had.
    pub(super) fn answer_failed(&mut self, now: Moment, id: &ClaimId, outcome: ClaimOutcome, out: &mut impl Outbox) {
        let Some(claim) = self.claims.get_mut(id) else { return };
        if let ClaimOutcome::NoCapacity { full: true, .. } = outcome {
            self.demand.refused(now, &claim.holder, u64::from(claim.function.memory.get()));
        }
        claim.answered.push(Answer::Failed(outcome.clone()));
        out.claim_outcome(claim.ticket, outcome);
        self.note_finished(now, id);
    }

    /// Starts a lease on a slot, counted from now, and says what its holder is to be told. `start` is how the slot came
    /// about, if that was for this grant.
    pub(super) fn lease_out(&mut self, now: Moment, id: SlotId, start: Option<StartTimes>) -> Option<Grant> {
        let slot = self.slots.get_mut(&id)?;
        slot.answers = slot.answers.saturating_add(1);
        let worker = self.workers.get(&slot.worker)?.report.worker.clone();
        let terms = self.config.terms;
        let lease = Lease { slot: id, token: slot.token, terms, counted_from: now };
        let function = slot.function.clone();
        let grant = Grant { slot: id, token: slot.token, terms, worker, function, start };
        self.set_phase(id, Phase::Leased(lease));
        Some(grant)
    }

    fn answer_again(&mut self, now: Moment, id: &ClaimId, out: &mut impl Outbox) {
        let Some(claim) = self.claims.get(id) else { return };
        let ticket = claim.ticket;
        for answer in claim.answered.clone() {
            let outcome = match answer {
                Answer::Granted(slot, token) if self.is_leased(slot, token) => {
                    self.lease_out(now, slot, None).map(ClaimOutcome::Granted)
                }
                Answer::Granted(..) => None,
                Answer::Failed(outcome) => Some(outcome),
            };
            let reason = || "the slot that was granted has ended since".to_owned();
            let ended = || ClaimOutcome::NoCapacity { reason: reason(), full: false };
            out.claim_outcome(ticket, outcome.unwrap_or_else(ended));
        }
    }

    fn is_leased(&self, slot: SlotId, token: FencingToken) -> bool {
        self.slots.get(&slot).is_some_and(|slot| slot.token == token && matches!(slot.phase, Phase::Leased(_)))
    }

    /// A finished claim is remembered for as long as what it granted could be leased without renewal.
    fn note_finished(&mut self, now: Moment, id: &ClaimId) {
        if self.claims.get(id).is_some_and(Claim::finished) {
            self.forgetting.set(id.clone(), now + self.config.terms.gone_after());
        }
    }

    fn make_room_for_claim(&mut self) -> Result<(), ClaimError> {
        if self.claims.len() < CLAIMS_MAX {
            return Ok(());
        }
        let oldest = self.forgetting.first().cloned().ok_or(ClaimError::TooManyClaims)?;
        self.claims.remove(&oldest);
        self.forgetting.clear(&oldest);
        Ok(())
    }
}
