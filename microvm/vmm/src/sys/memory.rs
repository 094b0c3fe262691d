//! Guest memory towards the kernel: KVM's slots, and advice on pages.

use std::io;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

use crate::memory::GuestMemory;

/// Makes `memory` the guest's. It must stay mapped as long as a vCPU of `vm` may run: the caller keeps it beside `vm`.
pub(crate) fn give(vm: &VmFd, memory: &GuestMemory) -> Result<(), kvm_ioctls::Error> {
    for (slot, region) in memory.iter().enumerate() {
        let address =
            region.get_host_address(MemoryRegionAddress(0)).map_err(|_| kvm_ioctls::Error::new(libc::EFAULT))?;
        let region = kvm_userspace_memory_region {
            slot: slot as u32,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: address as u64,
        };
        // SAFETY: the range is one whole mapping of this process; Rust sees it only as volatile memory.
        unsafe { vm.set_user_memory_region(region) }?;
    }
    Ok(())
}

/// Asks for huge pages wherever the guest writes.
pub(crate) fn prefer_huge_pages(memory: &GuestMemory) -> io::Result<()> {
    for region in memory.iter() {
        let address = region.get_host_address(MemoryRegionAddress(0)).map_err(io::Error::other)?;
        // SAFETY: the range is one whole mapping of this process; the advice changes no content.
        if unsafe { libc::madvise(address.cast(), region.len() as usize, libc::MADV_HUGEPAGE) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
