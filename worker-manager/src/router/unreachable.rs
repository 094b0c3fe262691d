//! A worker that a call could not reach: its slots are given up at once, not one call after the other.
//!
//! What speaks for a slot must be younger than what speaks against its worker. A call that could not reach the worker
//! says so of the time since its slot was handed out; a slot for which the worker answered later (it was granted, or
//! a call ended on it) stays. So news that arrive late give up nothing of a worker that lives again.

use hearth_domain::{Moment, SlotId, WorkerId};

use super::Router;

impl Router {
    /// A call whose slot was handed out at `since` could not reach the worker: gives up the slots that no call runs on.
    /// Those with a call are left to what that call finds.
    pub(super) fn give_up_worker(&mut self, now: Moment, worker: &WorkerId, since: Moment) {
        let Some(slots) = self.by_worker.get(worker) else { return };
        let doubtful =
            |id: &&SlotId| self.slots.get(*id).is_some_and(|slot| slot.busy().is_none() && slot.answered_at <= since);
        let doubtful: Vec<_> = slots.iter().filter(doubtful).copied().collect();
        for id in doubtful {
            self.stats.given_up += 1;
            self.take_out(id);
            // The worker may live behind a broken path: placement drains what nobody holds.
            self.release(now, id);
        }
    }

    pub(super) fn forget_at_worker(&mut self, worker: &WorkerId, id: SlotId) {
        if let Some(slots) = self.by_worker.get_mut(worker) {
            slots.remove(&id);
            if slots.is_empty() {
                self.by_worker.remove(worker);
            }
        }
    }
}
