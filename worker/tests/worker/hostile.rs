//! Sandboxes whose shim was taken over. Whatever they send, only they end: an honest slot beside them goes on.

use std::time::Duration;

use bytes::Bytes;
use hearth_domain::SlotOutcome;
use hearth_guest_protocol::{InitDone, Log, PROTOCOL_VERSION, Ready, Response, host_message, response};
use hearth_protocol::worker::InitSlotError;

use crate::fake::{EXIT_0, Guest};
use crate::fixture::{Fixture, answer, honest, live, outcome, ready, script, text};

/// An honest slot (number 1) beside a hostile one (number 2), which does `evil` when it is invoked.
async fn beside_an_honest_slot<F>(evil: impl Fn(Guest, String) -> F + Send + Sync + Clone + 'static) -> Fixture
where
    F: Future<Output = ()> + Send + 'static,
{
    let fixture = Fixture::new(script(move |mut guest| {
        let evil = evil.clone();
        async move {
            ready(&mut guest).await;
            let Some(host_message::Kind::Init(init)) = guest.hear().await else { return EXIT_0 };
            if init.handler != "evil" {
                return live(guest, &init.handler).await;
            }
            guest.say(InitDone::default()).await;
            if let Some(host_message::Kind::Invoke(invoke)) = guest.hear().await {
                evil(guest, invoke.request_id).await;
            }
            EXIT_0
        }
    }))
    .await;
    fixture.init(1, "echo").await.unwrap();
    fixture.init(2, "evil").await.unwrap();
    fixture
}

/// The hostile call fails, its sandbox is gone, the honest slot still answers.
async fn only_it_ends(fixture: &Fixture, expected: &str) {
    let bad = tokio::time::timeout(Duration::from_secs(60), fixture.invoke(2, "{}")).await.expect("no answer").unwrap();
    assert_eq!((outcome(&bad), bad.slot), ("Sandbox.Failure", SlotOutcome::Gone));
    assert!(text(&bad).contains(expected), "{}", text(&bad));
    fixture.report(|report| report.slots.len() == 1).await;
    assert_eq!(fixture.launcher.alive(), 1);
    assert_eq!(text(&fixture.invoke(1, "1").await.unwrap()), "1");
}

#[tokio::test]
async fn a_response_to_another_request() {
    let fixture = beside_an_honest_slot(|mut guest, _| async move {
        guest.say(answer("request-of-somebody-else", response::Outcome::Payload("stolen".into()))).await;
        std::future::pending().await
    })
    .await;
    only_it_ends(&fixture, "another invocation").await;
}

#[tokio::test]
async fn a_second_ready() {
    let fixture = beside_an_honest_slot(|mut guest, _| async move {
        ready(&mut guest).await;
        std::future::pending().await
    })
    .await;
    only_it_ends(&fixture, "an unexpected Ready message while running").await;
}

#[tokio::test]
async fn a_frame_that_claims_four_gigabytes() {
    let fixture = beside_an_honest_slot(|mut guest, _| async move {
        guest.say_bytes(&[0xff; 64]).await;
        std::future::pending().await
    })
    .await;
    only_it_ends(&fixture, "above the limit").await;
}

#[tokio::test]
async fn garbage_and_an_empty_message() {
    for bytes in [&[0, 0, 0, 3, 0xff, 0xff, 0xff][..], &[0, 0, 0, 0]] {
        let fixture = beside_an_honest_slot(move |mut guest, _| async move {
            guest.say_bytes(bytes).await;
            std::future::pending().await
        })
        .await;
        only_it_ends(&fixture, "broke the protocol").await;
    }
}

#[tokio::test]
async fn a_flood_of_log() {
    let fixture = beside_an_honest_slot(|mut guest, id| async move {
        loop {
            let data = Bytes::from_static(&[b'x'; 64 * 1024]);
            guest.say(Log { request_id: id.clone(), data, dropped_bytes: u64::MAX }).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    only_it_ends(&fixture, "a flood of log messages").await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_channel_on_a_sandbox_that_lives_on() {
    let fixture = beside_an_honest_slot(|guest, _| async move {
        drop(guest);
        std::future::pending().await
    })
    .await;
    only_it_ends(&fixture, "closed its channel").await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for() {
    let fixture = beside_an_honest_slot(|mut guest, id| async move {
        let yes = || answer(&id, response::Outcome::Payload("yes".into()));
        guest.say(yes()).await;
        guest.say(yes()).await;
        std::future::pending().await
    })
    .await;
    assert_eq!(outcome(&fixture.invoke(2, "{}").await.unwrap()), "success");
    fixture.report(|report| report.slots.len() == 1).await;
    assert_eq!(fixture.launcher.alive(), 1);
    assert_eq!(text(&fixture.invoke(1, "1").await.unwrap()), "1");
}

#[tokio::test]
async fn a_response_without_an_outcome() {
    let fixture = beside_an_honest_slot(|mut guest, id| async move {
        guest.say(Response { request_id: id, outcome: None }).await;
        std::future::pending().await
    })
    .await;
    only_it_ends(&fixture, "no outcome").await;
}

/// A shim that never reads: the call times out although its payload was never taken.
#[tokio::test(start_paused = true)]
async fn a_shim_that_does_not_listen() {
    let fixture = Fixture::new(script(|mut guest| async move {
        ready(&mut guest).await;
        guest.hear().await;
        guest.say(InitDone::default()).await;
        std::future::pending().await
    }))
    .await;
    fixture.init(1, "deaf").await.unwrap();
    let answer = fixture.invoke(1, &"x".repeat(5 * 1024 * 1024)).await.unwrap();
    assert_eq!(outcome(&answer), "Sandbox.Timedout");
}

#[tokio::test]
async fn a_shim_of_another_build_is_not_used() {
    let fixture = Fixture::new(script(|mut guest| async move {
        guest.say(Ready { protocol_version: PROTOCOL_VERSION + 1, runtime_started: false, ..Ready::default() }).await;
        std::future::pending().await
    }))
    .await;
    let Err(InitSlotError::Refused { reason }) = fixture.init(1, "echo").await else { panic!() };
    assert!(reason.contains("must come from one build"), "{reason}");
    fixture.no_slots().await;
    assert_eq!(fixture.launcher.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn pooled_sandboxes_that_misbehave_are_replaced() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static BOOTED: AtomicUsize = AtomicUsize::new(0);
    let honest = honest();
    let fixture = Fixture::with(
        script(move |mut guest| {
            let honest = honest.clone();
            async move {
                if BOOTED.fetch_add(1, Ordering::SeqCst) >= 3 {
                    return honest(guest).await;
                }
                ready(&mut guest).await;
                guest.say(answer("r", response::Outcome::Payload("early".into()))).await;
                std::future::pending().await
            }
        }),
        |config| config.pool_size = 1,
    )
    .await;
    fixture.worker.ready().await;
    // The three names of the custom runtime are one class.
    let classes = fixture.worker.runtimes().len() - 2;
    let replaced = |ready: u32| ready == 1 && BOOTED.load(Ordering::SeqCst) == classes + 3;
    fixture.report(|report| report.pooled.iter().all(|pooled| replaced(pooled.ready))).await;
    assert_eq!(fixture.launcher.alive(), classes);
    assert!(fixture.init(1, "echo").await.unwrap().times.from_pool);
}
