//! Slots from their making to their end, with a shim that does as it should.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hearth_domain::{FencingToken, HolderId, MemorySize, SlotId, SlotOutcome, SlotState};
use hearth_protocol::Worker as _;
use hearth_protocol::worker::{FenceRequest, Fenced, InitSlotError, InvokeError};
use hearth_worker::Sample;

use crate::fake::Act;
use crate::fixture::{Fixture, TOKEN, function, honest, init_slot, invocation, outcome, text};

const MB: u64 = 1 << 20;

#[tokio::test]
async fn init_then_invoke_then_invoke_again() {
    let fixture = Fixture::new(honest()).await;
    let done = fixture.init(1, "echo").await.unwrap();
    assert!(!done.times.from_pool);
    let first = fixture.invoke(1, r#"{"a":1}"#).await.unwrap();
    assert_eq!((text(&first).as_str(), first.slot), (r#"{"a":1}"#, SlotOutcome::Reusable));
    assert!(first.usage.init_duration.is_some());
    assert_eq!(first.usage.max_memory_used_bytes, 10 * MB);
    let second = fixture.invoke(1, "2").await.unwrap();
    assert_eq!((text(&second).as_str(), second.usage.init_duration), ("2", None));
    let acts: Vec<_> = fixture.launcher.acts().into_iter().map(|(_, act)| act).collect();
    let [Act::Booted, Act::Code(code), Act::Limits(init), Act::Limits(limits)] = &acts[..] else { panic!("{acts:?}") };
    assert!(code.join("bootstrap").exists());
    assert_eq!((init.memory_bytes, init.milli_cpus), (256 * MB, 1_000));
    assert_eq!((limits.memory_bytes, limits.milli_cpus, limits.tmp_bytes), (256 * MB, 145, 512 * MB));
}

#[tokio::test]
async fn asking_twice_for_a_slot_makes_one() {
    let fixture = Fixture::new(honest()).await;
    let (a, b) = tokio::join!(fixture.init(1, "echo"), fixture.init(1, "echo"));
    assert_eq!(a.unwrap(), b.unwrap());
    assert!(fixture.init(1, "echo").await.is_ok());
    assert_eq!(fixture.launcher.alive(), 1);
    let other = init_slot(1, function("echo"));
    let other = fixture.worker.init_slot(hearth_protocol::worker::InitSlot { token: FencingToken(99), ..other }).await;
    assert!(matches!(other, Err(InitSlotError::Refused { .. })));
    // The answer is remembered after the slot's end.
    let failed = fixture.init(2, "init-fails").await.unwrap_err();
    fixture.report(|report| report.slots.len() == 1).await;
    assert_eq!(fixture.init(2, "init-fails").await.unwrap_err(), failed);
}

#[tokio::test]
async fn one_call_at_a_time_and_only_with_the_newest_token() {
    let fixture = Fixture::new(honest()).await;
    fixture.init(1, "hang").await.unwrap();
    let running = fixture.invoke(1, "{}");
    tokio::pin!(running);
    assert!(futures::poll!(running.as_mut()).is_pending());
    assert_eq!(fixture.invoke(1, "{}").await.unwrap_err(), InvokeError::Busy { slot: SlotId(1) });
    assert!(matches!(fixture.invoke(9, "{}").await, Err(InvokeError::StaleSlot { .. })));

    fixture.init(2, "echo").await.unwrap();
    let fence = FenceRequest { slot: SlotId(2), token: FencingToken(11), holder: HolderId::new("wm-2").unwrap() };
    assert_eq!(fixture.worker.fence(fence.clone()).await.unwrap(), Fenced::Idle);
    assert!(matches!(fixture.invoke(2, "{}").await, Err(InvokeError::StaleSlot { .. })));
    let fenced = hearth_protocol::worker::InvokeRequest { token: FencingToken(11), ..invocation(2, "1") };
    assert_eq!(text(&fixture.worker.invoke(fenced).await.unwrap()), "1");
    let unknown = FenceRequest { slot: SlotId(3), ..fence };
    assert_eq!(fixture.worker.fence(unknown).await.unwrap(), Fenced::Unknown);
    let report = fixture.report(|report| report.slots.iter().any(|slot| slot.token == FencingToken(11))).await;
    let slot = report.slots.iter().find(|slot| slot.slot == SlotId(2)).unwrap();
    assert_eq!((slot.holder.as_str(), slot.state, slot.memory_mb), ("wm-2", SlotState::Idle, 256));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_ends_with_its_sandbox() {
    let fixture = Fixture::new(honest()).await;
    let answer = fixture.call(1, "hang").await;
    let expected = r#" Error: Task timed out after 3.00 seconds"}"#;
    assert!(text(&answer).starts_with(r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: request-"#));
    assert!(text(&answer).ends_with(expected), "{}", text(&answer));
    assert_eq!((answer.slot, answer.usage.duration), (SlotOutcome::Gone, Duration::from_secs(3)));
    assert!(matches!(fixture.invoke(1, "{}").await, Err(InvokeError::StaleSlot { .. })));
    let tail = String::from_utf8(answer.log_tail.unwrap().to_vec()).unwrap();
    assert!(tail.contains("Z request-") && tail.contains(" Task timed out after 3.00 seconds\nEND "), "{tail}");
    assert!(tail.ends_with("Status: timeout\n"), "{tail}");
    fixture.no_slots().await;
    assert_eq!(fixture.launcher.alive(), 0);
}

#[tokio::test]
async fn the_end_of_a_runtime_is_the_callers_answer() {
    let fixture = Fixture::new(honest()).await;
    for (slot, handler, error_type, message) in [
        (1, "exits-1", "Runtime.ExitError", "Error: Runtime exited with error: exit status 1"),
        (2, "exits-0", "Runtime.ExitError", "Error: Runtime exited without providing a reason"),
        (3, "out-of-memory", "Runtime.OutOfMemory", "Error: Runtime exited with error: signal: killed"),
        (4, "sandbox-out-of-memory", "Runtime.OutOfMemory", "Error: Runtime exited with error: signal: killed"),
    ] {
        let answer = fixture.call(slot, handler).await;
        assert_eq!((outcome(&answer), answer.slot), (error_type, SlotOutcome::Gone), "{handler}");
        assert!(text(&answer).contains(message), "{handler}: {}", text(&answer));
    }
    for (slot, handler, error_type) in [(5, "raises", "KeyError"), (6, "too-large", "Function.ResponseSizeTooLarge")] {
        let answer = fixture.call(slot, handler).await;
        assert_eq!((outcome(&answer), answer.slot), (error_type, SlotOutcome::Reusable), "{handler}");
    }
}

#[tokio::test]
async fn output_is_kept_line_by_line_for_its_request() {
    let fixture = Fixture::new(honest()).await;
    let answer = fixture.call(1, "prints").await;
    let tail = String::from_utf8(answer.log_tail.unwrap().to_vec()).unwrap();
    let lines = fixture.log_until("REPORT").await;
    assert!(lines[0].starts_with("INIT_START Runtime Version: "), "{}", lines[0]);
    let lines = &lines[1..];
    assert_eq!(tail.lines().collect::<Vec<_>>(), lines, "the tail is the call's own");
    assert!(lines[0].starts_with("START RequestId: request-") && lines[0].ends_with(" Version: $LATEST"));
    assert_eq!(lines[1..4], ["first line", "second line", "no line feed"]);
    assert!(lines[4].starts_with("END RequestId: request-"));
    assert!(lines[5].contains("\tMemory Size: 256 MB\tMax Memory Used: 10 MB\tInit Duration: "), "{}", lines[5]);
}

#[tokio::test]
async fn failed_inits_are_told_and_leave_nothing() {
    let fixture = Fixture::new(honest()).await;
    for (slot, handler, error_type) in
        [(1, "init-fails", "Runtime.ImportModuleError"), (2, "init-exits", "Runtime.ExitError")]
    {
        let Err(InitSlotError::InitFailed(failure)) = fixture.init(slot, handler).await else { panic!("{handler}") };
        assert_eq!(failure.error_type, error_type);
    }
    let lines = fixture.log_until("Runtime.ExitError").await;
    assert!(lines[1].starts_with("INIT_REPORT Init Duration: ") && lines[1].ends_with("Runtime.ImportModuleError"));
    assert!(lines[2].starts_with("INIT_START ") && lines[3] == "about to fail", "{lines:?}");
    fixture.no_slots().await;
    assert_eq!(fixture.launcher.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_init_that_hangs_is_tried_twice() {
    let fixture = Fixture::new(honest()).await;
    let started = tokio::time::Instant::now();
    let Err(InitSlotError::InitFailed(failure)) = fixture.init(1, "init-hangs").await else { panic!() };
    assert_eq!(failure.error_type, "Sandbox.Timedout");
    assert_eq!(started.elapsed().as_secs(), 13);
    let booted = fixture.launcher.acts().iter().filter(|(_, act)| *act == Act::Booted).count();
    assert_eq!(booted, 2, "the second init has a sandbox of its own");
}

#[tokio::test]
async fn a_full_worker_refuses_and_takes_again_when_there_is_room() {
    let fixture = Fixture::with(honest(), |config| (config.pool_size, config.max_slots) = (0, 3)).await;
    let mut large = function("echo");
    large.memory = MemorySize::new(900).unwrap();
    fixture.worker.init_slot(init_slot(1, large)).await.unwrap();
    let Err(InitSlotError::Refused { reason }) = fixture.init(2, "echo").await else { panic!() };
    assert_eq!(reason, "900 of 1024 MB are promised to other slots");
    fixture.worker.reclaim(vec![(SlotId(1), TOKEN)]).await.unwrap();
    fixture.no_slots().await;
    for slot in 3..6 {
        fixture.init(slot, "echo").await.unwrap();
    }
    let Err(InitSlotError::Refused { reason }) = fixture.init(6, "echo").await else { panic!() };
    assert_eq!(reason, "there are 3 slots already");
    let mut foreign = function("echo");
    foreign.runtime = "nodejs99.x".parse().unwrap();
    let Err(InitSlotError::Refused { reason }) = fixture.worker.init_slot(init_slot(7, foreign)).await else {
        panic!()
    };
    assert!(reason.contains("nodejs99.x"), "{reason}");
}

#[tokio::test]
async fn a_pool_gives_refills_and_never_takes_back() {
    let fixture = Fixture::with(honest(), |config| config.pool_size = 2).await;
    fixture.worker.ready().await;
    fixture.report(|report| report.pooled.iter().all(|pooled| pooled.ready == 2)).await;
    assert!(fixture.init(1, "echo").await.unwrap().times.from_pool);
    fixture.report(|report| report.pooled.iter().all(|pooled| pooled.ready == 2) && report.slots.len() == 1).await;
    fixture.worker.reclaim(vec![(SlotId(1), TOKEN)]).await.unwrap();
    fixture.no_slots().await;
    let acts = fixture.launcher.acts();
    let used: Vec<_> = acts.iter().filter(|(_, act)| matches!(act, Act::Code(_))).map(|(id, _)| id).collect();
    let killed: Vec<_> = acts.iter().filter(|(_, act)| *act == Act::Killed).map(|(id, _)| id).collect();
    assert_eq!(used, killed, "what saw code is destroyed, and nothing else is");
    fixture.worker.shutdown(Duration::from_secs(5)).await;
    assert_eq!(fixture.launcher.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn boots_that_fail_are_told_and_tried_again() {
    let fixture = Fixture::with(honest(), |config| config.pool_size = 0).await;
    fixture.launcher.refuse.store(1, Ordering::SeqCst);
    let Err(InitSlotError::Refused { reason }) = fixture.init(1, "echo").await else { panic!() };
    assert!(reason.contains("clone"), "{reason}");
    assert!(fixture.init(2, "echo").await.is_ok());

    let pooled = Fixture::with(honest(), |config| config.pool_size = 1).await;
    pooled.launcher.refuse.store(2, Ordering::SeqCst);
    pooled.worker.ready().await;
    assert!(pooled.worker.troubles().is_empty());
}

#[tokio::test]
async fn placement_may_be_away_and_what_it_asks_for_is_done() {
    let fixture = Fixture::new(honest()).await;
    fixture.placement.away.store(true, Ordering::SeqCst);
    fixture.init(1, "echo").await.unwrap();
    assert_eq!(text(&fixture.invoke(1, "1").await.unwrap()), "1");
    fixture.placement.reclaim.lock().unwrap().push((SlotId(1), TOKEN));
    fixture.placement.away.store(false, Ordering::SeqCst);
    fixture.report(|report| report.slots.len() == 1).await;
    fixture.no_slots().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_sandbox_is_frozen_and_thawed_for_its_next_call() {
    let fixture = Fixture::new(honest()).await;
    fixture.init(1, "echo").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fixture.invoke(1, "1").await.unwrap();
    fixture.invoke(1, "2").await.unwrap();
    let acts = fixture.launcher.acts();
    let froze: Vec<_> =
        acts.iter().filter(|(_, act)| matches!(act, Act::Paused | Act::Resumed)).map(|(_, act)| act).collect();
    assert_eq!(froze, [&Act::Paused, &Act::Resumed]);
}

#[tokio::test(start_paused = true)]
async fn idle_slots_end_oldest_first_while_memory_is_short() {
    let fixture = Fixture::with(honest(), |config| (config.pool_size, config.freeze_idle_after) = (0, None)).await;
    for slot in 1..4 {
        fixture.init(slot, "echo").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.init(4, "hang").await.unwrap();
    let running = fixture.invoke(4, "{}");
    tokio::pin!(running);
    assert!(futures::poll!(running.as_mut()).is_pending());
    // The first is used once more, so it is not the oldest any longer.
    fixture.invoke(1, "{}").await.unwrap();
    fixture.placement.memory.send_replace(Sample { stalled: true, available_permille: 500 });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.launcher.alive(), 4, "a stall alone ends nothing");
    fixture.placement.memory.send_replace(Sample { stalled: true, available_permille: 50 });
    let report = fixture.report(|report| report.slots.len() == 3).await;
    assert!(report.slots.iter().all(|slot| slot.slot != SlotId(2)), "the one idle longest went");
    assert!(matches!(fixture.invoke(2, "{}").await, Err(InvokeError::StaleSlot { .. })));
    let report = fixture.report(|report| report.slots.len() == 1).await;
    assert_eq!(report.slots[0].slot, SlotId(4), "what runs goes on");
    assert_eq!(outcome(&running.await.unwrap()), "Sandbox.Timedout");
}

#[tokio::test]
async fn a_function_never_runs_in_less_than_it_asks_for() {
    use hearth_domain::Isolation;
    let fixture = Fixture::new(honest()).await;
    for (slot, asked, runs) in [(1, Isolation::Jail, true), (2, Isolation::Process, true), (3, Isolation::Kvm, false)] {
        let mut function = function("echo");
        function.isolation = Some(asked);
        let made = fixture.worker.init_slot(init_slot(slot, function)).await;
        assert_eq!(made.is_ok(), runs, "{asked}: {made:?}");
        if let Err(error) = made {
            assert!(error.to_string().contains("runs in kvm or nothing, and this worker has jail"), "{error}");
        }
    }
    assert_eq!(fixture.launcher.alive(), 2);
    let report = fixture.report(|report| report.slots.len() == 2).await;
    assert_eq!(report.isolation, Isolation::Jail);
    assert_eq!((report.capacity.memory_mb, report.capacity.promised_memory_mb), (1_024, 1_024));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_calls_finish_within_the_grace() {
    let fixture = Fixture::new(honest()).await;
    fixture.init(1, "hang").await.unwrap();
    fixture.init(2, "echo").await.unwrap();
    let running = fixture.invoke(1, "{}");
    tokio::pin!(running);
    assert!(futures::poll!(running.as_mut()).is_pending());
    let (answer, ()) = tokio::join!(running, fixture.worker.shutdown(Duration::from_secs(10)));
    assert_eq!(outcome(&answer.unwrap()), "Sandbox.Timedout");
    assert_eq!(fixture.launcher.alive(), 0);
    assert!(matches!(fixture.init(3, "echo").await, Err(InitSlotError::Refused { .. })));

    let fixture = Fixture::new(honest()).await;
    fixture.init(1, "hang").await.unwrap();
    let running = fixture.invoke(1, "{}");
    tokio::pin!(running);
    assert!(futures::poll!(running.as_mut()).is_pending());
    let (answer, ()) = tokio::join!(running, fixture.worker.shutdown(Duration::from_secs(1)));
    assert_eq!(outcome(&answer.unwrap()), "Runtime.ExitError");
    assert_eq!(fixture.launcher.alive(), 0);
}
