//! The vsock device: rings of arbitrary bytes, and well-formed rings with arbitrary packets and a host that does
//! anything in between.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::bytes::Bytes;
use super::devices::poll;
use crate::devices::virtio::testing::{BUFFERS, Driver};
use crate::devices::virtio::transport::Transport;
use crate::devices::virtio::vsock::Vsock;
use crate::layout::{CHANNEL_PORT, GUEST_CID, HOST_CID};

const RX: usize = 0;
const TX: usize = 1;
const HEADER_BYTES: u32 = 44;
/// Where the one buffer of the rx queue is, and how long.
const RX_BUFFER: (u64, u32) = (BUFFERS + 0x2_0000, 4096);
const REQUEST: u16 = 1;

/// The vsock device.
pub fn vsock(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (stream, host) = UnixStream::pair().expect("sockets");
    host.set_nonblocking(true).expect("a flag");
    let mut driver = Driver::new(Box::new(Vsock::new(stream.try_clone().expect("a descriptor")).expect("a device")));
    let choices = bytes.byte();
    driver.start(if choices & 1 == 0 { u64::MAX } else { 0 });
    if choices & 2 == 0 {
        send(&mut driver, packet(REQUEST, 0, 5000, 1 << 20, 0, 0), 0);
        let _ = (&host).write(&[7; 6000]).expect("room in the socket");
    }
    if choices & 4 == 0 {
        driver.run_hostile(usize::from(choices >> 3) % 3, bytes.0);
        poll(&mut driver);
    } else {
        converse(&mut driver, &stream, &host, bytes);
    }
}

/// Packets and the host's doings in any order.
fn converse(driver: &mut Driver, stream: &UnixStream, mut host: &UnixStream, mut bytes: Bytes<'_>) {
    while !bytes.is_empty() {
        match bytes.byte() % 8 {
            0..=3 => {
                let (op, flags, length) = (bytes.byte() % 10, bytes.byte() % 4, bytes.short());
                let port = if bytes.byte() < 200 { 5000 } else { 5001 };
                let header = packet(op.into(), flags.into(), port, bytes.word(), bytes.word(), u32::from(length) * 2);
                send(driver, header, u32::from(length) * 2);
            }
            4 => {
                driver.used(RX);
                driver.add(RX, &[(RX_BUFFER.0, RX_BUFFER.1, true)]);
                driver.notify(RX);
            }
            // Neither a full nor an empty socket matters here.
            5 => drop(host.write(&vec![9; usize::from(bytes.short())])),
            6 => drop(host.read(&mut vec![0; usize::from(bytes.short())])),
            _ => {
                poll(driver);
                let state = driver.transport.save();
                let device = Vsock::new(stream.try_clone().expect("a descriptor")).expect("a device");
                let line = driver.line.clone();
                driver.transport = Transport::new(Box::new(device), driver.memory.clone(), line).expect("descriptors");
                driver.transport.restore(&state).expect("a state as it was saved");
            }
        }
    }
}

/// Puts a packet with `length` bytes of data into the tx queue, and takes back what was used.
fn send(driver: &mut Driver, header: [u8; HEADER_BYTES as usize], length: u32) {
    driver.put(BUFFERS, &header);
    if length == 0 {
        driver.add(TX, &[(BUFFERS, HEADER_BYTES, false)]);
    } else {
        driver.add(TX, &[(BUFFERS, HEADER_BYTES, false), (BUFFERS + 0x100, length, false)]);
    }
    driver.notify(TX);
    driver.used(TX);
}

fn packet(op: u16, flags: u32, port: u32, buf_alloc: u32, fwd_cnt: u32, length: u32) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&GUEST_CID.to_le_bytes());
    header[8..16].copy_from_slice(&HOST_CID.to_le_bytes());
    for (at, field) in [
        (16, port),
        (20, CHANNEL_PORT),
        (24, length),
        (28, 1 | u32::from(op) << 16),
        (32, flags),
        (36, buf_alloc),
        (40, fwd_cnt),
    ] {
        header[at..at + 4].copy_from_slice(&field.to_le_bytes());
    }
    header
}
