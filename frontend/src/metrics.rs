//! What the HTTP side counts. What functions use is counted by [`crate::metering`], events by [`crate::asynchronous`].

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Upper bounds of the latency histogram, seconds: from a warm call to the longest timeout.
const LATENCY_BUCKETS_S: [f64; 16] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 900.0];

/// Counters of the HTTP side.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    /// The one series on the path of every good call, looked up once.
    invoked: IntCounter,
    invoke_latency: Histogram,
    pub(crate) connections: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("hearth_frontend_requests_total", "Requests by operation and by HTTP status or error code"),
            &["operation", "code"],
        )?;
        let invoke_latency = Histogram::with_opts(
            HistogramOpts::new("hearth_frontend_invoke_seconds", "Time from request to answer of Invoke")
                .buckets(LATENCY_BUCKETS_S.to_vec()),
        )?;
        let connections = IntGauge::new("hearth_frontend_connections", "Open connections")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(invoke_latency.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        let invoked = requests.with_label_values(&["Invoke", "200"]);
        Ok(Self { requests, invoked, invoke_latency, connections })
    }

    /// Counts a reply.
    pub(crate) fn answered(&self, operation: &'static str, code: &str, took: Duration) {
        if operation == "Invoke" {
            self.invoke_latency.observe(took.as_secs_f64());
            if code == "200" {
                return self.invoked.inc();
            }
        }
        self.requests.with_label_values(&[operation, code]).inc();
    }
}
