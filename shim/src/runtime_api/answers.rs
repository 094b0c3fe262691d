//! Everything the Runtime API says, on the wire. The one place where refusals become status codes.

use bytes::Bytes;
use hearth_domain::limits::{STREAMED_RESPONSE_MAX_BYTES, SYNC_RESPONSE_MAX_BYTES};
use hearth_guest_protocol::{EnvironmentVariable, Invoke};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::lifecycle::Refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The liveness check.
pub(super) fn pong() -> Response<Full<Bytes>> {
    answer(StatusCode::OK, TEXT, "pong")
}

/// An invocation, for the runtime.
pub(super) fn invocation(invocation: &Invoke) -> Response<Full<Bytes>> {
    let mut response = answer(StatusCode::OK, JSON, invocation.payload.clone());
    let deadline = invocation.deadline_unix_ms.to_string();
    let headers = [
        ("lambda-runtime-aws-request-id", invocation.request_id.as_str()),
        ("lambda-runtime-deadline-ms", deadline.as_str()),
        ("lambda-runtime-invoked-function-arn", invocation.invoked_arn.as_str()),
        ("lambda-runtime-trace-id", invocation.trace_id.as_str()),
        ("lambda-runtime-client-context", invocation.client_context.as_str()),
    ];
    for (name, value) in headers {
        // The worker has checked what a caller may choose; what could not be a header is left out.
        if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The sandbox was restored: these variables have another value now. AWS's answer is empty, and its clients ignore what is
/// in it; ours read it.
pub(super) fn restored(environment: &[EnvironmentVariable]) -> Response<Full<Bytes>> {
    let mut changed = serde_json::Map::new();
    for variable in environment {
        changed.insert(variable.name.clone(), variable.value.as_str().into());
    }
    answer(StatusCode::OK, JSON, serde_json::json!({ "environment": changed }).to_string())
}

/// An answer or error was taken.
pub(super) fn accepted() -> Response<Full<Bytes>> {
    answer(StatusCode::ACCEPTED, JSON, "{\"status\":\"OK\"}\n")
}

/// The runtime may not do that now.
pub(super) fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let (status, error_type) = match refusal {
        Refusal::InvalidRequestId => (StatusCode::BAD_REQUEST, "InvalidRequestID"),
        Refusal::InvalidTransition { .. } => (StatusCode::FORBIDDEN, "InvalidStateTransition"),
    };
    error(status, error_type, &refusal.to_string())
}

/// The body was above the limit.
pub(super) fn too_large() -> Response<Full<Bytes>> {
    above(SYNC_RESPONSE_MAX_BYTES as u64)
}

/// The streamed body was above the limit.
pub(super) fn stream_too_large() -> Response<Full<Bytes>> {
    above(STREAMED_RESPONSE_MAX_BYTES)
}

fn above(limit: u64) -> Response<Full<Bytes>> {
    let message = format!("Exceeded maximum allowed payload size ({limit} bytes).");
    error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

/// The body ended too early.
pub(super) fn truncated() -> Response<Full<Bytes>> {
    error(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
}

/// The sandbox is ending.
pub(super) fn gone() -> Response<Full<Bytes>> {
    error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal Server Error")
}

/// There is no such path.
pub(super) fn not_found() -> Response<Full<Bytes>> {
    answer(StatusCode::NOT_FOUND, TEXT, "404 page not found\n")
}

/// The path takes another method.
pub(super) fn method_not_allowed() -> Response<Full<Bytes>> {
    answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "")
}

fn error(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    let document = serde_json::json!({ "errorMessage": message, "errorType": error_type });
    answer(status, JSON, format!("{document}\n"))
}

fn answer(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
