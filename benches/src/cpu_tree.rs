//! CPU time of process trees to the nanosecond, those that ended included: what short starts need, where [`crate::cpu`] counts
//! in ticks of 10 ms.

use std::fs;
use std::time::Duration;

use crate::memory;

/// What `/proc/PID/stat` counts in, unless the kernel was built otherwise: `USER_HZ` (proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// CPU time that process `root` and all below it have used, with children that have ended. What its own ended children used
/// is known in steps of 10 ms, what lives in nanoseconds.
#[must_use]
pub fn of_tree(root: u32) -> Duration {
    let living = memory::descendants(root).into_iter().map(|(pid, _)| pid).chain([root]);
    living.map(|pid| threads(pid) + ended_children(pid)).sum()
}

/// Of a process's living threads.
fn threads(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| scheduled(&fs::read_to_string(task.path().join("schedstat")).unwrap_or_default())).sum()
}

/// The first number of `schedstat`: nanoseconds on a CPU.
fn scheduled(schedstat: &str) -> Duration {
    Duration::from_nanos(schedstat.split(' ').next().and_then(|number| number.trim().parse().ok()).unwrap_or(0))
}

fn ended_children(pid: u32) -> Duration {
    TICK * children_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default())
}

/// Fields 16 and 17 of `stat`: user and system time of children that were waited for.
fn children_ticks(stat: &str) -> u32 {
    // The command name, in parentheses, may hold anything; field 3 comes after it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    fields.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u32>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        assert_eq!(scheduled("1500000 200 3\n"), Duration::from_micros(1_500));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 200 0 0 11 12 30 4 20 0 1 0 5 6 7";
        assert_eq!(children_ticks(stat), 34);
    }

    #[test]
    fn what_is_used_is_counted() {
        let before = of_tree(std::process::id());
        let mut sum = 0_u64;
        while of_tree(std::process::id()) < before + Duration::from_millis(20) {
            sum = (0..1_000_000).fold(sum, |sum: u64, number| sum.wrapping_mul(31).wrapping_add(number));
        }
        assert!(sum != 1);
    }
}
