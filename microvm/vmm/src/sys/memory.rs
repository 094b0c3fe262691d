//! Guest memory towards the kernel: KVM's slots, and advice on pages.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress, MmapRegion};

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

/// Asks for huge pages wherever the guest writes, or for none.
pub(crate) fn prefer_huge_pages(region: &MmapRegion, huge: bool) -> io::Result<()> {
    let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    // SAFETY: the range is one whole mapping of this process; the advice changes no content.
    let result = unsafe { libc::madvise(region.as_ptr().cast(), region.size(), advice) };
    let error = io::Error::last_os_error();
    // A kernel without huge pages has no such advice.
    if result == 0 || error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) }
}

/// Puts a private mapping of `bytes` of `file` from `start` over those of `region` from `at`.
pub(crate) fn overlay(region: &mut MmapRegion, at: u64, file: &File, start: u64, bytes: u64) -> io::Result<()> {
    let fits = at.checked_add(bytes).is_some_and(|end| end <= region.size() as u64);
    let (Ok(bytes), Ok(start), true) = (usize::try_from(bytes), libc::off_t::try_from(start), fits) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: the range lies within the region, whose memory this mapping replaces; the region is borrowed mutably, so
    // nobody else uses it, and it unmaps the range with the rest.
    let mapped = unsafe {
        let target = region.as_ptr().add(at as usize).cast();
        let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
        libc::mmap(target, bytes, libc::PROT_READ | libc::PROT_WRITE, flags, file.as_raw_fd(), start)
    };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}
