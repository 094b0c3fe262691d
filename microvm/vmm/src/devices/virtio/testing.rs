//! A driver for tests and fuzz targets: what a guest's kernel does with a virtio device, and what a hostile one could.
//!
//! It holds a [`Transport`], sets it up through its registers, keeps rings and buffers in guest memory of its own, and
//! calls the device as the event loop would. Anything goes wrong in it by a panic, as in tests.
//!
//! Guest memory is [`MEMORY_BYTES`] long. Queue `n` has its rings in the 4 KiB from `n * 0x1000`; from [`BUFFERS`] on,
//! memory is the caller's.

mod hostile;

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::VirtioDevice;
use super::transport::{F_VERSION_1, Transport};
use crate::bus::BusDevice;
use crate::memory::GuestMemory;

/// Guest memory of a test.
pub const MEMORY_BYTES: u64 = 256 * 1024;
/// Where rings end and the caller's memory begins.
pub const BUFFERS: u64 = 0x8000;
/// Size that the driver gives its queues, if the device allows as much.
pub const QUEUE_SIZE: u16 = 16;

/// Descriptor flag: [`Descriptor::next`] counts.
pub const NEXT: u16 = 1;
/// Descriptor flag: for the device to write.
pub const WRITE: u16 = 2;
/// Descriptor flag: a table of further descriptors.
pub const INDIRECT: u16 = 4;

const DESCRIPTOR_BYTES: usize = 16;
const AVAILABLE_RING: u64 = 0x400;
const USED_RING: u64 = 0x800;

/// An entry of a descriptor table, any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Guest physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// [`NEXT`], [`WRITE`], [`INDIRECT`].
    pub flags: u16,
    /// Index of the next one.
    pub next: u16,
}

impl Descriptor {
    /// From a table.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; DESCRIPTOR_BYTES]) -> Self {
        let number = |from: usize, to: usize| bytes[from..to].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        Self {
            address: number(0, 8),
            length: number(8, 12) as u32,
            flags: number(12, 14) as u16,
            next: number(14, 16) as u16,
        }
    }

    /// As it lies in memory.
    #[must_use]
    pub fn to_bytes(self) -> [u8; DESCRIPTOR_BYTES] {
        let mut bytes = [0; DESCRIPTOR_BYTES];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.flags.to_le_bytes());
        bytes[14..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }
}

/// A driver and the device it drives.
pub struct Driver {
    /// The device.
    pub transport: Transport,
    /// The guest's memory.
    pub memory: GuestMemory,
    /// The interrupt line.
    pub line: Arc<EventFd>,
    queues: Vec<DriverQueue>,
}

#[derive(Debug, Clone, Default)]
struct DriverQueue {
    size: u16,
    next_descriptor: u16,
    available: u16,
    used: u16,
}

impl Driver {
    /// Memory as [`Driver::new`] makes it, for devices that want it early.
    #[must_use]
    pub fn memory() -> GuestMemory {
        GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES as usize)]).expect("memory for a test")
    }

    /// Puts a transport in front of `device`. No register has been touched.
    #[must_use]
    pub fn new(device: Box<dyn VirtioDevice>) -> Self {
        Self::with_memory(device, Self::memory())
    }

    /// As [`Self::new`], with memory of the caller's, which has at least [`MEMORY_BYTES`] from 0.
    #[must_use]
    pub fn with_memory(device: Box<dyn VirtioDevice>, memory: GuestMemory) -> Self {
        let line = Arc::new(EventFd::new(EFD_NONBLOCK).expect("an eventfd"));
        let queues = vec![DriverQueue::default(); device.queue_sizes().len()];
        let transport = Transport::new(device, memory.clone(), line.clone()).expect("eventfds");
        Self { transport, memory, line, queues }
    }

    /// Reads a register.
    pub fn read(&mut self, offset: u64) -> u32 {
        let mut data = [0xaa; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// Writes a register.
    pub fn write(&mut self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    /// Reads `N` bytes of the configuration space.
    pub fn configuration<const N: usize>(&mut self, offset: u64) -> [u8; N] {
        let mut data = [0xaa; N];
        self.transport.read(0x100 + offset, &mut data);
        data
    }

    /// Sets the device up as Linux does, with those of `features` that it offers; returns which these were.
    pub fn start(&mut self, features: u64) -> u64 {
        let accepted = self.negotiate(features | F_VERSION_1);
        self.set_up_queues();
        self.write(0x70, 15);
        self.transport.on_changed();
        accepted
    }

    /// As far as `FEATURES_OK`.
    pub fn negotiate(&mut self, features: u64) -> u64 {
        self.write(0x70, 0);
        self.write(0x70, 1);
        self.write(0x70, 3);
        self.write(0x14, 0);
        let low = u64::from(self.read(0x10));
        self.write(0x14, 1);
        let accepted = features & (low | (u64::from(self.read(0x10)) << 32));
        for half in 0..2 {
            self.write(0x24, half);
            self.write(0x20, (accepted >> (32 * half)) as u32);
        }
        self.write(0x70, 11);
        assert_eq!(self.read(0x70), 11, "the device refused the features");
        accepted
    }

    /// Every queue, with new rings.
    pub fn set_up_queues(&mut self) {
        for index in 0..self.queues.len() {
            self.write(0x30, index as u32);
            let size = QUEUE_SIZE.min(self.read(0x34) as u16);
            let base = index as u64 * 0x1000;
            self.memory.write_slice(&[0; 0x1000], GuestAddress(base)).expect("rings are in memory");
            self.write(0x38, size.into());
            for (register, address) in [(0x80, base), (0x90, base + AVAILABLE_RING), (0xa0, base + USED_RING)] {
                self.write(register, address as u32);
                self.write(register + 4, (address >> 32) as u32);
            }
            self.write(0x44, 1);
            assert_eq!(self.read(0x44), 1, "the device refused queue {index}");
            self.queues[index] = DriverQueue { size, ..DriverQueue::default() };
        }
    }

    /// Puts `descriptor` into the table of queue `queue`.
    pub fn set_descriptor(&self, queue: usize, index: u16, descriptor: Descriptor) {
        let at = queue as u64 * 0x1000 + u64::from(index) * DESCRIPTOR_BYTES as u64;
        self.memory.write_slice(&descriptor.to_bytes(), GuestAddress(at)).expect("the table is in memory");
    }

    /// Makes the chain that starts at `head` available.
    pub fn make_available(&mut self, queue: usize, head: u16) {
        let rings = &mut self.queues[queue];
        let ring = queue as u64 * 0x1000 + AVAILABLE_RING;
        let slot = ring + 4 + u64::from(rings.available % rings.size) * 2;
        rings.available = rings.available.wrapping_add(1);
        self.memory.write_obj(head, GuestAddress(slot)).expect("the ring is in memory");
        self.memory.write_obj(rings.available, GuestAddress(ring + 2)).expect("the ring is in memory");
    }

    /// Makes a chain of `buffers` (address, length, whether the device may write) available; returns its head.
    pub fn add(&mut self, queue: usize, buffers: &[(u64, u32, bool)]) -> u16 {
        let (size, head) = (self.queues[queue].size, self.queues[queue].next_descriptor);
        for (n, (address, length, writable)) in (0_u16..).zip(buffers) {
            let more = if usize::from(n) + 1 < buffers.len() { NEXT } else { 0 };
            let flags = more | if *writable { WRITE } else { 0 };
            let descriptor = Descriptor { address: *address, length: *length, flags, next: (head + n + 1) % size };
            self.set_descriptor(queue, (head + n) % size, descriptor);
        }
        self.queues[queue].next_descriptor = (head + buffers.len() as u16) % size;
        self.make_available(queue, head);
        head
    }

    /// Tells the device, as the event loop would.
    pub fn notify(&mut self, queue: usize) {
        self.transport.on_notify(queue);
    }

    /// What the device used since the last call: (head, bytes written).
    pub fn used(&mut self, queue: usize) -> Vec<(u32, u32)> {
        let rings = &mut self.queues[queue];
        let ring = queue as u64 * 0x1000 + USED_RING;
        let end: u16 = self.memory.read_obj(GuestAddress(ring + 2)).expect("the ring is in memory");
        let mut used = Vec::new();
        while rings.used != end {
            let slot = ring + 4 + u64::from(rings.used % rings.size) * 8;
            let read = |at| self.memory.read_obj::<u32>(GuestAddress(at)).expect("the ring is in memory");
            used.push((read(slot), read(slot + 4)));
            rings.used = rings.used.wrapping_add(1);
        }
        used
    }

    /// Whether the device raised its line since the last call; acknowledges everything.
    pub fn was_interrupted(&mut self) -> bool {
        let why = self.read(0x60);
        self.write(0x64, why);
        self.line.read().is_ok()
    }

    /// Fills guest memory.
    pub fn put(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).expect("within memory");
    }

    /// Reads guest memory.
    #[must_use]
    pub fn get(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).expect("within memory");
        bytes
    }
}
