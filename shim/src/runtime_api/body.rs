//! Request bodies, bounded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_guest_protocol::GuestError;

use super::connection::{Broken, Connection, Piece};

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
pub(super) async fn read(connection: &mut Connection) -> Result<Body, Broken> {
    let (mut first, mut whole, mut length) = (Bytes::new(), BytesMut::new(), 0_u64);
    while let Some(piece) = connection.piece().await? {
        let data = match piece {
            Piece::Data(data) => data,
            Piece::Trailers(trailers) => match error_in(&trailers) {
                Some(error) => return Ok(Body::Failed(error)),
                None => continue,
            },
        };
        length += data.len() as u64;
        if length > SYNC_RESPONSE_MAX_BYTES as u64 {
            (first, whole) = (Bytes::new(), BytesMut::new());
        } else if length == data.len() as u64 {
            // Mostly there is no second piece, and nothing to copy.
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
    }
    if length > SYNC_RESPONSE_MAX_BYTES as u64 {
        return Ok(Body::TooLarge(length));
    }
    Ok(Body::Whole(if whole.is_empty() { first } else { whole.freeze() }))
}

/// The error that ended a streamed answer: its type and, in base64, its document.
pub(super) fn error_in(trailers: &[(String, String)]) -> Option<GuestError> {
    let get =
        |wanted: &str| trailers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let error_type = super::error_type(Some(get(super::ERROR_TYPE_HEADER)?));
    let document = get(ERROR_BODY_TRAILER).and_then(|body| STANDARD.decode(body).ok());
    let document = document.map_or_else(|| crate::guest_error(&error_type, "").document, Bytes::from);
    Some(GuestError { error_type, document })
}
