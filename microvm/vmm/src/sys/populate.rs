//! Bringing pages in before they are touched.

use std::io;

use vm_memory::VolatileSlice;

/// Maps every page of `slice`, which must begin and end at page boundaries: as they are, or with `written` as copies
/// of this machine's own, as if it had written to them. Linux 5.14; `EINVAL` before.
pub(crate) fn populate(slice: &VolatileSlice<'_>, written: bool) -> io::Result<()> {
    let advice = if written { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
    let guard = slice.ptr_guard_mut();
    // SAFETY: the range is mapped as long as the slice lives; populating changes no content.
    let result = unsafe { libc::madvise(guard.as_ptr().cast(), guard.len(), advice) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
