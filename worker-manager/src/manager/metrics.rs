//! The router's counters as Prometheus metrics, read when somebody asks.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::router::{FunctionCounts, Stats};

use super::shared::Shared;

/// Reads the router at every scrape, so that a call pays nothing for being counted.
pub(super) struct Metrics {
    shared: Weak<Shared>,
    families: Families,
    /// One scrape at a time: counters are set, not added to.
    scrape: Mutex<()>,
}

struct Families {
    slots: IntGaugeVec,
    claiming: IntGauge,
    waiting: IntGauge,
    reservations: IntCounterVec,
    claimed: IntCounterVec,
    leases: IntCounterVec,
}

impl Metrics {
    /// Makes them part of the registry.
    pub(super) fn register(shared: &Arc<Shared>, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(shared.wait_seconds.clone()))?;
        let (shared, families) = (Arc::downgrade(shared), Families::new()?);
        registry.register(Box::new(Self { shared, families, scrape: Mutex::new(()) }))
    }
}

impl Families {
    fn new() -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("hearth_worker_manager_{name}"), help);
        Ok(Self {
            slots: IntGaugeVec::new(
                opts(
                    "slots",
                    "Slots held under a lease, by state; pinned counts those kept ready, whatever their state",
                ),
                &["state"],
            )?,
            claiming: IntGauge::with_opts(opts("claiming_slots", "Slots asked for, outcome not known yet"))?,
            waiting: IntGauge::with_opts(opts("waiting_calls", "Calls that wait for a slot"))?,
            reservations: IntCounterVec::new(opts("reservations_total", "Calls that asked for a slot"), &["result"])?,
            claimed: IntCounterVec::new(opts("claimed_slots_total", "Slots asked of placement"), &["event"])?,
            leases: IntCounterVec::new(opts("leases_total", "What became of leases"), &["event"])?,
        })
    }

    fn update(&self, totals: FunctionCounts, stats: &Stats) {
        for (state, count) in [("idle", totals.idle), ("busy", totals.busy), ("refreshing", totals.refreshing)] {
            self.slots.with_label_values(&[state]).set(gauge(count));
        }
        self.slots.with_label_values(&["pinned"]).set(gauge(totals.pinned));
        self.claiming.set(gauge(totals.claiming + totals.pinning));
        self.waiting.set(gauge(totals.waiting));
        let reservations = [
            ("warm", stats.warm),
            ("waited", stats.waited),
            ("throttled", stats.throttled),
            ("queue_full", stats.queue_full),
            ("no_capacity", stats.timed_out),
            ("init_failed", stats.init_failed),
            ("cancelled", stats.cancelled),
        ];
        set_all(&self.reservations, &reservations);
        let claimed = [
            ("asked", stats.slots_claimed),
            ("granted", stats.slots_granted),
            ("no_capacity", stats.no_capacity),
            ("init_failed", stats.inits_failed),
        ];
        set_all(&self.claimed, &claimed);
        let leases = [
            ("recovered", stats.recovered),
            ("renewal_asked", stats.renewals),
            ("lost", stats.leases_lost),
            ("released", stats.released),
            ("aged_out", stats.aged_out),
            ("made_room", stats.made_room),
            ("given_up", stats.given_up),
            ("abandoned", stats.abandoned),
        ];
        set_all(&self.leases, &leases);
    }

    fn all(&self) -> [&dyn Collector; 6] {
        [&self.slots, &self.claiming, &self.waiting, &self.reservations, &self.claimed, &self.leases]
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        self.families.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(shared) = self.shared.upgrade() else { return Vec::new() };
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let (totals, stats) = shared.step(|router, _, _| (router.totals(), router.stats()));
        self.families.update(totals, &stats);
        self.families.all().into_iter().flat_map(Collector::collect).collect()
    }
}

fn set_all(counters: &IntCounterVec, values: &[(&str, u64)]) {
    for (label, value) in values {
        let counter = counters.with_label_values(&[*label]);
        counter.reset();
        counter.inc_by(*value);
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
