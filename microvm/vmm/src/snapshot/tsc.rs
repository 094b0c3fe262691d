//! The time stamp counter of a machine's vCPUs: it goes on from where it was, at the same speed, and in step.
//!
//! What the guest reads is the host's counter (scaled) plus an offset. Across a restore the host's counter jumps, so
//! the offset is set anew, from the first vCPU; the others keep their distance to it. The guest's clocks count from
//! the counter, so the time between snapshot and restore did not pass for them.

use std::ops::Deref;

use kvm_bindings::kvm_msr_entry;
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};

use super::{StateError, VcpuState, msr};
use crate::sys::vcpu::{set_tsc_offset, tsc_offset};

/// One vCPU's counter when it was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tsc {
    /// Its speed, kHz.
    pub khz: u32,
    /// What the guest would have read.
    pub value: u64,
    /// [`tsc_offset`]; absent where KVM does not tell (before Linux 5.16).
    offset: Option<u64>,
}

impl Tsc {
    pub(super) fn save(vcpu: &VcpuFd) -> Result<Self, StateError> {
        let khz = vcpu.get_tsc_khz().map_err(StateError::get("speed of the time stamp counter"))?;
        Ok(Self { khz, value: read(vcpu)?, offset: tsc_offset(vcpu).ok() })
    }
}

/// Sets the counters of all vCPUs. After their CPUID, before their timers.
pub fn restore(vcpus: &[impl Deref<Target = VcpuFd>], states: &[VcpuState]) -> Result<(), StateError> {
    let (Some(first), Some(saved_first)) = (vcpus.first(), states.first().map(|state| state.tsc)) else {
        return Ok(());
    };
    for (vcpu, state) in vcpus.iter().zip(states) {
        set_speed(vcpu, state.tsc.khz)?;
    }
    let (Ok(offset), Some(saved_offset)) = (tsc_offset(first), saved_first.offset) else {
        return vcpus.iter().zip(states).try_for_each(|(vcpu, state)| write(vcpu, state.tsc.value));
    };
    // The two readings need not be simultaneous: their difference is the host's counter at the second.
    let host = read(first)?.wrapping_sub(offset);
    let new_offset = saved_first.value.wrapping_sub(host);
    for (vcpu, state) in vcpus.iter().zip(states) {
        let distance = state.tsc.offset.map_or(0, |other| other.wrapping_sub(saved_offset));
        set_tsc_offset(vcpu, new_offset.wrapping_add(distance))
            .map_err(StateError::set("offset of the time stamp counter"))?;
    }
    Ok(())
}

/// A host's own speed needs no scaling, and is refused by KVM where it can't scale.
fn set_speed(vcpu: &VcpuFd, khz: u32) -> Result<(), StateError> {
    if vcpu.get_tsc_khz().is_ok_and(|now| !differs(khz, now)) {
        return Ok(());
    }
    vcpu.set_tsc_khz(khz).map_err(StateError::set("speed of the time stamp counter"))
}

/// Parts per million by which a host's counter may be off what the guest was told. A host measures the speed at its own
/// boot, and comes to slightly different results. KVM's clock, which guests go by, takes the speed from the host, so only
/// the length of a timer is off by so much.
const TOLERANCE_PPM: u64 = 1000;

/// Whether two speeds, kHz, differ by more than a guest can take.
pub(super) fn differs(a: u32, b: u32) -> bool {
    u64::from(a.abs_diff(b)) * 1_000_000 > u64::from(b) * TOLERANCE_PPM
}

fn read(vcpu: &VcpuFd) -> Result<u64, StateError> {
    let entry = msr::read(vcpu, &[msr::TSC])?.pop();
    entry.map(|entry| entry.data).ok_or(StateError::Msr { index: msr::TSC })
}

fn write(vcpu: &VcpuFd, value: u64) -> Result<(), StateError> {
    msr::write(vcpu, &[kvm_msr_entry { index: msr::TSC, data: value, ..Default::default() }])
}

#[cfg(test)]
impl Tsc {
    pub(super) fn blank(khz: u32) -> Self {
        Self { khz, value: 0, offset: None }
    }
}
