//! The control groups of one sandbox.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::directory::{Directory, keyed_number, number, read_at_start};
use super::layout::Controller;
use super::quota;
use crate::sandbox::{Limits, SandboxUsage};

/// Longest time a freeze or the emptying of a group may take; both are matters of milliseconds.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before looking again where the kernel offers no event (version 1).
const NO_EVENT_PAUSE: Duration = Duration::from_micros(200);

/// One directory for each hierarchy. Not removed by itself: see [`Group::remove`].
pub(crate) struct Group {
    v1: Vec<(Vec<Controller>, Directory)>,
    v2: Option<(Vec<Controller>, Directory)>,
    counters: Counters,
}

/// Files read while the sandbox runs, kept open.
#[derive(Default)]
struct Counters {
    memory: Option<OwnedFd>,
    peak: Option<OwnedFd>,
    cpu: Option<OwnedFd>,
    oom: Option<OwnedFd>,
}

/// The directory that has a controller, by version.
enum Place<'a> {
    V1(&'a Directory),
    V2(&'a Directory),
}

impl Group {
    pub(super) fn new(
        v1: Vec<(Vec<Controller>, Directory)>,
        v2: Option<(Vec<Controller>, Directory)>,
    ) -> io::Result<Self> {
        let mut group = Self { v1, v2, counters: Counters::default() };
        let open = |controller, v1: &str, v2: &str| match group.place(controller) {
            Some(Place::V1(directory)) => directory.open_file(v1).map(Some),
            Some(Place::V2(directory)) => directory.open_file(v2).map(Some),
            None => Ok(None),
        };
        let counters = Counters {
            memory: open(Controller::Memory, "memory.usage_in_bytes", "memory.current")?,
            // Came with Linux 5.19 on version 2.
            peak: match group.place(Controller::Memory) {
                Some(Place::V1(directory)) => directory.open_file_to_write("memory.max_usage_in_bytes").ok(),
                Some(Place::V2(directory)) => directory.open_file_to_write("memory.peak").ok(),
                None => None,
            },
            cpu: open(Controller::CpuAccounting, "cpuacct.usage", "cpu.stat")?,
            oom: open(Controller::Memory, "memory.oom_control", "memory.events")?,
        };
        group.counters = counters;
        Ok(group)
    }

    /// Moves the calling thread in, so that what it clones is born here (version 1 only).
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.v1.iter().try_for_each(|(_, directory)| directory.write("tasks", "0"))
    }

    /// What to hand to `CLONE_INTO_CGROUP` (version 2 only).
    pub(crate) fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(|(_, directory)| directory.fd())
    }

    /// Sets every limit there is a controller for. Memory first: it is the one that can be refused.
    pub(crate) fn apply(&self, limits: &Limits, cpus: Option<&str>) -> io::Result<()> {
        match self.place(Controller::Memory) {
            Some(Place::V1(directory)) => limit_memory_v1(directory, limits.memory_bytes)?,
            Some(Place::V2(directory)) => limit_memory_v2(directory, limits.memory_bytes)?,
            None => {}
        }
        match self.place(Controller::Cpu) {
            Some(Place::V1(directory)) => limit_cpu_v1(directory, limits.milli_cpus)?,
            Some(Place::V2(directory)) => limit_cpu_v2(directory, limits.milli_cpus)?,
            None => {}
        }
        if let Some(place) = self.place(Controller::Pids) {
            place.directory().write("pids.max", &limits.max_processes.to_string())?;
        }
        // Weights count only under a scheduler that knows them; without one there is nothing to write.
        match self.place(Controller::Io) {
            Some(Place::V1(directory)) => {
                let weight = quota::weight(limits.milli_cpus).min(1_000).to_string();
                directory.write_if_there("blkio.bfq.weight", &weight)?;
            }
            Some(Place::V2(directory)) => {
                directory.write_if_there("io.weight", &quota::weight(limits.milli_cpus).to_string())?;
            }
            None => {}
        }
        if let (Some(place), Some(cpus)) = (self.place(Controller::CpuSet), cpus) {
            place.directory().write("cpuset.cpus", cpus)?;
        }
        Ok(())
    }

    /// The processes inside, if there is any group; never the caller's own, of which a thread may be in for a moment.
    pub(crate) fn processes(&self) -> io::Result<Option<Vec<Pid>>> {
        self.v1.iter().chain(&self.v2).next().map(|(_, directory)| pids(directory)).transpose()
    }

    /// What it uses and used; zero where there is no controller.
    pub(crate) fn usage(&self) -> io::Result<SandboxUsage> {
        let read = |fd: &Option<OwnedFd>| fd.as_ref().map_or(Ok(String::new()), read_at_start);
        let cpu = read(&self.counters.cpu)?;
        let memory_bytes = number(&read(&self.counters.memory)?);
        Ok(SandboxUsage {
            memory_bytes,
            memory_peak_bytes: number(&read(&self.counters.peak)?).max(memory_bytes),
            cpu: match self.place(Controller::CpuAccounting) {
                Some(Place::V2(_)) => Duration::from_micros(keyed_number(&cpu, "usage_usec")),
                _ => Duration::from_nanos(number(&cpu)),
            },
            oom_kills: keyed_number(&read(&self.counters.oom)?, "oom_kill"),
        })
    }

    /// The most memory since the last high-water mark: one read of a file that is kept open. `None` where there is no
    /// controller.
    pub(crate) fn memory_peak_bytes(&self) -> io::Result<Option<u64>> {
        let file = self.counters.peak.as_ref().or(self.counters.memory.as_ref());
        file.map(|fd| Ok(number(&read_at_start(fd)?))).transpose()
    }

    /// Starts a new high-water mark, where the kernel can: version 2 from Linux 6.12 on, for the descriptor that asks.
    pub(crate) fn reset_memory_peak(&self) {
        if let Some(peak) = &self.counters.peak {
            // Refused by kernels that can't; the mark then stays the highest since boot.
            let _ = rustix::io::write(peak, b"0");
        }
    }

    /// Stops or continues everything inside; returns when it has.
    pub(crate) fn freeze(&self, frozen: bool) -> io::Result<()> {
        match self.place(Controller::Freezer) {
            Some(Place::V1(directory)) => freeze_v1(directory, frozen),
            Some(Place::V2(directory)) => freeze_v2(directory, frozen),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "no freezer cgroup on this host")),
        }
    }

    /// Removes the directories, waiting for what is dying inside.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.v1.iter().chain(&self.v2).try_for_each(|(_, directory)| remove_emptied(directory))
    }

    /// Whether there is a controller for it.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.place(controller).is_some()
    }

    fn place(&self, controller: Controller) -> Option<Place<'_>> {
        let v1 = self.v1.iter().find(|(controllers, _)| controllers.contains(&controller));
        if let Some((_, directory)) = v1 {
            return Some(Place::V1(directory));
        }
        self.v2.as_ref().filter(|(controllers, _)| controllers.contains(&controller)).map(|(_, d)| Place::V2(d))
    }
}

impl<'a> Place<'a> {
    fn directory(&self) -> &'a Directory {
        match self {
            Self::V1(directory) | Self::V2(directory) => directory,
        }
    }
}

/// Kills what is in the groups below `parents` (directories of several hierarchies that belong together), and removes
/// them. For what an earlier process left: nothing of the calling process may be in there.
pub(crate) fn remove_leftovers(parents: &[PathBuf]) -> io::Result<()> {
    let mut groups = Vec::new();
    for parent in parents {
        groups.append(&mut below(parent)?);
    }
    // All first: what is frozen in one hierarchy can't die in another (version 1).
    for group in &groups {
        let _ = group.write("freezer.state", "THAWED");
    }
    groups.iter().for_each(kill_all);
    groups.iter().try_for_each(remove_emptied)?;
    for parent in parents.iter().filter(|parent| parent.exists()) {
        remove_emptied(&Directory::open(parent.clone())?)?;
    }
    Ok(())
}

fn below(parent: &Path) -> io::Result<Vec<Directory>> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    paths.map(Directory::open).collect()
}

fn kill_all(directory: &Directory) {
    if directory.write("cgroup.kill", "1").is_err() {
        for member in members(directory) {
            let _ = pidfd_send_signal(member, Signal::KILL);
        }
    }
}

fn members(directory: &Directory) -> Vec<OwnedFd> {
    let pids = pids(directory).unwrap_or_default();
    pids.into_iter().filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect()
}

fn pids(directory: &Directory) -> io::Result<Vec<Pid>> {
    let me = rustix::process::getpid();
    let listed = directory.read("cgroup.procs")?;
    Ok(listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).filter(|pid| *pid != me).collect())
}

/// Removes a directory whose processes have been killed, as soon as the last has left.
fn remove_emptied(directory: &Directory) -> io::Result<()> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        match std::fs::remove_dir(directory.path()) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                wait_for_change(directory);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other,
        }
    }
}

/// Waits until a process has left the group, or the kernel says that the group changed. What is left then (a process
/// that is gone but not yet uncharged, on version 1) has no event.
fn wait_for_change(directory: &Directory) {
    let timeout = timespec(SETTLE_TIMEOUT);
    if let Some(member) = members(directory).first() {
        let _ = poll(&mut [PollFd::new(member, PollFlags::IN)], Some(&timeout));
        return;
    }
    std::thread::sleep(NO_EVENT_PAUSE);
}

fn limit_memory_v1(directory: &Directory, bytes: u64) -> io::Result<()> {
    let (memory, with_swap) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    let bytes = bytes.to_string();
    // Memory may never be above memory and swap: when both grow, the second has to go first.
    if directory.write(memory, &bytes).is_err() {
        directory.write_if_there(with_swap, &bytes)?;
        directory.write(memory, &bytes)?;
    }
    // Missing where the kernel doesn't account swap: then the next line keeps the group out of it.
    directory.write_if_there(with_swap, &bytes)?;
    directory.write_if_there("memory.swappiness", "0")
}

fn limit_memory_v2(directory: &Directory, bytes: u64) -> io::Result<()> {
    // Written as it is, a limit below what is in use would kill.
    if number(&directory.read("memory.current")?) > bytes {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    directory.write("memory.max", &bytes.to_string())?;
    directory.write_if_there("memory.swap.max", "0")
}

fn limit_cpu_v1(directory: &Directory, milli_cpus: u32) -> io::Result<()> {
    let quota = quota::quota_us(milli_cpus);
    directory.write("cpu.shares", &quota::shares(milli_cpus).to_string())?;
    // No burst while the quota may become smaller than it.
    directory.write_if_there("cpu.cfs_burst_us", "0")?;
    directory.write("cpu.cfs_period_us", &quota::PERIOD_US.to_string())?;
    directory.write("cpu.cfs_quota_us", &quota.to_string())?;
    directory.write_if_there("cpu.cfs_burst_us", &quota.to_string())
}

fn limit_cpu_v2(directory: &Directory, milli_cpus: u32) -> io::Result<()> {
    let quota = quota::quota_us(milli_cpus);
    directory.write("cpu.weight", &quota::weight(milli_cpus).to_string())?;
    directory.write_if_there("cpu.max.burst", "0")?;
    directory.write("cpu.max", &format!("{quota} {}", quota::PERIOD_US))?;
    directory.write_if_there("cpu.max.burst", &quota.to_string())
}

fn freeze_v1(directory: &Directory, frozen: bool) -> io::Result<()> {
    let state = if frozen { "FROZEN" } else { "THAWED" };
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    directory.write("freezer.state", state)?;
    // Version 1 has no event for this; reading the state is also what completes it.
    while directory.read("freezer.state")?.trim() != state {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(NO_EVENT_PAUSE);
    }
    Ok(())
}

fn freeze_v2(directory: &Directory, frozen: bool) -> io::Result<()> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let events = directory.open_file("cgroup.events")?;
    directory.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
    while (keyed_number(&read_at_start(&events)?, "frozen") == 1) != frozen {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timespec(left)))?;
    }
    Ok(())
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: i64::from(duration.subsec_nanos()) }
}
