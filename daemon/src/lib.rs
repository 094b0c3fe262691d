//! What every role's process does alike: configuration, tasks, shutdown, telemetry, the admin port.
//!
//! Absent on purpose: anything about functions, slots or leases.
#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod telemetry;

mod clock;
mod open_files;
mod readiness;
mod signal;
mod tasks;

pub use clock::Clock;
pub use open_files::raise_open_files_limit;
pub use readiness::{Condition, Readiness};
pub use signal::{ShutdownSignal, ShutdownSignals};
pub use tasks::{OnFailure, TaskFailure, Tasks};
