//! Guest memory to a stream socket and back without a copy in between, and without ever waiting.
//!
//! `MSG_DONTWAIT` asks for that call by call: the socket's own flags are shared with whoever else holds it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::VolatileSlice;

/// Most pieces of memory that [`receive`] fills at once.
pub(crate) const RECEIVE_PIECES_MAX: usize = 16;

/// Sends what `from` holds; says how much of it the socket took.
pub(crate) fn send(socket: BorrowedFd<'_>, from: &VolatileSlice<'_>) -> io::Result<usize> {
    let guard = from.ptr_guard();
    // SAFETY: the guard keeps `len` readable bytes at its pointer for the call; the kernel only reads them, and a guest
    // that writes there meanwhile changes what is sent and nothing else. Needed because guest memory can't be `&[u8]`.
    let sent = unsafe {
        libc::send(socket.as_raw_fd(), guard.as_ptr().cast(), guard.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// As [`send`], from memory of this process.
pub(crate) fn send_bytes(socket: BorrowedFd<'_>, from: &[u8]) -> io::Result<usize> {
    // SAFETY: `from` is readable for its length. Needed because std's `send` knows no flags.
    let sent = unsafe {
        libc::send(socket.as_raw_fd(), from.as_ptr().cast(), from.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Fills the pieces of `into` in turn, the first [`RECEIVE_PIECES_MAX`] of them; says how many bytes came, 0 at the
/// end of the stream.
pub(crate) fn receive(socket: BorrowedFd<'_>, into: &[VolatileSlice<'_>]) -> io::Result<usize> {
    let mut pieces = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; RECEIVE_PIECES_MAX];
    let mut count = 0;
    for (piece, slice) in pieces.iter_mut().zip(into) {
        // The guards of mapped memory do nothing when dropped; `into` outlives the call.
        *piece = libc::iovec { iov_base: slice.ptr_guard_mut().as_ptr().cast(), iov_len: slice.len() };
        count += 1;
    }
    // SAFETY: all zeros are a valid `msghdr`: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = count;
    // SAFETY: each of the `count` pieces is writable memory of a slice that `into` keeps; the kernel writes nowhere
    // else, and no ancillary data is asked for. Needed because guest memory can't be `&mut [u8]`.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}
