//! An invocation gives its slot back, or never does.

use hearth_domain::{Moment, SlotId, SlotOutcome};
use hearth_protocol::worker_manager::Completion;

use super::slot::SlotPlace;
use super::{Outbox, Router};

impl Router {
    /// The invocation is over. Tells whether this was a reservation of ours: unknown slots, stale tokens and other
    /// invocations' slots change nothing.
    pub fn on_complete(&mut self, now: Moment, completion: &Completion, outbox: &mut impl Outbox) -> bool {
        let Some(slot) = self.slots.get(&completion.slot) else { return false };
        let Some(busy) = slot.busy() else { return false };
        if slot.lease.token() != completion.token || busy.request_id != completion.request_id {
            return false;
        }
        let lost = busy.lost;
        let unreachable = completion.outcome == SlotOutcome::Unreachable;
        let unreachable = unreachable.then(|| (slot.worker.id.clone(), busy.since));
        let aged = now.since(slot.granted_at) >= self.config.environment_life;
        self.end_reservation(now, completion.slot);
        match completion.outcome {
            _ if lost => self.drop_slot(now, completion.slot),
            SlotOutcome::Reusable if aged => self.release(now, completion.slot),
            SlotOutcome::Reusable => self.take_back(now, completion.slot, outbox),
            // "Gone" may also mean that nobody can say: releasing makes sure, and frees the room at once.
            SlotOutcome::Gone | SlotOutcome::Unreachable => self.release(now, completion.slot),
        }
        if let Some((worker, since)) = unreachable {
            self.give_up_worker(now, &worker, since);
        }
        true
    }

    fn take_back(&mut self, now: Moment, id: SlotId, outbox: &mut impl Outbox) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.answered_at = now;
        }
        self.make_available(now, id, outbox);
    }

    /// A reservation that nobody completed: its caller is dead or gave it up, and what is in the slot nobody knows.
    pub(super) fn abandon(&mut self, now: Moment, id: SlotId) {
        self.stats.abandoned += 1;
        self.end_reservation(now, id);
        self.release(now, id);
    }

    /// The call of a busy slot is over; the slot is in none of its function's lists then.
    fn end_reservation(&mut self, now: Moment, id: SlotId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let index = slot.function;
        let SlotPlace::Busy(busy) = std::mem::replace(&mut slot.place, SlotPlace::Refreshing) else { return };
        self.calls.remove(&busy.request_id);
        self.functions[index].busy -= 1;
        self.end_call(now, index, busy.pool);
    }
}
