//! Asynchronous invocations: events that were acknowledged with 202 and run later.
//!
//! ```text
//!            ┌────────────── due again (retry, deferral) ──────────────┐
//! queue ─due→ dispatcher ─→ EventInvoker ─outcome→ Schedule ─┬─────────┘
//!                                                            ├─ done ─────→ OnSuccess
//!                                                            └─ given up ─→ OnFailure, dead-letter target,
//!                                                                           or kept as a dead letter
//! ```
//!
//! Invariants: an event leaves the queue in the same transaction that stores what it leaves behind (records, messages,
//! a dead letter); so it runs at least once and is never lost, and there is never half of what it leaves. A crash
//! between an answer and its settlement runs it again. At most [`Config::max_running`] run at a time.
//!
//! [`schedule`] decides; [`target`] reads where records go, [`destination`] writes them, [`delivery`] puts together what
//! an event leaves behind; [`dispatcher`] does.

pub mod channels;
pub mod configuration;
mod delivery;
pub mod destination;
mod dispatcher;
mod metrics;
pub mod schedule;
pub mod target;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_domain::Version;
use hearth_store::event::Event;
use hearth_store::{Catalog, Documents, EventQueue};

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
    Succeeded(Run),
    /// The function ran and failed, or its init did: it counts as an attempt.
    FunctionError(Run),
    /// It did not run, or the platform failed (429, 5xx, no capacity, function not active yet): tried again until
    /// the event is too old.
    Deferred {
        /// In words, for the log.
        reason: String,
    },
    /// Its reserved concurrency is zero: it must not run, and trying again makes no sense (AWS: Lambda developer guide,
    /// "Capturing records of Lambda asynchronous invocations").
    NoConcurrency,
    /// There is no such function or version any more; trying again makes no sense.
    NoFunction,
}

/// A run of the function, to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The version that ran.
    pub executed_version: Version,
    /// What it returned, or the error document.
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
    /// The region of ARNs.
    pub region: String,
    /// Where functions, and the targets of their failed events, stand.
    pub catalog: Arc<dyn Catalog>,
    /// Where configurations, aliases and channels stand.
    pub documents: Arc<dyn Documents>,
    /// Runs an attempt.
    pub invoker: Arc<dyn EventInvoker>,
    /// The wall clock, Unix milliseconds: ages and due times outlive the process.
    pub now_unix_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}
