//! How calls, inits and the slot itself end: the answers, the lines of the log, and what is left.

use std::time::Duration;

use bytes::Bytes;
use hearth_domain::{FunctionError, FunctionResponse, InitFailure, SlotEvent, SlotOutcome, SlotState};
use hearth_protocol::worker::{InitSlotError, InvokeResponse};

use super::{Now, Outbox, Phase, Running, SlotCore};
use crate::platform_log::{self, Event};
use crate::slot::failure::{self, Failure};
use crate::usage::{self, Status};

impl SlotCore {
    /// The environment is of no more use. Whoever waits for it is told.
    pub(super) fn fail(&mut self, now: Now, failure: &Failure, out: &mut impl Outbox) {
        let status = match failure {
            Failure::TimedOut(_) => Status::Timeout,
            Failure::Exit { .. } | Failure::Violation(_) => Status::Error(failure.error_type()),
        };
        match &self.phase {
            Phase::Running(running) => {
                let request = running.request.clone();
                self.tell(now, Some(&request), Event::Failed { request: &request, failure }, out);
                self.complete(now, FunctionResponse::Error(failure.response(&request)), status, out);
            }
            Phase::Initializing { started } => {
                let document = failure::document(failure.error_type(), &failure.message()).into();
                let error = FunctionError { error_type: failure.error_type().into(), document };
                let timed_out = matches!(failure, Failure::TimedOut(_));
                self.fail_init(now, now.moment.since(*started), error, timed_out, out);
            }
            Phase::Resting { since } => {
                let document = failure::document(failure.error_type(), &failure.message()).into();
                let error = FunctionError { error_type: failure.error_type().into(), document };
                self.fail_init(now, now.moment.since(*since), error, false, out);
            }
            Phase::Preparing | Phase::Snapshotting => self.on_unprepared(failure.message(), out),
            Phase::Idle { .. } => self.end(),
            Phase::Over => {}
        }
    }

    pub(super) fn fail_init(
        &mut self,
        now: Now,
        init_duration: Duration,
        error: FunctionError<Bytes>,
        timed_out: bool,
        out: &mut impl Outbox,
    ) {
        let status = if timed_out { Status::Timeout } else { Status::Error(&error.error_type) };
        self.output.end(now.unix_ms, &mut |entry| out.log(entry));
        let event = Event::InitFailed { took: init_duration, within_call: self.within_call, status };
        self.tell(now, None, event, out);
        let failure = InitFailure {
            error_type: error.error_type,
            document: String::from_utf8_lossy(&error.document).into_owned(),
            init_duration,
            max_memory_used_bytes: self.memory_peak_bytes(out),
            log_tail: self.output.tail().unwrap_or_default(),
        };
        out.answer_init(Err(InitSlotError::InitFailed(Box::new(failure))));
        self.end();
    }

    /// Answers the running invocation. The slot goes on only if its environment is sound and nobody drains it.
    pub(super) fn complete(
        &mut self,
        now: Now,
        response: FunctionResponse<Bytes>,
        status: Status<'_>,
        out: &mut impl Outbox,
    ) {
        let Phase::Running(Running { request, started, .. }) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return;
        };
        let duration = now.moment.since(started).min(self.function.timeout.duration());
        let peak = self.memory_peak_bytes(out);
        let restore = self.unbilled_restore.take();
        let usage = usage::usage(duration, self.unbilled_init.take(), restore, self.function.memory, peak);
        let mut lines = Vec::with_capacity(2);
        self.output.end(now.unix_ms, &mut |entry| lines.push(entry));
        let end = Event::End { request: &request, usage: &usage, restore, status };
        if let Some(end) = platform_log::lines(&self.function, now.unix_ms, end) {
            self.output.platform(now.unix_ms, Some(&request), &end, &mut |entry| lines.push(entry));
        }
        let log_tail = self.output.tail().map(Bytes::from);
        if status == Status::Sound {
            self.advance(SlotEvent::Completed);
        }
        let reusable = status == Status::Sound && self.state == SlotState::Idle;
        let slot = if reusable { SlotOutcome::Reusable } else { SlotOutcome::Gone };
        out.answer(InvokeResponse { response, usage, log_tail, slot });
        lines.into_iter().for_each(|entry| out.log(entry));
        self.output.begin(false);
        if reusable {
            self.phase = Phase::Idle { since: now.moment, frozen: false };
        } else {
            self.end();
        }
    }

    pub(super) fn end(&mut self) {
        self.advance(SlotEvent::Ended);
        self.phase = Phase::Over;
    }
}
