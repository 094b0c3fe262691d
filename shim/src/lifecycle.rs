//! What the shim does when: the sandbox's one life as a synchronous state machine.
//!
//! ```text
//!              Warm         Init               Next           Invoke            Next
//!   Booting ────────▶ Pooled ───▶ Initializing ────▶ Idle ◀─┐ ──────▶ Pending ──────▶ Running ◀──────────┐
//!                                      │                    │            ▲               │ …Begins        │ Aborted
//!                                      ▼ InitError     Next │     Invoke │               ▼                │
//!                                  InitFailed           Answered ────────┘ ◀── Responding | Failing ─────┘
//!                                                                  AnswerEnds
//!   any ── Exit ──▶ Over
//!
//!   Pooled ◀── PrepareSnapshot, Restore ──▶ PooledAtRest           Idle ◀── PrepareSnapshot, Restore ──▶ IdleAtRest
//!                RestoreNext              PrepareSnapshot          Restore               Next
//!   Initializing ───────────▶ RestoreReady ─────────────▶ AtRest ──────────▶ Restoring ──────▶ Idle
//!                                                                               └─ RestoreError ──▶ RestoreFailed
//! ```
//!
//! The happy path: the worker's `Init` binds the sandbox to a function and the runtime loads its code; its first
//! request for an invocation ends the init (`InitDone`); from then on each `Invoke` is delivered to the waiting runtime,
//! and its answer becomes one `Response`, or, if it is streamed and that was asked for, pieces between a `ResponseStart`
//! and a `ResponseEnd`.
//!
//! A snapshot is taken of a sandbox in the pool, or after the init of a function that wants it. In the second case the
//! init ends with a runtime's request to be told of the restore, if it has hooks, or else with its first request for an
//! invocation. What is restored goes on where it was: `Restored` is sent at once, or when the hooks have run.
//!
//! Invariants: `Ready` is sent once and first, `InitDone` at most once, one `Response` for each `Invoke` at most, one
//! `SnapshotReady` for each `PrepareSnapshot`, one `Restored` for each `Restore` at most, nothing between `SnapshotReady` and
//! `Restore` but the end, nothing but logs after `RuntimeExit`; before `InitDone`, `SnapshotReady`, `Response` and `RuntimeExit` the log is turned, so that all that was
//! written before them arrives before them. Absent: I/O, time, tasks; requests of the runtime that wait for an
//! invocation are opaque [`Poll`]s.

mod phase;
mod snapshot;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use hearth_domain::Moment;
use hearth_guest_protocol::response::Outcome;
use hearth_guest_protocol::{
    BootPhase, EnvironmentVariable, GuestError, GuestMessage, Init, InitDone, Invoke, PROTOCOL_VERSION, Ready,
    Response, Restore, RuntimeExit,
};

pub use phase::{Event, Phase};
use stream::Stream;

/// A request of the runtime that waits for an invocation.
pub trait Poll {
    /// Whether somebody still waits for the answer.
    fn is_waiting(&self) -> bool;
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq)]
pub enum Action<P> {
    /// Send this to the worker.
    Send(GuestMessage),
    /// Pass on what the runtime has written so far, then count what it writes as this invocation's
    /// (empty: as nobody's).
    TurnLog {
        /// The request id.
        to: String,
    },
    /// Start the runtime for this function, or tell the one that waits.
    Bind(Init),
    /// Come to rest: stop what the runtime may be doing, if it has one that is bound to a function.
    Rest {
        /// Whether there may be something to stop.
        bound: bool,
    },
    /// Be another sandbox from here on, then call [`Lifecycle::on_another`].
    Become(Restore),
    /// Answer this request: the sandbox was restored.
    DeliverRestore {
        /// The request.
        poll: P,
        /// Variables that have another value now.
        environment: Vec<EnvironmentVariable>,
    },
    /// Answer this request with this invocation.
    Deliver {
        /// The request.
        poll: P,
        /// The invocation.
        invocation: Arc<Invoke>,
    },
}

/// Which kind of answer the runtime is about to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// The handler's answer.
    Response,
    /// An error.
    Error,
}

/// A request of the runtime that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No invocation of that id is under way.
    #[error("Invalid request ID")]
    InvalidRequestId,
    /// The runtime may not do that now.
    #[error("State transition from {from} to {to} failed for runtime. Error: State transition is not allowed")]
    InvalidTransition {
        /// Where it is, by AWS's name.
        from: &'static str,
        /// Where it wanted to go, by AWS's name.
        to: &'static str,
    },
}

/// The worker sent what it may not send now. The channel can't be trusted any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the worker sent {event:?} while {phase:?}")]
pub struct OutOfTurn {
    /// What it sent.
    pub event: Event,
    /// When.
    pub phase: Phase,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// The state machine.
#[derive(Debug)]
pub struct Lifecycle<P> {
    phase: Phase,
    /// A runtime was started before the function is known.
    pre_started: bool,
    /// What the boot consisted of, until it is told.
    boot_phases: Vec<BootPhase>,
    /// When the init began, or the restore.
    began: Moment,
    /// Whether a snapshot is wanted after the init.
    snap_start: bool,
    /// Variables that have another value since the restore.
    environment: Vec<EnvironmentVariable>,
    /// The invocation under way, if any.
    invocation: Option<Arc<Invoke>>,
    /// The id of the last invocation, also when it is answered.
    last_request_id: String,
    /// The answer that is sent in pieces, if one is.
    stream: Option<Stream>,
    /// Requests for an invocation, oldest first.
    polls: VecDeque<P>,
}

impl<P: Poll> Lifecycle<P> {
    /// A sandbox that has just been booted, in these phases, with or without a pre-started runtime. If a function already
    /// waits for it, its code can be put there while the runtime starts.
    pub fn new(pre_started: bool, wanted: bool, boot_phases: Vec<BootPhase>, out: &mut Vec<Action<P>>) -> Self {
        let phase = if pre_started && !wanted { Phase::Booting } else { Phase::Pooled };
        let mut new = Self {
            phase,
            pre_started,
            boot_phases,
            began: Moment::ORIGIN,
            snap_start: false,
            environment: Vec::new(),
            invocation: None,
            last_request_id: String::new(),
            stream: None,
            polls: VecDeque::new(),
        };
        if phase == Phase::Pooled {
            let ready = new.ready();
            out.push(ready);
        }
        new
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The pre-started runtime has imported what it needs. Said twice, or too late, it means nothing.
    pub fn on_warm(&mut self, out: &mut Vec<Action<P>>) {
        if self.step(Event::Warm).is_some() {
            let ready = self.ready();
            out.push(ready);
        }
    }

    /// The worker names the function.
    pub fn on_init(&mut self, now: Moment, init: Init, out: &mut Vec<Action<P>>) -> Result<(), OutOfTurn> {
        self.step_for_worker(Event::Init)?;
        self.began = now;
        self.snap_start = init.snap_start;
        out.push(Action::TurnLog { to: String::new() });
        out.push(Action::Bind(init));
        Ok(())
    }

    /// The worker sends an invocation.
    pub fn on_invoke(&mut self, invoke: Invoke, out: &mut Vec<Action<P>>) -> Result<(), OutOfTurn> {
        self.step_for_worker(Event::Invoke)?;
        out.push(Action::TurnLog { to: invoke.request_id.clone() });
        self.last_request_id.clone_from(&invoke.request_id);
        self.invocation = Some(Arc::new(invoke));
        self.deliver(out);
        Ok(())
    }

    /// The runtime asks for its next invocation. The first time this ends the init.
    pub fn on_next(&mut self, now: Moment, poll: P, out: &mut Vec<Action<P>>) -> Result<(), (P, Refusal)> {
        let before = self.phase;
        if self.step(Event::Next).is_none() {
            return Err((poll, self.refusal(Event::Next)));
        }
        match before {
            Phase::Initializing => self.init_done(now, None, out),
            Phase::Restoring => self.restored(now, None, out),
            _ => {}
        }
        // Those who hung up make room first, so that there are never more than connections.
        self.polls.retain(Poll::is_waiting);
        self.polls.push_back(poll);
        self.deliver(out);
        Ok(())
    }

    /// The runtime begins to send an answer. Ends with [`Self::on_answer`] or [`Self::on_answer_aborted`].
    pub fn on_answer_begins(&mut self, request_id: &str, kind: AnswerKind) -> Result<(), Refusal> {
        if request_id.is_empty() || request_id != self.last_request_id {
            return Err(Refusal::InvalidRequestId);
        }
        let event = match kind {
            AnswerKind::Response => Event::ResponseBegins,
            AnswerKind::Error => Event::ErrorBegins,
        };
        self.step(event).map(drop).ok_or_else(|| self.refusal(event))
    }

    /// The answer is whole.
    pub fn on_answer(&mut self, outcome: Outcome, out: &mut Vec<Action<P>>) {
        if self.stream.is_some() || self.step(Event::AnswerEnds).is_none() {
            return;
        }
        self.invocation = None;
        out.push(Action::TurnLog { to: String::new() });
        let response = Response { request_id: self.last_request_id.clone(), outcome: Some(outcome) };
        out.push(Action::Send(response.into()));
    }

    /// The connection broke before the answer was whole. The runtime may send it again, unless the worker has a part
    /// of it.
    pub fn on_answer_aborted(&mut self, out: &mut Vec<Action<P>>) {
        if self.stream.is_some() {
            self.on_stream_end(Some(stream::truncated()), out);
        } else {
            self.step(Event::AnswerAborted);
        }
    }

    /// The runtime reports that its init failed, or it could not be started.
    pub fn on_init_error(&mut self, now: Moment, error: GuestError, out: &mut Vec<Action<P>>) -> Result<(), Refusal> {
        self.step(Event::InitError).ok_or_else(|| self.refusal(Event::InitError))?;
        self.init_done(now, Some(error), out);
        Ok(())
    }

    /// The runtime process has ended.
    pub fn on_exit(&mut self, now: Moment, exit: Exit, out: &mut Vec<Action<P>>) {
        let before = self.phase;
        if self.step(Event::Exit).is_none() {
            return;
        }
        self.stream = None;
        let request_id = self.invocation.take().map(|invocation| invocation.request_id.clone()).unwrap_or_default();
        let (status, signal) = match exit {
            Exit::Status(status) => (Some(status), None),
            Exit::Signal(signal) => (None, Some(signal)),
        };
        let exit = RuntimeExit { request_id, status, signal };
        match before {
            Phase::Booting => {
                self.pre_started = false;
                let ready = self.ready();
                out.push(ready);
            }
            Phase::Initializing => self.init_done(now, Some(exit_error(&exit)), out),
            Phase::Restoring => self.restored(now, Some(exit_error(&exit)), out),
            _ => out.push(Action::TurnLog { to: String::new() }),
        }
        self.polls.clear();
        out.push(Action::Send(exit.into()));
    }

    /// Panics unless the invariants hold.
    pub fn check_invariants(&self) {
        assert_eq!(
            self.invocation.is_some(),
            self.phase.has_invocation(),
            "an invocation exactly while one is under way"
        );
        if let Some(invocation) = &self.invocation {
            assert_eq!(invocation.request_id, self.last_request_id);
        }
        assert!(self.stream.is_none() || self.phase == Phase::Responding, "pieces while {:?}", self.phase);
        let may_wait = matches!(
            self.phase,
            Phase::RestoreReady
                | Phase::AtRest
                | Phase::Idle
                | Phase::IdleAtRest
                | Phase::Running
                | Phase::Responding
                | Phase::Failing
                | Phase::Answered
        );
        assert!(self.polls.is_empty() || may_wait, "nobody waits while {:?}", self.phase);
    }

    fn deliver(&mut self, out: &mut Vec<Action<P>>) {
        let Some(invocation) = &self.invocation else { return };
        while let Some(poll) = self.polls.pop_front() {
            if poll.is_waiting() {
                out.push(Action::Deliver { poll, invocation: Arc::clone(invocation) });
                self.step(Event::Next);
                return;
            }
        }
    }

    fn init_done(&self, now: Moment, error: Option<GuestError>, out: &mut Vec<Action<P>>) {
        let duration_us = self.duration_us(now);
        out.push(Action::TurnLog { to: String::new() });
        out.push(Action::Send(InitDone { duration_us, error }.into()));
    }

    fn duration_us(&self, now: Moment) -> u64 {
        u64::try_from(now.since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    fn ready(&mut self) -> Action<P> {
        let boot_phases = std::mem::take(&mut self.boot_phases);
        let ready = Ready { protocol_version: PROTOCOL_VERSION, runtime_started: self.pre_started, boot_phases };
        Action::Send(ready.into())
    }

    fn step(&mut self, event: Event) -> Option<Phase> {
        let next = self.phase.after(event)?;
        self.phase = next;
        Some(next)
    }

    fn step_for_worker(&mut self, event: Event) -> Result<Phase, OutOfTurn> {
        self.step(event).ok_or(OutOfTurn { event, phase: self.phase })
    }

    fn refusal(&self, event: Event) -> Refusal {
        Refusal::InvalidTransition { from: self.phase.wire_name(), to: event.wire_target() }
    }
}

/// The error of an init whose process ended. The request is not known here: whoever answers one puts
/// `RequestId: … ` before the message, as AWS does.
fn exit_error(exit: &RuntimeExit) -> GuestError {
    crate::guest_error("Runtime.ExitError", &format!("Error: {}", exit.message()))
}
