//! What a sandbox uses: as its control groups count it, and where one is missing, as `/proc` tells.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cgroup::{Controller, Group};
use crate::exit::Child;
use crate::sandbox::{Ended, SandboxUsage};
use crate::tree;

/// Reads the counters of one sandbox.
pub(crate) struct Account {
    group: Group,
    pid: i32,
    /// The most memory seen, bytes, where no group knows it.
    peak: AtomicU64,
}

impl Account {
    /// Of the sandbox whose first process is `pid`.
    pub(crate) fn new(group: Group, pid: i32) -> Self {
        Self { group, pid, peak: AtomicU64::new(0) }
    }

    /// Its control groups.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// What it uses and used, `child` being its first process.
    pub(crate) fn usage(&self, child: &Child) -> io::Result<SandboxUsage> {
        let mut usage = self.group.usage()?;
        let (memory, cpu) = (self.group.has(Controller::Memory), self.group.has(Controller::CpuAccounting));
        if (memory && cpu) || child.is_collected() {
            return Ok(usage);
        }
        let seen = tree::usage(self.pid);
        if !memory {
            let before = self.peak.fetch_max(seen.memory_bytes, Ordering::Relaxed);
            usage.memory_bytes = seen.memory_bytes;
            usage.memory_peak_bytes = before.max(seen.memory_bytes);
        }
        if !cpu {
            usage.cpu = seen.cpu;
        }
        Ok(usage)
    }

    /// [`SandboxUsage::memory_peak_bytes`] alone, at the least cost.
    pub(crate) fn memory_peak_bytes(&self, child: &Child) -> io::Result<u64> {
        match self.group.memory_peak_bytes()? {
            Some(peak) => Ok(peak),
            None => Ok(self.usage(child)?.memory_peak_bytes),
        }
    }

    /// Starts a new high-water mark, where the host can do that.
    pub(crate) fn reset_memory_peak(&self) {
        self.group.reset_memory_peak();
        self.peak.store(0, Ordering::Relaxed);
    }

    /// The end of its first process, told together with whether memory was the reason.
    pub(crate) fn ended(&self, exit: crate::exit::ExitStatus) -> Ended {
        let out_of_memory = self.group.usage().is_ok_and(|usage| usage.oom_kills > 0);
        Ended { status: exit.status, signal: exit.signal, out_of_memory }
    }
}
