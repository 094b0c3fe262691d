//! What ends the growth of a machine: everything that a slot takes of which there is only so much. Not what the platform was
//! told for the measurement, but what it has when it is told nothing.

use std::fs;

use hearth_benches::memory;
use hearth_benches::report::Table;
use hearth_placement::allocation::RESERVED_CPU_DEFAULT_PERCENT;
use hearth_worker::config::{MAX_SLOTS_DEFAULT, MEMORY_OVERCOMMIT_DEFAULT_PERCENT};

use super::growth::Growth;

/// Memory control groups have numbers of 16 bits (`MEM_CGROUP_ID_MAX`, mm/memcontrol.c), whatever the version of cgroups.
const MEMORY_CGROUPS_MAX: u64 = 65_535;
/// What a worker leaves to the host, MB.
const HOST_RESERVE_MB: u64 = 512;
/// The memory that buys one whole CPU at Lambda, MB.
const ONE_CPU_MB: f64 = hearth_benches::function::ONE_CPU_MB as f64;

/// One thing of which there is only so much.
#[derive(Debug)]
struct Limit {
    what: &'static str,
    there_is: f64,
    a_slot_takes: f64,
    unit: &'static str,
    told_by: &'static str,
}

impl Limit {
    fn slots(&self) -> f64 {
        self.there_is / self.a_slot_takes
    }
}

/// By how many slots each of them allows, the narrowest first.
pub(super) fn table(growth: &Growth, memory_mb: u32) -> Option<Table> {
    let (count, last) = growth.last();
    if count == 0 {
        return None;
    }
    let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / f64::from(count);
    let before = growth.before;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let host_mb = (memory::total_kib() / 1024).saturating_sub(HOST_RESERVE_MB) as f64;
    let limit = |what, there_is, a_slot_takes, unit, told_by| Limit { what, there_is, a_slot_takes, unit, told_by };
    let mut limits = vec![
        limit(
            "CPU promised",
            cpus * f64::from(RESERVED_CPU_DEFAULT_PERCENT) / 100.0,
            f64::from(memory_mb) / ONE_CPU_MB,
            "CPUs",
            "--cpu-overcommit-percent",
        ),
        limit(
            "memory promised",
            host_mb * f64::from(MEMORY_OVERCOMMIT_DEFAULT_PERCENT) / 100.0,
            f64::from(memory_mb),
            "MB",
            "--memory-overcommit-percent",
        ),
        limit("slots of a worker", f64::from(MAX_SLOTS_DEFAULT), 1.0, "slots", "--max-slots"),
        limit(
            "memory that was there",
            before.available as f64,
            each(last.memory.sum(), before.memory.sum()),
            "KiB",
            "the machine",
        ),
        limit(
            "processes and threads",
            kernel("pid_max"),
            each(last.threads, before.threads),
            "of them",
            "kernel.pid_max",
        ),
        limit(
            "open files of hearth",
            growth.open_files_max as f64,
            each(last.open_files, before.open_files),
            "files",
            "ulimit -n",
        ),
        limit("memory control groups", MEMORY_CGROUPS_MAX as f64, 1.0, "groups", "the kernel"),
    ];
    limits.retain(|limit| limit.a_slot_takes > 0.0 && limit.there_is > 0.0);
    limits.sort_by(|a, b| a.slots().total_cmp(&b.slots()));
    let row = |limit: &Limit| {
        let Limit { what, there_is, a_slot_takes, unit, told_by } = limit;
        let cells = [format!("{there_is:.0} {unit}"), format!("{a_slot_takes:.2}"), format!("{:.0}", limit.slots())];
        [(*what).to_owned()].into_iter().chain(cells).chain([(*told_by).to_owned()]).collect()
    };
    Some(Table {
        title: format!(
            "{} {}: how many slots each thing allows when a platform is told nothing",
            growth.isolation,
            growth.language.name()
        ),
        columns: ["what there is only so much of", "there is", "a slot takes", "slots", "set by"]
            .map(str::to_owned)
            .into(),
        rows: limits.iter().map(row).collect(),
    })
}

/// A number of `/proc/sys/kernel`; zero if it is not told.
fn kernel(name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    text.trim().parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::account::{Look, Memory};
    use super::super::growth::Again;
    use super::*;
    use hearth_benches::function::Language;

    #[test]
    fn the_narrowest_comes_first() {
        let look = |slots: u64| Look {
            memory: Memory { keeper: slots * 1_024, ..Memory::default() },
            sandboxes: slots,
            threads: slots * 2,
            open_files: 50 + slots,
            available: 1_000_000,
        };
        let growth = Growth {
            language: Language::Python,
            isolation: "jail".into(),
            before: look(1),
            points: vec![(5, look(6)), (10, look(11))],
            first_calls: Vec::new(),
            stopped: String::new(),
            again: Again::default(),
            open_files_max: 100,
        };
        let table = table(&growth, 128).unwrap();
        assert_eq!(table.rows[0], ["open files of hearth", "100 files", "1.00", "100", "ulimit -n"]);
        let memory = table.rows.iter().find(|row| row[0] == "memory that was there").unwrap();
        assert_eq!(memory[2..4], ["1024.00", "977"]);
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
        assert!(super::table(&Growth { points: Vec::new(), ..growth }, 128).is_none());
    }
}
