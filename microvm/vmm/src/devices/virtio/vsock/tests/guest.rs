//! A guest with one stream socket: what Linux does with the device, byte by byte accounted.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::super::packet::{Op, STREAM};
use super::super::{RX, TX, Vsock};
use crate::devices::virtio::testing::{BUFFERS, Driver};
use crate::devices::virtio::transport::Transport;
use crate::layout::{CHANNEL_PORT, GUEST_CID, HOST_CID};

pub(super) const HEADER_BYTES: usize = 44;
/// Port of the guest's socket.
pub(super) const PORT: u32 = 5_000;
/// Data that one buffer of the rx queue takes.
pub(super) const RX_BYTES: u32 = 4096;
/// Data that one packet of the tx queue carries, at most.
pub(super) const TX_BYTES: usize = 16 * 1024;
const SLOTS: usize = 6;
const SLOT_BYTES: u64 = 0x1000 + TX_BYTES as u64;

/// A packet, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) cids: (u64, u64),
    pub(super) ports: (u32, u32),
    pub(super) kind: u16,
    pub(super) op: u16,
    pub(super) flags: u32,
    pub(super) buf_alloc: u32,
    pub(super) fwd_cnt: u32,
    pub(super) data: Vec<u8>,
}

impl Packet {
    pub(super) fn new(op: Op) -> Self {
        Self {
            cids: (GUEST_CID, HOST_CID),
            ports: (PORT, CHANNEL_PORT),
            kind: STREAM,
            op: op as u16,
            flags: 0,
            buf_alloc: 64 * 1024,
            fwd_cnt: 0,
            data: Vec::new(),
        }
    }

    pub(super) fn header(&self, length: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.cids.0.to_le_bytes());
        bytes.extend_from_slice(&self.cids.1.to_le_bytes());
        bytes.extend_from_slice(&self.ports.0.to_le_bytes());
        bytes.extend_from_slice(&self.ports.1.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.op.to_le_bytes());
        for field in [self.flags, self.buf_alloc, self.fwd_cnt] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Self {
        let number = |at: usize, length: usize| {
            bytes[at..at + length].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let packet = Self {
            cids: (number(0, 8), number(8, 8)),
            ports: (number(16, 4) as u32, number(20, 4) as u32),
            kind: number(28, 2) as u16,
            op: number(30, 2) as u16,
            flags: number(32, 4) as u32,
            buf_alloc: number(36, 4) as u32,
            fwd_cnt: number(40, 4) as u32,
            data: bytes[HEADER_BYTES..].to_vec(),
        };
        assert_eq!(number(24, 4) as usize, packet.data.len(), "the length is not that of what was written");
        packet
    }
}

/// The guest, its device and the host's end of the stream.
pub(super) struct Guest {
    pub(super) driver: Driver,
    pub(super) host: UnixStream,
    /// Rx buffers with the device: (head, address).
    room: Vec<(u16, u64)>,
    free: Vec<u64>,
    /// Room for received data that credit is given for.
    pub(super) buf_alloc: u32,
    pub(super) received: Vec<u8>,
    pub(super) consumed: u32,
    sent: u32,
    host_credit: (u32, u32),
}

pub(super) fn stream_pair() -> (UnixStream, UnixStream) {
    let (device, host) = UnixStream::pair().unwrap();
    host.set_nonblocking(true).unwrap();
    (device, host)
}

impl Guest {
    /// With its driver up, and no buffers in the rx queue.
    pub(super) fn new(features: u64) -> Self {
        let (device, host) = stream_pair();
        let mut driver = Driver::new(Box::new(Vsock::new(device).unwrap()));
        driver.start(features);
        Self {
            driver,
            host,
            room: Vec::new(),
            free: (0..SLOTS as u64).map(|slot| BUFFERS + SLOT_BYTES + slot * SLOT_BYTES).collect(),
            buf_alloc: 64 * 1024,
            received: Vec::new(),
            consumed: 0,
            sent: 0,
            host_credit: (0, 0),
        }
    }

    /// With its connection established and rx buffers supplied.
    pub(super) fn connected(features: u64) -> Self {
        let mut guest = Self::new(features);
        guest.supply(SLOTS);
        guest.send(&Packet { buf_alloc: guest.buf_alloc, ..Packet::new(Op::Request) });
        let answers = guest.collect();
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].op, answers[0].ports), (Op::Response as u16, (CHANNEL_PORT, PORT)));
        guest
    }

    /// Gives the device up to `count` rx buffers, as far as there are free ones.
    pub(super) fn supply(&mut self, count: usize) {
        for _ in 0..count {
            let Some(at) = self.free.pop() else { break };
            let parts = [(at, HEADER_BYTES as u32, true), (at + 0x100, RX_BYTES, true)];
            let head = self.driver.add(RX, &parts);
            self.room.push((head, at));
        }
        self.driver.notify(RX);
    }

    /// Sends `packet` as it is, header and data apart as Linux 6.1 does.
    pub(super) fn send(&mut self, packet: &Packet) {
        self.send_as(packet, packet.data.len() as u32);
    }

    /// As [`Self::send`], with a length of choice in the header.
    pub(super) fn send_as(&mut self, packet: &Packet, length: u32) {
        self.driver.put(BUFFERS, &packet.header(length));
        let header = (BUFFERS, HEADER_BYTES as u32, false);
        if packet.data.is_empty() {
            self.driver.add(TX, &[header]);
        } else {
            self.driver.put(BUFFERS + 0x100, &packet.data);
            self.driver.add(TX, &[header, (BUFFERS + 0x100, packet.data.len() as u32, false)]);
        }
        self.driver.notify(TX);
        let used = self.driver.used(TX);
        assert_eq!(used.len(), 1, "the packet was not taken");
        assert_eq!(used[0].1, 0, "nothing can be written there");
    }

    /// Sends as much of `data` as the device gives credit for; says how much.
    pub(super) fn send_data(&mut self, data: &[u8]) -> usize {
        let (buf_alloc, fwd_cnt) = self.host_credit;
        let credit = buf_alloc - self.sent.wrapping_sub(fwd_cnt);
        let count = data.len().min(credit as usize).min(TX_BYTES);
        if count > 0 {
            let packet = Packet { data: data[..count].to_vec(), ..self.of_connection(Op::Data) };
            self.send(&packet);
            self.sent = self.sent.wrapping_add(count as u32);
        }
        count
    }

    /// A packet of the connection with the guest's counters.
    pub(super) fn of_connection(&self, op: Op) -> Packet {
        Packet { buf_alloc: self.buf_alloc, fwd_cnt: self.consumed, ..Packet::new(op) }
    }

    /// The application reads `count` of what was received; the guest tells the device.
    pub(super) fn consume(&mut self, count: usize) {
        self.consumed = (self.consumed + count as u32).min(self.received.len() as u32);
        let update = self.of_connection(Op::CreditUpdate);
        self.send(&update);
    }

    /// Takes what the device sent without looking at it, and gives the buffers back.
    pub(super) fn discard(&mut self) {
        for (head, _) in self.driver.used(RX) {
            self.free_buffer(head);
        }
        self.supply(SLOTS);
    }

    fn free_buffer(&mut self, head: u32) -> u64 {
        let at = self.room.iter().position(|(candidate, _)| u32::from(*candidate) == head).unwrap();
        let (_, address) = self.room.swap_remove(at);
        self.free.push(address);
        address
    }

    /// Everything that the device sent since the last call. Data of the connection is checked against the credit given
    /// and appended to [`Self::received`].
    pub(super) fn collect(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        for (head, length) in self.driver.used(RX) {
            let address = self.free_buffer(head);
            let mut bytes = self.driver.get(address, HEADER_BYTES);
            bytes.extend(self.driver.get(address + 0x100, length as usize - HEADER_BYTES));
            let packet = Packet::parse(&bytes);
            assert_eq!(packet.cids.1, GUEST_CID);
            if packet.ports == (CHANNEL_PORT, PORT) && packet.op != Op::Reset as u16 {
                self.host_credit = (packet.buf_alloc, packet.fwd_cnt);
                self.received.extend_from_slice(&packet.data);
                let in_flight = self.received.len() as u32 - self.consumed;
                assert!(in_flight <= self.buf_alloc, "{in_flight} bytes of {} credit", self.buf_alloc);
            }
            packets.push(packet);
        }
        packets
    }

    /// What the event loop does: calls the device for each source that it waits for.
    pub(super) fn poll(&mut self) {
        for source in 0..2 {
            let is_of_interest = {
                let sources = self.driver.transport.sources();
                sources[source].readable || sources[source].writable
            };
            if is_of_interest {
                self.driver.transport.on_ready(source);
            }
        }
    }

    /// Whether the event loop waits for the stream: (to be read, to be written).
    pub(super) fn interest(&self) -> (bool, bool) {
        let sources = self.driver.transport.sources();
        (sources[0].readable, sources[0].writable)
    }

    /// Writes to the host's end what fits now; says how much.
    pub(super) fn host_write(&mut self, data: &[u8]) -> usize {
        match self.host.write(data) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads up to `count` bytes that are there at the host's end; `None` at the end of the stream.
    pub(super) fn host_read(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut data = vec![0; count];
        match self.host.read(&mut data) {
            Ok(0) if count > 0 => None,
            Ok(count) => Some(data[..count].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(Vec::new()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A snapshot and its restore: another device with the same state goes on with the same guest. The streams are of
    /// the same pair, so that what lay in them stays.
    pub(super) fn snapshot_and_restore(&mut self) {
        let state = self.driver.transport.save();
        let stream = self.driver.transport.device::<Vsock>().unwrap().endpoint.stream().try_clone().unwrap();
        let device = Box::new(Vsock::new(stream).unwrap());
        let mut transport = Transport::new(device, self.driver.memory.clone(), Arc::clone(&self.driver.line)).unwrap();
        transport.restore(&state).unwrap();
        self.driver.transport = transport;
    }
}
