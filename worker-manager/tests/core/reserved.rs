//! What functions have set aside of their account's concurrency.

use hearth_domain::SlotOutcome;
use hearth_protocol::worker_manager::{ConcurrencyLimits, ReserveError};
use hearth_worker_manager::router::RouterConfig;

use crate::fixture::{Bench, function, version_of};

fn reserved(reserved: u32) -> ConcurrencyLimits {
    ConcurrencyLimits { reserved: Some(reserved), set_aside: reserved, ..ConcurrencyLimits::default() }
}

#[test]
fn a_reservation_is_the_limit_of_all_versions_together() {
    let mut bench = Bench::new();
    bench.limits = reserved(2);
    bench.ask_and_wait(&function("f"), "r1");
    let second = bench.ask_and_wait(&version_of("f", 1), "r2");
    for version in [function("f"), version_of("f", 1), version_of("f", 2)] {
        let refused = bench.ask(&version, "r3");
        assert_eq!(refused, Err(ReserveError::ReservedLimit { name: "f".parse().unwrap(), limit: 2 }));
    }
    bench.router.on_cancel(bench.now, second);
    bench.ask_and_wait(&version_of("f", 2), "r3");
    assert_eq!(bench.router.stats().throttled, 3);
}

#[test]
fn a_reservation_of_none_stops_a_function_and_no_other() {
    let mut bench = Bench::new();
    bench.limits = reserved(0);
    assert!(matches!(bench.ask(&function("f"), "r1"), Err(ReserveError::ReservedLimit { limit: 0, .. })));
    bench.limits = ConcurrencyLimits::default();
    bench.ask_and_wait(&function("g"), "r2");
}

#[test]
fn the_callers_limit_of_the_account_is_the_one_that_holds() {
    let mut bench = Bench::with(RouterConfig { account_concurrency: 1, ..RouterConfig::default() });
    bench.limits = ConcurrencyLimits { account: Some(2), ..ConcurrencyLimits::default() };
    bench.ask_and_wait(&function("f"), "r1");
    bench.ask_and_wait(&function("g"), "r2");
    let refused = Err(ReserveError::ConcurrencyLimit { account: function("f").function.account.clone(), limit: 2 });
    assert_eq!(bench.ask(&function("f"), "r3"), refused);
    bench.limits.account = None;
    assert!(matches!(bench.ask(&function("f"), "r4"), Err(ReserveError::ConcurrencyLimit { limit: 1, .. })));
}

#[test]
fn what_is_set_aside_is_nobody_elses() {
    let mut bench = Bench::with(RouterConfig { account_concurrency: 5, ..RouterConfig::default() });
    let others = ConcurrencyLimits { set_aside: 3, ..ConcurrencyLimits::default() };
    bench.limits = others;
    bench.ask_and_wait(&function("g"), "g1");
    bench.ask_and_wait(&function("h"), "h1");
    assert!(matches!(bench.ask(&function("g"), "g2"), Err(ReserveError::ConcurrencyLimit { limit: 5, .. })));
    // Those who set it aside have it still.
    bench.limits = reserved(3);
    for request in ["f1", "f2", "f3"] {
        bench.ask_and_wait(&function("f"), request);
    }
    assert!(matches!(bench.ask(&function("f"), "f4"), Err(ReserveError::ReservedLimit { limit: 3, .. })));
    assert_eq!(bench.router.concurrency(&function("f").function.account), 5);
}

#[test]
fn provisioned_concurrency_is_the_functions_own_and_no_limit() {
    let mut bench = Bench::with(RouterConfig { account_concurrency: 3, ..RouterConfig::default() });
    let limits = ConcurrencyLimits { provisioned: 2, set_aside: 2, ..ConcurrencyLimits::default() };
    bench.limits = limits;
    for request in ["f1", "f2", "f3"] {
        bench.ask_and_wait(&function("f"), request);
    }
    bench.limits = ConcurrencyLimits { provisioned: 0, ..limits };
    assert!(matches!(bench.ask(&function("g"), "g1"), Err(ReserveError::ConcurrencyLimit { .. })));
}

#[test]
fn a_call_ends_where_it_was_counted_though_limits_changed() {
    let (mut bench, f) = (Bench::new(), function("f"));
    let slot = bench.warm_up(&f, "r0");
    let running = bench.ask_warm(&f, "r1");
    bench.limits = reserved(1);
    assert!(bench.ask(&f, "r2").is_err(), "what runs already counts");
    assert!(bench.complete("r1", &running, SlotOutcome::Reusable));
    assert_eq!(bench.ask_warm(&f, "r2").slot, slot);
}
