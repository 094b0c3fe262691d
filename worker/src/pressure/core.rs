//! How many idle slots have to end, from how short the host's memory is. Pure.
//!
//! A stall alone does not count: a function that thrashes at its own limit stalls too, and that is its own affair. Short
//! memory alone counts only when it is very short.
//!
//! Invariants: never more than [`STEP_MAX`] end within [`STEP_EVERY`], and none while memory is not short.

use std::time::Duration;

use hearth_domain::Moment;

/// Thousandths of the memory available below which it is short, whether or not anything waits for it.
const LOW_PERMILLE: u32 = 30;
/// Thousandths of the memory available below which it is short once something had to wait for it.
const STALLED_PERMILLE: u32 = 100;
/// Least time between two steps, so that what the first gave back can be seen.
pub(super) const STEP_EVERY: Duration = Duration::from_millis(250);
/// Most slots that one step ends. The first ends one; each further one twice as many.
const STEP_MAX: usize = 32;

/// The host's memory at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Whether something had to wait for memory just now.
    pub stalled: bool,
    /// What could be had without pushing anything out that is in use, thousandths of all.
    pub available_permille: u32,
}

/// The decisions.
#[derive(Debug, Default)]
pub(super) struct PressureCore {
    /// Steps since memory became short.
    steps: u32,
    last: Option<Moment>,
}

impl PressureCore {
    /// How many of `idle` slots are to end now.
    pub(super) fn on_sample(&mut self, now: Moment, sample: Sample, idle: usize) -> usize {
        let stalled = sample.stalled || self.steps > 0;
        let available = sample.available_permille;
        if !(available < LOW_PERMILLE || stalled && available < STALLED_PERMILLE) {
            self.steps = 0;
            return 0;
        }
        if self.last.is_some_and(|last| now.since(last) < STEP_EVERY) {
            return 0;
        }
        let count = STEP_MAX.min(1 << self.steps.min(STEP_MAX.ilog2()));
        self.steps += 1;
        self.last = Some(now);
        count.min(idle)
    }

    /// When to look again, if memory is short.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.last.filter(|_| self.steps > 0).map(|last| last + STEP_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    fn sample(stalled: bool, available_permille: u32) -> Sample {
        Sample { stalled, available_permille }
    }

    #[test]
    fn neither_a_stall_nor_little_memory_alone_ends_anything() {
        let mut core = PressureCore::default();
        assert_eq!(core.on_sample(at(0), sample(true, 400), 10), 0);
        assert_eq!(core.on_sample(at(300), sample(false, 60), 10), 0);
        assert_eq!(core.deadline(), None);
    }

    #[test]
    fn steps_grow_until_there_is_memory_again_and_never_come_too_fast() {
        let mut core = PressureCore::default();
        let mut ended = Vec::new();
        for step in 0..8 {
            ended.push(core.on_sample(at(step * 250), sample(step == 0, 60), 1_000));
            assert_eq!(core.on_sample(at(step * 250 + 100), sample(true, 10), 1_000), 0, "too soon");
            assert_eq!(core.deadline(), Some(at((step + 1) * 250)));
        }
        assert_eq!(ended, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(core.on_sample(at(2_000), sample(false, 150), 1_000), 0);
        assert_eq!(core.deadline(), None);
        assert_eq!(core.on_sample(at(9_000), sample(false, 20), 1), 1, "very short memory needs no stall");
        assert_eq!(core.on_sample(at(9_250), sample(false, 20), 0), 0, "there is nothing to end");
    }
}
