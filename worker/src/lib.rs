//! The worker: micro-manager of one host. It keeps booted sandboxes in a pool, binds them to functions as slots, runs
//! invocations on them, keeps their logs, and tells placement how loaded it is.
//!
//! ```text
//! InitSlot ──▶ slots ──▶ one task per slot ──take──▶ pool ──boot──▶ microvm::Launcher
//!                              │  │  └──unpacked code──▶ code
//! Invoke ────▶ slots ──────────┘  └──lines──▶ logs              channel: frames to and from the shim
//! ```
//!
//! Invariants:
//! * A slot runs one invocation at a time, of one function version, under the newest fencing token it was told.
//! * A sandbox that has seen code never returns to the pool; after any failure it is destroyed.
//! * Nothing is written to disk before an answer; log lines go to a writer that drops and counts rather than blocks.
//! * Whatever a sandbox sends can end only that sandbox.
//!
//! Absent on purpose: routing, leases' deadlines, retries. Who may use a slot, and for how long, others decide; here
//! only the token counts.
#![forbid(unsafe_code)]

mod calendar;
mod capacity;
mod channel;
mod class;
mod code;
pub mod config;
mod logs;
mod metrics;
mod platform_log;
mod pool;
mod pressure;
mod report;
mod runtime;
mod slot;
mod snapshots;
mod starting;
mod usage;
mod worker;

pub use config::{Config, LogBounds};
pub use pressure::{HostMemory, MemorySource, Sample};
pub use runtime::runtimes_of_this_host;
pub use worker::{Deps, StartError, Worker};
