//! What comes as a file or a message: control messages, snapshots, kernels.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

use super::bytes::Bytes;
use super::devices::{drive, file, poll};
use crate::boot::BootImage;
use crate::control::{Boot, Entry, FromVmm, Request, Restore, receive};
use crate::devices::fitting::fit;
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::balloon::Balloon;
use crate::devices::virtio::entropy::Entropy;
use crate::devices::virtio::net::Net;
use crate::devices::virtio::testing::Driver;
use crate::devices::virtio::transport::TransportState;
use crate::devices::virtio::vsock::Vsock;
use crate::layout::Slot;
use crate::snapshot::{MachineState, format};

/// Bytes before a snapshot's value; see [`format`].
const HEAD_BYTES: usize = 52;
const MEMORY_MIB: u32 = 128;

/// Messages of both directions: what can be decoded is what it says when encoded again. The devices of a request are made,
/// of descriptors that may be the wrong ones for them, and meet a driver.
pub fn control(data: &[u8]) {
    if let Ok(message) = postcard::from_bytes::<FromVmm>(data) {
        let again = postcard::to_stdvec(&message).expect("a message that was decoded");
        assert_eq!(postcard::from_bytes::<FromVmm>(&again), Ok(message));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("sockets");
    if rustix::net::send(&ours, data, SendFlags::NOSIGNAL).is_err() {
        return;
    }
    let Ok(Some(packet)) = receive::<Request>(&theirs) else { return };
    let again = postcard::to_stdvec(&packet.message).expect("a request that was decoded");
    assert_eq!(postcard::from_bytes::<Request>(&again).as_ref(), Ok(&packet.message));
    let (Request::Boot(Boot { devices, .. }) | Request::Restore(Restore { devices, .. })) = packet.message else {
        return;
    };
    let Ok(fitted) = fit(&devices, &mut descriptors().into()) else { return };
    for (_, device) in fitted.virtio {
        let queues = device.queue_sizes().len();
        let mut driver = Driver::new(device);
        driver.start(u64::MAX);
        (0..queues).for_each(|queue| driver.notify(queue));
        poll(&mut driver);
    }
}

/// A file, a stream, a socket for frames, another file.
fn descriptors() -> Vec<OwnedFd> {
    let frames = UnixDatagram::pair().expect("sockets").0;
    frames.set_nonblocking(true).expect("a flag");
    let stream = UnixStream::pair().expect("sockets").0;
    vec![
        file(512).expect("memory for a file").into(),
        stream.into(),
        frames.into(),
        file(0).expect("memory for a file").into(),
    ]
}

/// By the first byte: the state of a machine as a whole file, as the value within an intact one, or one device's part
/// of it, which then goes on.
pub fn snapshot(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.byte() % 8 {
        0 => drop(MachineState::parse(bytes.0)),
        1 => drop(MachineState::parse(&in_a_file(bytes.0))),
        slot => {
            if let Ok(state) = postcard::from_bytes::<TransportState>(bytes.0) {
                go_on(Slot::ALL[usize::from(slot - 2)], &state);
            }
        }
    }
}

/// The device in `slot` from `state`, if it takes that.
fn go_on(slot: Slot, state: &TransportState) {
    let mut driver = Driver::new(device(slot));
    if driver.transport.restore(state).is_err() {
        return;
    }
    for queue in 0..state.queues.len() {
        driver.notify(queue);
    }
    poll(&mut driver);
    let again = driver.transport.save();
    Driver::new(device(slot)).transport.restore(&again).expect("a state as it was saved");
}

/// A value with the head that makes a file of it.
fn in_a_file(value: &[u8]) -> Vec<u8> {
    let mut file = vec![0; HEAD_BYTES];
    file[..8].copy_from_slice(&format::STATE.magic);
    file[8..12].copy_from_slice(&format::VERSION.to_le_bytes());
    file[12..16].copy_from_slice(&(value.len() as u32).to_le_bytes());
    file[16..20].copy_from_slice(&crc32fast::hash(value).to_le_bytes());
    file[20..20 + format::BUILD.len()].copy_from_slice(format::BUILD.as_bytes());
    file.extend_from_slice(value);
    file
}

fn device(slot: Slot) -> Box<dyn VirtioDevice> {
    match slot {
        Slot::Vsock => Box::new(Vsock::new(UnixStream::pair().expect("sockets").0).expect("a device")),
        Slot::Root | Slot::Code => drive(true),
        Slot::Entropy => Box::new(Entropy::new().expect("a device")),
        Slot::Balloon => Box::new(Balloon::new().expect("a device")),
        Slot::Net => {
            let (tap, _) = UnixDatagram::pair().expect("sockets");
            tap.set_nonblocking(true).expect("a flag");
            Box::new(Net::new(tap.into(), [2; 6], None, None).expect("a device"))
        }
    }
}

/// A kernel file: it is refused, or its boot image can be made.
pub fn kernel(data: &[u8]) {
    let mut bytes = Bytes(data);
    let choices = bytes.byte();
    let entry = [None, Some(Entry::Pvh), Some(Entry::Linux64)][usize::from(choices) % 3];
    let image = BootImage {
        kernel: bytes.0,
        initrd: &data[..data.len().min(64)],
        command_line: "panic=1",
        memory_mib: MEMORY_MIB,
        vcpus: 1 + choices % 6,
        slots: &Slot::ALL,
        serial: choices & 0x40 != 0,
        acpi: choices & 0x80 != 0,
        entry,
    };
    let memory = file(0).expect("memory for a file");
    if let Ok(start) = image.build(&memory) {
        assert!(start.address < u64::from(MEMORY_MIB) << 20, "the first instruction is outside memory");
        assert!(start.parameters < u64::from(MEMORY_MIB) << 20, "the parameters are outside memory");
    }
}
