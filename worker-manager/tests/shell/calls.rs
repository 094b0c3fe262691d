//! Calls, cold and warm, and callers that leave.

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use hearth_domain::SlotOutcome;
use hearth_protocol::WorkerManager as _;
use hearth_protocol::worker_manager::{ReserveError, RetireRequest};
use tokio::time::{Instant, sleep};

use crate::{Cluster, WAIT, completion, function};

#[tokio::test(start_paused = true)]
async fn a_cold_call_waits_for_init_and_a_warm_one_for_nothing() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let start = Instant::now();
    let cold = cluster.call(&f, "r1").await.unwrap();
    assert_eq!(start.elapsed().as_millis(), 100);
    let warm = cluster.reserve(&f, "r2").now_or_never().expect("a warm call waited").unwrap();
    assert_eq!(warm, cold);
    assert_eq!(cluster.placement.state().claims, [1]);
    assert_eq!(cluster.metric("hearth_worker_manager_reservations_total", "warm"), 1.0);
    assert_eq!(cluster.metric("hearth_worker_manager_reservations_total", "waited"), 1.0);
    assert_eq!(cluster.metric("hearth_worker_manager_slots", "busy"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_together_are_claimed_together_and_create_one_slot_each() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let requests: Vec<_> = (0..50).map(|n| format!("r{n}")).collect();
    let held = join_all(requests.iter().map(|request| cluster.reserve(&f, request))).await;
    let mut slots: Vec<_> = held.into_iter().map(|reservation| reservation.unwrap().slot).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), 50);
    assert_eq!(cluster.placement.state().claims, [50]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_gets_free_before_the_claim_is_used() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let first = cluster.call(&f, "r0").await.unwrap();
    let running = cluster.reserve(&f, "r1").await.unwrap();
    let start = Instant::now();
    let (second, ()) = tokio::join!(cluster.reserve(&f, "r2"), async {
        sleep(Duration::from_millis(30)).await;
        cluster.complete("r1", &running).await;
    });
    assert_eq!((second.unwrap().slot, start.elapsed().as_millis()), (first.slot, 30));
    sleep(Duration::from_millis(100)).await;
    let fleet = cluster.manager.fleet().await.unwrap();
    assert_eq!((fleet.slots.len(), fleet.waiting), (2, 0));
    assert_eq!(fleet.slots.iter().filter(|slot| slot.busy).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_frees_its_place() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let left = tokio::time::timeout(Duration::from_millis(10), cluster.reserve(&f, "r1")).await;
    assert!(left.is_err());
    assert_eq!(cluster.manager.fleet().await.unwrap().waiting, 0);
    sleep(Duration::from_millis(100)).await;
    assert!(cluster.reserve(&f, "r2").now_or_never().is_some(), "the surplus slot was not kept");
}

#[tokio::test(start_paused = true)]
async fn a_slot_handed_to_a_caller_that_just_left_goes_to_the_next() {
    let (cluster, f) = (Cluster::start(), function("f"));
    cluster.placement.state().room = 1;
    let mut first = Box::pin(cluster.reserve(&f, "r1"));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(cluster.reserve(&f, "r2"));
    assert!(futures::poll!(&mut second).is_pending());
    // The answer arrives and nobody looks at it.
    sleep(Duration::from_millis(150)).await;
    drop(first);
    let reservation = second.await.unwrap();
    assert_eq!(cluster.placement.state().leased.len(), 1);
    cluster.complete("r2", &reservation).await;
    assert!(cluster.reserve(&f, "r3").now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_exactly_as_long_as_it_said() {
    let (cluster, f) = (Cluster::start(), function("f"));
    cluster.placement.state().room = 0;
    let start = Instant::now();
    let refused = cluster.reserve(&f, "r1").await;
    assert_eq!(refused, Err(ReserveError::NoCapacity { waited: WAIT, reason: "the worker is full".into() }));
    assert_eq!(start.elapsed().as_millis(), WAIT.as_millis());
    let claims = cluster.placement.state().claims.len();
    assert!((5..=15).contains(&claims), "{claims} claims in {WAIT:?}: no back-off, or far too much of it");
}

#[tokio::test(start_paused = true)]
async fn idle_slots_make_room_for_a_function_that_waits() {
    let (cluster, f, g) = (Cluster::start(), function("f"), function("g"));
    cluster.placement.state().room = 1;
    let idle = cluster.call(&f, "r1").await.unwrap();
    let start = Instant::now();
    let served = cluster.reserve(&g, "r2").await.unwrap();
    assert_ne!(served.slot, idle.slot);
    assert!(start.elapsed() < Duration::from_millis(300), "waited {:?}", start.elapsed());
    assert_eq!(cluster.placement.state().released, [idle.slot]);
}

#[tokio::test(start_paused = true)]
async fn a_retired_revision_gives_its_idle_slots_back() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let idle = cluster.call(&f, "r1").await.unwrap();
    let (account, name) = (f.function.account.clone(), f.function.name.clone());
    cluster.manager.retire(RetireRequest { account, name, version: None, keep: None }).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.placement.state().released, [idle.slot]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_reported_gone_is_given_back_and_replaced() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let first = cluster.reserve(&f, "r1").await.unwrap();
    cluster.manager.complete(completion("r1", &first, SlotOutcome::Gone)).await.unwrap();
    let second = cluster.reserve(&f, "r1").await.unwrap();
    assert_ne!(first.slot, second.slot);
    assert_eq!(cluster.placement.state().released, [first.slot]);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_whose_caller_died_ends_by_itself() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let held = cluster.reserve(&f, "r1").await.unwrap();
    sleep(Duration::from_secs(3 + 10)).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.placement.state().released, [held.slot]);
    assert_eq!(cluster.metric("hearth_worker_manager_leases_total", "abandoned"), 1.0);
}
