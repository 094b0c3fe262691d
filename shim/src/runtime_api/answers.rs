//! Everything the Runtime API says, on the wire. The one place where refusals become status codes.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use hearth_domain::limits::{STREAMED_RESPONSE_MAX_BYTES, SYNC_RESPONSE_MAX_BYTES};
use hearth_guest_protocol::{EnvironmentVariable, Invoke};

use super::head::Malformed;
use crate::lifecycle::Refusal;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer to the runtime.
#[derive(Debug)]
pub(super) struct Answer {
    status: Status,
    content_type: &'static str,
    /// Further header fields, each with its line's end. Names as AWS spells them: some clients look for that.
    fields: String,
    pub(super) body: Bytes,
}

/// Code and reason.
type Status = &'static str;
const OK: Status = "200 OK";
const ACCEPTED: Status = "202 Accepted";
const BAD_REQUEST: Status = "400 Bad Request";
const FORBIDDEN: Status = "403 Forbidden";
const NOT_FOUND: Status = "404 Not Found";
const METHOD_NOT_ALLOWED: Status = "405 Method Not Allowed";
const PAYLOAD_TOO_LARGE: Status = "413 Payload Too Large";
const HEAD_TOO_LARGE: Status = "431 Request Header Fields Too Large";
const INTERNAL_SERVER_ERROR: Status = "500 Internal Server Error";

impl Answer {
    /// Writes all but the body.
    pub(super) fn write_head(&self, keeps_alive: bool, to: &mut BytesMut) {
        let Self { status, content_type, fields, body } = self;
        let (length, close) = (body.len(), if keeps_alive { "" } else { "Connection: close\r\n" });
        // Writing to memory does not fail.
        let _ = write!(
            to,
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{fields}Content-Length: {length}\r\n{close}\r\n"
        );
    }
}

/// The liveness check.
pub(super) fn pong() -> Answer {
    answer(OK, TEXT, "pong")
}

/// An invocation, for the runtime.
pub(super) fn invocation(invocation: &Invoke) -> Answer {
    let mut response = answer(OK, JSON, invocation.payload.clone());
    let _ = write!(response.fields, "Lambda-Runtime-Deadline-Ms: {}\r\n", invocation.deadline_unix_ms);
    let fields = [
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id.as_str()),
        ("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_arn.as_str()),
        ("Lambda-Runtime-Trace-Id", invocation.trace_id.as_str()),
        ("Lambda-Runtime-Client-Context", invocation.client_context.as_str()),
    ];
    for (name, value) in fields {
        // The worker has checked what a caller may choose; what could not be a header is left out.
        if !value.is_empty() && value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
            let _ = write!(response.fields, "{name}: {value}\r\n");
        }
    }
    response
}

/// The sandbox was restored: these variables have another value now. AWS's answer is empty, and its clients ignore what is
/// in it; ours read it.
pub(super) fn restored(environment: &[EnvironmentVariable]) -> Answer {
    let mut changed = serde_json::Map::new();
    for variable in environment {
        changed.insert(variable.name.clone(), variable.value.as_str().into());
    }
    answer(OK, JSON, serde_json::json!({ "environment": changed }).to_string())
}

/// An answer or error was taken.
pub(super) fn accepted() -> Answer {
    answer(ACCEPTED, JSON, "{\"status\":\"OK\"}\n")
}

/// The runtime may not do that now.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let (status, error_type) = match refusal {
        Refusal::InvalidRequestId => (BAD_REQUEST, "InvalidRequestID"),
        Refusal::InvalidTransition { .. } => (FORBIDDEN, "InvalidStateTransition"),
    };
    error(status, error_type, &refusal.to_string())
}

/// The body was above the limit.
pub(super) fn too_large() -> Answer {
    above(SYNC_RESPONSE_MAX_BYTES as u64)
}

/// The streamed body was above the limit.
pub(super) fn stream_too_large() -> Answer {
    above(STREAMED_RESPONSE_MAX_BYTES)
}

fn above(limit: u64) -> Answer {
    let message = format!("Exceeded maximum allowed payload size ({limit} bytes).");
    error(PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message)
}

/// The body ended too early.
pub(super) fn truncated() -> Answer {
    error(BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
}

/// What came is no request.
pub(super) fn malformed(malformed: Malformed) -> Answer {
    answer(if malformed == Malformed::TooLarge { HEAD_TOO_LARGE } else { BAD_REQUEST }, TEXT, "")
}

/// The sandbox is ending.
pub(super) fn gone() -> Answer {
    error(INTERNAL_SERVER_ERROR, "InternalServerError", "Internal Server Error")
}

/// There is no such path.
pub(super) fn not_found() -> Answer {
    answer(NOT_FOUND, TEXT, "404 page not found\n")
}

/// The path takes another method.
pub(super) fn method_not_allowed() -> Answer {
    answer(METHOD_NOT_ALLOWED, TEXT, "")
}

fn error(status: Status, error_type: &str, message: &str) -> Answer {
    let document = serde_json::json!({ "errorMessage": message, "errorType": error_type });
    answer(status, JSON, format!("{document}\n"))
}

fn answer(status: Status, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    Answer { status, content_type, fields: String::new(), body: body.into() }
}
