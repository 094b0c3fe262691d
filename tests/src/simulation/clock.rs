//! True time, which nobody in the fleet knows, and each node's own.

use std::time::Duration;

use hearth_domain::Moment;

/// Nanoseconds of true time since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Instant(pub(super) u64);

impl Instant {
    pub(super) const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    pub(super) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(super) fn plus_ms(self, ms: u64) -> Self {
        Self(self.0 + ms * 1_000_000)
    }

    pub(super) const fn ms(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// The monotonic clock of one node since its last start: its own origin, and a rate that is not quite right.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeClock {
    started: Instant,
    origin: Moment,
    /// Millionths by which it runs fast, or slow if negative.
    drift_ppm: i64,
}

const MILLION: u128 = 1_000_000;

impl NodeClock {
    pub(super) fn new(started: Instant, origin: Moment, drift_ppm: i64) -> Self {
        Self { started, origin, drift_ppm }
    }

    fn rate(self) -> u128 {
        u128::try_from(1_000_000 + self.drift_ppm).unwrap_or(1)
    }

    /// What it shows at `now`.
    pub(super) fn at(self, now: Instant) -> Moment {
        let passed = u128::from(now.0.saturating_sub(self.started.0)) * self.rate() / MILLION;
        Moment::from_nanos(self.origin.as_nanos() + u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The first true instant at which it shows `moment` or later.
    pub(super) fn when(self, moment: Moment) -> Instant {
        let ahead = u128::from(moment.as_nanos().saturating_sub(self.origin.as_nanos()));
        let passed = (ahead * MILLION).div_ceil(self.rate());
        Instant(self.started.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_reached_when_the_clock_says_so() {
        for drift_ppm in [-400_000, -50_000, 0, 7, 50_000] {
            let clock = NodeClock::new(Instant(12_345), Moment::from_nanos(999), drift_ppm);
            for ahead in [0, 1, 1_000_003, 5_000_000_000] {
                let moment = Moment::from_nanos(999 + ahead);
                let when = clock.when(moment);
                assert!(clock.at(when) >= moment);
                assert!(when.0 == 12_345 || clock.at(Instant(when.0 - 1)) < moment);
            }
        }
    }
}
