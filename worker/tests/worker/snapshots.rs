//! Sandboxes that start from snapshots of others like them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hearth_domain::SlotId;
use hearth_guest_protocol::{GuestError, SnapshotReady, host_message};
use hearth_protocol::Worker as _;
use hearth_protocol::placement::WorkerReport;

use crate::fake::{Act, EXIT_0};
use crate::fixture::{Fixture, TOKEN, function, honest, init_slot, live, ready, script, text, until_init};

/// As many pooled as there should be, of the size of the test's function.
fn pooled(count: u32) -> impl FnMut(&WorkerReport) -> bool {
    move |report| report.pooled.iter().any(|pooled| pooled.memory_mb == 256 && pooled.ready == count)
}

#[tokio::test]
async fn the_first_of_a_class_becomes_a_snapshot_and_the_others_come_of_it() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 2).await;
    fixture.worker.ready().await;
    let all_ready = |report: &WorkerReport| {
        report.pooled.iter().filter(|pooled| pooled.memory_mb == 128).all(|pooled| pooled.ready == 2)
    };
    fixture.report(all_ready).await;
    // Nobody wanted this size yet: the call boots, the pool makes a snapshot of its own sandbox and restores from it.
    assert!(!fixture.init(1, "identity").await.unwrap().times.from_pool);
    fixture.report(pooled(1)).await;
    assert_eq!(fixture.launcher.count(&Act::Snapshot), 3, "one for each runtime, and one of the larger size");
    for slot in [2, 3] {
        assert!(fixture.init(slot, "identity").await.unwrap().times.from_pool);
        fixture.report(move |report| report.slots.len() == slot as usize && pooled(slot as u32)(report)).await;
    }
    let [mut second, mut third] = [fixture.invoke(2, "{}").await.unwrap(), fixture.invoke(3, "{}").await.unwrap()];
    assert!(!text(&second).is_empty());
    assert_ne!(text(&second), text(&third), "two restores of one snapshot are two sandboxes");
    (second, third) = (fixture.invoke(2, "{}").await.unwrap(), fixture.invoke(3, "{}").await.unwrap());
    assert_ne!(text(&second), text(&third));
    assert_eq!(fixture.launcher.count(&Act::Prefetch), 1, "what an answer touches is found out once");
}

#[tokio::test]
async fn without_a_pool_calls_restore_all_the_same() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 0).await;
    assert!(!fixture.init(1, "identity").await.unwrap().times.from_pool);
    assert_eq!(text(&fixture.invoke(1, "{}").await.unwrap()), "", "it was booted");
    // Meanwhile a snapshot is made in the background, and some call is the first to find it.
    let mut slot = 1;
    while fixture.launcher.count(&Act::Restored) == 0 {
        fixture.worker.reclaim(vec![(SlotId(slot), TOKEN)]).await.unwrap();
        fixture.no_slots().await;
        slot += 1;
        assert!(!fixture.init(slot, "identity").await.unwrap().times.from_pool);
    }
    assert_ne!(text(&fixture.invoke(slot, "{}").await.unwrap()), "");
    assert_eq!(fixture.launcher.count(&Act::Snapshot), 1);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_no_use_costs_a_boot_and_is_made_anew() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 1).await;
    fixture.worker.ready().await;
    let made = fixture.launcher.count(&Act::Snapshot);
    fixture.launcher.unusable.store(1, Ordering::SeqCst);
    let mut small = function("echo");
    small.memory = hearth_domain::MemorySize::new(128).unwrap();
    for slot in 1..4 {
        fixture.worker.init_slot(init_slot(slot, small.clone())).await.unwrap();
        assert_eq!(text(&fixture.invoke(slot, "1").await.unwrap()), "1");
        // Past the wait after a failure.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(fixture.launcher.unusable.load(Ordering::SeqCst), 0);
    assert_eq!(fixture.launcher.count(&Act::Snapshot), made + 1);
    assert!(fixture.worker.troubles().is_empty());
}

#[tokio::test]
async fn snapshots_outlive_the_worker_and_not_what_they_depend_on() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 1).await;
    fixture.worker.ready().await;
    let made = fixture.launcher.count(&Act::Snapshot);
    let fixture = fixture.restarted(|config| config.pool_size = 1).await;
    fixture.worker.ready().await;
    assert_eq!(fixture.launcher.count(&Act::Snapshot), made, "they were there");
    *fixture.launcher.build.lock().unwrap() = "build-2".into();
    let fixture = fixture.restarted(|config| config.pool_size = 1).await;
    fixture.worker.ready().await;
    assert_eq!(fixture.launcher.count(&Act::Snapshot), 2 * made);
    let off = |config: &mut hearth_worker::Config| (config.pool_size, config.snapshots) = (1, false);
    let (restored, fixture) = (fixture.launcher.count(&Act::Restored), fixture.restarted(off).await);
    fixture.worker.ready().await;
    assert_eq!(fixture.launcher.count(&Act::Restored), restored, "switched off");
    assert!(!fixture.dir.path().join("snapshots").exists());
}

#[tokio::test]
async fn a_shim_that_does_not_come_to_rest_is_booted_every_time() {
    let refuses = script(|mut guest| async move {
        ready(&mut guest).await;
        match guest.hear().await {
            Some(host_message::Kind::PrepareSnapshot(_)) => {
                let error = GuestError { error_type: "Shim.Busy".into(), document: "{}".into() };
                guest.say(SnapshotReady { error: Some(error) }).await;
                std::future::pending().await
            }
            Some(host_message::Kind::Init(init)) => live(guest, &init.handler).await,
            _ => EXIT_0,
        }
    });
    let fixture = Fixture::kvm(refuses, |config| config.pool_size = 1).await;
    fixture.worker.ready().await;
    fixture.init(1, "echo").await.unwrap();
    assert_eq!(text(&fixture.invoke(1, "1").await.unwrap()), "1");
    assert_eq!(fixture.launcher.count(&Act::Snapshot), 0);
    assert!(fixture.worker.troubles().is_empty());
}

/// What comes of a snapshot and does not say that it is another now is not used, and the snapshot neither.
#[tokio::test]
async fn a_restored_sandbox_that_says_anything_else_is_not_used() {
    let confused = script(|mut guest| async move {
        if guest.restored {
            ready(&mut guest).await;
            return std::future::pending().await;
        }
        match until_init(&mut guest).await {
            Some(init) => live(guest, &init.handler).await,
            None => EXIT_0,
        }
    });
    let fixture = Fixture::kvm(confused, |config| config.pool_size = 1).await;
    fixture.worker.ready().await;
    fixture.init(1, "echo").await.unwrap();
    assert_eq!(text(&fixture.invoke(1, "1").await.unwrap()), "1");
    assert!(fixture.launcher.count(&Act::Restored) > 0);
}
