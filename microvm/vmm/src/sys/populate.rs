//! Bringing pages in before they are touched.

use std::io;

use vm_memory::VolatileSlice;

/// Has every page of `slice`, which must begin and end at page boundaries, be a copy of this machine's own, as if it had
/// written to it. Linux 5.14; `EINVAL` before.
pub(crate) fn populate(slice: &VolatileSlice<'_>) -> io::Result<()> {
    let guard = slice.ptr_guard_mut();
    // SAFETY: the range is mapped as long as the slice lives; populating changes no content.
    let result = unsafe { libc::madvise(guard.as_ptr().cast(), guard.len(), libc::MADV_POPULATE_WRITE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
