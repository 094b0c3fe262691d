//! A restarted placement rebuilds its ledger from reports and grants nothing that could overlap.

use std::time::Duration;

use hearth_domain::timing::LEASE_TERMS;
use hearth_domain::{FencingToken, SlotId, SlotState};
use hearth_protocol::placement::{ReleaseRequest, RenewRequest};

use super::bench::{Bench, REPORT, Sent, holder_id, seen, strict};
use crate::ledger::{LedgerConfig, RecoverTicket, Settling, Start};

const OLD: (SlotId, FencingToken) = (SlotId(77), FencingToken(5_000));

#[test]
fn claims_wait_until_workers_had_time_to_report() {
    let mut bench = Bench::just_started(LedgerConfig { expected_workers: None, ..strict() });
    bench.claim("c1", "m1", 128, 1);
    bench.pass(Duration::from_secs(1));
    bench.report("w1", &[]);
    bench.nothing_else();
    bench.pass(Duration::from_secs(1));
    bench.sent_init();
    bench.nothing_else();
}

#[test]
fn claims_wait_no_longer_than_for_the_expected_workers() {
    let mut bench = Bench::just_started(LedgerConfig { expected_workers: Some(2), ..strict() });
    bench.claim("c1", "m1", 128, 1);
    bench.report("w1", &[]);
    bench.nothing_else();
    bench.report("w2", &[]);
    bench.sent_init();
    bench.nothing_else();
}

#[test]
fn what_is_unknown_is_not_denied_before_the_ledger_has_settled() {
    let mut bench = Bench::just_started(strict());
    let leases = vec![OLD];
    let renew = RenewRequest { holder: holder_id("m1"), leases: leases.clone() };
    assert_eq!(bench.ledger.on_renew(bench.now, &renew), Err(Settling));
    let release = ReleaseRequest { holder: holder_id("m1"), leases };
    assert_eq!(bench.ledger.on_release(&release, &mut bench.out), Err(Settling));
    let recover = bench.ledger.on_recover(bench.now, &holder_id("m1"), RecoverTicket(1), &mut bench.out);
    assert_eq!(recover, Err(Settling.into()));
    bench.report("w1", &[seen(OLD.0, OLD.1, "m1", SlotState::Idle)]);
    assert_eq!(bench.ledger.on_renew(bench.now, &renew).unwrap().renewed, [Some(LEASE_TERMS)]);
    bench.pass(Duration::from_secs(2));
    let unknown = RenewRequest { holder: holder_id("m1"), leases: vec![(SlotId(78), OLD.1)] };
    assert_eq!(bench.ledger.on_renew(bench.now, &unknown).unwrap().renewed, [None]);
    bench.nothing_else();
}

#[test]
fn a_reported_slot_is_leased_to_its_holder_for_a_full_term() {
    let mut bench = Bench::just_started(strict());
    bench.pass(Duration::from_secs(3));
    let idle = [seen(OLD.0, OLD.1, "m1", SlotState::Idle)];
    let begun = bench.now;
    while bench.now + REPORT < begun + LEASE_TERMS.gone_after() {
        bench.report("w1", &idle);
        bench.nothing_else();
        bench.pass(REPORT);
    }
    bench.pass(REPORT);
    assert_eq!(bench.next(), Sent::Reclaim("w1".to_owned(), OLD.0, OLD.1));
    bench.nothing_else();
}

#[test]
fn new_tokens_are_above_every_token_reported() {
    let mut bench = Bench::just_started(LedgerConfig { expected_workers: Some(1), ..strict() });
    bench.claim("c1", "m1", 128, 1);
    bench.report("w1", &[seen(OLD.0, OLD.1, "m1", SlotState::Busy)]);
    assert!(bench.sent_init().2 > OLD.1);
    assert!(Start::token_floor(1_800_000_000_000) > Start::token_floor(1_799_999_999_999) + 1_000_000);
    bench.nothing_else();
}

#[test]
fn a_fencing_from_before_the_restart_that_arrives_late_is_believed() {
    let mut bench = Bench::just_started(LedgerConfig { expected_workers: Some(1), ..strict() });
    bench.report("w1", &[seen(OLD.0, OLD.1, "m1", SlotState::Idle)]);
    let newer = FencingToken(OLD.1.0 + 10);
    bench.report("w1", &[seen(OLD.0, newer, "m1", SlotState::Idle)]);
    assert_eq!(bench.renew("m1", OLD.0, OLD.1).renewed, [None]);
    assert_eq!(bench.renew("m1", OLD.0, newer).renewed, [Some(LEASE_TERMS)]);
    bench.nothing_else();
}

#[test]
fn what_drains_is_not_leased_again() {
    let mut bench = Bench::just_started(LedgerConfig { expected_workers: Some(1), ..strict() });
    bench.report("w1", &[seen(OLD.0, OLD.1, "m1", SlotState::Draining)]);
    assert_eq!(bench.renew("m1", OLD.0, OLD.1).renewed, [None]);
    assert_eq!(bench.ledger.slots_by_phase(), [0, 0, 0, 1]);
    bench.nothing_else();
}
