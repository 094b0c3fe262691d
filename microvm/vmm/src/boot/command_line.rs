//! The kernel's command line: the devices' part, then the caller's. The caller's comes last because what follows `--`
//! in it is for `/init`.

use std::fmt::Write;

use vm_memory::{Bytes, GuestAddress};

use super::BootImageError;
use crate::layout::{COMMAND_LINE, MMIO_STRIDE, Slot};
use crate::memory::GuestMemory;

/// Longest command line, the devices' part included: x86 Linux keeps 2048 bytes with the final zero
/// (`COMMAND_LINE_SIZE`), and cuts off the rest in silence.
pub const COMMAND_LINE_MAX_BYTES: usize = 2047;

/// Writes it. Without ACPI it tells the kernel of each device of `slots`
/// (Documentation/admin-guide/kernel-parameters.txt, `virtio_mmio.device`).
pub(super) fn write(memory: &GuestMemory, own: &str, slots: &[Slot], acpi: bool) -> Result<(), BootImageError> {
    let mut line = String::new();
    if !acpi {
        for slot in slots {
            let (address, irq) = (slot.address(), slot.irq());
            // Writing into a string does not fail.
            let _ = write!(line, "virtio_mmio.device={}K@{address:#x}:{irq} ", MMIO_STRIDE / 1024);
        }
    }
    line.push_str(own);
    let bytes = line.len();
    if bytes > COMMAND_LINE_MAX_BYTES || line.contains(['\0', '\n']) {
        return Err(BootImageError::CommandLine { bytes });
    }
    line.push('\0');
    Ok(memory.write_slice(line.as_bytes(), GuestAddress(COMMAND_LINE))?)
}
