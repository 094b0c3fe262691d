//! The manager's own beginning and end.

use hearth_domain::Moment;
use hearth_protocol::placement::Grant;

use super::reserve::shutting_down;
use super::{Outbox, Router};

impl Router {
    /// Placement told what an earlier life of this holder held, asked at `sent_at`. From here on slots are claimed.
    /// Only the first answer counts: a later one would fence what is in use meanwhile.
    pub fn on_recovered(&mut self, now: Moment, sent_at: Moment, grants: Vec<Grant>, outbox: &mut impl Outbox) {
        if std::mem::replace(&mut self.stage.recovered, true) {
            return;
        }
        self.stage.recovery_failure = None;
        for grant in grants {
            if self.slots.contains_key(&grant.slot) {
                continue;
            }
            let index = self.function_for(&grant.function);
            self.stats.recovered += 1;
            self.install(now, index, false, sent_at, grant, outbox);
        }
        let all: Vec<_> = self.functions.iter().map(|(index, _)| index).collect();
        for index in all {
            self.unsettle(now, index);
        }
    }

    /// Placement could not be asked; `reason` is what waiters are told that run out of time meanwhile.
    pub fn on_recovery_failed(&mut self, reason: &str) {
        self.stage.recovery_failure = Some(reason.to_owned());
    }

    /// Whether slots are claimed yet.
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.stage.recovered
    }

    /// The manager is to end: takes no new calls, gives back what is idle; calls that wait or run go on.
    pub fn on_drain(&mut self, now: Moment) {
        self.stage.draining = true;
        let all: Vec<_> = self.functions.iter().map(|(index, _)| index).collect();
        for index in all {
            self.lower_target(now, index, 0);
            self.release_idle(now, index);
        }
    }

    /// The manager ends: answers whoever still waits. Busy slots are left to their calls and their leases.
    pub fn on_stop(&mut self, now: Moment, outbox: &mut impl Outbox) {
        self.on_drain(now);
        let mut waiting: Vec<_> = self.waiters.keys().copied().collect();
        waiting.sort_unstable();
        for id in waiting {
            if self.end_waiter(now, id).is_some() {
                outbox.answer(id, Err(shutting_down()));
            }
        }
    }
}
