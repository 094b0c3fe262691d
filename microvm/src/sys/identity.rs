//! Calls that change the calling thread and that `rustix` marks unsafe.
#![expect(unsafe_code, reason = "unshare of one thread has no safe wrapper")]

use std::io;

use rustix::thread::UnshareFlags;

/// Gives the calling thread a root, working directory and, with `NEWNS`, mounts of its own.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: it is unsafe for FILES only (threads would see different descriptors), which is taken out here. Needed
    // because a thread enters a sandbox's mounts while the others stay outside.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }?;
    Ok(())
}
