//! Virtio devices behind the memory-mapped transport (virtio 1.2, section 4.2), modern interface only.
//!
//! A device knows queues, features and its configuration space; the [`transport`] knows registers, status and
//! addresses; the event loop knows descriptors. All three meet in [`VirtioDevice`].

pub mod alarm;
pub mod balloon;
pub mod block;
pub mod chain;
pub mod entropy;
pub mod net;
pub mod pace;
pub mod rate_limiter;
pub mod service;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;
pub mod vsock;

use std::any::Any;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use virtio_queue::Queue;
use vmm_sys_util::eventfd::EventFd;

use crate::memory::GuestMemory;

/// What a device does. Everything but [`Self::read_config`], [`Self::write_config`] and [`Self::reset`] runs on the event
/// loop's thread; those three run on whichever thread of a vCPU touched the register, so they make no system call but
/// writes to eventfds.
pub trait VirtioDevice: Any + Send {
    /// The device's number (virtio 1.2, section 5).
    fn device_type(&self) -> u32;

    /// Largest size of each of its queues.
    fn queue_sizes(&self) -> &[u16];

    /// Features it offers; the transport adds `VIRTIO_F_VERSION_1`.
    fn features(&self) -> u64;

    /// Reads its configuration space; bytes beyond its end are zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes its configuration space; few devices have anything to write.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    /// The driver is ready (`DRIVER_OK`), or the machine was restored with a driver that was. Queues are checked for
    /// their addresses, not for what is in them.
    fn activate(&mut self, activation: Activation) -> io::Result<()>;

    /// The driver gave the device up; it must forget its queues before this returns, because the driver uses their
    /// memory for something else right after. Descriptors stay open.
    fn reset(&mut self);

    /// The driver put something into queue `queue`.
    fn on_notify(&mut self, queue: usize);

    /// Descriptors of the host that the device waits for, and for what. Asked again after each call of
    /// `on_notify`, `on_ready`, `activate`, `reset` and after a control request; same number and order every time.
    fn sources(&self) -> Vec<Source<'_>> {
        Vec::new()
    }

    /// Source number `source` (by [`Self::sources`]) is ready. Reads and writes must not block.
    fn on_ready(&mut self, _source: usize) {}

    /// The queues as they are now, for a snapshot; empty while not activated.
    fn queues(&self) -> &[Queue];

    /// What else must survive a snapshot, in a form of its own. Called while the machine is paused.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes back what [`Self::save`] gave; called before [`Self::activate`]. Bytes may be damaged.
    fn restore(&mut self, _saved: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a configuration space that is `space`: bytes beyond its end are zero.
pub fn read_space(space: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let rest = usize::try_from(offset).ok().and_then(|offset| space.get(offset..)).unwrap_or_default();
    let length = rest.len().min(data.len());
    data[..length].copy_from_slice(&rest[..length]);
}

/// A descriptor to wait for, level-triggered.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Which.
    pub fd: BorrowedFd<'a>,
    /// Whether reading is of interest now.
    pub readable: bool,
    /// Whether writing is of interest now.
    pub writable: bool,
}

/// What a device works with while its driver is there.
pub struct Activation {
    /// The guest's memory.
    pub memory: GuestMemory,
    /// Its queues, by index.
    pub queues: Vec<Queue>,
    /// How it gets the driver's attention.
    pub interrupt: Interrupt,
    /// Features that both sides agreed on.
    pub features: u64,
}

/// A device's interrupt line, the register that says why it was raised, and what else of the transport a device has a
/// say in. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Interrupt {
    line: Arc<EventFd>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    status: AtomicU32,
    generation: AtomicU32,
    broken: AtomicBool,
}

impl Interrupt {
    const USED_QUEUE: u32 = 1;
    const CONFIGURATION: u32 = 2;

    /// Raises `line` (KVM's irqfd; any eventfd in tests).
    #[must_use]
    pub fn new(line: Arc<EventFd>) -> Self {
        Self { line, shared: Arc::default() }
    }

    /// The driver has used buffers to collect.
    pub fn used_queue(&self) {
        self.raise(Self::USED_QUEUE);
    }

    /// The driver should read the configuration space again. Call it after the change.
    pub fn configuration_changed(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        self.raise(Self::CONFIGURATION);
    }

    /// The driver did what no working driver does, such as more available buffers than the queue has: the device stops
    /// (`DEVICE_NEEDS_RESET`) until it is reset.
    pub fn broken(&self) {
        self.shared.broken.store(true, Ordering::Release);
        self.raise(Self::CONFIGURATION);
    }

    /// Whether [`Self::broken`] was called since the last reset.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }

    /// `InterruptStatus`: why, as bits.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.shared.status.load(Ordering::Acquire)
    }

    /// `InterruptACK`.
    pub fn acknowledge(&self, bits: u32) {
        self.shared.status.fetch_and(!bits, Ordering::AcqRel);
    }

    /// `ConfigGeneration`: two equal readings enclose a configuration that did not change between them.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Puts the registers back, for a restore, and raises the line if anything stands in the first.
    pub fn restore(&self, status: u32, generation: u32) {
        self.shared.generation.store(generation, Ordering::Release);
        if status & (Self::USED_QUEUE | Self::CONFIGURATION) != 0 {
            self.raise(status & (Self::USED_QUEUE | Self::CONFIGURATION));
        }
    }

    /// As new, but for the generation, which only ever goes on.
    fn reset(&self) {
        self.shared.status.store(0, Ordering::Release);
        self.shared.broken.store(false, Ordering::Release);
    }

    fn raise(&self, why: u32) {
        self.shared.status.fetch_or(why, Ordering::AcqRel);
        // An eventfd fails only when its counter is full, and then the line is raised already.
        let _ = self.line.write(1);
    }
}
