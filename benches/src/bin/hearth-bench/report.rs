//! Results as a table, as JSON and as a page with a plot.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use hearth_microvm::Isolation;
use serde_json::{Value, json};

use crate::arguments::Options;
use crate::density::Point;
use crate::plot::{Curve, Plot, Shape};
use crate::start::Starts;

/// Everything that one run found.
pub(crate) struct Report {
    job: &'static str,
    machine: String,
    options: Value,
    lines: Vec<String>,
    found: Vec<Value>,
    curves: Vec<Curve>,
}

impl Report {
    /// Of this machine, with nothing in it.
    pub(crate) fn new(job: &'static str, options: &Options) -> Self {
        let options = json!({"count": options.count, "memory_mib": options.memory, "image": options.image, "spares": options.spares});
        Self { job, machine: machine(), options, lines: Vec::new(), found: Vec::new(), curves: Vec::new() }
    }

    /// Durations of starts.
    pub(crate) fn add_starts(&mut self, isolation: Isolation, starts: Starts) {
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
        let told = quantiles.map(|(name, share)| format!("{name} {:.3} ms", starts.whole.quantile_ms(share)));
        self.lines.push(format!("{} {isolation}: {} ({} times)", self.job, told.join(", "), starts.whole.len()));
        let mut found = json!({"isolation": isolation.to_string(), "samples_ms": starts.whole.sorted_ms()});
        for (name, share) in quantiles {
            found[format!("{name}_ms")] = json!(starts.whole.quantile_ms(share));
        }
        if !starts.launcher.is_empty() {
            let launcher = starts.launcher.quantile_ms(0.5);
            self.lines.push(format!("  of which the launcher: p50 {launcher:.3} ms"));
            found["launcher_p50_ms"] = json!(launcher);
        }
        for (name, samples) in starts.phases.values() {
            let at = samples.quantile_ms(0.5);
            self.lines.push(format!("  by the guest's clock, {name} was over at {at:.3} ms"));
            found["phases_p50_ms"][name] = json!(at);
        }
        self.found.push(found);
        let sorted = starts.whole.sorted_ms();
        let share = |index: usize| (index + 1) as f64 / sorted.len() as f64;
        let points = sorted.iter().enumerate().map(|(index, ms)| (*ms, share(index))).collect();
        self.curves.push(Curve { name: isolation.to_string(), points, shape: Shape::Steps });
    }

    /// Memory by number.
    pub(crate) fn add_density(&mut self, isolation: Isolation, points: Vec<Point>) {
        if let Some(last) = points.last() {
            let each = |kib: u64| kib / u64::from(last.count);
            self.lines.push(format!(
                "density {isolation}: {} idle sandboxes, each {} KiB PSS, {} KiB private ({} KiB of them not guest memory), {} KiB shared, {} KiB charged",
                last.count,
                each(last.resident.pss),
                each(last.resident.private),
                each(last.resident.own),
                each(last.resident.shared),
                each(last.charged_kib),
            ));
        }
        let values = points.iter().map(|point| {
            json!({"count": point.count, "pss_kib": point.resident.pss, "private_kib": point.resident.private,
                   "own_private_kib": point.resident.own, "shared_kib": point.resident.shared, "charged_kib": point.charged_kib})
        });
        self.found.push(json!({"isolation": isolation.to_string(), "points": values.collect::<Vec<_>>()}));
        let mut curve = |kind: &str, kib: &dyn Fn(&Point) -> u64| {
            let mib = |point: &Point| (f64::from(point.count), kib(point) as f64 / 1024.0);
            let points = std::iter::once((0.0, 0.0)).chain(points.iter().map(mib)).collect();
            self.curves.push(Curve { name: format!("{isolation}: {kind}"), points, shape: Shape::Line });
        };
        curve("PSS", &|point| point.resident.pss);
        curve("private", &|point| point.resident.private);
        curve("charged", &|point| point.charged_kib);
    }

    /// To standard output.
    pub(crate) fn tell(&self) {
        println!("machine: {}", self.machine);
        self.lines.iter().for_each(|line| println!("{line}"));
    }

    /// Into directory `out`.
    pub(crate) fn write(&self, out: &Path) -> Result<()> {
        fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
        let svg = self.plot().svg();
        let json = json!({"job": self.job, "machine": self.machine, "options": self.options, "found": self.found});
        let lines = self.lines.join("\n");
        let page = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>hearth bench {job}</title>\n\
             <style>body {{ font: 14px sans-serif; margin: 2em auto; max-width: 860px }}</style>\n\
             <h1>hearth bench {job}</h1>\n<p>{machine}</p>\n{svg}\n<pre>{lines}</pre>\n",
            job = self.job,
            machine = self.machine,
        );
        let files = [("json", format!("{json:#}\n")), ("svg", svg.clone()), ("html", page)];
        for (kind, content) in files {
            let path = out.join(format!("{}.{kind}", self.job));
            fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
            println!("written: {}", path.display());
        }
        Ok(())
    }

    fn plot(&self) -> Plot<'_> {
        let (title, x, y) = match self.job {
            "density" => ("Memory of idle sandboxes", "sandboxes", "MiB in all"),
            "restore" => ("Restore: from the call to the shim's word", "ms", "share of restores"),
            _ => ("Boot: from the call to the shim's word", "ms", "share of boots"),
        };
        Plot { title, x, y, curves: &self.curves }
    }
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = read("/proc/loadavg");
    format!(
        "{cpus} × {}, Linux {}, load {}",
        model.map_or("CPU", |(_, name)| name.trim()),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("?")
    )
}
