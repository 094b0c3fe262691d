//! Placement fails in each way it can.

use std::time::Duration;

use futures::FutureExt;
use hearth_protocol::worker_manager::ReserveError;
use tokio::time::{Instant, sleep};

use crate::{Cluster, WAIT, function};

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_for_as_long_as_slots_are_kept() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let first = cluster.call(&f, "r1").await.unwrap();
    sleep(Duration::from_secs(120)).await;
    assert!((20..=26).contains(&cluster.placement.state().renewals));
    let later = cluster.reserve(&f, "r2").now_or_never().expect("the slot was not warm any more").unwrap();
    assert_eq!(later, first);
}

#[tokio::test(start_paused = true)]
async fn warm_calls_outlive_placement_until_leases_run_out() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let start = Instant::now();
    let first = cluster.call(&f, "r0").await.unwrap();
    cluster.placement.state().down = true;
    while start.elapsed() < Duration::from_millis(14_900) {
        let warm = cluster.reserve(&f, "r1").now_or_never().expect("a warm call waited").unwrap();
        assert_eq!(warm.slot, first.slot);
        sleep(Duration::from_millis(100)).await;
        cluster.complete("r1", &warm).await;
    }
    sleep(Duration::from_millis(100)).await;
    let refused = cluster.reserve(&f, "r2").await;
    assert!(matches!(refused, Err(ReserveError::NoCapacity { waited: WAIT, .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_is_served_when_placement_is_back() {
    let (cluster, f) = (Cluster::start(), function("f"));
    sleep(Duration::from_millis(10)).await;
    cluster.placement.state().down = true;
    let (reserved, ()) = tokio::join!(cluster.reserve(&f, "r1"), async {
        sleep(Duration::from_secs(5)).await;
        cluster.placement.state().down = false;
    });
    assert!(reserved.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_taken_away_is_not_used() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let first = cluster.call(&f, "r1").await.unwrap();
    cluster.placement.state().leased.clear();
    sleep(Duration::from_secs(6)).await;
    let second = cluster.reserve(&f, "r2").await.unwrap();
    assert_ne!(first.slot, second.slot);
    assert_eq!(cluster.metric("hearth_worker_manager_leases_total", "lost"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_stream_breaks_is_claimed_again() {
    let (cluster, f) = (Cluster::start(), function("f"));
    cluster.placement.state().cut_claims = 2;
    let start = Instant::now();
    assert!(cluster.reserve(&f, "r1").await.is_ok());
    assert_eq!(start.elapsed().as_millis(), 50 + 100 + 100);
    assert_eq!(cluster.placement.state().claims, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_init_took_longer_than_the_lease_is_renewed_before_its_first_use() {
    let (cluster, f) = (Cluster::start(), function("f"));
    cluster.placement.state().init = Duration::from_millis(14_500);
    let mut calls = Box::pin(async {
        loop {
            if let Ok(reservation) = cluster.reserve(&f, "r1").await {
                return reservation;
            }
        }
    });
    let served = calls.as_mut().await;
    assert_eq!(cluster.placement.state().renewals, 1);
    assert_eq!(cluster.placement.state().leased.keys().copied().collect::<Vec<_>>(), [served.slot]);
}
