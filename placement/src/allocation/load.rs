//! Whether a worker's load allows one more slot.

use hearth_domain::MemorySize;
use hearth_protocol::placement::{Capacity, Load};

/// What one more slot needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Memory, MB.
    pub memory_mb: u64,
    /// CPU, thousandths of one.
    pub milli_cpus: u64,
}

/// What is promised to the slots of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserved {
    /// Memory, MB.
    pub memory_mb: u64,
    /// CPU, thousandths of one.
    pub milli_cpus: u64,
    /// Slots.
    pub slots: u32,
}

/// How full a worker may become. Percentages of its capacity. How much memory may be reserved, each worker says itself
/// ([`Capacity::promised_memory_mb`]): it refuses what is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLimits {
    /// Reserved CPU. Well above 100: an idle slot uses none.
    pub reserved_cpu_percent: u32,
    /// Measured memory. A hard bound.
    pub measured_memory_percent: u32,
    /// Measured CPU. Above it, other workers go first.
    pub measured_cpu_percent: u32,
}

/// What a worker can do for one more slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Calm,
    /// There is room, but the CPU is busy.
    Busy,
    /// There is none.
    None,
}

impl Default for LoadLimits {
    /// CPU may be promised eight times; what is measured stays below nine tenths. ("Firecracker", NSDI '20, section 5, tells of ratios of up to ten in production.)
    fn default() -> Self {
        Self { reserved_cpu_percent: 800, measured_memory_percent: 90, measured_cpu_percent: 90 }
    }
}

impl LoadLimits {
    /// Whether one more slot fits.
    #[must_use]
    pub fn room(&self, need: Need, capacity: Capacity, load: Load, reserved: Reserved) -> Room {
        let fits = reserved.slots < capacity.max_slots
            && reserved.memory_mb + need.memory_mb <= capacity.promised_memory_mb
            && reserved.milli_cpus + need.milli_cpus <= share(capacity.milli_cpus, self.reserved_cpu_percent)
            && load.memory_mb <= share(capacity.memory_mb, self.measured_memory_percent);
        if !fits {
            Room::None
        } else if load.milli_cpus > share(capacity.milli_cpus, self.measured_cpu_percent) {
            Room::Busy
        } else {
            Room::Calm
        }
    }
}

impl Need {
    /// What a slot of this memory needs: CPU comes with memory.
    #[must_use]
    pub fn of(memory: MemorySize) -> Self {
        Self { memory_mb: u64::from(memory.get()), milli_cpus: u64::from(memory.milli_cpus()) }
    }
}

impl Reserved {
    /// With one more slot.
    pub fn add(&mut self, need: Need) {
        self.memory_mb += need.memory_mb;
        self.milli_cpus += need.milli_cpus;
        self.slots += 1;
    }

    /// With one slot less.
    pub fn remove(&mut self, need: Need) {
        self.memory_mb -= need.memory_mb;
        self.milli_cpus -= need.milli_cpus;
        self.slots -= 1;
    }
}

fn share(of: u64, percent: u32) -> u64 {
    of.saturating_mul(u64::from(percent)) / 100
}
