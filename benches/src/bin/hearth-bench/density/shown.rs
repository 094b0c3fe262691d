//! What growth is told as.

use hearth_benches::plot::{Axis, Bars, Curve, Plot, Shape};
use hearth_benches::report::{Report, Table};
use hearth_benches::statistics::Samples;
use serde_json::{Value, json};

use super::account::Memory;
use super::growth::Growth;
use super::limits;

const KIB_PER_MIB: f64 = 1024.0;
const KIB_PER_GIB: f64 = 1024.0 * 1024.0;
/// Points of the rate at most, each the mean of some calls.
const RATE_POINTS: usize = 25;

/// Of all that were measured.
pub(super) fn report(options: Value, found: &[Growth]) -> Report {
    let memory_mb = options["memory_mb"].as_u64().and_then(|mb| u32::try_from(mb).ok()).unwrap_or(0);
    let mut report = Report::new("density", options);
    report.note(
        "Each slot is a function of its own that has answered once and now waits. Memory is PSS: pages that several \
         processes have are divided among them. Neither the first two slots, which bring in what all share, nor what \
         the platform had before them is counted. Not in PSS: the kernel's own (page tables, control groups, sockets); the \
         last column, from what the machine could still give before and after, has it, and whatever else ran.",
    );
    report.table(memory(found));
    report.bars("split", split(found));
    report.plot("memory", curves(found));
    report.table(speed(found));
    report.plot("rate", rates(found));
    for growth in found {
        report.note(format!("{}: ended because {}.", name(growth), growth.stopped));
        for failure in &growth.again.failed {
            report.note(format!("{}: did not answer again: {failure}", name(growth)));
        }
        if let Some(table) = limits::table(growth, memory_mb) {
            report.table(table);
        }
    }
    report.data("density", found.iter().map(as_json).collect());
    report
}

fn name(growth: &Growth) -> String {
    format!("{} {}", growth.isolation, growth.language.name())
}

/// What each slot beyond the first two costs, KiB by part; nothing if there is none.
fn each(growth: &Growth) -> [f64; 5] {
    let (count, last) = growth.last();
    (last.memory - growth.before.memory).parts().map(|kib| if count == 0 { 0.0 } else { kib as f64 / f64::from(count) })
}

fn memory(found: &[Growth]) -> Table {
    let row = |growth: &Growth| {
        let (count, last) = growth.last();
        let each = each(growth);
        let all: f64 = each.iter().sum();
        let machine = growth.before.available as f64 - last.available as f64;
        let cells = each.iter().chain([&all]).map(|kib| format!("{kib:.0}"));
        let per_gib = if all > 0.0 { format!("{:.0}", KIB_PER_GIB / all) } else { "–".into() };
        let machine = format!("{:.0}", machine / f64::from(count.max(1)));
        [name(growth), count.to_string()].into_iter().chain(cells).chain([per_gib, machine]).collect()
    };
    let columns =
        ["slots", "count"].into_iter().chain(Memory::PARTS).chain(["all", "slots per GiB", "off the machine"]);
    Table {
        title: "Memory of each idle slot, KiB".into(),
        columns: columns.map(str::to_owned).collect(),
        rows: found.iter().map(row).collect(),
    }
}

fn split(found: &[Growth]) -> Bars {
    Bars {
        title: "Memory of an idle slot".into(),
        x: "MiB".into(),
        parts: Memory::PARTS.map(str::to_owned).into(),
        bars: found.iter().map(|growth| (name(growth), each(growth).map(|kib| kib / KIB_PER_MIB).into())).collect(),
    }
}

fn curves(found: &[Growth]) -> Plot {
    let curve = |growth: &Growth| {
        let mib = |memory: Memory| (memory - growth.before.memory).sum() as f64 / KIB_PER_MIB;
        let points = growth.points.iter().map(|(count, look)| (f64::from(*count), mib(look.memory)));
        Curve { name: name(growth), points: [(0.0, 0.0)].into_iter().chain(points).collect(), shape: Shape::Line }
    };
    Plot {
        title: "Memory of idle slots and of the platform's growth".into(),
        x: "slots".into(),
        y: "MiB of PSS in all".into(),
        curves: found.iter().map(curve).collect(),
    }
}

fn speed(found: &[Growth]) -> Table {
    let row = |growth: &Growth| {
        let first: Samples = growth.first_calls.iter().copied().collect();
        let seconds: f64 = growth.first_calls.iter().map(std::time::Duration::as_secs_f64).sum();
        let again = &growth.again;
        let called = again.answers.len() + again.failed.len();
        vec![
            name(growth),
            format!("{:.1}", first.len() as f64 / seconds),
            format!("{:.1}", first.quantile_ms(0.5)),
            format!("{:.1}", first.quantile_ms(0.99)),
            format!("{} of {called}", again.answers.len() - again.cold as usize),
            format!("{:.2}", again.answers.quantile_ms(0.5)),
            format!("{:.2}", again.answers.quantile_ms(1.0)),
        ]
    };
    let columns =
        ["slots", "made a second", "first call p50 ms", "p99 ms", "answered again, warm", "again p50 ms", "max ms"];
    Table {
        title: "Slots made one after the other, and called again at the end".into(),
        columns: columns.map(str::to_owned).into(),
        rows: found.iter().map(row).collect(),
    }
}

fn rates(found: &[Growth]) -> Plot {
    let curve = |growth: &Growth| {
        let window = growth.first_calls.len().div_ceil(RATE_POINTS).max(1);
        let windows = growth.first_calls.chunks(window).enumerate().map(|(number, calls)| {
            let seconds: f64 = calls.iter().map(std::time::Duration::as_secs_f64).sum();
            ((number * window + calls.len()) as f64, calls.len() as f64 / seconds)
        });
        Curve { name: name(growth), points: windows.collect(), shape: Shape::Line }
    };
    Plot {
        title: "How fast slots are made, by how many there are".into(),
        x: Axis::from("slots"),
        y: "slots a second, one after the other".into(),
        curves: found.iter().map(curve).collect(),
    }
}

fn as_json(growth: &Growth) -> Value {
    let points = growth.points.iter().map(|(count, look)| {
        let parts = (look.memory - growth.before.memory).parts();
        json!({"count": count, "kib": parts, "threads": look.threads, "open_files": look.open_files,
               "available_kib": look.available})
    });
    let ms = |calls: &[std::time::Duration]| calls.iter().map(|call| call.as_secs_f64() * 1e3).collect::<Vec<_>>();
    json!({
        "runtime": growth.language.name(), "isolation": growth.isolation, "stopped": growth.stopped,
        "parts": Memory::PARTS, "kib_each": each(growth), "points": points.collect::<Vec<_>>(),
        "first_calls_ms": ms(&growth.first_calls), "again_ms": growth.again.answers.sorted_ms(),
        "again_cold": growth.again.cold, "again_failed": growth.again.failed,
    })
}
