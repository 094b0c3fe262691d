//! A vCPU's time stamp counter offset, which `kvm-ioctls` does not reach on x86, and its extended state.

use std::ffi::c_ulong;
use std::io;

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, kvm_device_attr, kvm_xsave};
use kvm_ioctls::VcpuFd;
use vmm_sys_util::ioctl::ioctl_with_ref;

// The request numbers (include/uapi/linux/kvm.h): write, of type 0xae, with the size of what they take.
const KVM_SET_DEVICE_ATTR: c_ulong = write_request(0xe1);
const KVM_GET_DEVICE_ATTR: c_ulong = write_request(0xe2);

const fn write_request(number: u64) -> c_ulong {
    1 << 30 | (size_of::<kvm_device_attr>() as u64) << 16 | 0xae << 8 | number
}

const fn offset_attribute(addr: u64) -> kvm_device_attr {
    kvm_device_attr { flags: 0, group: KVM_VCPU_TSC_CTRL, attr: KVM_VCPU_TSC_OFFSET as u64, addr }
}

/// What KVM adds to the host's (scaled) time stamp counter to get the guest's.
pub(crate) fn tsc_offset(vcpu: &VcpuFd) -> io::Result<u64> {
    let mut offset = 0_u64;
    let attribute = offset_attribute(&raw mut offset as u64);
    // SAFETY: the ioctl reads `attribute` and writes eight bytes to `offset`; both live until it returns.
    let result = unsafe { ioctl_with_ref(vcpu, KVM_GET_DEVICE_ATTR, &attribute) };
    if result == 0 { Ok(offset) } else { Err(io::Error::last_os_error()) }
}

/// Sets what [`tsc_offset`] tells. Writing the counter itself will not do for a counter below one second: KVM takes
/// that for an attempt to bring vCPUs into step and keeps the old offset.
pub(crate) fn set_tsc_offset(vcpu: &VcpuFd, offset: u64) -> io::Result<()> {
    let attribute = offset_attribute(&raw const offset as u64);
    // SAFETY: the ioctl reads `attribute` and eight bytes of `offset`; both live until it returns.
    let result = unsafe { ioctl_with_ref(vcpu, KVM_SET_DEVICE_ATTR, &attribute) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the extended state, as `KVM_GET_XSAVE` gave it.
pub(crate) fn set_xsave(vcpu: &VcpuFd, xsave: &kvm_xsave) -> io::Result<()> {
    // SAFETY: KVM reads more than these 4096 bytes only in a process that was granted larger state components with
    // `arch_prctl(ARCH_REQ_XCOMP_GUEST_PERM)`. This one never asks for that.
    unsafe { vcpu.set_xsave(xsave) }.map_err(io::Error::from)
}
