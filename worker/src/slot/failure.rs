//! Failures of an execution environment, as Lambda words them.

use bytes::Bytes;
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_domain::{FunctionError, RequestId, Timeout};
use hearth_guest_protocol::{FrameError, RuntimeExit};
use serde::Serialize;

/// Longest error type taken from a sandbox, bytes.
pub(crate) const ERROR_TYPE_MAX_BYTES: usize = 256;

/// Why an environment is of no more use, or gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its runtime process, or all of it, ended.
    Exit {
        /// Exit status, if it exited.
        status: Option<i32>,
        /// Signal, if one ended it.
        signal: Option<i32>,
        /// Whether it ran out of memory.
        out_of_memory: bool,
    },
    /// It ran longer than the function may.
    TimedOut(Timeout),
    /// It broke the protocol.
    Violation(Violation),
}

/// What a sandbox did that its shim never would: somebody else speaks through it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// A message that nothing asked for.
    #[error("an unexpected {message} message while {state}")]
    Unexpected {
        /// Which message.
        message: &'static str,
        /// What the slot was doing.
        state: &'static str,
    },
    /// A message about another invocation than the one that runs.
    #[error("a {message} message for another invocation")]
    WrongInvocation {
        /// Which message.
        message: &'static str,
    },
    /// A member is larger than the protocol allows, or missing.
    #[error("a malformed {message} message: {fault}")]
    Malformed {
        /// Which message.
        message: &'static str,
        /// What is wrong.
        fault: &'static str,
    },
    /// More log messages than any function's output makes.
    #[error("a flood of log messages")]
    Flood,
    /// Bytes that are no message, or a channel closed by a sandbox that lives on.
    #[error("{0}")]
    Channel(String),
}

impl From<&FrameError> for Violation {
    fn from(error: &FrameError) -> Self {
        Self::Channel(error.to_string())
    }
}

impl Failure {
    /// `errorType`, as the caller and the REPORT line have it.
    pub(crate) const fn error_type(&self) -> &'static str {
        match self {
            Self::Exit { out_of_memory: true, .. } => "Runtime.OutOfMemory",
            Self::Exit { .. } => "Runtime.ExitError",
            Self::TimedOut(_) => "Sandbox.Timedout",
            Self::Violation(_) => "Sandbox.Failure",
        }
    }

    /// `errorMessage` without the request's id. An init has no request of its own, so there it stands alone.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Exit { out_of_memory: true, .. } => "Error: Runtime exited with error: signal: killed".into(),
            Self::Exit { status, signal, .. } => {
                let exit = RuntimeExit { request_id: String::new(), status: *status, signal: *signal };
                format!("Error: {}", exit.message())
            }
            Self::TimedOut(timeout) => format!("Error: {}", timed_out(*timeout)),
            Self::Violation(violation) => format!("Error: The execution environment broke its protocol: {violation}"),
        }
    }

    /// The answer to a caller.
    pub(crate) fn response(&self, request: &RequestId) -> FunctionError<Bytes> {
        let message = format!("RequestId: {request} {}", self.message());
        FunctionError { error_type: self.error_type().into(), document: document(self.error_type(), &message).into() }
    }
}

/// `Task timed out after 3.00 seconds`.
pub(crate) fn timed_out(timeout: Timeout) -> String {
    format!("Task timed out after {}.00 seconds", timeout.get())
}

/// The answer to a caller whose handler said more than it may.
pub(crate) fn response_too_large() -> FunctionError<Bytes> {
    const TYPE: &str = "Function.ResponseSizeTooLarge";
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({SYNC_RESPONSE_MAX_BYTES} bytes).");
    FunctionError { error_type: TYPE.into(), document: document(TYPE, &message).into() }
}

/// An error document with Lambda's order of members.
pub(crate) fn document(error_type: &str, message: &str) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        error_type: &'a str,
        error_message: &'a str,
    }
    // Two strings always make a document.
    serde_json::to_string(&Document { error_type, error_message: message }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: Failure) -> String {
        let response = failure.response(&RequestId::new("r-1").unwrap());
        String::from_utf8(response.document.to_vec()).unwrap()
    }

    const fn exit(status: Option<i32>, signal: Option<i32>, out_of_memory: bool) -> Failure {
        Failure::Exit { status, signal, out_of_memory }
    }

    #[test]
    fn documents_are_lambdas() {
        for (failure, document) in [
            (
                Failure::TimedOut(Timeout::new(3).unwrap()),
                r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: r-1 Error: Task timed out after 3.00 seconds"}"#,
            ),
            (
                exit(Some(1), None, false),
                r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r-1 Error: Runtime exited with error: exit status 1"}"#,
            ),
            (
                exit(Some(0), None, false),
                r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r-1 Error: Runtime exited without providing a reason"}"#,
            ),
            (
                exit(None, Some(11), false),
                r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r-1 Error: Runtime exited with error: signal: segmentation fault"}"#,
            ),
            (
                exit(None, Some(9), true),
                r#"{"errorType":"Runtime.OutOfMemory","errorMessage":"RequestId: r-1 Error: Runtime exited with error: signal: killed"}"#,
            ),
        ] {
            assert_eq!(text(failure), document);
        }
        assert_eq!(
            response_too_large().document,
            r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#
        );
    }
}
