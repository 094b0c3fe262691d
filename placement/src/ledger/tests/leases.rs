//! Granting, renewing and releasing leases.

use std::time::Duration;

use hearth_domain::timing::LEASE_TERMS;
use hearth_domain::{FencingToken, SlotState};

use super::bench::{Bench, Sent, pass_with_reports, seen};

const TICK: Duration = Duration::from_nanos(1);

#[test]
fn a_lease_counts_from_the_answer_and_is_reclaimed_only_when_gone() {
    let mut bench = Bench::with_workers(&["w1"]);
    bench.claim("c1", "m1", 128, 1);
    let asked = bench.sent_init();
    let idle = [seen(asked.1, asked.2, "m1", SlotState::Idle)];
    // A slow init does not shorten the lease.
    pass_with_reports(&mut bench, Duration::from_secs(12), &[]);
    bench.init_result(asked.clone(), Ok(()));
    bench.sent_grant();
    pass_with_reports(&mut bench, LEASE_TERMS.gone_after() - TICK, &idle);
    bench.nothing_else();
    bench.pass(TICK);
    assert_eq!(bench.next(), Sent::Reclaim(asked.0, asked.1, asked.2));
    assert_eq!(bench.renew("m1", asked.1, asked.2).renewed, [None], "too late");
    assert_eq!(bench.report("w1", &idle).reclaim, [(asked.1, asked.2)], "and again, until it is gone");
    bench.report("w1", &[]);
    assert_eq!(bench.ledger.slots_by_phase(), [0; 4]);
    bench.nothing_else();
}

#[test]
fn renewing_counts_anew_for_who_holds_it_and_for_nobody_else() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    let idle = [seen(slot, token, "m1", SlotState::Idle)];
    pass_with_reports(&mut bench, LEASE_TERMS.gone_after() - TICK, &idle);
    assert_eq!(bench.renew("m2", slot, token).renewed, [None]);
    assert_eq!(bench.renew("m1", slot, FencingToken(token.0 + 1)).renewed, [None]);
    assert_eq!(bench.renew("m1", slot, token).renewed, [Some(LEASE_TERMS)]);
    pass_with_reports(&mut bench, LEASE_TERMS.gone_after() - TICK, &idle);
    bench.nothing_else();
}

#[test]
fn a_released_slot_ends_at_once_and_only_by_its_holder() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (worker, slot, token) = bench.granted("c1", "m1");
    bench.release("m2", slot, token);
    bench.release("m1", slot, FencingToken(token.0 - 1));
    bench.nothing_else();
    bench.release("m1", slot, token);
    assert_eq!(bench.next(), Sent::Reclaim(worker, slot, token));
    bench.release("m1", slot, token);
    bench.nothing_else();
}

#[test]
fn a_slot_that_drains_is_not_renewed() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    bench.report("w1", &[seen(slot, token, "m1", SlotState::Draining)]);
    assert_eq!(bench.renew("m1", slot, token).renewed, [None]);
    bench.nothing_else();
}
