//! What differs when sandboxes are microVMs: sizes, images, limits that the shim enforces.

use hearth_domain::MemorySize;
use hearth_guest_protocol::{GuestLimits, InitDone, host_message, response};
use hearth_protocol::Worker as _;

use crate::fake::{Act, EXIT_0};
use crate::fixture::{Fixture, answer, function, honest, init_slot, outcome, ready, script, text};

const MB: u64 = 1 << 20;

#[tokio::test]
async fn a_worker_offers_what_it_has_images_for() {
    let fixture = Fixture::kvm(honest(), |config| config.pool_size = 0).await;
    let names: Vec<_> = fixture.worker.runtimes().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["provided", "provided.al2", "provided.al2023", "python3.11"]);
    let mut python = function("echo");
    python.runtime = "python3.11".parse().unwrap();
    fixture.worker.init_slot(init_slot(1, python)).await.unwrap();
    let spec = &fixture.launcher.specs()[0];
    assert_eq!(spec.image.as_deref(), Some("python3.11"));
    let arguments: Vec<_> = spec.args.iter().map(|argument| argument.to_str().unwrap()).collect();
    assert_eq!(arguments, ["--wanted", "--command", "/usr/bin/python3.11", "/var/runtime/bootstrap.py"]);
}

#[tokio::test]
async fn only_the_smallest_size_waits_for_nobody() {
    let fixture = Fixture::kvm(honest(), |config| (config.pool_size, config.snapshots) = (1, false)).await;
    fixture.worker.ready().await;
    let booted: Vec<_> = fixture.launcher.specs().iter().map(|spec| spec.limits.memory_bytes / MB).collect();
    assert_eq!(booted, [194, 194], "one for each runtime, of 128 MB and what its kernel takes");
    // 256 MB: booted for the call, and one more for the next.
    assert!(!fixture.init(1, "echo").await.unwrap().times.from_pool);
    let waits = |size| {
        move |report: &hearth_protocol::placement::WorkerReport| {
            let pooled = report.pooled.iter().find(|pooled| pooled.memory_mb == size);
            pooled.is_some_and(|pooled| pooled.ready == 1)
        }
    };
    fixture.report(waits(256)).await;
    assert!(fixture.init(2, "echo").await.unwrap().times.from_pool);
    let mut large = function("echo");
    large.memory = MemorySize::new(800).unwrap();
    fixture.worker.reclaim(vec![(hearth_domain::SlotId(1), crate::fixture::TOKEN)]).await.unwrap();
    fixture.report(|report| report.slots.len() == 1).await;
    fixture.worker.reclaim(vec![(hearth_domain::SlotId(2), crate::fixture::TOKEN)]).await.unwrap();
    fixture.no_slots().await;
    fixture.worker.init_slot(init_slot(3, large)).await.unwrap();
    assert!(fixture.launcher.specs().iter().any(|spec| spec.limits.memory_bytes == (1_024 + 64 + 16) * MB));
}

#[tokio::test]
async fn the_shim_is_told_the_functions_limits_and_the_host_keeps_the_machine_as_it_is() {
    let fixture = Fixture::kvm(
        script(|mut guest| async move {
            ready(&mut guest).await;
            let Some(host_message::Kind::Init(init)) = guest.hear().await else { return EXIT_0 };
            guest.say(InitDone::default()).await;
            while let Some(host_message::Kind::Invoke(invoke)) = guest.hear().await {
                let limits = format!("{:?}", init.limits).into_bytes().into();
                guest.say(answer(&invoke.request_id, response::Outcome::Payload(limits))).await;
            }
            EXIT_0
        }),
        |config| config.pool_size = 0,
    )
    .await;
    let mut small = function("");
    small.memory = MemorySize::new(200).unwrap();
    fixture.worker.init_slot(init_slot(1, small)).await.unwrap();
    let answer = fixture.invoke(1, "{}").await.unwrap();
    let limits =
        GuestLimits { memory_bytes: 200 * MB, tmp_bytes: 512 * MB, max_processes: 1_024, max_open_files: 1_024 };
    assert_eq!((outcome(&answer), text(&answer)), ("success", format!("{:?}", Some(limits))));
    let set: Vec<_> = fixture
        .launcher
        .acts()
        .into_iter()
        .filter_map(|(_, act)| match act {
            Act::Limits(limits) => Some((limits.memory_bytes / MB, limits.milli_cpus)),
            _ => None,
        })
        .collect();
    assert_eq!(set, [(324, 1_000), (324, 113)]);
}
