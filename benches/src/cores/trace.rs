//! Calls as a large provider sees them, made up from a seed.
//!
//! Shapes are those of Shahrad et al., "Serverless in the Wild" (USENIX ATC'20), section 3: mean rates over eight orders of
//! magnitude, 45 % of functions called at most once an hour and 81 % at most once a minute, which are 0.4 % of all calls; a
//! sixth periodic, most of the rest Poisson or burstier; running times log-normal (log mean −0.38, deviation 2.36,
//! seconds); memory after Burr (c 11.652, k 0.221, λ 107.083 MB). What is made up beyond that: no call runs longer than
//! a minute, and functions that are called often are short, so that none has more than [`CONCURRENT_MAX`] calls at a time on
//! average.

use std::sync::Arc;
use std::time::Duration;

use hearth_domain::FunctionSpec;

use super::chance::Chance;
use super::fixture;

/// Mean concurrency of one function at most.
pub const CONCURRENT_MAX: f64 = 20.0;
/// Longest run of a call, seconds.
const LONGEST_S: f64 = 60.0;
const DAY_S: f64 = 86_400.0;
/// Share of the functions, and the calls a day that they do not exceed. Logarithms are joined by straight lines.
const RATES: [(f64, f64); 6] =
    [(0.0, 0.1), (0.45, 24.0), (0.81, 1_440.0), (0.99, 100_000.0), (0.999, 1_000_000.0), (1.0, 10_000_000.0)];

/// A function and how it is called.
#[derive(Debug, Clone)]
pub struct Called {
    /// What runs.
    pub spec: Arc<FunctionSpec>,
    /// Mean time between calls, seconds.
    pub gap_s: f64,
    pattern: Pattern,
    /// Median running time, seconds.
    median_s: f64,
}

/// How the gaps between calls are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// All alike: a timer.
    Periodic,
    /// As if callers knew nothing of each other.
    Poisson,
    /// Many short ones and a few long ones.
    Bursty,
}

/// What no function exceeds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Calls a second.
    pub per_second_max: f64,
    /// Calls at a time, on average.
    pub concurrent_max: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { per_second_max: f64::INFINITY, concurrent_max: CONCURRENT_MAX }
    }
}

/// So many functions.
#[must_use]
pub fn functions(count: usize, bounds: Bounds, chance: &mut Chance) -> Vec<Called> {
    (0..count).map(|n| called(n, count, bounds, chance)).collect()
}

impl Called {
    /// How long after the trace's start the first call comes, as if the function had been called for long already.
    pub fn first(&self, chance: &mut Chance) -> Duration {
        match self.pattern {
            Pattern::Periodic => Duration::from_secs_f64(self.gap_s * chance.share()),
            Pattern::Poisson | Pattern::Bursty => Duration::from_secs_f64(self.gap_s * chance.exponential()),
        }
    }

    /// The time to the next call.
    pub fn gap(&self, chance: &mut Chance) -> Duration {
        const SHORT: (f64, f64) = (0.9, 0.1);
        const LONG: f64 = (1.0 - SHORT.0 * SHORT.1) / (1.0 - SHORT.0);
        let times = match self.pattern {
            Pattern::Periodic => 1.0,
            Pattern::Poisson => chance.exponential(),
            Pattern::Bursty if chance.share() < SHORT.0 => SHORT.1 * chance.exponential(),
            Pattern::Bursty => LONG * chance.exponential(),
        };
        Duration::from_secs_f64(self.gap_s * times)
    }

    /// How long a call runs.
    pub fn run(&self, chance: &mut Chance) -> Duration {
        const DEVIATION: f64 = 0.3;
        Duration::from_secs_f64((self.median_s * (DEVIATION * chance.normal()).exp()).min(LONGEST_S))
    }
}

fn called(n: usize, of: usize, bounds: Bounds, chance: &mut Chance) -> Called {
    let per_second = (per_day((n as f64 + 0.5) / of as f64) / DAY_S).min(bounds.per_second_max);
    let median_s = (-0.38 + 2.36 * chance.normal()).exp().clamp(0.001, LONGEST_S);
    let pattern = match chance.share() {
        share if share < 0.16 => Pattern::Periodic,
        share if share < 0.6 => Pattern::Poisson,
        _ => Pattern::Bursty,
    };
    Called {
        spec: fixture::function(n, memory_mb(chance.share()), LONGEST_S as u32),
        gap_s: 1.0 / per_second,
        pattern,
        median_s: median_s.min(bounds.concurrent_max / per_second),
    }
}

/// The calls a day that `share` of the functions do not exceed.
fn per_day(share: f64) -> f64 {
    let above = RATES.iter().position(|(until, _)| share <= *until).unwrap_or(RATES.len() - 1).max(1);
    let ((from, low), (to, high)) = (RATES[above - 1], RATES[above]);
    (low.ln() + (share - from) / (to - from) * (high / low).ln()).exp()
}

/// What `share` of the functions do not exceed, in the steps in which people choose it.
fn memory_mb(share: f64) -> u32 {
    const STEP_MB: f64 = 64.0;
    let burr = 107.083 * ((1.0 - share).powf(-1.0 / 0.221) - 1.0).powf(1.0 / 11.652);
    ((burr / STEP_MB).ceil() * STEP_MB).clamp(128.0, 1_024.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_functions_are_rare_and_few_carry_most_calls() {
        let called = functions(10_000, Bounds::default(), &mut Chance::from(1));
        let rate = |function: &Called| 1.0 / function.gap_s;
        let all: f64 = called.iter().map(rate).sum();
        let share = |most_per_second: f64| {
            let rare: Vec<_> = called.iter().map(rate).filter(|rate| *rate <= most_per_second).collect();
            (rare.len() as f64 / 10_000.0, rare.iter().sum::<f64>() / all)
        };
        let (hourly, minutely) = (share(1.0 / 3_600.0), share(1.0 / 60.0));
        assert!((hourly.0 - 0.45).abs() < 0.01 && (minutely.0 - 0.81).abs() < 0.01, "{hourly:?} {minutely:?}");
        assert!(minutely.1 < 0.02, "{minutely:?}");
        let span = called[9_999].gap_s.recip() / called[0].gap_s.recip();
        assert!(span.log10() > 7.5, "{span}");
    }

    #[test]
    fn gaps_have_the_mean_they_should() {
        let mut chance = Chance::from(2);
        for function in functions(30, Bounds::default(), &mut chance) {
            let sum: Duration = (0..20_000).map(|_| function.gap(&mut chance)).sum();
            let mean = sum.as_secs_f64() / 20_000.0;
            assert!((mean / function.gap_s - 1.0).abs() < 0.1, "{mean} for {function:?}");
        }
    }
}
