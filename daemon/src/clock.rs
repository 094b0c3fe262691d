//! The one place where roles read time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Reads monotonic time since its own start. Follows tokio's clock, so tests can pause it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Time since the origin.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The tokio instant `since_origin` after the origin, to sleep until.
    #[must_use]
    pub fn instant(&self, since_origin: Duration) -> Instant {
        self.origin + since_origin
    }

    /// Wall-clock time as Unix milliseconds. For people and for what outlives the process; never for leases.
    #[must_use]
    pub fn unix_ms() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
