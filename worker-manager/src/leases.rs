//! A lease as its holder keeps it: counted from when the request left, renewed early, never used late.
//!
//! ```text
//! request sent ──── renew ──── stop using ──── forget
//!                     └─ asked again every `retry` until an answer extends the lease
//! ```
//!
//! Invariants: a lease only ever moves forward, so late, lost and doubled answers do no harm; an answer counts from
//! when *its own* request left; a lease whose init took so long that little is left of it is renewed before its slot
//! is used for the first time.

use std::time::Duration;

use hearth_domain::{FencingToken, Lease, LeaseTerms, Moment, SlotId};

/// Asks placement to renew leases. The event that carries the answer carries this value back, so that the router
/// keeps nothing for answers that never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// When it left: what the new terms count from.
    pub sent_at: Moment,
    /// The leases, in the order of the answer.
    pub leases: Vec<(SlotId, FencingToken)>,
}

/// A lease and what its holder did about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease {
    lease: Lease,
    asked_at: Option<Moment>,
    wanted_now: bool,
    forget_at: Moment,
}

impl HeldLease {
    /// A grant that was asked for at `sent_at` and arrived at `received_at`.
    ///
    /// The granter counts from its answer, so after a long init the grant is good although our count of it may have
    /// run out: it isn't usable, but it isn't forgotten either before a renewal had its chance.
    #[must_use]
    pub fn granted(slot: SlotId, token: FencingToken, terms: LeaseTerms, sent_at: Moment, received_at: Moment) -> Self {
        let lease = Lease { slot, token, terms, counted_from: sent_at };
        Self { lease, asked_at: None, wanted_now: false, forget_at: received_at + terms.gone_after() }
    }

    /// The fencing token of the grant.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.lease.token
    }

    /// Whether an invocation may start on the slot at `now`.
    #[must_use]
    pub fn usable(&self, now: Moment) -> bool {
        self.lease.usable(now)
    }

    /// How much longer invocations may start.
    #[must_use]
    pub fn usable_for(&self, now: Moment) -> Duration {
        self.lease.stop_using_at().since(now)
    }

    /// When to ask for a renewal: first at the renew deadline, then every `retry` until an answer came.
    #[must_use]
    pub fn renew_at(&self, retry: Duration) -> Moment {
        let wanted = if self.wanted_now { Moment::ORIGIN } else { self.lease.renew_at() };
        match self.asked_at {
            Some(asked_at) => wanted.max(asked_at + retry),
            None => wanted,
        }
    }

    /// The slot can't be used before a renewal: don't wait for the renew deadline.
    pub fn want_now(&mut self) {
        self.wanted_now = true;
    }

    /// A renewal left at `now`.
    pub fn on_asked(&mut self, now: Moment) {
        self.asked_at = Some(now);
    }

    /// A renewal that left at `sent_at` was granted. Tells whether that moved the lease forward; an answer that is
    /// older than what we know changes nothing.
    pub fn on_renewed(&mut self, sent_at: Moment, terms: LeaseTerms) -> bool {
        let renewed = self.lease.renewed(terms, sent_at);
        if renewed.stop_using_at() <= self.lease.stop_using_at() {
            return false;
        }
        self.lease = renewed;
        self.wanted_now = false;
        self.forget_at = self.forget_at.max(renewed.gone_at());
        true
    }

    /// From here on nobody answers for the slot: the granter may have given it away long ago.
    #[must_use]
    pub fn forget_at(&self) -> Moment {
        self.forget_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: LeaseTerms = LeaseTerms::new(Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(20));
    const RETRY: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::ORIGIN + Duration::from_secs(seconds)
    }

    fn lease(sent: u64, received: u64) -> HeldLease {
        HeldLease::granted(SlotId(1), FencingToken(1), TERMS, at(sent), at(received))
    }

    #[test]
    fn counts_from_sending() {
        let lease = lease(0, 3);
        assert!(lease.usable(at(14)) && !lease.usable(at(15)));
        assert_eq!(lease.usable_for(at(14)), Duration::from_secs(1));
    }

    #[test]
    fn asks_at_the_deadline_and_again_until_answered() {
        let mut lease = lease(0, 0);
        assert_eq!(lease.renew_at(RETRY), at(5));
        lease.on_asked(at(5));
        assert_eq!(lease.renew_at(RETRY), at(6));
        assert!(lease.on_renewed(at(5), TERMS));
        assert_eq!(lease.renew_at(RETRY), at(10));
    }

    #[test]
    fn late_and_doubled_answers_change_nothing() {
        let mut lease = lease(0, 0);
        assert!(lease.on_renewed(at(7), TERMS));
        let before = lease;
        assert!(!lease.on_renewed(at(5), TERMS), "an older answer moved the lease");
        assert!(!lease.on_renewed(at(7), TERMS), "the same answer moved the lease twice");
        assert_eq!(lease, before);
    }

    #[test]
    fn a_grant_after_a_long_init_is_unusable_but_not_forgotten() {
        let mut lease = lease(0, 30);
        assert!(!lease.usable(at(30)));
        assert_eq!(lease.forget_at(), at(50));
        assert!(lease.on_renewed(at(30), TERMS));
        assert!(lease.usable(at(44)) && !lease.usable(at(45)));
    }
}
