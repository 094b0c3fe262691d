//! System calls that work on guest memory in place: no copy through a buffer of this process.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use vm_memory::VolatileSlice;

use crate::memory::Mapping;

/// Most pieces that the kernel takes at once (`IOV_MAX`).
const PIECES_MAX: usize = 1024;

/// Reads from `offset` of `file` into the front of `pieces`, as many bytes as one system call gives; 0 at its end.
pub(crate) fn read_at(file: &File, pieces: &[VolatileSlice<'_>], offset: u64) -> io::Result<usize> {
    let guards: Vec<_> = pieces.iter().take(PIECES_MAX).map(|piece| (piece.ptr_guard_mut(), piece.len())).collect();
    let vectors =
        guards.iter().map(|(guard, length)| libc::iovec { iov_base: guard.as_ptr().cast(), iov_len: *length });
    let vectors: Vec<_> = vectors.collect();
    let offset = offset.try_into().map_err(io::Error::other)?;
    loop {
        // SAFETY: each vector is a piece of mapped guest memory, which its slice keeps mapped and inside its region; no
        // Rust reference to guest memory exists, so the kernel may write there while the guest looks. Needed because
        // preadv with safe types wants exclusive references to plain memory.
        let read = unsafe { libc::preadv(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int, offset) };
        match usize::try_from(read) {
            Ok(read) => return Ok(read),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Gives the memory of `piece`, whole pages, back to the host. A private mapping then reads as its file does, or zero
/// without one; a shared one has a hole in its file, and reads zero.
pub(crate) fn discard(piece: &VolatileSlice<'_>, mapping: Mapping) -> io::Result<()> {
    let guard = piece.ptr_guard_mut();
    let advice = match mapping {
        Mapping::Private => libc::MADV_DONTNEED,
        Mapping::Shared => libc::MADV_REMOVE,
    };
    // SAFETY: the piece is mapped guest memory, to which no Rust reference exists; that its bytes change is no other
    // than a write of the guest. Needed because there is no safe interface to madvise.
    let result = unsafe { libc::madvise(guard.as_ptr().cast(), piece.len(), advice) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes as _, GuestAddress, GuestMemoryBackend as _};

    use super::*;
    use crate::memory::map;

    #[test]
    fn reads_into_pieces_in_order_and_forgets_pages() {
        let memory_file = tempfile::tempfile().unwrap();
        memory_file.set_len(128 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&memory_file, &[0; 0x4000], 0).unwrap();
        let memory = map(&memory_file, 128, Mapping::Private).unwrap();
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"0123456789", 0).unwrap();
        let piece = |at, length| memory.get_slice(GuestAddress(at), length).unwrap();
        assert_eq!(read_at(&file, &[piece(0x2000, 2), piece(0x1000, 3)], 4).unwrap(), 5);
        assert_eq!(read_at(&file, &[piece(0x3000, 9)], 10).unwrap(), 0);
        let mut bytes = [0; 3];
        memory.read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
        assert_eq!(&bytes, b"678");
        discard(&piece(0x1000, 0x1000), Mapping::Private).unwrap();
        memory.read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
        assert_eq!(bytes, [0; 3]);
        let shared = map(&memory_file, 128, Mapping::Shared).unwrap();
        shared.write_slice(b"abc", GuestAddress(0x1000)).unwrap();
        memory.read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
        assert_eq!(&bytes, b"abc");
        discard(&shared.get_slice(GuestAddress(0x1000), 0x1000).unwrap(), Mapping::Shared).unwrap();
        memory.read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
        assert_eq!(bytes, [0; 3]);
        assert!(discard(&piece(0x1001, 0x1000), Mapping::Private).is_err());
    }
}
