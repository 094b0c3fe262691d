//! Warm calls: who gets which slot, and what ends a reservation.

use std::time::Duration;

use hearth_domain::SlotOutcome;
use hearth_protocol::worker_manager::ReserveError;
use hearth_worker_manager::router::{Reserved, RouterConfig};

use crate::fixture::{Bench, TERMS, function};

#[test]
fn a_warm_call_sends_nothing() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    for n in 1..100 {
        let request = format!("r{n}");
        let reservation = bench.ask_warm(&f, &request);
        assert_eq!(reservation.slot, slot);
        assert!(bench.complete(&request, &reservation, SlotOutcome::Reusable));
        assert!(bench.router.next_deadline().is_some_and(|next| next > bench.now), "a warm call asked for a turn");
    }
    bench.nothing_else_was_sent();
}

#[test]
fn the_slot_used_last_is_taken_first() {
    let (mut bench, f) = (Bench::new(), function("f"));
    for request in ["r1", "r2"] {
        bench.ask_and_wait(&f, request);
    }
    bench.turn();
    let claim = bench.claim();
    bench.grant(&claim);
    bench.grant(&claim);
    let held: Vec<_> = bench.sent.answers.drain(..).map(|(_, answer)| answer.unwrap()).collect();
    bench.give_back("r2", &held[1]);
    bench.pass(Duration::from_millis(1));
    bench.give_back("r1", &held[0]);
    assert_eq!(bench.ask_warm(&f, "r3").slot, held[0].slot);
    assert_eq!(bench.ask_warm(&f, "r4").slot, held[1].slot);
    bench.nothing_else_was_sent();
}

#[test]
fn slots_of_another_revision_are_never_taken() {
    let mut bench = Bench::new();
    bench.warm_up(&function("f"), "r0");
    let newer = crate::fixture::revision("f", "2", 128);
    bench.ask_and_wait(&newer, "r1");
    bench.turn();
    assert_eq!(bench.claim().function, newer);
    bench.nothing_else_was_sent();
}

#[test]
fn asking_again_with_the_same_id_gives_the_same_slot() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    let first = bench.ask_warm(&f, "r1");
    assert_eq!(bench.ask_warm(&f, "r1"), first);
    assert_eq!(bench.router.in_flight(), 1);
    assert!(bench.ask(&function("g"), "r1").is_err(), "the id of a running call was taken for another function's");
    bench.nothing_else_was_sent();
}

#[test]
fn asking_again_after_the_lease_ran_out_gives_another_slot() {
    let (mut bench, mut slow) = (Bench::new(), hearth_domain::FunctionSpec::clone(&function("slow")));
    slow.timeout = hearth_domain::Timeout::new(900).unwrap();
    let slow = std::sync::Arc::new(slow);
    let slot = bench.warm_up(&slow, "r0");
    let first = bench.ask_warm(&slow, "r1");
    bench.pass(TERMS.stop_using_after());
    bench.sent.renewals.clear();
    let waiter = bench.ask_and_wait(&slow, "r1");
    bench.turn();
    assert_eq!(bench.released(), [slot]);
    let claim = bench.claim();
    bench.grant(&claim);
    assert_ne!(bench.answer(waiter).unwrap().slot, slot);
    assert!(!bench.complete("r1", &first, SlotOutcome::Reusable));
    assert_eq!(bench.router.in_flight(), 1);
    bench.nothing_else_was_sent();
}

#[test]
fn asking_again_while_waiting_takes_over_the_place() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let lost = bench.ask_and_wait(&f, "r1");
    let second = bench.ask_and_wait(&f, "r2");
    let again = bench.ask_and_wait(&f, "r1");
    let Err(ReserveError::Unreachable(told)) = bench.answer(lost) else { panic!("the earlier asking got a slot") };
    assert!(!told.not_sent, "the two would take over from each other for ever");
    bench.router.on_cancel(bench.now, lost);
    bench.turn();
    let claim = bench.claim();
    assert_eq!(claim.count, 2);
    bench.grant(&claim);
    assert!(bench.answer(again).is_ok());
    bench.grant(&claim);
    assert!(bench.answer(second).is_ok());
    bench.nothing_else_was_sent();
}

#[test]
fn a_completion_that_arrives_twice_ends_nobody_elses_reservation() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    let first = bench.ask_warm(&f, "r1");
    bench.give_back("r1", &first);
    let second = bench.ask_warm(&f, "r2");
    assert_eq!(first.token, second.token);
    assert!(!bench.complete("r1", &first, SlotOutcome::Reusable));
    assert_eq!(bench.router.counts(&f.function).busy, 1);
    bench.nothing_else_was_sent();
}

#[test]
fn a_slot_that_is_gone_is_released_and_its_successor_claimed() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    let reservation = bench.ask_warm(&f, "r1");
    bench.ask_and_wait(&f, "r2");
    bench.turn();
    bench.claim();
    assert!(bench.complete("r1", &reservation, SlotOutcome::Gone));
    bench.turn();
    assert_eq!(bench.released(), [slot]);
    assert_eq!(bench.router.counts(&f.function).claiming, 1, "the waiter's claim is still under way");
    bench.nothing_else_was_sent();
}

#[test]
fn an_abandoned_reservation_ends_at_its_bound_and_is_not_reused() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    let reservation = bench.ask_warm(&f, "r1");
    let bound = Duration::from_secs(3) + RouterConfig::default().reservation_margin;
    bench.pass_renewing(bound - Duration::from_millis(1));
    assert_eq!(bench.router.in_flight(), 1);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.router.in_flight(), 0);
    assert_eq!(bench.released(), [slot]);
    assert!(!bench.complete("r1", &reservation, SlotOutcome::Reusable));
    bench.nothing_else_was_sent();
}

#[test]
fn a_call_that_gave_up_leaves_its_place_to_the_next() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let (first, second) = (bench.ask_and_wait(&f, "r1"), bench.ask_and_wait(&f, "r2"));
    bench.router.on_cancel(bench.now, first);
    bench.turn();
    let claim = bench.claim();
    assert_eq!(claim.count, 1);
    bench.grant(&claim);
    assert!(bench.answer(second).is_ok());
    bench.nothing_else_was_sent();
}

#[test]
fn waiting_and_running_calls_count_as_concurrency() {
    let config = RouterConfig { account_concurrency: 2, ..RouterConfig::default() };
    let (mut bench, f, g) = (Bench::with(config), function("f"), function("g"));
    bench.warm_up(&f, "r0");
    let running = bench.ask_warm(&f, "r1");
    bench.ask_and_wait(&g, "r2");
    let account = f.function.account.clone();
    let refused = Err(ReserveError::ConcurrencyLimit { account: account.clone(), limit: 2 });
    assert_eq!(bench.ask(&f, "r3"), refused);
    assert_eq!(bench.router.concurrency(&account), 2);
    assert!(matches!(bench.ask(&f, "r1"), Ok(Reserved::Now(_))), "asking again is no new call");
    bench.give_back("r1", &running);
    assert!(bench.ask(&f, "r3").is_ok());
    bench.claim();
    bench.nothing_else_was_sent();
}

#[test]
fn the_queue_of_waiters_is_bounded() {
    let config = RouterConfig { max_waiters: 2, ..RouterConfig::default() };
    let (mut bench, f) = (Bench::with(config), function("f"));
    let first = bench.ask_and_wait(&f, "r1");
    bench.ask_and_wait(&f, "r2");
    assert_eq!(bench.ask(&f, "r3"), Err(ReserveError::QueueFull { waiting: 2 }));
    assert_eq!(bench.ask(&function("g"), "r4"), Err(ReserveError::QueueFull { waiting: 2 }));
    bench.router.on_cancel(bench.now, first);
    bench.ask_and_wait(&f, "r5");
    assert_eq!(bench.router.in_flight(), 2);
}
