//! The MP table (Intel MultiProcessor Specification 1.4): how a kernel without ACPI finds its CPUs and the I/O APIC.

use vm_memory::{Bytes, GuestAddress};

use super::BootImageError;
use crate::layout::{IO_APIC, LOCAL_APIC, MP_TABLE, MP_TABLE_END};
use crate::memory::GuestMemory;

/// Version 1.4, as the specification encodes it.
const REVISION: u8 = 4;
/// Version of both APICs that KVM emulates.
const APIC_VERSION: u8 = 0x14;
/// Interrupt lines of the ISA bus.
const ISA_LINES: u8 = 16;
/// Bytes of the floating pointer, which lies right before the table.
const POINTER_BYTES: u32 = 16;
const ALL_LOCAL_APICS: u8 = 0xff;

/// Writes it for `vcpus` vCPUs, whose APIC ids count from 0.
pub(super) fn write(memory: &GuestMemory, vcpus: u8) -> Result<(), BootImageError> {
    let table = table(vcpus);
    let bytes = POINTER_BYTES as usize + table.len();
    if bytes as u64 > MP_TABLE_END - MP_TABLE {
        return Err(BootImageError::Tables(bytes));
    }
    let mut pointer = b"_MP_".to_vec();
    pointer.extend((MP_TABLE as u32 + POINTER_BYTES).to_le_bytes());
    pointer.extend([1, REVISION, 0, 0, 0, 0, 0, 0]);
    pointer[10] = checksum(&pointer);
    memory.write_slice(&pointer, GuestAddress(MP_TABLE))?;
    Ok(memory.write_slice(&table, GuestAddress(MP_TABLE + u64::from(POINTER_BYTES)))?)
}

fn table(vcpus: u8) -> Vec<u8> {
    let (entries, count) = entries(vcpus);
    let mut table = b"PCMP".to_vec();
    table.extend((HEADER_BYTES + entries.len() as u16).to_le_bytes());
    table.extend([REVISION, 0]);
    table.extend(b"HEARTH  microvm     ");
    table.extend([0; 6]);
    table.extend(count.to_le_bytes());
    table.extend(LOCAL_APIC.to_le_bytes());
    table.extend([0; 4]);
    table.extend(entries);
    table[7] = checksum(&table);
    table
}

/// Bytes of the table's header.
const HEADER_BYTES: u16 = 44;

/// The entries (specification, 4.3), and how many.
fn entries(vcpus: u8) -> (Vec<u8>, u16) {
    const PROCESSOR: u8 = 0;
    const BUS: u8 = 1;
    const IO_APIC_ENTRY: u8 = 2;
    const IO_INTERRUPT: u8 = 3;
    const LOCAL_INTERRUPT: u8 = 4;
    const ENABLED: u8 = 1;
    const BOOT_PROCESSOR: u8 = 2;
    /// Integrated APIC and FPU; kernels ask CPUID.
    const FEATURES: u32 = 0x201;
    const NMI: u8 = 1;
    const EXTERNAL: u8 = 3;
    let io_apic_id = vcpus;
    let mut bytes = Vec::new();
    for id in 0..vcpus {
        bytes.extend([PROCESSOR, id, APIC_VERSION, if id == 0 { ENABLED | BOOT_PROCESSOR } else { ENABLED }]);
        bytes.extend([0; 4]);
        bytes.extend(FEATURES.to_le_bytes());
        bytes.extend([0; 8]);
    }
    bytes.extend([BUS, 0]);
    bytes.extend(b"ISA   ");
    bytes.extend([IO_APIC_ENTRY, io_apic_id, APIC_VERSION, ENABLED]);
    bytes.extend(IO_APIC.to_le_bytes());
    for line in 0..ISA_LINES {
        bytes.extend([IO_INTERRUPT, 0, 0, 0, 0, line, io_apic_id, line]);
    }
    bytes.extend([LOCAL_INTERRUPT, EXTERNAL, 0, 0, 0, 0, 0, 0]);
    bytes.extend([LOCAL_INTERRUPT, NMI, 0, 0, 0, 0, ALL_LOCAL_APICS, 1]);
    (bytes, u16::from(vcpus) + 1 + 1 + u16::from(ISA_LINES) + 2)
}

/// What makes all bytes add up to zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_machine_has_a_table_that_adds_up_and_fits() {
        let table = table(super::super::VCPUS_MAX);
        assert_eq!(table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        assert_eq!(table.len(), usize::from(u16::from_le_bytes([table[4], table[5]])));
        assert!(table.len() as u64 + u64::from(POINTER_BYTES) <= MP_TABLE_END - MP_TABLE);
        assert_eq!(u16::from_le_bytes([table[34], table[35]]), 6 + 1 + 1 + 16 + 2);
    }
}
