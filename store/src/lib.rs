//! What must survive a restart: catalog, documents beside it, code bundles, asynchronous events, usage.
//!
//! Each is a trait with engines behind it; roles do not know which they got. The embedded engines keep catalog, events
//! and usage in one sled database and bundles as files named by their SHA-256.
//!
//! Invariant: a method that changes something answers only when the change is on disk.
//! Absent on purpose: policy. What may be created, retried or dropped is the frontend's to decide.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod catalog;
pub mod document;
pub mod embedded;
pub mod event;
pub mod files;
pub mod message;
pub mod unzip;
pub mod usage;

pub use bundle::BundleStore;
pub use catalog::{Catalog, CatalogError, FunctionRecord};
pub use document::{Collection, Document, Documents};
pub use event::{EventQueue, PushError};
pub use message::MessageStore;
pub use usage::UsageStore;

/// The engine failed: disk full, damaged, or out of reach. Nothing is known about whether a change took effect.
#[derive(Debug, thiserror::Error)]
#[error("store: {operation}: {source}")]
pub struct StoreFailure {
    /// What was attempted, with the key it was about.
    pub operation: String,
    /// The engine's own error.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreFailure {
    /// A failure of `operation`, which names the key or path it was about.
    pub fn new(operation: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { operation: operation.into(), source: source.into() }
    }
}
