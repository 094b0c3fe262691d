//! Processes that belong together, found in `/proc`: for where no control group knows them.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often to look for processes that were started while others were killed. Each round kills all there are; only
/// a fork bomb that outruns it twenty times survives one, and nothing is promised of those here.
const ROUNDS: usize = 20;
/// Longest time for one killed process to end.
const DEATH_TIMEOUT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// Clock ticks of a second in `/proc` (USER_HZ, the same on every architecture we build for).
const TICKS_PER_SECOND: u64 = 100;
/// Bytes of a page in `statm`, on the architectures we build for.
const PAGE_BYTES: u64 = 4_096;

/// A process as seen at one moment.
#[derive(Clone, Copy)]
struct Seen {
    pid: i32,
    parent: i32,
    session: i32,
    zombie: bool,
    ticks: u64,
    start: u64,
}

/// What a tree of processes uses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TreeUsage {
    pub(crate) memory_bytes: u64,
    /// Of those that live, and of their collected children.
    pub(crate) cpu: Duration,
}

/// What `root`, its descendants and its session use. Shared pages count once for each process.
pub(crate) fn usage(root: i32) -> TreeUsage {
    let mut usage = TreeUsage::default();
    for seen in family(root) {
        usage.memory_bytes += resident(seen.pid);
        usage.cpu += Duration::from_millis(seen.ticks * 1_000 / TICKS_PER_SECOND);
    }
    usage
}

/// Sends a signal to `root`, its descendants and its session.
pub(crate) fn signal(root: i32, signal: Signal) {
    for seen in family(root) {
        send(&seen, signal);
    }
}

/// Process ids of `root`, its descendants and its session.
pub(crate) fn pids(root: i32) -> Vec<i32> {
    family(root).iter().map(|seen| seen.pid).collect()
}

/// Kills the descendants of `root`, not itself: stopped, it goes on adopting those that lose their parent.
pub(crate) fn kill_descendants(root: i32) {
    kill_until_none(|| family(root).into_iter().filter(|seen| seen.pid != root).collect());
}

/// Kills every process whose environment has the entry `mark`.
pub(crate) fn kill_marked(mark: &[u8]) {
    kill_until_none(|| all().into_iter().filter(|seen| is_marked(seen.pid, mark)).collect());
}

fn kill_until_none(find: impl Fn() -> Vec<Seen>) {
    for _ in 0..ROUNDS {
        let killed: Vec<OwnedFd> =
            find().iter().filter(|seen| !seen.zombie).filter_map(|seen| send(seen, Signal::KILL)).collect();
        if killed.is_empty() {
            return;
        }
        for process in killed {
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DEATH_TIMEOUT));
        }
    }
}

/// Sends a signal if the process is still the one that was seen.
fn send(seen: &Seen, signal: Signal) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(seen.pid)?, PidfdFlags::empty()).ok()?;
    (look(seen.pid)?.start == seen.start).then_some(())?;
    pidfd_send_signal(&process, signal).ok()?;
    Some(process)
}

/// `root`, its descendants, and the members of its session.
fn family(root: i32) -> Vec<Seen> {
    let all = all();
    let parents: HashMap<i32, i32> = all.iter().map(|seen| (seen.pid, seen.parent)).collect();
    let descends = |mut pid: i32| {
        // A chain of parents is never longer than there are processes.
        for _ in 0..parents.len() {
            match parents.get(&pid) {
                Some(parent) if *parent == root => return true,
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    all.iter().copied().filter(|seen| seen.pid == root || seen.session == root || descends(seen.pid)).collect()
}

fn all() -> Vec<Seen> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(look).collect()
}

/// Reads `/proc/PID/stat`; see proc_pid_stat(5) for the fields.
fn look(pid: i32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything; the state, field 3, comes next.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Seen {
        pid,
        parent: i32::try_from(number(4)?).ok()?,
        session: i32::try_from(number(6)?).ok()?,
        zombie: fields.first() == Some(&"Z"),
        ticks,
        start: number(22)?,
    })
}

fn resident(pid: i32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE_BYTES
}

fn is_marked(pid: i32, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == mark))
}
