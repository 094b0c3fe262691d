//! Answers that a runtime writes bit by bit (AWS Lambda developer guide, "Building a custom runtime", response streaming).

use bytes::Bytes;
use hearth_domain::limits::STREAMED_RESPONSE_MAX_BYTES;
use hearth_guest_protocol::{CONTENT_TYPE_MAX_BYTES, GuestError, STREAM_CHUNK_MAX_BYTES};
use tokio::sync::{mpsc, oneshot};

use super::answer::Heard;
use super::answers::Answer;
use super::connection::{Connection, Piece};
use super::head::Head;
use super::{answers, body};

/// Tells how an answer is written.
pub(super) const MODE_HEADER: &str = "lambda-runtime-function-response-mode";

/// Whether an answer is written bit by bit.
pub(super) fn is_streamed(head: &Head) -> bool {
    head.response_mode.as_deref().is_some_and(|mode| mode.eq_ignore_ascii_case("streaming"))
}

/// Passes an answer on as it comes. A return without an end tells the supervisor that the connection broke.
pub(super) async fn pass_on(head: &Head, connection: &mut Connection, sink: mpsc::Sender<Heard>) -> Answer {
    let mut start = Some(Heard::Start { content_type: content_type(head) });
    let (mut error, mut bytes, mut reply) = (None, 0, answers::accepted());
    loop {
        let data = match connection.piece().await {
            Ok(Some(Piece::Data(data))) => data,
            Ok(Some(Piece::Trailers(trailers))) => {
                error = body::error_in(&trailers);
                continue;
            }
            Ok(None) => break,
            Err(_) => return answers::truncated(),
        };
        bytes += data.len() as u64;
        if bytes > STREAMED_RESPONSE_MAX_BYTES {
            (error, reply) = (Some(too_large()), answers::stream_too_large());
            break;
        }
        if pass(data, &mut start, &sink).await.is_err() {
            return answers::gone();
        }
    }
    if error.is_none()
        && let Some(start) = start
        && sink.send(start).await.is_err()
    {
        return answers::gone();
    }
    let (taken, is_taken) = oneshot::channel();
    if sink.send(Heard::End { error, taken }).await.is_err() || is_taken.await.is_err() {
        return answers::gone();
    }
    // What is above the limit is thrown away, so that the runtime hears the answer and lives on.
    while let Ok(Some(_)) = connection.piece().await {}
    reply
}

async fn pass(
    mut data: Bytes,
    start: &mut Option<Heard>,
    sink: &mpsc::Sender<Heard>,
) -> Result<(), mpsc::error::SendError<Heard>> {
    while !data.is_empty() {
        if let Some(start) = start.take() {
            sink.send(start).await?;
        }
        let piece = data.split_to(data.len().min(STREAM_CHUNK_MAX_BYTES));
        sink.send(Heard::Chunk(piece)).await?;
    }
    Ok(())
}

fn content_type(head: &Head) -> String {
    let visible = |text: &&str| text.bytes().all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte));
    let given = head.content_type.as_deref().filter(visible);
    given.filter(|text| text.len() <= CONTENT_TYPE_MAX_BYTES).unwrap_or_default().to_owned()
}

fn too_large() -> GuestError {
    let text =
        format!("Response payload size exceeded maximum allowed payload size ({STREAMED_RESPONSE_MAX_BYTES} bytes).");
    crate::guest_error("Function.ResponseSizeTooLarge", &text)
}
