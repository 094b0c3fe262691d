//! From nothing to a slot, one and many at a time.

use std::time::Duration;

use hearth_domain::{SlotOutcome, StartTimes};
use hearth_protocol::placement::ClaimOutcome;
use hearth_protocol::worker_manager::ReserveError;
use hearth_worker_manager::router::RouterConfig;

use crate::fixture::{Bench, WAIT, function, init_failure};

#[test]
fn a_cold_call_claims_one_slot_and_gets_it() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let waiter = bench.ask_and_wait(&f, "r1");
    assert!(bench.sent.claims.is_empty(), "claims leave at the end of the turn");
    bench.turn();
    let claim = bench.claim();
    assert_eq!((claim.count, &claim.function), (1, &f));
    let grant = bench.grant(&claim);
    let reservation = bench.answer(waiter).unwrap();
    assert_eq!((reservation.slot, reservation.token), (grant.slot, grant.token));
    bench.nothing_else_was_sent();
}

#[test]
fn a_call_is_told_of_the_start_that_it_waited_for_and_of_no_other() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let (first, second) = (bench.ask_and_wait(&f, "r1"), bench.ask_and_wait(&f, "r2"));
    bench.turn();
    let claim = bench.claim();
    bench.pass(Duration::from_millis(30));
    let late = bench.ask_and_wait(&f, "r3");
    bench.pass(Duration::from_millis(10));
    let init = Duration::from_millis(25);
    bench.start_times = Some(StartTimes { init, ..StartTimes::default() });
    let mut told = |waiter| {
        bench.grant(&claim);
        bench.answer(waiter).unwrap()
    };
    let warm = told(first);
    let start = warm.start.as_deref().unwrap();
    assert_eq!((start.awaited, start.times.init), (Duration::from_millis(40), init));
    told(second);
    let another = bench.sent.claims.pop_front().unwrap();
    bench.give_back("r1", &warm);
    assert_eq!(bench.answer(late).unwrap().start, None, "it got a slot that another had used");
    bench.grant(&another);
    assert_eq!(bench.ask_warm(&f, "r4").start, None, "nobody waited for a slot that was found idle");
}

#[test]
fn of_a_start_that_was_under_way_counts_what_the_call_waited_for() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let first = bench.ask_and_wait(&f, "r1");
    bench.turn();
    let claim = bench.claim();
    bench.pass(Duration::from_millis(30));
    let late = bench.ask_and_wait(&f, "r2");
    bench.router.on_cancel(bench.now, first);
    bench.pass(Duration::from_millis(10));
    bench.start_times = Some(StartTimes { init: Duration::from_millis(35), ..StartTimes::default() });
    bench.grant(&claim);
    let start = *bench.answer(late).unwrap().start.unwrap();
    assert_eq!((start.awaited, start.times.init), (Duration::from_millis(10), Duration::from_millis(35)));
}

#[test]
fn calls_of_one_turn_share_one_claim_and_are_served_in_order() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let waiters: Vec<_> = (0..20).map(|n| bench.ask_and_wait(&f, &format!("r{n}"))).collect();
    bench.turn();
    let claim = bench.claim();
    assert_eq!(claim.count, 20);
    for waiter in waiters {
        let grant = bench.grant(&claim);
        assert_eq!(bench.answer(waiter).unwrap().slot, grant.slot);
    }
    bench.nothing_else_was_sent();
}

#[test]
fn a_later_call_claims_only_for_itself() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    assert_eq!(bench.claim().count, 1);
    bench.ask_and_wait(&f, "r2");
    bench.ask_and_wait(&f, "r3");
    bench.turn();
    assert_eq!(bench.claim().count, 2);
    bench.nothing_else_was_sent();
}

#[test]
fn large_demand_is_claimed_in_bounded_parts() {
    let config = RouterConfig { max_claim_count: 8, ..RouterConfig::default() };
    let (mut bench, f) = (Bench::with(config), function("f"));
    for n in 0..20 {
        bench.ask_and_wait(&f, &format!("r{n}"));
    }
    bench.turn();
    let counts: Vec<_> = bench.sent.claims.drain(..).map(|claim| claim.count).collect();
    assert_eq!(counts, [8, 8, 4]);
    bench.nothing_else_was_sent();
}

#[test]
fn a_slot_that_gets_free_first_serves_the_head_and_the_surplus_turns_idle() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    let warm = bench.ask_warm(&f, "r1");
    let second = bench.ask_and_wait(&f, "r2");
    let third = bench.ask_and_wait(&f, "r3");
    bench.turn();
    let claim = bench.claim();
    bench.give_back("r1", &warm);
    assert_eq!(bench.answer(second).unwrap().slot, warm.slot);
    let grant = bench.grant(&claim);
    assert_eq!(bench.answer(third).unwrap().slot, grant.slot);
    let surplus = bench.grant(&claim);
    assert_eq!(bench.router.counts(&f.function).idle, 1);
    assert_eq!(bench.ask_warm(&f, "r4").slot, surplus.slot);
    bench.nothing_else_was_sent();
}

#[test]
fn surplus_claims_are_counted_before_claiming_more() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let first = bench.ask_and_wait(&f, "r1");
    bench.turn();
    bench.claim();
    bench.router.on_cancel(bench.now, first);
    bench.ask_and_wait(&f, "r2");
    bench.turn();
    bench.nothing_else_was_sent();
}

#[test]
fn a_failed_init_is_the_answer_of_the_head_alone() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let (first, second) = (bench.ask_and_wait(&f, "r1"), bench.ask_and_wait(&f, "r2"));
    bench.turn();
    let claim = bench.claim();
    bench.outcome(claim.number, ClaimOutcome::InitFailed(init_failure()));
    bench.turn();
    assert_eq!(bench.answer(first), Err(ReserveError::InitFailed(init_failure())));
    bench.grant(&claim);
    assert!(bench.answer(second).is_ok());
    bench.nothing_else_was_sent();
}

#[test]
fn a_failed_init_that_nobody_waits_for_is_nobodys_answer() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let waiter = bench.ask_and_wait(&f, "r1");
    bench.turn();
    let claim = bench.claim();
    bench.router.on_cancel(bench.now, waiter);
    bench.outcome(claim.number, ClaimOutcome::InitFailed(init_failure()));
    bench.turn();
    assert_eq!(bench.router.in_flight(), 0);
    let stats = bench.router.stats();
    assert_eq!((stats.inits_failed, stats.init_failed), (1, 0));
    bench.nothing_else_was_sent();
}

#[test]
fn a_wait_ends_with_placements_last_reason() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let waiter = bench.ask_and_wait(&f, "r1");
    bench.turn();
    let claim = bench.claim();
    bench.no_capacity(&claim);
    bench.pass(WAIT);
    let expected = ReserveError::NoCapacity { waited: WAIT, reason: "the fleet is full".into() };
    assert_eq!(bench.answer(waiter), Err(expected));
    assert_eq!(bench.router.in_flight(), 0);
}

#[test]
fn a_cut_claim_is_claimed_again_and_its_late_slot_given_back() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let waiter = bench.ask_and_wait(&f, "r1");
    bench.turn();
    let cut = bench.claim();
    bench.router.on_claim_cut(bench.now, cut.number, "the stream broke");
    bench.turn();
    assert!(bench.sent.claims.is_empty(), "claimed again without a back-off");
    bench.pass(Duration::from_millis(50));
    let again = bench.claim();
    assert_ne!(again.number, cut.number);
    let late = bench.grant(&cut);
    assert_eq!(bench.released(), [late.slot]);
    let grant = bench.grant(&again);
    assert_eq!(bench.answer(waiter).unwrap().slot, grant.slot);
    bench.nothing_else_was_sent();
}

#[test]
fn an_outcome_that_arrives_twice_counts_once() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let (first, second) = (bench.ask_and_wait(&f, "r1"), bench.ask_and_wait(&f, "r2"));
    bench.turn();
    let claim = bench.claim();
    let grant = bench.grant(&claim);
    let reservation = bench.answer(first).unwrap();
    bench.outcome(claim.number, ClaimOutcome::Granted(grant.clone()));
    bench.nothing_else_was_sent();
    assert!(bench.complete("r1", &reservation, SlotOutcome::Gone));
    bench.turn();
    assert_eq!(bench.released(), [grant.slot]);
    bench.outcome(claim.number, ClaimOutcome::Granted(grant));
    assert_eq!(bench.router.counts(&f.function).waiting, 1, "a slot that was given back served a call");
    bench.grant(&claim);
    assert!(bench.answer(second).is_ok());
    bench.nothing_else_was_sent();
}

#[test]
fn a_claim_that_is_never_answered_ends_at_its_bound() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    bench.claim();
    bench.pass(Duration::from_secs(20 + 3 + 30));
    assert_eq!(bench.router.counts(&f.function).claiming, 0);
    assert_eq!(bench.router.stats().claims_cut, 1);
    assert_eq!(bench.sent.answers.len(), 1);
}
