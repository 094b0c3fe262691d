//! CPU time of processes, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::memory::descendants;

/// What a jail shows the shim as.
pub const JAILED_SHIM: &str = "/run/hearth/init";

/// What processes a platform on this machine consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// `hearth up` itself: all roles.
    Platform,
    /// The first process of each sandbox.
    Shims,
    /// The monitors of microVMs, with all that runs in those.
    Machines,
    /// Runtimes and functions.
    Runtimes,
}

impl Group {
    /// All.
    pub const ALL: [Self; 4] = [Self::Platform, Self::Shims, Self::Machines, Self::Runtimes];

    /// As the tables name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "hearth",
            Self::Shims => "shims",
            Self::Machines => "microVMs",
            Self::Runtimes => "runtimes",
        }
    }

    /// By the program's path.
    fn of(program: &str) -> Self {
        if program == JAILED_SHIM {
            return Self::Shims;
        }
        match Path::new(program).file_name().and_then(|name| name.to_str()) {
            Some("hearth") => Self::Platform,
            Some("hearth-shim") => Self::Shims,
            Some("hearth-vmm") => Self::Machines,
            _ => Self::Runtimes,
        }
    }
}

/// CPU time by group, in the order of [`Group::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used(pub [Duration; Group::ALL.len()]);

impl Used {
    /// What process `root` and all below it have used so far. Those that ended are not in it.
    #[must_use]
    pub fn of_tree(root: u32) -> Self {
        let mut used = Self::default();
        let tree = std::iter::once((root, "hearth".to_owned())).chain(descendants(root));
        for (pid, program) in tree {
            used.0[Group::of(&program) as usize] += of_process(pid);
        }
        used
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let mut used = self;
        for (now, before) in used.0.iter_mut().zip(earlier.0) {
            *now = now.saturating_sub(before);
        }
        used
    }

    /// By all groups.
    #[must_use]
    pub fn sum(self) -> Duration {
        self.0.into_iter().sum()
    }
}

/// What one process has used so far with all its threads, also those that ended; zero if it is gone.
#[must_use]
pub fn of_process(pid: u32) -> Duration {
    read(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()).unwrap_or_default()
}

/// Of `/proc/PID/stat` (proc(5)): user and system time, the 14th and 15th field, in ticks.
fn read(stat: &str) -> Option<Duration> {
    // The command name, in parentheses, may hold anything; the state is the first field after it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest.split(' ').skip(11);
    let ticks: u64 = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_nanos(ticks.saturating_mul(1_000_000_000) / per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn times_of_a_process_stand_behind_its_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 130 20 5 6 20 0 1 0 100 1 1";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(read(stat), Some(Duration::from_nanos(150 * 1_000_000_000 / ticks)));
        assert_eq!((read("7 (a"), read("")), (None, None));
        assert_eq!(of_process(0), Duration::ZERO);
    }

    #[test]
    fn what_is_burnt_is_counted() {
        let own = std::process::id();
        let (before, begun) = (of_process(own), Instant::now());
        // Ticks are ten milliseconds.
        while of_process(own) < before + Duration::from_millis(50) {
            assert!(begun.elapsed() < Duration::from_secs(60), "a minute of work was not counted");
        }
        let tree = Used::of_tree(own);
        assert!(tree.sum() >= before + Duration::from_millis(50) && tree.0[Group::Platform as usize] > before);
        assert_eq!(tree.since(tree).sum(), Duration::ZERO);
    }

    #[test]
    fn programs_have_their_groups() {
        let groups = ["/opt/hearth", "/jail/hearth-shim", "hearth-vmm", "/usr/bin/python3", ""].map(Group::of);
        assert_eq!(groups[..4], Group::ALL);
        assert_eq!((groups[4], Group::of("/run/hearth/init")), (Group::Runtimes, Group::Shims));
    }
}
