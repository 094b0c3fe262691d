//! Whose memory it is: every process below a platform, by what it is for.

use std::collections::HashSet;
use std::ops::{Add, Sub};

use hearth_benches::cpu::JAILED_SHIM;
use hearth_benches::memory::{self, Process};

/// Memory of a platform and all its slots, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// Of the microVM's monitor, or of the shim in its jail: what no other process has.
    pub(crate) keeper: u64,
    /// Of the guests: what no other process has.
    pub(crate) guest: u64,
    /// Of the language's runtime with the function in it, outside a guest: what no other process has.
    pub(crate) runtime: u64,
    /// The slots' share of what several processes have.
    pub(crate) shared: u64,
    /// PSS of `hearth` itself.
    pub(crate) hearth: u64,
}

impl Memory {
    /// The names of its parts, in order.
    pub(crate) const PARTS: [&'static str; 5] =
        ["VMM or jail (shim)", "guest", "runtime and function", "shared", "hearth's growth"];

    /// Its parts, in order.
    pub(crate) fn parts(self) -> [u64; 5] {
        [self.keeper, self.guest, self.runtime, self.shared, self.hearth]
    }

    /// All of it.
    pub(crate) fn sum(self) -> u64 {
        self.parts().iter().sum()
    }

    fn by_part(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            keeper: join(self.keeper, other.keeper),
            guest: join(self.guest, other.guest),
            runtime: join(self.runtime, other.runtime),
            shared: join(self.shared, other.shared),
            hearth: join(self.hearth, other.hearth),
        }
    }
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.by_part(other, |a, b| a + b)
    }
}

impl Sub for Memory {
    type Output = Self;

    /// At least nothing: pages that were private may have become shared.
    fn sub(self, other: Self) -> Self {
        self.by_part(other, u64::saturating_sub)
    }
}

/// A platform at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) memory: Memory,
    /// Sandboxes, whether they have a function or wait for one.
    pub(crate) sandboxes: u64,
    /// Threads of all processes of all sandboxes: the kernel numbers them alike.
    pub(crate) threads: u64,
    /// Open files of `hearth` itself.
    pub(crate) open_files: u64,
    /// What the whole machine could still give, KiB.
    pub(crate) available: u64,
}

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Hearth,
    Shim,
    Monitor,
    /// Below a shim.
    Runtime,
}

/// At the platform whose `hearth up` has this process id. Guests have `guest_bytes` each.
pub(crate) fn look(hearth: u32, guest_bytes: u64) -> Look {
    let processes = memory::processes_below(hearth);
    let mut look = Look {
        memory: Memory { hearth: memory::pss_kib(hearth), ..Memory::default() },
        open_files: memory::open_files(hearth),
        available: memory::available_kib(),
        ..Look::default()
    };
    for (process, part) in parts(&processes) {
        if part == Part::Hearth {
            look.memory.hearth += memory::pss_kib(process.pid);
            continue;
        }
        let resident = memory::resident(process.pid, if part == Part::Monitor { guest_bytes } else { 0 });
        let mut memory = Memory { shared: resident.pss.saturating_sub(resident.private), ..Memory::default() };
        match part {
            Part::Runtime => memory.runtime = resident.private,
            Part::Shim => memory.keeper = resident.private,
            Part::Monitor => (memory.keeper, memory.guest) = (resident.own, resident.private - resident.own),
            Part::Hearth => {}
        }
        look.memory = look.memory + memory;
        look.threads += memory::threads(process.pid);
        look.sandboxes += u64::from(part != Part::Runtime);
    }
    look
}

/// Each with its part. Parents come before their children.
fn parts(processes: &[Process]) -> impl Iterator<Item = (&Process, Part)> {
    let mut in_sandbox = HashSet::new();
    processes.iter().map(move |process| {
        let part = if in_sandbox.contains(&process.parent) {
            Part::Runtime
        } else if process.command.ends_with("/hearth-shim") || process.command == JAILED_SHIM {
            Part::Shim
        } else if process.command.ends_with("hearth-vmm") {
            Part::Monitor
        } else {
            Part::Hearth
        };
        if part != Part::Hearth {
            in_sandbox.insert(process.pid);
        }
        (process, part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_shim_is_the_runtime_and_what_is_beside_it_is_hearth() {
        let process = |pid, parent, command: &str| Process { pid, parent, command: command.into() };
        let processes = [
            process(2, 1, "/usr/bin/hearth"),
            process(3, 2, JAILED_SHIM),
            process(4, 3, "/usr/bin/python3"),
            process(5, 4, "/bin/sh"),
            process(6, 1, "/opt/hearth-shim"),
            process(7, 1, "/opt/hearth-vmm"),
        ];
        let found: Vec<Part> = parts(&processes).map(|(_, part)| part).collect();
        assert_eq!(found, [Part::Hearth, Part::Shim, Part::Runtime, Part::Runtime, Part::Shim, Part::Monitor]);
    }

    #[test]
    fn the_parts_are_the_whole() {
        let memory = Memory { keeper: 1, guest: 2, runtime: 3, shared: 4, hearth: 5 };
        assert_eq!((memory.sum(), (memory + memory - memory).parts()), (15, [1, 2, 3, 4, 5]));
        assert_eq!((Memory::default() - memory).sum(), 0);
    }
}
