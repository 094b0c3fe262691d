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
mod tests {
    use bytes::Bytes;
    use hearth_domain::Version;
    use proptest::prelude::*;

    use super::*;
    use crate::asynchronous::Run;

    fn event() -> Event {
        Event {
            request_id: "r".parse().unwrap(),
            account: "000000000000".parse().unwrap(),
            name: "f".parse().unwrap(),
            version: Version::Latest,
            alias: None,
            invoked_arn: "arn".into(),
            payload: Bytes::new(),
            accepted_unix_ms: 1_000_000,
            due_unix_ms: 1_000_000,
            failed_attempts: 0,
            deferrals: 0,
            forwards: 0,
        }
    }

    fn run() -> Run {
        Run { executed_version: Version::Latest, document: Bytes::new() }
    }

    fn function_error() -> Outcome {
        Outcome::FunctionError(run())
    }

    fn deferred() -> Outcome {
        Outcome::Deferred { reason: String::new() }
    }

    fn again(decision: Decision) -> Event {
        match decision {
            Decision::Again(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_retries_after_one_and_two_minutes() {
        let retry = RetryConfig::default();
        let second = again(retry.on_outcome(event(), &function_error(), 1_000_500));
        assert_eq!((second.due_unix_ms, second.failed_attempts), (1_060_500, 1));
        let third = again(retry.on_outcome(second, &function_error(), 1_061_000));
        assert_eq!((third.due_unix_ms, third.failed_attempts), (1_181_000, 2));
        let Decision::GiveUp(last, condition) = retry.on_outcome(third, &function_error(), 1_182_000) else { panic!() };
        assert_eq!((last.failed_attempts, condition), (3, Condition::RetriesExhausted));
    }

    #[test]
    fn deferrals_back_off_from_one_second_to_five_minutes_and_are_no_attempts() {
        let retry = RetryConfig::default();
        let (mut event, mut now, mut waits) = (event(), 1_000_000, Vec::new());
        for _ in 0..12 {
            event = again(retry.on_outcome(event, &deferred(), now));
            waits.push((event.due_unix_ms - now) / 1_000);
            now = event.due_unix_ms;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(event.failed_attempts, 0);
        assert_eq!(again(retry.on_outcome(event, &function_error(), now)).deferrals, 0);
    }

    #[test]
    fn an_old_event_is_given_up() {
        let retry = RetryConfig { max_age: Duration::from_secs(100), ..RetryConfig::default() };
        let last_try = again(retry.on_outcome(Event { deferrals: 9, ..event() }, &deferred(), 1_099_999));
        assert_eq!(last_try.due_unix_ms, 1_100_000);
        assert!(!retry.is_expired(&last_try, 1_100_000) && retry.is_expired(&last_try, 1_100_001));
        for (outcome, now) in [(deferred(), 1_100_000), (function_error(), 1_040_000)] {
            let Decision::GiveUp(_, condition) = retry.on_outcome(event(), &outcome, now) else { panic!() };
            assert_eq!(condition, Condition::EventAgeExceeded);
        }
    }

    #[test]
    fn a_deleted_function_is_not_tried_again() {
        let decision = RetryConfig::default().on_outcome(event(), &Outcome::NoFunction, 1);
        assert_eq!(decision, Decision::GiveUp(event(), Condition::FunctionNotFound));
    }

    #[test]
    fn no_reserved_concurrency_is_the_end_at_once() {
        let decision = RetryConfig::default().on_outcome(event(), &Outcome::NoConcurrency, 1);
        assert_eq!(decision, Decision::GiveUp(event(), Condition::ZeroReservedConcurrency));
    }

    #[test]
    fn a_function_can_ask_for_less_and_not_for_more() {
        let retry = RetryConfig::default();
        assert_eq!(retry.for_function(None), retry);
        let asks = |max_retries, max_age_s| {
            let config = EventInvokeConfig { max_retries, max_age_s, ..EventInvokeConfig::default() };
            let RetryConfig { waits, max_age, .. } = retry.for_function(Some(&config));
            (waits.len(), max_age.as_secs())
        };
        assert_eq!(asks(None, None), (2, 21_600));
        assert_eq!(asks(Some(0), Some(60)), (0, 60));
        assert_eq!(asks(Some(9), Some(99_999)), (2, 21_600));
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            6 => Just(deferred()), 3 => Just(function_error()), 1 => Just(Outcome::Succeeded(run())), 1 => Just(Outcome::NoFunction)
        ]
    }

    proptest! {
        /// However outcomes and run times fall: attempts are bounded, time moves on, nothing runs after its deadline,
        /// and every event comes to an end.
        #[test]
        fn every_event_comes_to_an_end(
            outcomes in proptest::collection::vec((outcome(), 0..2_000_000_u64), 400),
            waits in proptest::collection::vec(0..400_000_u64, 0..4),
            max_age_ms in 1..30_000_000_u64,
        ) {
            let retry = RetryConfig {
                waits: waits.iter().copied().map(Duration::from_millis).collect(),
                max_age: Duration::from_millis(max_age_ms),
                ..RetryConfig::default()
            };
            let mut event = event();
            let mut runs = 0;
            for (outcome, run_ms) in outcomes {
                let started = event.due_unix_ms;
                prop_assert!(!retry.is_expired(&event, started), "due after its deadline");
                let now = started + run_ms;
                runs += u32::from(matches!(outcome, Outcome::FunctionError(_)));
                match retry.on_outcome(event.clone(), &outcome, now) {
                    Decision::Again(next) => {
                        prop_assert!(next.due_unix_ms > now);
                        prop_assert_eq!(next.failed_attempts, runs);
                        prop_assert_eq!(next.accepted_unix_ms, event.accepted_unix_ms);
                        event = next;
                    }
                    Decision::Done(done) => {
                        prop_assert_eq!((outcome, done), (Outcome::Succeeded(run()), event));
                        return Ok(());
                    }
                    Decision::GiveUp(last, condition) => {
                        prop_assert_eq!(last.failed_attempts, runs);
                        let exhausted = runs as usize == waits.len() + 1;
                        prop_assert_eq!(condition == Condition::RetriesExhausted, exhausted && condition != Condition::FunctionNotFound);
                        return Ok(());
                    }
                }
            }
            prop_assert!(false, "after 400 attempts still in the queue");
        }
    }
}
