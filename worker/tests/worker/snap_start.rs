//! Versions whose environments come of a snapshot taken after their init.

use hearth_domain::{FunctionSpec, MemorySize, Version};
use hearth_protocol::Worker as _;
use hearth_protocol::worker::InitSlotError;

use crate::fake::Act;
use crate::fixture::{Fixture, function, honest, init_slot, text};

fn version(handler: &str) -> FunctionSpec {
    let mut spec = function(handler);
    spec.function.version = Version::Number(1);
    spec.memory = MemorySize::new(128).unwrap();
    spec.snap_start = true;
    spec
}

/// Sandboxes that got the code, and so ran the init.
fn codes(fixture: &Fixture) -> usize {
    fixture.launcher.acts().iter().filter(|(_, act)| matches!(act, Act::Code(_))).count()
}

#[tokio::test]
async fn the_first_environment_of_a_version_becomes_a_snapshot_and_all_come_of_it() {
    for pool_size in [0, 1] {
        let fixture = Fixture::kvm(honest(), |config| config.pool_size = pool_size).await;
        fixture.worker.ready().await;
        let (booted, snapshots) = (fixture.launcher.count(&Act::Booted), fixture.launcher.count(&Act::Snapshot));
        for slot in 1..4 {
            let done = fixture.worker.init_slot(init_slot(slot, version("prints-when-restored"))).await.unwrap();
            assert!(!done.times.from_pool);
        }
        // With a pool, what becomes the snapshot was itself restored.
        let boots = usize::from(pool_size == 0);
        assert_eq!(fixture.launcher.count(&Act::Booted), booted + boots);
        assert_eq!(fixture.launcher.count(&Act::Snapshot), snapshots + 1);
        assert_eq!(codes(&fixture), 1, "init ran once");
        let [first, second] = [fixture.invoke(1, "{}").await.unwrap(), fixture.invoke(2, "{}").await.unwrap()];
        assert!(text(&first).contains("/[1]"), "{}", text(&first));
        assert_ne!(text(&first), text(&second));
        assert_eq!(first.usage.init_duration, None);
        let tail = String::from_utf8(first.log_tail.unwrap().to_vec()).unwrap();
        assert!(tail.contains("\tRestore Duration: ") && tail.contains("\tBilled Restore Duration: 1 ms\t"), "{tail}");
        fixture.invoke(3, "{}").await.unwrap();
        assert_eq!(fixture.launcher.count(&Act::Prefetch), 1);
        let lines = fixture.log_until("REPORT RequestId").await;
        assert!(lines[0].starts_with("INIT_START "), "{lines:?}");
        let lines = &lines[1..];
        assert!(lines[0].starts_with("RESTORE_START Runtime Version: provided.al2023"), "{lines:?}");
        assert_eq!(lines[1], "hello again");
        assert!(lines[2].starts_with("RESTORE_REPORT Restore Duration: "), "{lines:?}");
    }
}

#[tokio::test]
async fn a_hook_that_fails_before_the_snapshot_is_a_failed_init() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 0).await;
    let made = fixture.worker.init_slot(init_slot(1, version("rest-fails"))).await;
    let Err(InitSlotError::InitFailed(failure)) = made else { panic!("{made:?}") };
    assert_eq!(failure.error_type, "Hook.Error");
    fixture.no_slots().await;
    assert_eq!(fixture.launcher.count(&Act::Snapshot), 0);
}

#[tokio::test]
async fn a_restore_that_fails_costs_a_fresh_init() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 0).await;
    fixture.worker.init_slot(init_slot(1, version("restore-fails"))).await.unwrap();
    assert_eq!(text(&fixture.invoke(1, "1").await.unwrap()), "1");
    assert_eq!((codes(&fixture), fixture.launcher.count(&Act::Restored)), (2, 1));
}

#[tokio::test]
async fn a_jail_runs_such_a_version_like_any_other() {
    let fixture = Fixture::new(honest()).await;
    fixture.worker.init_slot(init_slot(1, version("echo"))).await.unwrap();
    let answer = fixture.invoke(1, "1").await.unwrap();
    assert!(text(&answer) == "1" && answer.usage.init_duration.is_some());
}

#[tokio::test]
async fn the_snapshot_of_a_version_goes_with_its_code() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 0).await;
    fixture.worker.init_slot(init_slot(1, version("echo"))).await.unwrap();
    let snapshots = fixture.dir.path().join("snapshots");
    let left = || std::fs::read_dir(&snapshots).unwrap().count();
    assert_eq!(left(), 1);
    let fixture = fixture.restarted(|config| config.pool_size = 0).await;
    fixture.worker.init_slot(init_slot(1, version("echo"))).await.unwrap();
    assert_eq!((fixture.launcher.count(&Act::Snapshot), left()), (1, 1), "it outlives the worker");
    fixture.bundles.remove(version("").bundle);
    let _fixture = fixture.restarted(|config| config.pool_size = 0).await;
    while left() > 0 {
        tokio::task::yield_now().await;
    }
}
