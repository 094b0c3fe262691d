//! Waits that end within microseconds of when they should; tokio's own are whole milliseconds long.

use std::io;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of one task's own.
#[derive(Debug)]
pub struct Pacer(AsyncFd<OwnedFd>);

impl Pacer {
    /// Must be called within a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "what replaces it is unsafe; an owned descriptor keeps what that asks for")]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Waits until then; not at all if that is over.
    pub async fn until(&mut self, then: Instant) -> io::Result<()> {
        let wait = then.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let alarm = Itimerspec { it_interval: zero, it_value: timespec(wait) };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &alarm)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut count)?)) {
                Ok(read) => return read.map(drop),
                // It was another alarm's word.
                Err(_would_block) => {}
            }
        }
    }
}

fn timespec(wait: Duration) -> Timespec {
    let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::from(wait.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn never_early_and_late_by_less_than_a_tick_of_tokios() {
        let mut pacer = Pacer::new().unwrap();
        let mut least = Duration::MAX;
        for _ in 0..50 {
            let then = Instant::now() + Duration::from_micros(300);
            pacer.until(then).await.unwrap();
            least = least.min(Instant::now().checked_duration_since(then).expect("it is never early"));
        }
        assert!(least < Duration::from_millis(1), "at best {least:?} late");
        pacer.until(Instant::now()).await.unwrap();
    }
}
