//! A restarted holder gets back what it held: every slot under a new token, so that calls from before the restart are
//! refused by the worker; busy ones end after their call.

use std::collections::BTreeSet;

use hearth_domain::{FencingToken, HolderId, Moment, SlotId};
use hearth_protocol::Unreachable;
use hearth_protocol::worker::{FenceRequest, Fenced};

use super::limits::RECOVER_WAITERS_MAX;
use super::slot::Phase;
use super::{Ledger, Outbox, Settling};

/// Names whoever waits for a recovery. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecoverTicket(pub u64);

/// Why a recovery could not begin; the ticket is not told anything more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// The ledger does not know all slots yet.
    #[error(transparent)]
    Settling(#[from] Settling),
    /// As many as may be wait for the same answer.
    #[error("{RECOVER_WAITERS_MAX} requests to recover {holder} wait already, which is the limit")]
    TooMany {
        /// Whose recovery.
        holder: HolderId,
    },
}

/// A recovery under way.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    pub(super) tickets: Vec<RecoverTicket>,
    /// Slots whose worker has not answered.
    pub(super) pending: BTreeSet<SlotId>,
    /// Slots that have their new token and wait for the others.
    pub(super) ready: BTreeSet<SlotId>,
}

impl Ledger {
    /// A restarted holder asks for what it held. One that asks again while it is being served waits for the same answer.
    pub fn on_recover(
        &mut self,
        now: Moment,
        holder: &HolderId,
        ticket: RecoverTicket,
        out: &mut impl Outbox,
    ) -> Result<(), RecoverError> {
        if !self.settled {
            return Err(Settling.into());
        }
        if let Some(recovery) = self.recoveries.get_mut(holder) {
            if recovery.tickets.len() == RECOVER_WAITERS_MAX {
                return Err(RecoverError::TooMany { holder: holder.clone() });
            }
            recovery.tickets.push(ticket);
            return Ok(());
        }
        let leased = |phase: &Phase| matches!(phase, Phase::Leased(_));
        let held = self.slots.iter().filter(|(_, slot)| slot.holder == *holder && leased(&slot.phase));
        let held: BTreeSet<SlotId> = held.map(|(id, _)| *id).collect();
        let recovery = Recovery { tickets: vec![ticket], pending: held.clone(), ready: BTreeSet::new() };
        self.recoveries.insert(holder.clone(), recovery);
        for id in held {
            self.fence(id, out);
        }
        self.finish_recovery(now, holder, out);
        Ok(())
    }

    /// What came of [`Outbox::fence`]; told once for each.
    pub fn on_fence_result(
        &mut self,
        now: Moment,
        (id, token): (SlotId, FencingToken),
        result: Result<Fenced, Unreachable>,
        out: &mut impl Outbox,
    ) {
        let Some(slot) = self.slots.get(&id).filter(|slot| slot.token == token) else { return };
        let Phase::Fencing(lease) = slot.phase else { return };
        let (holder, worker) = (slot.holder.clone(), slot.worker.clone());
        match result {
            Ok(Fenced::Idle) => return self.recovery_settled(now, &holder, id, Some(id), out),
            Ok(Fenced::Draining | Fenced::Unknown) => self.end_slot(id, out),
            Err(_) => {
                // Whether the worker took the new token is unknown, and nobody holds it. The lease from before runs out.
                self.shun(now, &worker);
                self.set_phase(id, Phase::Leased(hearth_domain::Lease { token, ..lease }));
            }
        }
        self.recovery_settled(now, &holder, id, None, out);
    }

    /// One slot of a recovery is decided: `ready` to be granted, or not.
    pub(super) fn recovery_settled(
        &mut self,
        now: Moment,
        holder: &HolderId,
        id: SlotId,
        ready: Option<SlotId>,
        out: &mut impl Outbox,
    ) {
        let Some(recovery) = self.recoveries.get_mut(holder) else { return };
        recovery.pending.remove(&id);
        recovery.ready.remove(&id);
        recovery.ready.extend(ready);
        self.finish_recovery(now, holder, out);
    }

    /// Answers once the last slot is decided. The leases begin only then: the answer is what they count from.
    fn finish_recovery(&mut self, now: Moment, holder: &HolderId, out: &mut impl Outbox) {
        if self.recoveries.get(holder).is_none_or(|recovery| !recovery.pending.is_empty()) {
            return;
        }
        let Some(recovery) = self.recoveries.remove(holder) else { return };
        let grants: Vec<_> = recovery.ready.into_iter().filter_map(|id| self.lease_out(now, id, None)).collect();
        for ticket in recovery.tickets {
            out.recovered(ticket, grants.clone());
        }
    }

    fn fence(&mut self, id: SlotId, out: &mut impl Outbox) {
        let token = self.tokens.draw();
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Phase::Leased(lease) = slot.phase else { return };
        slot.token = token;
        let request = FenceRequest { slot: id, token, holder: slot.holder.clone() };
        if let Some(worker) = self.workers.get(&slot.worker) {
            out.fence(&worker.report.worker, request);
        }
        self.set_phase(id, Phase::Fencing(lease));
    }
}
