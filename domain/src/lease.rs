//! Leases: who may use a slot, and until when.
//!
//! ```text
//!  holder: request sent ──── renew ──── stop using ──┐        (counts from when it sent the request)
//!  granter:      └─ answered ──────────────────────── gone    (counts from when it answered)
//! ```
//!
//! The holder's count starts no later than the granter's, and "stop using" lies before "gone"; so the holder has
//! stopped before the granter may give the slot to somebody else, however the two clocks are set.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::SlotId;
use crate::time::Moment;

/// Grows with every new grant of a slot and stays the same over renewals. A worker refuses a call that carries any
/// token but the newest it was told for that slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

impl fmt::Debug for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token-{}", self.0)
    }
}

/// The three deadlines of a lease, as durations: `renew_after < stop_using_after < gone_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[Duration; 3]", into = "[Duration; 3]")]
pub struct LeaseTerms {
    renew_after: Duration,
    stop_using_after: Duration,
    gone_after: Duration,
}

/// Three durations that are no lease terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "lease deadlines must be above zero and grow: renew {renew_after:?} < stop using {stop_using_after:?} < gone {gone_after:?}"
)]
pub struct InvalidLeaseTerms {
    /// When to renew.
    pub renew_after: Duration,
    /// When to stop using.
    pub stop_using_after: Duration,
    /// When the granter may give the slot away.
    pub gone_after: Duration,
}

impl LeaseTerms {
    /// Terms known to be right when this compiles.
    ///
    /// # Panics
    /// If the three are not above zero and strictly growing.
    #[must_use]
    pub const fn new(renew_after: Duration, stop_using_after: Duration, gone_after: Duration) -> Self {
        match Self::checked(renew_after, stop_using_after, gone_after) {
            Ok(terms) => terms,
            Err(_) => panic!("lease deadlines must be above zero and grow"),
        }
    }

    /// Terms from outside.
    pub const fn checked(
        renew_after: Duration,
        stop_using_after: Duration,
        gone_after: Duration,
    ) -> Result<Self, InvalidLeaseTerms> {
        let grows =
            renew_after.as_nanos() < stop_using_after.as_nanos() && stop_using_after.as_nanos() < gone_after.as_nanos();
        if renew_after.is_zero() || !grows {
            return Err(InvalidLeaseTerms { renew_after, stop_using_after, gone_after });
        }
        Ok(Self { renew_after, stop_using_after, gone_after })
    }

    /// From here on the holder asks for a renewal.
    #[must_use]
    pub const fn renew_after(self) -> Duration {
        self.renew_after
    }

    /// From here on the holder starts nothing on the slot.
    #[must_use]
    pub const fn stop_using_after(self) -> Duration {
        self.stop_using_after
    }

    /// From here on the granter may reclaim the slot.
    #[must_use]
    pub const fn gone_after(self) -> Duration {
        self.gone_after
    }
}

impl TryFrom<[Duration; 3]> for LeaseTerms {
    type Error = InvalidLeaseTerms;

    fn try_from([renew, stop, gone]: [Duration; 3]) -> Result<Self, InvalidLeaseTerms> {
        Self::checked(renew, stop, gone)
    }
}

impl From<LeaseTerms> for [Duration; 3] {
    fn from(terms: LeaseTerms) -> Self {
        [terms.renew_after, terms.stop_using_after, terms.gone_after]
    }
}

/// A lease as one side sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The slot it is on.
    pub slot: SlotId,
    /// The fencing token of this grant.
    pub token: FencingToken,
    /// Its deadlines.
    pub terms: LeaseTerms,
    /// What the deadlines count from: for the holder, when it sent the request; for the granter, when it answered.
    pub counted_from: Moment,
}

impl Lease {
    /// When the holder should ask for a renewal.
    #[must_use]
    pub fn renew_at(&self) -> Moment {
        self.counted_from + self.terms.renew_after
    }

    /// When the holder must have stopped starting things on the slot.
    #[must_use]
    pub fn stop_using_at(&self) -> Moment {
        self.counted_from + self.terms.stop_using_after
    }

    /// When the granter may reclaim.
    #[must_use]
    pub fn gone_at(&self) -> Moment {
        self.counted_from + self.terms.gone_after
    }

    /// Whether the holder may start something on the slot at `now`.
    #[must_use]
    pub fn usable(&self, now: Moment) -> bool {
        now < self.stop_using_at()
    }

    /// Whether the granter may reclaim the slot at `now`.
    #[must_use]
    pub fn gone(&self, now: Moment) -> bool {
        now >= self.gone_at()
    }

    /// The same grant, counted anew.
    #[must_use]
    pub fn renewed(self, terms: LeaseTerms, counted_from: Moment) -> Self {
        Self { terms, counted_from, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn terms_must_grow() {
        assert!(LeaseTerms::checked(S(1), S(2), S(3)).is_ok());
        for (renew, stop, gone) in [(0, 2, 3), (2, 2, 3), (1, 3, 3), (3, 2, 1)] {
            assert!(LeaseTerms::checked(S(renew), S(stop), S(gone)).is_err());
        }
    }

    #[test]
    fn holder_stops_before_granter_takes_back() {
        let terms = LeaseTerms::new(S(1), S(2), S(3));
        let sent = Moment::ORIGIN + S(100);
        let holder = Lease { slot: SlotId(1), token: FencingToken(1), terms, counted_from: sent };
        assert!(holder.usable(sent + Duration::from_millis(1_999)) && !holder.usable(sent + S(2)));
        assert!(!holder.gone(sent + Duration::from_millis(2_999)) && holder.gone(sent + S(3)));
    }
}
