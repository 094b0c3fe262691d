//! Answers that are sent in pieces, no faster than their caller takes them.

use bytes::Bytes;
use hearth_guest_protocol::{
    GuestError, ResponseChunk, ResponseEnd, ResponseStart, STREAM_CHUNK_MAX_BYTES, STREAM_WINDOW, StreamCredit,
    stream_cost,
};

use super::{Action, Event, Lifecycle, Outcome, Phase, Poll};

/// An answer under way in pieces.
#[derive(Debug)]
pub(super) struct Stream {
    /// What may still be sent, by [`stream_cost`].
    pub(super) credit: u64,
}

impl<P: Poll> Lifecycle<P> {
    /// Whether an answer that the runtime streams is to be passed on as it comes.
    pub fn wants_stream(&self) -> bool {
        self.invocation.as_ref().is_some_and(|invocation| invocation.streaming)
    }

    /// Whether the worker has a part of the answer under way.
    pub fn streams(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the next piece may be sent, however large.
    pub fn may_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.credit >= stream_cost(STREAM_CHUNK_MAX_BYTES))
    }

    /// The runtime has sent the first bytes of its answer, or the end of an empty one.
    pub fn on_stream_start(&mut self, content_type: String, out: &mut Vec<Action<P>>) {
        if self.phase != Phase::Responding || self.stream.is_some() {
            return;
        }
        self.stream = Some(Stream { credit: STREAM_WINDOW });
        out.push(Action::Send(ResponseStart { request_id: self.last_request_id.clone(), content_type }.into()));
    }

    /// It has sent more. Only when [`Self::may_stream`] says so; at most [`STREAM_CHUNK_MAX_BYTES`].
    pub fn on_stream_chunk(&mut self, data: Bytes, out: &mut Vec<Action<P>>) {
        let Some(stream) = &mut self.stream else { return };
        stream.credit = stream.credit.saturating_sub(stream_cost(data.len()));
        out.push(Action::Send(ResponseChunk { request_id: self.last_request_id.clone(), data }.into()));
    }

    /// The answer is over: whole, or ended by an error.
    pub fn on_stream_end(&mut self, error: Option<GuestError>, out: &mut Vec<Action<P>>) {
        if self.stream.take().is_none() {
            // Nothing of it was sent: it is an answer like any other.
            let outcome = error.map_or(Outcome::Payload(Bytes::new()), Outcome::Error);
            return self.on_answer(outcome, out);
        }
        if self.step(Event::AnswerEnds).is_none() {
            return;
        }
        self.invocation = None;
        out.push(Action::TurnLog { to: String::new() });
        out.push(Action::Send(ResponseEnd { request_id: self.last_request_id.clone(), error }.into()));
    }

    /// The caller has taken some of it.
    pub fn on_credit(&mut self, credit: &StreamCredit) {
        if let Some(stream) = self.stream.as_mut().filter(|_| credit.request_id == self.last_request_id) {
            stream.credit = stream.credit.saturating_add(credit.amount).min(STREAM_WINDOW);
        }
    }
}

/// What ended an answer whose connection broke.
pub(super) fn truncated() -> GuestError {
    crate::guest_error("Runtime.TruncatedResponse", "The runtime ended its connection within a streamed response")
}
