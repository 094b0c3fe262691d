//! The life cycle step by step, its table, and its promises under any order of events.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hearth_guest_protocol::guest_message::Kind;
use hearth_guest_protocol::{
    ResponseChunk, ResponseEnd, ResponseStart, Restored, STREAM_CHUNK_MAX_BYTES, STREAM_WINDOW, SnapshotReady,
    StreamCredit, stream_cost,
};
use proptest::prelude::*;

use super::*;

/// A request that the test can hang up.
#[derive(Debug, Clone, PartialEq)]
struct Asked(u32, Rc<Cell<bool>>);

impl Poll for Asked {
    fn is_waiting(&self) -> bool {
        self.1.get()
    }
}

fn asked(number: u32) -> Asked {
    Asked(number, Rc::new(Cell::new(true)))
}

fn invoke(id: &str) -> Invoke {
    Invoke { request_id: id.into(), ..Invoke::default() }
}

fn turn(to: &str) -> Action<Asked> {
    Action::TurnLog { to: to.into() }
}

fn delivered(poll: Asked, id: &str) -> Action<Asked> {
    Action::Deliver { poll, invocation: Arc::new(invoke(id)) }
}

fn init_done(duration_us: u64, error: Option<GuestError>) -> Action<Asked> {
    Action::Send(InitDone { duration_us, error }.into())
}

fn refused(from: &'static str, to: &'static str) -> Refusal {
    Refusal::InvalidTransition { from, to }
}

/// A life cycle and what it wants done, with the invariants checked after each step.
struct Subject {
    lifecycle: Lifecycle<Asked>,
    out: Vec<Action<Asked>>,
    now: Moment,
}

impl Subject {
    fn new(pre_started: bool) -> Self {
        let mut out = Vec::new();
        Self { lifecycle: Lifecycle::new(pre_started, false, Vec::new(), &mut out), out, now: Moment::ORIGIN }
    }

    /// A sandbox whose runtime waits, by poll number 1.
    fn idle() -> Self {
        let mut subject = Self::new(false);
        subject.lifecycle.on_init(Moment::ORIGIN, Init::default(), &mut subject.out).unwrap();
        subject.next(asked(1)).unwrap();
        subject.out.clear();
        subject
    }

    fn running(id: &str) -> Self {
        let mut subject = Self::idle();
        subject.lifecycle.on_invoke(invoke(id), &mut subject.out).unwrap();
        subject.out.clear();
        subject
    }

    fn next(&mut self, poll: Asked) -> Result<(), Refusal> {
        self.lifecycle.on_next(self.now, poll, &mut self.out).map_err(|(_, refusal)| refusal)
    }

    /// What it wanted done since the last look: all of it.
    fn wanted(&mut self) -> Vec<Action<Asked>> {
        self.lifecycle.check_invariants();
        std::mem::take(&mut self.out)
    }
}

#[test]
fn the_table_is_this() {
    let mut legal = String::new();
    for phase in Phase::ALL {
        for event in Event::ALL {
            if let Some(next) = phase.after(event) {
                legal += &format!("{phase:?} {event:?} {next:?}\n");
            }
        }
    }
    assert_eq!(legal, include_str!("table.txt"));
}

#[test]
fn a_custom_runtime_is_ready_at_once_and_serves_a_call() {
    let mut subject = Subject::new(false);
    let ready = Ready { protocol_version: PROTOCOL_VERSION, runtime_started: false, ..Ready::default() };
    assert_eq!(subject.wanted(), [Action::Send(ready.into())]);
    let init = Init { handler: "h".into(), ..Init::default() };
    subject.now = Moment::from_nanos(1_000_000);
    subject.lifecycle.on_init(subject.now, init.clone(), &mut subject.out).unwrap();
    assert_eq!(subject.wanted(), [turn(""), Action::Bind(init)]);
    subject.now = subject.now + Duration::from_micros(1500);
    subject.next(asked(1)).unwrap();
    assert_eq!(subject.wanted(), [turn(""), init_done(1500, None)]);
    subject.lifecycle.on_invoke(invoke("r"), &mut subject.out).unwrap();
    assert_eq!(subject.wanted(), [turn("r"), delivered(asked(1), "r")]);
    subject.lifecycle.on_answer_begins("r", AnswerKind::Response).unwrap();
    let outcome = Outcome::Payload("x".into());
    subject.lifecycle.on_answer(outcome.clone(), &mut subject.out);
    let response = Response { request_id: "r".into(), outcome: Some(outcome) };
    assert_eq!(subject.wanted(), [turn(""), Action::Send(response.into())]);
}

#[test]
fn a_pre_started_runtime_is_ready_when_it_says_so_and_only_once() {
    let mut subject = Subject::new(true);
    assert_eq!(subject.wanted(), []);
    let early = subject.lifecycle.on_init(subject.now, Init::default(), &mut subject.out);
    assert_eq!(early, Err(OutOfTurn { event: Event::Init, phase: Phase::Booting }));
    subject.lifecycle.on_warm(&mut subject.out);
    subject.lifecycle.on_warm(&mut subject.out);
    let ready = Ready { protocol_version: PROTOCOL_VERSION, runtime_started: true, ..Ready::default() };
    assert_eq!(subject.wanted(), [Action::Send(ready.into())]);
}

#[test]
fn an_invocation_waits_for_a_runtime_that_is_not_asking() {
    let mut subject = Subject::running("a");
    subject.lifecycle.on_answer_begins("a", AnswerKind::Error).unwrap();
    subject.lifecycle.on_answer(Outcome::TooLarge(9), &mut subject.out);
    subject.wanted();
    subject.lifecycle.on_invoke(invoke("b"), &mut subject.out).unwrap();
    assert_eq!(subject.wanted(), [turn("b")]);
    subject.next(asked(2)).unwrap();
    assert_eq!(subject.wanted(), [delivered(asked(2), "b")]);
}

#[test]
fn who_hung_up_is_passed_over() {
    let mut subject = Subject::idle();
    let (gone, there) = (asked(2), asked(3));
    subject.next(gone.clone()).unwrap();
    subject.next(there.clone()).unwrap();
    subject.lifecycle.polls.front().unwrap().1.set(false);
    gone.1.set(false);
    subject.lifecycle.on_invoke(invoke("r"), &mut subject.out).unwrap();
    assert_eq!(subject.wanted(), [turn("r"), delivered(there, "r")]);
}

#[test]
fn a_runtime_that_lost_its_invocation_gets_it_again() {
    let mut subject = Subject::running("r");
    subject.next(asked(2)).unwrap();
    assert_eq!(subject.wanted(), [delivered(asked(2), "r")]);
}

#[test]
fn answers_out_of_turn_are_refused_as_aws_refuses_them() {
    let mut subject = Subject::idle();
    let begins = |subject: &mut Subject, id, kind| subject.lifecycle.on_answer_begins(id, kind);
    assert_eq!(begins(&mut subject, "", AnswerKind::Response), Err(Refusal::InvalidRequestId));
    assert_eq!(begins(&mut subject, "r", AnswerKind::Response), Err(Refusal::InvalidRequestId));
    let mut subject = Subject::running("r");
    assert_eq!(begins(&mut subject, "other", AnswerKind::Response), Err(Refusal::InvalidRequestId));
    assert_eq!(begins(&mut subject, "r", AnswerKind::Response), Ok(()));
    let twice = begins(&mut subject, "r", AnswerKind::Error);
    assert_eq!(twice, Err(refused("InvocationResponse", "InvocationErrorResponse")));
    subject.lifecycle.on_answer(Outcome::Payload("".into()), &mut subject.out);
    let again = begins(&mut subject, "r", AnswerKind::Response);
    assert_eq!(again, Err(refused("RuntimeResponseSentState", "InvocationResponse")));
    let late = subject.lifecycle.on_init_error(subject.now, GuestError::default(), &mut subject.out);
    assert_eq!(late, Err(refused("RuntimeResponseSentState", "InitError")));
}

#[test]
fn a_broken_answer_may_be_sent_again() {
    let mut subject = Subject::running("r");
    subject.lifecycle.on_answer_begins("r", AnswerKind::Response).unwrap();
    subject.lifecycle.on_answer_aborted(&mut subject.out);
    assert_eq!(subject.wanted(), []);
    subject.lifecycle.on_answer_begins("r", AnswerKind::Response).unwrap();
}

#[test]
fn an_init_error_ends_the_init_and_the_runtime_gets_no_invocation() {
    let mut subject = Subject::new(false);
    subject.lifecycle.on_init(subject.now, Init::default(), &mut subject.out).unwrap();
    subject.wanted();
    let error = GuestError { error_type: "E".into(), document: "{}".into() };
    subject.lifecycle.on_init_error(subject.now, error.clone(), &mut subject.out).unwrap();
    assert_eq!(subject.wanted(), [turn(""), init_done(0, Some(error))]);
    assert_eq!(subject.next(asked(1)), Err(refused("InitError", "Ready")));
    subject.lifecycle.on_exit(subject.now, Exit::Status(1), &mut subject.out);
    let exit = RuntimeExit { request_id: String::new(), status: Some(1), signal: None };
    assert_eq!(subject.wanted(), [turn(""), Action::Send(exit.into())]);
}

#[test]
fn an_exit_during_init_is_the_init_s_error_and_during_a_call_the_call_s() {
    let mut subject = Subject::new(false);
    subject.lifecycle.on_init(subject.now, Init::default(), &mut subject.out).unwrap();
    subject.wanted();
    subject.lifecycle.on_exit(subject.now, Exit::Signal(9), &mut subject.out);
    let exit = RuntimeExit { request_id: String::new(), status: None, signal: Some(9) };
    let document =
        r#"{"errorMessage":"Error: Runtime exited with error: signal: killed","errorType":"Runtime.ExitError"}"#;
    let error = GuestError { error_type: "Runtime.ExitError".into(), document: document.into() };
    assert_eq!(subject.wanted(), [turn(""), init_done(0, Some(error)), Action::Send(exit.into())]);

    let mut subject = Subject::running("r");
    subject.lifecycle.on_exit(subject.now, Exit::Status(3), &mut subject.out);
    let exit = RuntimeExit { request_id: "r".into(), status: Some(3), signal: None };
    assert_eq!(subject.wanted(), [turn(""), Action::Send(exit.into())]);
    subject.lifecycle.on_exit(subject.now, Exit::Status(3), &mut subject.out);
    assert_eq!(subject.wanted(), []);
}

#[test]
fn a_runtime_that_dies_before_it_is_warm_is_told_after_ready() {
    let mut subject = Subject::new(true);
    subject.lifecycle.on_exit(subject.now, Exit::Status(1), &mut subject.out);
    let ready = Ready { protocol_version: PROTOCOL_VERSION, runtime_started: false, ..Ready::default() };
    let exit = RuntimeExit { request_id: String::new(), status: Some(1), signal: None };
    assert_eq!(subject.wanted(), [Action::Send(ready.into()), Action::Send(exit.into())]);
}

mod streams {
    use super::*;

    fn start() -> Action<Asked> {
        Action::Send(ResponseStart { request_id: "r".into(), content_type: "text/html".into() }.into())
    }

    fn chunk(bytes: usize) -> Action<Asked> {
        Action::Send(ResponseChunk { request_id: "r".into(), data: vec![7; bytes].into() }.into())
    }

    fn end(error: Option<GuestError>) -> Action<Asked> {
        Action::Send(ResponseEnd { request_id: "r".into(), error }.into())
    }

    /// A sandbox whose runtime streams its answer.
    fn streaming() -> Subject {
        let mut subject = Subject::idle();
        let invoke = Invoke { streaming: true, ..invoke("r") };
        subject.lifecycle.on_invoke(invoke, &mut subject.out).unwrap();
        subject.lifecycle.on_answer_begins("r", AnswerKind::Response).unwrap();
        assert!(subject.lifecycle.wants_stream());
        subject.wanted();
        subject.lifecycle.on_stream_start("text/html".into(), &mut subject.out);
        assert_eq!(subject.wanted(), [start()]);
        subject
    }

    #[test]
    fn pieces_come_between_a_start_and_an_end() {
        let mut subject = streaming();
        subject.lifecycle.on_stream_chunk(vec![7; 3].into(), &mut subject.out);
        assert_eq!(subject.wanted(), [chunk(3)]);
        subject.lifecycle.on_stream_end(None, &mut subject.out);
        assert_eq!(subject.wanted(), [turn(""), end(None)]);
        assert_eq!(subject.lifecycle.phase(), Phase::Answered);
    }

    #[test]
    fn no_more_is_sent_than_is_credited() {
        let mut subject = streaming();
        let largest = stream_cost(STREAM_CHUNK_MAX_BYTES);
        for _ in 0..STREAM_WINDOW / largest {
            assert!(subject.lifecycle.may_stream());
            subject.lifecycle.on_stream_chunk(vec![7; STREAM_CHUNK_MAX_BYTES].into(), &mut subject.out);
        }
        assert!(!subject.lifecycle.may_stream());
        subject.lifecycle.on_credit(&StreamCredit { request_id: "earlier".into(), amount: largest });
        assert!(!subject.lifecycle.may_stream());
        subject.lifecycle.on_credit(&StreamCredit { request_id: "r".into(), amount: largest });
        assert!(subject.lifecycle.may_stream());
        subject.lifecycle.on_credit(&StreamCredit { request_id: "r".into(), amount: u64::MAX });
        assert_eq!(subject.lifecycle.stream.as_ref().unwrap().credit, STREAM_WINDOW);
    }

    #[test]
    fn a_connection_that_breaks_within_it_ends_it_with_an_error() {
        let mut subject = streaming();
        subject.lifecycle.on_answer_aborted(&mut subject.out);
        assert_eq!(subject.wanted(), [turn(""), end(Some(stream::truncated()))]);
        let again = subject.lifecycle.on_answer_begins("r", AnswerKind::Response);
        assert_eq!(again, Err(refused("RuntimeResponseSentState", "InvocationResponse")));
    }

    #[test]
    fn a_stream_that_failed_before_its_first_byte_is_an_error_like_any_other() {
        let mut subject = Subject::idle();
        let invoke = Invoke { streaming: true, ..invoke("r") };
        subject.lifecycle.on_invoke(invoke, &mut subject.out).unwrap();
        subject.lifecycle.on_answer_begins("r", AnswerKind::Response).unwrap();
        subject.wanted();
        subject.lifecycle.on_stream_end(Some(GuestError::default()), &mut subject.out);
        let outcome = Some(Outcome::Error(GuestError::default()));
        assert_eq!(subject.wanted(), [turn(""), Action::Send(Response { request_id: "r".into(), outcome }.into())]);
    }

    #[test]
    fn a_runtime_that_dies_within_it_is_told() {
        let mut subject = streaming();
        subject.lifecycle.on_exit(subject.now, Exit::Signal(9), &mut subject.out);
        let exit = RuntimeExit { request_id: "r".into(), status: None, signal: Some(9) };
        assert_eq!(subject.wanted(), [turn(""), Action::Send(exit.into())]);
        subject.lifecycle.on_stream_chunk(vec![7].into(), &mut subject.out);
        subject.lifecycle.on_stream_end(None, &mut subject.out);
        assert_eq!(subject.wanted(), []);
    }
}

mod snapshots {
    use super::*;

    fn restored(duration_us: u64, error: Option<GuestError>) -> Action<Asked> {
        Action::Send(Restored { duration_us, error }.into())
    }

    fn snapshot_ready() -> Action<Asked> {
        Action::Send(SnapshotReady { error: None }.into())
    }

    fn restore() -> Restore {
        let environment = vec![EnvironmentVariable { name: "STREAM".into(), value: "other".into() }];
        Restore { unix_ns: 7, environment, ..Restore::default() }
    }

    /// Restores, as the shell around the life cycle does.
    fn restore_now(subject: &mut Subject) {
        subject.lifecycle.on_restore(subject.now, restore(), &mut subject.out).unwrap();
        subject.lifecycle.on_another(subject.now, &mut subject.out);
    }

    /// A sandbox whose function wants a snapshot.
    fn wanting() -> Subject {
        let mut subject = Subject::new(false);
        let init = Init { snap_start: true, ..Init::default() };
        subject.lifecycle.on_init(Moment::ORIGIN, init, &mut subject.out).unwrap();
        subject.out.clear();
        subject
    }

    fn restore_next(subject: &mut Subject, poll: Asked) -> Result<(), Refusal> {
        subject.lifecycle.on_restore_next(subject.now, poll, &mut subject.out).map_err(|(_, refusal)| refusal)
    }

    /// A sandbox that was restored, and has heard nothing of its runtime's hooks yet.
    fn restoring() -> Subject {
        let mut subject = wanting();
        restore_next(&mut subject, asked(1)).unwrap();
        subject.lifecycle.on_prepare_snapshot(&mut subject.out).unwrap();
        restore_now(&mut subject);
        subject.out.clear();
        subject
    }

    #[test]
    fn one_of_the_pool_goes_on_as_one_of_the_pool() {
        let mut subject = Subject::new(false);
        subject.wanted();
        subject.lifecycle.on_prepare_snapshot(&mut subject.out).unwrap();
        assert_eq!(subject.wanted(), [Action::Rest { bound: false }, turn(""), snapshot_ready()]);
        let early = subject.lifecycle.on_init(subject.now, Init::default(), &mut subject.out);
        assert_eq!(early, Err(OutOfTurn { event: Event::Init, phase: Phase::PooledAtRest }));
        restore_now(&mut subject);
        assert_eq!(subject.wanted(), [Action::Become(restore()), turn(""), restored(0, None)]);
        subject.lifecycle.on_init(subject.now, Init::default(), &mut subject.out).unwrap();
    }

    #[test]
    fn hooks_run_before_the_snapshot_and_after_the_restore() {
        let mut subject = wanting();
        restore_next(&mut subject, asked(1)).unwrap();
        assert_eq!(subject.wanted(), [turn(""), init_done(0, None)]);
        subject.lifecycle.on_prepare_snapshot(&mut subject.out).unwrap();
        assert_eq!(subject.wanted(), [Action::Rest { bound: true }, turn(""), snapshot_ready()]);
        restore_now(&mut subject);
        let delivered = Action::DeliverRestore { poll: asked(1), environment: restore().environment };
        assert_eq!(subject.wanted(), [Action::Become(restore()), delivered]);
        subject.now = subject.now + Duration::from_micros(70);
        subject.next(asked(2)).unwrap();
        assert_eq!(subject.wanted(), [turn(""), restored(70, None)]);
        subject.lifecycle.on_invoke(invoke("r"), &mut subject.out).unwrap();
    }

    #[test]
    fn a_runtime_without_hooks_is_restored_at_once() {
        let mut subject = Subject::idle();
        subject.lifecycle.on_prepare_snapshot(&mut subject.out).unwrap();
        restore_now(&mut subject);
        subject.out.clear();
        subject.lifecycle.on_invoke(invoke("r"), &mut subject.out).unwrap();
        assert_eq!(subject.wanted(), [turn("r"), delivered(asked(1), "r")]);
    }

    #[test]
    fn a_failing_hook_fails_the_restore() {
        let error = GuestError { error_type: "Runtime.AfterRestoreError".into(), document: "{}".into() };
        let mut subject = restoring();
        subject.lifecycle.on_restore_error(subject.now, error.clone(), &mut subject.out).unwrap();
        assert_eq!(subject.wanted(), [turn(""), restored(0, Some(error.clone()))]);
        assert_eq!(subject.next(asked(2)), Err(refused("RestoreError", "Ready")));
        let mut subject = restoring();
        subject.lifecycle.on_exit(subject.now, Exit::Status(64), &mut subject.out);
        let wanted = subject.wanted();
        assert!(matches!(&wanted[1], Action::Send(message) if matches!(&message.kind,
            Some(Kind::Restored(restored)) if restored.error.as_ref().unwrap().error_type == "Runtime.ExitError")));
        let mut subject = Subject::idle();
        let early = subject.lifecycle.on_restore_error(subject.now, error, &mut subject.out);
        assert_eq!(early, Err(refused("Ready", "RestoreError")));
    }

    #[test]
    fn who_lost_the_news_of_the_restore_gets_it_again() {
        let mut subject = restoring();
        restore_next(&mut subject, asked(2)).unwrap();
        let delivered = Action::DeliverRestore { poll: asked(2), environment: restore().environment };
        assert_eq!(subject.wanted(), [delivered]);
    }

    #[test]
    fn nobody_waits_for_a_restore_that_nobody_wants() {
        let mut subject = Subject::new(false);
        subject.lifecycle.on_init(subject.now, Init::default(), &mut subject.out).unwrap();
        assert_eq!(restore_next(&mut subject, asked(1)), Err(refused("Started", "RestoreReady")));
        subject.next(asked(2)).unwrap();
    }
}

proptest! {
    /// Whatever worker and runtime do, in whatever order: the protocol's promises to the worker hold.
    #[test]
    fn no_order_of_events_breaks_the_promises(pre_started: bool, snap_start: bool, steps in prop::collection::vec(0_u8..19, 0..60)) {
        let mut subject = Subject::new(pre_started);
        let mut sent = subject.wanted();
        let (mut invoked, mut last, mut prepared, mut restored) = (0, String::new(), 0, 0);
        for (number, step) in (0_u32..).zip(steps) {
            let now = subject.now;
            let (lifecycle, out) = (&mut subject.lifecycle, &mut subject.out);
            match step {
                0 => lifecycle.on_warm(out),
                1 => drop(lifecycle.on_init(now, Init { snap_start, ..Init::default() }, out)),
                10 if lifecycle.on_prepare_snapshot(out).is_ok() => prepared += 1,
                11 if lifecycle.on_restore(now, Restore::default(), out).is_ok() => {
                    restored += 1;
                    lifecycle.on_another(now, out);
                }
                12 => drop(lifecycle.on_restore_next(now, asked(number), out)),
                13 => drop(lifecycle.on_restore_error(now, GuestError::default(), out)),
                2 => {
                    let id = format!("r{number}");
                    let invoke = Invoke { streaming: number % 2 == 0, ..invoke(&id) };
                    if lifecycle.on_invoke(invoke, out).is_ok() {
                        (invoked, last) = (invoked + 1, id);
                    }
                }
                3 => drop(lifecycle.on_next(now, asked(number), out)),
                4 => drop(lifecycle.on_answer_begins(&last, AnswerKind::Response)),
                5 => drop(lifecycle.on_answer_begins(&last, AnswerKind::Error)),
                6 => lifecycle.on_answer(Outcome::Payload(Default::default()), out),
                7 => lifecycle.on_answer_aborted(out),
                8 => drop(lifecycle.on_init_error(now, GuestError::default(), out)),
                9 => lifecycle.polls.iter().for_each(|poll| poll.1.set(false)),
                14 if lifecycle.wants_stream() => lifecycle.on_stream_start(String::new(), out),
                15 | 16 if lifecycle.may_stream() => {
                    lifecycle.on_stream_chunk(vec![0; STREAM_CHUNK_MAX_BYTES].into(), out);
                }
                17 => lifecycle.on_stream_end(None, out),
                // Rare, because nothing comes after it.
                _ if number % 4 == 0 => lifecycle.on_exit(now, Exit::Status(0), out),
                _ => {}
            }
            sent.extend(subject.wanted());
        }
        check_promises(&sent, invoked, prepared, restored);
    }
}

fn check_promises(sent: &[Action<Asked>], invoked: usize, prepared: usize, restored: usize) {
    let kinds: Vec<_> = sent
        .iter()
        .filter_map(|action| match action {
            Action::Send(message) => message.kind.as_ref(),
            _ => None,
        })
        .collect();
    let count = |wanted: fn(&Kind) -> bool| kinds.iter().filter(|kind| wanted(kind)).count();
    assert!(kinds.first().is_none_or(|kind| matches!(kind, Kind::Ready(_))), "Ready comes first");
    assert!(count(|kind| matches!(kind, Kind::Ready(_))) <= 1);
    assert!(count(|kind| matches!(kind, Kind::InitDone(_))) <= 1);
    let answers = |kind: &Kind| matches!(kind, Kind::Response(_) | Kind::ResponseEnd(_));
    assert!(count(answers) <= invoked);
    assert!(count(|kind| matches!(kind, Kind::ResponseStart(_))) <= invoked);
    check_streams(&kinds);
    assert_eq!(count(|kind| matches!(kind, Kind::SnapshotReady(_))), prepared);
    assert!(count(|kind| matches!(kind, Kind::Restored(_))) <= restored);
    check_rest(sent);
    let exits = kinds.iter().position(|kind| matches!(kind, Kind::RuntimeExit(_)));
    assert!(exits.is_none_or(|at| at + 1 == kinds.len()), "nothing comes after RuntimeExit");
    let init_done = kinds.iter().position(|kind| matches!(kind, Kind::InitDone(_)));
    let response = kinds.iter().position(|kind| matches!(kind, Kind::Response(_)));
    assert!(response.is_none() || init_done < response, "no response before the init is over");
}

/// Pieces come between a start and an end, and without credit no more than the window holds.
fn check_streams(kinds: &[&Kind]) {
    let mut sent = None;
    for kind in kinds {
        match kind {
            Kind::ResponseStart(_) => assert_eq!(sent.replace(0), None, "a start within a stream"),
            Kind::ResponseChunk(chunk) => {
                let sent = sent.as_mut().expect("a piece outside of a stream");
                *sent += stream_cost(chunk.data.len());
                assert!(*sent <= STREAM_WINDOW, "more than the window");
            }
            Kind::ResponseEnd(_) => drop(sent.take().expect("an end without a start")),
            Kind::Response(_) => assert_eq!(sent, None, "a whole answer within a stream"),
            Kind::RuntimeExit(_) => sent = None,
            _ => {}
        }
    }
}

/// Between `SnapshotReady` and the restore nothing is sent but the end.
fn check_rest(sent: &[Action<Asked>]) {
    let mut at_rest = false;
    for action in sent {
        match action {
            Action::Become(_) => at_rest = false,
            Action::Send(message) => match message.kind.as_ref().unwrap() {
                Kind::SnapshotReady(_) => at_rest = true,
                Kind::RuntimeExit(_) => {}
                other => assert!(!at_rest, "{other:?} was sent while at rest"),
            },
            _ => {}
        }
    }
}
