//! When an event runs again and when it is given up. Pure: time comes in, a decision goes out.
//!
//! As AWS documents it (Lambda developer guide, "How Lambda handles errors and retries with asynchronous invocation"):
//! after a function error two more attempts, one minute and two minutes later; after throttling or a failure of the
//! platform again and again, after 1 second at first, doubling up to 5 minutes; all of it until the event is 6 hours old.
//! A function's own configuration can ask for fewer retries and a lower age, never for more than the platform gives.

use std::time::Duration;

use hearth_store::event::Event;

use crate::asynchronous::Outcome;
use crate::asynchronous::configuration::EventInvokeConfig;

/// When failed events run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// How long after each function error the next attempt comes; as many retries as there are waits.
    pub waits: Vec<Duration>,
    /// Age at which an event is given up.
    pub max_age: Duration,
    /// Wait after the first deferral; doubles.
    pub deferral_min: Duration,
    /// Longest wait after a deferral.
    pub deferral_max: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            waits: vec![Duration::from_secs(60), Duration::from_secs(120)],
            max_age: Duration::from_secs(6 * 3_600),
            deferral_min: Duration::from_secs(1),
            deferral_max: Duration::from_secs(300),
        }
    }
}

/// What to do with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Done(Event),
    /// It goes back with these counts and due time.
    Again(Event),
    /// It is given up, with these counts.
    GiveUp(Event, Condition),
}

/// Why an event ended (AWS: `condition` of a destination record; the last two are ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The function returned.
    Success,
    /// The function failed in every attempt.
    RetriesExhausted,
    /// It became too old.
    EventAgeExceeded,
    /// The function's reserved concurrency is zero, so nothing of it may run.
    ZeroReservedConcurrency,
    /// The function was deleted meanwhile.
    FunctionNotFound,
    /// It is one of too many that follow from each other.
    RecursiveLoop,
}

impl Condition {
    /// Its name in records and dead letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
            Self::ZeroReservedConcurrency => "ZeroReservedConcurrency",
            Self::FunctionNotFound => "FunctionNotFound",
            Self::RecursiveLoop => "RecursiveLoop",
        }
    }
}

impl RetryConfig {
    /// What holds for a function that is configured so.
    #[must_use]
    pub fn for_function(&self, config: Option<&EventInvokeConfig>) -> Self {
        let mut retry = self.clone();
        let Some(config) = config else { return retry };
        if let Some(retries) = config.max_retries {
            retry.waits.truncate(retries as usize);
        }
        if let Some(age_s) = config.max_age_s {
            retry.max_age = retry.max_age.min(Duration::from_secs(age_s.into()));
        }
        retry
    }

    /// Whether a due event is too old to run.
    #[must_use]
    pub fn is_expired(&self, event: &Event, now_unix_ms: u64) -> bool {
        now_unix_ms > self.deadline_unix_ms(event)
    }

    /// What follows from an attempt that ended at `now_unix_ms`.
    #[must_use]
    pub fn on_outcome(&self, event: Event, outcome: &Outcome, now_unix_ms: u64) -> Decision {
        match outcome {
            Outcome::Succeeded(_) => Decision::Done(event),
            Outcome::NoConcurrency => Decision::GiveUp(event, Condition::ZeroReservedConcurrency),
            Outcome::NoFunction => Decision::GiveUp(event, Condition::FunctionNotFound),
            Outcome::FunctionError(_) => self.on_function_error(event, now_unix_ms),
            Outcome::Deferred { .. } => self.on_deferral(event, now_unix_ms),
        }
    }

    fn on_function_error(&self, mut event: Event, now_unix_ms: u64) -> Decision {
        let wait = self.waits.get(event.failed_attempts as usize).copied();
        event.failed_attempts = event.failed_attempts.saturating_add(1);
        // It got a slot, so the next one is looked for eagerly again.
        event.deferrals = 0;
        let Some(wait) = wait else { return Decision::GiveUp(event, Condition::RetriesExhausted) };
        event.due_unix_ms = now_unix_ms.saturating_add(millis(wait));
        // AWS: with an age of 60 seconds there is no second attempt (tests/aws-facts/destinations.json).
        if event.due_unix_ms >= self.deadline_unix_ms(&event) {
            return Decision::GiveUp(event, Condition::EventAgeExceeded);
        }
        Decision::Again(event)
    }

    fn on_deferral(&self, mut event: Event, now_unix_ms: u64) -> Decision {
        let deadline = self.deadline_unix_ms(&event);
        let doubled = 1_u32.checked_shl(event.deferrals).and_then(|factor| self.deferral_min.checked_mul(factor));
        let wait = doubled.unwrap_or(self.deferral_max).min(self.deferral_max);
        event.deferrals = event.deferrals.saturating_add(1);
        if now_unix_ms >= deadline {
            return Decision::GiveUp(event, Condition::EventAgeExceeded);
        }
        // The last try is at the deadline itself.
        event.due_unix_ms = now_unix_ms.saturating_add(millis(wait)).min(deadline);
        Decision::Again(event)
    }

    fn deadline_unix_ms(&self, event: &Event) -> u64 {
        event.accepted_unix_ms.saturating_add(millis(self.max_age))
    }
}

/// At least 1: an event that comes back is never due at once, so a failing one can't spin.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests;
