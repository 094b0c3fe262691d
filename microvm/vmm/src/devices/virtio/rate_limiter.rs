//! Token buckets: what a device of one guest may take of what its neighbours use as well.
//!
//! A bucket holds at most `burst` tokens and gains `per_second`. Whoever finds enough in it takes its amount; an amount
//! above `burst` needs a full bucket and leaves a debt, so that nothing waits for ever and the mean rate holds.
//!
//! [`Bucket`] and [`RateLimiter`] know no clock: time is what the caller says, from any fixed moment.

use std::time::Duration;

use crate::control::RateLimit;

/// Tokens are counted in billionths, so that a nanosecond gains a whole number of them.
const UNIT: i128 = 1_000_000_000;
/// Waits are cut to this, for rates that never get there.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// One bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    burst: i128,
    per_ns: i128,
    balance: i128,
    at: Duration,
}

impl Bucket {
    /// A full bucket at `now`.
    #[must_use]
    pub fn new(limit: RateLimit, now: Duration) -> Self {
        let burst = i128::from(limit.burst.max(1)) * UNIT;
        Self { burst, per_ns: limit.per_second.into(), balance: burst, at: now }
    }

    /// How long until `amount` can be taken; zero if now.
    pub fn wait(&mut self, amount: u64, now: Duration) -> Duration {
        let elapsed = now.saturating_sub(self.at).as_nanos();
        let gained = i128::try_from(elapsed).unwrap_or(i128::MAX).saturating_mul(self.per_ns);
        self.balance = self.balance.saturating_add(gained).min(self.burst);
        self.at = self.at.max(now);
        let missing = (i128::from(amount) * UNIT).min(self.burst) - self.balance;
        if missing <= 0 {
            return Duration::ZERO;
        }
        let max = WAIT_MAX.as_nanos() as i128;
        let wait = if self.per_ns == 0 { max } else { (missing + self.per_ns - 1) / self.per_ns };
        Duration::from_nanos(wait.min(max) as u64)
    }

    /// Takes `amount`, whether or not it is there.
    pub fn take(&mut self, amount: u64) {
        self.balance -= i128::from(amount) * UNIT;
    }
}

/// The limits of one device in one direction: bytes, and operations (requests or packets).
#[derive(Debug, Clone, Default)]
pub struct RateLimiter {
    bytes: Option<Bucket>,
    operations: Option<Bucket>,
}

impl RateLimiter {
    /// Both limits, each optional.
    #[must_use]
    pub fn new(bytes: Option<RateLimit>, operations: Option<RateLimit>, now: Duration) -> Self {
        let bucket = |limit: Option<RateLimit>| limit.map(|limit| Bucket::new(limit, now));
        Self { bytes: bucket(bytes), operations: bucket(operations) }
    }

    /// Takes one operation of `bytes` bytes.
    ///
    /// # Errors
    ///
    /// It exceeds a limit, and nothing is taken: how long to wait before asking again, at most [`WAIT_MAX`].
    pub fn admit(&mut self, bytes: u64, now: Duration) -> Result<(), Duration> {
        let wait = |bucket: &mut Option<Bucket>, amount| bucket.as_mut().map(|bucket| bucket.wait(amount, now));
        let longest = wait(&mut self.bytes, bytes).max(wait(&mut self.operations, 1)).unwrap_or_default();
        if longest > Duration::ZERO {
            return Err(longest);
        }
        self.bytes.iter_mut().for_each(|bucket| bucket.take(bytes));
        self.operations.iter_mut().for_each(|bucket| bucket.take(1));
        Ok(())
    }

    /// Takes `bytes` more of an operation whose size was not known when it was admitted with none.
    pub fn charge(&mut self, bytes: u64) {
        self.bytes.iter_mut().for_each(|bucket| bucket.take(bytes));
    }

    /// Whether there is any limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.bytes.is_some() || self.operations.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn limit(burst: u64, per_second: u64) -> Option<RateLimit> {
        Some(RateLimit { burst, per_second })
    }

    #[test]
    fn a_burst_goes_through_and_then_the_rate_holds() {
        let mut limiter = RateLimiter::new(limit(1000, 100), None, Duration::ZERO);
        assert_eq!(limiter.admit(600, Duration::ZERO), Ok(()));
        assert_eq!(limiter.admit(600, Duration::ZERO), Err(Duration::from_secs(2)));
        assert_eq!(limiter.admit(600, Duration::from_millis(1999)), Err(Duration::from_millis(1)));
        assert_eq!(limiter.admit(600, Duration::from_secs(2)), Ok(()));
    }

    #[test]
    fn what_is_larger_than_the_bucket_passes_when_it_is_full_and_leaves_a_debt() {
        let mut limiter = RateLimiter::new(limit(100, 100), None, Duration::ZERO);
        assert_eq!(limiter.admit(300, Duration::ZERO), Ok(()));
        assert_eq!(limiter.admit(1, Duration::ZERO), Err(Duration::from_millis(2010)));
        assert_eq!(limiter.admit(1, Duration::from_millis(2010)), Ok(()));
    }

    #[test]
    fn one_limit_refusing_takes_nothing_of_the_other() {
        let mut limiter = RateLimiter::new(limit(10, 1), limit(1, 1), Duration::ZERO);
        assert_eq!(limiter.admit(4, Duration::ZERO), Ok(()));
        assert_eq!(limiter.admit(6, Duration::ZERO), Err(Duration::from_secs(1)));
        assert_eq!(limiter.admit(7, Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn without_a_rate_the_wait_is_cut_and_without_a_limit_there_is_none() {
        let mut limiter = RateLimiter::new(limit(0, 0), None, Duration::ZERO);
        assert_eq!(limiter.admit(1, Duration::ZERO), Ok(()));
        assert_eq!(limiter.admit(1, Duration::from_secs(9)), Err(WAIT_MAX));
        assert_eq!(RateLimiter::default().admit(u64::MAX, Duration::ZERO), Ok(()));
    }

    proptest! {
        /// Over any time, no more than the burst, the rate, and one operation's debt gets through; and whoever waits as
        /// told is let through.
        #[test]
        fn the_mean_rate_holds(
            burst in 0_u64..1 << 40,
            per_second in 1_u64..1 << 40,
            steps in prop::collection::vec((0_u64..1 << 33, 0_u64..1 << 41), 1..50),
        ) {
            let mut limiter = RateLimiter::new(limit(burst, per_second), None, Duration::ZERO);
            let (mut now, mut passed, mut largest) = (Duration::ZERO, 0_u128, 0);
            for (nanoseconds, amount) in steps {
                now += Duration::from_nanos(nanoseconds);
                match limiter.admit(amount, now) {
                    Ok(()) => {
                        passed += u128::from(amount);
                        largest = largest.max(amount);
                    }
                    Err(wait) if wait < WAIT_MAX => {
                        prop_assert!(wait > Duration::ZERO);
                        now += wait;
                        prop_assert_eq!(limiter.admit(amount, now), Ok(()));
                        passed += u128::from(amount);
                        largest = largest.max(amount);
                    }
                    Err(_) => {}
                }
                let gained = u128::from(per_second) * now.as_nanos() / 1_000_000_000 + 1;
                prop_assert!(passed <= u128::from(burst.max(1)) + gained + u128::from(largest));
            }
        }

        #[test]
        fn no_values_overflow(values in any::<[u64; 2]>(), amount in any::<u64>(), times in any::<[u64; 2]>()) {
            let [start, later] = times.map(Duration::from_secs);
            let mut limiter = RateLimiter::new(limit(values[0], values[1]), limit(values[1], values[0]), start);
            for now in [start, later, start] {
                let _ = limiter.admit(amount, now);
            }
        }
    }
}
