//! What placement tells about itself.

use hearth_protocol::placement::{ClaimOutcome, WorkerCondition};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::event::InitResult;
use crate::ledger::Ledger;
use hearth_domain::Moment;

/// Counters and gauges, all named `hearth_placement_…`.
#[derive(Debug)]
pub(super) struct Metrics {
    outcomes: IntCounterVec,
    renewals: IntCounterVec,
    reclaims: IntCounter,
    recovered: IntCounter,
    init_seconds: Histogram,
    slots: IntGaugeVec,
    workers: IntGaugeVec,
    claims: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = |name: &str| format!("hearth_placement_{name}");
        let counters = |what: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name(what), help), &[label]);
        let gauges = |what: &str, help: &str, label: &str| IntGaugeVec::new(Opts::new(name(what), help), &[label]);
        let init = HistogramOpts::new(name("init_seconds"), "Time a worker took to make a slot")
            .buckets(prometheus::exponential_buckets(0.002, 2.0, 14)?);
        let metrics = Self {
            outcomes: counters("claim_outcomes_total", "Slots claimed, by what came of it", "outcome")?,
            renewals: counters("renewals_total", "Leases asked to be renewed, by answer", "answer")?,
            reclaims: IntCounter::new(name("reclaims_total"), "Slots that workers were asked to end")?,
            recovered: IntCounter::new(name("recovered_total"), "Slots given back to restarted holders")?,
            init_seconds: Histogram::with_opts(init)?,
            slots: gauges("slots", "Slots by phase", "phase")?,
            workers: gauges("workers", "Workers by condition", "condition")?,
            claims: IntGauge::new(name("claims"), "Claims open or remembered")?,
        };
        registry.register(Box::new(metrics.outcomes.clone()))?;
        registry.register(Box::new(metrics.renewals.clone()))?;
        registry.register(Box::new(metrics.reclaims.clone()))?;
        registry.register(Box::new(metrics.recovered.clone()))?;
        registry.register(Box::new(metrics.init_seconds.clone()))?;
        registry.register(Box::new(metrics.slots.clone()))?;
        registry.register(Box::new(metrics.workers.clone()))?;
        registry.register(Box::new(metrics.claims.clone()))?;
        Ok(metrics)
    }

    pub(super) fn outcome(&self, outcome: &ClaimOutcome) {
        let label = match outcome {
            ClaimOutcome::Granted(_) => "granted",
            ClaimOutcome::InitFailed(_) => "init_failed",
            ClaimOutcome::NoCapacity { .. } => "no_capacity",
        };
        self.outcomes.with_label_values(&[label]).inc();
    }

    pub(super) fn renewed(&self, good: u64, refused: u64) {
        self.renewals.with_label_values(&["renewed"]).inc_by(good);
        self.renewals.with_label_values(&["refused"]).inc_by(refused);
    }

    pub(super) fn reclaim(&self) {
        self.reclaims.inc();
    }

    pub(super) fn recovered(&self, slots: usize) {
        self.recovered.inc_by(slots as u64);
    }

    pub(super) fn init(&self, result: &InitResult) {
        if result.result.is_ok() {
            self.init_seconds.observe(result.took.as_secs_f64());
        }
    }

    /// Sets the gauges.
    pub(super) fn refresh(&self, ledger: &Ledger, now: Moment) {
        const PHASES: [&str; 4] = ["initializing", "leased", "fencing", "ending"];
        for (phase, count) in PHASES.into_iter().zip(ledger.slots_by_phase()) {
            self.slots.with_label_values(&[phase]).set(signed(count));
        }
        const CONDITIONS: [(&str, WorkerCondition); 4] = [
            ("ready", WorkerCondition::Ready),
            ("avoided", WorkerCondition::Avoided),
            ("draining", WorkerCondition::Draining),
            ("lost", WorkerCondition::Lost),
        ];
        for (label, condition) in CONDITIONS {
            self.workers.with_label_values(&[label]).set(signed(ledger.workers_in(condition, now)));
        }
        self.claims.set(signed(ledger.claims()));
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
