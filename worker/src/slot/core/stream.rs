//! Answers that come in pieces: in order, of the agreed size, and no faster than their caller takes them.

use bytes::Bytes;
use hearth_domain::FunctionResponse;
use hearth_domain::limits::STREAMED_RESPONSE_MAX_BYTES;
use hearth_domain::stream::{STREAM_CHUNK_MAX_BYTES, STREAM_WINDOW, stream_cost};
use hearth_guest_protocol::{CONTENT_TYPE_MAX_BYTES, ResponseChunk, ResponseEnd, ResponseStart, StreamCredit};
use hearth_protocol::worker::StreamPiece;

use super::guest::checked_error;
use super::{Now, Outbox, Phase, SlotCore};
use crate::slot::failure::Violation;
use crate::usage::Status;

/// Credit is given in portions, so that small pieces don't cost a message each.
const CREDIT_MIN: u64 = STREAM_WINDOW / 4;

/// The answer of a call that wants it as it comes.
#[derive(Debug, Default)]
pub(super) struct Stream {
    started: bool,
    /// All its bytes.
    bytes: u64,
    /// Cost of what the sandbox has sent and no credit was given for.
    under_way: u64,
    /// Cost of all that the caller has taken.
    taken: u64,
    /// Cost of what was taken and no credit was given for.
    owed: u64,
}

impl SlotCore {
    pub(super) fn on_response_start(&mut self, start: ResponseStart, out: &mut impl Outbox) -> Result<(), Violation> {
        let stream = self.stream_of("ResponseStart", &start.request_id, false)?;
        if start.content_type.len() > CONTENT_TYPE_MAX_BYTES || start.content_type.contains(char::is_control) {
            return Err(Violation::Malformed { message: "ResponseStart", fault: "a content type that is none" });
        }
        stream.started = true;
        out.stream(StreamPiece::Start { content_type: start.content_type });
        Ok(())
    }

    pub(super) fn on_response_chunk(&mut self, chunk: ResponseChunk, out: &mut impl Outbox) -> Result<(), Violation> {
        let stream = self.stream_of("ResponseChunk", &chunk.request_id, true)?;
        let malformed = |fault| Err(Violation::Malformed { message: "ResponseChunk", fault });
        if !(1..=STREAM_CHUNK_MAX_BYTES).contains(&chunk.data.len()) {
            return malformed("its size");
        }
        stream.bytes += chunk.data.len() as u64;
        stream.under_way += stream_cost(chunk.data.len());
        if stream.under_way > STREAM_WINDOW {
            return malformed("more than was credited");
        }
        if stream.bytes > STREAMED_RESPONSE_MAX_BYTES {
            return malformed("more than a response may have");
        }
        out.stream(StreamPiece::Chunk(chunk.data));
        Ok(())
    }

    pub(super) fn on_response_end(
        &mut self,
        now: Now,
        end: ResponseEnd,
        out: &mut impl Outbox,
    ) -> Result<(), Violation> {
        self.stream_of("ResponseEnd", &end.request_id, true)?;
        let response = match end.error {
            None => FunctionResponse::Success(Bytes::new()),
            Some(error) => FunctionResponse::Error(checked_error("ResponseEnd", error)?),
        };
        self.complete(now, response, Status::Sound, out);
        Ok(())
    }

    /// Cost of all that the caller has taken, as far as this was told.
    pub(crate) fn stream_taken(&self) -> u64 {
        match &self.phase {
            Phase::Running(running) => running.stream.as_ref().map_or(0, |stream| stream.taken),
            _ => 0,
        }
    }

    /// The caller has taken pieces that cost `taken` in all.
    pub(crate) fn on_taken(&mut self, taken: u64, out: &mut impl Outbox) {
        let Phase::Running(running) = &mut self.phase else { return };
        let Some(stream) = &mut running.stream else { return };
        stream.owed += taken.saturating_sub(stream.taken);
        stream.taken = taken.max(stream.taken);
        if stream.owed >= CREDIT_MIN {
            let amount = std::mem::take(&mut stream.owed).min(stream.under_way);
            stream.under_way -= amount;
            out.send(StreamCredit { request_id: running.request.to_string(), amount }.into());
        }
    }

    /// A stream that this message may be about.
    fn stream_of(&mut self, message: &'static str, request_id: &str, started: bool) -> Result<&mut Stream, Violation> {
        let unexpected = self.unexpected(message);
        let Phase::Running(running) = &mut self.phase else { return Err(unexpected) };
        if running.request.as_str() != request_id {
            return Err(Violation::WrongInvocation { message });
        }
        running.stream.as_mut().filter(|stream| stream.started == started).ok_or(unexpected)
    }

    /// Whether a part of the answer has gone out, so that it can't be given whole any more.
    pub(super) fn streams(&self) -> bool {
        matches!(&self.phase, Phase::Running(running) if running.stream.as_ref().is_some_and(|stream| stream.started))
    }
}
