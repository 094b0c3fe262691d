//! The first vCPU at its first instruction, and the local APIC of each.

use kvm_bindings::{Msrs, kvm_lapic_state, kvm_msr_entry, kvm_segment, kvm_sregs, kvm_xcrs};
use kvm_ioctls::VcpuFd;

use crate::control::{Entry, VcpuStart};
use crate::layout::{GDT, PAGE_TABLES};

const CR0_PROTECTED: u64 = 1 | 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG_MODE: u64 = 1 << 8 | 1 << 10;
/// Selectors of the 64-bit protocol; PVH asks for none and gets the same.
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const GDT_LIMIT: u16 = 4 * 8 - 1;

const TYPE_CODE: u8 = 0xb;
const TYPE_DATA: u8 = 0x3;
const TYPE_TSS: u8 = 0xb;

const MSR_MISC_ENABLE: u32 = 0x1a0;
const MSR_MTRR_DEFAULT: u32 = 0x2ff;

/// Puts the first vCPU where `start` says (Documentation/x86/boot.rst, "64-bit Boot Protocol"; Xen, pvh.pandoc).
pub(super) fn set_start(vcpu: &VcpuFd, start: VcpuStart) -> Result<(), kvm_ioctls::Error> {
    let mut registers = vcpu.get_regs()?;
    let mut special = vcpu.get_sregs()?;
    registers.rip = start.address;
    registers.rflags = 2;
    match start.entry {
        Entry::Pvh => {
            registers.rbx = start.parameters;
            set_segments(&mut special, false);
            special.cr0 = CR0_PROTECTED;
            special.cr4 = 0;
            special.efer = 0;
        }
        Entry::Linux64 => {
            registers.rsi = start.parameters;
            set_segments(&mut special, true);
            special.cr0 = CR0_PROTECTED | CR0_PAGING;
            special.cr3 = PAGE_TABLES;
            special.cr4 = CR4_PAE;
            special.efer = EFER_LONG_MODE;
        }
    }
    vcpu.set_sregs(&special)?;
    vcpu.set_regs(&registers)
}

fn set_segments(special: &mut kvm_sregs, long: bool) {
    let flat = |selector: u16, kind: u8, long: bool| kvm_segment {
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        db: (!long).into(),
        s: 1,
        l: long.into(),
        g: 1,
        ..kvm_segment::default()
    };
    special.cs = flat(CODE, TYPE_CODE, long);
    let data = flat(DATA, TYPE_DATA, false);
    (special.ds, special.es, special.ss) = (data, data, data);
    (special.fs, special.gs) = (data, data);
    special.tr = kvm_segment { limit: 0x67, type_: TYPE_TSS, present: 1, ..kvm_segment::default() };
    (special.gdt.base, special.gdt.limit) = (GDT, GDT_LIMIT);
    (special.idt.base, special.idt.limit) = (0, 0);
}

/// What firmware would have left in every vCPU: fast string instructions on (Linux turns `ERMS` off without), memory
/// cached by default, all `states` enabled in XCR0, and the local APIC's lines to the PIC (MP specification 1.4, 3.6.2.2).
///
/// XCR0 is set because some KVM hosts are themselves emulated and do not notice when the guest sets it: KVM would then
/// go on with the value it knows, and the guest's SSE state would be lost.
pub(super) fn set_firmware_state(vcpu: &VcpuFd, states: u64) -> Result<(), kvm_ioctls::Error> {
    const FAST_STRINGS: u64 = 1;
    const MTRR_ENABLED_WRITE_BACK: u64 = 1 << 11 | 6;
    let entry = |index, data| kvm_msr_entry { index, data, ..kvm_msr_entry::default() };
    let entries = [entry(MSR_MISC_ENABLE, FAST_STRINGS), entry(MSR_MTRR_DEFAULT, MTRR_ENABLED_WRITE_BACK)];
    let msrs = Msrs::from_entries(&entries).map_err(|_| kvm_ioctls::Error::new(libc::E2BIG))?;
    vcpu.set_msrs(&msrs)?;
    if states != 0 {
        let mut control = kvm_xcrs { nr_xcrs: 1, ..kvm_xcrs::default() };
        control.xcrs[0].value = states;
        vcpu.set_xcrs(&control)?;
    }
    const EXTERNAL: u32 = 7 << 8;
    const NMI: u32 = 4 << 8;
    const LINT0: usize = 0x350;
    const LINT1: usize = 0x360;
    let mut apic = vcpu.get_lapic()?;
    set_delivery(&mut apic, LINT0, EXTERNAL);
    set_delivery(&mut apic, LINT1, NMI);
    vcpu.set_lapic(&apic)
}

/// Sets the delivery mode of the register at `at`, which is unmasked by that.
fn set_delivery(apic: &mut kvm_lapic_state, at: usize, mode: u32) {
    for (register, byte) in apic.regs[at..at + 4].iter_mut().zip(mode.to_le_bytes()) {
        *register = byte as std::ffi::c_char;
    }
}
