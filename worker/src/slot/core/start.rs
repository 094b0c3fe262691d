//! The time of a start, taken apart.
//!
//! Each event ends a part and begins the next, so that the parts add up to the whole whatever is tried twice.

use std::time::Duration;

use hearth_domain::{Moment, StartTimes};

/// What came with a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Arrival {
    /// It waited in the pool.
    pub(crate) from_pool: bool,
    /// How long its code took that it did not see at once: the last part of the time until now.
    pub(crate) attach: Duration,
}

/// Runs from when the slot was asked for.
#[derive(Debug)]
pub(super) struct StartClock {
    times: StartTimes,
    /// Until here all is told.
    told: Moment,
}

impl StartClock {
    pub(super) fn new(asked: Moment) -> Self {
        Self { times: StartTimes::default(), told: asked }
    }

    /// A sandbox is there and sees its code.
    pub(super) fn on_arrival(&mut self, now: Moment, arrival: Arrival) {
        let took = self.lap(now);
        let attach = arrival.attach.min(took);
        self.times.from_pool = arrival.from_pool;
        self.times.attach += attach;
        self.times.sandbox += took.saturating_sub(attach);
    }

    /// A sandbox is there that was restored after its init; `hooks` is what that took in it.
    pub(super) fn on_restored(&mut self, now: Moment, hooks: Duration) {
        let took = self.lap(now);
        let hooks = hooks.min(took);
        self.times.from_pool = false;
        self.times.init += hooks;
        self.times.sandbox += took.saturating_sub(hooks);
    }

    /// An init is over, however it ended.
    pub(super) fn on_init_over(&mut self, now: Moment) {
        let took = self.lap(now);
        self.times.init += took;
    }

    /// The parts so far.
    pub(super) const fn times(&self) -> StartTimes {
        self.times
    }

    fn lap(&mut self, now: Moment) -> Duration {
        let took = now.since(self.told);
        self.told = self.told.max(now);
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(after: u64) -> Moment {
        Moment::ORIGIN + ms(after)
    }

    #[test]
    fn parts_add_up_to_the_whole_also_when_an_init_is_tried_twice() {
        let mut clock = StartClock::new(at(100));
        clock.on_arrival(at(130), Arrival { from_pool: true, attach: ms(10) });
        clock.on_init_over(at(10_130));
        clock.on_arrival(at(10_200), Arrival { from_pool: false, attach: ms(20) });
        clock.on_init_over(at(10_300));
        let times = StartTimes { from_pool: false, sandbox: ms(70), attach: ms(30), init: ms(10_100) };
        assert_eq!((clock.times(), times.whole()), (times, ms(10_200)));
    }

    #[test]
    fn a_restore_has_hooks_and_no_attach() {
        let mut clock = StartClock::new(at(0));
        clock.on_restored(at(40), ms(15));
        assert_eq!(clock.times(), StartTimes { from_pool: false, sandbox: ms(25), attach: ms(0), init: ms(15) });
    }

    #[test]
    fn nothing_is_negative() {
        let mut clock = StartClock::new(at(50));
        clock.on_arrival(at(60), Arrival { from_pool: true, attach: ms(1_000) });
        clock.on_restored(at(55), ms(1_000));
        clock.on_init_over(at(10));
        assert_eq!(clock.times(), StartTimes { from_pool: false, sandbox: ms(0), attach: ms(10), init: ms(0) });
    }
}
