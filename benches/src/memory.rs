//! Proportional set sizes of process trees.

use std::collections::HashMap;
use std::fs;

/// PSS of one process, KiB; zero if it is gone.
pub(crate) fn pss_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0)
}

/// Every descendant of `root`, with its command line's first word.
pub(crate) fn descendants(root: u32) -> Vec<(u32, String)> {
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
