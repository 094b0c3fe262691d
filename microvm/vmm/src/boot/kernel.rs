//! Checks a kernel and loads it: an ELF file by PVH or the 64-bit protocol, a bzImage by the 64-bit protocol
//! (Documentation/x86/boot.rst, which gives the offsets below).
//!
//! The loading itself is linux-loader's. What it leaves open is checked before: the number of segments, and that each
//! lies within the file, within RAM and above 1 MiB, so that no kernel costs more than its own size.

use std::io::Cursor;

use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::{BzImage, Elf, KernelLoader};
use vm_memory::GuestAddress;

use super::BootImageError;
use crate::control::Entry;
use crate::layout::HIGH_MEMORY;
use crate::memory::GuestMemory;

/// Where the setup header begins in a bzImage and in the zero page.
pub(super) const SETUP_HEADER: usize = 0x1f1;
/// Where it ends at the latest.
const SETUP_HEADER_END: usize = 0x290;
/// Program headers of an ELF kernel at most; Linux has five.
const SEGMENTS_MAX: usize = 64;
/// Where an initramfs must end for a kernel that does not say.
const INITRD_LIMIT: u64 = 0x8000_0000;
/// Where the 64-bit entry of a bzImage lies after its start.
const ENTRY64_OFFSET: u64 = 0x200;
/// First version of the boot protocol with `xloadflags`, so with a declared 64-bit entry.
const VERSION_MIN: u64 = 0x020c;
/// Bit of `xloadflags`: there is a 64-bit entry at 0x200.
const XLF_KERNEL_64: u64 = 1;

/// A kernel in guest memory.
pub(super) struct Kernel {
    pub(super) entry: Entry,
    /// First instruction.
    pub(super) address: u64,
    /// First byte of memory that the kernel does not claim at its start.
    pub(super) end: u64,
    /// Where an initramfs must end.
    pub(super) initrd_limit: u64,
    /// From [`SETUP_HEADER`]; empty for ELF.
    pub(super) setup_header: Vec<u8>,
}

/// Loads `bytes` into memory whose lower part ends at `ram_end`.
pub(super) fn load(
    memory: &GuestMemory,
    bytes: &[u8],
    ram_end: u64,
    entry: Option<Entry>,
) -> Result<Kernel, BootImageError> {
    if bytes.starts_with(b"\x7fELF") {
        return load_elf(memory, bytes, ram_end, entry).map_err(BootImageError::Kernel);
    }
    if bytes.get(0x202..0x206) == Some(b"HdrS") {
        return load_bzimage(memory, bytes, ram_end, entry).map_err(BootImageError::Kernel);
    }
    Err(BootImageError::Kernel("neither an uncompressed ELF file nor a bzImage".to_owned()))
}

fn load_elf(memory: &GuestMemory, bytes: &[u8], ram_end: u64, entry: Option<Entry>) -> Result<Kernel, String> {
    let end = check_segments(bytes, ram_end)?;
    let loaded = Elf::load(memory, None, &mut Cursor::new(bytes), Some(GuestAddress(HIGH_MEMORY)));
    let loaded = loaded.map_err(|error| error.to_string())?;
    let pvh = match loaded.pvh_boot_cap {
        PvhBootCapability::PvhEntryPresent(address) => Some(address.0),
        PvhBootCapability::PvhEntryNotPresent | PvhBootCapability::PvhEntryIgnored => None,
    };
    let (entry, address) = match (entry, pvh) {
        (Some(Entry::Pvh) | None, Some(address)) => (Entry::Pvh, address),
        (Some(Entry::Pvh), None) => return Err("it has no PVH note: enable CONFIG_PVH".to_owned()),
        (Some(Entry::Linux64) | None, _) => (Entry::Linux64, loaded.kernel_load.0),
    };
    if !(HIGH_MEMORY..end).contains(&address) {
        return Err(format!("its first instruction at {address:#x} is not part of it"));
    }
    Ok(Kernel { entry, address, end, initrd_limit: INITRD_LIMIT, setup_header: Vec::new() })
}

/// Checks the program headers (System V ABI, "Program Header") and returns the end of what they claim.
fn check_segments(bytes: &[u8], ram_end: u64) -> Result<u64, String> {
    const CLASS_64_LITTLE_ENDIAN: &[u8] = &[2, 1];
    const MACHINE_X86_64: u64 = 62;
    const PT_LOAD: u64 = 1;
    const HEADER_BYTES: usize = 56;
    if bytes.get(4..6) != Some(CLASS_64_LITTLE_ENDIAN) || number(bytes, 0x12, 2)? != MACHINE_X86_64 {
        return Err("it is not for x86-64".to_owned());
    }
    let (first, count) = (number(bytes, 0x20, 8)?, number(bytes, 0x38, 2)? as usize);
    if count > SEGMENTS_MAX {
        return Err(format!("{count} program headers are more than {SEGMENTS_MAX}"));
    }
    let headers = usize::try_from(first).ok().and_then(|first| bytes.get(first..)?.get(..count * HEADER_BYTES));
    let mut end = 0;
    for header in headers.ok_or("its program headers lie outside of it")?.chunks_exact(HEADER_BYTES) {
        let [offset, address, in_file, in_memory] = [8, 24, 32, 40].map(|at| number(header, at, 8));
        let (offset, address, in_file, in_memory) = (offset?, address?, in_file?, in_memory?);
        if offset.checked_add(in_file).is_none_or(|end| end > bytes.len() as u64) {
            return Err("one of its segments is cut off".to_owned());
        }
        if number(header, 0, 4)? != PT_LOAD {
            continue;
        }
        let segment_end = address.saturating_add(in_memory.max(in_file));
        if address < HIGH_MEMORY || segment_end > ram_end {
            return Err(format!("its segment {address:#x} to {segment_end:#x} is not in RAM: give the machine more"));
        }
        end = end.max(segment_end);
    }
    Ok(end)
}

fn load_bzimage(memory: &GuestMemory, bytes: &[u8], ram_end: u64, entry: Option<Entry>) -> Result<Kernel, String> {
    if entry == Some(Entry::Pvh) {
        return Err("a bzImage has no PVH entry: give its vmlinux, or leave the protocol open".to_owned());
    }
    if number(bytes, 0x206, 2)? < VERSION_MIN || number(bytes, 0x236, 2)? & XLF_KERNEL_64 == 0 {
        return Err("it has no 64-bit entry".to_owned());
    }
    let relocatable = number(bytes, 0x234, 1)? != 0;
    let start = if relocatable { number(bytes, 0x258, 8)? } else { number(bytes, 0x214, 4)? };
    let claimed = number(bytes, 0x260, 4)?.max(bytes.len() as u64);
    let end = start.saturating_add(claimed);
    if start < HIGH_MEMORY || end > ram_end {
        return Err(format!("{start:#x} to {end:#x}, which it needs to unpack, is not in RAM: give the machine more"));
    }
    let loaded = BzImage::load(memory, Some(GuestAddress(start)), &mut Cursor::new(bytes), None);
    loaded.map_err(|error| error.to_string())?;
    // The header ends where the jump at its begin leads (boot.rst, "Details of Header Fields").
    let header_end = (0x202 + number(bytes, 0x201, 1)? as usize).min(SETUP_HEADER_END);
    let header = bytes.get(SETUP_HEADER..header_end).ok_or("its setup header is cut off")?;
    Ok(Kernel {
        entry: Entry::Linux64,
        address: start + ENTRY64_OFFSET,
        end,
        initrd_limit: number(bytes, 0x22c, 4)? + 1,
        setup_header: header.to_vec(),
    })
}

/// A little-endian number of the file.
fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64, String> {
    let field = bytes.get(at..at + length).ok_or("it is cut off")?;
    Ok(field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
