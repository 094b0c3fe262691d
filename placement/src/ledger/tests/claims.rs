//! Claims: each slot has exactly one outcome, and a refusal goes to the next worker.

use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{ClaimId, FunctionSpec, Isolation, SlotState};
use hearth_protocol::placement::{ClaimOutcome, ClaimRequest, WorkerReport};
use hearth_protocol::worker::InitSlotError;

use super::bench::{Bench, Sent, function, holder_id, init_failure, report, seen, unreachable};
use crate::ledger::limits::{CLAIM_SLOTS_MAX, PLACEMENT_ATTEMPTS_MAX, UNSEEN_MISSES_MAX};
use crate::ledger::{ClaimError, ClaimTicket};

fn refused() -> Result<(), InitSlotError> {
    Err(InitSlotError::Refused { reason: "full".to_owned() })
}

#[test]
fn each_slot_of_a_claim_has_one_outcome_as_soon_as_it_is_known() {
    let mut bench = Bench::with_workers(&["w1"]);
    let ticket = bench.claim("c1", "m1", 128, 2);
    let (first, second) = (bench.sent_init(), bench.sent_init());
    bench.nothing_else();
    bench.init_result(second.clone(), Ok(()));
    let (told, grant) = bench.sent_grant();
    assert_eq!((told, grant.slot), (ticket, second.1));
    bench.init_result(first, Err(InitSlotError::InitFailed(Box::new(init_failure()))));
    assert!(matches!(bench.next(), Sent::Outcome(_, ClaimOutcome::InitFailed(_))));
    bench.nothing_else();
}

#[test]
fn a_refusal_goes_to_the_next_worker_and_the_refusing_one_is_not_asked_again() {
    let mut bench = Bench::with_workers(&["w1", "w2"]);
    bench.claim("c1", "m1", 128, 1);
    let first = bench.sent_init();
    bench.init_result(first.clone(), refused());
    let second = bench.sent_init();
    assert_ne!(first.0, second.0);
    assert_ne!(first.1, second.1, "slot ids are never used twice");
    assert!(second.2 > first.2);
    bench.init_result(second, refused());
    assert_eq!(bench.sent_no_capacity(), "full");
    bench.nothing_else();
}

#[test]
fn a_function_that_asks_for_microvms_gets_nothing_less() {
    let mut bench = Bench::with_workers(&["w1", "w2"]);
    let asking = FunctionSpec { isolation: Some(Isolation::Kvm), ..function(128) };
    bench.claim_for("c1", "m1", asking.clone(), 1);
    let reason = bench.sent_no_capacity();
    assert!(reason.contains("no worker offers python3.11 in isolation kvm"), "{reason}");
    bench.report_as(WorkerReport { isolation: Isolation::Kvm, sequence: 9, ..report("w2") });
    for claim in ["c2", "c3", "c4"] {
        bench.claim_for(claim, "m1", asking.clone(), 1);
        let asked = bench.sent_init();
        assert_eq!(asked.0, "w2");
        bench.init_result(asked, refused());
        assert_eq!(bench.sent_no_capacity(), "full", "the other worker is not asked");
    }
    bench.claim_for("c5", "m1", FunctionSpec { isolation: Some(Isolation::Jail), ..function(128) }, 2);
    bench.sent_init();
    bench.sent_init();
    bench.nothing_else();
}

#[test]
fn the_number_of_workers_asked_for_one_slot_is_bounded() {
    let mut bench = Bench::with_workers(&["w1", "w2", "w3", "w4", "w5", "w6"]);
    bench.claim("c1", "m1", 128, 1);
    for _ in 0..PLACEMENT_ATTEMPTS_MAX {
        let asked = bench.sent_init();
        bench.init_result(asked, refused());
    }
    assert!(bench.sent_no_capacity().contains("the last: full"));
    bench.nothing_else();
}

#[test]
fn an_unreachable_worker_is_avoided_and_its_perhaps_slot_reclaimed() {
    let mut bench = Bench::with_workers(&["w1", "w2"]);
    bench.claim("c1", "m1", 128, 1);
    let first = bench.sent_init();
    bench.init_result(first.clone(), Err(unreachable(false).into()));
    assert_eq!(bench.next(), Sent::Reclaim(first.0.clone(), first.1, first.2));
    let second = bench.sent_init();
    bench.init_result(second.clone(), Ok(()));
    bench.sent_grant();
    let next = bench.granted("c2", "m1");
    assert_eq!(next.0, second.0, "the unreachable one is avoided for a while");
    // It did make the slot: its report is answered with its end.
    let ack = bench.report(&first.0, &[seen(first.1, first.2, "m1", SlotState::Idle)]);
    assert_eq!(ack.reclaim, [(first.1, first.2)]);
    let ack = bench.report(&first.0, &[seen(first.1, first.2, "m1", SlotState::Draining)]);
    assert_eq!(ack.reclaim, []);
    bench.report(&first.0, &[]);
    assert_eq!(bench.ledger.slots_by_phase(), [0, 2, 0, 0]);
    bench.nothing_else();
}

#[test]
fn a_slot_that_never_came_about_leaves_the_books() {
    let mut bench = Bench::with_workers(&["w1"]);
    bench.claim("c1", "m1", 128, 1);
    let asked = bench.sent_init();
    bench.init_result(asked, Err(unreachable(false).into()));
    for _ in 0..UNSEEN_MISSES_MAX {
        assert_eq!(bench.ledger.slots_by_phase(), [0, 0, 0, 1]);
        bench.report("w1", &[]);
    }
    assert_eq!(bench.ledger.slots_by_phase(), [0; 4]);
}

#[test]
fn a_result_that_comes_too_late_ends_the_slot() {
    let mut bench = Bench::with_workers(&["w1"]);
    bench.claim("c1", "m1", 128, 1);
    let asked = bench.sent_init();
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.sent_no_capacity(), "no worker has reported", "the worker is lost, and its slot with it");
    bench.init_result(asked.clone(), Ok(()));
    assert_eq!(bench.next(), Sent::Reclaim(asked.0, asked.1, asked.2));
    bench.nothing_else();
}

#[test]
fn a_claim_that_arrives_twice_creates_nothing_twice() {
    let mut bench = Bench::with_workers(&["w1"]);
    bench.claim("c1", "m1", 128, 2);
    let (first, second) = (bench.sent_init(), bench.sent_init());
    bench.init_result(first.clone(), Ok(()));
    bench.sent_grant();
    let again = bench.claim("c1", "m1", 128, 2);
    let (told, grant) = bench.sent_grant();
    assert_eq!((told, grant.slot, grant.token), (again, first.1, first.2), "what was answered is answered again");
    bench.init_result(second.clone(), Ok(()));
    assert_eq!(bench.sent_grant().0, again, "what is still to come goes to the new ticket");
    bench.release("m1", first.1, first.2);
    assert_eq!(bench.next(), Sent::Reclaim(first.0, first.1, first.2));
    bench.claim("c1", "m1", 128, 2);
    assert!(bench.sent_no_capacity().contains("ended since"));
    assert_eq!(bench.sent_grant().1.slot, second.1);
    bench.nothing_else();
}

#[test]
fn a_claim_id_belongs_to_one_claim_and_claims_are_bounded() {
    let mut bench = Bench::with_workers(&["w1"]);
    bench.claim("c1", "m1", 128, 1);
    bench.sent_init();
    let mut claim = |id: &str, holder: &str, count| {
        let (id, function) = (ClaimId::new(id).unwrap(), Arc::new(function(128)));
        let request = ClaimRequest { id, holder: holder_id(holder), function, count };
        bench.ledger.on_claim(bench.now, request, ClaimTicket(9), &mut bench.out)
    };
    assert!(matches!(claim("c1", "m2", 1), Err(ClaimError::Differs { .. })));
    assert!(matches!(claim("c1", "m1", 2), Err(ClaimError::Differs { .. })));
    assert!(matches!(claim("c2", "m1", CLAIM_SLOTS_MAX + 1), Err(ClaimError::TooManySlots { .. })));
    assert_eq!(claim("c3", "m1", 0), Ok(None), "a claim for nothing is answered by nothing");
    bench.ledger.check_invariants();
    bench.nothing_else();
}

#[test]
fn a_grant_nobody_heard_of_ends_at_once() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (worker, slot, token) = bench.granted("c1", "m1");
    bench.ledger.on_undelivered(slot, token, &mut bench.out);
    assert_eq!(bench.next(), Sent::Reclaim(worker, slot, token));
    assert_eq!(bench.renew("m1", slot, token).renewed, [None]);
    bench.nothing_else();
}

#[test]
fn a_grant_that_was_answered_twice_may_have_been_heard_of() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    bench.claim("c1", "m1", 128, 1);
    bench.sent_grant();
    bench.ledger.on_undelivered(slot, token, &mut bench.out);
    assert!(bench.renew("m1", slot, token).renewed[0].is_some());
    bench.nothing_else();
}

#[test]
fn who_lacks_room_makes_others_give_back_once() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    bench.claim("c2", "m2", 1_000, 1);
    assert!(bench.sent_no_capacity().contains("full"));
    assert_eq!(bench.renew("m2", slot, token).give_back_mb, 0, "its own lack is its own business");
    assert_eq!(bench.renew("m1", slot, token).give_back_mb, 128, "no more than it holds");
    assert_eq!(bench.renew("m1", slot, token).give_back_mb, 0);
    bench.nothing_else();
}

#[test]
fn nobody_gives_back_for_what_would_not_fit_on_an_empty_worker() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (_, slot, token) = bench.granted("c1", "m1");
    bench.claim("c2", "m2", 1_024, 1);
    assert!(bench.sent_no_capacity().contains("full"));
    assert_eq!(bench.renew("m1", slot, token).give_back_mb, 0);
    bench.nothing_else();
}
