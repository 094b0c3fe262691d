//! Time passes, and a turn ends.

use hearth_domain::{Moment, SlotId};
use hearth_protocol::worker_manager::ReserveError;

use super::function::FunctionIndex;
use super::slot::SlotPlace;
use super::{Alarm, Outbox, Router, WaiterId};

impl Router {
    /// Does what is due at `now`: ends waits and reservations, lets idle slots go, makes room for starving functions,
    /// then sends claims, renewals and releases, each as one batch. To be called at [`Self::next_deadline`], and
    /// soon after any event that made that deadline pass.
    pub fn on_tick(&mut self, now: Moment, outbox: &mut impl Outbox) {
        let mut renew = Vec::new();
        while let Some(alarm) = self.alarms.pop_due(now) {
            match alarm {
                Alarm::Waiter(id) => self.on_wait_over(now, id, outbox),
                Alarm::Slot(id) => {
                    if self.on_slot_alarm(now, id) {
                        renew.push(id);
                    }
                }
                Alarm::Function(index) => self.on_function_alarm(now, index),
                Alarm::Claim(number) => {
                    if let Some(claim) = self.claims.get_mut(&number) {
                        claim.armed.rang();
                    }
                    self.on_claim_cut(now, number, "placement did not answer the claim in time");
                }
            }
        }
        self.make_room(now);
        while let Some(index) = self.unsettled.pop_first() {
            self.settle(now, index, outbox);
        }
        self.send_renewals(now, renew, outbox);
        if !self.releasing.is_empty() {
            outbox.release(std::mem::take(&mut self.releasing));
        }
        self.turn_due = None;
    }

    /// The end of the turn for a function in which something changed.
    fn settle(&mut self, now: Moment, index: FunctionIndex, outbox: &mut impl Outbox) {
        if !self.functions.contains(index) {
            return;
        }
        self.claim_for_waiters(now, index, outbox);
        self.claim_for_pinning(now, index, outbox);
        let function = &mut self.functions[index];
        if function.unprovided() == 0 {
            function.unmet_mb = 0;
            self.starving.remove(&index);
        }
        if self.stage.recovered {
            self.arm_function(index);
        }
        self.forget_if_unused(index);
    }

    fn on_wait_over(&mut self, now: Moment, id: WaiterId, outbox: &mut impl Outbox) {
        let Some(waiter) = self.waiters.get_mut(&id) else { return };
        waiter.armed.rang();
        let refusal = self.functions[waiter.function].last_refusal.clone();
        let reason = refusal
            .or_else(|| self.stage.recovery_failure.clone())
            .unwrap_or_else(|| "no slot got free and none was ready in time".to_owned());
        if let Some(waiter) = self.end_waiter(now, id) {
            self.stats.timed_out += 1;
            outbox.answer(id, Err(ReserveError::NoCapacity { waited: now.since(waiter.since), reason }));
        }
    }

    /// Tells whether the slot's lease is to be renewed.
    fn on_slot_alarm(&mut self, now: Moment, id: SlotId) -> bool {
        let retry = self.config.renew_retry;
        let Some(slot) = self.slots.get_mut(&id) else { return false };
        slot.armed.rang();
        match &slot.place {
            SlotPlace::Busy(busy) if busy.until <= now => {
                self.abandon(now, id);
                return false;
            }
            SlotPlace::Idle(_) | SlotPlace::Refreshing if slot.lease.forget_at() <= now => {
                self.stats.leases_lost += 1;
                self.take_out(id);
                // Placement may never have got our renewals, and still hold it for us.
                self.release(now, id);
                return false;
            }
            SlotPlace::Idle(_) | SlotPlace::Refreshing
                if slot.replaced_at(&self.config).is_some_and(|replaced| replaced <= now) =>
            {
                self.take_out(id);
                self.release(now, id);
                return false;
            }
            _ => {}
        }
        let lost = slot.busy().is_some_and(|busy| busy.lost);
        let renew = !lost && slot.lease.renew_at(retry) <= now;
        if !renew {
            let deadline = slot.deadline(&self.config);
            self.alarms.arm(Alarm::Slot(id), &mut slot.armed, deadline);
        }
        renew
    }

    fn on_function_alarm(&mut self, now: Moment, index: FunctionIndex) {
        let Some(function) = self.functions.get_mut(index) else { return };
        function.armed.rang();
        let window = function.history.window();
        let mut expired = Vec::new();
        while function.idle.front().is_some_and(|(since, _)| *since + window <= now) {
            expired.extend(function.idle.pop_front().map(|(_, id)| id));
        }
        for id in expired {
            self.stats.aged_out += 1;
            self.release(now, id);
        }
        self.unsettle(now, index);
    }
}
