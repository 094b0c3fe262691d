//! How a device that is limited waits for its turn: the limiter, the clock it goes by, and the alarm that has the device
//! look at its queue again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::alarm::Alarm;
use super::rate_limiter::RateLimiter;
use super::service::Served;
use crate::control::RateLimit;

/// The limits of one device in one direction, while it works.
#[derive(Debug)]
pub struct Pace {
    limiter: RateLimiter,
    since: Instant,
    alarm: Alarm,
    /// How long what was refused last has to wait; until the alarm is set for it.
    wait: Option<Duration>,
}

impl Pace {
    /// Limits of bytes and of operations a second, each optional, counted from now.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new(bytes: Option<RateLimit>, operations: Option<RateLimit>) -> io::Result<Self> {
        let limiter = RateLimiter::new(bytes, operations, Duration::ZERO);
        Ok(Self { limiter, since: Instant::now(), alarm: Alarm::new()?, wait: None })
    }

    /// Whether an operation of `bytes` bytes may be done now, which takes it. If not, the alarm is owed:
    /// [`Self::after_serving`] or [`Self::wait_if_refused`] sets it.
    pub fn admit(&mut self, bytes: u64) -> bool {
        self.wait = self.limiter.admit(bytes, self.since.elapsed()).err();
        self.wait.is_none()
    }

    /// Takes `bytes` more of an operation whose size was not known when it was admitted.
    pub fn charge(&mut self, bytes: u64) {
        self.limiter.charge(bytes);
    }

    /// Sets the alarm for what serving a queue left there, if it left anything: for when the limits allow what they
    /// refused, else at once, because the device has more to do and lets others go first. Says whether it is set.
    pub fn after_serving(&mut self, served: Served) -> bool {
        let is_left = served != Served::Empty;
        if is_left && !self.wait_if_refused() {
            self.alarm.soon();
        }
        is_left
    }

    /// Sets the alarm if the limits refused something. Says whether they did.
    pub fn wait_if_refused(&mut self) -> bool {
        let wait = self.wait.take();
        if let Some(wait) = wait {
            self.alarm.set(wait);
        }
        wait.is_some()
    }

    /// After the alarm went off: it is no longer readable.
    pub fn clear(&self) {
        self.alarm.clear();
    }
}

impl AsFd for Pace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn goes_off(pace: &Pace, within: Timespec) -> bool {
        poll(&mut [PollFd::new(pace, PollFlags::IN)], Some(&within)).unwrap() == 1
    }

    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    const SOON: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

    #[test]
    fn the_alarm_is_for_what_is_left() {
        let one_a_minute = RateLimit { burst: 1, per_second: 0 };
        let mut pace = Pace::new(None, Some(one_a_minute)).unwrap();
        assert!(pace.admit(9));
        assert!(!pace.after_serving(Served::Empty) && !goes_off(&pace, AT_ONCE));
        assert!(pace.after_serving(Served::Budget) && goes_off(&pace, SOON));
        pace.clear();
        assert!(!goes_off(&pace, AT_ONCE));
        assert!(!pace.admit(9));
        assert!(pace.after_serving(Served::Held) && !goes_off(&pace, AT_ONCE), "it has to wait");
        assert!(!pace.wait_if_refused(), "that was said");
    }
}
