//! Request bodies, bounded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_guest_protocol::GuestError;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as _, Incoming};

const ERROR_BODY_TRAILER: &str = "lambda-runtime-function-error-body";

/// What came.
#[derive(Debug)]
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// What came was streamed, and ended by this error.
    Failed(GuestError),
    /// More than [`SYNC_RESPONSE_MAX_BYTES`]; this many bytes.
    TooLarge(u64),
}

/// Reads a body to its end. What is above the limit is read and thrown away, so that the client can hear the answer; the
/// invocation's deadline is what ends a body without end.
pub(super) async fn read(mut incoming: Incoming) -> Result<Body, hyper::Error> {
    let declared = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = BytesMut::new();
    if declared <= SYNC_RESPONSE_MAX_BYTES {
        whole.reserve(declared);
    }
    let mut length = 0_u64;
    while let Some(frame) = incoming.frame().await {
        let data = match frame?.into_data() {
            Ok(data) => data,
            Err(frame) => match frame.into_trailers().ok().as_ref().and_then(error_in) {
                Some(error) => return Ok(Body::Failed(error)),
                None => continue,
            },
        };
        length += data.len() as u64;
        if length <= SYNC_RESPONSE_MAX_BYTES as u64 {
            whole.extend_from_slice(&data);
        } else {
            whole = BytesMut::new();
        }
    }
    Ok(if length <= SYNC_RESPONSE_MAX_BYTES as u64 { Body::Whole(whole.freeze()) } else { Body::TooLarge(length) })
}

/// The error that ended a streamed answer: its type and, in base64, its document.
pub(super) fn error_in(trailers: &HeaderMap) -> Option<GuestError> {
    trailers.get(super::ERROR_TYPE_HEADER)?;
    let document = trailers.get(ERROR_BODY_TRAILER).and_then(|body| STANDARD.decode(body.as_bytes()).ok());
    let error_type = super::error_type(trailers);
    let document = document.map_or_else(|| crate::guest_error(&error_type, "").document, Bytes::from);
    Some(GuestError { error_type, document })
}
