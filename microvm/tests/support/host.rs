//! What a test sees of the host: mounts, cgroups, descriptors.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

/// Longest time for something that happens in the background.
const EVENTUALLY: Duration = Duration::from_secs(20);

pub(crate) fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// The cgroup directories that launchers of this state directory wrote down and that exist.
pub(crate) fn groups(directory: &TempDir) -> Vec<PathBuf> {
    let records = fs::read_dir(directory.path().join("state/groups")).unwrap();
    let lists = records.map(|record| fs::read_to_string(record.unwrap().path()).unwrap());
    let paths = lists.flat_map(|list| list.lines().map(PathBuf::from).collect::<Vec<_>>());
    paths.filter(|path| path.exists()).collect()
}

/// Whether a process lives; one that only waits for the host's init to collect it doesn't.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Waits for something that no event tells a test of.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + EVENTUALLY;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "it does not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What this process holds of the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    descriptors: usize,
    mounts: usize,
    groups: usize,
    children: usize,
}

impl Held {
    pub(crate) fn now(directory: &TempDir) -> Self {
        let below = |path: &PathBuf| {
            fs::read_dir(path).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
        };
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mounts: mounts().lines().count(),
            groups: groups(directory).iter().map(below).sum(),
            children: children.map(|children| children.split_whitespace().count()).sum(),
        }
    }
}
