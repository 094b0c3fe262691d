//! What the runs were like, told.

use hdrhistogram::Histogram;
use hearth_benches::cpu::Group;
use hearth_benches::function::Language;
use hearth_benches::phases::{NAMES, Phases};
use hearth_benches::plot::{Axis, Bars, Curve, Plot, Shape};
use hearth_benches::report::{Report, Table};
use serde_json::{Value, json};

use super::load::{Loop, Run};
use super::size::Size;

/// This program's part of the CPU time of all from which on it is said to be in the way.
const IN_THE_WAY: f64 = 0.5;
/// Shares of calls whose times are told.
const SHARES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// Of one runtime and size.
pub(super) struct Found {
    pub(super) language: Language,
    pub(super) size: Size,
    /// Calls one after the other.
    pub(super) phases: Phases,
    pub(super) runs: Vec<Run>,
}

pub(super) fn report(asked: Value, isolation: &str, costs_are_known: bool, all: &[Found]) -> Report {
    let mut report = Report::new("warm", asked);
    report.note(format!(
        "An echo called through the public API, every request signed and checked; isolation: {isolation}. `closed`: so many \
         callers each wait for their answer. `open`: calls come evenly at the rate whether or not earlier ones are answered, \
         over as many connections, and each counts from when it was due. Times are the client's. CPU per call is that of all \
         processes of the platform; this program's own stands beside it, on the same machine, and takes from what the \
         platform could have."
    ));
    if !costs_are_known {
        report.note("What a platform that runs elsewhere costs is not known here.");
    }
    for found in all {
        report.table(found.table());
        found.warnings().into_iter().for_each(|warning| report.note(warning));
    }
    report.note(
        "The bars: where the time of a call goes that meets no other, on average. `admit` and `reply` are the frontend's, \
         `route` the worker manager's, `dispatch` the way to the worker and back, `handler` the way from there to the \
         function and back and what it does itself, `client` the connection, HTTP on both its ends and the client.",
    );
    report.bars("phases", shares(all));
    if costs_are_known {
        report.bars("cpu", costs(all));
    }
    report.plot("latency", latencies(all));
    report.data("runs", all.iter().flat_map(Found::json).collect());
    report.data("phases", all.iter().map(Found::phases_json).collect());
    report
}

impl Found {
    fn name(&self) -> String {
        format!("{}, {}", self.language.name(), self.size)
    }

    fn table(&self) -> Table {
        let columns = ["loop", "calls/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "CPU/call ms"];
        let columns = columns.into_iter().chain(Group::ALL.map(Group::name)).chain(["this program"]);
        let rows = self.runs.iter().map(row).collect();
        Table { title: self.name(), columns: columns.map(str::to_owned).collect(), rows }
    }

    /// What makes figures mean less than they seem to.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for run in &self.runs {
            let name = name(run);
            if run.unsent > 0 {
                warnings.push(format!(
                    "{name}: {} calls were not sent in twice the time: that is more than it can do.",
                    run.unsent
                ));
            }
            let share = run.used.map(|used| run.own.as_secs_f64() / (run.own + used.sum()).as_secs_f64().max(1e-9));
            if let Some(share) = share.filter(|share| *share > IN_THE_WAY) {
                warnings.push(format!(
                    "{name}: {:.0} % of the CPU time was this program's: it was in the way.",
                    share * 100.0
                ));
            }
        }
        let late: Vec<String> = self.runs.iter().filter(|run| !run.late.is_empty()).map(lateness).collect();
        if !late.is_empty() {
            warnings.push(format!(
                "Of the times of open loops this much is this program waking up late: {}.",
                late.join("; ")
            ));
        }
        warnings
    }

    fn json(&self) -> impl Iterator<Item = Value> {
        self.runs.iter().map(|run| {
            let used = run.used.map(|used| {
                let of = |group: Group| (group.name().to_owned(), json!(per_call_ms(run, used.0[group as usize].as_secs_f64())));
                Group::ALL.map(of).into_iter().collect::<serde_json::Map<_, _>>()
            });
            let rate = if let Loop::Open { rate } = run.pace { Some(rate) } else { None };
            let [p50, p90, p99, p999, max] = SHARES.map(|share| ms_at(&run.latency, share));
            json!({"runtime": self.language.name(), "payload_bytes": self.size.0, "callers": run.callers, "rate": rate,
                   "calls": run.calls(), "unsent": run.unsent, "per_second": run.per_second(), "p50_ms": p50, "p90_ms": p90,
                   "p99_ms": p99, "p99_9_ms": p999, "max_ms": max, "cpu_ms_per_call": used,
                   "cpu_ms_per_call_of_all": run.used.map(|used| per_call_ms(run, used.sum().as_secs_f64())),
                   "own_cpu_ms_per_call": per_call_ms(run, run.own.as_secs_f64()),
                   "woke_late_p50_ms": ms_at(&run.late, 0.5), "woke_late_p99_ms": ms_at(&run.late, 0.99)})
        })
    }

    fn phases_json(&self) -> Value {
        let phases = self.phases.iter().map(|(name, samples)| {
            let quantiles = json!({"p50_ms": samples.quantile_ms(0.5), "p99_ms": samples.quantile_ms(0.99), "mean_ms": samples.mean_ms()});
            (name.to_owned(), quantiles)
        });
        let phases: serde_json::Map<_, _> = phases.collect();
        json!({"runtime": self.language.name(), "payload_bytes": self.size.0, "calls": self.phases.whole.len(),
               "whole_p50_ms": self.phases.whole.quantile_ms(0.5), "phases": phases})
    }

    /// The run that did most.
    fn best(&self) -> Option<&Run> {
        self.runs.iter().max_by(|a, b| a.per_second().total_cmp(&b.per_second()))
    }
}

fn row(run: &Run) -> Vec<String> {
    let quantiles = SHARES.map(|share| format!("{:.3}", ms_at(&run.latency, share)));
    let cost = |seconds: Option<f64>| {
        seconds.map_or_else(|| "?".to_owned(), |seconds| format!("{:.3}", per_call_ms(run, seconds)))
    };
    let groups = Group::ALL.map(|group| cost(run.used.map(|used| used.0[group as usize].as_secs_f64())));
    let head = [name(run), format!("{:.0}", run.per_second())];
    let all = cost(run.used.map(|used| used.sum().as_secs_f64()));
    let own = format!(
        "{} ({:.0} % of a CPU)",
        cost(Some(run.own.as_secs_f64())),
        100.0 * run.own.as_secs_f64() / run.took.as_secs_f64()
    );
    head.into_iter().chain(quantiles).chain([all]).chain(groups).chain([own]).collect()
}

fn name(run: &Run) -> String {
    match run.pace {
        Loop::Closed => format!("closed, {}", run.callers),
        Loop::Open { rate } => format!("open, {rate:.0}/s"),
    }
}

fn lateness(run: &Run) -> String {
    format!("{}: p50 {:.3} ms, p99 {:.3} ms", name(run), ms_at(&run.late, 0.5), ms_at(&run.late, 0.99))
}

fn per_call_ms(run: &Run, seconds: f64) -> f64 {
    1e3 * seconds / run.calls().max(1) as f64
}

fn ms_at(histogram: &Histogram<u64>, share: f64) -> f64 {
    histogram.value_at_quantile(share) as f64 / 1e6
}

/// Parts of a call's time.
fn shares(all: &[Found]) -> Bars {
    let means: Vec<_> = all.iter().map(|found| (found.name(), found.phases.mean_ms())).collect();
    let had: Vec<usize> = (0..NAMES.len()).filter(|part| means.iter().any(|(_, mean)| mean[*part] > 0.0)).collect();
    let percent = |mean: &[f64; NAMES.len()], part: usize| 100.0 * mean[part] / mean.iter().sum::<f64>().max(1e-9);
    let bar = |(name, mean): (String, [f64; NAMES.len()])| {
        let whole: f64 = mean.iter().sum();
        (format!("{name}: {whole:.2} ms"), had.iter().map(|part| percent(&mean, *part)).collect())
    };
    let parts = had.iter().map(|part| NAMES[*part].to_owned()).collect();
    let title = "Where the time of a warm call goes, on average".into();
    Bars { title, x: "% of the call as the client sees it".into(), parts, bars: means.into_iter().map(bar).collect() }
}

/// CPU time of a call at the best rate.
fn costs(all: &[Found]) -> Bars {
    let bars = all.iter().filter_map(|found| {
        let run = found.best()?;
        let used = run.used?;
        let mut parts: Vec<f64> = used.0.iter().map(|used| per_call_ms(run, used.as_secs_f64())).collect();
        parts.push(per_call_ms(run, run.own.as_secs_f64()));
        Some((found.name(), parts))
    });
    let parts = Group::ALL.map(Group::name).into_iter().chain(["this program"]).map(str::to_owned).collect();
    Bars { title: "CPU time of a call at the best rate".into(), x: "ms".into(), parts, bars: bars.collect() }
}

/// How the times of open loops are distributed, up to their tails.
fn latencies(all: &[Found]) -> Plot {
    let curves = all.iter().flat_map(|found| {
        let open = found.runs.iter().filter(|run| matches!(run.pace, Loop::Open { .. }));
        open.map(|run| Curve {
            name: format!("{}, {}", found.name(), name(run)),
            points: tail(&run.latency),
            shape: Shape::Steps,
        })
    });
    Plot {
        title: "Warm calls at a steady rate, each from when it was due".into(),
        x: Axis::log("ms"),
        y: Axis::percentiles("share of calls"),
        curves: curves.collect(),
    }
}

/// Times and the share of calls that took no longer. The last call has no place on an axis of nines.
fn tail(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let recorded = histogram.iter_recorded();
    recorded
        .map(|step| (step.value_iterated_to() as f64 / 1e6, step.quantile()))
        .filter(|(_, share)| *share < 1.0)
        .collect()
}
