//! The transport's registers in any order, and each device behind rings of arbitrary bytes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use rustix::fs::{MemfdFlags, memfd_create};

use super::bytes::Bytes;
use crate::bus::BusDevice;
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::balloon::Balloon;
use crate::devices::virtio::block::Block;
use crate::devices::virtio::entropy::Entropy;
use crate::devices::virtio::net::Net;
use crate::devices::virtio::testing::Driver;

/// Size of the drive's image: a whole number of sectors and some bytes more.
const IMAGE_BYTES: u64 = 64 * 512 + 100;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Registers read and written in any order and width, between notifications and wake-ups.
pub fn transport(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut driver = Driver::new(drive(bytes.byte() & 1 == 0));
    while !bytes.is_empty() {
        match bytes.byte() % 8 {
            0..=3 => driver.write(u64::from(bytes.byte() & 0xfc), bytes.word()),
            4 => {
                let _ = driver.read(u64::from(bytes.byte() & 0xfc));
            }
            5 => {
                let mut wide = [0; 16];
                let (offset, width) = (bytes.short().into(), usize::from(bytes.byte() % 17));
                driver.transport.read(offset, &mut wide[..width]);
                driver.transport.write(offset, bytes.slice(width));
            }
            6 => driver.transport.on_notify(bytes.byte().into()),
            _ => {
                driver.transport.on_changed();
                poll(&mut driver);
            }
        }
    }
    let state = driver.transport.save();
    let mut restored = Driver::with_memory(drive(true), driver.memory.clone());
    restored.transport.restore(&state).expect("a state as it was saved");
}

/// The drive.
pub fn block(data: &[u8]) {
    rings(drive(true), false, data);
}

/// The entropy device.
pub fn entropy(data: &[u8]) {
    rings(Box::new(Entropy::new().expect("a device")), false, data);
}

/// The balloon.
pub fn balloon(data: &[u8]) {
    rings(Box::new(Balloon::new().expect("a device")), true, data);
}

/// The network device, with frames waiting in the tap.
pub fn net(data: &[u8]) {
    let (tap, host) = UnixDatagram::pair().expect("sockets");
    tap.set_nonblocking(true).expect("a flag");
    host.set_nonblocking(true).expect("a flag");
    for length in [10, 64, 1500, 3000] {
        host.send(&vec![1; length]).expect("room in the socket");
    }
    rings(Box::new(Net::new(OwnedFd::from(tap), MAC, None, None).expect("a device")), false, data);
}

/// Rings of arbitrary bytes: first with every effect checked, then others on top of what that left behind.
/// A device that `forgets_pages` changes memory where its driver says so, which no descriptor tells.
fn rings(device: Box<dyn VirtioDevice>, forgets_pages: bool, data: &[u8]) {
    let queues = device.queue_sizes().len();
    let mut bytes = Bytes(data);
    let mut driver = Driver::new(device);
    driver.start(if bytes.byte() & 1 == 0 { u64::MAX } else { 0 });
    let length = bytes.short().into();
    let mut first = Bytes(bytes.slice(length));
    let queue = usize::from(first.byte()) % queues;
    if forgets_pages {
        driver.scatter(queue, first.0);
        driver.notify(queue);
    } else {
        driver.run_hostile(queue, first.0);
    }
    poll(&mut driver);
    let queue = usize::from(bytes.byte()) % queues;
    driver.scatter(queue, bytes.0);
    driver.notify(queue);
    poll(&mut driver);
}

/// What the event loop does, whether or not the sources are ready.
pub(super) fn poll(driver: &mut Driver) {
    for source in 0..driver.transport.sources().len() {
        let is_of_interest = {
            let sources = driver.transport.sources();
            sources[source].readable || sources[source].writable
        };
        if is_of_interest {
            driver.transport.on_ready(source);
        }
    }
}

/// A drive, with an image if it is to have one.
pub(super) fn drive(has_image: bool) -> Box<dyn VirtioDevice> {
    let image = has_image.then(|| file(IMAGE_BYTES).expect("memory for a file"));
    Box::new(Block::new([b'x'; 20], image, None, None).expect("a device"))
}

/// A file of `bytes` zeros in memory.
pub(super) fn file(bytes: u64) -> io::Result<File> {
    let file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC)?);
    file.set_len(bytes)?;
    Ok(file)
}
