//! Virtio devices behind the memory-mapped transport (virtio 1.2, section 4.2), modern interface only.
//!
//! A device knows queues, features and its configuration space; the transport knows registers, status and addresses;
//! the event loop knows descriptors. All three meet in [`VirtioDevice`].

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use virtio_queue::Queue;
use vmm_sys_util::eventfd::EventFd;

use crate::memory::GuestMemory;

/// What a device does. Everything but [`Self::read_config`] and [`Self::write_config`] runs on the event loop's thread.
pub trait VirtioDevice: Send {
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

    /// The driver gave the device up; it must forget its queues.
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

/// A device's interrupt line and the register that says why it was raised. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupt {
    status: Arc<AtomicU32>,
    line: Arc<EventFd>,
}

impl Interrupt {
    const USED_QUEUE: u32 = 1;
    const CONFIGURATION: u32 = 2;

    /// Raises `line` (KVM's irqfd; any eventfd in tests).
    #[must_use]
    pub fn new(line: Arc<EventFd>) -> Self {
        Self { status: Arc::default(), line }
    }

    /// The driver has used buffers to collect.
    pub fn used_queue(&self) {
        self.raise(Self::USED_QUEUE);
    }

    /// The driver should read the configuration space again.
    pub fn configuration_changed(&self) {
        self.raise(Self::CONFIGURATION);
    }

    /// `InterruptStatus`: why, as bits.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    /// `InterruptACK`.
    pub fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Puts the register back, for a restore, and raises the line if anything stands in it.
    pub fn restore(&self, status: u32) {
        if status & (Self::USED_QUEUE | Self::CONFIGURATION) != 0 {
            self.raise(status & (Self::USED_QUEUE | Self::CONFIGURATION));
        }
    }

    fn raise(&self, why: u32) {
        self.status.fetch_or(why, Ordering::AcqRel);
        // An eventfd fails only when its counter is full, and then the line is raised already.
        let _ = self.line.write(1);
    }
}
