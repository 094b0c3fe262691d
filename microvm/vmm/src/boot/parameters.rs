//! What a kernel is told at its first instruction: the memory map, and where command line, initramfs and ACPI tables
//! lie. As PVH start info (Xen, `public/arch-x86/hvm/start_info.h`) or as zero page
//! (Documentation/x86/zero-page.rst), whichever the entry takes.

use vm_memory::{Bytes, GuestAddress};

use super::BootImageError;
use super::kernel::{Kernel, SETUP_HEADER};
use crate::control::Entry;
use crate::layout::{ACPI_TABLES, COMMAND_LINE, GDT, HIGH_MEMORY, MP_TABLE, PAGE_TABLES, PVH_START, ZERO_PAGE};
use crate::memory::{self, GuestMemory};

/// Types of memory, the same in e820 and PVH's map.
const RAM: u32 = 1;
const RESERVED: u32 = 2;

/// Flat segments at the selectors that the 64-bit protocol asks for: 0x10 for code, 0x18 for data.
const SEGMENTS: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// Writes them and says where.
pub(super) fn write(
    memory: &GuestMemory,
    kernel: &Kernel,
    initrd: (u64, u64),
    memory_mib: u32,
    acpi: bool,
) -> Result<u64, BootImageError> {
    let map = memory_map(memory_mib);
    let rsdp = if acpi { ACPI_TABLES } else { 0 };
    match kernel.entry {
        Entry::Pvh => write_start_info(memory, initrd, &map, rsdp),
        Entry::Linux64 => {
            write_page_tables(memory)?;
            write_zero_page(memory, kernel, initrd, &map, rsdp)
        }
    }
}

/// (address, bytes, type) of all memory that is not a hole.
fn memory_map(memory_mib: u32) -> Vec<(u64, u64, u32)> {
    let mut map = vec![(0, MP_TABLE, RAM), (MP_TABLE, HIGH_MEMORY - MP_TABLE, RESERVED)];
    map.extend(memory::regions(memory_mib).into_iter().map(|(start, _, bytes)| match start {
        0 => (HIGH_MEMORY, bytes - HIGH_MEMORY, RAM),
        start => (start, bytes, RAM),
    }));
    map
}

fn write_start_info(
    memory: &GuestMemory,
    (initrd, initrd_bytes): (u64, u64),
    map: &[(u64, u64, u32)],
    rsdp: u64,
) -> Result<u64, BootImageError> {
    const MAGIC: u32 = 0x336e_c578;
    const VERSION: u32 = 1;
    const MODULES: u64 = PVH_START + 0x100;
    const MAP: u64 = PVH_START + 0x200;
    let modules = u32::from(initrd_bytes > 0);
    let numbers = [MODULES, COMMAND_LINE, rsdp, MAP, map.len() as u64];
    let head = [MAGIC, VERSION, 0, modules].into_iter().flat_map(u32::to_le_bytes);
    let info: Vec<u8> = head.chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect();
    memory.write_slice(&info, GuestAddress(PVH_START))?;
    let module: Vec<u8> = [initrd, initrd_bytes, 0, 0].into_iter().flat_map(u64::to_le_bytes).collect();
    memory.write_slice(&module, GuestAddress(MODULES))?;
    let entries = map.iter().flat_map(|&(start, bytes, kind)| [start, bytes, u64::from(kind)]);
    let entries: Vec<u8> = entries.flat_map(u64::to_le_bytes).collect();
    memory.write_slice(&entries, GuestAddress(MAP))?;
    Ok(PVH_START)
}

fn write_zero_page(
    memory: &GuestMemory,
    kernel: &Kernel,
    (initrd, initrd_bytes): (u64, u64),
    map: &[(u64, u64, u32)],
    rsdp: u64,
) -> Result<u64, BootImageError> {
    const E820_ENTRIES: usize = 0x1e8;
    const E820_TABLE: usize = 0x2d0;
    const LOADER_UNKNOWN: u8 = 0xff;
    let mut page = [0; 4096];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(SETUP_HEADER, &kernel.setup_header);
    put(0x70, &rsdp.to_le_bytes());
    put(0x1fe, &0xaa55_u16.to_le_bytes());
    put(0x202, b"HdrS");
    put(0x210, &[LOADER_UNKNOWN]);
    // Both lie below 4 GiB: the kernel's `initrd_limit` and the layout say so.
    put(0x218, &(initrd as u32).to_le_bytes());
    put(0x21c, &(initrd_bytes as u32).to_le_bytes());
    put(0x228, &(COMMAND_LINE as u32).to_le_bytes());
    put(E820_ENTRIES, &[map.len() as u8]);
    for (index, (start, bytes, kind)) in map.iter().enumerate() {
        let at = E820_TABLE + index * 20;
        put(at, &start.to_le_bytes());
        put(at + 8, &bytes.to_le_bytes());
        put(at + 16, &kind.to_le_bytes());
    }
    memory.write_slice(&page, GuestAddress(ZERO_PAGE))?;
    Ok(ZERO_PAGE)
}

/// The first GiB mapped to itself in pages of 2 MiB, and the segments (Intel SDM volume 3, 4.5).
fn write_page_tables(memory: &GuestMemory) -> Result<(), BootImageError> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    const PAGE: u64 = 4096;
    memory.write_obj((PAGE_TABLES + PAGE) | PRESENT_WRITABLE, GuestAddress(PAGE_TABLES))?;
    memory.write_obj((PAGE_TABLES + 2 * PAGE) | PRESENT_WRITABLE, GuestAddress(PAGE_TABLES + PAGE))?;
    let pages: Vec<u8> = (0..512_u64).flat_map(|page| (page << 21 | LARGE | PRESENT_WRITABLE).to_le_bytes()).collect();
    memory.write_slice(&pages, GuestAddress(PAGE_TABLES + 2 * PAGE))?;
    let segments: Vec<u8> = SEGMENTS.into_iter().flat_map(u64::to_le_bytes).collect();
    Ok(memory.write_slice(&segments, GuestAddress(GDT))?)
}
