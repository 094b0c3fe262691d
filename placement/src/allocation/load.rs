//! Whether a worker's load allows one more slot.

use std::ops::RangeInclusive;

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

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Free {
    /// Memory, MB.
    pub memory_mb: u64,
    /// CPU, thousandths of one.
    pub milli_cpus: u64,
}

/// What a worker has room for; or, of several workers, the most that any of them has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Nothing where its CPU is busy.
    calm: Free,
    /// Busy or not.
    any: Free,
    /// If it had no slots.
    empty: Free,
}

/// CPU may be promised eight times if nothing else is said. ("Firecracker", NSDI '20, section 5, tells of ratios of up to ten
/// in production.)
pub const RESERVED_CPU_DEFAULT_PERCENT: u32 = 800;
/// What may be said instead: from as much as there is to where memory is long what limits.
pub const RESERVED_CPU_PERCENT: RangeInclusive<u32> = 100..=100_000;

impl Default for LoadLimits {
    /// What is measured stays below nine tenths.
    fn default() -> Self {
        Self {
            reserved_cpu_percent: RESERVED_CPU_DEFAULT_PERCENT,
            measured_memory_percent: 90,
            measured_cpu_percent: 90,
        }
    }
}

impl LoadLimits {
    /// What a worker that takes new slots has room for.
    #[must_use]
    pub fn standing(&self, capacity: Capacity, load: Load, reserved: Reserved) -> Standing {
        let any = self.free(capacity, load, reserved);
        let busy = load.milli_cpus > share(capacity.milli_cpus, self.measured_cpu_percent);
        let calm = if busy { Free::default() } else { any };
        Standing { calm, any, empty: self.free(capacity, Load::default(), Reserved::default()) }
    }

    fn free(&self, capacity: Capacity, load: Load, reserved: Reserved) -> Free {
        let open = reserved.slots < capacity.max_slots
            && load.memory_mb <= share(capacity.memory_mb, self.measured_memory_percent);
        if !open {
            return Free::default();
        }
        let milli_cpus = share(capacity.milli_cpus, self.reserved_cpu_percent);
        Free {
            memory_mb: capacity.promised_memory_mb.saturating_sub(reserved.memory_mb),
            milli_cpus: milli_cpus.saturating_sub(reserved.milli_cpus),
        }
    }
}

impl Free {
    fn holds(self, need: Need) -> bool {
        need.memory_mb <= self.memory_mb && need.milli_cpus <= self.milli_cpus
    }

    fn most(self, other: Self) -> Self {
        Self { memory_mb: self.memory_mb.max(other.memory_mb), milli_cpus: self.milli_cpus.max(other.milli_cpus) }
    }

    fn falls_from(self, before: Self, most: Self) -> bool {
        let falls = |now: u64, before: u64, most: u64| now < before && before == most;
        falls(self.memory_mb, before.memory_mb, most.memory_mb)
            || falls(self.milli_cpus, before.milli_cpus, most.milli_cpus)
    }
}

impl Standing {
    /// Takes no new slots, and would not if it were empty.
    pub const CLOSED: Self = {
        const NOTHING: Free = Free { memory_mb: 0, milli_cpus: 0 };
        Self { calm: NOTHING, any: NOTHING, empty: NOTHING }
    };

    /// One more slot fits.
    #[must_use]
    pub fn has_room(&self, need: Need) -> bool {
        self.any.holds(need)
    }

    /// One more slot fits, and the CPU is not busy.
    #[must_use]
    pub fn has_room_and_is_calm(&self, need: Need) -> bool {
        self.calm.holds(need)
    }

    /// One slot fits if there is no other.
    #[must_use]
    pub fn has_room_when_empty(&self, need: Need) -> bool {
        self.empty.holds(need)
    }

    /// The most of each.
    pub(super) fn most(self, other: Self) -> Self {
        Self { calm: self.calm.most(other.calm), any: self.any.most(other.any), empty: self.empty.most(other.empty) }
    }

    /// Whether a worker that stood as `before` and stands so now may have been why `most` is what it is.
    pub(super) fn falls_from(self, before: Self, most: Self) -> bool {
        self.calm.falls_from(before.calm, most.calm)
            || self.any.falls_from(before.any, most.any)
            || self.empty.falls_from(before.empty, most.empty)
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
