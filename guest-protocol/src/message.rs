//! The messages. Tags are the wire: never reuse one.

use bytes::Bytes;

/// From the worker.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HostMessage {
    /// Which message.
    #[prost(oneof = "host_message::Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<host_message::Kind>,
}

/// From the shim.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GuestMessage {
    /// Which message.
    #[prost(oneof = "guest_message::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub kind: Option<guest_message::Kind>,
}

/// The kinds of [`HostMessage`].
pub mod host_message {
    /// One of the worker's messages.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// See [`super::Init`].
        #[prost(message, tag = "1")]
        Init(super::Init),
        /// See [`super::Invoke`].
        #[prost(message, tag = "2")]
        Invoke(super::Invoke),
        /// See [`super::Shutdown`].
        #[prost(message, tag = "3")]
        Shutdown(super::Shutdown),
        /// See [`super::PrepareSnapshot`].
        #[prost(message, tag = "4")]
        PrepareSnapshot(super::PrepareSnapshot),
        /// See [`super::Restore`].
        #[prost(message, tag = "5")]
        Restore(super::Restore),
        /// See [`super::StreamCredit`].
        #[prost(message, tag = "6")]
        StreamCredit(super::StreamCredit),
    }
}

/// The kinds of [`GuestMessage`].
pub mod guest_message {
    /// One of the shim's messages.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// See [`super::Ready`].
        #[prost(message, tag = "1")]
        Ready(super::Ready),
        /// See [`super::InitDone`].
        #[prost(message, tag = "2")]
        InitDone(super::InitDone),
        /// See [`super::Response`].
        #[prost(message, tag = "3")]
        Response(super::Response),
        /// See [`super::Log`].
        #[prost(message, tag = "4")]
        Log(super::Log),
        /// See [`super::RuntimeExit`].
        #[prost(message, tag = "5")]
        RuntimeExit(super::RuntimeExit),
        /// See [`super::SnapshotReady`].
        #[prost(message, tag = "6")]
        SnapshotReady(super::SnapshotReady),
        /// See [`super::Restored`].
        #[prost(message, tag = "7")]
        Restored(super::Restored),
        /// See [`super::Stats`].
        #[prost(message, tag = "8")]
        Stats(super::Stats),
        /// See [`super::ResponseStart`].
        #[prost(message, tag = "9")]
        ResponseStart(super::ResponseStart),
        /// See [`super::ResponseChunk`].
        #[prost(message, tag = "10")]
        ResponseChunk(super::ResponseChunk),
        /// See [`super::ResponseEnd`].
        #[prost(message, tag = "11")]
        ResponseEnd(super::ResponseEnd),
    }
}

/// One environment variable.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EnvironmentVariable {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Binds the sandbox to a function and starts its init. Sent once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Init {
    /// The complete environment of the runtime process: reserved variables (`_HANDLER`, `AWS_LAMBDA_*`, `TZ`, …) and
    /// the function's own. The shim adds `AWS_LAMBDA_RUNTIME_API`.
    #[prost(message, repeated, tag = "1")]
    pub environment: Vec<EnvironmentVariable>,
    /// The handler string, as `_HANDLER` has it too.
    #[prost(string, tag = "2")]
    pub handler: String,
    /// The function's unqualified name, for messages.
    #[prost(string, tag = "3")]
    pub function_name: String,
    /// Directory of the code within the sandbox: `/var/task`, except where there is no mount namespace.
    #[prost(string, tag = "4")]
    pub task_root: String,
    /// What the function may use, to be enforced by the shim: only in a microVM, whose kernel is the shim's. Elsewhere
    /// the host enforces it, and this is absent.
    #[prost(message, optional, tag = "5")]
    pub limits: Option<GuestLimits>,
    /// Whether a snapshot is to be taken after this init: the runtime may ask `/runtime/restore/next`.
    #[prost(bool, tag = "6")]
    pub snap_start: bool,
    /// Wall clock of the host, Unix milliseconds; 0 if not told. A microVM's own clock drifts.
    #[prost(uint64, tag = "15")]
    pub unix_ms: u64,
    /// In a microVM: the drive with the code has it in the directory `task`, and the function's layers in `opt`.
    #[prost(bool, tag = "7")]
    pub layers_in_code: bool,
}

/// Limits within a microVM.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GuestLimits {
    /// Memory of the function's processes and their `/tmp`, bytes.
    #[prost(uint64, tag = "1")]
    pub memory_bytes: u64,
    /// Size of `/tmp`, bytes.
    #[prost(uint64, tag = "2")]
    pub tmp_bytes: u64,
    /// Processes and threads.
    #[prost(uint32, tag = "3")]
    pub max_processes: u32,
    /// Open files of one process.
    #[prost(uint64, tag = "4")]
    pub max_open_files: u64,
}

/// The sandbox is about to be snapshotted. The shim brings everything to rest: what user space knows it can write
/// again is dropped, and with [`Init::snap_start`] the runtime has run its before-snapshot hooks. It answers
/// [`SnapshotReady`] and then says nothing and does nothing until [`Restore`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PrepareSnapshot {}

/// The sandbox was restored from a snapshot that others were or will be restored from, too: what must differ, does
/// from here on. Answered by [`Restored`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Restore {
    /// Fresh random bytes of the host, [`crate::RESTORE_ENTROPY_BYTES`], for the kernel's generator and, through it,
    /// those of user space.
    #[prost(bytes = "bytes", tag = "1")]
    pub entropy: Bytes,
    /// Wall clock, nanoseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub unix_ns: u64,
    /// Host name of this sandbox.
    #[prost(string, tag = "3")]
    pub host_name: String,
    /// Network identity, where there is a network.
    #[prost(message, optional, tag = "4")]
    pub network: Option<GuestNetwork>,
    /// New values of environment variables that a snapshot after init has from another sandbox (the log stream).
    #[prost(message, repeated, tag = "5")]
    pub environment: Vec<EnvironmentVariable>,
}

/// A sandbox's network identity.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GuestNetwork {
    /// Six bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub mac: Bytes,
    /// Address and prefix length, such as `10.0.0.2/30`.
    #[prost(string, tag = "2")]
    pub address: String,
    /// The default gateway.
    #[prost(string, tag = "3")]
    pub gateway: String,
}

/// At rest: take the snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotReady {
    /// What the before-snapshot hooks said, if they failed; then there is no snapshot.
    #[prost(message, optional, tag = "1")]
    pub error: Option<GuestError>,
}

/// Another sandbox now. After a snapshot that was taken after init, the after-restore hooks have run, too.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Restored {
    /// How long it took by the shim's clock, microseconds.
    #[prost(uint64, tag = "1")]
    pub duration_us: u64,
    /// What went wrong; absent on success.
    #[prost(message, optional, tag = "2")]
    pub error: Option<GuestError>,
}

/// What the function used, as the microVM's kernel counts. Sent before every Response, InitDone and RuntimeExit, and
/// only from a microVM. A guest's word about itself: good for its own report line, and for nothing else.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Stats {
    /// Memory in use, bytes.
    #[prost(uint64, tag = "1")]
    pub memory_bytes: u64,
    /// The most since the last Stats, bytes.
    #[prost(uint64, tag = "2")]
    pub memory_peak_bytes: u64,
    /// How often the memory limit made the kernel kill something, since boot.
    #[prost(uint64, tag = "3")]
    pub oom_kills: u64,
}

/// Runs one invocation. Sent only while none runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Invoke {
    /// `Lambda-Runtime-Aws-Request-Id`.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// The event document.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
    /// `Lambda-Runtime-Deadline-Ms`: Unix milliseconds at which the invocation times out.
    #[prost(uint64, tag = "3")]
    pub deadline_unix_ms: u64,
    /// `Lambda-Runtime-Invoked-Function-Arn`.
    #[prost(string, tag = "4")]
    pub invoked_arn: String,
    /// `Lambda-Runtime-Client-Context`, JSON; empty if there is none.
    #[prost(string, tag = "5")]
    pub client_context: String,
    /// `Lambda-Runtime-Trace-Id`; empty if there is none.
    #[prost(string, tag = "6")]
    pub trace_id: String,
    /// Whether an answer that the runtime streams is wanted as it comes; else it is sent whole, as any other.
    #[prost(bool, tag = "7")]
    pub streaming: bool,
    /// Wall clock of the host, Unix milliseconds; 0 if not told. A microVM's own clock drifts.
    #[prost(uint64, tag = "15")]
    pub unix_ms: u64,
}

/// The caller has taken so much of the streamed answer: as much more may be sent. Counted as
/// [`crate::stream_cost`] counts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamCredit {
    /// Which invocation. Credit for another one than that under way comes late and means nothing.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// How much more.
    #[prost(uint64, tag = "2")]
    pub amount: u64,
}

/// Ends the sandbox: the shim ends the runtime (SIGTERM, then SIGKILL) and exits.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Shutdown {
    /// Time between the two signals, milliseconds.
    #[prost(uint32, tag = "1")]
    pub grace_ms: u32,
}

/// The shim is up. Sent once, first.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ready {
    /// [`crate::PROTOCOL_VERSION`] of the shim.
    #[prost(uint32, tag = "1")]
    pub protocol_version: u32,
    /// Whether a language runtime is started already and waits for its code.
    #[prost(bool, tag = "2")]
    pub runtime_started: bool,
    /// What the boot of a microVM consisted of, in order; empty elsewhere.
    #[prost(message, repeated, tag = "3")]
    pub boot_phases: Vec<BootPhase>,
}

/// A step of a microVM's boot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BootPhase {
    /// What was done, such as `modules` or `mounts`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// When it was over, microseconds since the guest's kernel started.
    #[prost(uint64, tag = "2")]
    pub at_us: u64,
}

/// Init is over.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InitDone {
    /// How long it ran by the shim's clock, microseconds.
    #[prost(uint64, tag = "1")]
    pub duration_us: u64,
    /// What went wrong; absent on success.
    #[prost(message, optional, tag = "2")]
    pub error: Option<GuestError>,
}

/// A failure that the runtime reported or the shim found.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GuestError {
    /// `Lambda-Runtime-Function-Error-Type`, or `Runtime.ExitError` and the like.
    #[prost(string, tag = "1")]
    pub error_type: String,
    /// The error document as the runtime posted it, or one of the shim's (JSON).
    #[prost(bytes = "bytes", tag = "2")]
    pub document: Bytes,
}

/// The invocation is over. All [`Log`]s that belong to it came before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Which invocation.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// What came of it.
    #[prost(oneof = "response::Outcome", tags = "2, 3, 4")]
    pub outcome: Option<response::Outcome>,
}

/// The outcomes of [`Response`].
pub mod response {
    use bytes::Bytes;

    /// What came of an invocation.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Outcome {
        /// The handler's answer.
        #[prost(bytes = "bytes", tag = "2")]
        Payload(Bytes),
        /// The handler failed.
        #[prost(message, tag = "3")]
        Error(super::GuestError),
        /// The handler's answer is larger than allowed; its size in bytes.
        #[prost(uint64, tag = "4")]
        TooLarge(u64),
    }
}

/// The answer begins, and will come in pieces. Only where [`Invoke::streaming`] asked for it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseStart {
    /// Which invocation.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// `Content-Type` of the runtime's request, at most [`crate::CONTENT_TYPE_MAX_BYTES`]; empty if it has none.
    #[prost(string, tag = "2")]
    pub content_type: String,
}

/// A piece of the answer. All pieces that are sent and not yet credited cost at most
/// [`crate::STREAM_WINDOW`] together.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseChunk {
    /// Which invocation.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// From 1 to [`crate::STREAM_CHUNK_MAX_BYTES`] bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// The streamed answer is over, and the invocation with it. All [`Log`]s that belong to it came before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseEnd {
    /// Which invocation.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// What ended it early; absent if it is whole.
    #[prost(message, optional, tag = "2")]
    pub error: Option<GuestError>,
}

/// What the function wrote to standard output or error.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    /// The invocation that ran when it was written; empty during init and between invocations.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// The bytes, at most [`crate::LOG_CHUNK_MAX_BYTES`], cut anywhere.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// Bytes that were dropped before these because the invocation wrote too much.
    #[prost(uint64, tag = "3")]
    pub dropped_bytes: u64,
}

/// The runtime process ended by itself. The sandbox is of no more use after it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RuntimeExit {
    /// The invocation that ran; empty if none did.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// Its exit status, if it exited.
    #[prost(int32, optional, tag = "2")]
    pub status: Option<i32>,
    /// The signal that ended it, if one did.
    #[prost(int32, optional, tag = "3")]
    pub signal: Option<i32>,
}

impl RuntimeExit {
    /// What AWS says about such an end: `Runtime exited with error: exit status 1` or `… signal: killed`,
    /// `Runtime exited without providing a reason` for status 0.
    #[must_use]
    pub fn message(&self) -> String {
        match (self.status, self.signal) {
            (Some(0), _) | (None, None) => "Runtime exited without providing a reason".to_owned(),
            (Some(status), _) => format!("Runtime exited with error: exit status {status}"),
            (None, Some(signal)) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
        }
    }
}

/// Linux's numbers, described as Go's runtime (in which AWS's platform is written) describes them.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        24 => "CPU time limit exceeded",
        25 => "file size limit exceeded",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

macro_rules! into_message {
    ($outer:ident, $kinds:ident: $($kind:ident),*) => {
        $(impl From<$kind> for $outer {
            fn from(message: $kind) -> Self {
                Self { kind: Some($kinds::Kind::$kind(message)) }
            }
        })*
    };
}

into_message!(HostMessage, host_message: Init, Invoke, Shutdown, PrepareSnapshot, Restore, StreamCredit);
into_message!(GuestMessage, guest_message: Ready, InitDone, Response, Log, RuntimeExit, SnapshotReady, Restored, Stats);
into_message!(GuestMessage, guest_message: ResponseStart, ResponseChunk, ResponseEnd);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_aws_tells_it() {
        let exit = |status, signal| RuntimeExit { request_id: String::new(), status, signal }.message();
        assert_eq!(exit(Some(1), None), "Runtime exited with error: exit status 1");
        assert_eq!(exit(Some(0), None), "Runtime exited without providing a reason");
        assert_eq!(exit(None, Some(9)), "Runtime exited with error: signal: killed");
        assert_eq!(exit(None, Some(11)), "Runtime exited with error: signal: segmentation fault");
        assert_eq!(exit(None, Some(40)), "Runtime exited with error: signal: signal 40");
    }
}
