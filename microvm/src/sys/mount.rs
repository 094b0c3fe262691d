//! Attributes of a mount that is not attached anywhere yet.
#![expect(unsafe_code, reason = "mount_setattr has no wrapper in rustix")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes a detached tree of mounts read-only, without devices and without set-user-id, and private.
pub(crate) fn make_harmless(tree: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: an open descriptor, an empty zero-terminated path, and a structure of the size that is passed. Needed
    // because attributes of a detached mount can't be set by mount(2).
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
