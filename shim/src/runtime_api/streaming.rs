//! Answers that a runtime writes bit by bit (AWS Lambda developer guide, "Building a custom runtime", response streaming).

use bytes::Bytes;
use hearth_domain::limits::STREAMED_RESPONSE_MAX_BYTES;
use hearth_guest_protocol::{CONTENT_TYPE_MAX_BYTES, GuestError, STREAM_CHUNK_MAX_BYTES};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Response};
use tokio::sync::{mpsc, oneshot};

use super::answer::Heard;
use super::{answers, body};

const MODE_HEADER: &str = "lambda-runtime-function-response-mode";

/// Whether an answer is written bit by bit.
pub(super) fn is_streamed(headers: &HeaderMap) -> bool {
    headers.get(MODE_HEADER).is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"streaming"))
}

/// Passes an answer on as it comes. A return without an end tells the supervisor that the connection broke.
pub(super) async fn pass_on(request: hyper::Request<Incoming>, sink: mpsc::Sender<Heard>) -> Response<Full<Bytes>> {
    let mut start = Some(Heard::Start { content_type: content_type(request.headers()) });
    let mut incoming = request.into_body();
    let (mut error, mut bytes, mut reply) = (None, 0, answers::accepted());
    while let Some(frame) = incoming.frame().await {
        let data = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(frame)) => {
                error = frame.into_trailers().ok().as_ref().and_then(body::error_in);
                continue;
            }
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
    while let Some(Ok(_)) = incoming.frame().await {}
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

fn content_type(headers: &HeaderMap) -> String {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    given.filter(|text| text.len() <= CONTENT_TYPE_MAX_BYTES).unwrap_or_default().to_owned()
}

fn too_large() -> GuestError {
    let text =
        format!("Response payload size exceeded maximum allowed payload size ({STREAMED_RESPONSE_MAX_BYTES} bytes).");
    crate::guest_error("Function.ResponseSizeTooLarge", &text)
}
