//! The worker's numbers, as Prometheus reads them.

use std::time::Duration;

use hearth_domain::FunctionResponse;
use hearth_protocol::worker::{InitDone, InitSlotError, InvokeResponse};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

use crate::pool::PoolState;

/// Counters, gauges and histograms of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    succeeded: IntCounter,
    failed: IntCounter,
    invocation_seconds: Histogram,
    cold_starts: IntCounterVec,
    inits: IntCounterVec,
    init_seconds: Histogram,
    pooled: IntGaugeVec,
    sandbox_start_seconds: HistogramVec,
    snapshots_made: IntCounterVec,
    snapshots_refused: IntCounter,
    /// Snapshots on disk.
    pub(crate) snapshot_bytes: IntGauge,
    /// Slots bound to a function.
    pub(crate) slots: IntGauge,
    /// Idle slots that ended because the host's memory was short.
    pub(crate) ended_for_memory: IntCounter,
    /// Log entries that were dropped because the worker could not write them fast enough.
    pub(crate) log_entries_dropped: IntCounter,
    /// Unpacked code on disk.
    pub(crate) code_bytes: IntGauge,
    /// Reports that placement did not take.
    pub(crate) reports_failed: IntCounter,
}

impl Metrics {
    /// Registers all of them; fails if another worker of this process has done so.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let invocations = counters("hearth_worker_invocations_total", "Invocations by outcome.", "outcome")?;
        let metrics = Self {
            succeeded: invocations.with_label_values(&["success"]),
            failed: invocations.with_label_values(&["error"]),
            invocation_seconds: seconds("hearth_worker_invocation_seconds", "Duration of invocations.")?,
            cold_starts: counters("hearth_worker_cold_starts_total", "Sandboxes given to functions.", "source")?,
            inits: counters("hearth_worker_inits_total", "Inits by outcome.", "outcome")?,
            init_seconds: seconds("hearth_worker_init_seconds", "Duration of successful inits.")?,
            pooled: IntGaugeVec::new(
                Opts::new("hearth_worker_pooled", "Sandboxes ready in the pool."),
                &["runtime", "memory_mb"],
            )?,
            sandbox_start_seconds: HistogramVec::new(
                bounds("hearth_worker_sandbox_start_seconds", "From the start of a sandbox to its shim's word.")?,
                &["how"],
            )?,
            snapshots_made: counters("hearth_worker_snapshots_made_total", "Snapshots by outcome.", "outcome")?,
            snapshots_refused: IntCounter::new(
                "hearth_worker_snapshots_refused_total",
                "Restores that found their snapshot of no use; a sandbox was booted instead.",
            )?,
            snapshot_bytes: IntGauge::new("hearth_worker_snapshot_bytes", "Snapshots on disk.")?,
            slots: IntGauge::new("hearth_worker_slots", "Slots bound to a function.")?,
            ended_for_memory: IntCounter::new(
                "hearth_worker_slots_ended_for_memory_total",
                "Idle slots that ended because memory was short.",
            )?,
            log_entries_dropped: IntCounter::new("hearth_worker_log_entries_dropped_total", "Log entries dropped.")?,
            code_bytes: IntGauge::new("hearth_worker_code_bytes", "Unpacked code on disk.")?,
            reports_failed: IntCounter::new(
                "hearth_worker_reports_failed_total",
                "Reports that placement did not take.",
            )?,
        };
        registry.register(Box::new(invocations))?;
        registry.register(Box::new(metrics.invocation_seconds.clone()))?;
        registry.register(Box::new(metrics.cold_starts.clone()))?;
        registry.register(Box::new(metrics.inits.clone()))?;
        registry.register(Box::new(metrics.init_seconds.clone()))?;
        registry.register(Box::new(metrics.pooled.clone()))?;
        registry.register(Box::new(metrics.sandbox_start_seconds.clone()))?;
        registry.register(Box::new(metrics.snapshots_made.clone()))?;
        registry.register(Box::new(metrics.snapshots_refused.clone()))?;
        registry.register(Box::new(metrics.snapshot_bytes.clone()))?;
        registry.register(Box::new(metrics.slots.clone()))?;
        registry.register(Box::new(metrics.ended_for_memory.clone()))?;
        registry.register(Box::new(metrics.log_entries_dropped.clone()))?;
        registry.register(Box::new(metrics.code_bytes.clone()))?;
        registry.register(Box::new(metrics.reports_failed.clone()))?;
        Ok(metrics)
    }

    /// A function got a sandbox.
    pub(crate) fn cold_start(&self, from_pool: bool) {
        self.cold_starts.with_label_values(&[if from_pool { "pool" } else { "boot" }]).inc();
    }

    /// A sandbox is up.
    pub(crate) fn started(&self, restored: bool, took: Duration) {
        let how = if restored { "restore" } else { "boot" };
        self.sandbox_start_seconds.with_label_values(&[how]).observe(took.as_secs_f64());
    }

    /// A snapshot was made, or could not be.
    pub(crate) fn snapshot_made(&self, success: bool) {
        self.snapshots_made.with_label_values(&[if success { "success" } else { "failed" }]).inc();
    }

    /// A snapshot was of no use.
    pub(crate) fn snapshot_refused(&self) {
        self.snapshots_refused.inc();
    }

    /// An init is over.
    pub(crate) fn init_over(&self, answer: &Result<InitDone, InitSlotError>) {
        let outcome = match answer {
            Ok(done) => {
                self.init_seconds.observe(done.times.init.as_secs_f64());
                "success"
            }
            Err(InitSlotError::InitFailed(_)) => "failed",
            Err(InitSlotError::Refused { .. } | InitSlotError::Unreachable(_)) => "refused",
        };
        self.inits.with_label_values(&[outcome]).inc();
    }

    /// An invocation is over.
    pub(crate) fn invocation_over(&self, answer: &InvokeResponse) {
        match &answer.response {
            FunctionResponse::Success(_) => self.succeeded.inc(),
            FunctionResponse::Error(_) => self.failed.inc(),
        }
        self.invocation_seconds.observe(answer.usage.duration.as_secs_f64());
    }

    /// The pool changed.
    pub(crate) fn pool(&self, state: &PoolState) {
        for (class, count) in &state.counts {
            let (runtime, memory_mb) = (class.runtime.to_string(), class.memory.mb().to_string());
            self.pooled.with_label_values(&[&runtime, &memory_mb]).set(i64::from(*count));
        }
    }
}

fn counters(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), &[label])
}

fn seconds(name: &str, help: &str) -> prometheus::Result<Histogram> {
    Histogram::with_opts(bounds(name, help)?)
}

/// From a quarter of a millisecond to about a quarter of an hour.
fn bounds(name: &str, help: &str) -> prometheus::Result<HistogramOpts> {
    Ok(HistogramOpts::new(name, help).buckets(exponential_buckets(0.000_25, 2.0, 22)?))
}
