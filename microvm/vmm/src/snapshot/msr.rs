//! Which model-specific registers make up a vCPU's state.
//!
//! An allow-list, met with what this host's KVM has: a guest can only have changed what its CPUID lets it use, and
//! each register costs on every restore. Absent on purpose: FS, GS and APIC base, EFER (they are in the system
//! registers), machine check banks, performance counters, nested virtualisation, Hyper-V: no guest of ours has them.
//!
//! Order: the time stamp counter itself is not here ([`super::tsc`] restores it before all of these); the deadline
//! timer comes last and after the local APIC, because arming it needs both.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

use super::StateError;

/// `IA32_TSC`: the time stamp counter.
pub(super) const TSC: u32 = 0x10;
/// `IA32_TSC_DEADLINE`: when the local APIC's timer fires.
pub(super) const TSC_DEADLINE: u32 = 0x6e0;

/// Registers of the architecture, Intel SDM volume 4 and AMD APM volume 2 appendix A.
const ARCHITECTURE: [u32; 21] = [
    0x3b,        // TSC_ADJUST
    0x48,        // SPEC_CTRL
    0x10a,       // ARCH_CAPABILITIES
    0x122,       // TSX_CTRL
    0x140,       // MISC_FEATURES_ENABLES
    0x174,       // SYSENTER_CS
    0x175,       // SYSENTER_ESP
    0x176,       // SYSENTER_EIP
    0x1a0,       // MISC_ENABLE
    0x277,       // PAT
    0x2ff,       // MTRR_DEF_TYPE
    0xda0,       // XSS
    0xe1,        // UMWAIT_CONTROL
    0xc000_0081, // STAR
    0xc000_0082, // LSTAR
    0xc000_0083, // CSTAR
    0xc000_0084, // FMASK
    0xc000_0102, // KERNEL_GS_BASE
    0xc000_0103, // TSC_AUX
    0xc001_0015, // HWCR
    0xc001_011f, // VIRT_SPEC_CTRL
];

/// KVM's own (Documentation/virt/kvm/x86/msr.rst): clock, steal time, asynchronous page faults, end of interrupt.
const PARAVIRTUAL: [u32; 11] = [
    0x11,
    0x12,
    0x4b56_4d00,
    0x4b56_4d01,
    0x4b56_4d02,
    0x4b56_4d03,
    0x4b56_4d04,
    0x4b56_4d05,
    0x4b56_4d06,
    0x4b56_4d07,
    0x4b56_4d08,
];

/// The registers that this host's vCPUs have, from KVM's index list. [`TSC`] and [`TSC_DEADLINE`] are read besides.
#[must_use]
pub fn saved_msrs(host: &[u32]) -> Vec<u32> {
    // The index list leaves out the memory type registers, which every vCPU has.
    const ALWAYS: u32 = 0x2ff;
    let wanted = ARCHITECTURE.iter().chain(&PARAVIRTUAL);
    wanted.copied().filter(|index| *index == ALWAYS || host.contains(index)).collect()
}

/// Reads `indices`. One that this vCPU's CPUID hides is left out: the guest can't have written it.
pub(super) fn read(vcpu: &VcpuFd, indices: &[u32]) -> Result<Vec<kvm_msr_entry>, StateError> {
    let mut values = Vec::with_capacity(indices.len());
    let mut rest = indices;
    while !rest.is_empty() {
        let wanted = rest.iter().map(|index| kvm_msr_entry { index: *index, ..Default::default() }).collect::<Vec<_>>();
        let mut msrs = Msrs::from_entries(&wanted).map_err(|_| StateError::TooMany { what: "registers" })?;
        let read = vcpu.get_msrs(&mut msrs).map_err(StateError::get("MSRs"))?;
        values.extend(msrs.as_slice().iter().take(read));
        // KVM stops at the first that it refuses.
        rest = rest.get(read + 1..).unwrap_or_default();
    }
    Ok(values)
}

/// Writes them all, in order.
pub(super) fn write(vcpu: &VcpuFd, values: &[kvm_msr_entry]) -> Result<(), StateError> {
    let msrs = Msrs::from_entries(values).map_err(|_| StateError::TooMany { what: "registers" })?;
    let written = vcpu.set_msrs(&msrs).map_err(StateError::set("MSRs"))?;
    match values.get(written) {
        None => Ok(()),
        Some(refused) => Err(StateError::Msr { index: refused.index }),
    }
}
