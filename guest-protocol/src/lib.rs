//! What a worker and the shim inside a sandbox say to each other.
//!
//! ```text
//! worker                          shim
//!        ◀────────── Ready ─────────   the sandbox is up, the language runtime started or waiting
//!        ─────────── Init ─────────▶   here is your function (its code is mounted at /var/task by now)
//!        ◀── Log* ── InitDone ──────   the runtime asked for its first event, or failed
//!        ────────── Invoke ────────▶
//!        ◀── Log* ── Response ──────
//!
//!        ────── Invoke, streaming ─▶   the answer may also come in pieces
//!        ◀────── ResponseStart ─────
//!        ◀── (Log | ResponseChunk)* ─   no more than was credited
//!        ────── StreamCredit* ─────▶   the caller took so much of it
//!        ◀── Log* ── ResponseEnd ───
//!
//!        ───────── Shutdown ───────▶
//!
//!        ──── PrepareSnapshot ─────▶   in a microVM, after Ready or InitDone: come to rest
//!        ◀───── SnapshotReady ──────
//!        ──────── Restore ─────────▶   in each microVM made from the snapshot
//!        ◀──────── Restored ────────
//! ```
//!
//! Frames are a 32-bit big-endian length and one protobuf message. What comes from the guest is hostile: the decoder
//! bounds its size before it buffers it, and the worker checks each message against what it has asked.
//!
//! Absent on purpose: I/O. Bytes come in and go out; vsock, TCP or a Unix socket carry them.
#![forbid(unsafe_code)]

mod frame;
mod message;

pub use hearth_domain::stream::{STREAM_CHUNK_MAX_BYTES, STREAM_WINDOW, stream_cost};

pub use frame::{FRAME_MAX_BYTES, FrameError, decode, encode};
pub use message::{
    BootPhase, EnvironmentVariable, GuestError, GuestLimits, GuestMessage, GuestNetwork, HostMessage, Init, InitDone,
    Invoke, Log, PrepareSnapshot, Ready, Response, ResponseChunk, ResponseEnd, ResponseStart, Restore, Restored,
    RuntimeExit, Shutdown, SnapshotReady, Stats, StreamCredit, guest_message, host_message, response,
};

/// Version of this protocol. Worker and shim must agree on it exactly: they ship together.
pub const PROTOCOL_VERSION: u32 = 3;

/// File descriptor on which the shim finds its end of the channel in a jail, unless its arguments say otherwise.
pub const CHANNEL_FD: i32 = 3;

/// Port of the host (context id 2) to which the shim of a microVM connects over vsock for its channel.
pub const CHANNEL_VSOCK_PORT: u32 = 1024;

/// Length of [`Restore::entropy`].
pub const RESTORE_ENTROPY_BYTES: usize = 32;

/// Most bytes of log text in one [`Log`] message.
pub const LOG_CHUNK_MAX_BYTES: usize = 64 * 1024;

/// Longest [`ResponseStart::content_type`].
pub const CONTENT_TYPE_MAX_BYTES: usize = 256;
