//! Asynchronous invocations: events that were acknowledged with 202 and run later.
//!
//! ```text
//!            ┌────────────── due again (retry, deferral) ──────────────┐
//! queue ─due→ dispatcher ─→ EventInvoker ─outcome→ Schedule ─┬─────────┘
//!                                                            ├─ done ───────────→ settled
//!                                                            └─ given up ─→ OnFailure function (an event of its own)
//!                                                                       └─→ dead letter
//! ```
//!
//! Invariants: an event leaves the queue only when it succeeded, when the event for its `OnFailure` function is stored,
//! or together with the storing of its dead letter; so it runs at least once and is never lost. A crash between an
//! answer and its settlement runs it again. At most [`Config::max_running`] run at a time.
//!
//! [`schedule`] decides; [`destination`] writes the record for the `OnFailure` function; [`dispatcher`] does.

pub mod destination;
mod dispatcher;
mod metrics;
pub mod schedule;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_domain::Version;
use hearth_store::event::Event;
use hearth_store::{Catalog, EventQueue};

pub use dispatcher::start;
pub use schedule::RetryConfig;

/// Runs one attempt of an event: looks the function up, waits for a slot, invokes.
#[async_trait]
pub trait EventInvoker: Send + Sync + 'static {
    /// Runs the event once. Never fails: what goes wrong is an outcome.
    async fn invoke_event(&self, event: &Event) -> Outcome;
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The function ran and returned.
    Succeeded,
    /// The function ran and failed, or its init did: it counts as an attempt.
    FunctionError(FailedRun),
    /// It did not run, or the platform failed (429, 5xx, no capacity, function not active yet): tried again until
    /// the event is too old.
    Deferred {
        /// In words, for the log.
        reason: String,
    },
    /// There is no such function or version any more; trying again makes no sense.
    NoFunction,
}

/// A function error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// The version that ran.
    pub executed_version: Version,
    /// The error document (JSON).
    pub document: Bytes,
}

/// What the dispatcher can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// When a failed event runs again, and until when.
    pub retry: RetryConfig,
    /// Most events that run at a time, those that wait for a slot included. The queue holds events of a function back of
    /// which it has given out many, so this should be a multiple of that limit.
    pub max_running: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { retry: RetryConfig::default(), max_running: 512 }
    }
}

/// What the dispatcher works with.
#[derive(Clone)]
pub struct Deps {
    /// Where the events are.
    pub events: Arc<dyn EventQueue>,
    /// Where a function's `OnFailure` target stands.
    pub catalog: Arc<dyn Catalog>,
    /// Runs an attempt.
    pub invoker: Arc<dyn EventInvoker>,
    /// The wall clock, Unix milliseconds: ages and due times outlive the process.
    pub now_unix_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}
