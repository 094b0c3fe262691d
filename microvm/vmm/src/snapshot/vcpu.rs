//! The state of one vCPU: read while it is stopped, written before it first runs.
//!
//! Absent on purpose: `KVM_GET_SREGS2` (it adds page directory pointers of 32-bit PAE guests), nested virtualisation.
//!
//! The vCPU must have completed its last exit: after a port or memory access KVM holds back what the instruction does
//! until `KVM_RUN` is entered again, so whoever stops a vCPU enters once more with `immediate_exit`.

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry,
    kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};

use super::{StateError, msr, tsc::Tsc};

/// All that makes a vCPU go on where it stopped.
#[derive(Serialize, Deserialize)]
pub struct VcpuState {
    /// What the guest was told of its CPU.
    pub cpuid: Vec<kvm_cpuid_entry2>,
    /// Its time stamp counter.
    pub tsc: Tsc,
    regs: kvm_regs,
    sregs: kvm_sregs,
    /// Boxed: 4 KiB that would otherwise be moved around on the stack.
    xsave: Box<kvm_xsave>,
    xcrs: kvm_xcrs,
    debug_regs: kvm_debugregs,
    msrs: Vec<kvm_msr_entry>,
    /// Absent where the deadline timer is hidden from the guest.
    tsc_deadline: Option<kvm_msr_entry>,
    lapic: Box<kvm_lapic_state>,
    events: kvm_vcpu_events,
    mp_state: kvm_mp_state,
}

impl std::fmt::Debug for VcpuState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "vCPU at {:#x}", self.regs.rip)
    }
}

impl VcpuState {
    /// Reads the state of a stopped vCPU. `msrs` is what [`super::saved_msrs`] says for this host.
    pub fn save(vcpu: &VcpuFd, msrs: &[u32]) -> Result<Self, StateError> {
        // First: it may process an INIT or SIPI that is pending, which changes other parts.
        let mp_state = vcpu.get_mp_state().map_err(StateError::get("run state"))?;
        // Before the local APIC: a timer that fires in between is then seen twice (which the guest takes for a
        // spurious interrupt) and not never.
        let tsc_deadline = msr::read(vcpu, &[msr::TSC_DEADLINE])?.pop();
        let cpuid = vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES).map_err(StateError::get("CPUID"))?;
        Ok(Self {
            cpuid: cpuid.as_slice().to_vec(),
            tsc: Tsc::save(vcpu)?,
            regs: vcpu.get_regs().map_err(StateError::get("registers"))?,
            sregs: vcpu.get_sregs().map_err(StateError::get("system registers"))?,
            xsave: Box::new(vcpu.get_xsave().map_err(StateError::get("extended state"))?),
            xcrs: vcpu.get_xcrs().map_err(StateError::get("extended control registers"))?,
            debug_regs: vcpu.get_debug_regs().map_err(StateError::get("debug registers"))?,
            msrs: msr::read(vcpu, msrs)?,
            tsc_deadline,
            lapic: Box::new(vcpu.get_lapic().map_err(StateError::get("local APIC"))?),
            events: vcpu.get_vcpu_events().map_err(StateError::get("pending events"))?,
            mp_state,
        })
    }

    /// Writes CPUID and the state of the registers to a new vCPU. The interrupt chips must be there.
    ///
    /// Then follow [`super::tsc::restore`] over all vCPUs, and [`Self::restore_timers`].
    pub fn restore(&self, vcpu: &VcpuFd) -> Result<(), StateError> {
        let cpuid = CpuId::from_entries(&self.cpuid).map_err(|_| StateError::TooMany { what: "CPUID leaves" })?;
        // First: it decides which bits and registers the vCPU has.
        vcpu.set_cpuid2(&cpuid).map_err(StateError::set("CPUID"))?;
        vcpu.set_regs(&self.regs).map_err(StateError::set("registers"))?;
        vcpu.set_sregs(&self.sregs).map_err(StateError::set("system registers"))?;
        // Before the extended state, whose components XCR0 enables.
        vcpu.set_xcrs(&self.xcrs).map_err(StateError::set("extended control registers"))?;
        crate::sys::vcpu::set_xsave(vcpu, &self.xsave).map_err(StateError::set("extended state"))?;
        vcpu.set_debug_regs(&self.debug_regs).map_err(StateError::set("debug registers"))
    }

    /// Writes what depends on the time stamp counter, and what must come last.
    pub fn restore_timers(&self, vcpu: &VcpuFd) -> Result<(), StateError> {
        // After the system registers, which hold the APIC's base and mode.
        vcpu.set_lapic(&self.lapic).map_err(StateError::set("local APIC"))?;
        msr::write(vcpu, &self.msrs)?;
        msr::write(vcpu, self.tsc_deadline.as_slice())?;
        vcpu.set_vcpu_events(&self.events).map_err(StateError::set("pending events"))?;
        vcpu.set_mp_state(self.mp_state).map_err(StateError::set("run state"))?;
        // A guest without KVM's clock has nothing to be told of the pause; then this is EINVAL.
        let _ = vcpu.kvmclock_ctrl();
        Ok(())
    }
}

#[cfg(test)]
impl VcpuState {
    /// Of a CPU with these features and a counter of this speed, and nothing in its registers.
    pub(super) fn blank(cpuid: Vec<kvm_cpuid_entry2>, khz: u32) -> Self {
        Self {
            cpuid,
            tsc: Tsc::blank(khz),
            regs: kvm_regs::default(),
            sregs: kvm_sregs::default(),
            xsave: Box::default(),
            xcrs: kvm_xcrs::default(),
            debug_regs: kvm_debugregs::default(),
            msrs: Vec::new(),
            tsc_deadline: None,
            lapic: Box::default(),
            events: kvm_vcpu_events::default(),
            mp_state: kvm_mp_state::default(),
        }
    }

    /// As bytes, with all that goes on by itself left out.
    pub(super) fn without_time(&self) -> Vec<u8> {
        let Self { cpuid, regs, sregs, xsave, xcrs, debug_regs, msrs, events, mp_state, .. } = self;
        postcard::to_stdvec(&(cpuid, regs, sregs, xsave, xcrs, debug_regs, msrs, events, mp_state)).unwrap()
    }
}
