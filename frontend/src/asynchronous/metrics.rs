//! What became of events, as counters.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// The dispatcher's metrics.
#[derive(Clone)]
pub(super) struct Metrics {
    /// By what was done with the event after an attempt.
    handled: IntCounterVec,
    /// Events that run now.
    pub(super) running: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let handled = Opts::new(
            "hearth_events_handled_total",
            "Asynchronous events after an attempt: succeeded, retried, deferred, forwarded or dead_lettered.",
        );
        let handled = IntCounterVec::new(handled, &["outcome"])?;
        let running = IntGauge::new("hearth_events_running", "Asynchronous events that run or wait for a slot.")?;
        registry.register(Box::new(handled.clone()))?;
        registry.register(Box::new(running.clone()))?;
        Ok(Self { handled, running })
    }

    pub(super) fn handled(&self, outcome: &'static str) {
        self.handled.with_label_values(&[outcome]).inc();
    }
}
