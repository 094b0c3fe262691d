//! ACPI tables (ACPI 6.5) for a kernel that finds its devices by them, such as Debian's stock one: no fixed hardware
//! ("hardware-reduced"), the virtio-mmio devices (`LNRO0005`), the serial port, and a generic event device that tells
//! of a new VM generation id.
//!
//! Absent on purpose: PCI, power management, timers, a keyboard controller (told by a flag, or Linux looks for it for
//! over a second). A reset goes to the one line of it that exists.

use acpi_tables::Aml;
use acpi_tables::aml::{
    Device, EISAName, IO, Interrupt, Memory32Fixed, Method, Name, Notify, Package, Path, ResourceTemplate, Scope, ZERO,
};
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use vm_memory::{Bytes, GuestAddress};

use super::BootImageError;
use crate::layout::{
    ACPI_TABLES, GED_IRQ, I8042_PORT, IO_APIC, LOCAL_APIC, MMIO_STRIDE, SERIAL_IRQ, SERIAL_PORT, Slot, VMGENID,
};
use crate::memory::GuestMemory;

const OEM: [u8; 6] = *b"HEARTH";
const OEM_TABLE: [u8; 8] = *b"microvm ";
const OEM_REVISION: u32 = 1;
/// Where the second and following tables may start.
const ALIGNMENT: u64 = 16;
/// `IAPC_BOOT_ARCH`: no VGA, no CMOS clock; bit 1 stays clear: no keyboard controller (ACPI 6.5, 5.2.9.3).
const BOOT_ARCH: u16 = 1 << 2 | 1 << 5;
/// What resets the machine when written to the keyboard controller's command port.
const RESET: u8 = 0xfe;

/// Writes them, the root pointer first.
pub(super) fn write(memory: &GuestMemory, vcpus: u8, slots: &[Slot], serial: bool) -> Result<(), BootImageError> {
    let mut tables = Tables { memory, next: ACPI_TABLES + ALIGNMENT * Rsdp::len().div_ceil(16) as u64 };
    let dsdt = tables.put(&Raw(dsdt(slots, serial)))?;
    let fadt = tables.put(&fadt(dsdt).finalize())?;
    let madt = tables.put(&madt(vcpus))?;
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    [fadt, madt].into_iter().for_each(|table| xsdt.add_entry(table));
    let xsdt = tables.put(&xsdt)?;
    tables.next = ACPI_TABLES;
    tables.put(&Rsdp::new(OEM, xsdt)).map(drop)
}

/// Puts one table after the other.
struct Tables<'a> {
    memory: &'a GuestMemory,
    next: u64,
}

impl Tables<'_> {
    fn put(&mut self, table: &dyn Aml) -> Result<u64, BootImageError> {
        let mut bytes = Vec::new();
        table.to_aml_bytes(&mut bytes);
        let at = self.next;
        self.next = (at + bytes.len() as u64).next_multiple_of(ALIGNMENT);
        if self.next > VMGENID {
            return Err(BootImageError::Tables(bytes.len()));
        }
        self.memory.write_slice(&bytes, GuestAddress(at))?;
        Ok(at)
    }
}

/// A table that is bytes already.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(&self.0);
    }
}

fn fadt(dsdt: u64) -> FADTBuilder {
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless)
        .preferred_pm_profile(PmProfile::EnterpriseServer);
    fadt.iapc_boot_arch = BOOT_ARCH.into();
    let command = u64::from(I8042_PORT) + 4;
    fadt.reset_reg = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, command);
    fadt.reset_value = RESET;
    fadt
}

fn madt(vcpus: u8) -> MADT {
    let mut madt = MADT::new(OEM, OEM_TABLE, OEM_REVISION, LocalInterruptController::Address(LOCAL_APIC));
    for id in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(vcpus, IO_APIC, 0));
    madt
}

fn dsdt(slots: &[Slot], serial: bool) -> Vec<u8> {
    let mut devices = Vec::new();
    for slot in slots {
        put_virtio(*slot, &mut devices);
    }
    if serial {
        put_serial(&mut devices);
    }
    put_generation(&mut devices);
    let mut dsdt = Sdt::new(*b"DSDT", 36, 6, OEM, OEM_TABLE, OEM_REVISION);
    dsdt.append_slice(&Scope::raw("\\_SB_".into(), devices));
    dsdt.as_slice().to_vec()
}

/// A virtio-mmio device (`VR00` and on), by the id that Linux and QEMU agreed on.
fn put_virtio(slot: Slot, devices: &mut Vec<u8>) {
    let registers = Memory32Fixed::new(true, slot.address() as u32, MMIO_STRIDE as u32);
    let line = interrupt(slot.irq());
    let name = format!("VR{:02}", slot as u8);
    let id = Name::new("_HID".into(), &"LNRO0005");
    let number = Name::new("_UID".into(), &(slot as u8));
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&registers, &line]));
    Device::new(name.as_str().into(), vec![&id, &number, &resources]).to_aml_bytes(devices);
}

fn put_serial(devices: &mut Vec<u8>) {
    let (ports, line) = (IO::new(SERIAL_PORT, SERIAL_PORT, 1, 8), interrupt(SERIAL_IRQ));
    let id = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let number = Name::new("_UID".into(), &ZERO);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&ports, &line]));
    Device::new("COM1".into(), vec![&id, &number, &resources]).to_aml_bytes(devices);
}

/// The generation id (Microsoft, "Virtual Machine Generation ID"), and the event device by which its change is told.
fn put_generation(devices: &mut Vec<u8>) {
    const CHANGED: u8 = 0x80;
    let (low, high) = (VMGENID as u32, (VMGENID >> 32) as u32);
    let id = Name::new("_HID".into(), &"VMGENCTR");
    let compatible = Name::new("_CID".into(), &"VM_Gen_Counter");
    let description = Name::new("_DDN".into(), &"VM_Gen_Counter");
    let address = Name::new("ADDR".into(), &Package::new(vec![&low, &high]));
    Device::new("VGEN".into(), vec![&id, &compatible, &description, &address]).to_aml_bytes(devices);

    let line = interrupt(GED_IRQ);
    let id = Name::new("_HID".into(), &"ACPI0013");
    let number = Name::new("_UID".into(), &ZERO);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&line]));
    let generation = Path::new("\\_SB_.VGEN");
    let tell = Notify::new(&generation, &CHANGED);
    let event = Method::new("_EVT".into(), 1, true, vec![&tell]);
    Device::new("GED_".into(), vec![&id, &number, &resources, &event]).to_aml_bytes(devices);
}

/// An edge-triggered, active-high line, as KVM's irqfd pulses them.
fn interrupt(line: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, line)
}
