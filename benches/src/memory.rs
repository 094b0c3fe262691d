//! Memory of processes and of process trees, as the kernel counts it.

use std::collections::HashMap;
use std::fs;

/// PSS of one process, KiB; zero if it is gone.
#[must_use]
pub fn pss_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    rollup.lines().map(|line| field(line, "Pss:")).sum()
}

/// Memory of one process or of several, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resident {
    /// Its share of all pages it has: private ones, and shared ones divided by how many share them.
    pub pss: u64,
    /// Pages that only it has.
    pub private: u64,
    /// Pages that others have, too; counted for each of them.
    pub shared: u64,
    /// The private ones that are not a guest's memory: the process's own.
    pub own: u64,
}

impl std::ops::Add for Resident {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            pss: self.pss + other.pss,
            private: self.private + other.private,
            shared: self.shared + other.shared,
            own: self.own + other.own,
        }
    }
}

/// The program that runs a microVM: no file of a guest's.
const VMM: &str = "/hearth-vmm";

/// Memory of process `pid`; nothing if it is gone. If it runs a microVM, its guest has `guest_bytes`.
#[must_use]
pub fn resident(pid: u32, guest_bytes: u64) -> Resident {
    split(&fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default(), guest_bytes)
}

/// Adds up `/proc/PID/smaps` (proc(5)). A guest's memory begins with the first writable mapping of a file that is not
/// the program; what follows may be mapped piece by piece, and where the file has holes without it.
fn split(smaps: &str, guest_bytes: u64) -> Resident {
    let (mut sum, mut guest, mut is_guest) = (Resident::default(), None, false);
    for line in smaps.lines() {
        if let Some((start, is_writable_file)) = mapping(line) {
            if is_writable_file && guest.is_none() {
                guest = Some(start..start.saturating_add(guest_bytes));
            }
            is_guest = guest.as_ref().is_some_and(|guest| guest.contains(&start));
        }
        let private = field(line, "Private_Clean:") + field(line, "Private_Dirty:");
        sum.pss += field(line, "Pss:");
        sum.private += private;
        sum.shared += field(line, "Shared_Clean:") + field(line, "Shared_Dirty:");
        sum.own += if is_guest { 0 } else { private };
    }
    sum
}

/// Of the line that begins a mapping: where it starts, and whether it is a writable one of a file but the program's.
fn mapping(line: &str) -> Option<(u64, bool)> {
    let mut words = line.split_ascii_whitespace();
    let start = u64::from_str_radix(words.next()?.split_once('-')?.0, 16).ok()?;
    let is_writable = words.next()?.starts_with("rw");
    let path = words.nth(3).unwrap_or_default();
    Some((start, is_writable && path.starts_with('/') && !path.ends_with(VMM)))
}

/// The KiB of a line that begins with `name`; zero for another.
fn field(line: &str, name: &str) -> u64 {
    let value = line.strip_prefix(name).and_then(|rest| rest.trim().strip_suffix(" kB"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// The first word of its command line.
    pub command: String,
}

/// Every descendant of `root`, with its command line's first word.
#[must_use]
pub fn descendants(root: u32) -> Vec<(u32, String)> {
    processes_below(root).into_iter().map(|process| (process.pid, process.command)).collect()
}

/// Every descendant of `root`, parents before their children.
#[must_use]
pub fn processes_below(root: u32) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The command name, in parentheses, may hold anything; the parent is the second field after it.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for &pid in children.get(&parent).into_iter().flatten() {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
            found.push(Process { pid, parent, command: String::from_utf8_lossy(first).into_owned() });
            open.push(pid);
        }
    }
    found
}

/// Files that a process has open; zero if it is gone.
#[must_use]
pub fn open_files(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64)
}

/// Threads of a process; zero if it is gone.
#[must_use]
pub fn threads(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |threads| threads.count() as u64)
}

/// Files that a process may have open; zero if it is gone.
#[must_use]
pub fn open_files_max(pid: u32) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

/// Memory of the whole machine, KiB.
#[must_use]
pub fn total_kib() -> u64 {
    machine("MemTotal:")
}

/// What the whole machine can give without pushing anything out, KiB.
#[must_use]
pub fn available_kib() -> u64 {
    machine("MemAvailable:")
}

/// How much of the machine's memory is in use, percent.
#[must_use]
pub fn used_percent() -> u32 {
    let total = total_kib().max(1);
    (total.saturating_sub(available_kib()) * 100 / total) as u32
}

fn machine(name: &str) -> u64 {
    fs::read_to_string("/proc/meminfo").unwrap_or_default().lines().map(|line| field(line, name)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_memory_is_not_the_process_own() {
        let mapping = |head: &str, private: u64| {
            format!(
                "{head}\nSize: 4 kB\nPss: 10 kB\nShared_Clean: 4 kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: {private} kB\n"
            )
        };
        let smaps = [
            mapping("5000-6000 rw-p 00000000 00:00 0    [heap]", 1),
            mapping("10000-14000 rw-p 00000000 00:18 12    /state/snapshot/memory", 20),
            mapping("14000-18000 rw-p 00000000 00:00 0", 300),
            mapping("18000-1c000 rw-p 00008000 00:18 12    /state/snapshot/memory", 4000),
            mapping("1c000-1d000 r-xp 00000000 fe:00 30    /bin/hearth-vmm", 50_000),
            mapping("1d000-1e000 rw-p 00000000 fe:00 30    /bin/hearth-vmm", 600_000),
        ];
        let all = Resident { pss: 60, private: 654_321, shared: 24, own: 650_001 };
        assert_eq!(split(&smaps.concat(), 0xc000), all);
        assert_eq!(split(&smaps.concat(), 0).own, 654_321);
        assert!(resident(std::process::id(), 0).pss > 0);
    }

    #[test]
    fn the_machine_tells_what_it_has() {
        let own = std::process::id();
        assert!(threads(own) > 0 && threads(0) == 0);
        assert!(total_kib() > available_kib() && used_percent() < 100);
        assert!((3..open_files_max(own)).contains(&open_files(own)));
        let parent = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get().unsigned_abs());
        let own_process = |process: &Process| process.pid == own && process.parent == parent;
        assert!(processes_below(parent).iter().any(own_process));
        assert_eq!(resident(0, 1), Resident::default());
    }
}
