//! The one connection as plain bookkeeping: credit both ways, who still sends, and which packets are due.
//!
//! ```text
//!        guest                       device                         host
//!   tx_cnt ──── Data ───▶ received ── backlog ──▶ forwarded ──▶ stream
//!   fwd_cnt ◀── Data ──── sent     ◀─────────────────────────── stream
//! ```
//!
//! All counters are of bytes and wrap. Invariants: `received - forwarded` is what the backlog holds and never exceeds
//! [`ROOM_BYTES`] · `sent` never exceeds what the guest gave credit for when it was last heard.
//!
//! Absent on purpose: sockets and queues.

use serde::{Deserialize, Serialize};
use virtio_vsock::packet::VsockPacket;

use super::packet::{Op, Outgoing, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, STREAM};
use crate::layout::{CHANNEL_PORT, HOST_CID};

/// What the device holds of the guest's bytes while the host does not take them; the credit that the guest has.
pub const ROOM_BYTES: u32 = 64 * 1024;

/// The guest did what no driver does; its connection is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation;

/// An established connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Connection {
    guest_port: u32,

    received: u32,
    forwarded: u32,
    /// `forwarded` as the guest last heard it.
    announced: u32,

    sent: u32,
    guest_room: u32,
    guest_forwarded: u32,

    guest_sends: bool,
    guest_receives: bool,
    host_sends: bool,
    host_receives: bool,

    response_due: bool,
    shutdown_due: bool,
    credit_update_due: bool,
    credit_request: CreditRequest,
}

/// One request each time that credit runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum CreditRequest {
    None,
    Due,
    Sent,
}

impl Connection {
    /// Accepts `request`.
    pub(super) fn accept(request: &VsockPacket<'_, ()>) -> Self {
        Self {
            guest_port: request.src_port(),
            received: 0,
            forwarded: 0,
            announced: 0,
            sent: 0,
            guest_room: request.buf_alloc(),
            guest_forwarded: request.fwd_cnt(),
            guest_sends: true,
            guest_receives: true,
            host_sends: true,
            host_receives: true,
            response_due: true,
            shutdown_due: false,
            credit_update_due: false,
            credit_request: CreditRequest::None,
        }
    }

    pub(super) fn guest_port(&self) -> u32 {
        self.guest_port
    }

    /// Takes note of a packet of this connection that is neither a request nor a reset.
    pub(super) fn on_packet(&mut self, op: Op, packet: &VsockPacket<'_, ()>) -> Result<(), Violation> {
        self.guest_room = packet.buf_alloc();
        self.guest_forwarded = packet.fwd_cnt();
        if self.credit() > 0 {
            self.credit_request = CreditRequest::None;
        }
        match op {
            Op::Data if !self.guest_sends || packet.len() > ROOM_BYTES - self.backlog() => return Err(Violation),
            Op::Data => self.received = self.received.wrapping_add(packet.len()),
            Op::CreditUpdate => {}
            Op::CreditRequest => self.credit_update_due = true,
            Op::Shutdown => {
                self.guest_sends &= packet.flags() & SHUTDOWN_SEND == 0;
                self.guest_receives &= packet.flags() & SHUTDOWN_RECEIVE == 0;
            }
            Op::Request | Op::Response | Op::Reset => return Err(Violation),
        }
        Ok(())
    }

    /// Bytes of the guest that the host has not taken yet.
    pub(super) fn backlog(&self) -> u32 {
        self.received.wrapping_sub(self.forwarded)
    }

    /// The host took `count` bytes of the backlog, or they were dropped because it takes no more.
    pub(super) fn on_forwarded(&mut self, count: u32) {
        debug_assert!(count <= self.backlog());
        self.forwarded = self.forwarded.wrapping_add(count);
    }

    /// Bytes that the guest can take.
    pub(super) fn credit(&self) -> u32 {
        self.guest_room.saturating_sub(self.sent.wrapping_sub(self.guest_forwarded))
    }

    /// Bytes from the host that have somewhere to go. Asks the guest for credit if that is what is missing.
    pub(super) fn data_wanted(&mut self) -> u32 {
        if !(self.host_sends && self.guest_receives) {
            return 0;
        }
        if self.credit() == 0 && self.credit_request == CreditRequest::None {
            self.credit_request = CreditRequest::Due;
        }
        self.credit()
    }

    /// As [`Self::data_wanted`], without asking for credit.
    pub(super) fn can_take_data(&self) -> bool {
        self.host_sends && self.guest_receives && self.credit() > 0
    }

    pub(super) fn host_receives(&self) -> bool {
        self.host_receives
    }

    pub(super) fn guest_sends(&self) -> bool {
        self.guest_sends
    }

    pub(super) fn guest_receives(&self) -> bool {
        self.guest_receives
    }

    /// The guest closed both ways and all it sent has arrived.
    pub(super) fn is_finished(&self) -> bool {
        !self.guest_sends && !self.guest_receives && self.backlog() == 0
    }

    /// The host will send no more.
    pub(super) fn on_host_sends_no_more(&mut self) {
        self.shutdown_due |= self.host_sends;
        self.host_sends = false;
    }

    /// The host will receive no more: what it did not take is dropped.
    pub(super) fn on_host_receives_no_more(&mut self) {
        self.shutdown_due |= self.host_receives;
        self.host_receives = false;
        self.forwarded = self.received;
    }

    /// The header of `length` bytes to the guest, which counts as sent.
    pub(super) fn data(&mut self, length: u32) -> Outgoing {
        debug_assert!(length <= self.credit());
        self.sent = self.sent.wrapping_add(length);
        self.outgoing(Op::Data, 0, length)
    }

    /// The next packet without data that is due.
    pub(super) fn due(&self) -> Option<Op> {
        if self.response_due {
            return Some(Op::Response);
        }
        if self.shutdown_due {
            return Some(Op::Shutdown);
        }
        // Unasked as soon as the guest sees less than half of the room, so that it need not stop and ask.
        let seen_free = ROOM_BYTES.saturating_sub(self.received.wrapping_sub(self.announced));
        if self.credit_update_due || (seen_free < ROOM_BYTES / 2 && self.announced != self.forwarded) {
            return Some(Op::CreditUpdate);
        }
        (self.credit_request == CreditRequest::Due).then_some(Op::CreditRequest)
    }

    /// The header of what is [`Self::due`], which counts as sent.
    pub(super) fn take_due(&mut self) -> Option<Outgoing> {
        let op = self.due()?;
        let mut flags = 0;
        match op {
            Op::Response => self.response_due = false,
            Op::Shutdown => {
                self.shutdown_due = false;
                flags |= if self.host_receives { 0 } else { SHUTDOWN_RECEIVE };
                flags |= if self.host_sends { 0 } else { SHUTDOWN_SEND };
            }
            Op::CreditUpdate => self.credit_update_due = false,
            Op::CreditRequest => self.credit_request = CreditRequest::Sent,
            Op::Request | Op::Reset | Op::Data => return None,
        }
        Some(self.outgoing(op, flags, 0))
    }

    /// Whether what a snapshot says can be: `backlog` bytes are held.
    pub(super) fn is_consistent(&self, backlog: usize) -> bool {
        self.backlog() <= ROOM_BYTES && self.backlog() as usize == backlog && (self.host_receives || backlog == 0)
    }

    /// The reset of this connection.
    pub(super) fn reset(&mut self) -> Outgoing {
        self.outgoing(Op::Reset, 0, 0)
    }

    fn outgoing(&mut self, op: Op, flags: u32, length: u32) -> Outgoing {
        self.announced = self.forwarded;
        Outgoing {
            from_cid: HOST_CID,
            from_port: CHANNEL_PORT,
            to_port: self.guest_port,
            kind: STREAM,
            op,
            flags,
            length,
            buf_alloc: ROOM_BYTES,
            fwd_cnt: self.forwarded,
        }
    }
}
