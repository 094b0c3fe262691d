//! One slot, as the ledger sees it.

use hearth_domain::{ClaimId, FencingToken, FunctionRef, HolderId, Lease, SlotId, SlotState, WorkerId};

use super::{Deadline, Ledger};
use crate::allocation::Need;

/// One slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) worker: WorkerId,
    /// The newest token drawn for it or reported with it.
    pub(super) token: FencingToken,
    pub(super) holder: HolderId,
    pub(super) function: FunctionRef,
    pub(super) need: Need,
    pub(super) phase: Phase,
    pub(super) sight: Sight,
    /// How many answers carried a lease on it.
    pub(super) answers: u32,
}

/// Where it is in its life; see the ledger's head.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its worker was asked to make it.
    Initializing {
        /// For which claim.
        claim: ClaimId,
        /// Which try this is, from 1.
        attempt: u32,
    },
    /// Its holder may use it.
    Leased(Lease),
    /// Its worker was asked to give it a new token; the lease is the one before.
    Fencing(Lease),
    /// Nobody may use it any more; it waits for its end.
    Ending,
}

/// What its worker's reports say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// No report had it yet; this many that came after it was made lacked it.
    Never {
        /// How many.
        misses: u32,
    },
    /// The last report had it.
    Reported(SlotState),
}

impl Sight {
    pub(super) const UNSEEN: Self = Self::Never { misses: 0 };
}

impl Slot {
    /// Whether the worker has begun to end it.
    pub(super) fn draining(&self) -> bool {
        self.sight == Sight::Reported(SlotState::Draining)
    }
}

impl Ledger {
    /// Takes a slot in: into its worker's account and the agenda.
    pub(super) fn insert_slot(&mut self, id: SlotId, slot: Slot) {
        if let Some(worker) = self.workers.get_mut(&slot.worker) {
            worker.slots.insert(id);
            worker.reserved.add(slot.need);
        }
        self.list(&slot.worker);
        self.slots.insert(id, slot);
        self.schedule_lease(id);
    }

    /// Takes a slot out: it is gone. Whatever waits for it has to be told by the caller.
    pub(super) fn remove_slot(&mut self, id: SlotId) -> Option<Slot> {
        let slot = self.slots.remove(&id)?;
        self.agenda.clear(&Deadline::Lease(id));
        if let Some(worker) = self.workers.get_mut(&slot.worker) {
            worker.slots.remove(&id);
            worker.reserved.remove(slot.need);
        }
        self.list(&slot.worker);
        Some(slot)
    }

    /// Changes where a slot is in its life.
    pub(super) fn set_phase(&mut self, id: SlotId, phase: Phase) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.phase = phase;
        }
        self.schedule_lease(id);
    }

    fn schedule_lease(&mut self, id: SlotId) {
        match self.slots.get(&id).map(|slot| &slot.phase) {
            Some(Phase::Leased(lease)) => self.agenda.set(Deadline::Lease(id), lease.gone_at()),
            _ => self.agenda.clear(&Deadline::Lease(id)),
        }
    }
}
