//! A counter that is readable while it is not zero, as a file.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;

/// A new one, at zero, that never blocks. Eight bytes written add to it; a read takes it back to zero.
pub(crate) fn counter() -> io::Result<File> {
    // SAFETY: no pointer is passed. Needed because std has no eventfd, and `vmm_sys_util`'s can't be borrowed as one.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else has its number.
    Ok(unsafe { File::from_raw_fd(fd) })
}
