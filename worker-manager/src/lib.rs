//! Routes an invocation to a warm slot held under a lease.
//!
//! The cores decide in virtual time: [`router`] (which slot runs which call, when to claim, when to let go), with
//! [`leases`] (what the holder of a lease may do and when) and [`keep_alive`] (how long an idle slot stays).
//!
//! [`WorkerManager`] is the shell around them: it alone knows tokio, the clock and placement.
//!
//! Absent on purpose: payloads (they go from frontend to worker), the choice of a worker (placement's), and any state
//! on disk: what this role knows is rebuilt from placement after a restart.
#![forbid(unsafe_code)]

mod alarms;
mod config;
pub mod keep_alive;
pub mod leases;
mod manager;
pub mod router;

pub use config::{Config, Deps, StartError};
pub use manager::WorkerManager;
