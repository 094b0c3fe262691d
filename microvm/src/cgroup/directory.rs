//! One directory of a cgroup hierarchy: its files read and written relative to a kept-open descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

/// Longest content of a control file that is read whole.
const MAX_CONTENT: usize = 4_096;

#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { path, fd })
    }

    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir(&path)?;
        Self::open(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let fd = openat(&self.fd, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(fd, value.as_bytes())?;
        Ok(())
    }

    /// Writes where the file exists: kernels differ in what they were built with.
    pub(super) fn write_if_there(&self, file: &str, value: &str) -> io::Result<()> {
        match self.write(file, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        read_at_start(&self.open_file(file)?)
    }

    /// Opens a file to be read again and again with [`read_at_start`].
    pub(super) fn open_file(&self, file: &str) -> io::Result<OwnedFd> {
        Ok(openat(&self.fd, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// The same, to be written again and again as well, if this kernel's file can be.
    pub(super) fn open_file_to_write(&self, file: &str) -> io::Result<OwnedFd> {
        match openat(&self.fd, file, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(fd),
            Err(_) => self.open_file(file),
        }
    }
}

/// Reads a kept-open control file anew.
pub(super) fn read_at_start(fd: &OwnedFd) -> io::Result<String> {
    let mut buffer = [0_u8; MAX_CONTENT];
    let count = rustix::io::pread(fd, &mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// The number in a file that holds one.
pub(super) fn number(content: &str) -> u64 {
    content.trim().parse().unwrap_or(0)
}

/// The number behind `key` in a file of `key number` lines.
pub(super) fn keyed_number(content: &str, key: &str) -> u64 {
    content.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

/// Whether a file says nothing.
pub(super) fn is_blank(content: &str) -> bool {
    content.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_flat_keyed_files() {
        let events = "low 0\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(keyed_number(events, "oom"), 3);
        assert_eq!(keyed_number(events, "oom_kill"), 2);
        assert_eq!(keyed_number(events, "missing"), 0);
        assert_eq!(number("4096\n"), 4096);
    }
}
