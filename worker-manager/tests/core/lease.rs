//! Leases on the holder's side: renewed early, never used late.

use std::time::Duration;

use hearth_domain::{FencingToken, SlotId, SlotOutcome};
use hearth_protocol::placement::ClaimOutcome;
use hearth_worker_manager::router::RouterConfig;

use crate::fixture::{Bench, TERMS, function, worker};

#[test]
fn a_renewal_leaves_at_the_renew_deadline_and_counts_from_then() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    let granted_at = bench.now;
    bench.pass(TERMS.renew_after());
    let renewal = bench.renewal();
    assert_eq!((renewal.sent_at, renewal.leases[0].0), (granted_at + TERMS.renew_after(), slot));
    bench.pass(Duration::from_millis(300));
    bench.renewed(&renewal, vec![Some(TERMS)], 0);
    let held = bench.router.held_slots(bench.now);
    assert_eq!(held[0].lease.usable_for, TERMS.stop_using_after() - Duration::from_millis(300));
    bench.nothing_else_was_sent();
}

#[test]
fn leases_that_are_due_at_about_the_same_time_share_a_message() {
    let (mut bench, f, g) = (Bench::new(), function("f"), function("g"));
    bench.warm_up(&f, "r1");
    bench.pass(Duration::from_millis(400));
    bench.warm_up(&g, "r2");
    bench.pass(Duration::from_millis(200));
    bench.warm_up(&function("h"), "r3");
    bench.pass(TERMS.renew_after() - Duration::from_millis(600));
    let first_two = bench.renewal();
    assert_eq!(first_two.leases.len(), 2);
    bench.renewed(&first_two, vec![Some(TERMS); 2], 0);
    bench.pass(Duration::from_millis(600));
    assert_eq!(bench.renewal().leases.len(), 1);
    bench.nothing_else_was_sent();
}

#[test]
fn a_renewal_message_is_bounded() {
    let config = RouterConfig { max_renew_count: 2, ..RouterConfig::default() };
    let (mut bench, f) = (Bench::with(config), function("f"));
    for request in ["r1", "r2", "r3"] {
        bench.ask_and_wait(&f, request);
    }
    bench.turn();
    let claim = bench.claim();
    for _ in 0..3 {
        bench.grant(&claim);
    }
    bench.sent.answers.clear();
    bench.pass(TERMS.renew_after());
    let sizes: Vec<_> = bench.sent.renewals.drain(..).map(|renewal| renewal.leases.len()).collect();
    assert_eq!(sizes, [2, 1]);
    bench.nothing_else_was_sent();
}

#[test]
fn a_lost_renewal_is_sent_again() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    bench.pass(TERMS.renew_after());
    let lost = bench.renewal();
    bench.pass(Duration::from_millis(999));
    bench.nothing_else_was_sent();
    bench.pass(Duration::from_millis(1));
    let again = bench.renewal();
    assert_eq!(again.leases, lost.leases);
    bench.renewed(&again, vec![Some(TERMS)], 0);
    // The lost answer was only late, and comes twice.
    bench.renewed(&lost, vec![Some(TERMS)], 0);
    bench.renewed(&lost, vec![Some(TERMS)], 0);
    let held = bench.router.held_slots(bench.now);
    assert_eq!(held[0].lease.usable_for, TERMS.stop_using_after(), "a late answer moved the lease back");
    bench.nothing_else_was_sent();
}

#[test]
fn a_slot_is_not_handed_out_when_its_lease_has_run_out() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    bench.pass(TERMS.stop_using_after());
    bench.sent.renewals.clear();
    let waiter = bench.ask_and_wait(&f, "r1");
    assert_eq!(bench.router.counts(&f.function).refreshing, 1);
    bench.turn();
    assert!(bench.sent.claims.is_empty(), "a slot that only needs a renewal was claimed anew");
    bench.pass(Duration::from_secs(1));
    let renewal = bench.renewal();
    bench.renewed(&renewal, vec![Some(TERMS)], 0);
    assert_eq!(bench.answer(waiter).unwrap().slot, slot);
    bench.nothing_else_was_sent();
}

#[test]
fn a_slot_is_handed_out_until_the_last_moment_of_its_lease() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    bench.pass(TERMS.stop_using_after() - Duration::from_nanos(1));
    assert_eq!(bench.ask_warm(&f, "r1").slot, slot);
}

#[test]
fn a_slot_nobody_renews_is_given_up_and_those_who_wait_for_it_get_another() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    bench.pass(TERMS.stop_using_after());
    let waiter = bench.ask_and_wait(&f, "r1");
    bench.pass(TERMS.gone_after() - TERMS.stop_using_after());
    assert_eq!(bench.released(), [slot]);
    bench.sent.renewals.clear();
    let claim = bench.claim();
    bench.grant(&claim);
    assert!(bench.answer(waiter).is_ok());
    bench.nothing_else_was_sent();
}

#[test]
fn a_lease_that_is_not_ours_any_more_ends_the_idle_slot_at_once() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    bench.pass(TERMS.renew_after());
    let renewal = bench.renewal();
    bench.renewed(&renewal, vec![None], 0);
    assert!(bench.router.held_slots(bench.now).is_empty());
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    bench.claim();
    bench.nothing_else_was_sent();
}

#[test]
fn a_busy_slot_whose_lease_is_not_ours_any_more_is_not_used_again() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    let reservation = bench.ask_warm(&f, "r1");
    bench.pass(TERMS.renew_after());
    let renewal = bench.renewal();
    bench.renewed(&renewal, vec![None], 0);
    assert_eq!(bench.router.in_flight(), 1, "the call may still run");
    bench.pass(Duration::from_secs(2));
    assert!(bench.complete("r1", &reservation, SlotOutcome::Reusable));
    bench.turn();
    assert!(bench.router.held_slots(bench.now).is_empty());
    bench.nothing_else_was_sent();
}

#[test]
fn a_busy_slot_whose_lease_ran_out_is_renewed_before_it_is_used_again() {
    let (mut bench, f) = (Bench::new(), slow_function());
    let slot = bench.warm_up(&f, "r0");
    let reservation = bench.ask_warm(&f, "r1");
    bench.pass(TERMS.stop_using_after());
    bench.give_back("r1", &reservation);
    let counts = bench.router.counts(&f.function);
    assert_eq!((counts.idle, counts.refreshing), (0, 1));
    bench.pass(Duration::from_secs(1));
    bench.renew_all();
    assert_eq!(bench.ask_warm(&f, "r2").slot, slot);
    bench.nothing_else_was_sent();
}

#[test]
fn a_busy_slot_that_nobody_renewed_until_it_was_gone_is_given_up() {
    let (mut bench, f) = (Bench::new(), slow_function());
    let slot = bench.warm_up(&f, "r0");
    let reservation = bench.ask_warm(&f, "r1");
    bench.pass(TERMS.gone_after());
    assert_eq!(bench.router.in_flight(), 1, "the call may still run");
    bench.give_back("r1", &reservation);
    assert!(bench.router.held_slots(bench.now).is_empty());
    assert_eq!(bench.released(), [slot]);
}

#[test]
fn after_a_slow_init_the_slot_is_renewed_before_its_first_use() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let waiter = bench.ask_and_wait(&f, "r1");
    bench.turn();
    let claim = bench.claim();
    bench.pass(Duration::from_millis(9_999));
    bench.router.on_cancel(bench.now, waiter);
    let waiter = bench.ask_and_wait(&f, "r2");
    bench.pass(Duration::from_millis(4_500));
    let grant = bench.grant(&claim);
    assert!(bench.sent.answers.is_empty(), "used with {:?} left", Duration::from_millis(501));
    let renewal = bench.renewal();
    assert_eq!((renewal.sent_at, &renewal.leases[..]), (bench.now, &[(grant.slot, grant.token)][..]));
    bench.renewed(&renewal, vec![Some(TERMS)], 0);
    assert_eq!(bench.answer(waiter).unwrap().slot, grant.slot);
    bench.nothing_else_was_sent();
}

#[test]
fn a_grant_for_another_function_than_was_asked_for_is_given_back() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    let claim = bench.claim();
    let wrong = bench.new_grant(&function("g").function);
    bench.outcome(claim.number, ClaimOutcome::Granted(wrong.clone()));
    bench.turn();
    assert_eq!(bench.released(), [wrong.slot]);
    assert_eq!(bench.claim().count, 1);
    bench.nothing_else_was_sent();
}

#[test]
fn answers_about_unknown_slots_and_tokens_change_nothing() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up(&f, "r0");
    bench.pass(TERMS.renew_after());
    let mut renewal = bench.renewal();
    renewal.leases[0].1 = FencingToken(1);
    renewal.leases.push((SlotId(4_711), FencingToken(1)));
    bench.renewed(&renewal, vec![None, None], 0);
    bench.renewed(&renewal, vec![Some(TERMS); 5], 0);
    let held = bench.router.held_slots(bench.now);
    assert_eq!((held.len(), &held[0].worker), (1, &worker(1).id));
    assert_eq!(held[0].lease.usable_for, TERMS.stop_using_after() - TERMS.renew_after());
    bench.nothing_else_was_sent();
}

/// A function whose calls may run longer than any lease lasts.
fn slow_function() -> std::sync::Arc<hearth_domain::FunctionSpec> {
    let mut slow = hearth_domain::FunctionSpec::clone(&function("slow"));
    slow.timeout = hearth_domain::Timeout::new(900).unwrap();
    std::sync::Arc::new(slow)
}
