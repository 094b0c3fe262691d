//! A manager begins where its earlier life ended, and ends in good order.

use std::time::Duration;

use futures::FutureExt;
use hearth_domain::{FencingToken, HolderId, SlotId};
use hearth_protocol::worker_manager::ReserveError;
use hearth_worker_manager::router::RouterConfig;
use hearth_worker_manager::{Config, Deps, StartError, WorkerManager};
use prometheus::Registry;
use tokio::time::{Instant, sleep};

use crate::placement::TestPlacement;
use crate::{Cluster, function};

#[tokio::test(start_paused = true)]
async fn a_restarted_manager_takes_over_what_it_held() {
    let (placement, f) = (TestPlacement::new(), function("f"));
    placement.state().leased.insert(SlotId(77), (FencingToken(1), f.function.clone()));
    let cluster = Cluster::on(placement);
    let reservation = cluster.reserve(&f, "r1").await.unwrap();
    assert_eq!((reservation.slot, reservation.token), (SlotId(77), FencingToken(1_001)));
    assert!(cluster.placement.state().claims.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_before_placement_said_what_is_held() {
    let (placement, f) = (TestPlacement::new(), function("f"));
    placement.state().down = true;
    placement.state().leased.insert(SlotId(77), (FencingToken(1), f.function.clone()));
    let cluster = Cluster::on(placement);
    let (reserved, ()) = tokio::join!(cluster.reserve(&f, "r1"), async {
        sleep(Duration::from_secs(4)).await;
        cluster.placement.state().down = false;
    });
    assert_eq!(reserved.unwrap().slot, SlotId(77));
    assert!(cluster.placement.state().claims.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_for_recovery_is_told_why() {
    let (placement, f) = (TestPlacement::new(), function("f"));
    placement.state().down = true;
    let cluster = Cluster::on(placement);
    let Err(ReserveError::NoCapacity { reason, .. }) = cluster.reserve(&f, "r1").await else {
        panic!("a call was served without placement");
    };
    assert!(reason.contains("it is down"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_idle_leases_back_and_waits_for_running_calls() {
    let (cluster, f, g) = (Cluster::start(), function("f"), function("g"));
    let idle = cluster.call(&f, "r1").await.unwrap();
    let busy = cluster.reserve(&g, "r2").await.unwrap();
    let start = Instant::now();
    tokio::join!(cluster.manager.shutdown(Duration::from_secs(30)), async {
        sleep(Duration::from_secs(2)).await;
        assert_eq!(cluster.placement.state().released, [idle.slot]);
        assert!(matches!(cluster.reserve(&f, "r3").await, Err(ReserveError::Unreachable(_))));
        cluster.complete("r2", &busy).await;
    });
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(cluster.placement.state().released, [idle.slot, busy.slot]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_serves_who_waits_already() {
    let (cluster, f) = (Cluster::start(), function("f"));
    let mut waiting = Box::pin(cluster.reserve(&f, "r1"));
    assert!(futures::poll!(&mut waiting).is_pending());
    let (reserved, ()) = tokio::join!(
        async {
            let reserved = waiting.await;
            cluster.complete("r1", reserved.as_ref().unwrap()).await;
            reserved
        },
        cluster.manager.shutdown(Duration::from_secs(30))
    );
    assert_eq!(cluster.placement.state().released, [reserved.unwrap().slot]);
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_waiters_are_told_and_busy_slots_left_alone() {
    let (cluster, f, g) = (Cluster::start(), function("f"), function("g"));
    cluster.reserve(&f, "r1").await.unwrap();
    cluster.placement.state().room = 1;
    let (refused, ()) = tokio::join!(cluster.reserve(&g, "r2"), async {
        sleep(Duration::from_millis(10)).await;
        cluster.manager.shutdown(Duration::from_secs(1)).await;
    });
    assert!(matches!(refused, Err(ReserveError::Unreachable(_))), "{refused:?}");
    assert!(cluster.placement.state().released.is_empty(), "a busy slot was given back");
    assert!(cluster.reserve(&f, "r3").now_or_never().expect("a refusal waited").is_err());
}

#[tokio::test(start_paused = true)]
async fn settings_that_make_no_sense_do_not_start() {
    let router = RouterConfig { max_waiters: 0, ..RouterConfig::default() };
    let config = Config { router, ..Config::new(HolderId::new("manager-1").unwrap()) };
    let deps = Deps { placement: TestPlacement::new() };
    let started = WorkerManager::start(config, deps, &Registry::new());
    assert!(matches!(started, Err(StartError::Config(_))));
}
