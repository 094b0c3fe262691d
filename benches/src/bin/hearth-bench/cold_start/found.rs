//! What the starts were like, told.

use hearth_benches::function::Language;
use hearth_benches::phases::{NAMES, Phases};
use hearth_benches::plot::{Axis, Bars, Curve, Plot};
use hearth_benches::report::{Report, Table};
use hearth_benches::statistics::Samples;
use serde_json::{Map, Value, json};

use super::How;

/// Starts of one runtime.
pub(super) struct Found {
    pub(super) language: Language,
    pub(super) phases: Phases,
    /// Of them, those whose sandbox did not come from a pool.
    pub(super) booted: usize,
    /// Calls that met an idle slot all the same; they are in no figure.
    pub(super) warm: usize,
}

pub(super) fn report(asked: Value, how: &How, all: &[Found]) -> Report {
    let mut report = Report::new("cold-start", asked);
    report.note(format!(
        "Calls that meet no idle slot, one at a time, of an echo; isolation: {}; {}. Each row is a phase as the platform \
         tells it (Server-Timing); `client` is what the phases leave of the time that the client measured: its connection \
         and HTTP on both ends. Phases of one call add up to its whole; quantiles of phases don't add up, means do.",
        how.isolation, how.start
    ));
    for found in all {
        report.table(found.table());
        let Found { warm, booted, .. } = found;
        if *warm > 0 {
            report.note(format!("{warm} more calls met an idle slot all the same and are in no figure."));
        }
        if *booted > 0 && *booted < found.phases.whole.len() {
            report.note(format!("{booted} of the starts found the pool empty and booted their sandbox."));
        }
        report.data(found.language.name(), found.json());
    }
    report.bars("phases", bars(all));
    report.plot("whole", whole(all));
    for found in all {
        report.plot(found.plot_name(), found.distributions());
    }
    report
}

impl Found {
    fn table(&self) -> Table {
        let columns = ["phase", "p50 ms", "p90 ms", "p99 ms", "max ms", "mean ms", "calls"].map(str::to_owned).into();
        let rows = self.phases.iter().map(|(name, samples)| row(name, samples));
        let rows = rows.chain(std::iter::once(row("whole", &self.phases.whole))).collect();
        Table { title: format!("{}: {} starts", self.language.name(), self.phases.whole.len()), columns, rows }
    }

    fn json(&self) -> Value {
        let phases: Map<_, _> =
            self.phases.iter().map(|(name, samples)| (name.to_owned(), quantiles(samples))).collect();
        json!({"starts": self.phases.whole.len(), "booted": self.booted, "met_an_idle_slot": self.warm,
               "whole": quantiles(&self.phases.whole), "phases": phases})
    }

    const fn plot_name(&self) -> &'static str {
        match self.language {
            Language::Provided => "phases-of-provided",
            Language::Python => "phases-of-python",
            Language::Nodejs => "phases-of-node",
        }
    }

    /// How each phase is distributed.
    fn distributions(&self) -> Plot {
        let named = |(name, samples): (&str, &Samples)| Curve::distribution(name.to_owned(), samples);
        let curves = self.phases.iter().map(named).collect();
        Plot {
            title: format!("Phases of cold starts: {}", self.language.name()),
            x: Axis::log("ms"),
            y: "share of calls".into(),
            curves,
        }
    }
}

/// The wholes beside each other.
fn whole(all: &[Found]) -> Plot {
    let curve = |found: &Found| Curve::distribution(found.language.name().to_owned(), &found.phases.whole);
    Plot {
        title: "Cold starts, from the client's request to its answer".into(),
        x: "ms".into(),
        y: Axis::percentiles("share of calls"),
        curves: all.iter().map(curve).collect(),
    }
}

/// Where the mean call's time goes.
fn bars(all: &[Found]) -> Bars {
    let means: Vec<_> = all.iter().map(|found| (found.language.name().to_owned(), found.phases.mean_ms())).collect();
    // Parts that none has would only make the legend longer.
    let had: Vec<usize> = (0..NAMES.len()).filter(|part| means.iter().any(|(_, mean)| mean[*part] > 0.0)).collect();
    let parts = had.iter().map(|part| NAMES[*part].to_owned()).collect();
    let bars = means.into_iter().map(|(name, mean)| (name, had.iter().map(|part| mean[*part]).collect())).collect();
    Bars { title: "Where the time of a cold start goes, on average".into(), x: "ms".into(), parts, bars }
}

fn row(name: &str, samples: &Samples) -> Vec<String> {
    let quantile = |share| format!("{:.3}", samples.quantile_ms(share));
    let figures = [0.5, 0.9, 0.99, 1.0].map(quantile);
    let tail = [format!("{:.3}", samples.mean_ms()), samples.len().to_string()];
    std::iter::once(name.to_owned()).chain(figures).chain(tail).collect()
}

fn quantiles(samples: &Samples) -> Value {
    let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| samples.quantile_ms(share));
    json!({"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max, "mean_ms": samples.mean_ms(),
           "calls": samples.len(), "sorted_ms": samples.sorted_ms()})
}
