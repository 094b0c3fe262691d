//! What bursts found, for a reader.

use std::time::Duration;

use hearth_benches::plot::{Curve, Plot};
use hearth_benches::report::{Report, Table};
use hearth_benches::statistics::Samples;
use serde_json::{Value, json};

use super::{Burst, Found};

impl Found {
    /// What as many single starts as there were calls take on all CPUs, if nothing else does.
    fn ideal(&self, calls: u32) -> Duration {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        self.single_cpu.mul_f64(f64::from(calls) / cpus as f64)
    }

    /// The burst that was over first: others on the machine only ever add to it.
    fn best(&self) -> Option<&Burst> {
        self.bursts.iter().min_by_key(|burst| burst.whole)
    }
}

/// The report of all runtimes; `from` environments were there when `to` calls came.
pub(super) fn report(asked: Value, from: u32, to: u32, found: &[Found]) -> Report {
    let mut report = Report::new("burst", asked);
    let needed = to.saturating_sub(from);
    report.note(format!(
        "{to} calls at once to a function with {from} environments, which needs {needed} more. A single start is the same \
         call by itself. CPU time is that of the platform and all processes below it, from the first call to the last \
         answer; the kernel's own threads (network namespaces that end, say) are not in it, and the caller's is not."
    ));
    report.table(Table {
        title: "Until all were answered".into(),
        columns: ["runtime", "p50 ms", "last ms", "÷ CPU bound", "environments made", "at most"]
            .map(str::to_owned)
            .into(),
        rows: found.iter().flat_map(|found| found.bursts.iter().map(|burst| row(found, burst, needed))).collect(),
    });
    report.table(Table {
        title: "CPU time of a start".into(),
        columns: ["runtime", "single, wall p50 ms", "single, CPU ms", "in a burst, CPU ms a call", "ratio"]
            .map(str::to_owned)
            .into(),
        rows: found.iter().map(|found| cpu_row(found, needed)).collect(),
    });
    report.note(
        "The CPU bound is the time in which all CPUs together could do as many single starts as were needed, with nothing \
         else to do; on a machine that does other things the wall time is longer and the ratio of CPU times is what to read."
            .to_owned(),
    );
    let curves = found.iter().filter_map(|found| {
        let answers = &found.best()?.answers;
        Some(Curve::distribution(found.language.name().to_owned(), answers))
    });
    report.plot(
        "answers",
        Plot {
            title: format!("{to} calls at once: answered so far"),
            x: "ms after the first call".into(),
            y: "share of the calls".into(),
            curves: curves.collect(),
        },
    );
    report.data("bursts", found.iter().map(|found| to_json(found, needed)).collect());
    report
}

fn row(found: &Found, burst: &Burst, needed: u32) -> Vec<String> {
    vec![
        found.language.name().to_owned(),
        format!("{:.1}", burst.answers.quantile_ms(0.5)),
        format!("{:.1}", ms(burst.whole)),
        ratio(burst.whole, found.ideal(needed)),
        burst.made.to_string(),
        needed.to_string(),
    ]
}

fn cpu_row(found: &Found, needed: u32) -> Vec<String> {
    let each = each(found, needed);
    vec![
        found.language.name().to_owned(),
        format!("{:.2}", found.singles.quantile_ms(0.5)),
        format!("{:.2}", ms(found.single_cpu)),
        each.map_or_else(String::new, |each| format!("{:.2}", ms(each))),
        each.map_or_else(String::new, |each| ratio(each, found.single_cpu)),
    ]
}

/// CPU time of a burst for each environment that it needed, on average over all bursts.
fn each(found: &Found, needed: u32) -> Option<Duration> {
    let count = u32::try_from(found.bursts.len()).ok()?.checked_mul(needed).filter(|count| *count > 0)?;
    Some(found.bursts.iter().map(|burst| burst.cpu).sum::<Duration>() / count)
}

fn to_json(found: &Found, needed: u32) -> Value {
    let bursts = found.bursts.iter().map(|burst| {
        json!({"answers_ms": burst.answers.sorted_ms(), "whole_ms": ms(burst.whole), "cpu_ms": ms(burst.cpu),
               "environments_made": burst.made})
    });
    json!({"runtime": found.language.name(), "needed": needed, "single_cpu_ms": ms(found.single_cpu),
           "singles_ms": Samples::sorted_ms(&found.singles), "cpu_bound_ms": ms(found.ideal(needed)),
           "bursts": bursts.collect::<Vec<_>>()})
}

fn ratio(of: Duration, to: Duration) -> String {
    if to.is_zero() { String::new() } else { format!("{:.2}", of.as_secs_f64() / to.as_secs_f64()) }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use hearth_benches::function::Language;

    use super::*;

    fn found() -> Found {
        let mut answers = Samples::default();
        (1..=4).for_each(|number| answers.push(Duration::from_millis(number * 10)));
        let burst = |whole: u64| Burst {
            answers: answers.clone(),
            whole: Duration::from_millis(whole),
            cpu: Duration::from_millis(60),
            made: 4,
        };
        let mut singles = Samples::default();
        singles.push(Duration::from_millis(12));
        let bursts = vec![burst(50), burst(40)];
        Found { language: Language::Python, singles, single_cpu: Duration::from_millis(10), bursts }
    }

    #[test]
    fn a_burst_is_held_against_single_starts() {
        let found = found();
        assert_eq!(found.best().map(|burst| burst.whole), Some(Duration::from_millis(40)));
        assert_eq!(each(&found, 4), Some(Duration::from_millis(15)));
        assert_eq!(cpu_row(&found, 4)[2..], ["10.00", "15.00", "1.50"]);
        assert_eq!(each(&found, 0), None);
    }
}
