//! Attributes of a mount that is not attached anywhere yet.
#![expect(unsafe_code, reason = "mount_setattr has no wrapper in rustix")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What may be used of a mount beside reading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Programs may be executed.
    Programs,
    /// A device may be opened.
    Device,
}

/// Makes a detached tree of mounts read-only and private, without set-user-id, and good for one thing only.
pub(crate) fn make_harmless(tree: BorrowedFd<'_>, good_for: Use) -> io::Result<()> {
    let without = match good_for {
        Use::Programs => libc::MOUNT_ATTR_NODEV,
        Use::Device => libc::MOUNT_ATTR_NOEXEC,
    };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | without,
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
