//! A slot's life as its core decides it, frame by frame and deadline by deadline.

use bytes::Bytes;
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_domain::{FunctionResponse, SlotOutcome, StartTimes};
use hearth_guest_protocol::response::Outcome;
use hearth_guest_protocol::{
    GuestError, InitDone as GuestInitDone, Log, Response, RuntimeExit, guest_message, host_message,
};

use super::*;
use crate::pool::Resumed;
use crate::slot::testing::function;

#[derive(Debug, Default)]
struct Recorder {
    sent: Vec<HostMessage>,
    init: Vec<Result<InitDone, InitSlotError>>,
    answers: Vec<InvokeResponse>,
    lines: Vec<String>,
    wishes: Vec<&'static str>,
    pieces: Vec<StreamPiece>,
    out_of_memory: bool,
}

impl Outbox for Recorder {
    fn send(&mut self, message: HostMessage) {
        self.sent.push(message);
    }

    fn answer_init(&mut self, answer: Result<InitDone, InitSlotError>) {
        self.init.push(answer);
    }

    fn answer(&mut self, answer: InvokeResponse) {
        self.answers.push(answer);
    }

    fn stream(&mut self, piece: StreamPiece) {
        self.pieces.push(piece);
    }

    fn log(&mut self, entry: LogEntry) {
        self.lines.extend(String::from_utf8_lossy(&entry.text).lines().map(str::to_owned));
    }

    fn memory_peak_bytes(&mut self) -> u64 {
        20 * 1024 * 1024
    }

    fn ran_out_of_memory(&mut self) -> bool {
        self.out_of_memory
    }

    fn snapshot(&mut self) {
        self.wishes.push("snapshot");
    }

    fn freeze(&mut self) {
        self.wishes.push("freeze");
    }

    fn thaw(&mut self) {
        self.wishes.push("thaw");
    }

    fn end_of_init(&mut self) {
        self.wishes.push("end of init");
    }
}

const POOLED: Arrival = Arrival { from_pool: true, attach: Duration::ZERO };
const BOOTED: Arrival = Arrival { from_pool: false, attach: Duration::ZERO };

fn at(ms: u64) -> Now {
    Now { moment: Moment::ORIGIN + Duration::from_millis(ms), unix_ms: 1_000_000 + ms }
}

fn holder() -> HolderId {
    HolderId::new("wm-1").unwrap()
}

fn core() -> SlotCore {
    let bounds = SlotBounds {
        init_timeout: Duration::from_secs(10),
        freeze_idle_after: Some(Duration::from_secs(1)),
        guest_counts: false,
    };
    SlotCore::new(Moment::ORIGIN, SlotId(1), FencingToken(5), holder(), Arc::new(function("provided")), bounds)
}

fn invoke(id: &str) -> InvokeRequest {
    InvokeRequest {
        request_id: RequestId::new(id).unwrap(),
        slot: SlotId(1),
        token: FencingToken(5),
        payload: Bytes::from_static(b"{}"),
        invoked_arn: "arn".into(),
        client_context: None,
        trace_id: None,
        log_tail: true,
    }
}

fn init_done() -> guest_message::Kind {
    guest_message::Kind::InitDone(GuestInitDone::default())
}

fn response(id: &str, outcome: Outcome) -> guest_message::Kind {
    guest_message::Kind::Response(Response { request_id: id.into(), outcome: Some(outcome) })
}

fn exit(id: &str, status: Option<i32>, signal: Option<i32>) -> guest_message::Kind {
    guest_message::Kind::RuntimeExit(RuntimeExit { request_id: id.into(), status, signal })
}

/// A slot that is idle since 100 ms, and a recorder that saw nothing yet.
fn idle() -> (SlotCore, Recorder) {
    let (mut core, mut out) = (core(), Recorder::default());
    core.on_prepared(at(0), POOLED, Init::default(), &mut out);
    core.on_guest(at(100), init_done(), &mut out);
    core.check_invariants();
    let times = StartTimes { from_pool: true, init: Duration::from_millis(100), ..StartTimes::default() };
    assert_eq!(out.init, [Ok(InitDone { times })]);
    (core, Recorder::default())
}

/// A slot on which `r-1` runs since 200 ms.
fn running() -> (SlotCore, Recorder) {
    let (mut core, mut out) = idle();
    core.on_invoke(at(200), invoke("r-1"), false, &mut out).unwrap();
    core.check_invariants();
    (core, out)
}

fn error_type(answer: &InvokeResponse) -> &str {
    match &answer.response {
        FunctionResponse::Error(error) => &error.error_type,
        FunctionResponse::Success(_) => "success",
    }
}

#[test]
fn the_happy_path() {
    let (mut core, mut out) = running();
    let Some(host_message::Kind::Invoke(sent)) = &out.sent[0].kind else { panic!("{:?}", out.sent) };
    assert_eq!((sent.request_id.as_str(), sent.deadline_unix_ms), ("r-1", 1_003_200));
    assert_eq!(sent.unix_ms, 1_000_200, "a guest's clock is kept by this");
    core.on_guest(at(203), response("r-1", Outcome::Payload("yes".into())), &mut out);
    core.check_invariants();
    let answer = &out.answers[0];
    assert_eq!(answer.response, FunctionResponse::Success("yes".into()));
    assert_eq!(answer.slot, SlotOutcome::Reusable);
    assert_eq!((answer.usage.billed_ms, answer.usage.init_duration), (103, Some(Duration::from_millis(100))));
    assert_eq!(
        out.lines,
        [
            "START RequestId: r-1 Version: $LATEST",
            "END RequestId: r-1",
            "REPORT RequestId: r-1\tDuration: 3.00 ms\tBilled Duration: 103 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 20 MB\tInit Duration: 100.00 ms\t",
        ]
    );
    assert_eq!(answer.log_tail.as_ref().unwrap().iter().filter(|byte| **byte == b'\n').count(), 3);

    core.on_invoke(at(300), invoke("r-2"), false, &mut out).unwrap();
    core.on_guest(at(301), response("r-2", Outcome::Payload("no".into())), &mut out);
    assert_eq!((out.answers[1].usage.billed_ms, out.answers[1].usage.init_duration), (1, None));
    assert_eq!((out.answers.len(), out.sent.len(), out.init.len()), (2, 2, 0), "nothing else was sent");
}

#[test]
fn calls_that_may_not_run_do_not() {
    let (mut core, mut out) = running();
    assert!(matches!(core.on_invoke(at(201), invoke("r-2"), false, &mut out), Err(InvokeError::Busy { .. })));
    for token in [FencingToken(4), FencingToken(6)] {
        let stale = core.on_invoke(at(201), InvokeRequest { token, ..invoke("r-2") }, false, &mut out);
        assert!(matches!(stale, Err(InvokeError::StaleSlot { .. })));
    }
    let mut fresh = self::core();
    assert!(matches!(fresh.on_invoke(at(0), invoke("r-1"), false, &mut out), Err(InvokeError::StaleSlot { .. })));
    assert_eq!(out.sent.len(), 1, "only the first was sent");
}

#[test]
fn fencing_keeps_an_idle_slot_and_drains_a_busy_one() {
    let fence =
        |token| FenceRequest { slot: SlotId(1), token: FencingToken(token), holder: HolderId::new("wm-2").unwrap() };
    let (mut core, mut out) = idle();
    assert_eq!(core.on_fence(&fence(4), &mut out), Fenced::Unknown);
    assert_eq!(core.on_fence(&fence(7), &mut out), Fenced::Idle);
    assert_eq!((core.token(), core.holder().as_str()), (FencingToken(7), "wm-2"));
    assert!(core.on_invoke(at(200), invoke("r-1"), false, &mut out).is_err());
    core.on_reclaim(FencingToken(6), &mut out);
    assert_eq!(core.fate(), Fate::Keep);

    let (mut core, mut out) = running();
    assert_eq!(core.on_fence(&fence(7), &mut out), Fenced::Draining);
    core.check_invariants();
    assert_eq!((core.state(), core.fate()), (SlotState::Draining, Fate::Keep));
    core.on_guest(at(210), response("r-1", Outcome::Payload("yes".into())), &mut out);
    core.check_invariants();
    assert_eq!(out.answers[0].slot, SlotOutcome::Gone);
    assert_eq!((core.state(), core.fate()), (SlotState::Gone, Fate::Destroy));
}

#[test]
fn a_timeout_ends_the_sandbox_and_says_so() {
    let (mut core, mut out) = running();
    assert_eq!(core.deadline(), Some(at(3_200).moment));
    core.on_deadline(at(3_199), &mut out);
    assert!(out.answers.is_empty());
    core.on_deadline(at(3_205), &mut out);
    core.check_invariants();
    assert_eq!(error_type(&out.answers[0]), "Sandbox.Timedout");
    assert_eq!((out.answers[0].slot, core.fate()), (SlotOutcome::Gone, Fate::Destroy));
    assert_eq!(out.lines[1], "1970-01-01T00:16:43.205Z r-1 Task timed out after 3.00 seconds");
    assert!(out.lines[3].contains("\tDuration: 3000.00 ms\tBilled Duration: 3100 ms\t"), "{}", out.lines[3]);
    assert!(out.lines[3].ends_with("Status: timeout"));
}

#[test]
fn the_end_of_a_runtime_is_the_answer() {
    for (message, out_of_memory, expected) in [
        (exit("r-1", Some(1), None), false, "Runtime.ExitError"),
        (exit("r-1", None, Some(9)), true, "Runtime.OutOfMemory"),
        (exit("", None, Some(9)), false, "Runtime.ExitError"),
    ] {
        let (mut core, mut out) = running();
        out.out_of_memory = out_of_memory;
        core.on_guest(at(300), message, &mut out);
        core.check_invariants();
        assert_eq!(error_type(&out.answers[0]), expected);
        assert_eq!(out.lines[2], expected);
        assert!(out.lines[4].ends_with(&format!("Status: error\tError Type: {expected}")));
        assert_eq!(core.fate(), Fate::Destroy);
    }
}

#[test]
fn what_a_handler_answers_wrongly_costs_the_call_and_not_the_slot() {
    let too_large = Bytes::from(vec![b'x'; SYNC_RESPONSE_MAX_BYTES + 1]);
    for (outcome, expected) in [
        (Outcome::TooLarge(7_000_000), "Function.ResponseSizeTooLarge"),
        (Outcome::Payload(too_large), "Function.ResponseSizeTooLarge"),
        (Outcome::Error(GuestError { error_type: "KeyError".into(), document: "{}".into() }), "KeyError"),
    ] {
        let (mut core, mut out) = running();
        core.on_guest(at(300), response("r-1", outcome), &mut out);
        core.check_invariants();
        assert_eq!((error_type(&out.answers[0]), out.answers[0].slot), (expected, SlotOutcome::Reusable));
    }
}

const INIT_START: &str =
    "INIT_START Runtime Version: provided\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:provided";

#[test]
fn a_first_init_that_takes_too_long_is_tried_once_more_within_the_call() {
    let (mut core, mut out) = (core(), Recorder::default());
    core.on_prepared(at(0), POOLED, Init::default(), &mut out);
    assert_eq!(core.deadline(), Some(at(10_000).moment));
    core.on_deadline(at(10_000), &mut out);
    core.check_invariants();
    assert_eq!((core.fate(), out.init.len()), (Fate::Replace, 0));
    core.on_prepared(at(10_100), BOOTED, Init::default(), &mut out);
    assert_eq!(core.deadline(), Some(at(13_100).moment));
    core.on_deadline(at(13_100), &mut out);
    core.check_invariants();
    let [Err(InitSlotError::InitFailed(failure))] = &out.init[..] else { panic!("{:?}", out.init) };
    assert_eq!(failure.error_type, "Sandbox.Timedout");
    assert!(failure.document.contains("Error: Task timed out after 3.00 seconds"), "{}", failure.document);
    assert_eq!(
        out.lines,
        [
            INIT_START,
            "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout",
            INIT_START,
            "INIT_REPORT Init Duration: 3000.00 ms\tPhase: invoke\tStatus: timeout",
        ]
    );
    assert_eq!(core.fate(), Fate::Destroy);
}

#[test]
fn an_init_error_is_told_with_its_log() {
    let (mut core, mut out) = (core(), Recorder::default());
    core.on_prepared(at(0), POOLED, Init::default(), &mut out);
    let log = Log { data: "no such module\n".into(), ..Log::default() };
    core.on_guest(at(1), guest_message::Kind::Log(log), &mut out);
    let error = GuestError { error_type: "Runtime.ImportModuleError".into(), document: r#"{"a":1}"#.into() };
    let done = GuestInitDone { duration_us: 1, error: Some(error) };
    core.on_guest(at(50), guest_message::Kind::InitDone(done), &mut out);
    core.check_invariants();
    let [Err(InitSlotError::InitFailed(failure))] = &out.init[..] else { panic!("{:?}", out.init) };
    assert_eq!((failure.error_type.as_str(), failure.document.as_str()), ("Runtime.ImportModuleError", r#"{"a":1}"#));
    assert!(String::from_utf8_lossy(&failure.log_tail).starts_with("no such module\nINIT_REPORT"));
    assert_eq!(core.fate(), Fate::Destroy);
}

#[test]
fn an_init_that_is_killed_for_its_memory_says_so() {
    let (mut core, mut out) = (core(), Recorder { out_of_memory: true, ..Recorder::default() });
    core.on_prepared(at(0), POOLED, Init::default(), &mut out);
    let error = GuestError { error_type: "Runtime.ExitError".into(), document: "{}".into() };
    let done = GuestInitDone { duration_us: 1, error: Some(error) };
    core.on_guest(at(50), guest_message::Kind::InitDone(done), &mut out);
    core.check_invariants();
    let [Err(InitSlotError::InitFailed(failure))] = &out.init[..] else { panic!("{:?}", out.init) };
    assert_eq!(failure.error_type, "Runtime.OutOfMemory");
    assert_eq!(core.fate(), Fate::Destroy);
}

#[test]
fn an_idle_slot_freezes_and_thaws_before_its_next_call() {
    let (mut core, mut out) = idle();
    core.on_deadline(at(1_100), &mut out);
    assert_eq!(core.deadline(), None);
    core.on_invoke(at(9_000), invoke("r-1"), false, &mut out).unwrap();
    assert_eq!(out.wishes, ["freeze", "thaw"]);
}

#[test]
fn a_microvm_tells_what_its_function_used_and_others_may_not() {
    use hearth_guest_protocol::Stats;
    const MB: u64 = 1 << 20;
    let stats =
        |peak, oom_kills| guest_message::Kind::Stats(Stats { memory_bytes: 0, memory_peak_bytes: peak, oom_kills });
    let counting = || {
        let (mut core, mut out) = (core(), Recorder::default());
        core.bounds.guest_counts = true;
        core.on_prepared(at(0), POOLED, Init::default(), &mut out);
        core.on_guest(at(90), stats(7 * MB, 0), &mut out);
        core.on_guest(at(100), init_done(), &mut out);
        core.on_invoke(at(200), invoke("r-1"), false, &mut out).unwrap();
        core.check_invariants();
        (core, out)
    };
    let (mut core, mut out) = counting();
    core.on_guest(at(300), stats(9 * MB, 0), &mut out);
    core.on_guest(at(300), response("r-1", Outcome::Payload("yes".into())), &mut out);
    assert_eq!(out.answers[0].usage.max_memory_used_bytes, 9 * MB, "not what the host sees of the machine");

    let (mut core, mut out) = counting();
    core.on_guest(at(300), stats(u64::MAX, 1), &mut out);
    core.on_guest(at(300), exit("r-1", None, Some(9)), &mut out);
    assert_eq!((error_type(&out.answers[0]), core.fate()), ("Runtime.OutOfMemory", Fate::Destroy));
    assert_eq!(out.answers[0].usage.max_memory_used_bytes, 128 * MB);

    let (mut core, mut out) = running();
    core.on_guest(at(300), stats(MB, 0), &mut out);
    core.check_invariants();
    assert_eq!(error_type(&out.answers[0]), "Sandbox.Failure", "in a jail the host counts");
}

fn snapshot_ready(error: Option<GuestError>) -> guest_message::Kind {
    guest_message::Kind::SnapshotReady(hearth_guest_protocol::SnapshotReady { error })
}

/// A slot whose sandbox comes to rest since 100 ms, after its init.
fn resting() -> (SlotCore, Recorder) {
    let (mut core, mut out) = (core(), Recorder::default());
    core.on_prepared(at(0), BOOTED, Init { snap_start: true, ..Init::default() }, &mut out);
    core.on_guest(at(100), init_done(), &mut out);
    core.check_invariants();
    assert!(matches!(out.sent[1].kind, Some(host_message::Kind::PrepareSnapshot(_))));
    (core, out)
}

#[test]
fn a_version_is_snapshotted_after_its_init_and_restored_for_its_first_call() {
    let (mut core, mut out) = resting();
    assert!(core.on_invoke(at(101), invoke("r-1"), false, &mut out).is_err());
    core.on_guest(at(110), snapshot_ready(None), &mut out);
    core.check_invariants();
    assert_eq!((out.wishes.as_slice(), core.fate(), core.deadline()), (&["snapshot"][..], Fate::Keep, None));
    core.on_snapshot_over();
    core.check_invariants();
    assert_eq!((core.fate(), out.init.len()), (Fate::Replace, 0), "the slot is answered when it can take a call");
    let log = Log { data: "hello again\n".into(), ..Log::default() };
    let resumed = Resumed { took: Duration::from_millis(12), hooks: Duration::from_millis(5), output: vec![log] };
    core.on_restored(at(200), &resumed, &mut out);
    core.check_invariants();
    let [sandbox, attach, init] = [95, 0, 105].map(Duration::from_millis);
    assert_eq!(out.init, [Ok(InitDone { times: StartTimes { from_pool: false, sandbox, attach, init } })]);
    core.on_invoke(at(300), invoke("r-1"), false, &mut out).unwrap();
    core.on_guest(at(303), response("r-1", Outcome::Payload("yes".into())), &mut out);
    assert_eq!((out.answers[0].usage.billed_ms, out.answers[0].usage.init_duration), (8, None));
    assert_eq!(
        out.lines[..4],
        [
            INIT_START,
            "RESTORE_START Runtime Version: provided\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:provided",
            "hello again",
            "RESTORE_REPORT Restore Duration: 12.00 ms",
        ]
    );
    assert!(out.lines[6].ends_with("\tRestore Duration: 12.00 ms\tBilled Restore Duration: 5 ms\t"));
}

#[test]
fn a_version_that_does_not_come_to_rest_has_a_failed_init() {
    let error = GuestError { error_type: "Hook.Error".into(), document: "{}".into() };
    let (mut core, mut out) = resting();
    core.on_guest(at(110), snapshot_ready(Some(error)), &mut out);
    core.check_invariants();
    let (mut late, mut later) = resting();
    let deadline = late.deadline().unwrap();
    late.on_deadline(Now { moment: deadline, unix_ms: 0 }, &mut later);
    late.check_invariants();
    let (mut broken, mut out_of_broken) = resting();
    broken.on_guest(at(110), exit("", Some(1), None), &mut out_of_broken);
    broken.check_invariants();
    for (core, out, expected) in [
        (core, out, "Hook.Error"),
        (late, later, "SnapStartTimeoutException"),
        (broken, out_of_broken, "Runtime.ExitError"),
    ] {
        let [Err(InitSlotError::InitFailed(failure))] = &out.init[..] else { panic!("{:?}", out.init) };
        assert_eq!((failure.error_type.as_str(), core.fate()), (expected, Fate::Destroy));
        assert!(out.wishes.is_empty());
    }
    let (mut core, mut out) = idle();
    core.on_guest(at(300), snapshot_ready(None), &mut out);
    assert_eq!(core.fate(), Fate::Destroy, "nobody asked for it");
}

#[test]
fn only_a_slot_that_is_idle_still_ends_for_memory() {
    let (mut core, mut out) = idle();
    assert_eq!(core.idle_since(), Some(at(100).moment));
    assert!(!core.on_memory_short(FencingToken(4), &mut out), "somebody took it meanwhile");
    assert!(core.on_memory_short(FencingToken(5), &mut out));
    core.check_invariants();
    assert_eq!(core.fate(), Fate::Destroy);
    let (mut core, mut out) = running();
    assert!(!core.on_memory_short(FencingToken(5), &mut out));
    assert_eq!((core.idle_since(), core.fate()), (None, Fate::Keep));
}

/// Every message that a shim would not send, in every phase: the sandbox ends, whoever waits is answered once, and
/// after that nothing is said any more.
#[test]
fn whatever_a_hostile_shim_says_ends_only_its_sandbox() {
    let log = |id: &str| guest_message::Kind::Log(Log { request_id: id.into(), ..Log::default() });
    let ready = || guest_message::Kind::Ready(hearth_guest_protocol::Ready::default());
    let bare = || guest_message::Kind::Response(Response { request_id: "r-1".into(), outcome: None });
    let mistyped = || {
        let error = GuestError { error_type: "x".repeat(300), document: Bytes::new() };
        response("r-1", Outcome::Error(error))
    };
    let yes = |id: &str| response(id, Outcome::Payload("yes".into()));
    for message in [ready(), init_done(), yes("r-2"), bare(), mistyped(), log("r-2"), exit("r-2", None, None)] {
        let (mut core, mut out) = running();
        core.on_guest(at(300), message.clone(), &mut out);
        core.check_invariants();
        assert_eq!(out.answers.len(), 1, "{message:?}");
        assert_eq!((error_type(&out.answers[0]), core.fate()), ("Sandbox.Failure", Fate::Destroy), "{message:?}");
        core.on_guest(at(301), yes("r-1"), &mut out);
        assert_eq!((out.answers.len(), out.sent.len()), (1, 1), "{message:?}");
    }
    for message in [ready(), init_done(), yes("r-1"), log("r-1")] {
        let (mut core, mut out) = idle();
        core.on_guest(at(300), message.clone(), &mut out);
        core.check_invariants();
        assert_eq!(core.fate(), Fate::Destroy, "{message:?}");
        assert_eq!((out.answers.len(), out.init.len()), (0, 0));
    }
    for message in [ready(), yes("r-1"), log("r-1")] {
        let (mut core, mut out) = (self::core(), Recorder::default());
        core.on_prepared(at(0), POOLED, Init::default(), &mut out);
        core.on_guest(at(300), message.clone(), &mut out);
        core.check_invariants();
        assert!(matches!(out.init[..], [Err(InitSlotError::InitFailed(_))]), "{message:?}");
    }
}

/// Any order of events: the invariants hold, and each accepted call has exactly one answer by the time the slot is over.
#[test]
fn any_order_of_events() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    for seed in 0..2_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut core, mut out, mut accepted, mut ms) = (core(), Recorder::default(), 0, 0);
        for step in 0..60 {
            ms += random.random_range(0..1_500);
            let now = at(ms);
            match random.random_range(0..12) {
                0 if core.fate() == Fate::Replace => core.on_prepared(now, BOOTED, Init::default(), &mut out),
                1 | 2 => core.on_guest(now, init_done(), &mut out),
                3 | 4 => accepted += usize::from(core.on_invoke(now, invoke("r-1"), false, &mut out).is_ok()),
                5 | 6 => core.on_guest(now, response("r-1", Outcome::Payload("yes".into())), &mut out),
                7 => core.on_deadline(now, &mut out),
                8 => core.on_guest(now, guest_message::Kind::Log(Log::default()), &mut out),
                9 if step > 20 => core.drain(&mut out),
                10 if step > 20 => core.on_guest(now, exit("", Some(1), None), &mut out),
                _ => {
                    let fence = FenceRequest { slot: SlotId(1), token: FencingToken(5), holder: holder() };
                    core.on_fence(&fence, &mut out);
                }
            }
            core.check_invariants();
            assert!(out.answers.len() <= accepted && accepted <= out.answers.len() + 1, "seed {seed}");
            assert!(out.init.len() <= 1, "seed {seed}");
        }
        core.on_kill(at(ms + 1), &mut out);
        core.check_invariants();
        assert_eq!((core.fate(), out.answers.len(), out.init.len()), (Fate::Destroy, accepted, 1), "seed {seed}");
    }
}
