//! What following each function's own history is worth, against ten minutes for all.

use std::time::Duration;

use anyhow::Result;
use hearth_benches::cores::chance::Chance;
use hearth_benches::cores::cluster::{Cluster, Settings};
use hearth_benches::cores::trace;
use hearth_benches::report::{Report, Table};
use hearth_domain::LeaseTerms;
use hearth_placement::ledger::LedgerConfig;
use hearth_protocol::placement::Capacity;
use hearth_worker_manager::keep_alive::KeepAliveConfig;
use hearth_worker_manager::router::RouterConfig;
use serde_json::{Value, json};

use super::watch::Watch;
use super::{Options, minutes, names, pass};

/// How many are compared.
pub(super) const RUNS: usize = 4;
const FUNCTIONS: usize = 1_000;
/// Calls that come faster than this are hardly cold under any policy; they would only take time.
const PER_SECOND_MAX: f64 = 0.1;
/// So few calls at a time on average that hardly two run at once: what the paper looks at.
const ALONE: f64 = 0.05;
/// One worker that is never full: what is compared is the windows.
const CAPACITY: Capacity =
    Capacity { memory_mb: 1 << 30, promised_memory_mb: 1 << 30, milli_cpus: 1 << 30, max_slots: 1_000_000 };
const FIXED: Duration = Duration::from_secs(600);

struct Found {
    policy: &'static str,
    calls: u64,
    cold: u64,
    /// The share of cold calls that a quarter of the functions exceed, and half of them.
    third_quartile: f64,
    median: f64,
    idle_gb_seconds: f64,
}

pub(super) fn run(options: &Options, report: &mut Report, watch: &Watch) -> Result<()> {
    let fixed = KeepAliveConfig { min: FIXED, default: FIXED, max: FIXED, ..KeepAliveConfig::default() };
    let runs = [
        ("one call at a time: 10 minutes", ALONE, fixed.clone()),
        ("one call at a time: its own history", ALONE, KeepAliveConfig::default()),
        ("calls side by side: 10 minutes", trace::CONCURRENT_MAX, fixed),
        ("calls side by side: its own history", trace::CONCURRENT_MAX, KeepAliveConfig::default()),
    ];
    debug_assert_eq!(runs.len(), RUNS);
    let found = runs.map(|(policy, concurrent_max, keep_alive)| {
        let bounds = trace::Bounds { per_second_max: PER_SECOND_MAX, concurrent_max };
        look(options, policy, bounds, keep_alive, watch)
    });
    let found = found.into_iter().collect::<Result<Vec<_>>>()?;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let row = |(number, policy): (usize, &Found)| {
        // Each stands beside the fixed window of its kind.
        let fixed = &found[number & !1];
        vec![
            policy.policy.to_owned(),
            format!("{:.2} %", 100.0 * policy.cold as f64 / policy.calls as f64),
            percent(policy.median),
            percent(policy.third_quartile),
            format!("{:.0}", policy.idle_gb_seconds),
            format!("{:.2}", policy.idle_gb_seconds / fixed.idle_gb_seconds),
        ]
    };
    report.table(Table {
        title: "Keep-alive".into(),
        columns: names(&[
            "window",
            "cold calls",
            "of a function: median",
            "third quartile",
            "idle GB-s",
            "against fixed",
        ]),
        rows: found.iter().enumerate().map(row).collect(),
    });
    report.note(format!(
        "{FUNCTIONS} functions over {} hours, the frequent ones called every ten seconds on average at most. Functions called once are \
         cold whatever is done; those called less than once an hour can only be kept warm in vain. Side by side, a burst needs \
         as many slots as it has calls, and what is kept for the next burst decides.",
        options.hours
    ));
    report.data("keep_alive", found.iter().map(Found::json).collect());
    Ok(())
}

impl Found {
    fn json(&self) -> Value {
        json!({
            "policy": self.policy, "calls": self.calls, "cold": self.cold, "median_cold_share": self.median,
            "third_quartile_cold_share": self.third_quartile, "idle_gb_seconds": self.idle_gb_seconds,
        })
    }
}

fn look(
    options: &Options,
    policy: &'static str,
    bounds: trace::Bounds,
    keep_alive: KeepAliveConfig,
    watch: &Watch,
) -> Result<Found> {
    watch.part(format!("keep-alive over {} hours: {policy}", options.hours))?;
    let mut cluster = Cluster::new(Settings {
        workers: 1,
        capacity: CAPACITY,
        report_every: minutes(10),
        ledger: patient(),
        router: RouterConfig { keep_alive, ..super::unbounded() },
        functions: trace::functions(FUNCTIONS, bounds, &mut Chance::from(options.seed)),
        seed: options.seed,
    });
    pass(&mut cluster, minutes(60 * options.hours), watch)?;
    let mut shares: Vec<_> = cluster.calls.iter().filter(|(calls, _)| *calls > 0).map(share).collect();
    shares.sort_unstable_by(f64::total_cmp);
    let quantile = |part: f64| shares.get((shares.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    Ok(Found {
        policy,
        calls: cluster.calls.iter().map(|(calls, _)| calls).sum(),
        cold: cluster.calls.iter().map(|(_, cold)| cold).sum(),
        third_quartile: quantile(0.75),
        median: quantile(0.5),
        idle_gb_seconds: cluster.idle_gb_seconds(),
    })
}

fn share((calls, cold): &(u64, u64)) -> f64 {
    *cold as f64 / *calls as f64
}

/// Leases and reports are not what is looked at: they are made rare.
fn patient() -> LedgerConfig {
    LedgerConfig {
        terms: LeaseTerms::new(minutes(5), minutes(15), minutes(20)),
        avoided_after: minutes(30),
        lost_after: minutes(60),
        ..LedgerConfig::default()
    }
}
