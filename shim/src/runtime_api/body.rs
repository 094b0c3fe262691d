//! Request bodies, bounded.

use bytes::{Bytes, BytesMut};
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

/// What came.
#[derive(Debug)]
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
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
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len() as u64;
        if length <= SYNC_RESPONSE_MAX_BYTES as u64 {
            whole.extend_from_slice(&data);
        } else {
            whole = BytesMut::new();
        }
    }
    Ok(if length <= SYNC_RESPONSE_MAX_BYTES as u64 { Body::Whole(whole.freeze()) } else { Body::TooLarge(length) })
}
