//! A call asks for a slot, and may change its mind.

use hearth_domain::{Moment, RequestId};
use hearth_protocol::Unreachable;
use hearth_protocol::worker_manager::{Reservation, ReserveError, ReserveRequest};

use crate::alarms::Armed;

use super::admission::Pool;
use super::function::{FunctionIndex, Place};
use super::{Alarm, Call, Outbox, Reserved, Router, WaiterId};

/// A call that waits for a slot.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) request_id: RequestId,
    pub(super) function: FunctionIndex,
    pub(super) place: Place,
    pub(super) pool: Pool,
    pub(super) since: Moment,
    pub(super) deadline: Moment,
    pub(super) armed: Armed,
}

impl Router {
    /// An invocation asks for a slot.
    ///
    /// Asking again with the id of an invocation that has its slot gives the same slot, as long as something may start
    /// on it, and else another. Asking again while it still
    /// waits takes over its place in the queue: the earlier asking is answered with an error, since its caller must
    /// have lost it, and cancelling it later does nothing.
    ///
    /// # Errors
    /// At once: the account's limit, the full queue, an id that stands for a call of another function, or the manager
    /// is shutting down.
    pub fn on_reserve(
        &mut self,
        now: Moment,
        request: ReserveRequest,
        outbox: &mut impl Outbox,
    ) -> Result<Reserved, ReserveError> {
        if let Some(answer) = self.asked_again(now, &request, outbox) {
            return answer;
        }
        if self.stage.draining {
            return Err(shutting_down());
        }
        let limit = request.limits.account.unwrap_or(self.config.account_concurrency);
        let admitted = self.accounts.admit(&request.function.function, request.limits, limit);
        let pool = admitted.inspect_err(|_| self.stats.throttled += 1)?;
        let index = self.function_for(&request.function.function);
        let function = &mut self.functions[index];
        function.spec.get_or_insert_with(|| request.function.clone());
        if !function.in_flight() {
            self.record_arrival(now, index);
        }
        if let Some(id) = self.take_idle(now, index) {
            self.stats.warm += 1;
            let reservation = self.hand_out(now, id, request.request_id, pool);
            return reservation.map(Reserved::Now).ok_or_else(shutting_down);
        }
        if self.waiters.len() >= self.config.max_waiters {
            self.stats.queue_full += 1;
            self.end_call(now, index, pool);
            self.forget_if_unused(index);
            return Err(ReserveError::QueueFull { waiting: self.waiters.len() });
        }
        Ok(Reserved::Waits(self.enqueue(now, index, pool, request)))
    }

    /// The caller of a waiter gave up. Whoever was answered already is not a waiter any more: what it was given must
    /// be completed.
    pub fn on_cancel(&mut self, now: Moment, waiter: WaiterId) {
        if self.end_waiter(now, waiter).is_some() {
            self.stats.cancelled += 1;
        }
    }

    /// Takes a waiter out of its queue for good, without an answer; its call is over.
    pub(super) fn end_waiter(&mut self, now: Moment, id: WaiterId) -> Option<Waiter> {
        let waiter = self.forget_waiter(id)?;
        self.functions[waiter.function].waiters.remove(&waiter.place);
        self.calls.remove(&waiter.request_id);
        self.end_call(now, waiter.function, waiter.pool);
        self.unsettle(now, waiter.function);
        Some(waiter)
    }

    /// Forgets a waiter whose place in the queue its caller takes care of.
    pub(super) fn forget_waiter(&mut self, id: WaiterId) -> Option<Waiter> {
        let mut waiter = self.waiters.remove(&id)?;
        self.alarms.disarm(Alarm::Waiter(id), &mut waiter.armed);
        Some(waiter)
    }

    /// A call of the function is not in flight any more.
    pub(super) fn end_call(&mut self, now: Moment, index: FunctionIndex, pool: Pool) {
        let function = &mut self.functions[index];
        self.accounts.end(&function.id, pool);
        if !function.in_flight() {
            function.history.on_idle(now);
        }
    }

    fn record_arrival(&mut self, now: Moment, index: FunctionIndex) {
        let function = &mut self.functions[index];
        let before = function.history.window();
        function.history.on_busy(now, &self.config.keep_alive);
        if function.history.window() < before {
            self.arm_function(index);
        }
    }

    fn enqueue(&mut self, now: Moment, index: FunctionIndex, pool: Pool, request: ReserveRequest) -> WaiterId {
        self.last_place.0 += 1;
        let ReserveRequest { request_id, wait, .. } = request;
        let (place, deadline) = (self.last_place, now + wait);
        let armed = Armed::default();
        self.insert_waiter(now, Waiter { request_id, function: index, place, pool, since: now, deadline, armed })
    }

    fn insert_waiter(&mut self, now: Moment, mut waiter: Waiter) -> WaiterId {
        self.last_waiter.0 += 1;
        let id = self.last_waiter;
        let (index, place) = (waiter.function, waiter.place);
        self.alarms.arm(Alarm::Waiter(id), &mut waiter.armed, waiter.deadline);
        self.calls.insert(waiter.request_id.clone(), Call::Waits(id));
        self.waiters.insert(id, waiter);
        self.functions[index].waiters.insert(place, id);
        self.unsettle(now, index);
        id
    }

    /// The answer to a call that asks for the second time; `None` if it is to be taken as a new one.
    fn asked_again(
        &mut self,
        now: Moment,
        request: &ReserveRequest,
        outbox: &mut impl Outbox,
    ) -> Option<Result<Reserved, ReserveError>> {
        match *self.calls.get(&request.request_id)? {
            Call::Runs(id) => {
                let slot = self.slots.get(&id)?;
                if self.functions[slot.function].id != request.function.function {
                    return Some(Err(in_use(&request.request_id)));
                }
                let lost = slot.busy().is_some_and(|busy| busy.lost);
                if lost || !slot.lease.usable(now) {
                    // Nothing may start on it any more, so the call needs another.
                    self.abandon(now, id);
                    return None;
                }
                let (token, worker) = (slot.lease.token(), slot.worker.clone());
                Some(Ok(Reserved::Now(Reservation { slot: id, token, worker, start: None })))
            }
            Call::Waits(earlier) => {
                let waiter = self.waiters.get(&earlier)?;
                if self.functions[waiter.function].id != request.function.function {
                    return Some(Err(in_use(&request.request_id)));
                }
                let waiter = self.forget_waiter(earlier)?;
                outbox.answer(earlier, Err(taken_over(&waiter.request_id)));
                let again = Waiter { deadline: now + request.wait, armed: Armed::default(), ..waiter };
                Some(Ok(Reserved::Waits(self.insert_waiter(now, again))))
            }
        }
    }
}

/// Another manager, or the next life of this one, may be asked.
pub(super) fn shutting_down() -> ReserveError {
    unreachable("it is shutting down".to_owned(), true)
}

/// Nobody may ask again because of this: two callers of one id would take over from each other for ever.
fn taken_over(request: &RequestId) -> ReserveError {
    unreachable(format!("request {request} was asked again; the later asking gets the answer"), false)
}

fn in_use(request: &RequestId) -> ReserveError {
    unreachable(format!("request id {request} stands for a call of another function"), false)
}

fn unreachable(reason: String, not_sent: bool) -> ReserveError {
    ReserveError::Unreachable(Unreachable { role: "worker manager".to_owned(), reason, not_sent })
}
