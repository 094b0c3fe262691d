//! The memory-mapped transport: one page of registers in front of a device (virtio 1.2, section 4.2, version 2).
//!
//! ```text
//!  vCPU thread ── registers ──▶ ┌───────────┐ ◀── on_notify, on_ready, on_changed, device ── event loop's thread
//!  QueueNotify ── ioeventfd ─┐  │ Transport │
//!                            │  └─────┬─────┘ ── interrupt ── irqfd ──▶ guest
//!                            └────────┼──────────────▶ queue_events() ──▶ event loop
//! ```
//!
//! The lock is `Arc<Mutex<Transport>>`. A vCPU's thread holds it while it reads or writes one register, the event loop's
//! thread while the device works; so a guest that touches registers of a device that is busy waits until that piece of
//! work is done, which each device bounds. A queue's notification does not come this way: it is an ioeventfd, and takes
//! no lock. Nothing is called with the lock held that takes another.
//!
//! `DRIVER_OK` only marks the device as to be started and wakes the event loop ([`Transport::changed`]), which starts it
//! before anything else it does with it. A reset is done at once, on the vCPU's thread: when the driver's write returns,
//! no queue is touched any more.
//!
//! Absent on purpose: the legacy interface, shared memory regions, the reset of a single queue (not offered).
//!
//! Invariants: a device has queues only while the status says `DRIVER_OK` · those lie in guest memory · a register
//! never makes the transport allocate.

mod queue;
mod state;
mod status;

use std::any::Any;
use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

pub use self::queue::QueueRegisters;
pub use self::state::{StateError, TransportState};
use self::status::Status;
use super::{Activation, Interrupt, Source, VirtioDevice};
use crate::bus::BusDevice;
use crate::memory::GuestMemory;

/// Offset of `QueueNotify`, for the ioeventfds: a write of a queue's index, 4 bytes, is its notification.
pub const QUEUE_NOTIFY_OFFSET: u64 = 0x50;
/// `VIRTIO_F_VERSION_1`: every driver has to take it.
pub const F_VERSION_1: u64 = 1 << 32;
/// `VIRTIO_F_INDIRECT_DESC`: for devices to offer.
pub const F_INDIRECT: u64 = 1 << 28;
/// `VIRTIO_F_EVENT_IDX`: for devices to offer that call `enable_notification` when a queue is empty.
pub const F_EVENT_INDEX: u64 = 1 << 29;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"hrth");
/// What the length and address of a shared memory region that isn't there read as.
const NO_REGION: u32 = u32::MAX;
const CONFIGURATION: u64 = 0x100;

/// A device behind its registers. See the module for who may call what with which lock.
pub struct Transport {
    device: Box<dyn VirtioDevice>,
    memory: GuestMemory,
    interrupt: Interrupt,
    queue_events: Vec<EventFd>,
    changed: EventFd,
    status: Status,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: u32,
    queues: Vec<QueueRegisters>,
    is_active: bool,
}

impl Transport {
    /// Puts registers in front of `device`, which raises `line` for the driver's attention.
    ///
    /// # Errors
    ///
    /// No eventfd could be made.
    pub fn new(device: Box<dyn VirtioDevice>, memory: GuestMemory, line: Arc<EventFd>) -> io::Result<Self> {
        let sizes = device.queue_sizes();
        let queue_events = sizes.iter().map(|_| EventFd::new(EFD_NONBLOCK)).collect::<io::Result<_>>()?;
        let queues = sizes.iter().map(|size| QueueRegisters::new(*size)).collect();
        Ok(Self {
            device,
            memory,
            interrupt: Interrupt::new(line),
            queue_events,
            changed: EventFd::new(EFD_NONBLOCK)?,
            status: Status::default(),
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            queues,
            is_active: false,
        })
    }

    /// One for each queue, by index. They are to be KVM's ioeventfds at [`QUEUE_NOTIFY_OFFSET`], matching the index; the
    /// event loop waits for them, reads them and calls [`Self::on_notify`].
    #[must_use]
    pub fn queue_events(&self) -> &[EventFd] {
        &self.queue_events
    }

    /// Readable when a vCPU started or reset the device: the event loop reads it, calls [`Self::on_changed`] and asks
    /// for [`Self::sources`] again.
    #[must_use]
    pub fn changed(&self) -> &EventFd {
        &self.changed
    }

    /// After [`Self::changed`].
    pub fn on_changed(&mut self) {
        self.settle();
    }

    /// Queue `queue` was notified.
    pub fn on_notify(&mut self, queue: usize) {
        self.settle();
        if self.is_working() && queue < self.queues.len() {
            self.device.on_notify(queue);
        }
    }

    /// Source number `source` of [`Self::sources`] is ready.
    pub fn on_ready(&mut self, source: usize) {
        self.settle();
        self.device.on_ready(source);
    }

    /// What the device waits for; see [`VirtioDevice::sources`].
    #[must_use]
    pub fn sources(&self) -> Vec<Source<'_>> {
        self.device.sources()
    }

    /// The device itself, if it is a `D`: for requests of the launcher and for figures.
    pub fn device<D: VirtioDevice>(&mut self) -> Option<&mut D> {
        self.settle();
        let device: &mut dyn Any = &mut *self.device;
        device.downcast_mut()
    }

    /// Whether a driver is there and the device works for it.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.is_active && self.status.is_running() && !self.interrupt.is_broken()
    }

    /// Starts the device if its driver is ready and it has not been.
    fn settle(&mut self) {
        if self.is_active || !self.status.is_running() {
            return;
        }
        if self.activate().is_none() {
            self.status.give_up();
            self.interrupt.broken();
        }
    }

    fn activate(&mut self) -> Option<()> {
        let event_index = self.driver_features & F_EVENT_INDEX != 0;
        let with_max = self.queues.iter().zip(self.device.queue_sizes());
        let queues =
            with_max.map(|(queue, max)| queue.build(*max, event_index, &self.memory)).collect::<Option<_>>()?;
        let activation = Activation {
            memory: self.memory.clone(),
            queues,
            interrupt: self.interrupt.clone(),
            features: self.driver_features,
        };
        self.device.activate(activation).ok()?;
        self.is_active = true;
        Some(())
    }

    fn reset(&mut self) {
        if self.is_active {
            self.device.reset();
            self.wake();
        }
        self.is_active = false;
        self.status = Status::default();
        self.interrupt.reset();
        self.driver_features = 0;
        (self.device_features_select, self.driver_features_select, self.queue_select) = (0, 0, 0);
        for (queue, max) in self.queues.iter_mut().zip(self.device.queue_sizes()) {
            *queue = QueueRegisters::new(*max);
        }
    }

    fn write_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let is_acceptable = self.driver_features & F_VERSION_1 != 0 && self.driver_features & !self.offered() == 0;
        let before = self.status;
        self.status.write(value, is_acceptable);
        if self.status != before && self.status.is_running() {
            self.wake();
        }
    }

    fn wake(&self) {
        // An eventfd fails only when its counter is full, and then the loop is awake already.
        let _ = self.changed.write(1);
    }

    fn offered(&self) -> u64 {
        self.device.features() | F_VERSION_1
    }

    fn selected(&self) -> Option<(&QueueRegisters, u16)> {
        let index = self.queue_select as usize;
        Some((self.queues.get(index)?, *self.device.queue_sizes().get(index)?))
    }

    /// Changes the selected queue, while the driver may: before `DRIVER_OK`, and only a queue that is not ready.
    fn set_up(&mut self, change: impl FnOnce(&mut QueueRegisters)) {
        if self.status.has(Status::DRIVER_OK) || !self.status.has(Status::FEATURES_OK) {
            return;
        }
        if let Some(queue) = self.queues.get_mut(self.queue_select as usize).filter(|queue| !queue.ready) {
            change(queue);
        }
    }

    fn write_ready(&mut self, value: u32) {
        if self.status.has(Status::DRIVER_OK) || !self.status.has(Status::FEATURES_OK) {
            return;
        }
        let index = self.queue_select as usize;
        let max = self.device.queue_sizes().get(index).copied();
        let (Some(queue), Some(max)) = (self.queues.get_mut(index), max) else { return };
        queue.ready = value == 1;
        // A queue that can't be is not ready, which the driver can read; it is checked again when the device starts.
        queue.ready = value == 1 && queue.build(max, false, &self.memory).is_some();
    }

    fn read_register(&self, offset: u64) -> u32 {
        let selected = self.selected();
        match offset {
            0x00 => MAGIC,
            0x04 => VERSION,
            0x08 => self.device.device_type(),
            0x0c => VENDOR,
            0x10 => half(self.offered(), self.device_features_select),
            0x34 => selected.map_or(0, |(_, max)| max.into()),
            0x44 => selected.is_some_and(|(queue, _)| queue.ready).into(),
            0x60 => self.interrupt.status(),
            0x70 => self.status.bits() | if self.interrupt.is_broken() { Status::NEEDS_RESET } else { 0 },
            0xb0..=0xbc => NO_REGION,
            0xfc => self.interrupt.generation(),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        match offset {
            0x14 => self.device_features_select = value,
            0x20 if !self.status.has(Status::FEATURES_OK) && self.status.has(Status::DRIVER) => {
                set_half(&mut self.driver_features, self.driver_features_select, value);
            }
            0x24 => self.driver_features_select = value,
            0x30 => self.queue_select = value,
            // 0 stands for what is too large: no queue is ready with it.
            0x38 => self.set_up(|queue| queue.size = value.try_into().unwrap_or(0)),
            0x44 => self.write_ready(value),
            QUEUE_NOTIFY_OFFSET => {
                if let Some(event) = self.queue_events.get(value as usize) {
                    let _ = event.write(1);
                }
            }
            0x64 => self.interrupt.acknowledge(value),
            0x70 => self.write_status(value),
            0x80 => self.set_up(|queue| set_half(&mut queue.descriptors, 0, value)),
            0x84 => self.set_up(|queue| set_half(&mut queue.descriptors, 1, value)),
            0x90 => self.set_up(|queue| set_half(&mut queue.driver, 0, value)),
            0x94 => self.set_up(|queue| set_half(&mut queue.driver, 1, value)),
            0xa0 => self.set_up(|queue| set_half(&mut queue.device, 0, value)),
            0xa4 => self.set_up(|queue| set_half(&mut queue.device, 1, value)),
            _ => {}
        }
    }
}

impl BusDevice for Transport {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(offset) = offset.checked_sub(CONFIGURATION) {
            self.device.read_config(offset, data);
        } else if let Ok(data) = <&mut [u8; 4]>::try_from(data) {
            *data = self.read_register(offset).to_le_bytes();
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let Some(offset) = offset.checked_sub(CONFIGURATION) {
            if self.status.has(Status::FEATURES_OK) {
                self.device.write_config(offset, data);
            }
        } else if let Ok(data) = <[u8; 4]>::try_from(data) {
            self.write_register(offset, u32::from_le_bytes(data));
        }
    }
}

/// 32 bits of 64: the low ones for 0, the high ones for 1, none beyond.
fn half(value: u64, which: u32) -> u32 {
    match which {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_half(value: &mut u64, which: u32, bits: u32) {
    match which {
        0 => *value = (*value & !0xffff_ffff) | u64::from(bits),
        1 => *value = (*value & 0xffff_ffff) | (u64::from(bits) << 32),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
