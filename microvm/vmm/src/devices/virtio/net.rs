//! A network device (virtio 1.2, 5.1) on a tap.
//!
//! ```text
//!  guest ── tx queue ──▶ source address, limits ── writev ──▶ tap       frames go between guest memory and tap
//!  guest ◀── rx queue ◀── limits ◀────────────── readv ◀──── tap        without a copy, one system call each
//! ```
//!
//! No offload is offered, so nothing in the header of a guest's packet means anything: it is not read, and the tap gets
//! one of zeros. Frames whose source is not the device's own address are dropped, because on a bridge they could speak
//! for a neighbour; the address is checked in a copy, which is also what is sent. Each direction has limits of its own;
//! what exceeds them waits: the guest's frames in its queue, the others' in the tap, which drops when it is full.
//!
//! Absent on purpose: offloads, several queues, a control queue, link status, mergeable buffers (frames are no longer
//! than [`FRAME_MAX_BYTES`], which Linux's buffers hold).
//!
//! Invariants: no call blocks · a call handles a bounded number of frames each way · the tap is read only while the
//! guest has buffers and the limits allow it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use virtio_queue::Queue;

use super::chain::Chain;
use super::pace::Pace;
use super::service::{Answer, Served, serve};
use super::transport::F_EVENT_INDEX;
use super::{Activation, Interrupt, Source, VirtioDevice};
use crate::control::RateLimit;
use crate::memory::GuestMemory;
use crate::sys::tap;

/// Device number (virtio 1.2, section 5).
const DEVICE_TYPE: u32 = 1;
/// `VIRTIO_NET_F_MAC`.
const F_MAC: u64 = 1 << 5;

const RX: usize = 0;
const TX: usize = 1;
const QUEUE_SIZES: [u16; 2] = [256, 256];

/// Which source is which.
const TAP: usize = 0;
const RX_ALARM: usize = 1;

/// Frames that one call handles each way, at most.
pub const FRAMES_PER_CALL_MAX: usize = 64;
/// Longest frame: what the kernel's MTU of 1500 makes, with addresses and a VLAN tag. Bytes.
pub const FRAME_MAX_BYTES: usize = 1518;
/// Both addresses and the type.
const ETHERNET_HEADER_BYTES: usize = 14;
/// Header of a packet between driver and device, `virtio_net_hdr_v1`.
const HEADER_BYTES: usize = 12;
/// Header between device and tap, `virtio_net_hdr`, as a tap has it until told otherwise.
const TAP_HEADER_BYTES: usize = 10;
/// The header of each packet to the guest: nothing left to compute, one buffer.
const HEADER: [u8; HEADER_BYTES] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// The device.
pub struct Net {
    tap: OwnedFd,
    mac: [u8; 6],
    queues: Vec<Queue>,
    driver: Option<(GuestMemory, Interrupt)>,
    rx: Direction,
    tx: Direction,
    /// The driver gave no buffer for the next frame; it will notify.
    is_starved: bool,
    /// The tap is good for nothing more: it would be readable for ever.
    is_unplugged: bool,
    dropped_frames: u64,
}

/// Limits of one direction.
#[derive(Debug)]
struct Direction {
    pace: Pace,
    /// Its alarm is set.
    waits: bool,
}

impl Net {
    /// On `tap`, which has a header of ten bytes (`IFF_VNET_HDR`) before each frame and is non-blocking. The limits are
    /// for each direction.
    ///
    /// # Errors
    ///
    /// The tap may block, or the process has no descriptor left.
    pub fn new(
        tap: OwnedFd,
        mac: [u8; 6],
        bandwidth: Option<RateLimit>,
        packets: Option<RateLimit>,
    ) -> io::Result<Self> {
        if !rustix::fs::fcntl_getfl(&tap)?.contains(OFlags::NONBLOCK) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the tap may block: set O_NONBLOCK"));
        }
        let direction =
            || -> io::Result<Direction> { Ok(Direction { pace: Pace::new(bandwidth, packets)?, waits: false }) };
        Ok(Self {
            tap,
            mac,
            queues: Vec::new(),
            driver: None,
            rx: direction()?,
            tx: direction()?,
            is_starved: false,
            is_unplugged: false,
            dropped_frames: 0,
        })
    }

    /// Frames that did not get through: of the guest with another's address, or longer than allowed; to the guest with
    /// no room in its buffer; and those the tap did not take.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.dropped_frames
    }

    /// Sends what the guest put into its queue, as far as the limits allow.
    fn send(&mut self) {
        let Self { driver: Some((memory, interrupt)), queues, tx, tap, mac, dropped_frames, .. } = self else {
            return;
        };
        if tx.waits {
            return;
        }
        let served = serve(&mut queues[TX], memory, interrupt, FRAMES_PER_CALL_MAX, |mut chain| {
            let length = chain.readable.bytes().saturating_sub(HEADER_BYTES);
            if !(ETHERNET_HEADER_BYTES..=FRAME_MAX_BYTES).contains(&length) {
                *dropped_frames += 1;
                return Answer::Used(0);
            }
            if !tx.pace.admit(length as u64) {
                return Answer::Later;
            }
            *dropped_frames += u64::from(!send_frame(tap, *mac, &mut chain));
            Answer::Used(0)
        });
        tx.waits = tx.pace.after_serving(served);
    }

    /// Gives the guest what the tap has, as far as it has buffers and the limits allow.
    fn receive(&mut self) {
        let Self { driver: Some((memory, interrupt)), queues, rx, tap, is_unplugged, dropped_frames, .. } = self else {
            return;
        };
        if rx.waits || *is_unplugged {
            return;
        }
        let served = serve(&mut queues[RX], memory, interrupt, FRAMES_PER_CALL_MAX, |mut chain| {
            // How long the frame is shows only when it has been read; until then it counts as empty.
            if !rx.pace.admit(0) {
                return Answer::Later;
            }
            match receive_frame(tap, &mut chain) {
                Frame::None => Answer::Later,
                Frame::Unplugged => {
                    *is_unplugged = true;
                    Answer::Later
                }
                Frame::Dropped => {
                    *dropped_frames += 1;
                    Answer::Used(0)
                }
                Frame::Bytes(length) => {
                    rx.pace.charge(length as u64);
                    Answer::Used((HEADER_BYTES + length) as u32)
                }
            }
        });
        // What is left in the tap for any other reason, the tap tells itself.
        rx.waits = rx.pace.wait_if_refused();
        self.is_starved = served == Served::Empty;
    }
}

/// Writes the frame in `chain` to the tap; says whether it went out.
fn send_frame(tap: &OwnedFd, mac: [u8; 6], chain: &mut Chain<'_>) -> bool {
    // The guest can change its memory at any time: what was checked is what is sent.
    let mut head = [0; TAP_HEADER_BYTES + ETHERNET_HEADER_BYTES];
    let _header = chain.readable.take(HEADER_BYTES);
    chain.readable.take(ETHERNET_HEADER_BYTES).copy_to(&mut head[TAP_HEADER_BYTES..]);
    let source = &head[TAP_HEADER_BYTES + 6..TAP_HEADER_BYTES + 12];
    source == mac && tap::write_frame(tap.as_fd(), &head, chain.readable.slices()).is_ok()
}

/// What came of reading the tap.
enum Frame {
    None,
    Unplugged,
    Dropped,
    Bytes(usize),
}

/// Reads a frame into `chain`.
fn receive_frame(tap: &OwnedFd, chain: &mut Chain<'_>) -> Frame {
    let header = chain.writable.take(HEADER_BYTES);
    let room = chain.writable.bytes();
    let mut tap_header = [0; TAP_HEADER_BYTES];
    match tap::read_frame(tap.as_fd(), &mut tap_header, chain.writable.slices()) {
        Ok(read) if read > TAP_HEADER_BYTES && read <= TAP_HEADER_BYTES + room => {
            header.copy_from(&HEADER);
            Frame::Bytes(read - TAP_HEADER_BYTES)
        }
        Ok(0) => Frame::Unplugged,
        Ok(_) => Frame::Dropped,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Frame::None,
        // The interface is gone; the guest hears of it as of a cable that is not plugged in.
        Err(_) => Frame::Unplugged,
    }
}

impl VirtioDevice for Net {
    fn device_type(&self) -> u32 {
        DEVICE_TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        F_MAC | F_EVENT_INDEX
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        super::read_space(&self.mac, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        if activation.queues.len() != QUEUE_SIZES.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "net: two queues are needed"));
        }
        self.queues = activation.queues;
        self.driver = Some((activation.memory, activation.interrupt));
        self.send();
        self.receive();
        Ok(())
    }

    fn reset(&mut self) {
        self.queues = Vec::new();
        self.driver = None;
    }

    fn on_notify(&mut self, queue: usize) {
        match queue {
            RX => self.receive(),
            TX => self.send(),
            _ => {}
        }
    }

    fn sources(&self) -> Vec<Source<'_>> {
        let reads = self.driver.is_some() && !self.is_starved && !self.is_unplugged && !self.rx.waits;
        vec![
            Source { fd: self.tap.as_fd(), readable: reads, writable: false },
            Source { fd: self.rx.pace.as_fd(), readable: self.rx.waits, writable: false },
            Source { fd: self.tx.pace.as_fd(), readable: self.tx.waits, writable: false },
        ]
    }

    fn on_ready(&mut self, source: usize) {
        match source {
            TAP => self.receive(),
            RX_ALARM => {
                self.rx.pace.clear();
                self.rx.waits = false;
                self.receive();
            }
            _ => {
                self.tx.pace.clear();
                self.tx.waits = false;
                self.send();
            }
        }
    }

    fn queues(&self) -> &[Queue] {
        &self.queues
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("mac", &self.mac)
            .field("dropped_frames", &self.dropped_frames)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
