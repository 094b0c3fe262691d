//! What a handler is told besides the event.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::http::Headers;

/// One invocation's circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The invocation's id.
    pub request_id: String,
    /// When it times out.
    pub deadline: SystemTime,
    /// The ARN it was called by; empty if none is known.
    pub invoked_function_arn: String,
    /// The X-Ray trace header; empty if there is none.
    pub trace_id: String,
    /// The client context, JSON; empty if there is none.
    pub client_context: String,
}

impl Context {
    /// Time left before the invocation times out; zero afterwards.
    #[must_use]
    pub fn remaining_time(&self) -> Duration {
        self.deadline.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// `None` without a request id: such an answer is no invocation.
    pub(crate) fn from_headers(headers: &Headers) -> Option<Self> {
        let text = |name| headers.get(name).unwrap_or_default().to_owned();
        let deadline_ms = headers.get("lambda-runtime-deadline-ms").and_then(|value| value.parse().ok()).unwrap_or(0);
        Some(Self {
            request_id: headers.get("lambda-runtime-aws-request-id")?.to_owned(),
            deadline: UNIX_EPOCH + Duration::from_millis(deadline_ms),
            invoked_function_arn: text("lambda-runtime-invoked-function-arn"),
            trace_id: text("lambda-runtime-trace-id"),
            client_context: text("lambda-runtime-client-context"),
        })
    }
}
