//! What idle slots cost: leases renewed, workers reporting, memory. No calls.

use std::time::Duration;

use anyhow::{Context, Result};
use hearth_benches::cores::cluster::{Cluster, Settings};
use hearth_benches::cores::fixture;
use hearth_benches::plot::{Axis, Curve, Plot, Shape};
use hearth_benches::report::{Report, Table};
use hearth_domain::timing::WORKER_REPORT_INTERVAL;
use hearth_placement::ledger::LedgerConfig;
use serde_json::{Value, json};

use super::watch::Watch;
use super::{Options, names, pass, thousands};

/// Slots a worker has.
const SLOTS_A_WORKER: usize = 10;
/// Before anything is measured renewals come as they will.
const SETTLING: Duration = Duration::from_secs(10);
/// Each lease is renewed four times in it.
const WATCHED: Duration = Duration::from_secs(20);

struct Found {
    slots: usize,
    workers: usize,
    renewals_per_second: f64,
    /// Of one core.
    router: f64,
    ledger: f64,
    reports: f64,
    worker_bytes: f64,
    slot_bytes: f64,
}

pub(super) fn run(options: &Options, report: &mut Report, watch: &Watch) -> Result<()> {
    let found: Vec<_> = options.slots.iter().map(|slots| look(*slots, options.seed, watch)).collect::<Result<_>>()?;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let row = |found: &Found| {
        vec![
            thousands(found.slots as f64),
            thousands(found.renewals_per_second),
            percent(found.router),
            percent(found.ledger),
            percent(found.router + found.ledger),
            percent(found.reports),
            format!("{:.1} KiB", found.slot_bytes / 1_024.0),
            format!("{:.1} KiB", found.worker_bytes / 1_024.0),
        ]
    };
    report.table(Table {
        title: "Upkeep of idle slots, ten a worker, as shares of one core".into(),
        columns: names(&[
            "slots",
            "renewals/s",
            "worker manager",
            "placement",
            "leases together",
            "reports",
            "memory a slot",
            "a worker",
        ]),
        rows: found.iter().map(row).collect(),
    });
    report.note(
        "Workers report twice a second, with all their slots. Memory is the whole process's, the simulated workers' books included.",
    );
    let points = found.iter().map(|found| (found.slots as f64, 100.0 * (found.router + found.ledger))).collect();
    report.plot(
        "upkeep",
        Plot {
            title: "Upkeep of leases, by slots".into(),
            x: Axis::log("idle slots"),
            y: Axis::log("% of one core"),
            curves: vec![Curve { name: "worker manager and placement".into(), points, shape: Shape::Line }],
        },
    );
    report.data("upkeep", found.iter().map(Found::json).collect());
    Ok(())
}

impl Found {
    fn json(&self) -> Value {
        json!({
            "slots": self.slots, "workers": self.workers, "renewals_per_second": self.renewals_per_second,
            "router_share": self.router, "ledger_share": self.ledger, "reports_share": self.reports,
            "bytes_a_slot": self.slot_bytes, "bytes_a_worker": self.worker_bytes,
        })
    }
}

fn look(slots: usize, seed: u64, watch: &Watch) -> Result<Found> {
    watch.part(format!("upkeep of {slots} slots"))?;
    let workers = slots / SLOTS_A_WORKER;
    let at_first = resident_bytes()?;
    let mut cluster = Cluster::new(Settings {
        workers,
        capacity: fixture::room_for(2 * SLOTS_A_WORKER as u32),
        report_every: WORKER_REPORT_INTERVAL,
        ledger: LedgerConfig::default(),
        router: super::unbounded(),
        functions: Vec::new(),
        seed,
    });
    let with_workers = resident_bytes()?;
    cluster.warm_up(slots);
    let with_slots = resident_bytes()?;
    pass(&mut cluster, SETTLING, watch)?;
    let before = spent(&cluster);
    pass(&mut cluster, WATCHED, watch)?;
    let after = spent(&cluster);
    let share = |kind: usize| (after[kind] - before[kind]) / WATCHED.as_secs_f64();
    Ok(Found {
        slots,
        workers,
        renewals_per_second: share(3),
        router: share(0),
        ledger: share(1),
        reports: share(2),
        worker_bytes: (with_workers - at_first) / workers as f64,
        slot_bytes: (with_slots - with_workers) / slots as f64,
    })
}

/// Seconds: of the router and of the ledger for leases, of the ledger for reports; and how many leases were renewed.
fn spent(cluster: &Cluster) -> [f64; 4] {
    let (router, ledger) = (&cluster.costs, &cluster.fleet().costs);
    let seconds = |time: Duration| time.as_secs_f64();
    [
        seconds(router.turn.total()) + seconds(router.renewed.total()),
        seconds(ledger.renew.total()) + seconds(ledger.deadline.total()),
        seconds(ledger.report.total()),
        ledger.renew.things() as f64,
    ]
}

/// Of this process.
fn resident_bytes() -> Result<f64> {
    let path = "/proc/self/statm";
    let statm = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let pages: f64 = statm.split(' ').nth(1).with_context(|| format!("{path} is too short"))?.parse()?;
    Ok(pages * rustix::param::page_size() as f64)
}
