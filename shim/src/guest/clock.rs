//! The wall clock of a microVM. Its kernel counts from what it read at its boot or was told at a restore; nobody keeps it
//! right meanwhile but what is here.

use std::io::{self, ErrorKind};

use rustix::time::{ClockId, Timespec};

/// How far behind the host the clock may be, milliseconds. A message on its way only makes it seem less far behind.
const BEHIND_MAX_MS: u64 = 50;
/// How far ahead of the host the clock may be, milliseconds: as far as it seems to be while a message waits for a busy
/// host, because a clock that is right must not be set back.
const AHEAD_MAX_MS: u64 = 2_000;

/// Sets the clock to what the host told, unless it is about right, or nothing was told.
pub(super) fn keep(host_unix_ms: u64) -> io::Result<()> {
    let now = rustix::time::clock_gettime(ClockId::Realtime);
    let guest_ms = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    if is_off(guest_ms, host_unix_ms) { set(host_unix_ms.saturating_mul(1_000_000)) } else { Ok(()) }
}

/// Sets the clock, nanoseconds since 1970.
pub(super) fn set(unix_ns: u64) -> io::Result<()> {
    let era = |_| io::Error::new(ErrorKind::InvalidInput, "no time of this era");
    let seconds = i64::try_from(unix_ns / 1_000_000_000).map_err(era)?;
    let now = Timespec { tv_sec: seconds, tv_nsec: (unix_ns % 1_000_000_000) as _ };
    Ok(rustix::time::clock_settime(ClockId::Realtime, now)?)
}

/// Moves the clock by some seconds.
pub(super) fn step(seconds: i64) -> io::Result<()> {
    let now = rustix::time::clock_gettime(ClockId::Realtime);
    Ok(rustix::time::clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec + seconds, ..now })?)
}

/// Whether the guest's clock can't be left as it is.
fn is_off(guest_ms: u64, host_ms: u64) -> bool {
    host_ms != 0 && (guest_ms + BEHIND_MAX_MS < host_ms || host_ms + AHEAD_MAX_MS < guest_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_set_when_it_is_behind_or_far_ahead() {
        let host = 1_790_000_000_000;
        assert!(is_off(host - BEHIND_MAX_MS - 1, host));
        assert!(is_off(host + AHEAD_MAX_MS + 1, host));
        assert!(is_off(0, host), "a guest whose clock starts in 1970");
    }

    #[test]
    fn a_clock_that_may_be_right_is_left_alone() {
        let host = 1_790_000_000_000;
        for guest in [host - BEHIND_MAX_MS, host, host + 300, host + AHEAD_MAX_MS] {
            assert!(!is_off(guest, host), "{guest}");
        }
        assert!(!is_off(5, 0), "nothing was told");
    }
}
