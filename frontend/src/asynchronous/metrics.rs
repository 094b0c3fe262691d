//! What became of events, as counters.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use crate::asynchronous::schedule::Condition;

/// Bounds of the ages at the start of an attempt, seconds: at once, the retries, the age at which events are given up.
const AGE_BOUNDS_S: [f64; 10] = [0.1, 1.0, 5.0, 30.0, 90.0, 240.0, 900.0, 3_600.0, 10_800.0, 21_600.0];

/// The dispatcher's metrics.
#[derive(Clone)]
pub(super) struct Metrics {
    /// By what was done with the event after an attempt.
    handled: IntCounterVec,
    /// By condition.
    ended: IntCounterVec,
    /// Records by where they went.
    records: IntCounterVec,
    /// How old events are when an attempt starts (AWS: `AsyncEventAge`).
    age_s: Histogram,
    /// How old they were at their end.
    ended_age_s: Histogram,
    /// Events that run now.
    pub(super) running: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let ages = |name: &str, help: &str| {
            let ages = Histogram::with_opts(HistogramOpts::new(name, help).buckets(AGE_BOUNDS_S.to_vec()))?;
            registry.register(Box::new(ages.clone()))?;
            Ok::<_, prometheus::Error>(ages)
        };
        let running = IntGauge::new("hearth_events_running", "Asynchronous events that run or wait for a slot.")?;
        registry.register(Box::new(running.clone()))?;
        Ok(Self {
            handled: counters(
                "hearth_events_handled_total",
                "Asynchronous events after an attempt: succeeded, retried, deferred, forwarded or dead_lettered.",
                "outcome",
            )?,
            ended: counters(
                "hearth_frontend_events_ended_total",
                "Asynchronous events that left the queue, by the condition in their records.",
                "condition",
            )?,
            records: counters(
                "hearth_frontend_events_records_total",
                "Records of ended events: sent to a function or a channel, or undelivered.",
                "to",
            )?,
            age_s: ages("hearth_frontend_events_age_seconds", "Age of asynchronous events when an attempt starts.")?,
            ended_age_s: ages("hearth_frontend_events_ended_age_seconds", "Age of asynchronous events at their end.")?,
            running,
        })
    }

    pub(super) fn handled(&self, outcome: &'static str) {
        self.handled.with_label_values(&[outcome]).inc();
    }

    pub(super) fn started(&self, age_ms: u64) {
        self.age_s.observe(Duration::from_millis(age_ms).as_secs_f64());
    }

    pub(super) fn ended(&self, condition: Condition, age_ms: u64) {
        self.ended.with_label_values(&[condition.name()]).inc();
        self.ended_age_s.observe(Duration::from_millis(age_ms).as_secs_f64());
    }

    pub(super) fn delivered(&self, to: &[&'static str], undelivered: u64) {
        to.iter().for_each(|to| self.records.with_label_values(&[to]).inc());
        self.records.with_label_values(&["undelivered"]).inc_by(undelivered);
    }
}
