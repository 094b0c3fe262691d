//! Classes of sandboxes: what must be alike for a sandbox that waits to serve a function that comes.
//!
//! The runtime always counts. Memory counts where it is fixed when a sandbox boots: a microVM's memory and CPUs are for
//! good, so those come in a few sizes, and a function gets the smallest that holds it; its own limit is enforced within
//! (docs/decisions/0126). A jail's limits can change later, so there is one size (docs/decisions/0040).

use std::fmt;

use hearth_domain::limits::{MEMORY_MAX_MB, MEMORY_MB_PER_VCPU, SANDBOX_MAX_OPEN_FILES, SANDBOX_MAX_PROCESSES};
use hearth_domain::{FunctionSpec, MemorySize};
use hearth_microvm::{Isolation, Limits};

use crate::runtime::RuntimeClass;

/// Sizes of microVMs, MB: small ones close together, because most functions are small; 1,769 and 3,008 because people
/// choose them (one vCPU; Lambda's largest for years).
const MACHINE_CLASSES_MB: [u32; 8] = [128, 256, 512, 1_024, 1_769, 3_008, 5_120, 10_240];
const _: () = assert!(MACHINE_CLASSES_MB[MACHINE_CLASSES_MB.len() - 1] == MEMORY_MAX_MB);
/// Memory that a microVM has above its class, for its kernel, shim and page cache, MB: with less, a small guest runs out
/// of memory before the function reaches its own limit. None of it is taken before it is touched.
const GUEST_KERNEL_MB: u32 = 64;
/// And one more for so many: the kernel keeps 64 bytes for each page of 4 KiB.
const MB_PER_PAGE_TABLE_MB: u32 = 64;
/// Memory of a jail that has no function yet, MB: enough for any language to start in.
const JAIL_MB: u32 = 512;
/// `/tmp` before there is a function, bytes: as most functions have it, so that nothing needs to change for them.
const POOLED_TMP_BYTES: u64 = 512 * 1024 * 1024;
const BYTES_PER_MB: u64 = 1024 * 1024;

/// Sandboxes of one class serve for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SandboxClass {
    /// What is started in it.
    pub(crate) runtime: RuntimeClass,
    /// How large it is.
    pub(crate) memory: MemoryClass,
}

/// A size of sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemoryClass(u32);

/// When sandboxes get their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizing {
    /// When they boot, for good: a microVM.
    AtBoot,
    /// When they get a function: whatever runs on the host's kernel.
    Later,
}

impl fmt::Display for SandboxClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} MB", self.runtime, self.memory.mb())
    }
}

impl MemoryClass {
    /// Memory for functions, MB.
    pub(crate) const fn mb(self) -> u32 {
        self.0
    }

    /// vCPUs of a microVM: as many as its largest function may use, whole; 1 to 6.
    pub(crate) const fn vcpus(self) -> u32 {
        self.0.div_ceil(MEMORY_MB_PER_VCPU)
    }
}

impl Sizing {
    /// That of `isolation`.
    pub(crate) const fn of(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Kvm => Self::AtBoot,
            Isolation::Jail | Isolation::Process => Self::Later,
        }
    }

    /// Every size there is, the smallest first.
    pub(crate) fn classes(self) -> Vec<MemoryClass> {
        match self {
            Self::AtBoot => MACHINE_CLASSES_MB.map(MemoryClass).to_vec(),
            Self::Later => vec![MemoryClass(JAIL_MB)],
        }
    }

    /// The class whose sandboxes serve `function`.
    pub(crate) fn class_of(self, function: &FunctionSpec) -> SandboxClass {
        SandboxClass { runtime: RuntimeClass::of(function.runtime), memory: self.memory_class(function.memory) }
    }

    fn memory_class(self, memory: MemorySize) -> MemoryClass {
        match self {
            Self::AtBoot => {
                let fits = MACHINE_CLASSES_MB.into_iter().find(|mb| *mb >= memory.get());
                MemoryClass(fits.unwrap_or(MEMORY_MAX_MB))
            }
            Self::Later => MemoryClass(JAIL_MB),
        }
    }

    /// What a sandbox of `class` may use before it has a function.
    pub(crate) const fn boot_limits(self, class: MemoryClass) -> Limits {
        let (mb, milli_cpus) = match self {
            Self::AtBoot => (class.mb() + GUEST_KERNEL_MB + class.mb() / MB_PER_PAGE_TABLE_MB, class.vcpus() * 1_000),
            Self::Later => (class.mb(), 1_000),
        };
        Limits {
            memory_bytes: mb as u64 * BYTES_PER_MB,
            milli_cpus,
            max_processes: SANDBOX_MAX_PROCESSES,
            max_open_files: SANDBOX_MAX_OPEN_FILES,
            tmp_bytes: POOLED_TMP_BYTES,
        }
    }

    /// What the host lets the sandbox of `function` use. A microVM's memory stays what it is: within it, the shim
    /// enforces the function's own limit.
    pub(crate) fn limits(self, function: &FunctionSpec) -> Limits {
        let memory_bytes = match self {
            Self::AtBoot => self.boot_limits(self.memory_class(function.memory)).memory_bytes,
            Self::Later => function.memory.bytes(),
        };
        Limits {
            memory_bytes,
            milli_cpus: function.memory.milli_cpus(),
            max_processes: SANDBOX_MAX_PROCESSES,
            max_open_files: SANDBOX_MAX_OPEN_FILES,
            tmp_bytes: function.ephemeral_storage.bytes(),
        }
    }
}

#[cfg(test)]
impl MemoryClass {
    pub(crate) const fn of_mb(mb: u32) -> Self {
        Self(mb)
    }
}

#[cfg(test)]
mod tests {
    use hearth_domain::limits::MEMORY_MIN_MB;

    use super::*;
    use crate::slot::testing::function;

    fn sized(mb: u32) -> FunctionSpec {
        FunctionSpec { memory: MemorySize::new(mb).unwrap(), ..function("provided") }
    }

    #[test]
    fn every_function_gets_the_smallest_machine_that_holds_it() {
        for (memory, class, vcpus) in [
            (128, 128, 1),
            (129, 256, 1),
            (1_024, 1_024, 1),
            (1_769, 1_769, 1),
            (1_770, 3_008, 2),
            (5_120, 5_120, 3),
            (10_240, 10_240, 6),
        ] {
            let chosen = Sizing::AtBoot.class_of(&sized(memory)).memory;
            assert_eq!((chosen.mb(), chosen.vcpus()), (class, vcpus), "{memory}");
        }
        for memory in MEMORY_MIN_MB..=MEMORY_MAX_MB {
            let function = sized(memory);
            let class = Sizing::AtBoot.class_of(&function).memory;
            assert!(class.mb() >= memory && Sizing::AtBoot.classes().contains(&class));
            assert!(class.vcpus() * 1_000 >= function.memory.milli_cpus(), "{memory}");
        }
    }

    #[test]
    fn a_machine_has_room_for_its_kernel_and_keeps_it() {
        let class = Sizing::AtBoot.class_of(&sized(300)).memory;
        let boot = Sizing::AtBoot.boot_limits(class);
        assert_eq!((boot.memory_bytes, boot.milli_cpus), (584 * BYTES_PER_MB, 1_000));
        let limits = Sizing::AtBoot.limits(&sized(300));
        assert_eq!((limits.memory_bytes, limits.milli_cpus), (boot.memory_bytes, 170));
    }

    #[test]
    fn jails_have_one_class_and_take_the_functions_size() {
        assert_eq!(Sizing::Later.class_of(&sized(128)), Sizing::Later.class_of(&sized(10_240)));
        assert_eq!(Sizing::Later.classes().len(), 1);
        assert_eq!(Sizing::Later.limits(&sized(300)).memory_bytes, 300 * BYTES_PER_MB);
    }
}
