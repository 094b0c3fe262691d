//! What one decision of placement costs, by how many workers there are: with room, and with none left.

use anyhow::Result;
use hearth_benches::cores::chance::Chance;
use hearth_benches::cores::fixture;
use hearth_benches::cores::fleet::Fleet;
use hearth_benches::cores::meter::Meter;
use hearth_benches::plot::{Axis, Curve, Plot, Shape};
use hearth_benches::report::{Report, Table};
use hearth_domain::Moment;
use hearth_placement::ledger::LedgerConfig;
use hearth_protocol::placement::ClaimOutcome;
use serde_json::{Value, json};

use super::watch::Watch;
use super::{Options, names, nanos, thousands};

/// Decisions that are measured for each size.
const DECISIONS: u64 = 20_000;
/// Slots that a worker has room for, and how many of them are taken.
const ROOM: (u32, usize) = (10, 7);

struct Found {
    workers: usize,
    with_room: Meter,
    full: Meter,
    refused: usize,
}

pub(super) fn run(options: &Options, report: &mut Report, watch: &Watch) -> Result<()> {
    let found: Vec<_> =
        options.workers.iter().map(|workers| decide(*workers, options.seed, watch)).collect::<Result<_>>()?;
    let row = |found: &Found| {
        vec![
            thousands(found.workers as f64),
            nanos(found.with_room.quantile_ns(0.5)),
            nanos(found.with_room.quantile_ns(0.99)),
            thousands(found.with_room.per_second()),
            nanos(found.full.quantile_ns(0.5)),
            thousands(found.full.per_second()),
        ]
    };
    report.table(Table {
        title: "Placement decisions: a claim of one slot, to the worker it is asked of".into(),
        columns: names(&["workers", "p50", "p99", "a second", "all full: p50", "all full: a second"]),
        rows: found.iter().map(row).collect(),
    });
    let curve = |name: &str, meter: fn(&Found) -> &Meter| {
        let points = found.iter().map(|found| (found.workers as f64, meter(found).mean_ns() / 1e3)).collect();
        Curve { name: name.into(), points, shape: Shape::Line }
    };
    report.plot(
        "decisions",
        Plot {
            title: "A placement decision, by workers".into(),
            x: Axis::log("workers"),
            y: "µs of processor time".into(),
            curves: vec![curve("seven of ten slots taken", |f| &f.with_room), curve("all full", |f| &f.full)],
        },
    );
    report.data("decisions", found.iter().map(Found::json).collect());
    Ok(())
}

impl Found {
    fn json(&self) -> Value {
        json!({
            "workers": self.workers,
            "mean_ns": self.with_room.mean_ns(), "p50_ns": self.with_room.quantile_ns(0.5),
            "p99_ns": self.with_room.quantile_ns(0.99), "per_second": self.with_room.per_second(),
            "full_mean_ns": self.full.mean_ns(), "full_per_second": self.full.per_second(),
            "full_claims": self.full.things(), "refused": self.refused,
        })
    }
}

fn decide(workers: usize, seed: u64, watch: &Watch) -> Result<Found> {
    watch.part(format!("placement decisions with {workers} workers"))?;
    let mut fleet = Fleet::new(LedgerConfig::default(), workers, fixture::room_for(ROOM.0));
    let now = Moment::ORIGIN;
    let mut leases = fleet.fill(now, ROOM.1 * workers);
    let mut chance = Chance::from(seed);
    fleet.costs.claim = Meter::every(1);
    for n in 0..DECISIONS {
        claim(&mut fleet, &mut chance, n + (1 << 32));
        for (worker, request) in std::mem::take(&mut fleet.sent.inits) {
            // As many as before: one that is not the newest goes.
            let place = chance.below(leases.len());
            let before = std::mem::replace(&mut leases[place], (request.slot, request.token));
            fleet.made(now, worker, request);
            fleet.release(now, vec![before]);
            // Its worker says that it is gone.
            fleet.report(now, worker);
        }
        fleet.sent.outcomes.clear();
    }
    let with_room = std::mem::replace(&mut fleet.costs.claim, Meter::every(1));
    (0..workers).for_each(|n| (0..3).for_each(|_| fleet.report(now, n)));
    let (full, refused) = refuse(fleet, workers);
    Ok(Found { workers, with_room, full, refused })
}

/// The same when nobody has room.
fn refuse(mut fleet: Fleet, workers: usize) -> (Meter, usize) {
    let now = Moment::ORIGIN;
    let free = ROOM.0 as usize * workers - fleet.slots();
    fleet.fill(now, free);
    fleet.costs.claim = Meter::every(1);
    let mut chance = Chance::from(0);
    for n in 0..DECISIONS / 4 {
        claim(&mut fleet, &mut chance, n + (1 << 33));
    }
    let none = |outcome: &&(_, ClaimOutcome)| matches!(outcome.1, ClaimOutcome::NoCapacity { full: true, .. });
    let refused = fleet.sent.outcomes.iter().filter(none).count();
    (fleet.costs.claim, refused)
}

fn claim(fleet: &mut Fleet, chance: &mut Chance, number: u64) {
    let function = fixture::function(chance.below(100_000), fixture::MEMORY_MB, 3);
    let claimed = fleet.claim(Moment::ORIGIN, number, fixture::holder(), function, 1);
    claimed.expect("no other is open");
}
