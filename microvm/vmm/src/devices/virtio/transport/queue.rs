//! One queue as the driver sets it up, before a device works with it; and as a snapshot holds it.

use serde::{Deserialize, Serialize};
use virtio_queue::{Queue, QueueState, QueueT};
use vm_memory::{GuestAddress, GuestMemoryBackend as _};

use crate::memory::GuestMemory;

/// Registers of one queue, and how far both sides are on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRegisters {
    /// `QueueNum`.
    pub size: u16,
    /// `QueueReady`.
    pub ready: bool,
    /// `QueueDesc`, guest physical.
    pub descriptors: u64,
    /// `QueueDriver`: the available ring.
    pub driver: u64,
    /// `QueueDevice`: the used ring.
    pub device: u64,
    /// How many buffers the device took, modulo 2¹⁶.
    pub next_avail: u16,
    /// How many it gave back.
    pub next_used: u16,
}

impl QueueRegisters {
    /// After a reset.
    pub(super) const fn new(size_max: u16) -> Self {
        Self { size: size_max, ready: false, descriptors: 0, driver: 0, device: 0, next_avail: 0, next_used: 0 }
    }

    /// As `queue`, which a device works with, is now.
    pub(super) fn of(queue: &Queue) -> Self {
        let state = queue.state();
        Self {
            size: state.size,
            ready: state.ready,
            descriptors: state.desc_table,
            driver: state.avail_ring,
            device: state.used_ring,
            next_avail: state.next_avail,
            next_used: state.next_used,
        }
    }

    /// The queue, with its size and alignment checked (virtio 1.2, section 2.7); and that it lies in memory, if it is
    /// ready. `None` where something is wrong.
    pub(super) fn build(&self, size_max: u16, event_index: bool, memory: &GuestMemory) -> Option<Queue> {
        let state = QueueState {
            max_size: size_max,
            next_avail: self.next_avail,
            next_used: self.next_used,
            event_idx_enabled: event_index,
            size: self.size,
            ready: self.ready,
            desc_table: self.descriptors,
            avail_ring: self.driver,
            used_ring: self.device,
        };
        let queue = Queue::try_from(state).ok()?;
        let starts = [self.descriptors, self.driver, self.device];
        let is_in_memory =
            || starts.iter().all(|at| memory.address_in_range(GuestAddress(*at))) && queue.is_valid(memory);
        (!self.ready || is_in_memory()).then_some(queue)
    }
}
