//! The whole control plane under calls as a large provider sees them, by workers and by functions.

use anyhow::Result;
use hearth_benches::cores::chance::Chance;
use hearth_benches::cores::cluster::{Cluster, Settings};
use hearth_benches::cores::trace;
use hearth_benches::plot::{Axis, Curve, Plot, Shape};
use hearth_benches::report::{Report, Table};
use hearth_domain::timing::WORKER_REPORT_INTERVAL;
use hearth_placement::ledger::LedgerConfig;
use hearth_protocol::placement::Capacity;
use serde_json::{Value, json};

use super::watch::Watch;
use super::{Options, minutes, names, nanos, pass, thousands};

/// Functions for each worker.
const FUNCTIONS_A_WORKER: usize = 10;
/// Where the number of functions is what changes.
const WORKERS: usize = 1_000;
/// 16 GB, half of it promised twice, and 8 processors.
const CAPACITY: Capacity =
    Capacity { memory_mb: 16_384, promised_memory_mb: 24_576, milli_cpus: 8_000, max_slots: 1_000 };

struct Found {
    workers: usize,
    functions: usize,
    calls: u64,
    seconds: f64,
    cold: u64,
    slots: usize,
    cluster: Cluster,
}

pub(super) fn run(options: &Options, report: &mut Report, watch: &Watch) -> Result<()> {
    report.note(format!(
        "Trace: {} minutes of calls after Shahrad et al. (ATC'20), from nothing warm. A slot is a whole claim: reserve, claim, decision, \
         grant, outcome, in both cores.",
        options.minutes
    ));
    let by_workers = options.workers.iter().map(|workers| call(options, *workers, FUNCTIONS_A_WORKER * workers, watch));
    let by_workers = by_workers.collect::<Result<Vec<_>>>()?;
    tell(report, "The trace by workers, ten functions each", &by_workers);
    report.data("trace_by_workers", by_workers.iter().map(Found::json).collect());
    plot(report, "workers", &by_workers, |found| found.workers);
    drop(by_workers);
    let by_functions = options.functions.iter().map(|functions| call(options, WORKERS, *functions, watch));
    let by_functions = by_functions.collect::<Result<Vec<_>>>()?;
    tell(report, "The trace by functions, 1,000 workers", &by_functions);
    report.data("trace_by_functions", by_functions.iter().map(Found::json).collect());
    plot(report, "functions", &by_functions, |found| found.functions);
    Ok(())
}

fn tell(report: &mut Report, title: &str, found: &[Found]) {
    let row = |found: &Found| {
        let costs = &found.cluster.costs;
        vec![
            thousands(found.workers as f64),
            thousands(found.functions as f64),
            thousands(found.calls as f64 / found.seconds),
            thousands(found.slots as f64),
            format!("{:.1} %", 100.0 * found.cold as f64 / found.calls.max(1) as f64),
            nanos(costs.reserve.quantile_ns(0.5)),
            nanos(costs.reserve.quantile_ns(0.99)),
            thousands(1e9 / (costs.reserve.mean_ns() + costs.complete.mean_ns())),
            nanos(found.slot_ns()),
            thousands(1e9 / found.slot_ns()),
            nanos(found.cluster.fleet().costs.report.mean_ns()),
        ]
    };
    report.table(Table {
        title: title.into(),
        columns: names(&[
            "workers",
            "functions",
            "calls/s",
            "slots",
            "cold",
            "reserve p50",
            "p99",
            "reserve + complete, per core-s",
            "a slot",
            "slots per core-s",
            "a report",
        ]),
        rows: found.iter().map(row).collect(),
    });
}

fn plot(report: &mut Report, name: &'static str, found: &[Found], size: fn(&Found) -> usize) {
    let curve = |name: &str, cost: fn(&Found) -> f64| {
        let points = found.iter().map(|found| (size(found) as f64, cost(found) / 1e3)).collect();
        Curve { name: name.into(), points, shape: Shape::Line }
    };
    let curves = vec![
        curve("reserve", |found| found.cluster.costs.reserve.mean_ns()),
        curve("complete", |found| found.cluster.costs.complete.mean_ns()),
        curve("decision of placement", |found| found.cluster.fleet().costs.claim.mean_ns()),
        curve("a worker's report", |found| found.cluster.fleet().costs.report.mean_ns()),
    ];
    let title = format!("Cost of each call into the cores under the trace, by {name}");
    report.plot(name, Plot { title, x: Axis::log(name), y: "µs of processor time".into(), curves });
}

impl Found {
    /// A slot from the claim to the first call, in both cores.
    fn slot_ns(&self) -> f64 {
        let (router, ledger) = (&self.cluster.costs, &self.cluster.fleet().costs);
        let slots = ledger.granted.things().max(1) as f64;
        let each = |meter: &hearth_benches::cores::meter::Meter| meter.total().as_nanos() as f64 / slots;
        router.reserve.mean_ns() + each(&router.outcome) + each(&ledger.claim) + each(&ledger.granted)
    }

    fn json(&self) -> Value {
        let (router, ledger) = (&self.cluster.costs, &self.cluster.fleet().costs);
        json!({
            "workers": self.workers, "functions": self.functions, "calls": self.calls, "seconds": self.seconds,
            "cold": self.cold, "slots": self.slots,
            "reserve_p50_ns": router.reserve.quantile_ns(0.5), "reserve_p99_ns": router.reserve.quantile_ns(0.99),
            "reserve_mean_ns": router.reserve.mean_ns(), "complete_mean_ns": router.complete.mean_ns(),
            "turn_mean_ns": router.turn.mean_ns(), "outcome_mean_ns": router.outcome.mean_ns(),
            "claim_mean_ns": ledger.claim.mean_ns(), "claim_p99_ns": ledger.claim.quantile_ns(0.99),
            "granted_mean_ns": ledger.granted.mean_ns(), "slot_ns": self.slot_ns(),
            "renew_mean_ns": ledger.renew.mean_ns(), "renewed_mean_ns": router.renewed.mean_ns(),
            "report_mean_ns": ledger.report.mean_ns(), "renewals": ledger.renew.things(),
        })
    }
}

fn call(options: &Options, workers: usize, functions: usize, watch: &Watch) -> Result<Found> {
    watch.part(format!("trace of {functions} functions on {workers} workers"))?;
    let called = trace::functions(functions, trace::Bounds::default(), &mut Chance::from(options.seed));
    let mut cluster = Cluster::new(Settings {
        workers,
        capacity: CAPACITY,
        report_every: WORKER_REPORT_INTERVAL,
        ledger: LedgerConfig::default(),
        router: super::unbounded(),
        functions: called,
        seed: options.seed,
    });
    let duration = minutes(options.minutes);
    pass(&mut cluster, duration, watch)?;
    let (calls, cold) = cluster.calls.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let slots = cluster.fleet().slots();
    Ok(Found { workers, functions, calls, seconds: duration.as_secs_f64(), cold, slots, cluster })
}
