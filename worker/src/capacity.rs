//! What this host can give to slots, and who has been promised how much of it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_domain::MemorySize;
use hearth_protocol::placement::Capacity;

use crate::Config;

/// Finds what slots may have: configured values first, then the cgroup's limit, then the host's memory.
pub(crate) fn detect(config: &Config) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let memory_mb = config.memory_mb.unwrap_or_else(|| host_memory_mb().saturating_sub(config.memory_reserve_mb));
    Capacity {
        memory_mb,
        promised_memory_mb: memory_mb.saturating_mul(u64::from(config.memory_overcommit_percent)) / 100,
        milli_cpus: config.milli_cpus.unwrap_or(cpus * 1_000),
        max_slots: config.max_slots,
    }
}

/// Keeps the sum of promises within bounds.
#[derive(Debug)]
pub(crate) struct Admission {
    promised: Mutex<Promised>,
    memory_mb: u64,
    slots: u32,
}

#[derive(Debug, Default)]
struct Promised {
    memory_mb: u64,
    slots: u32,
}

/// Room for one slot; dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Reservation {
    admission: Arc<Admission>,
    memory: MemorySize,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// The memory is promised to others.
    #[error("{promised_mb} of {limit_mb} MB are promised to other slots")]
    Memory {
        /// Promised now.
        promised_mb: u64,
        /// Most that may be.
        limit_mb: u64,
    },
    /// There are as many slots as there may be.
    #[error("there are {limit} slots already")]
    Slots {
        /// Most there may be.
        limit: u32,
    },
}

impl Admission {
    /// Promises what `capacity` says, which is also what placement counts with.
    pub(crate) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { promised: Mutex::default(), memory_mb: capacity.promised_memory_mb, slots: capacity.max_slots })
    }

    /// Takes room for one slot of `memory`.
    pub(crate) fn reserve(self: &Arc<Self>, memory: MemorySize) -> Result<Reservation, Full> {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        if promised.slots >= self.slots {
            return Err(Full::Slots { limit: self.slots });
        }
        if promised.memory_mb + u64::from(memory.get()) > self.memory_mb {
            return Err(Full::Memory { promised_mb: promised.memory_mb, limit_mb: self.memory_mb });
        }
        promised.memory_mb += u64::from(memory.get());
        promised.slots += 1;
        Ok(Reservation { admission: self.clone(), memory })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut promised = self.admission.promised.lock().unwrap_or_else(PoisonError::into_inner);
        promised.memory_mb -= u64::from(self.memory.get());
        promised.slots -= 1;
    }
}

const BYTES_PER_MB: u64 = 1024 * 1024;

/// Memory of the host, or of the container it really is.
fn host_memory_mb() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_kb).unwrap_or(0) / 1024;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    limits.iter().filter_map(|path| cgroup_limit_mb(Path::new(path))).fold(total, u64::min)
}

fn cgroup_limit_mb(path: &Path) -> Option<u64> {
    let bytes: u64 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some(bytes / BYTES_PER_MB)
}

fn total_kb(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(mb: u32) -> MemorySize {
        MemorySize::new(mb).unwrap()
    }

    #[test]
    fn room_is_given_back_and_never_exceeded() {
        let admission =
            Admission::new(Capacity { memory_mb: 256, promised_memory_mb: 512, milli_cpus: 1, max_slots: 3 });
        let first = admission.reserve(memory(256)).unwrap();
        let _second = admission.reserve(memory(128)).unwrap();
        assert_eq!(admission.reserve(memory(256)).unwrap_err(), Full::Memory { promised_mb: 384, limit_mb: 512 });
        let _third = admission.reserve(memory(128)).unwrap();
        assert_eq!(admission.reserve(memory(128)).unwrap_err(), Full::Slots { limit: 3 });
        drop(first);
        admission.reserve(memory(256)).unwrap();
    }

    #[test]
    fn meminfo_is_understood() {
        assert_eq!(total_kb("MemTotal:       24684000 kB\nMemFree: 1 kB\n"), Some(24_684_000));
        assert_eq!(total_kb("nothing"), None);
        assert!(host_memory_mb() > 0);
    }
}
