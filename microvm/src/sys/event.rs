//! A descriptor that tokio watches.
#![expect(unsafe_code, reason = "registering a descriptor with tokio is unsafe")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches for readability. Needs a tokio runtime with I/O.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and the same as long as it lives, and the `AsyncFd` owns it. Needed because the
    // safe constructor takes descriptors that could be closed elsewhere, and is deprecated for it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}
