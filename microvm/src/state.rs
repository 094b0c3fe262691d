//! What a launcher writes down before it makes it, so that its successor can remove it after a `kill -9`.
//!
//! | file in the state directory | what it says |
//! | --- | --- |
//! | `lock` | locked while a launcher lives |
//! | `groups/OWNER` | cgroup directories, one a line, written before they are made |
//! | `sandboxes/ID` | owner, process id, start time of the first process; written before it does anything |

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How the records of processes begin that are no sandboxes yet; legal in no sandbox's name.
const NAMELESS: char = '_';

/// A locked state directory.
pub(crate) struct State {
    directory: PathBuf,
    /// Which launcher this is, among all that ever used the directory.
    owner: String,
    _lock: File,
}

/// A process written down.
struct Written {
    owner: String,
    pid: i32,
    start: u64,
}

impl State {
    /// Takes the directory, made if missing. Fails with `ResourceBusy` while another launcher has it.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let directory = std::path::absolute(directory)?;
        for below in ["groups", "sandboxes", "root"] {
            fs::create_dir_all(directory.join(below))?;
        }
        let lock = File::create(directory.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let owner = format!("hearth-{}-{:x}", std::process::id(), since.as_nanos());
        Ok(Self { directory, owner, _lock: lock })
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes down the groups that are about to be made.
    pub(crate) fn write_groups(&self, groups: &[PathBuf]) -> io::Result<()> {
        let lines: Vec<&[u8]> = groups.iter().map(|path| path.as_os_str().as_bytes()).collect();
        fs::write(self.directory.join("groups").join(&self.owner), lines.join(&b'\n'))
    }

    /// They are gone.
    pub(crate) fn forget_groups(&self) {
        let _ = fs::remove_file(self.directory.join("groups").join(&self.owner));
    }

    /// Groups that earlier launchers wrote down; the file of each, and the paths in it.
    pub(crate) fn earlier_groups(&self) -> io::Result<Vec<(PathBuf, Vec<PathBuf>)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.directory.join("groups"))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name != self.owner.as_str()) {
                let content = fs::read_to_string(&path)?;
                found.push((path, content.lines().map(PathBuf::from).collect()));
            }
        }
        Ok(found)
    }

    /// Writes down a process that still waits to be let go. Fails if there is one of this name.
    pub(crate) fn write_sandbox(&self, id: &str, pid: Pid) -> io::Result<()> {
        let start = start_time(pid.as_raw_nonzero().get()).ok_or(io::ErrorKind::NotFound)?;
        let mut record = File::create_new(self.sandbox(id))?;
        record.write_all(format!("{} {} {start}\n", self.owner, pid.as_raw_nonzero()).as_bytes())
    }

    /// A name for the record of a process that is no sandbox yet; no sandbox, and no other process, is called so.
    pub(crate) fn nameless(&self, serial: u64) -> String {
        format!("{NAMELESS}{}-{serial}", self.owner)
    }

    /// Whether a record is of a process that never became a sandbox.
    pub(crate) fn is_nameless(record: &str) -> bool {
        record.starts_with(NAMELESS)
    }

    /// Gives the record of a process another name, when it becomes a sandbox. Fails if there is one of this name.
    pub(crate) fn rename_sandbox(&self, from: &str, to: &str) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, self.sandbox(from), CWD, self.sandbox(to), RenameFlags::NOREPLACE)?)
    }

    /// It is gone.
    pub(crate) fn forget_sandbox(&self, id: &str) {
        let _ = fs::remove_file(self.sandbox(id));
    }

    /// Kills the first processes of sandboxes that earlier launchers left; answers the sandboxes' names. Their
    /// records stay until [`Self::forget_sandbox`].
    pub(crate) fn kill_earlier_sandboxes(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.directory.join("sandboxes"))? {
            let entry = entry?;
            let written = Written::parse(&fs::read_to_string(entry.path())?);
            if written.as_ref().is_some_and(|written| written.owner == self.owner) {
                continue;
            }
            // What can't be read was being written: its process was never let go.
            if let Some(written) = written {
                kill_if_same(written.pid, written.start);
            }
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(found)
    }

    fn sandbox(&self, id: &str) -> PathBuf {
        self.directory.join("sandboxes").join(id)
    }
}

impl Written {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (owner, pid, start) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { owner: owner.to_owned(), pid: pid.parse().ok()?, start: start.parse().ok()? })
    }
}

/// Kills a process if it is the one that started then, and waits for its end.
fn kill_if_same(pid: i32, start: u64) {
    let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    // Looked at after the descriptor is held: the number can't be given to another process in between.
    if start_time(pid) == Some(start) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
        let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        let mut event = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut event, Some(&timeout));
    }
}

/// When a process started, in clock ticks since boot (field 22 of `stat`).
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
