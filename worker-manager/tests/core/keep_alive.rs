//! How long idle slots stay.

use std::time::Duration;

use hearth_domain::timing::{KEEP_ALIVE_DEFAULT, KEEP_ALIVE_MIN};
use hearth_worker_manager::keep_alive::KeepAliveConfig;
use hearth_worker_manager::router::RouterConfig;

use crate::fixture::{Bench, function, revision};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn an_idle_slot_is_released_when_its_window_is_over() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    bench.pass_renewing(KEEP_ALIVE_DEFAULT - Duration::from_secs(1));
    bench.nothing_else_was_sent();
    bench.pass_renewing(Duration::from_secs(1));
    assert_eq!(bench.released(), [slot]);
    assert_eq!(bench.router.stats().aged_out, 1);
    assert_eq!(bench.router.next_deadline(), None, "something is left of a function without slots or calls");
    bench.nothing_else_was_sent();
}

#[test]
fn the_slot_used_last_stays_and_the_others_age_out() {
    let (mut bench, f) = (Bench::new(), function("f"));
    for request in ["r1", "r2", "r3"] {
        bench.ask_and_wait(&f, request);
    }
    bench.turn();
    let claim = bench.claim();
    for _ in 0..3 {
        bench.grant(&claim);
    }
    let held: Vec<_> = bench.sent.answers.drain(..).map(|(_, answer)| answer.unwrap()).collect();
    for (request, reservation) in ["r1", "r2", "r3"].iter().zip(&held) {
        bench.give_back(request, reservation);
    }
    // One call at a time, every half minute: one slot is enough.
    for n in 0..40 {
        let request = format!("s{n}");
        let reservation = bench.ask_warm(&f, &request);
        assert_eq!(reservation.slot, held[2].slot);
        bench.give_back(&request, &reservation);
        bench.pass_renewing(MINUTE / 2);
    }
    assert_eq!(bench.released(), [held[0].slot, held[1].slot]);
    bench.nothing_else_was_sent();
}

#[test]
fn a_window_that_shrinks_holds_for_slots_that_are_idle_already() {
    let (mut bench, f) = (Bench::new(), function("f"));
    for request in ["r1", "r2"] {
        bench.ask_and_wait(&f, request);
    }
    bench.turn();
    let claim = bench.claim();
    bench.grant(&claim);
    bench.grant(&claim);
    let held: Vec<_> = bench.sent.answers.drain(..).map(|(_, answer)| answer.unwrap()).collect();
    bench.give_back("r1", &held[0]);
    bench.give_back("r2", &held[1]);
    // Enough calls, a second apart, to learn that a short window will do.
    for n in 0..20 {
        bench.pass_renewing(Duration::from_secs(1));
        let request = format!("s{n}");
        let reservation = bench.ask_warm(&f, &request);
        bench.give_back(&request, &reservation);
    }
    bench.pass_renewing(KEEP_ALIVE_MIN.mul_f64(1.1) - Duration::from_secs(20));
    assert_eq!(bench.released(), [held[0].slot]);
    bench.nothing_else_was_sent();
}

#[test]
fn history_outlives_slots_and_revisions() {
    let (mut bench, mut slots) = (Bench::new(), 0);
    for n in 0..17 {
        let spec = revision("f", &format!("{}", n / 10), 128);
        bench.warm_up(&spec, &format!("r{n}"));
        bench.pass_renewing(20 * MINUTE);
        slots += bench.released().len();
    }
    assert_eq!(slots, 16, "20 minutes are longer than the default window, and 16 gaps enough to know better");
    let counts = bench.router.counts(&revision("f", "1", 128).function);
    assert_eq!(counts.idle, 1, "history did not reach from one revision to the next");
}

#[test]
fn what_nobody_calls_leaves_bounded_memory() {
    let keep_alive = KeepAliveConfig { max_histories: 3, ..KeepAliveConfig::default() };
    let mut bench = Bench::with(RouterConfig { keep_alive, ..RouterConfig::default() });
    for n in 0..10 {
        bench.warm_up(&function(&format!("f{n}")), &format!("r{n}"));
    }
    bench.pass_renewing(KEEP_ALIVE_DEFAULT);
    assert_eq!(bench.released().len(), 10);
    bench.router.check_invariants();
    assert_eq!(bench.router.next_deadline(), None);
    bench.nothing_else_was_sent();
}
