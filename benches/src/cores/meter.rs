//! Processor time of short calls.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Reads of the clock whose shortest gap is taken for what reading costs.
const CALIBRATIONS: u32 = 1_000;

/// How much processor time the calls of one kind took, each and together. Time of this thread only, so that what else runs
/// on the machine counts as little as can be.
#[derive(Debug, Clone)]
pub struct Meter {
    every: u64,
    calls: u64,
    /// Things done in these calls, for calls that do many.
    things: u64,
    overhead: u64,
    samples: Vec<u32>,
    sampled_nanos: u64,
}

impl Meter {
    /// Measures each `every`th call; the others count, but cost what those did on average.
    #[must_use]
    pub fn every(every: u64) -> Self {
        Self { every, calls: 0, things: 0, overhead: clock_overhead(), samples: Vec::new(), sampled_nanos: 0 }
    }

    /// Makes a call that does one thing.
    pub fn call<T>(&mut self, call: impl FnOnce() -> T) -> T {
        self.call_for(1, call)
    }

    /// Makes a call that does so many things.
    pub fn call_for<T>(&mut self, things: usize, call: impl FnOnce() -> T) -> T {
        self.calls += 1;
        self.things += things as u64;
        if !self.calls.is_multiple_of(self.every) {
            return call();
        }
        let start = thread_nanos();
        let result = black_box(call());
        let took = (thread_nanos() - start).saturating_sub(self.overhead);
        self.sampled_nanos += took;
        self.samples.push(u32::try_from(took).unwrap_or(u32::MAX));
        result
    }

    /// How many things were done.
    #[must_use]
    pub fn things(&self) -> u64 {
        self.things
    }

    /// Processor time of all calls.
    #[must_use]
    pub fn total(&self) -> Duration {
        let each = self.sampled_nanos as f64 / self.samples.len().max(1) as f64;
        Duration::from_nanos((each * self.calls as f64) as u64)
    }

    /// Of one thing, nanoseconds; NaN without any.
    #[must_use]
    pub fn mean_ns(&self) -> f64 {
        self.total().as_nanos() as f64 / self.things as f64
    }

    /// Things a second that one core does.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        1e9 / self.mean_ns()
    }

    /// Of one call, the time that `share` (0 to 1) of the calls do not exceed, nanoseconds; NaN without any.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(index).copied().map_or(f64::NAN, f64::from)
    }
}

/// Processor time of this thread so far.
#[must_use]
pub fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn clock_overhead() -> u64 {
    let gap = |_| {
        let start = thread_nanos();
        thread_nanos() - start
    };
    (0..CALIBRATIONS).map(gap).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_calls_count_and_some_are_measured() {
        let mut meter = Meter::every(4);
        for n in 0..400_u64 {
            meter.call_for(2, || (0..1_000 + n).map(black_box).sum::<u64>());
        }
        assert_eq!((meter.things(), meter.samples.len()), (800, 100));
        assert!(meter.total() > Duration::ZERO && meter.mean_ns() > 0.0);
        assert!(meter.quantile_ns(0.5) <= meter.quantile_ns(1.0));
        assert!(Meter::every(1).quantile_ns(0.5).is_nan());
    }
}
