//! Bare sandboxes: how fast they start, how fast they come back from a snapshot, and what an idle one costs. These jobs
//! drive the launchers directly: no platform, no network, nothing else in the way.

mod bed;
mod density;
mod dialogue;
mod function;
mod starts;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hearth_benches::plot::{Axis, Curve, Plot, Shape};
use hearth_benches::report::{Report, Table};
use hearth_benches::statistics::Samples;
use hearth_microvm::Isolation;
use serde_json::{Value, json};

use bed::Bed;
use density::Point;
use starts::Starts;

/// The quantiles that are told.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

/// How to measure them.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kind of sandbox: kvm or jail; give it twice to have both in one plot
    #[arg(long, value_name = "KIND", default_value = "kvm")]
    isolation: Vec<Isolation>,
    /// How many sandboxes, one after the other (boot, restore, snapshot) or at once (density)
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Memory of each, MiB; a microVM has 32 MiB more, for its kernel
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(96..=10_240))]
    memory: u32,
    /// Have each call a function once: with the image's language started ahead, and timed to the answer (boot, restore)
    #[arg(long)]
    call: bool,
    /// Bring nothing in ahead of a restore
    #[arg(long)]
    no_prefetch: bool,
    /// Runtime image of microVMs
    #[arg(long, value_name = "NAME", default_value = "provided")]
    image: String,
    /// Processes of microVMs that wait ready for one; 0 counts their start, too
    #[arg(long, value_name = "N", default_value_t = 0)]
    spares: usize,
    /// What microVMs boot from (`cargo xtask guest-image` makes it); `guest-images` beside this program if absent
    #[arg(long, value_name = "DIR", env = "HEARTH_GUEST_IMAGES")]
    guest_images: Option<PathBuf>,
    /// Give microVMs a serial console, written to a file each in this directory: to see why one does not come up
    #[arg(long, value_name = "DIR")]
    consoles: Option<PathBuf>,
    /// Where sandboxes and snapshots lie meanwhile; a directory of its own under the system's temporary one if absent
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Options {
    /// Each kind once, in the order given.
    fn isolations(&self) -> Vec<Isolation> {
        let mut kinds = Vec::new();
        for kind in &self.isolation {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        kinds
    }

    fn as_json(&self) -> Value {
        let isolation: Vec<String> = self.isolations().iter().map(ToString::to_string).collect();
        json!({"isolation": isolation, "count": self.count, "memory_mib": self.memory, "image": self.image,
               "spares": self.spares, "call": self.call, "no_prefetch": self.no_prefetch})
    }
}

/// From the launcher's call to the shim's `Ready`.
pub(crate) async fn boot(options: &Options) -> Result<Report> {
    let mut found = Vec::new();
    for isolation in options.isolations() {
        found.push((isolation, starts::boots(&Bed::make(isolation, options)?, options).await?));
    }
    Ok(starts_report("boot", "Boot: from the call to the shim's word", options, &found))
}

/// From the launcher's call to the shim's `Restored`.
pub(crate) async fn restore(options: &Options) -> Result<Report> {
    let mut found = Vec::new();
    for isolation in options.isolations() {
        found.push((isolation, starts::restores(&Bed::make(isolation, options)?, options).await?));
    }
    Ok(starts_report("restore", "Restore: from the call to the shim's word", options, &found))
}

/// From the launcher's call until the snapshot is there, of sandboxes at rest.
pub(crate) async fn snapshot(options: &Options) -> Result<Report> {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for isolation in options.isolations() {
        let (starts, kib) = starts::snapshots(&Bed::make(isolation, options)?, options).await?;
        found.push((isolation, starts));
        notes.push(format!("{isolation}: a snapshot's files hold {kib} KiB."));
    }
    let mut report = starts_report("snapshot", "Snapshot: from the call until it is there", options, &found);
    notes.into_iter().for_each(|note| report.note(note));
    Ok(report)
}

/// Memory by number.
pub(crate) async fn density(options: &Options) -> Result<Report> {
    let mut found = Vec::new();
    for isolation in options.isolations() {
        found.push((isolation, density::measure(&Bed::make(isolation, options)?, options).await?));
    }
    Ok(density_report(options, &found))
}

fn starts_report(job: &'static str, title: &str, options: &Options, found: &[(Isolation, Starts)]) -> Report {
    let mut report = Report::new(job, options.as_json());
    let head = ["sandbox".to_owned(), "times".to_owned()].into_iter();
    let columns = head.chain(QUANTILES.map(|(name, _)| format!("{name} ms"))).chain(["launcher p50 ms".to_owned()]);
    let row = |(isolation, starts): &(Isolation, Starts)| {
        let quantiles = QUANTILES.map(|(_, share)| format!("{:.3}", starts.whole.quantile_ms(share)));
        let launcher =
            if starts.launcher.is_empty() { String::new() } else { format!("{:.3}", starts.launcher.quantile_ms(0.5)) };
        [isolation.to_string(), starts.whole.len().to_string()].into_iter().chain(quantiles).chain([launcher]).collect()
    };
    report.table(Table { title: title.to_owned(), columns: columns.collect(), rows: found.iter().map(row).collect() });
    for (isolation, starts) in found {
        for (clock, steps) in [("after the call", &starts.steps), ("by the guest's clock", &starts.phases)] {
            if !steps.is_empty() {
                let row = |(name, at): &(String, Samples)| vec![name.clone(), format!("{:.3}", at.quantile_ms(0.5))];
                report.table(Table {
                    title: format!("{isolation}: what was over when, {clock}"),
                    columns: vec!["step".into(), "p50 ms".into()],
                    rows: steps.values().map(row).collect(),
                });
            }
        }
    }
    let curves = found.iter().map(|(isolation, starts)| Curve::distribution(isolation.to_string(), &starts.whole));
    let plot = Plot {
        title: title.to_owned(),
        x: Axis::log("ms"),
        y: Axis::percentiles("share of starts that were not slower"),
        curves: curves.collect(),
    };
    report.plot("cdf", plot);
    report.data("starts", found.iter().map(starts_json).collect());
    report
}

fn starts_json((isolation, starts): &(Isolation, Starts)) -> Value {
    let mut json = json!({"isolation": isolation.to_string(), "samples_ms": starts.whole.sorted_ms()});
    for (name, share) in QUANTILES {
        json[format!("{name}_ms")] = json!(starts.whole.quantile_ms(share));
    }
    if !starts.launcher.is_empty() {
        json["launcher_p50_ms"] = json!(starts.launcher.quantile_ms(0.5));
    }
    for (name, samples) in starts.phases.values() {
        json["phases_p50_ms"][name] = json!(samples.quantile_ms(0.5));
    }
    for (name, samples) in starts.steps.values() {
        json["steps_p50_ms"][name] = json!(samples.quantile_ms(0.5));
    }
    json
}

fn density_report(options: &Options, found: &[(Isolation, Vec<Point>)]) -> Report {
    let mut report = Report::new("bare-density", options.as_json());
    let columns = ["idle sandboxes", "count", "PSS KiB", "private", "of it not guest memory", "shared", "charged"];
    let rows = found.iter().filter_map(|(isolation, points)| {
        let last = points.last()?;
        let resident = last.resident;
        let each = [resident.pss, resident.private, resident.own, resident.shared, last.charged_kib];
        let each = each.map(|kib| (kib / u64::from(last.count)).to_string());
        Some([isolation.to_string(), last.count.to_string()].into_iter().chain(each).collect())
    });
    report.table(Table {
        title: "Memory of each".into(),
        columns: columns.map(str::to_owned).into(),
        rows: rows.collect(),
    });
    let curves = found.iter().flat_map(|(isolation, points)| {
        let curve = |kind: &str, kib: fn(&Point) -> u64| {
            let mib = points.iter().map(|point| (f64::from(point.count), kib(point) as f64 / 1024.0));
            let points = std::iter::once((0.0, 0.0)).chain(mib).collect();
            Curve { name: format!("{isolation}: {kind}"), points, shape: Shape::Line }
        };
        [
            curve("PSS", |point| point.resident.pss),
            curve("private", |point| point.resident.private),
            curve("charged", |point| point.charged_kib),
        ]
    });
    report.plot(
        "memory",
        Plot {
            title: "Memory of idle sandboxes".into(),
            x: "sandboxes".into(),
            y: "MiB in all".into(),
            curves: curves.collect(),
        },
    );
    report.data("density", found.iter().map(density_json).collect());
    report
}

fn density_json((isolation, points): &(Isolation, Vec<Point>)) -> Value {
    let points = points.iter().map(|point| {
        json!({"count": point.count, "pss_kib": point.resident.pss, "private_kib": point.resident.private,
               "own_private_kib": point.resident.own, "shared_kib": point.resident.shared, "charged_kib": point.charged_kib})
    });
    json!({"isolation": isolation.to_string(), "points": points.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Job};

    #[test]
    fn each_kind_is_measured_once() {
        let line = ["hearth-bench", "boot", "--isolation", "jail", "--isolation", "kvm", "--isolation", "jail"];
        let Job::Boot(options) = Arguments::try_parse_from(line).unwrap().job else { panic!("boot was asked for") };
        assert_eq!(options.isolations(), [Isolation::Jail, Isolation::Kvm]);
        assert!(Arguments::try_parse_from(["hearth-bench", "boot", "--isolation", "moat"]).is_err());
    }
}
