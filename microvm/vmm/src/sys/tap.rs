//! Frames between guest memory and a tap, one system call each.
//!
//! The tap must be non-blocking (`O_NONBLOCK`): unlike sockets it can't be asked call by call.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use vm_memory::VolatileSlice;

/// Reads one frame: its first bytes into `head`, the others into `rest`, and one byte too many, if there is one, nowhere.
/// Says how many bytes came; more than `head` and `rest` hold if the frame is longer than that.
pub(crate) fn read_frame(tap: BorrowedFd<'_>, head: &mut [u8], rest: &[VolatileSlice<'_>]) -> io::Result<usize> {
    let mut spill = [0_u8; 1];
    let guards: Vec<_> = rest.iter().map(|piece| (piece.ptr_guard_mut(), piece.len())).collect();
    let mut pieces = vec![libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() }];
    pieces.extend(guards.iter().map(|(guard, len)| libc::iovec { iov_base: guard.as_ptr().cast(), iov_len: *len }));
    pieces.push(libc::iovec { iov_base: spill.as_mut_ptr().cast(), iov_len: spill.len() });
    // SAFETY: `head` and `spill` are borrowed for the call, the other pieces are guest memory that their guards keep
    // and to which no Rust reference exists. Needed because guest memory can't be `&mut [u8]`.
    let read = unsafe { libc::readv(tap.as_raw_fd(), pieces.as_ptr(), pieces.len() as libc::c_int) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Writes one frame: `head`, then `rest`.
pub(crate) fn write_frame(tap: BorrowedFd<'_>, head: &[u8], rest: &[VolatileSlice<'_>]) -> io::Result<usize> {
    let guards: Vec<_> = rest.iter().map(|piece| (piece.ptr_guard(), piece.len())).collect();
    let mut pieces = vec![libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: head.len() }];
    pieces.extend(
        guards.iter().map(|(guard, len)| libc::iovec { iov_base: guard.as_ptr().cast_mut().cast(), iov_len: *len }),
    );
    // SAFETY: as in `read_frame`; the kernel only reads the pieces.
    let written = unsafe { libc::writev(tap.as_raw_fd(), pieces.as_ptr(), pieces.len() as libc::c_int) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}
