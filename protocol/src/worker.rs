//! placement → worker, frontend → worker: slots and the invocations on them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_domain::{
    AccountId, FencingToken, FunctionResponse, FunctionSpec, HolderId, InitFailure, InvocationUsage, LogGroup,
    RequestId, SlotId, SlotOutcome, StartTimes, WorkerId,
};

use crate::Unreachable;

mod stream;

pub use stream::{StreamPiece, StreamReceiver, StreamSender, response_stream};

/// Micro-manager of one host.
#[async_trait]
pub trait Worker: Send + Sync + 'static {
    /// Takes a sandbox from the pool (or boots one), attaches the code and runs the function's init. Answers when the
    /// slot is idle. Asking again for the same slot and token gives the same answer.
    async fn init_slot(&self, request: InitSlot) -> Result<InitDone, InitSlotError>;

    /// Runs one invocation on a slot. Dropping the future does not end the invocation: the slot frees itself.
    async fn invoke(&self, request: InvokeRequest) -> Result<InvokeResponse, InvokeError>;

    /// As [`Self::invoke`], and what the function streams goes to `pieces` as it comes. After a start there, the response
    /// has only what came of the stream: an empty document, or the error that ended it. A caller that drops its end of
    /// `pieces` does not end the invocation: what is streamed is then thrown away. A worker that can't stream answers whole.
    async fn invoke_streaming(
        &self,
        request: InvokeRequest,
        pieces: StreamSender,
    ) -> Result<InvokeResponse, InvokeError> {
        drop(pieces);
        self.invoke(request).await
    }

    /// Gives a slot a new token and holder, so that every call with an older token is refused from now on. An idle
    /// slot stays; a busy one is drained.
    async fn fence(&self, request: FenceRequest) -> Result<Fenced, Unreachable>;

    /// Drains slots and destroys them. Slots it does not know, and older tokens than the newest, are ignored.
    async fn reclaim(&self, slots: Vec<(SlotId, FencingToken)>) -> Result<(), Unreachable>;

    /// Reads a log group, oldest line first.
    async fn read_log(&self, query: LogQuery) -> Result<LogPage, Unreachable>;

    /// The log groups that this worker has lines of, or the streams of one. A group with very many streams is listed
    /// with those written to last.
    async fn list_logs(&self, query: LogListQuery) -> Result<LogList, Unreachable>;

    /// Removes a log group with all its streams. One that is not there is as good as removed.
    async fn delete_log(&self, deletion: LogDeletion) -> Result<(), Unreachable>;
}

/// Finds the worker behind an endpoint: the role itself, or a client.
pub trait WorkerDirectory: Send + Sync + 'static {
    /// The worker at `endpoint`. Connecting happens on first use, so this never fails.
    fn worker(&self, endpoint: &WorkerEndpoint) -> Arc<dyn Worker>;
}

/// Who a worker is and where it answers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WorkerEndpoint {
    /// Who.
    pub id: WorkerId,
    /// Where: an `http://host:port` for gRPC; empty for a worker in the same process.
    pub url: Arc<str>,
}

impl fmt::Debug for WorkerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.url)
    }
}

/// Makes a slot.
#[derive(Debug, Clone)]
pub struct InitSlot {
    /// Its id, drawn by placement.
    pub slot: SlotId,
    /// Its first token.
    pub token: FencingToken,
    /// Who will hold the lease.
    pub holder: HolderId,
    /// What is to run in it.
    pub function: Arc<FunctionSpec>,
}

/// A slot is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitDone {
    /// How long that took.
    pub times: StartTimes,
}

/// Why a slot could not be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InitSlotError {
    /// The function's own init failed; no other worker would do better.
    #[error("init failed: {}", .0.error_type)]
    InitFailed(Box<InitFailure>),
    /// The worker has no room, is draining, lacks the runtime or can't get the code; another might do.
    #[error("worker refused the slot: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The worker can't be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// Runs one invocation.
#[derive(Debug, Clone)]
pub struct InvokeRequest {
    /// The id in reply header, context, START/END/REPORT.
    pub request_id: RequestId,
    /// The reserved slot.
    pub slot: SlotId,
    /// The reservation's token.
    pub token: FencingToken,
    /// The event document.
    pub payload: Bytes,
    /// The ARN that was invoked, with its qualifier if one was given.
    pub invoked_arn: String,
    /// Decoded `X-Amz-Client-Context`, JSON.
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id`.
    pub trace_id: Option<String>,
    /// Whether to send the last 4 KB of this call's log back.
    pub log_tail: bool,
}

/// What an invocation gave.
#[derive(Debug, Clone, PartialEq)]
pub struct InvokeResponse {
    /// The handler's answer or the error document.
    pub response: FunctionResponse<Bytes>,
    /// The numbers of the REPORT line.
    pub usage: InvocationUsage,
    /// The last 4 KB of the call's log, if asked for.
    pub log_tail: Option<Bytes>,
    /// What became of the slot.
    pub slot: SlotOutcome,
}

/// Why an invocation did not run to an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The slot is unknown, ended, or carries a newer token. The invocation did not start.
    #[error("{slot} is not this caller's any more: {reason}")]
    StaleSlot {
        /// The slot asked for.
        slot: SlotId,
        /// In words.
        reason: String,
    },
    /// The slot runs another invocation. The invocation did not start.
    #[error("{slot} runs another invocation")]
    Busy {
        /// The slot asked for.
        slot: SlotId,
    },
    /// The worker failed while the invocation ran; it may have had effects.
    #[error("the worker failed while the invocation ran: {reason}")]
    WorkerFailed {
        /// In words.
        reason: String,
    },
    /// The worker can't be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

impl InvokeError {
    /// Whether the invocation certainly did not start, so that another slot may take it.
    #[must_use]
    pub fn not_started(&self) -> bool {
        match self {
            Self::StaleSlot { .. } | Self::Busy { .. } => true,
            Self::WorkerFailed { .. } => false,
            Self::Unreachable(unreachable) => unreachable.not_sent,
        }
    }
}

/// Gives a slot a new token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceRequest {
    /// The slot.
    pub slot: SlotId,
    /// Its new token, above every earlier one.
    pub token: FencingToken,
    /// The new holder.
    pub holder: HolderId,
}

/// What fencing found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// Idle, and now the new holder's.
    Idle,
    /// A call runs on it; it ends after that.
    Draining,
    /// There is no such slot, or it has a newer token.
    Unknown,
}

/// Which part of a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Whose group.
    pub account: AccountId,
    /// Its name.
    pub group: LogGroup,
    /// Only lines of this stream.
    pub stream: Option<String>,
    /// Only lines from this moment on, Unix milliseconds.
    pub from_unix_ms: u64,
    /// Only lines from before this moment, Unix milliseconds.
    pub until_unix_ms: u64,
    /// Where to go on: the `next` of the page before, or 0 for the oldest line kept.
    pub after: u64,
    /// Most lines, from 1.
    pub limit: u32,
    /// Longest wait for a first line, for `--follow`; zero answers at once.
    pub wait: Duration,
}

impl LogQuery {
    /// All of a group, from its oldest line.
    #[must_use]
    pub fn all(account: AccountId, group: LogGroup, limit: u32) -> Self {
        let (from_unix_ms, until_unix_ms) = (0, u64::MAX);
        Self { account, group, stream: None, from_unix_ms, until_unix_ms, after: 0, limit, wait: Duration::ZERO }
    }
}

/// Part of a log group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Where to go on: the number of the last line that was looked at.
    pub next: u64,
    /// Whether there was nothing more to look at.
    pub at_end: bool,
}

/// One line of a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its place in this worker's part of the group: grows from line to line.
    pub number: u64,
    /// When the worker got it, Unix milliseconds.
    pub unix_ms: u64,
    /// The stream it belongs to: one for each execution environment.
    pub stream: Arc<str>,
    /// The request it belongs to; `None` for what init or an idle environment wrote.
    pub request_id: Option<RequestId>,
    /// The text without its line feed; invalid UTF-8 replaced.
    pub text: String,
}

/// Asks what logs there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogListQuery {
    /// Whose.
    pub account: AccountId,
    /// The group whose streams are wanted; `None` for the groups of the account.
    pub group: Option<LogGroup>,
}

/// Groups or streams by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogList(pub Vec<LogSummary>);

/// What a worker has of a group or stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSummary {
    /// Its name.
    pub name: String,
    /// When its first line that is kept came, Unix milliseconds.
    pub first_unix_ms: u64,
    /// When its last line came, Unix milliseconds.
    pub last_unix_ms: u64,
    /// What is kept of it, bytes.
    pub bytes: u64,
}

/// Removes a log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDeletion {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub group: LogGroup,
}
