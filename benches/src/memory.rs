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
    /// The private ones outside mappings of at least `large_kib`, which are a guest's memory: the process's own.
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

/// Memory of process `pid`; nothing if it is gone.
#[must_use]
pub fn resident(pid: u32, large_kib: u64) -> Resident {
    split(&fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default(), large_kib)
}

/// Adds up `/proc/PID/smaps` (proc(5)): a line `Size:` begins what is told of a mapping.
fn split(smaps: &str, large_kib: u64) -> Resident {
    let (mut sum, mut is_large) = (Resident::default(), false);
    for line in smaps.lines() {
        if line.starts_with("Size:") {
            is_large = field(line, "Size:") >= large_kib;
        }
        let private = field(line, "Private_Clean:") + field(line, "Private_Dirty:");
        sum.pss += field(line, "Pss:");
        sum.private += private;
        sum.shared += field(line, "Shared_Clean:") + field(line, "Shared_Dirty:");
        sum.own += if is_large { 0 } else { private };
    }
    sum
}

/// The KiB of a line that begins with `name`; zero for another.
fn field(line: &str, name: &str) -> u64 {
    let value = line.strip_prefix(name).and_then(|rest| rest.trim().strip_suffix(" kB"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Every descendant of `root`, with its command line's first word.
#[must_use]
pub fn descendants(root: u32) -> Vec<(u32, String)> {
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
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            let command = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
            found.push((child, String::from_utf8_lossy(first).into_owned()));
            open.push(child);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_memory_is_not_the_process_own() {
        let smaps = "7f00-7f10 rw-p 00000000 00:01 12 /guest\nSize: 131072 kB\nRss: 300 kB\nPss: 200 kB\n\
            Shared_Clean: 100 kB\nShared_Dirty: 0 kB\nPrivate_Clean: 50 kB\nPrivate_Dirty: 100 kB\n\
            7f20-7f30 r-xp 00000000 00:01 13 /vmm\nSize: 64 kB\nPss: 9 kB\nShared_Clean: 4 kB\nPrivate_Dirty: 8 kB\n";
        assert_eq!(split(smaps, 65536), Resident { pss: 209, private: 158, shared: 104, own: 8 });
        assert_eq!(split(smaps, u64::MAX).own, 158);
        assert!(resident(std::process::id(), u64::MAX).pss > 0);
        assert_eq!(resident(0, 1), Resident::default());
    }
}
