//! The schedule by example, and over random outcomes.

use bytes::Bytes;
use hearth_domain::Version;
use proptest::prelude::*;

use super::*;
use crate::asynchronous::Run;

pub(super) fn event() -> Event {
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

pub(super) fn run() -> Run {
    Run { executed_version: Version::Latest, document: Bytes::new() }
}

pub(super) fn function_error() -> Outcome {
    Outcome::FunctionError(run())
}

pub(super) fn deferred() -> Outcome {
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

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
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
