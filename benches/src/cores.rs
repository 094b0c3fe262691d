//! The cores of the control plane (the router of the worker manager, the ledger of placement) over simulated workers in
//! virtual time. The cores are the real ones; workers, the network and the callers are made up, and what they cost is not
//! measured: only the processor time of each call into a core is.
//!
//! ```text
//! trace ──calls──▶ router ──claims, renewals, releases──▶ ledger ──inits, reclaims──▶ simulated workers
//!                    ▲ ◀──────── grants, new terms ───────────┘ ◀───────── reports ───────────┘
//! ```

pub mod chance;
pub mod cluster;
pub mod fixture;
pub mod fleet;
pub mod meter;
pub mod trace;
