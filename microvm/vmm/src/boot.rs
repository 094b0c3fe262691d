//! Boot images: a guest's memory as it is before its first instruction, made once and mapped by every machine that
//! boots the same way.
//!
//! Used by the launcher, never by `hearth-vmm` itself: no byte of a kernel is parsed in the process that runs it. A
//! kernel is an ELF `vmlinux` (entered by its PVH note, or by the 64-bit protocol) or a bzImage (64-bit protocol). The
//! file that comes out is sparse: it has data only where something was put.
//!
//! Absent on purpose: real-mode and 32-bit protocols, firmware, boot loaders, compression of the initramfs.

mod acpi;
mod command_line;
mod kernel;
mod mp_table;
mod parameters;

use std::fs::File;
use std::io;

use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

pub use command_line::COMMAND_LINE_MAX_BYTES;

use crate::control::{Entry, VcpuStart};
use crate::layout::{LOW_RAM_MAX_BYTES, Slot};
use crate::memory::{self, GuestMemory, MEMORY_MAX_MIB, MEMORY_MIN_MIB, Mapping};

/// Most vCPUs of a machine.
pub const VCPUS_MAX: u8 = 6;

/// Where initial RAM disks begin and end: at a page.
const PAGE_BYTES: u64 = 4096;

/// What goes into a boot image.
#[derive(Debug, Clone, Copy)]
pub struct BootImage<'a> {
    /// The kernel: `vmlinux` or bzImage.
    pub kernel: &'a [u8],
    /// The initramfs, as the kernel takes it; empty if there is none.
    pub initrd: &'a [u8],
    /// The caller's part of the command line, kept whole; what the devices need is put before it.
    pub command_line: &'a str,
    /// The machine's memory, MiB, [`MEMORY_MIN_MIB`] to [`MEMORY_MAX_MIB`].
    pub memory_mib: u32,
    /// The machine's vCPUs, 1 to [`VCPUS_MAX`].
    pub vcpus: u8,
    /// The virtio devices that are present.
    pub slots: &'a [Slot],
    /// Whether there is a serial console.
    pub serial: bool,
    /// Whether the kernel finds its devices by ACPI tables; by MP table and command line otherwise.
    pub acpi: bool,
    /// By which protocol to enter; the best the kernel has if `None`.
    pub entry: Option<Entry>,
}

/// Why there is no boot image.
#[derive(Debug, thiserror::Error)]
pub enum BootImageError {
    /// The machine can't be.
    #[error(
        "a machine has {MEMORY_MIN_MIB} to {MEMORY_MAX_MIB} MiB and 1 to {VCPUS_MAX} vCPUs, not {memory_mib} and {vcpus}"
    )]
    Machine {
        /// Memory asked for, MiB.
        memory_mib: u32,
        /// vCPUs asked for.
        vcpus: u8,
    },
    /// The kernel can't be booted.
    #[error("the kernel can't be booted: {0}")]
    Kernel(String),
    /// The initramfs has no room.
    #[error(
        "an initramfs of {bytes} bytes has no room between the kernel's end and {limit:#x}: give the machine more memory"
    )]
    Initrd {
        /// Its size.
        bytes: usize,
        /// Where it would have to end.
        limit: u64,
    },
    /// The command line is too long or not one line.
    #[error(
        "the command line of {bytes} bytes is not one line of at most {COMMAND_LINE_MAX_BYTES} bytes with the devices' part"
    )]
    CommandLine {
        /// Its size, with the devices' part.
        bytes: usize,
    },
    /// Two tables would overlap.
    #[error("the tables for the kernel have no room: {0} bytes")]
    Tables(usize),
    /// The file could not be made large enough or mapped.
    #[error("making the boot image's file: {0}")]
    File(#[from] io::Error),
    /// Something lies outside the machine's memory.
    #[error("writing the boot image: {0}")]
    Memory(#[from] GuestMemoryError),
}

impl BootImage<'_> {
    /// Fills `image`, an empty file open for reading and writing, and says where the first vCPU starts.
    pub fn build(&self, image: &File) -> Result<VcpuStart, BootImageError> {
        let (memory_mib, vcpus) = (self.memory_mib, self.vcpus);
        if !(MEMORY_MIN_MIB..=MEMORY_MAX_MIB).contains(&memory_mib) || !(1..=VCPUS_MAX).contains(&vcpus) {
            return Err(BootImageError::Machine { memory_mib, vcpus });
        }
        image.set_len(u64::from(memory_mib) << 20)?;
        let memory = memory::map(image, memory_mib, Mapping::Shared)?;
        let kernel = kernel::load(&memory, self.kernel, low_ram_bytes(memory_mib), self.entry)?;
        let initrd = self.place_initrd(&memory, &kernel)?;
        command_line::write(&memory, self.command_line, self.slots, self.acpi)?;
        if self.acpi {
            acpi::write(&memory, vcpus, self.slots, self.serial)?;
        } else {
            mp_table::write(&memory, vcpus)?;
        }
        let parameters = parameters::write(&memory, &kernel, initrd, memory_mib, self.acpi)?;
        Ok(VcpuStart { entry: kernel.entry, address: kernel.address, parameters })
    }

    /// Puts the initramfs as high as the kernel takes it, and says where and how long it is.
    fn place_initrd(&self, memory: &GuestMemory, kernel: &kernel::Kernel) -> Result<(u64, u64), BootImageError> {
        let limit = low_ram_bytes(self.memory_mib).min(kernel.initrd_limit);
        let refusal = BootImageError::Initrd { bytes: self.initrd.len(), limit };
        let Some(start) = limit.checked_sub(self.initrd.len() as u64).map(|at| at / PAGE_BYTES * PAGE_BYTES) else {
            return Err(refusal);
        };
        if start < kernel.end {
            return Err(refusal);
        }
        memory.write_slice(self.initrd, GuestAddress(start))?;
        Ok((start, self.initrd.len() as u64))
    }
}

/// RAM below the hole, bytes.
fn low_ram_bytes(memory_mib: u32) -> u64 {
    (u64::from(memory_mib) << 20).min(LOW_RAM_MAX_BYTES)
}
