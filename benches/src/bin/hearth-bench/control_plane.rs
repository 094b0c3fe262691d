//! The control plane without machines under it: what routing, leases and placement cost by themselves, how that grows with
//! workers, functions and slots, and what keep-alive is worth. The cores are the real ones; see [`hearth_benches::cores`].

mod decisions;
mod keep_alive;
mod trace;
mod upkeep;
mod watch;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use hearth_benches::cores::cluster::Cluster;
use hearth_benches::report::Report;
use hearth_worker_manager::router::RouterConfig;
use serde_json::json;

use watch::Watch;

/// What to simulate.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Sizes of the fleet, each in turn
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "10,100,1000,10000",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=16_384))]
    workers: Vec<usize>,
    /// Numbers of functions, each in turn, on 1,000 workers
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000,10000,100000",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=160_000))]
    functions: Vec<usize>,
    /// Slots whose leases are kept, each in turn
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000,10000,100000",
          value_parser = RangedU64ValueParser::<usize>::new().range(100..=160_000))]
    slots: Vec<usize>,
    /// How long the trace runs for each of these, minutes of virtual time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    /// How long keep-alive is watched, hours of virtual time
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=240))]
    hours: u32,
    /// What all randomness comes from
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
}

/// Runs everything. All of it computes and waits for nothing, so it has a thread of its own.
pub(crate) async fn run(options: &Options) -> Result<Report> {
    let parts = options.slots.len() + 2 * options.workers.len() + options.functions.len() + keep_alive::RUNS;
    let (watch, wanted) = Watch::of("control plane", parts as u64);
    let options = options.clone();
    let report = tokio::task::spawn_blocking(move || simulate(&options, &watch)).await?;
    drop(wanted);
    report
}

fn simulate(options: &Options, watch: &Watch) -> Result<Report> {
    let mut report = Report::new(
        "control-plane",
        json!({
            "workers": options.workers, "functions": options.functions, "slots": options.slots,
            "minutes": options.minutes, "hours": options.hours, "seed": options.seed,
        }),
    );
    report.note(
        "The router of the worker manager and the ledger of placement, over simulated workers in virtual time. Each figure is \
         processor time of calls into these cores, on one core; simulation, network, protocol and sandboxes are not in it.",
    );
    upkeep::run(options, &mut report, watch)?;
    decisions::run(options, &mut report, watch)?;
    trace::run(options, &mut report, watch)?;
    keep_alive::run(options, &mut report, watch)?;
    Ok(report)
}

/// The usual settings, with bounds that no trace meets.
fn unbounded() -> RouterConfig {
    const BOUND: u32 = 10_000_000;
    RouterConfig { account_concurrency: BOUND, max_waiters: BOUND as usize, ..RouterConfig::default() }
}

/// Lets so much virtual time pass, as long as somebody waits for it.
fn pass(cluster: &mut Cluster, duration: Duration, watch: &Watch) -> Result<()> {
    const SLICES: u32 = 60;
    (0..SLICES).try_for_each(|_| {
        cluster.run(duration / SLICES);
        watch.look()
    })
}

fn minutes(count: u32) -> Duration {
    Duration::from_secs(60 * u64::from(count))
}

/// Nanoseconds for people.
fn nanos(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.0} ns") } else { format!("{:.1} µs", value / 1e3) }
}

/// Large numbers for people.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([1.0, 999.0, 1_000.0, 1_234_567.0].map(thousands), ["1", "999", "1,000", "1,234,567"]);
        assert_eq!((nanos(153.2), nanos(12_345.0)), ("153 ns".to_owned(), "12.3 µs".to_owned()));
    }

    /// Small, but everything is in it.
    #[tokio::test]
    async fn a_report_has_every_part() {
        let (workers, functions, slots) = (vec![10, 20], vec![50], vec![100]);
        let options = Options { workers, functions, slots, minutes: 1, hours: 1, seed: 7 };
        let out = tempfile::tempdir().unwrap();
        run(&options).await.unwrap().write(out.path()).unwrap();
        let json = std::fs::read_to_string(out.path().join("control-plane.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        for part in ["upkeep", "decisions", "trace_by_workers", "trace_by_functions", "keep_alive"] {
            assert!(json["found"][part].is_array(), "{part}: {json}");
        }
        assert_eq!(json["found"]["decisions"][1]["refused"], json["found"]["decisions"][1]["full_claims"]);
    }
}
