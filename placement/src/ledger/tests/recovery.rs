//! A restarted holder gets back what it held, under new tokens.

use std::time::Duration;

use hearth_domain::timing::LEASE_TERMS;
use hearth_domain::{FencingToken, SlotId, SlotState};
use hearth_protocol::Unreachable;
use hearth_protocol::placement::Grant;
use hearth_protocol::worker::Fenced;

use super::bench::{Bench, REPORT, Sent, holder_id, pass_with_reports, seen, unreachable};
use crate::ledger::RecoverTicket;

fn recover(bench: &mut Bench, holder: &str, ticket: u64) {
    bench.ledger.on_recover(bench.now, &holder_id(holder), RecoverTicket(ticket), &mut bench.out).expect("settled");
    bench.ledger.check_invariants();
}

fn fenced(bench: &mut Bench, (_, slot, token): (String, SlotId, FencingToken), result: Result<Fenced, Unreachable>) {
    bench.ledger.on_fence_result(bench.now, (slot, token), result, &mut bench.out);
    bench.ledger.check_invariants();
}

fn sent_fence(bench: &mut Bench) -> (String, SlotId, FencingToken) {
    match bench.next() {
        Sent::Fence(worker, slot, token) => (worker, slot, token),
        other => panic!("not a fence: {other:?}"),
    }
}

fn sent_recovered(bench: &mut Bench) -> (u64, Vec<Grant>) {
    match bench.next() {
        Sent::Recovered(ticket, grants) => (ticket, grants),
        other => panic!("not a recovery: {other:?}"),
    }
}

#[test]
fn idle_slots_come_back_under_new_tokens_and_busy_ones_end() {
    let mut bench = Bench::with_workers(&["w1"]);
    let idle = bench.granted("c1", "m1");
    let busy = bench.granted("c2", "m1");
    let others = bench.granted("c3", "m2");
    recover(&mut bench, "m1", 1);
    let mut fences = [sent_fence(&mut bench), sent_fence(&mut bench)];
    fences.sort_by_key(|(_, slot, _)| *slot != idle.1);
    bench.nothing_else();
    let [idle_now, busy_now] = fences;
    assert!(idle_now.2 > others.2 && busy_now.2 > others.2, "tokens grow");
    assert_eq!(bench.renew("m1", idle.1, idle.2).renewed, [None], "the old token is worth nothing");
    fenced(&mut bench, idle_now.clone(), Ok(Fenced::Idle));
    bench.nothing_else();
    fenced(&mut bench, busy_now.clone(), Ok(Fenced::Draining));
    assert_eq!(bench.next(), Sent::Reclaim(busy_now.0, busy.1, busy_now.2));
    let (ticket, grants) = sent_recovered(&mut bench);
    assert_eq!(ticket, 1);
    assert_eq!(grants.iter().map(|grant| (grant.slot, grant.token)).collect::<Vec<_>>(), [(idle.1, idle_now.2)]);
    assert!(bench.renew("m2", others.1, others.2).renewed[0].is_some());
    bench.nothing_else();
}

#[test]
fn leases_count_from_the_answer_to_the_recovery() {
    let mut bench = Bench::with_workers(&["w1"]);
    let (first, second) = (bench.granted("c1", "m1"), bench.granted("c2", "m1"));
    recover(&mut bench, "m1", 1);
    let (a, b) = (sent_fence(&mut bench), sent_fence(&mut bench));
    let idle = [&first, &second].map(|(_, slot, token)| seen(*slot, *token, "m1", SlotState::Idle));
    fenced(&mut bench, a, Ok(Fenced::Idle));
    // Long after the old leases: a slow worker is no reason to take slots away.
    pass_with_reports(&mut bench, LEASE_TERMS.gone_after() + REPORT, &idle);
    bench.nothing_else();
    fenced(&mut bench, b, Ok(Fenced::Idle));
    assert_eq!(sent_recovered(&mut bench).1.len(), 2);
    pass_with_reports(&mut bench, LEASE_TERMS.gone_after() - REPORT, &idle);
    bench.nothing_else();
}

#[test]
fn slots_that_end_during_a_recovery_are_not_given() {
    let mut bench = Bench::with_workers(&["w1"]);
    let gone = bench.granted("c1", "m1");
    let stays = bench.granted("c2", "m1");
    recover(&mut bench, "m1", 1);
    let mut fences = [sent_fence(&mut bench), sent_fence(&mut bench)];
    fences.sort_by_key(|(_, slot, _)| *slot != gone.1);
    let [fence_gone, fence_stays] = fences;
    fenced(&mut bench, fence_gone, Ok(Fenced::Idle));
    let stays_idle = seen(stays.1, stays.2, "m1", SlotState::Idle);
    bench.report("w1", &[seen(gone.1, gone.2, "m1", SlotState::Idle), stays_idle.clone()]);
    bench.report("w1", &[stays_idle]);
    fenced(&mut bench, fence_stays, Ok(Fenced::Idle));
    let (_, grants) = sent_recovered(&mut bench);
    assert_eq!(grants.iter().map(|grant| grant.slot).collect::<Vec<_>>(), [stays.1]);
    bench.nothing_else();
}

#[test]
fn who_asks_twice_gets_one_answer_twice() {
    let mut bench = Bench::with_workers(&["w1"]);
    bench.granted("c1", "m1");
    recover(&mut bench, "m1", 1);
    let fence = sent_fence(&mut bench);
    recover(&mut bench, "m1", 2);
    bench.nothing_else();
    fenced(&mut bench, fence, Ok(Fenced::Idle));
    let (first, second) = (sent_recovered(&mut bench), sent_recovered(&mut bench));
    assert_eq!((first.0, second.0), (1, 2));
    assert_eq!(first.1, second.1);
    bench.nothing_else();
}

#[test]
fn a_slot_whose_worker_is_silent_is_not_given_and_ends_when_its_old_lease_is_gone() {
    let mut bench = Bench::with_workers(&["w1"]);
    bench.granted("c1", "m1");
    recover(&mut bench, "m1", 1);
    let (worker, slot, token) = sent_fence(&mut bench);
    fenced(&mut bench, (worker.clone(), slot, token), Err(unreachable(false)));
    assert_eq!(sent_recovered(&mut bench), (1, vec![]));
    for _ in 0..41 {
        bench.pass(Duration::from_millis(500));
        bench.report("w1", &[seen(slot, FencingToken(token.0 - 1), "m1", SlotState::Idle)]);
    }
    assert_eq!(bench.next(), Sent::Reclaim(worker, slot, token));
    bench.nothing_else();
}

#[test]
fn who_holds_nothing_gets_nothing_at_once() {
    let mut bench = Bench::with_workers(&["w1"]);
    recover(&mut bench, "m1", 7);
    assert_eq!(sent_recovered(&mut bench), (7, vec![]));
    bench.nothing_else();
}
