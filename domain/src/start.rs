//! Where the time of an environment's start went.

use std::time::Duration;

/// The parts of one start, as the worker that made it spent them, one after the other. All of them together are the
/// whole time that the worker had the request, whatever it had to try twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StartTimes {
    /// Whether the sandbox came from the pool.
    pub from_pool: bool,
    /// Until there was a sandbox: taken from the pool, booted, or restored from a snapshot.
    pub sandbox: Duration,
    /// From there until it saw its code; zero where it was restored with it.
    pub attach: Duration,
    /// The start of the runtime, if the pool had not done that, and the function's own init; of what was restored after
    /// its init, the after-restore hooks.
    pub init: Duration,
}

impl StartTimes {
    /// All of it.
    #[must_use]
    pub const fn whole(&self) -> Duration {
        self.sandbox.saturating_add(self.attach).saturating_add(self.init)
    }
}
