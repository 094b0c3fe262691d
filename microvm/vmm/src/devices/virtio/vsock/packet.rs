//! Packet headers (virtio 1.2, 5.10.6): what arrives, as far as it matters here, and the packets without data that
//! are sent.

use serde::{Deserialize, Serialize};
use virtio_vsock::packet::{PKT_HEADER_SIZE, VsockPacket};

use crate::layout::GUEST_CID;

/// `VIRTIO_VSOCK_TYPE_STREAM`.
pub(super) const STREAM: u16 = 1;

/// `VIRTIO_VSOCK_SHUTDOWN_RCV`: who sends it receives no more.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;
/// `VIRTIO_VSOCK_SHUTDOWN_SEND`: who sends it sends no more.
pub(super) const SHUTDOWN_SEND: u32 = 2;

/// `VIRTIO_VSOCK_OP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
pub(super) enum Op {
    Request = 1,
    Response = 2,
    Reset = 3,
    Shutdown = 4,
    Data = 5,
    CreditUpdate = 6,
    CreditRequest = 7,
}

impl Op {
    pub(super) const fn from_wire(op: u16) -> Option<Self> {
        Some(match op {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::Data,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            _ => return None,
        })
    }
}

/// A packet to the guest without data; also the header of one that has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outgoing {
    /// The address that the guest believes to talk to.
    pub(super) from_cid: u64,
    pub(super) from_port: u32,
    pub(super) to_port: u32,
    pub(super) kind: u16,
    pub(super) op: Op,
    pub(super) flags: u32,
    /// Bytes of data behind the header.
    pub(super) length: u32,
    /// Room that this side has in all.
    pub(super) buf_alloc: u32,
    /// Bytes that this side has passed on, wrapping.
    pub(super) fwd_cnt: u32,
}

impl Outgoing {
    /// The reset of whatever `packet` is about.
    pub(super) fn reset(packet: &VsockPacket<'_, ()>) -> Self {
        Self {
            from_cid: packet.dst_cid(),
            from_port: packet.dst_port(),
            to_port: packet.src_port(),
            kind: packet.type_(),
            op: Op::Reset,
            flags: 0,
            length: 0,
            buf_alloc: 0,
            fwd_cnt: 0,
        }
    }

    /// Whether it is what [`Self::reset`] makes.
    pub(super) fn is_reset(&self) -> bool {
        self.op == Op::Reset && self.length == 0
    }

    /// Writes the header; the bytes that the driver sees used are the result.
    pub(super) fn write(&self, packet: &mut VsockPacket<'_, ()>) -> u32 {
        packet
            .set_src_cid(self.from_cid)
            .set_dst_cid(GUEST_CID)
            .set_src_port(self.from_port)
            .set_dst_port(self.to_port)
            .set_len(self.length)
            .set_type(self.kind)
            .set_op(self.op as u16)
            .set_flags(self.flags)
            .set_buf_alloc(self.buf_alloc)
            .set_fwd_cnt(self.fwd_cnt);
        PKT_HEADER_SIZE as u32 + self.length
    }
}
