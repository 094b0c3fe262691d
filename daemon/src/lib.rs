//! What every role's process does alike: configuration, tasks, shutdown, telemetry, the admin port.
//!
//! Absent on purpose: anything about functions, slots or leases.
#![forbid(unsafe_code)]

mod clock;
mod tasks;

pub use clock::Clock;
pub use tasks::{OnFailure, TaskFailure, Tasks};
