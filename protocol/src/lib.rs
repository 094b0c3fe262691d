//! What the roles say to each other.
//!
//! Each arrow of the picture is one file: the trait a role implements, with its requests, answers and errors.
//! A role is handed `Arc<dyn …>` and does not know whether behind it stands the role itself (one process) or a gRPC
//! client (many).
//!
//! Absent on purpose: decisions. This crate carries and checks; it never chooses.
#![forbid(unsafe_code)]

pub mod grpc;
pub mod placement;
pub mod worker;
pub mod worker_manager;

mod directory;
mod generated;
mod wire;

pub use directory::LocalDirectory;
pub use placement::Placement;
pub use wire::Malformed;
pub use worker::{Worker, WorkerDirectory, WorkerEndpoint};
pub use worker_manager::WorkerManager;

/// The other role could not be reached, or did not answer in a way we understand. Nothing is known about whether the
/// request took effect, unless `not_sent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} can't be reached: {reason}")]
pub struct Unreachable {
    /// Which role was asked, and where.
    pub role: String,
    /// What went wrong.
    pub reason: String,
    /// The request certainly never reached the other side, so asking again is safe.
    pub not_sent: bool,
}
