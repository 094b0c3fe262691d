//! Revisions come and go, and so does the manager itself.

use std::time::Duration;

use hearth_domain::{FunctionRef, RevisionId, SlotOutcome, Version};
use hearth_protocol::worker_manager::{ReserveError, RetireRequest};
use hearth_worker_manager::router::RouterConfig;

use crate::fixture::{Bench, function, revision};

fn retire(function: &FunctionRef, version: Option<Version>, keep: Option<&str>) -> RetireRequest {
    let (account, name) = (function.account.clone(), function.name.clone());
    RetireRequest { account, name, version, keep: keep.map(|keep| RevisionId::new(keep).unwrap()) }
}

#[test]
fn old_revisions_end_and_the_current_one_stays() {
    let (mut bench, old, new) = (Bench::new(), revision("f", "1", 128), revision("f", "2", 128));
    let old_slot = bench.warm_up(&old, "r1");
    let new_slot = bench.warm_up(&new, "r2");
    let other = bench.warm_up(&function("g"), "r3");
    bench.router.on_retire(bench.now, &retire(&old.function, Some(Version::Latest), Some("2")));
    bench.turn();
    assert_eq!(bench.released(), [old_slot]);
    let held: Vec<_> = bench.router.held_slots(bench.now).iter().map(|slot| slot.lease.slot).collect();
    assert_eq!(held, [new_slot, other]);
    bench.nothing_else_was_sent();
}

/// So that credentials, which environments have from their start, end after them.
#[test]
fn an_old_environment_ends_with_the_call_it_runs() {
    let environment_life = Duration::from_secs(60);
    let (mut bench, f) = (Bench::with(RouterConfig { environment_life, ..RouterConfig::default() }), function("f"));
    let slot = bench.warm_up(&f, "r1");
    bench.pass_renewing(Duration::from_secs(30));
    let running = bench.ask_warm(&f, "r2");
    bench.give_back("r2", &running);
    bench.pass_renewing(Duration::from_secs(30));
    let running = bench.ask_warm(&f, "r3");
    bench.give_back("r3", &running);
    assert_eq!(bench.released(), [slot]);
    bench.nothing_else_was_sent();
}

#[test]
fn a_deleted_function_ends_in_all_versions() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let mut published = hearth_domain::FunctionSpec::clone(&f);
    published.function.version = Version::Number(1);
    let latest = bench.warm_up(&f, "r1");
    let numbered = bench.warm_up(&std::sync::Arc::new(published), "r2");
    bench.router.on_retire(bench.now, &retire(&f.function, Some(Version::Number(7)), None));
    bench.turn();
    bench.nothing_else_was_sent();
    bench.router.on_retire(bench.now, &retire(&f.function, None, None));
    bench.turn();
    let mut released = bench.released();
    released.sort_unstable();
    assert_eq!(released, [latest, numbered]);
    bench.nothing_else_was_sent();
}

#[test]
fn running_and_waiting_calls_of_a_retired_revision_are_served() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    let running = bench.ask_warm(&f, "r1");
    let waiter = bench.ask_and_wait(&f, "r2");
    bench.turn();
    let claim = bench.claim();
    bench.router.on_retire(bench.now, &retire(&f.function, None, None));
    bench.give_back("r1", &running);
    let served = bench.answer(waiter).unwrap();
    assert_eq!(served.slot, slot);
    bench.nothing_else_was_sent();
    bench.give_back("r2", &served);
    assert_eq!(bench.released(), [slot]);
    let surplus = bench.grant(&claim);
    assert_eq!(bench.released(), [surplus.slot]);
    bench.nothing_else_was_sent();
}

#[test]
fn recovered_slots_are_used_and_renewed() {
    let (mut bench, f) = (Bench::before_recovery(RouterConfig::default()), function("f"));
    let waiter = bench.ask_and_wait(&f, "r1");
    bench.turn();
    assert!(bench.sent.claims.is_empty(), "claimed before it was known what is held");
    let grants = vec![bench.new_grant(&f.function), bench.new_grant(&f.function)];
    bench.recovered(grants.clone());
    assert_eq!(bench.answer(waiter).unwrap().slot, grants[0].slot);
    assert_eq!(bench.ask_warm(&f, "r2").slot, grants[1].slot);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.renewal().leases.len(), 2);
    bench.nothing_else_was_sent();
}

#[test]
fn a_second_answer_to_recovery_changes_nothing() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let late = bench.new_grant(&f.function);
    bench.recovered(vec![late]);
    assert!(bench.router.held_slots(bench.now).is_empty());
    bench.nothing_else_was_sent();
}

#[test]
fn who_waits_is_claimed_for_as_soon_as_nothing_was_recovered() {
    let (mut bench, f) = (Bench::before_recovery(RouterConfig::default()), function("f"));
    bench.ask_and_wait(&f, "r1");
    bench.turn();
    bench.pass(Duration::from_secs(2));
    bench.recovered(Vec::new());
    assert_eq!(bench.claim().count, 1);
    bench.nothing_else_was_sent();
}

#[test]
fn draining_takes_no_calls_and_releases_what_gets_free() {
    let (mut bench, f, g) = (Bench::new(), function("f"), function("g"));
    let idle = bench.warm_up(&f, "r0");
    let busy_slot = bench.warm_up(&g, "r1");
    let busy = bench.ask_warm(&g, "r2");
    let waiter = bench.ask_and_wait(&g, "r3");
    bench.turn();
    let claim = bench.claim();
    bench.router.on_drain(bench.now);
    bench.turn();
    assert_eq!(bench.released(), [idle]);
    assert!(matches!(bench.ask(&f, "r4"), Err(ReserveError::Unreachable(_))));
    let granted = bench.grant(&claim);
    let served = bench.answer(waiter).unwrap();
    assert_eq!(served.slot, granted.slot);
    bench.give_back("r2", &busy);
    assert!(bench.complete("r3", &served, SlotOutcome::Reusable));
    bench.turn();
    assert_eq!(bench.released(), [busy_slot, granted.slot]);
    assert_eq!(bench.router.in_flight(), 0);
    bench.nothing_else_was_sent();
}

#[test]
fn stopping_answers_who_waits_and_leaves_busy_slots_to_their_calls() {
    let (mut bench, f, g) = (Bench::new(), function("f"), function("g"));
    bench.warm_up(&f, "r0");
    bench.ask_warm(&f, "r1");
    let waiter = bench.ask_and_wait(&g, "r2");
    bench.router.on_stop(bench.now, &mut bench.sent);
    bench.turn();
    assert!(matches!(bench.answer(waiter), Err(ReserveError::Unreachable(_))));
    bench.nothing_else_was_sent();
}
