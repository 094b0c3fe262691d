//! The channel to the guest's shim: a socket device (virtio 1.2, 5.10) for exactly one connection, from the guest to
//! [`CHANNEL_PORT`](crate::layout::CHANNEL_PORT) of the host, joined to one stream of this process.
//!
//! ```text
//!  guest ── tx queue ──▶ packet ──▶ Endpoint ── send ──▶ stream        one system call a packet
//!  guest ◀── rx queue ◀── headers ◀── Endpoint ◀── recvmsg ── stream   one for up to 16 packets
//! ```
//!
//! Bytes go between guest memory and stream without a copy; only what the host does not take at once is held, at most
//! [`ROOM_BYTES`]. Credit (5.10.6.3) keeps both sides from sending what the other can't hold. The connection survives
//! a snapshot: its state is saved, and the restored device joins it to the stream it was given. So the event queue,
//! whose one event says that connections are lost, stays silent.
//!
//! Absent on purpose: connections from the host, other ports, datagrams, `SOCK_SEQPACKET`.
//!
//! Invariants: no call blocks · a call handles a bounded number of packets · memory held is bounded, and none while
//! nothing is stuck · the guest gets at most one reset for each packet it sent.

mod connection;
mod endpoint;
mod packet;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use virtio_vsock::packet::VsockPacket;
use vm_memory::VolatileSlice;

pub use connection::ROOM_BYTES;
use endpoint::Endpoint;
pub use endpoint::RESETS_MAX;

use super::transport::F_EVENT_INDEX;
use super::{Activation, Interrupt, Source, VirtioDevice};
use crate::layout::GUEST_CID;
use crate::memory::GuestMemory;
use crate::sys::event;
use crate::sys::stream::RECEIVE_PIECES_MAX;

/// Device number (virtio 1.2, section 5).
const DEVICE_TYPE: u32 = 19;
/// `VIRTIO_VSOCK_F_STREAM`.
const F_STREAM: u64 = 1 << 0;

const RX: usize = 0;
const TX: usize = 1;
/// Which of the sources is [`Vsock::again`].
const AGAIN: usize = 1;
/// Sizes of the rx, tx and event queue. Small, because Linux fills the rx queue with 4 KiB buffers and uses them in
/// turn, which a restored guest pays for with pages of its own.
const QUEUE_SIZES: [u16; 3] = [64, 64, 8];

/// Packets that one call handles each way, at most; what is left is handled when the event loop has asked the others.
pub const PACKETS_PER_CALL_MAX: usize = 256;

/// The device.
#[derive(Debug)]
pub struct Vsock {
    endpoint: Endpoint,
    queues: Vec<Queue>,
    driver: Option<Driver>,
    /// The driver gave no buffer for what is to be sent to it; it will notify.
    is_starved: bool,
    /// Readable after a call that ended at [`PACKETS_PER_CALL_MAX`] with more to do.
    again: File,
}

/// What belongs to the driver while it is there.
#[derive(Debug, Clone)]
struct Driver {
    memory: GuestMemory,
    interrupt: Interrupt,
}

impl Vsock {
    /// Joins the guest's connection, once it makes it, to `stream`. Fails if there is no descriptor left.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self {
            endpoint: Endpoint::new(stream),
            queues: Vec::new(),
            driver: None,
            is_starved: false,
            again: event::counter()?,
        })
    }

    /// Moves what can be moved, both ways.
    fn run(&mut self) {
        let Some(driver) = self.driver.clone() else { return };
        self.endpoint.settle();
        // Packets of the guest first: they bring credit, and what they call for goes out at once.
        let mut taken = self.take_packets(&driver);
        let given = self.give_packets(&driver);
        taken.is_cut_short &= self.endpoint.takes_packets();
        let mut is_wanted = false;
        for (queue, used) in [(TX, taken.used), (RX, given.used)] {
            // A driver whose ring can't be read any more gets one interrupt too many.
            is_wanted |= used && self.queues[queue].needs_notification(&driver.memory).unwrap_or(true);
        }
        if is_wanted {
            driver.interrupt.used_queue();
        }
        if taken.is_cut_short || given.is_cut_short {
            self.call_again();
        }
    }

    fn call_again(&mut self) {
        // Fails only if the counter is full, and then it is readable.
        let _ = self.again.write(&1_u64.to_ne_bytes());
    }

    /// Handles what the guest sent.
    fn take_packets(&mut self, driver: &Driver) -> Progress {
        let queue = &mut self.queues[TX];
        let mut used = false;
        for _ in 0..PACKETS_PER_CALL_MAX {
            if !self.endpoint.takes_packets() {
                break;
            }
            let Some(mut chain) = pop(queue, driver) else { return Progress { used, is_cut_short: false } };
            // What is no packet is given back: there is nobody to answer.
            if let Ok(packet) = VsockPacket::from_tx_virtq_chain(&driver.memory, &mut chain, u32::MAX) {
                self.endpoint.on_packet(&packet);
            }
            // Fails for a head that the ring can't have: then there is nothing to give back.
            used |= queue.add_used(&driver.memory, chain.head_index(), 0).is_ok();
        }
        Progress { used, is_cut_short: true }
    }

    /// Sends the guest what is due and what the stream has.
    fn give_packets(&mut self, driver: &Driver) -> Progress {
        self.is_starved = false;
        let (mut used, mut sent, mut batch) = (false, 0, 1);
        while sent < PACKETS_PER_CALL_MAX {
            while self.endpoint.has_control() {
                let Some((head, mut packet)) = self.pop_room(driver, &mut used) else {
                    return Progress { used, is_cut_short: false };
                };
                let Some(control) = self.endpoint.next_control() else { break };
                used |= self.queues[RX].add_used(&driver.memory, head, control.write(&mut packet)).is_ok();
                sent += 1;
            }
            let wanted = self.endpoint.data_wanted();
            // Small messages are the rule: more than one buffer is prepared only once one was filled.
            let packets = if wanted > 0 { self.give_data(driver, wanted, batch, &mut used) } else { 0 };
            sent += packets;
            if packets < batch && !self.endpoint.has_control() {
                return Progress { used, is_cut_short: false };
            }
            batch = (batch * 2).min(RECEIVE_PIECES_MAX);
        }
        Progress { used, is_cut_short: true }
    }

    /// Reads up to `wanted` bytes of the stream into up to `batch` buffers of the guest. Says how many became packets:
    /// fewer than `batch` if that was all for now.
    fn give_data(&mut self, driver: &Driver, wanted: usize, batch: usize, used: &mut bool) -> usize {
        let mut rooms = Vec::with_capacity(batch);
        let mut slices: Vec<VolatileSlice<'_>> = Vec::with_capacity(batch);
        let mut left = wanted;
        while rooms.len() < batch && left > 0 {
            let next = if rooms.is_empty() { self.pop_room(driver, used) } else { self.pop_next_room(&driver.memory) };
            let Some((head, packet)) = next else { break };
            let Some(slice) = packet.data_slice().and_then(|data| data.subslice(0, data.len().min(left)).ok()) else {
                self.queues[RX].go_to_previous_position();
                break;
            };
            left -= slice.len();
            slices.push(slice);
            rooms.push((head, packet));
        }
        if rooms.is_empty() {
            return 0;
        }
        let mut received = self.endpoint.receive(&slices);
        let mut packets = 0;
        for ((head, packet), slice) in rooms.iter_mut().zip(&slices) {
            let length = received.min(slice.len());
            let Some(header) = (length > 0).then(|| self.endpoint.data_header(length as u32)).flatten() else {
                self.queues[RX].go_to_previous_position();
                continue;
            };
            *used |= self.queues[RX].add_used(&driver.memory, *head, header.write(packet)).is_ok();
            received -= length;
            packets += 1;
        }
        packets
    }

    /// A buffer of the guest with its head. Those that can't hold a packet are given back on the way.
    fn pop_room<'a>(&mut self, driver: &'a Driver, used: &mut bool) -> Option<Room<'a>> {
        let queue = &mut self.queues[RX];
        for _ in 0..queue.size() {
            let Some(mut chain) = pop(queue, driver) else { break };
            match room(&driver.memory, &mut chain) {
                Some(packet) => return Some((chain.head_index(), packet)),
                None => *used |= queue.add_used(&driver.memory, chain.head_index(), 0).is_ok(),
            }
        }
        self.is_starved = true;
        None
    }

    /// The buffer after that, if it is any good.
    fn pop_next_room<'a>(&mut self, memory: &'a GuestMemory) -> Option<Room<'a>> {
        let queue = &mut self.queues[RX];
        let mut chain = queue.pop_descriptor_chain(memory)?;
        let Some(packet) = room(memory, &mut chain) else {
            queue.go_to_previous_position();
            return None;
        };
        Some((chain.head_index(), packet))
    }
}

impl VirtioDevice for Vsock {
    fn device_type(&self) -> u32 {
        DEVICE_TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        F_STREAM | F_EVENT_INDEX
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        super::read_space(&GUEST_CID.to_le_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        if activation.queues.len() != QUEUE_SIZES.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "vsock: three queues are needed"));
        }
        self.queues = activation.queues;
        self.driver = Some(Driver { memory: activation.memory, interrupt: activation.interrupt });
        // After a restore there may be work that nobody will tell of again.
        self.run();
        Ok(())
    }

    fn reset(&mut self) {
        self.queues = Vec::new();
        self.driver = None;
        self.endpoint.forget_driver();
        // The stream is closed on the event loop's thread: a vCPU's may not.
        self.call_again();
    }

    fn on_notify(&mut self, queue: usize) {
        if queue == RX || queue == TX {
            self.run();
        }
    }

    fn sources(&self) -> Vec<Source<'_>> {
        let is_driven = self.driver.is_some();
        vec![
            Source {
                fd: self.endpoint.stream().as_fd(),
                readable: is_driven && !self.is_starved && self.endpoint.reads(),
                writable: self.endpoint.writes(),
            },
            Source { fd: self.again.as_fd(), readable: true, writable: false },
        ]
    }

    fn on_ready(&mut self, source: usize) {
        if source == AGAIN {
            // It is only there to be readable.
            let _ = self.again.read(&mut [0; 8]);
        }
        match &self.driver {
            Some(_) => self.run(),
            None => self.endpoint.settle(),
        }
    }

    fn queues(&self) -> &[Queue] {
        &self.queues
    }

    fn save(&self) -> Vec<u8> {
        self.endpoint.save()
    }

    fn restore(&mut self, saved: &[u8]) -> io::Result<()> {
        self.endpoint.restore(saved)
    }
}

/// How far a call came in one direction.
struct Progress {
    /// Whether it used buffers of the driver.
    used: bool,
    /// Whether it ended at its bound with more to do.
    is_cut_short: bool,
}

/// A buffer of the guest: the head of its chain, and the packet that it can take.
type Room<'a> = (u16, VsockPacket<'a, ()>);

/// What the chain can hold, if that is a header and some data.
fn room<'a>(memory: &'a GuestMemory, chain: &mut DescriptorChain<&'a GuestMemory>) -> Option<VsockPacket<'a, ()>> {
    let packet = VsockPacket::from_rx_virtq_chain(memory, chain, u32::MAX).ok()?;
    packet.data_slice().is_some().then_some(packet)
}

/// The next chain. If there is none, the driver will notify when there is.
fn pop<'a>(queue: &mut Queue, driver: &'a Driver) -> Option<DescriptorChain<&'a GuestMemory>> {
    let memory = &driver.memory;
    let Ok(mut available) = queue.iter(memory) else {
        driver.interrupt.broken();
        return None;
    };
    let chain = available.next();
    if chain.is_some() || !queue.event_idx_enabled() {
        return chain;
    }
    // Asking to be notified and looking once more, in this order, misses nothing.
    if queue.enable_notification(memory).unwrap_or(false) { queue.pop_descriptor_chain(memory) } else { None }
}

#[cfg(test)]
mod tests;
