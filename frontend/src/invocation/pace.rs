//! How soon a call that did not start is tried again, and when no more.

use std::time::Duration;

use hearth_protocol::worker::InvokeError;
use tokio::time::{Instant, sleep_until};

use super::{InvocationError, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

/// Tries that may follow each other at once. A slot that refuses a call is used up by it, so the slots of a worker that
/// was restarted are soon got through; the bound is for slots that are stale as fast as they are made.
const TRIES_AT_ONCE: u32 = 64;

/// The tries of one call.
#[derive(Debug)]
pub(super) struct Pace {
    deadline: Instant,
    tries: u32,
    pause: Duration,
}

impl Pace {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, tries: 0, pause: RETRY_PAUSE_MIN }
    }

    /// Waits until the call may be tried again after `last` said that it did not start. An error if that would be
    /// after the deadline.
    pub(super) async fn before_next(&mut self, last: InvokeError) -> Result<(), InvocationError> {
        self.tries += 1;
        let pause = self.next_pause(&last);
        let next = Instant::now() + pause;
        if next >= self.deadline {
            return Err(InvocationError::NotStarted { tries: self.tries, last });
        }
        if !pause.is_zero() {
            sleep_until(next).await;
        }
        Ok(())
    }

    /// None after a slot that refused; a growing one after a worker that could not be reached, since placement may not
    /// know of it yet and choose it again.
    fn next_pause(&mut self, last: &InvokeError) -> Duration {
        let refused = matches!(last, InvokeError::StaleSlot { .. } | InvokeError::Busy { .. });
        if refused && self.tries < TRIES_AT_ONCE {
            return Duration::ZERO;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(RETRY_PAUSE_MAX);
        pause
    }
}
