//! What the ledger makes of reports, of their absence, and of restarted workers.

use std::time::Duration;

use hearth_domain::{FencingToken, Runtime, SlotId, SlotState};
use hearth_protocol::placement::{PooledCount, WorkerCondition, WorkerReport};

use super::bench::{Bench, REPORT, report, seen};
use crate::ledger::ReportError;
use crate::ledger::limits::{TOKEN_MAX, UNSEEN_MISSES_MAX};

fn condition(bench: &Bench, worker: &str) -> Option<WorkerCondition> {
    let fleet = bench.ledger.fleet(bench.now);
    fleet.into_iter().find(|known| known.report.worker.id.as_str() == worker).map(|known| known.condition)
}

#[test]
fn a_silent_worker_is_avoided_then_lost_then_forgotten() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    assert_eq!(condition(&bench, "w1"), Some(WorkerCondition::Ready));
    bench.pass(Duration::from_secs(2));
    assert_eq!(condition(&bench, "w1"), Some(WorkerCondition::Avoided));
    bench.claim("c2", "m1", 128, 1);
    assert!(bench.sent_no_capacity().contains("none takes new slots"));
    assert!(bench.renew("m1", slot, token).renewed[0].is_some(), "what is there stays usable");
    bench.pass(Duration::from_secs(8));
    assert_eq!(condition(&bench, "w1"), Some(WorkerCondition::Lost));
    assert_eq!(bench.renew("m1", slot, token).renewed, [None]);
    // Back again: the slot is believed in, and its holder can go on.
    bench.report("w1", &[seen(slot, token, "m1", SlotState::Idle)]);
    assert!(bench.renew("m1", slot, token).renewed[0].is_some());
    bench.pass(Duration::from_secs(620));
    assert_eq!(condition(&bench, "w1"), None);
    bench.nothing_else();
}

#[test]
fn a_slot_is_gone_when_reports_that_had_it_lack_it() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    for _ in 1..UNSEEN_MISSES_MAX {
        bench.report("w1", &[]);
        assert!(bench.renew("m1", slot, token).renewed[0].is_some(), "the report may be older than the slot");
    }
    bench.report("w1", &[seen(slot, token, "m1", SlotState::Busy)]);
    bench.report("w1", &[]);
    assert_eq!(bench.renew("m1", slot, token).renewed, [None]);
    bench.nothing_else();
}

#[test]
fn a_restarted_worker_has_lost_its_slots_and_late_reports_from_before_change_nothing() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    bench.claim("c2", "m1", 128, 1);
    let under_way = bench.sent_init();
    bench.report_as(WorkerReport { incarnation: 2, ..report("w1") });
    assert_eq!(bench.renew("m1", slot, token).renewed, [None]);
    let late = WorkerReport { sequence: 99, slots: vec![seen(slot, token, "m1", SlotState::Idle)], ..report("w1") };
    bench.report_as(late);
    assert_eq!(bench.renew("m1", slot, token).renewed, [None]);
    bench.init_result(under_way, Ok(()));
    bench.sent_grant();
    bench.nothing_else();
}

#[test]
fn a_late_report_that_a_new_ledger_takes_for_a_restart_does_not_shut_the_worker_out() {
    let mut bench = Bench::with_workers(&["w1"]);
    // Sent before the worker's last restart, which this ledger has not seen.
    bench.report_as(WorkerReport { incarnation: 77, sequence: 400, ..report("w1") });
    for _ in 0..5 {
        bench.pass(REPORT);
        bench.report("w1", &[]);
    }
    assert_eq!(condition(&bench, "w1"), Some(WorkerCondition::Ready));
    bench.granted("c1", "m1");
    bench.nothing_else();
}

#[test]
fn an_older_report_changes_nothing() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    bench.report("w1", &[seen(slot, token, "m1", SlotState::Idle)]);
    bench.report_as(WorkerReport { sequence: 1, draining: true, ..report("w1") });
    assert_eq!(condition(&bench, "w1"), Some(WorkerCondition::Ready));
    assert!(bench.renew("m1", slot, token).renewed[0].is_some());
}

#[test]
fn draining_and_unsuited_workers_get_nothing() {
    let mut bench = Bench::with_workers(&["w1", "w2"]);
    bench.report_as(WorkerReport { sequence: 2, draining: true, ..report("w1") });
    bench.report_as(WorkerReport { sequence: 2, runtimes: vec![Runtime::Nodejs { major: 20 }], ..report("w2") });
    bench.claim("c1", "m1", 128, 1);
    assert!(bench.sent_no_capacity().contains("none takes new slots"));
    bench.report_as(WorkerReport { sequence: 3, runtimes: Vec::new(), ..report("w1") });
    bench.claim("c2", "m1", 128, 1);
    assert_eq!(bench.sent_no_capacity(), "no worker offers python3.11");
    bench.nothing_else();
}

#[test]
fn a_worker_with_a_pooled_sandbox_goes_first_until_its_pool_is_used() {
    let mut bench = Bench::with_workers(&["w1", "w2"]);
    let home = bench.granted("c1", "m1").0;
    let other = if home == "w1" { "w2" } else { "w1" };
    let pooled = vec![PooledCount { runtime: Runtime::Python { minor: 11 }, memory_mb: 128, ready: 2 }];
    let cached_bundles = vec![super::bench::function(128).bundle];
    bench.report_as(WorkerReport { sequence: 9, pooled, cached_bundles, ..report(other) });
    assert_eq!(bench.granted("c2", "m1").0, other);
    assert_eq!(bench.granted("c3", "m1").0, other);
    assert_eq!(bench.granted("c4", "m1").0, home, "the pool is used up: affinity decides");
    bench.nothing_else();
}

#[test]
fn reports_that_make_no_sense_are_refused_and_change_nothing() {
    let mut bench = Bench::with_workers(&["w1"]);
    let token = FencingToken(TOKEN_MAX + 1);
    let slots = vec![seen(SlotId(1), token, "m1", SlotState::Idle)];
    let bad = WorkerReport { sequence: 2, slots, ..report("w1") };
    let refused = bench.ledger.on_report(bench.now, bad, &mut bench.out);
    assert!(matches!(refused, Err(ReportError::BadToken { .. })), "{refused:?}");
    bench.ledger.check_invariants();
    assert_eq!(bench.ledger.slots_by_phase(), [0; 4]);
}
