//! What a launcher and its `hearth-vmm` say to each other: over a `SOCK_SEQPACKET` socket, one message a packet,
//! descriptors as `SCM_RIGHTS` beside it, every request answered in order; [`Event`]s come unasked in between.
//!
//! The launcher does not trust what comes back: a guest may have taken the process over.

mod message;
mod packet;
mod server;

pub use message::{
    Boot, Devices, Drive, Entry, Event, FdIndex, FromVmm, MESSAGE_MAX_BYTES, MemoryFile, Net, RateLimit, Reply,
    Request, Restore, StopReason, VERSION, VcpuStart, VmmStats,
};

pub use packet::{DESCRIPTORS_MAX, Packet, receive, send};
pub use server::serve;

/// Descriptor on which `hearth-vmm` finds its end of the control socket.
pub const CONTROL_FD: i32 = 3;
