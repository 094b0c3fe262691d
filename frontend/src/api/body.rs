//! Request bodies: bounded in size, in time and, all together, in memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::INLINE_MAX_BYTES;
use crate::errors::{ApiError, Code};
use crate::sigv4::PayloadHash;

/// The unit in which memory for bodies is counted.
const UNIT_BYTES: usize = 1024;
/// Bytes above the limit that are read and thrown away, so that the client has sent all and reads our answer.
const DISCARD_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Memory for bodies.
pub(super) struct BodyBudget {
    units: Arc<Semaphore>,
    timeout: Duration,
}

/// A body that was read, and its share of the memory.
pub(super) struct HeldBody {
    bytes: Bytes,
    permit: Option<OwnedSemaphorePermit>,
}

impl BodyBudget {
    pub(super) fn new(bytes: usize, timeout: Duration) -> Self {
        let units = (bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), timeout }
    }

    /// Reads a whole body of at most `limit` bytes.
    pub(super) async fn read(
        &self,
        body: Body,
        headers: &HeaderMap,
        limit: usize,
        operation: &str,
    ) -> Result<HeldBody, ApiError> {
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let chunked = headers.contains_key(header::TRANSFER_ENCODING);
        let expected = match declared {
            Some(length) => length.min(limit),
            None if chunked => limit,
            None => 0,
        };
        if expected == 0 {
            return Ok(HeldBody { bytes: Bytes::new(), permit: None });
        }
        let units = u32::try_from(expected.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let permit = self.units.clone().try_acquire_many_owned(units).map_err(|_| {
            ApiError::new(Code::ServiceUnavailableException, "Too many large requests are being read. Try again.")
        })?;
        let read = collect(body, declared.unwrap_or(0).min(limit), limit);
        match tokio::time::timeout(self.timeout, read).await {
            Ok(Ok(bytes)) => Ok(HeldBody { bytes, permit: Some(permit) }),
            Ok(Err(BodyError::TooLarge)) => Err(too_large(limit, operation)),
            Ok(Err(BodyError::Cut)) => {
                Err(ApiError::new(Code::SerializationException, "The request's body ended before its length."))
            }
            Err(_) => {
                let text = format!("The request's body did not arrive within {} seconds.", self.timeout.as_secs());
                Err(ApiError::new(Code::RequestTimeoutException, text))
            }
        }
    }
}

impl HeldBody {
    /// The SHA-256 of the body.
    pub(super) async fn hash(&self) -> PayloadHash {
        if self.bytes.len() <= INLINE_MAX_BYTES {
            return PayloadHash::of(&self.bytes);
        }
        let bytes = self.bytes.clone();
        let hashed = tokio::task::spawn_blocking(move || PayloadHash::of(&bytes)).await;
        // The blocking pool refuses only while the runtime goes down.
        hashed.unwrap_or_else(|_| PayloadHash::of(&self.bytes))
    }

    /// The bytes, and what must be kept while they are in use.
    pub(super) fn into_parts(self) -> (Bytes, Option<OwnedSemaphorePermit>) {
        (self.bytes, self.permit)
    }
}

enum BodyError {
    TooLarge,
    Cut,
}

async fn collect(mut body: Body, expected: usize, limit: usize) -> Result<Bytes, BodyError> {
    let mut whole = BytesMut::new();
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Cut)?.into_data() else { continue };
        if discarded > 0 || whole.len() + data.len() > limit {
            discarded += data.len().max(1);
            whole = BytesMut::new();
            if discarded > DISCARD_MAX_BYTES {
                break;
            }
        } else if whole.is_empty() && data.len() >= expected {
            // The common case, a body in one piece: no copy if nothing follows.
            let Some(rest) = body.frame().await else { return Ok(data) };
            whole.extend_from_slice(&data);
            if let Ok(more) = rest.map_err(|_| BodyError::Cut)?.into_data() {
                whole.extend_from_slice(&more);
            }
        } else {
            whole.reserve(expected.saturating_sub(whole.len()).max(data.len()));
            whole.extend_from_slice(&data);
        }
    }
    if discarded > 0 || whole.len() > limit { Err(BodyError::TooLarge) } else { Ok(whole.freeze()) }
}

fn too_large(limit: usize, operation: &str) -> ApiError {
    // Lambda's text has the operation's old name.
    let operation = if operation == "Invoke" { "InvokeFunction" } else { operation };
    let text = format!("Request must be smaller than {limit} bytes for the {operation} operation");
    ApiError::new(Code::RequestEntityTooLargeException, text)
}
