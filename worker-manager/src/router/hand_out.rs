//! Slots change hands: the only file in which a slot becomes busy or idle.

use std::time::Duration;

use hearth_domain::{Moment, RequestId, SlotId};
use hearth_protocol::worker_manager::{AwaitedStart, Reservation};

use super::admission::Pool;
use super::function::FunctionIndex;
use super::slot::{Busy, SlotPlace};
use super::{Alarm, Call, Outbox, Router};

impl Router {
    /// The idle slot of the function that was used last and has a usable lease, one that is kept ready before others.
    /// Those found without one wait for a renewal from here on.
    pub(super) fn take_idle(&mut self, now: Moment, index: FunctionIndex) -> Option<SlotId> {
        loop {
            let function = &mut self.functions[index];
            let (_, id) = function.pinned.idle.pop_back().or_else(|| function.idle.pop_back())?;
            if self.slots.get(&id).is_some_and(|slot| slot.lease.usable(now)) {
                return Some(id);
            }
            self.refresh(now, id);
        }
    }

    /// Reserves a slot that is in none of its function's lists.
    pub(super) fn hand_out(
        &mut self,
        now: Moment,
        id: SlotId,
        request_id: RequestId,
        pool: Pool,
    ) -> Option<Reservation> {
        let slot = self.slots.get_mut(&id)?;
        let function = &mut self.functions[slot.function];
        let until = now + function.timeout() + self.config.reservation_margin;
        function.busy += 1;
        slot.place = SlotPlace::Busy(Busy { request_id: request_id.clone(), pool, since: now, until, lost: false });
        self.alarms.arm(Alarm::Slot(id), &mut slot.armed, until);
        let reservation = Reservation { slot: id, token: slot.lease.token(), worker: slot.worker.clone(), start: None };
        self.calls.insert(request_id, Call::Runs(id));
        Some(reservation)
    }

    /// A slot that is in none of its function's lists can take a call: the head waiter's, or the next to come.
    pub(super) fn make_available(&mut self, now: Moment, id: SlotId, outbox: &mut impl Outbox) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let index = slot.function;
        if !slot.lease.usable(now) {
            return self.refresh(now, id);
        }
        // A call that finds the slot idle has not waited for it.
        let start = slot.start.take();
        if let Some((_, waiter_id)) = self.functions[index].waiters.pop_first() {
            let Some(waiter) = self.forget_waiter(waiter_id) else { return };
            self.stats.waited += 1;
            if let Some(mut reservation) = self.hand_out(now, id, waiter.request_id, waiter.pool) {
                reservation.start = start.map(|start| awaited_since(start, now.since(waiter.since)));
                outbox.answer(waiter_id, Ok(reservation));
            }
            return self.unsettle(now, index);
        }
        let pinned = slot.pinned;
        if self.functions[index].retired || self.stage.draining || (pinned && self.is_too_many(index)) {
            return self.release(now, id);
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.place = SlotPlace::Idle(now);
        }
        self.functions[index].idle_of(pinned).push_back((now, id));
        if pinned {
            // It may be due to be replaced sooner than its lease was to be looked at.
            self.arm_slot(id);
        }
        self.arm_function(index);
        if !self.starving.is_empty() {
            self.end_turn(now);
        }
    }

    /// A slot that is in none of its function's lists has too little left of its lease.
    pub(super) fn refresh(&mut self, now: Moment, id: SlotId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.place = SlotPlace::Refreshing;
        slot.lease.want_now();
        self.functions[slot.function].refreshing.insert(id);
        self.arm_slot(id);
        self.end_turn(now);
    }

    /// Takes a slot that is not reserved out of its function's lists.
    pub(super) fn take_out(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(&id) else { return };
        let function = &mut self.functions[slot.function];
        match slot.place {
            SlotPlace::Idle(since) => function.remove_idle(slot.pinned, since, id),
            SlotPlace::Refreshing => {
                function.refreshing.remove(&id);
            }
            SlotPlace::Busy(_) => {}
        }
    }

    /// Forgets a slot that is in none of its function's lists, without telling placement.
    pub(super) fn drop_slot(&mut self, now: Moment, id: SlotId) {
        let Some(mut slot) = self.slots.remove(&id) else { return };
        self.alarms.disarm(Alarm::Slot(id), &mut slot.armed);
        self.forget_at_worker(&slot.worker.id, id);
        if slot.pinned {
            self.functions[slot.function].pinned.held -= 1;
        }
        self.unsettle(now, slot.function);
    }

    /// Forgets a slot that is in none of its function's lists, and gives its lease back.
    pub(super) fn release(&mut self, now: Moment, id: SlotId) {
        let Some(slot) = self.slots.get(&id) else { return };
        self.releasing.push((id, slot.lease.token()));
        self.stats.released += 1;
        self.drop_slot(now, id);
    }
}

/// The start as a call saw it that waited for `wait` in all.
fn awaited_since(mut start: Box<AwaitedStart>, wait: Duration) -> Box<AwaitedStart> {
    start.awaited = start.awaited.min(wait);
    start
}
