//! The life of one slot, decided.
//!
//! ```text
//! Preparing ─prepared→ Initializing ─InitDone→ Idle ⇄ Running
//!     ↑                     │ first init too long
//!     └─────────────────────┘ (once, in a fresh sandbox)      everything else that goes wrong → Over
//!
//! Preparing ─restored→ Idle      SnapStart: Initializing ─InitDone→ Resting ─SnapshotReady→ Snapshotting ─over→ Preparing
//! ```
//!
//! The happy path: a sandbox and the code are there (`on_prepared`), Init goes out, InitDone comes back, the slot
//! answers and waits; each Invoke (`on_invoke`) goes out under a deadline and its Response comes back as the answer,
//! or, where the caller wants it as it comes, the pieces between a ResponseStart and a ResponseEnd.
//!
//! Invariants, checked by `check_invariants`:
//! * the public state follows `SlotState`'s table and fits the phase;
//! * an invocation runs exactly while the phase is Running, and every accepted one is answered exactly once;
//! * once Over, nothing is sent, answered or accepted any more.

mod ending;
mod guest;
mod memory;
mod snap_start;
mod start;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use hearth_domain::slot::IllegalEvent;
use hearth_domain::{FencingToken, FunctionSpec, HolderId, Moment, RequestId, SlotEvent, SlotId, SlotState};
use hearth_guest_protocol::{HostMessage, Init, Invoke};
use hearth_microvm::Ended;
use hearth_protocol::worker::{
    FenceRequest, Fenced, InitDone, InitSlotError, InvokeError, InvokeRequest, InvokeResponse, StreamPiece,
};

pub(crate) use self::start::Arrival;
use self::start::StartClock;
use self::stream::Stream;
use super::failure::{Failure, Violation};
use super::guest_use::GuestUse;
use super::output::Output;
use crate::logs::LogEntry;
use crate::platform_log::{self, Event};
use crate::pool::REST_TIMEOUT;
use crate::usage::{self, Status};

/// Both clocks, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// For durations and deadlines.
    pub(crate) moment: Moment,
    /// For people, and for the deadline that a function sees.
    pub(crate) unix_ms: u64,
}

/// What a slot asks of its surroundings.
pub(crate) trait Outbox {
    /// Sends to the shim.
    fn send(&mut self, message: HostMessage);
    /// Answers the one who wanted the slot.
    fn answer_init(&mut self, answer: Result<InitDone, InitSlotError>);
    /// Answers the invocation that was accepted last.
    fn answer(&mut self, answer: InvokeResponse);
    /// Passes a piece of its answer on. The core keeps to the window.
    fn stream(&mut self, piece: StreamPiece);
    /// Keeps log lines.
    fn log(&mut self, entry: LogEntry);
    /// The most memory the sandbox used, bytes.
    fn memory_peak_bytes(&mut self) -> u64;
    /// Whether the sandbox's memory limit made the kernel kill something in it.
    fn ran_out_of_memory(&mut self) -> bool;
    /// Makes a snapshot of the sandbox, which ends with that; `on_snapshot_over` tells when.
    fn snapshot(&mut self);
    /// Stops all processes of the sandbox until [`Self::thaw`].
    fn freeze(&mut self);
    /// Lets them go on, before anything that was sent after it arrives.
    fn thaw(&mut self);
    /// Takes away what only init may have.
    fn end_of_init(&mut self);
}

/// Bounds of a slot that are not its function's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotBounds {
    /// Longest first init.
    pub(crate) init_timeout: Duration,
    /// Idle time before the sandbox is frozen.
    pub(crate) freeze_idle_after: Option<Duration>,
    /// Whether the sandbox itself tells what its function uses: its kernel is its own.
    pub(crate) guest_counts: bool,
}

/// What is to become of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays.
    Keep,
    /// Another is needed for the same slot; this one, if there is one, is destroyed.
    Replace,
    /// It is destroyed, and the slot with it.
    Destroy,
}

/// The decisions of one slot.
#[derive(Debug)]
pub(crate) struct SlotCore {
    slot: SlotId,
    token: FencingToken,
    holder: HolderId,
    function: Arc<FunctionSpec>,
    bounds: SlotBounds,
    state: SlotState,
    phase: Phase,
    /// The first init took too long: this one counts against the function's timeout.
    within_call: bool,
    start: StartClock,
    unbilled_init: Option<Duration>,
    unbilled_restore: Option<usage::Restore>,
    /// A snapshot is taken after this init.
    snap_start: bool,
    output: Output,
    guest_use: GuestUse,
}

#[derive(Debug)]
enum Phase {
    Preparing,
    Initializing { started: Moment },
    Resting { since: Moment },
    Snapshotting,
    Idle { since: Moment, frozen: bool },
    Running(Running),
    Over,
}

#[derive(Debug)]
struct Running {
    request: RequestId,
    started: Moment,
    /// Its answer may come in pieces.
    stream: Option<Stream>,
}

impl SlotCore {
    /// A slot that was just asked for and bound to `function`; its sandbox is to be prepared.
    pub(crate) fn new(
        asked: Moment,
        slot: SlotId,
        token: FencingToken,
        holder: HolderId,
        function: Arc<FunctionSpec>,
        bounds: SlotBounds,
    ) -> Self {
        let mut output = Output::default();
        output.begin(true);
        Self {
            slot,
            token,
            holder,
            function,
            bounds,
            state: SlotState::Initializing,
            phase: Phase::Preparing,
            within_call: false,
            start: StartClock::new(asked),
            unbilled_init: None,
            unbilled_restore: None,
            snap_start: false,
            output,
            guest_use: GuestUse::default(),
        }
    }

    /// Its public state.
    pub(crate) const fn state(&self) -> SlotState {
        self.state
    }

    /// The newest token it was told.
    pub(crate) const fn token(&self) -> FencingToken {
        self.token
    }

    /// The newest holder it was told.
    pub(crate) const fn holder(&self) -> &HolderId {
        &self.holder
    }

    /// What is to become of the sandbox. Asked after every event.
    pub(crate) const fn fate(&self) -> Fate {
        match self.phase {
            Phase::Over => Fate::Destroy,
            Phase::Preparing => Fate::Replace,
            Phase::Initializing { .. }
            | Phase::Resting { .. }
            | Phase::Snapshotting
            | Phase::Idle { .. }
            | Phase::Running(_) => Fate::Keep,
        }
    }

    /// When [`Self::on_deadline`] is to be called, unless something happens before.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Initializing { started } => Some(*started + self.init_limit()),
            Phase::Resting { since } => Some(*since + REST_TIMEOUT),
            Phase::Idle { since, frozen: false } => self.bounds.freeze_idle_after.map(|after| *since + after),
            Phase::Running(running) => Some(running.started + self.function.timeout.duration()),
            Phase::Idle { frozen: true, .. } | Phase::Snapshotting | Phase::Preparing | Phase::Over => None,
        }
    }

    /// Sandbox and code are there: starts init.
    pub(crate) fn on_prepared(&mut self, now: Now, arrival: Arrival, init: Init, out: &mut impl Outbox) {
        debug_assert!(matches!(self.phase, Phase::Preparing));
        self.start.on_arrival(now.moment, arrival);
        self.guest_use = GuestUse::default();
        self.snap_start = init.snap_start;
        self.phase = Phase::Initializing { started: now.moment };
        self.tell(now, None, Event::InitStart, out);
        if !self.within_call {
            // No call's own: the answer to a failed init does not repeat it.
            self.output.begin(true);
        }
        out.send(init.into());
    }

    /// Sandbox or code can't be had.
    pub(crate) fn on_unprepared(&mut self, reason: String, out: &mut impl Outbox) {
        out.answer_init(Err(InitSlotError::Refused { reason }));
        self.end();
    }

    /// Accepts an invocation, whose answer may be wanted as it comes, or says why not.
    pub(crate) fn on_invoke(
        &mut self,
        now: Now,
        request: InvokeRequest,
        streaming: bool,
        out: &mut impl Outbox,
    ) -> Result<(), InvokeError> {
        let stale = |reason: &str| InvokeError::StaleSlot { slot: self.slot, reason: reason.into() };
        if request.token != self.token {
            return Err(stale("it carries another fencing token"));
        }
        let frozen = match &self.phase {
            Phase::Running(_) => return Err(InvokeError::Busy { slot: self.slot }),
            Phase::Preparing | Phase::Initializing { .. } | Phase::Resting { .. } | Phase::Snapshotting => {
                return Err(stale("it is not initialized yet"));
            }
            Phase::Over => return Err(stale("it has ended")),
            Phase::Idle { frozen, .. } => *frozen,
        };
        self.advance(SlotEvent::Started);
        if frozen {
            out.thaw();
        }
        self.start(now, request, streaming, out);
        Ok(())
    }

    /// Takes a new token, if it is newer. An idle slot stays; any other ends, a running invocation first.
    pub(crate) fn on_fence(&mut self, request: &FenceRequest, out: &mut impl Outbox) -> Fenced {
        if request.token < self.token || matches!(self.phase, Phase::Over) {
            return Fenced::Unknown;
        }
        self.token = request.token;
        self.holder = request.holder.clone();
        if matches!(self.phase, Phase::Idle { .. }) {
            return Fenced::Idle;
        }
        self.drain(out);
        Fenced::Draining
    }

    /// Ends the slot once nothing runs on it, unless somebody holds it under a newer token.
    pub(crate) fn on_reclaim(&mut self, token: FencingToken, out: &mut impl Outbox) {
        if token >= self.token {
            self.drain(out);
        }
    }

    /// Ends the slot once nothing runs on it, whoever holds it.
    pub(crate) fn drain(&mut self, out: &mut impl Outbox) {
        match self.phase {
            Phase::Over => {}
            Phase::Running(_) => self.advance(SlotEvent::Drain),
            Phase::Idle { .. } => {
                self.advance(SlotEvent::Drain);
                self.end();
            }
            Phase::Preparing | Phase::Initializing { .. } | Phase::Resting { .. } | Phase::Snapshotting => {
                self.advance(SlotEvent::Drain);
                out.answer_init(Err(InitSlotError::Refused {
                    reason: "the slot was taken back during its init".into(),
                }));
                self.end();
            }
        }
    }

    /// Ends the slot now. What runs on it gets the error of a killed runtime.
    pub(crate) fn on_kill(&mut self, now: Now, out: &mut impl Outbox) {
        if matches!(self.phase, Phase::Running(_)) {
            self.fail(now, &Failure::Exit { status: None, signal: Some(SIGKILL), out_of_memory: false }, out);
        } else {
            self.drain(out);
        }
    }

    /// The sandbox broke the protocol: it ends, and nothing else is harmed.
    pub(crate) fn on_violation(&mut self, now: Now, violation: Violation, out: &mut impl Outbox) {
        tracing::warn!(slot = %self.slot, function = %self.function.function, %violation, "sandbox broke the protocol");
        self.fail(now, &Failure::Violation(violation), out);
    }

    /// The sandbox ended by itself.
    pub(crate) fn on_ended(&mut self, now: Now, ended: Ended, out: &mut impl Outbox) {
        let Ended { status, signal, out_of_memory } = ended;
        self.fail(now, &Failure::Exit { status, signal, out_of_memory }, out);
    }

    /// The moment that [`Self::deadline`] named has come.
    pub(crate) fn on_deadline(&mut self, now: Now, out: &mut impl Outbox) {
        if self.deadline().is_none_or(|deadline| now.moment < deadline) {
            return;
        }
        match &mut self.phase {
            Phase::Idle { frozen, .. } => {
                *frozen = true;
                out.freeze();
            }
            Phase::Initializing { started } if !self.within_call => {
                let took = now.moment.since(*started);
                let event = Event::InitFailed { took, within_call: false, status: Status::Timeout };
                self.tell(now, None, event, out);
                self.start.on_init_over(now.moment);
                self.within_call = true;
                self.phase = Phase::Preparing;
            }
            Phase::Initializing { .. } | Phase::Running(_) => {
                self.fail(now, &Failure::TimedOut(self.function.timeout), out);
            }
            Phase::Resting { .. } => self.fail_rest(now, out),
            Phase::Snapshotting | Phase::Preparing | Phase::Over => {}
        }
    }

    /// Panics if the slot contradicts itself. Called after every step of a test.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        use SlotState as S;
        let fits = match self.phase {
            Phase::Preparing | Phase::Initializing { .. } | Phase::Resting { .. } | Phase::Snapshotting => {
                self.state == S::Initializing
            }
            Phase::Idle { .. } => self.state == S::Idle,
            Phase::Running(_) => matches!(self.state, S::Busy | S::Draining),
            Phase::Over => self.state == S::Gone,
        };
        assert!(fits, "phase {:?} in state {:?}", self.phase, self.state);
        assert!(self.within_call || !matches!(self.phase, Phase::Preparing) || self.unbilled_init.is_none());
    }

    fn init_limit(&self) -> Duration {
        if self.within_call { self.function.timeout.duration() } else { self.bounds.init_timeout }
    }

    fn start(&mut self, now: Now, request: InvokeRequest, streaming: bool, out: &mut impl Outbox) {
        let id = request.request_id;
        let timeout_ms = u64::from(self.function.timeout.get()) * 1_000;
        out.send(
            Invoke {
                request_id: id.to_string(),
                payload: request.payload,
                deadline_unix_ms: now.unix_ms + timeout_ms,
                invoked_arn: request.invoked_arn,
                client_context: request.client_context.unwrap_or_default(),
                trace_id: request.trace_id.unwrap_or_default(),
                streaming,
                unix_ms: now.unix_ms,
            }
            .into(),
        );
        self.output.end(now.unix_ms, &mut |entry| out.log(entry));
        self.output.begin(request.log_tail);
        self.guest_use.begin();
        self.tell(now, Some(&id), Event::Start { request: &id }, out);
        let stream = streaming.then(Stream::default);
        self.phase = Phase::Running(Running { request: id, started: now.moment, stream });
    }

    /// Writes what the platform has to say into the log.
    fn tell(&mut self, now: Now, owner: Option<&RequestId>, event: Event<'_>, out: &mut impl Outbox) {
        if let Some(text) = platform_log::lines(&self.function, now.unix_ms, event) {
            self.output.platform(now.unix_ms, owner, &text, &mut |entry| out.log(entry));
        }
    }

    /// Every event is one that the phase allows, so a refusal by the table is a bug of this file.
    fn advance(&mut self, event: SlotEvent) {
        match self.state.on(event) {
            Ok(next) => self.state = next,
            Err(error @ IllegalEvent { .. }) => panic!("{}: {error}", self.slot),
        }
    }
}

const SIGKILL: i32 = 9;

#[cfg(test)]
mod tests;
