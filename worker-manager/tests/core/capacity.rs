//! The fleet is full, or others need what is idle here.

use std::time::Duration;

use hearth_domain::SlotOutcome;
use hearth_protocol::placement::ClaimOutcome;
use hearth_worker_manager::router::RouterConfig;

use crate::fixture::{Bench, TERMS, function, revision};

const RETRY: Duration = Duration::from_millis(50);

#[test]
fn the_slots_idle_longest_make_room_for_a_function_that_was_refused() {
    let mut bench = Bench::new();
    let oldest = bench.warm_up(&function("a"), "r1");
    bench.pass(Duration::from_secs(1));
    let next = bench.warm_up(&function("b"), "r2");
    bench.pass(Duration::from_secs(1));
    bench.warm_up(&function("c"), "r3");
    let big = revision("big", "1", 256);
    let waiter = bench.ask_and_wait(&big, "r4");
    bench.turn();
    let claim = bench.claim();
    bench.no_capacity(&claim);
    assert_eq!(bench.released(), [oldest, next], "256 MB are two slots of 128 MB");
    bench.pass(RETRY);
    let again = bench.claim();
    bench.grant(&again);
    assert!(bench.answer(waiter).is_ok());
    bench.nothing_else_was_sent();
}

#[test]
fn while_a_call_waits_for_capacity_the_next_slot_that_gets_idle_makes_room() {
    let (mut bench, f, g) = (Bench::new(), function("f"), function("g"));
    let slot = bench.warm_up(&f, "r0");
    let busy = bench.ask_warm(&f, "r1");
    let waiter = bench.ask_and_wait(&g, "r2");
    bench.turn();
    let claim = bench.claim();
    bench.no_capacity(&claim);
    bench.pass(Duration::from_millis(10));
    assert!(bench.sent.releases.is_empty());
    bench.give_back("r1", &busy);
    assert_eq!(bench.released(), [slot]);
    bench.pass(RETRY);
    let again = bench.claim();
    bench.grant(&again);
    assert!(bench.answer(waiter).is_ok());
    bench.nothing_else_was_sent();
}

#[test]
fn nobody_makes_room_for_a_call_that_gave_up() {
    let (mut bench, f, g) = (Bench::new(), function("f"), function("g"));
    bench.warm_up(&f, "r0");
    let busy = bench.ask_warm(&f, "r1");
    let waiter = bench.ask_and_wait(&g, "r2");
    bench.turn();
    let claim = bench.claim();
    bench.no_capacity(&claim);
    bench.router.on_cancel(bench.now, waiter);
    bench.give_back("r1", &busy);
    assert_eq!(bench.router.counts(&f.function).idle, 1);
    bench.nothing_else_was_sent();
}

#[test]
fn a_refusal_that_room_would_not_help_takes_nobodys_slots() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    bench.ask_and_wait(&function("g"), "r1");
    bench.turn();
    let claim = bench.claim();
    let reason = "no worker offers the runtime".to_owned();
    bench.outcome(claim.number, ClaimOutcome::NoCapacity { reason, full: false });
    bench.turn();
    assert_eq!(bench.router.counts(&f.function).idle, 1);
    bench.nothing_else_was_sent();
}

#[test]
fn refusals_are_followed_by_ever_longer_pauses() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let claim = bench.claim();
        bench.no_capacity(&claim);
        let refused_at = bench.now;
        while bench.sent.claims.is_empty() {
            let next = bench.router.next_deadline().unwrap();
            bench.pass(next.since(bench.now));
        }
        pauses.push(bench.now.since(refused_at).as_millis());
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
}

#[test]
fn new_calls_do_not_break_the_pause() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    let claim = bench.claim();
    bench.no_capacity(&claim);
    bench.ask_and_wait(&f, "r2");
    bench.turn();
    bench.nothing_else_was_sent();
    bench.pass(RETRY);
    assert_eq!(bench.claim().count, 2);
    bench.nothing_else_was_sent();
}

#[test]
fn several_refusals_of_one_claim_are_one_failure() {
    let (mut bench, f) = (Bench::new(), function("f"));
    for request in ["r1", "r2", "r3"] {
        bench.ask_and_wait(&f, request);
    }
    bench.turn();
    let claim = bench.claim();
    for _ in 0..3 {
        bench.no_capacity(&claim);
    }
    bench.pass(RETRY);
    assert_eq!(bench.claim().count, 3);
    bench.nothing_else_was_sent();
}

#[test]
fn what_placement_asks_back_is_given_from_the_oldest_idle_slots() {
    let mut bench = Bench::new();
    let oldest = bench.warm_up(&revision("a", "1", 256), "r1");
    bench.pass(Duration::from_millis(10));
    let next = bench.warm_up(&function("b"), "r2");
    bench.pass(Duration::from_millis(10));
    bench.warm_up(&function("c"), "r3");
    bench.pass(TERMS.renew_after());
    let renewal = bench.renewal();
    bench.renewed(&renewal, vec![Some(TERMS); 3], 300);
    assert_eq!(bench.released(), [oldest, next]);
    bench.nothing_else_was_sent();
}

#[test]
fn asking_back_more_than_is_idle_leaves_busy_slots_alone() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    let busy = bench.ask_warm(&f, "r1");
    bench.pass(TERMS.renew_after());
    let renewal = bench.renewal();
    bench.renewed(&renewal, vec![Some(TERMS)], 100_000);
    assert!(bench.complete("r1", &busy, SlotOutcome::Reusable));
    bench.turn();
    assert_eq!(bench.router.counts(&f.function).idle, 1, "what was asked back once is not asked back for ever");
    bench.nothing_else_was_sent();
}

#[test]
fn the_pause_is_over_at_once_after_a_grant_and_a_new_refusal_starts_small() {
    let config = RouterConfig { claim_retry_max: Duration::from_millis(100), ..RouterConfig::default() };
    let (mut bench, f) = (Bench::with(config), function("f"));
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    for _ in 0..3 {
        let claim = bench.claim();
        bench.no_capacity(&claim);
        bench.pass(Duration::from_millis(100));
    }
    let claim = bench.claim();
    bench.grant(&claim);
    bench.ask_and_wait(&f, "r2");
    bench.turn();
    let claim = bench.claim();
    bench.no_capacity(&claim);
    bench.pass(RETRY);
    bench.claim();
}
