//! Slots that are kept ready.

use std::time::Duration;

use hearth_domain::{FunctionSpec, SlotOutcome};
use hearth_protocol::placement::ClaimOutcome;
use hearth_protocol::worker_manager::{Provision, ProvisionTarget, Provisioned};
use hearth_worker_manager::router::{Claim, RouterConfig};

use crate::fixture::{Bench, TERMS, function, init_failure, revision};

/// Says that `count` slots of one function are to be kept ready, and how far that is.
fn provision(bench: &mut Bench, function: &FunctionSpec, count: u32) -> Provisioned {
    let targets =
        if count == 0 { Vec::new() } else { vec![ProvisionTarget { function: function.clone().into(), count }] };
    let report = bench.router.on_provision(bench.now, &Provision { targets });
    bench.router.check_invariants();
    bench.turn();
    let none = Provisioned { function: function.function.clone(), allocated: 0, available: 0, failure: None };
    report.functions.into_iter().next().unwrap_or(none)
}

fn grant_all(bench: &mut Bench, claim: &Claim) {
    (0..claim.count).for_each(|_| drop(bench.grant(claim)));
}

#[test]
fn they_are_made_before_anybody_calls_and_do_not_age_out() {
    let (mut bench, f) = (Bench::new(), function("f"));
    assert_eq!(provision(&mut bench, &f, 2).available, 0);
    let claim = bench.claim();
    assert_eq!((claim.count, claim.function.provisioned), (2, true));
    bench.grant(&claim);
    assert_eq!(provision(&mut bench, &f, 2).available, 1);
    bench.grant(&claim);
    bench.pass_renewing(Duration::from_secs(4 * 3_600));
    assert_eq!(provision(&mut bench, &f, 2).available, 2);
    bench.nothing_else_was_sent();
}

#[test]
fn calls_take_them_first_and_what_comes_on_top_ages_out() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let on_demand = bench.warm_up(&f, "r0");
    provision(&mut bench, &f, 1);
    let claim = bench.claim();
    let pinned = bench.grant(&claim).slot;
    let first = bench.ask_warm(&f, "r1");
    let second = bench.ask_warm(&f, "r2");
    assert_eq!((first.slot, second.slot), (pinned, on_demand));
    bench.give_back("r1", &first);
    bench.give_back("r2", &second);
    bench.pass_renewing(Duration::from_secs(2 * 3_600));
    assert_eq!(bench.released(), [on_demand]);
    assert_eq!(bench.ask_warm(&f, "r3").slot, pinned);
}

#[test]
fn one_that_is_lost_is_replaced() {
    let (mut bench, f) = (Bench::new(), function("f"));
    provision(&mut bench, &f, 1);
    let claim = bench.claim();
    let first = bench.grant(&claim).slot;
    let running = bench.ask_warm(&f, "r1");
    assert!(bench.complete("r1", &running, SlotOutcome::Gone));
    bench.turn();
    assert_eq!(bench.released(), [first]);
    let again = bench.claim();
    assert!(again.function.provisioned);
    bench.grant(&again);
    bench.pass(TERMS.renew_after());
    let renewal = bench.renewal();
    bench.renewed(&renewal, vec![None], 0);
    assert_eq!(bench.claim().count, 1);
}

#[test]
fn a_lower_target_ends_those_too_many_and_leaves_running_calls_alone() {
    let (mut bench, f) = (Bench::new(), function("f"));
    provision(&mut bench, &f, 3);
    let claim = bench.claim();
    grant_all(&mut bench, &claim);
    let running = bench.ask_warm(&f, "r1");
    provision(&mut bench, &f, 1);
    assert_eq!(bench.released().len(), 2);
    provision(&mut bench, &f, 0);
    bench.nothing_else_was_sent();
    bench.give_back("r1", &running);
    assert_eq!(bench.released(), [running.slot]);
    assert_eq!(bench.router.totals(), hearth_worker_manager::router::FunctionCounts::default());
}

#[test]
fn they_make_no_room_for_others() {
    let (mut bench, f) = (Bench::new(), function("f"));
    provision(&mut bench, &f, 1);
    let claim = bench.claim();
    bench.grant(&claim);
    bench.ask_and_wait(&revision("big", "1", 256), "r1");
    bench.turn();
    let claim = bench.claim();
    bench.no_capacity(&claim);
    assert!(bench.released().is_empty());
    assert_eq!(provision(&mut bench, &f, 1).available, 1);
}

#[test]
fn an_init_that_fails_is_told_and_tried_again_ever_later() {
    let (mut bench, f) = (Bench::new(), function("f"));
    provision(&mut bench, &f, 1);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let claim = bench.claim();
        bench.outcome(claim.number, ClaimOutcome::InitFailed(init_failure()));
        bench.turn();
        let failed_at = bench.now;
        while bench.sent.claims.is_empty() {
            let next = bench.router.next_deadline().unwrap();
            bench.pass(next.since(bench.now));
        }
        pauses.push(bench.now.since(failed_at).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    assert_eq!(provision(&mut bench, &f, 1).failure.as_deref(), Some("Runtime.ImportModuleError"));
    let claim = bench.claim();
    bench.grant(&claim);
    assert_eq!(provision(&mut bench, &f, 1).failure, None);
}

#[test]
fn a_waiter_is_served_by_whatever_comes_first() {
    let (mut bench, f) = (Bench::new(), function("f"));
    provision(&mut bench, &f, 1);
    let pinning = bench.claim();
    let waiter = bench.ask_and_wait(&f, "r1");
    bench.turn();
    let on_demand = bench.claim();
    assert!(!on_demand.function.provisioned);
    let pinned = bench.grant(&pinning).slot;
    assert_eq!(bench.answer(waiter).unwrap().slot, pinned);
    bench.grant(&on_demand);
    bench.nothing_else_was_sent();
}

#[test]
fn one_too_old_for_its_credentials_is_replaced() {
    let environment_life = Duration::from_secs(60);
    let (mut bench, f) = (Bench::with(RouterConfig { environment_life, ..RouterConfig::default() }), function("f"));
    provision(&mut bench, &f, 1);
    let claim = bench.claim();
    let first = bench.grant(&claim).slot;
    bench.pass_renewing(Duration::from_secs(59));
    assert!(bench.released().is_empty());
    bench.pass_renewing(Duration::from_secs(1));
    assert_eq!(bench.released(), [first]);
    assert!(bench.claim().function.provisioned);
}

#[test]
fn what_is_retired_or_drained_is_not_kept() {
    let (mut bench, f) = (Bench::new(), function("f"));
    provision(&mut bench, &f, 1);
    let claim = bench.claim();
    let slot = bench.grant(&claim).slot;
    bench.router.on_drain(bench.now);
    bench.turn();
    assert_eq!(bench.released(), [slot]);
    assert_eq!(provision(&mut bench, &f, 1).allocated, 0);
    bench.nothing_else_was_sent();
}
