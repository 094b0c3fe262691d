//! Files with holes: which parts hold data, and copies that keep the holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use rustix::io::Errno;

/// The parts of `file` that hold data, in order; what lies between reads as zeros. Moves the file's position.
pub(super) fn data(file: &File) -> io::Result<Vec<Range<u64>>> {
    let end = file.metadata()?.len();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < end {
        let start = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(start) => start,
            // No data behind.
            Err(Errno::NXIO) => break,
            Err(source) => return Err(source.into()),
        };
        at = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start))?;
        parts.push(start..at.min(end));
    }
    Ok(parts)
}

/// Makes the empty file `to` a copy of `from` that has the same holes: by sharing blocks where the file system can,
/// else without moving data through this process. Moves both files' positions.
pub fn copy_sparse(from: &File, to: &File) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    to.set_len(from.metadata()?.len())?;
    let (mut from, mut to) = (from, to);
    for part in data(from)? {
        from.seek(SeekFrom::Start(part.start))?;
        to.seek(SeekFrom::Start(part.start))?;
        let wanted = part.end - part.start;
        if io::copy(&mut from.take(wanted), &mut to)? != wanted {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the memory became shorter while it was copied"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_the_data_and_the_holes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(64 << 20).unwrap();
        from.write_all_at(&[1; 4096], 1 << 20).unwrap();
        from.write_all_at(&[2; 100], (64 << 20) - 100).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(to.metadata().unwrap().len(), 64 << 20);
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut bytes = [0; 100];
        to.read_exact_at(&mut bytes, (64 << 20) - 100).unwrap();
        assert_eq!(bytes, [2; 100]);
        assert_eq!(data(&to).unwrap(), data(&from).unwrap());
    }

    #[test]
    fn an_empty_file_has_no_data() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(data(&file).unwrap(), []);
        file.set_len(1 << 20).unwrap();
        assert_eq!(data(&file).unwrap(), []);
    }
}
