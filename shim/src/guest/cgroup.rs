//! The control group (v2) of the runtime and all it starts: what they use together is limited and counted there.
//!
//! The hierarchy is mounted nowhere: this process has its descriptor, and nobody else comes near. The shim itself is
//! outside, so that a function which uses up its memory does not take it along.
//!
//! `memory.peak` can't be set back before Linux 6.12: it is the most since the boot, as in AWS's report lines.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use hearth_guest_protocol::{GuestLimits, Stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Its name, for whoever looks into a guest's kernel.
const NAME: &str = "function";
/// Longest wait for its members to stop. One that waits for a drive is what takes longest.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest content of the files that are read here.
const FILE_MAX_BYTES: usize = 512;

/// The group, made and without limits.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: OwnedFd,
    members: OwnedFd,
    current: File,
    peak: File,
    events: File,
    /// What it may use, bytes; without bound before there is a function.
    memory_max: u64,
}

impl Cgroup {
    /// Makes it.
    pub(super) fn make() -> io::Result<Self> {
        let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let hierarchy = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        write(&hierarchy, "cgroup.subtree_control", "+memory +pids")?;
        rustix::fs::mkdirat(&hierarchy, NAME, Mode::from(0o755))?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&hierarchy, NAME, flags, Mode::empty())?;
        let readable = |name: &str| -> io::Result<File> {
            Ok(rustix::fs::openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
        };
        Ok(Self {
            members: rustix::fs::openat(&directory, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?,
            current: readable("memory.current")?,
            peak: readable("memory.peak")?,
            events: readable("memory.events")?,
            directory,
            memory_max: u64::MAX,
        })
    }

    /// Where a process that writes `0` becomes a member.
    pub(crate) fn members(&self) -> &OwnedFd {
        &self.members
    }

    /// Sets what it may use. Memory includes what lies in `/tmp` and `/dev/shm`, as in the jail; when it runs out the
    /// kernel kills the largest process, as there.
    pub(super) fn limit(&mut self, limits: &GuestLimits) -> io::Result<()> {
        write(&self.directory, "memory.max", &limits.memory_bytes.to_string())?;
        write(&self.directory, "pids.max", &limits.max_processes.to_string())?;
        self.memory_max = limits.memory_bytes;
        Ok(())
    }

    /// Stops every member, and waits until all have stopped.
    pub(super) fn freeze(&self) -> io::Result<()> {
        write(&self.directory, "cgroup.freeze", "1")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let events = File::from(rustix::fs::openat(&self.directory, "cgroup.events", flags, Mode::empty())?);
        let deadline = Instant::now() + FREEZE_TIMEOUT;
        // Reading a control file is what makes its next change an event (cgroup-v2.rst, "Un-populated Notification").
        while !is_frozen(&read(&events)?) {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut wanted = [PollFd::new(&events, PollFlags::PRI)];
            match poll(&mut wanted, Some(&left)) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "something in it can't be stopped")),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Lets every member go on.
    pub(super) fn thaw(&self) -> io::Result<()> {
        write(&self.directory, "cgroup.freeze", "0")
    }

    /// What it uses and used: two small reads, and a third only where something may have been killed: its memory was full
    /// once, or a process is `gone`.
    pub(crate) fn stats(&self, gone: bool) -> io::Result<Stats> {
        let memory_bytes = number(&read(&self.current)?)?;
        let memory_peak_bytes = number(&read(&self.peak)?)?.max(memory_bytes);
        let may_have_killed = gone || memory_peak_bytes >= self.memory_max - self.memory_max / 16;
        let oom_kills = if may_have_killed { oom_kills(&read(&self.events)?)? } else { 0 };
        Ok(Stats { memory_bytes, memory_peak_bytes, oom_kills })
    }
}

fn write(directory: impl AsFd, name: &str, value: &str) -> io::Result<()> {
    let file = rustix::fs::openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(file).write_all_at(value.as_bytes(), 0)
}

fn read(file: &File) -> io::Result<String> {
    let mut content = [0; FILE_MAX_BYTES];
    let length = file.read_at(&mut content, 0)?;
    Ok(String::from_utf8_lossy(&content[..length]).into_owned())
}

fn number(content: &str) -> io::Result<u64> {
    content.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no number in a control file"))
}

/// From `cgroup.events`.
fn is_frozen(content: &str) -> bool {
    content.lines().any(|line| line == "frozen 1")
}

/// From `memory.events` (Documentation/admin-guide/cgroup-v2.rst).
fn oom_kills(content: &str) -> io::Result<u64> {
    content.lines().find_map(|line| line.strip_prefix("oom_kill ")).map_or(Ok(0), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_files_are_read_as_documented() {
        assert_eq!(number("4096\n").unwrap(), 4096);
        assert!(number("max\n").is_err());
        assert!(is_frozen("populated 1\nfrozen 1\n") && !is_frozen("populated 1\nfrozen 0\n"));
        assert_eq!(oom_kills("low 0\noom 3\noom_kill 2\noom_group_kill 0\n").unwrap(), 2);
    }
}
