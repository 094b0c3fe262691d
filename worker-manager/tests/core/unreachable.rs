//! Workers that calls can't reach.

use std::time::Duration;

use hearth_domain::SlotOutcome::{Gone, Reusable, Unreachable};

use crate::fixture::{Bench, TERMS, WAIT, function, worker};

#[test]
fn one_call_that_could_not_reach_a_worker_gives_up_all_its_idle_slots() {
    let (mut bench, f, g) = (Bench::new(), function("f"), function("g"));
    let living = bench.warm_up(&f, "r0");
    bench.granted_on = worker(2);
    bench.pass(Duration::from_millis(1));
    let held = bench.ask_warm(&f, "r-living");
    let mut dead = bench.warm_up_many(&f, 50);
    dead.push(bench.warm_up(&g, "r1"));
    bench.give_back("r-living", &held);
    bench.pass(Duration::from_millis(1));
    let first = bench.ask_warm(&f, "r2");
    assert_eq!(first.slot, living);
    let second = bench.ask_warm(&f, "r3");
    assert!(bench.complete("r3", &second, Unreachable));
    bench.turn();
    let mut released = bench.released();
    released.sort_unstable();
    assert_eq!(released, dead);
    assert_eq!((bench.router.counts(&f.function).idle, bench.router.counts(&g.function).idle), (0, 0));
    assert_eq!(bench.router.stats().given_up, 50);
    // The next try is served by what is there, not by the dead worker.
    let again = bench.ask_and_wait(&f, "r3");
    bench.give_back("r2", &first);
    assert_eq!(bench.answer(again).unwrap().slot, living);
    bench.nothing_else_was_sent();
}

#[test]
fn slots_that_wait_for_a_renewal_go_too_and_are_claimed_anew_for_who_waits() {
    let (mut bench, f, g) = (Bench::new(), function("f"), function("g"));
    let stale = bench.warm_up(&f, "r0");
    bench.pass(TERMS.stop_using_after());
    bench.sent.renewals.clear();
    let fresh = bench.warm_up(&g, "r1");
    let waiter = bench.ask_and_wait(&f, "r2");
    assert_eq!(bench.router.counts(&f.function).refreshing, 1);
    let reservation = bench.ask_warm(&g, "r3");
    assert!(bench.complete("r3", &reservation, Unreachable));
    bench.turn();
    bench.sent.renewals.clear();
    let mut released = bench.released();
    released.sort_unstable();
    assert_eq!(released, [stale, fresh]);
    let claim = bench.claim();
    bench.granted_on = worker(2);
    bench.grant(&claim);
    assert_eq!(bench.answer(waiter).unwrap().worker, worker(2));
    bench.nothing_else_was_sent();
}

#[test]
fn news_that_arrive_late_give_up_nothing_that_answered_since() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up_many(&f, 3);
    bench.pass(Duration::from_millis(1));
    let slow = bench.ask_warm(&f, "r1");
    let runs = bench.ask_warm(&f, "r2");
    bench.pass(Duration::from_secs(1));
    // It answers for one of its slots, and makes a new one, while the failed call's news are under way.
    assert!(bench.complete("r2", &runs, Reusable));
    let newer = bench.ask_warm(&f, "r3");
    assert_eq!(newer.slot, runs.slot);
    let doubtful = bench.ask_warm(&f, "r4");
    let waiter = bench.ask_and_wait(&f, "r5");
    bench.turn();
    let claim = bench.claim();
    let granted = bench.grant(&claim);
    let fresh = bench.answer(waiter).unwrap();
    bench.give_back("r5", &fresh);
    assert!(bench.complete("r1", &slow, Unreachable));
    bench.turn();
    assert_eq!(bench.released(), [slow.slot], "what runs is left to its call, what answered since stays");
    assert_eq!(bench.ask_warm(&f, "r6").slot, granted.slot);
    assert!(bench.complete("r3", &newer, Reusable) && bench.complete("r4", &doubtful, Gone));
    assert_eq!(bench.ask_warm(&f, "r7").slot, newer.slot);
    bench.turn();
    assert_eq!(bench.released(), [doubtful.slot]);
    bench.nothing_else_was_sent();
}

#[test]
fn a_worker_that_died_under_many_calls_at_a_time_is_left_at_once() {
    let (mut bench, f) = (Bench::new(), function("f"));
    bench.warm_up_many(&f, 50);
    let calls: Vec<_> = (0..50).map(|n| format!("r{n}")).collect();
    let held: Vec<_> = calls.iter().map(|call| bench.ask_warm(&f, call)).collect();
    for (call, reservation) in calls.iter().zip(&held) {
        assert!(bench.complete(call, reservation, Unreachable));
        // Nothing of that worker is left, so it waits.
        bench.ask_and_wait(&f, call);
    }
    bench.turn();
    assert_eq!(bench.released().len(), 50);
    let claim = bench.claim();
    assert_eq!(claim.count, 50);
    bench.granted_on = worker(2);
    (0..50).for_each(|_| drop(bench.grant(&claim)));
    let workers = bench.sent.answers.drain(..).map(|(_, answer)| answer.unwrap().worker);
    assert!(workers.eq(std::iter::repeat_n(worker(2), 50)));
    bench.pass(WAIT / 10);
    bench.nothing_else_was_sent();
}
