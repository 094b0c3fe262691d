//! What comes out of an invocation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the function gave back. `B` is the payload's type, so that this crate needs no buffer library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionResponse<B> {
    /// The handler returned this document.
    Success(B),
    /// The handler failed, or the platform ended it; the payload is the error document.
    Error(FunctionError<B>),
}

/// A failed invocation, as the caller sees it: HTTP 200 with `X-Amz-Function-Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError<B> {
    /// `errorType` for logs and counters; also within the document where it has one.
    pub error_type: String,
    /// The error document as the caller gets it (JSON).
    pub document: B,
}

/// Why an execution environment could not be initialized for a function. It is the answer of the call that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitFailure {
    /// `errorType`, such as `Runtime.ImportModuleError`, `Runtime.ExitError` or `Sandbox.Timedout`.
    pub error_type: String,
    /// The error document as the caller gets it (JSON text).
    pub document: String,
    /// How long init ran.
    pub init_duration: Duration,
    /// The largest resident set while it ran, bytes.
    pub max_memory_used_bytes: u64,
    /// The last 4 KB of what was logged meanwhile.
    pub log_tail: Vec<u8>,
}

/// What one invocation used: the numbers of Lambda's REPORT line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InvocationUsage {
    /// Wall-clock time of the handler as the worker saw it.
    pub duration: Duration,
    /// Init of the environment, if this call is the first it served.
    pub init_duration: Option<Duration>,
    /// `duration` (and for custom runtimes init), rounded up to whole milliseconds.
    pub billed_ms: u64,
    /// Memory that the function is billed for, MB.
    pub memory_mb: u32,
    /// Largest memory the environment used so far, bytes.
    pub max_memory_used_bytes: u64,
}

impl InvocationUsage {
    /// MB-milliseconds: 1,024,000 of them are one GB-second.
    #[must_use]
    pub fn mb_ms(&self) -> u64 {
        u64::from(self.memory_mb) * self.billed_ms
    }
}

/// What became of the slot after an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SlotOutcome {
    /// It can take another invocation.
    Reusable,
    /// It is gone, or nobody can say: it must not be used again.
    Gone,
    /// The worker could not be reached, so nothing started; its other slots can't be reached either. Said by the
    /// caller of a worker, never by a worker.
    Unreachable,
}
