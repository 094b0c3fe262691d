//! Drives: waiting for one, and telling what file system is on it.
//!
//! Nothing is looked at twice without an event in between. That a drive appears the kernel tells by a uevent; that an empty one
//! has got a size it tells nobody but its log (`set_capacity_and_notify` in block/genhd.c: no event for a change from an
//! empty device), so there it is the log that wakes us.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// Longest wait for a drive. Far longer than any takes: what is not there by then won't come.
const DRIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The multicast group in which the kernel itself speaks (`udev` has another).
const KERNEL_EVENTS: u32 = 1;
/// Room for one uevent or one line of the log; what is longer is cut off unread.
const EVENT_BYTES: usize = 8 * 1024;

/// Start of a file system, enough for both magic numbers.
const SUPERBLOCK_BYTES: usize = 1024 + 4;
/// Documentation/filesystems/squashfs.rst: at the very start.
const SQUASHFS_MAGIC: [u8; 4] = *b"hsqs";
/// Documentation/filesystems/erofs.rst: 0xE0F5E1E2, little-endian, 1024 bytes in.
const EROFS_MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();
const EROFS_MAGIC_AT: usize = 1024;

/// Waits until there is a device file.
pub(super) fn appeared(path: &Path) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let events = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
    rustix::net::bind(&events, &SocketAddrNetlink::new(0, KERNEL_EVENTS))?;
    // Listening comes first, so that nothing is missed between the look and the wait.
    until(
        || Ok(path.exists()),
        &events,
        |events, buffer| Ok(rustix::net::recv(events, buffer, RecvFlags::empty()).map(drop)?),
    )
}

/// Opens a drive and waits until it has a size: the worker may have put code into it only just now.
pub(super) fn filled(path: &Path) -> io::Result<File> {
    let mut drive = File::open(path)?;
    if has_size(&mut drive)? {
        return Ok(drive);
    }
    let log = rustix::fs::open("/dev/kmsg", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    until(|| has_size(&mut drive), &log, |log, buffer| Ok(rustix::io::read(log, buffer).map(drop)?))?;
    Ok(drive)
}

/// The name of the file system on a drive.
pub(super) fn file_system(drive: &mut File) -> io::Result<&'static str> {
    let mut start = [0; SUPERBLOCK_BYTES];
    drive.seek(SeekFrom::Start(0))?;
    drive.read_exact(&mut start)?;
    if start[EROFS_MAGIC_AT..] == EROFS_MAGIC {
        Ok("erofs")
    } else if start.starts_with(&SQUASHFS_MAGIC) {
        Ok("squashfs")
    } else {
        Err(io::Error::new(ErrorKind::InvalidData, "neither erofs nor squashfs is on it"))
    }
}

fn has_size(drive: &mut File) -> io::Result<bool> {
    Ok(drive.seek(SeekFrom::End(0))? > 0)
}

/// Looks after every event until the look says so. `take` takes one event, `EAGAIN` if there is none.
fn until(
    mut look: impl FnMut() -> io::Result<bool>,
    events: &OwnedFd,
    take: impl Fn(&OwnedFd, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let deadline = Instant::now() + DRIVE_TIMEOUT;
    let mut buffer = [0; EVENT_BYTES];
    while !look()? {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut wanted = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)];
        match poll(&mut wanted, Some(&left)) {
            Ok(0) => return Err(io::Error::new(ErrorKind::TimedOut, "the drive did not come in time")),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // All that is there, so that the next wait is for something new. Events that were lost (EPIPE, ENOBUFS) count
        // as one.
        while take(events, &mut buffer).is_ok() {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn on(content: &[u8]) -> io::Result<&'static str> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file_system(&mut file)
    }

    #[test]
    fn file_systems_are_told_by_their_magic_numbers() {
        let mut start = vec![0; 4096];
        assert_eq!(on(&start).unwrap_err().kind(), ErrorKind::InvalidData);
        start[..4].copy_from_slice(&SQUASHFS_MAGIC);
        assert_eq!(on(&start).unwrap(), "squashfs");
        start[..4].fill(0);
        start[1024..1028].copy_from_slice(&EROFS_MAGIC);
        assert_eq!(on(&start).unwrap(), "erofs");
        assert!(on(&start[..512]).is_err());
    }

    #[test]
    fn a_drive_that_has_its_size_is_not_waited_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(b"x").unwrap();
        assert_eq!(filled(file.path()).unwrap().metadata().unwrap().len(), 1);
    }

    #[test]
    fn it_looks_again_after_an_event_and_not_before() {
        let (events, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        events.set_nonblocking(true).unwrap();
        let mut looks = 0;
        let look = || {
            looks += 1;
            if looks == 1 {
                writer.write_all(b"event")?;
            }
            Ok(looks == 2)
        };
        until(look, &events.into(), |events, buffer| Ok(rustix::io::read(events, buffer).map(drop)?)).unwrap();
        assert_eq!(looks, 2);
    }
}
