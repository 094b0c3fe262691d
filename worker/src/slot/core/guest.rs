//! What the shim says, checked against what it was asked. Every byte of it is hostile.

use bytes::Bytes;
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_domain::{FunctionError, FunctionResponse, SlotEvent};
use hearth_guest_protocol::response::Outcome;
use hearth_guest_protocol::{
    GuestError, InitDone as GuestInitDone, Log, PrepareSnapshot, Response, RuntimeExit, guest_message,
};
use hearth_protocol::worker::InitDone;

use super::{Now, Outbox, Phase, SIGKILL, SlotCore};
use crate::platform_log::Event;
use crate::slot::failure::{self, ERROR_TYPE_MAX_BYTES, Failure, Violation};
use crate::usage::Status;

/// What the shim calls the end of a runtime that it did not ask for.
const RUNTIME_EXITED: &str = "Runtime.ExitError";

impl SlotCore {
    /// The shim said something.
    pub(crate) fn on_guest(&mut self, now: Now, message: guest_message::Kind, out: &mut impl Outbox) {
        use guest_message::Kind;
        let taken = match message {
            Kind::Log(log) => self.on_log(now, &log, out),
            Kind::Response(response) => self.on_response(now, response, out),
            Kind::ResponseStart(start) => self.on_response_start(start, out),
            Kind::ResponseChunk(chunk) => self.on_response_chunk(chunk, out),
            Kind::ResponseEnd(end) => self.on_response_end(now, end, out),
            Kind::InitDone(done) => self.on_init_done(now, done, out),
            Kind::RuntimeExit(exit) => self.on_runtime_exit(now, &exit, out),
            Kind::Ready(_) => Err(self.unexpected("Ready")),
            Kind::SnapshotReady(ready) => self.on_snapshot_ready(now, ready, out),
            Kind::Restored(_) => Err(self.unexpected("Restored")),
            Kind::Stats(stats) => self.on_stats(&stats),
        };
        if let Err(violation) = taken {
            self.on_violation(now, violation, out);
        }
    }

    fn on_log(&mut self, now: Now, log: &Log, out: &mut impl Outbox) -> Result<(), Violation> {
        let owner = match &self.phase {
            _ if log.request_id.is_empty() => None,
            Phase::Running(running) if running.request.as_str() == log.request_id => Some(running.request.clone()),
            _ => return Err(Violation::WrongInvocation { message: "Log" }),
        };
        self.output.take(now.unix_ms, owner.as_ref(), log, &mut |entry| out.log(entry))
    }

    fn on_init_done(&mut self, now: Now, done: GuestInitDone, out: &mut impl Outbox) -> Result<(), Violation> {
        let Phase::Initializing { started } = self.phase else { return Err(self.unexpected("InitDone")) };
        let init_duration = now.moment.since(started);
        self.start.on_init_over(now.moment);
        if let Some(error) = done.error {
            let error = checked_error("InitDone", error)?;
            // The shim sees that the runtime was killed; why, only the host knows.
            if error.error_type == RUNTIME_EXITED && self.ran_out_of_memory(out) {
                let killed = Failure::Exit { status: None, signal: Some(SIGKILL), out_of_memory: true };
                self.fail(now, &killed, out);
            } else {
                self.fail_init(now, init_duration, error, false, out);
            }
            return Ok(());
        }
        if self.snap_start {
            self.phase = Phase::Resting { since: now.moment };
            out.send(PrepareSnapshot {}.into());
            return Ok(());
        }
        // No call waited for an environment that is kept ready.
        self.unbilled_init = (!self.function.provisioned).then_some(init_duration);
        self.output.end(now.unix_ms, &mut |entry| out.log(entry));
        self.tell(now, None, Event::InitDone { took: init_duration }, out);
        self.output.begin(false);
        self.guest_use.begin();
        self.advance(SlotEvent::Initialized);
        self.phase = Phase::Idle { since: now.moment, frozen: false };
        out.end_of_init();
        out.answer_init(Ok(InitDone { times: self.start.times() }));
        Ok(())
    }

    fn on_response(&mut self, now: Now, response: Response, out: &mut impl Outbox) -> Result<(), Violation> {
        let Phase::Running(running) = &self.phase else { return Err(self.unexpected("Response")) };
        if response.request_id != running.request.as_str() {
            return Err(Violation::WrongInvocation { message: "Response" });
        }
        if self.streams() {
            return Err(self.unexpected("Response"));
        }
        let answer = match response.outcome {
            Some(Outcome::Payload(payload)) if payload.len() <= SYNC_RESPONSE_MAX_BYTES => {
                FunctionResponse::Success(payload)
            }
            Some(Outcome::Payload(_) | Outcome::TooLarge(_)) => FunctionResponse::Error(failure::response_too_large()),
            Some(Outcome::Error(error)) => FunctionResponse::Error(checked_error("Response", error)?),
            None => return Err(Violation::Malformed { message: "Response", fault: "no outcome" }),
        };
        self.complete(now, answer, Status::Sound, out);
        Ok(())
    }

    fn on_runtime_exit(&mut self, now: Now, exit: &RuntimeExit, out: &mut impl Outbox) -> Result<(), Violation> {
        if let Phase::Running(running) = &self.phase
            && !exit.request_id.is_empty()
            && exit.request_id != running.request.as_str()
        {
            return Err(Violation::WrongInvocation { message: "RuntimeExit" });
        }
        let killed = exit.signal == Some(SIGKILL);
        let out_of_memory = killed && self.ran_out_of_memory(out);
        self.fail(now, &Failure::Exit { status: exit.status, signal: exit.signal, out_of_memory }, out);
        Ok(())
    }

    pub(super) fn unexpected(&self, message: &'static str) -> Violation {
        let state = match self.phase {
            Phase::Preparing => "preparing",
            Phase::Initializing { .. } => "initializing",
            Phase::Resting { .. } | Phase::Snapshotting => "snapshotting",
            Phase::Idle { .. } => "idle",
            Phase::Running(_) => "running",
            Phase::Over => "over",
        };
        Violation::Unexpected { message, state }
    }
}

/// An error that a runtime reported, bounded.
pub(super) fn checked_error(message: &'static str, error: GuestError) -> Result<FunctionError<Bytes>, Violation> {
    if error.error_type.len() > ERROR_TYPE_MAX_BYTES || error.error_type.contains(char::is_control) {
        return Err(Violation::Malformed { message, fault: "an error type that is none" });
    }
    if error.document.len() > SYNC_RESPONSE_MAX_BYTES {
        return Ok(failure::response_too_large());
    }
    let error_type = if error.error_type.is_empty() { "Unhandled".to_owned() } else { error.error_type };
    Ok(FunctionError { error_type, document: error.document })
}
