//! The host's side: one stream, and at most one connection in all of the device's life that is joined to it.
//!
//! ```text
//!  Unused ──request to the channel's port──▶ Joined ──both closed, reset or violation──▶ Over
//! ```
//!
//! Whatever else the guest tries (other ports, a second connection, other kinds of socket, other addresses, unknown
//! operations) is answered with a reset. Bytes that came before the end still reach the host.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};
use virtio_vsock::packet::VsockPacket;
use vm_memory::VolatileSlice;

use super::connection::{Connection, ROOM_BYTES};
use super::packet::{Op, Outgoing, STREAM};
use crate::layout::{CHANNEL_PORT, GUEST_CID, HOST_CID};
use crate::sys::stream;

/// Resets that may wait for room in the guest; with so many waiting, the guest's packets wait too.
pub const RESETS_MAX: usize = 16;

/// The host's side of the device.
#[derive(Debug)]
pub(super) struct Endpoint {
    stream: UnixStream,
    state: State,
    /// The link is over, and the host was not told.
    is_over_unsaid: bool,
}

/// What of it a snapshot keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    link: Link,
    /// Bytes of the guest that the host has not taken. Allocated only while there are some.
    backlog: Vec<u8>,
    resets: Vec<Outgoing>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Link {
    #[default]
    Unused,
    Joined(Connection),
    Over,
}

impl Endpoint {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, state: State::default(), is_over_unsaid: false }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether one more packet of the guest can be taken.
    pub(super) fn takes_packets(&self) -> bool {
        self.state.resets.len() < RESETS_MAX
    }

    /// Takes a packet of the guest, of which there must be room for one ([`Self::takes_packets`]).
    pub(super) fn on_packet(&mut self, packet: &VsockPacket<'_, ()>) {
        let op = Op::from_wire(packet.op());
        let is_ours = packet.type_() == STREAM
            && packet.src_cid() == GUEST_CID
            && packet.dst_cid() == HOST_CID
            && packet.dst_port() == CHANNEL_PORT;
        match (op, &mut self.state.link) {
            (Some(Op::Request), link @ Link::Unused) if is_ours => *link = Link::Joined(Connection::accept(packet)),
            (op, Link::Joined(connection)) if is_ours && connection.guest_port() == packet.src_port() => match op {
                Some(Op::Reset) => self.end(),
                Some(op) if connection.on_packet(op, packet).is_ok() => self.on_taken(op, packet),
                _ => self.reset_connection(),
            },
            // A reset is never answered with a reset.
            (Some(Op::Reset), _) => {}
            _ => self.state.resets.push(Outgoing::reset(packet)),
        }
    }

    /// The next packet for the guest that has no data.
    pub(super) fn next_control(&mut self) -> Option<Outgoing> {
        if let Link::Joined(connection) = &mut self.state.link
            && let Some(due) = connection.take_due()
        {
            return Some(due);
        }
        (!self.state.resets.is_empty()).then(|| self.state.resets.remove(0))
    }

    /// Whether [`Self::next_control`] has one.
    pub(super) fn has_control(&self) -> bool {
        let is_due = matches!(&self.state.link, Link::Joined(connection) if connection.due().is_some());
        is_due || !self.state.resets.is_empty()
    }

    /// How many bytes of the stream the guest can take now; asks it for credit if that is what is missing.
    pub(super) fn data_wanted(&mut self) -> usize {
        match &mut self.state.link {
            Link::Joined(connection) => connection.data_wanted() as usize,
            Link::Unused | Link::Over => 0,
        }
    }

    /// Whether the stream is worth reading now.
    pub(super) fn reads(&self) -> bool {
        matches!(&self.state.link, Link::Joined(connection) if connection.can_take_data())
    }

    /// Whether bytes wait for the stream.
    pub(super) fn writes(&self) -> bool {
        !self.state.backlog.is_empty()
    }

    /// Reads from the stream into guest memory, at most [`Self::data_wanted`]; 0 if there is nothing now.
    pub(super) fn receive(&mut self, into: &[VolatileSlice<'_>]) -> usize {
        match ignoring_interrupts(|| stream::receive(self.stream.as_fd(), into)) {
            Ok(0) => self.on_host_end(false),
            Ok(count) => return count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.on_host_end(true),
        }
        0
    }

    /// The header for `length` bytes that [`Self::receive`] brought.
    pub(super) fn data_header(&mut self, length: u32) -> Option<Outgoing> {
        match &mut self.state.link {
            Link::Joined(connection) => Some(connection.data(length)),
            Link::Unused | Link::Over => None,
        }
    }

    /// Gives the stream what waits for it, and tells it what was closed.
    pub(super) fn settle(&mut self) {
        if !self.state.backlog.is_empty() {
            match ignoring_interrupts(|| stream::send_bytes(self.stream.as_fd(), &self.state.backlog)) {
                Ok(count) => {
                    self.state.backlog.drain(..count);
                    self.on_forwarded(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.on_host_takes_no_more(),
            }
            if self.state.backlog.is_empty() {
                self.state.backlog = Vec::new();
                self.close_what_is_over();
            }
        } else if self.is_over_unsaid {
            self.close_what_is_over();
        }
    }

    /// What a snapshot keeps.
    pub(super) fn save(&self) -> Vec<u8> {
        // Encoding into memory can't fail: every field has a size.
        postcard::to_stdvec(&self.state).unwrap_or_default()
    }

    /// Goes on where [`Self::save`] was, on the stream that is here now.
    pub(super) fn restore(&mut self, saved: &[u8]) -> io::Result<()> {
        let refuse = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
        let state: State = postcard::from_bytes(saved).map_err(|_| refuse("vsock: the state can't be read"))?;
        let is_consistent = match &state.link {
            Link::Unused => state.backlog.is_empty(),
            Link::Joined(connection) => connection.is_consistent(state.backlog.len()),
            Link::Over => state.backlog.len() <= ROOM_BYTES as usize,
        };
        let are_resets = state.resets.iter().all(Outgoing::is_reset);
        if !is_consistent || !are_resets || state.resets.len() > RESETS_MAX {
            return Err(refuse("vsock: the state contradicts itself"));
        }
        self.state = state;
        self.close_what_is_over();
        Ok(())
    }

    /// The driver is gone and its connection with it. The host hears of it from [`Self::settle`].
    pub(super) fn forget_driver(&mut self) {
        self.state.resets.clear();
        if matches!(self.state.link, Link::Joined(_)) {
            self.state.link = Link::Over;
            self.is_over_unsaid = true;
        }
    }

    /// What a packet of the connection, which is accounted for, means for the stream.
    fn on_taken(&mut self, op: Op, packet: &VsockPacket<'_, ()>) {
        match (op, packet.data_slice()) {
            (Op::Data, Some(data)) => self.forward(data),
            (Op::Shutdown, _) => self.close_what_is_over(),
            _ => {}
        }
    }

    fn forward(&mut self, data: &VolatileSlice<'_>) {
        let Link::Joined(connection) = &mut self.state.link else { return };
        if !connection.host_receives() {
            return connection.on_forwarded(data.len() as u32);
        }
        let mut sent = 0;
        if self.state.backlog.is_empty() {
            match ignoring_interrupts(|| stream::send(self.stream.as_fd(), data)) {
                Ok(count) => sent = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.on_host_takes_no_more(),
            }
            self.on_forwarded(sent);
        }
        let rest = data.len() - sent;
        if rest > 0 {
            let held = self.state.backlog.len();
            self.state.backlog.reserve_exact(rest);
            self.state.backlog.resize(held + rest, 0);
            if let Ok(rest) = data.offset(sent) {
                rest.copy_to(&mut self.state.backlog[held..]);
            }
        }
    }

    fn on_forwarded(&mut self, count: usize) {
        if let Link::Joined(connection) = &mut self.state.link {
            connection.on_forwarded(count as u32);
        }
    }

    /// Once all that the guest sent is with the host, tells the host what the guest closed.
    fn close_what_is_over(&mut self) {
        match &self.state.link {
            Link::Joined(connection) if connection.is_finished() => self.reset_connection(),
            Link::Joined(connection) => {
                if !connection.guest_receives() {
                    self.close(Shutdown::Read);
                }
                if !connection.guest_sends() && self.state.backlog.is_empty() {
                    self.close(Shutdown::Write);
                }
            }
            Link::Over => {
                self.is_over_unsaid = false;
                self.close(Shutdown::Read);
                if self.state.backlog.is_empty() {
                    self.close(Shutdown::Write);
                }
            }
            Link::Unused => {}
        }
    }

    fn reset_connection(&mut self) {
        if let Link::Joined(connection) = &mut self.state.link {
            let reset = connection.reset();
            self.state.resets.push(reset);
        }
        self.end();
    }

    fn end(&mut self) {
        self.state.link = Link::Over;
        self.close_what_is_over();
    }

    /// The host closed its side: only its sending, or, as an error tells, both.
    fn on_host_end(&mut self, failed: bool) {
        if let Link::Joined(connection) = &mut self.state.link {
            connection.on_host_sends_no_more();
        }
        if failed {
            self.on_host_takes_no_more();
        }
    }

    fn on_host_takes_no_more(&mut self) {
        self.state.backlog = Vec::new();
        if let Link::Joined(connection) = &mut self.state.link {
            connection.on_host_receives_no_more();
        }
        self.close_what_is_over();
    }

    fn close(&self, how: Shutdown) {
        // Fails only where the other end is gone already.
        let _ = self.stream.shutdown(how);
    }
}

fn ignoring_interrupts(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
