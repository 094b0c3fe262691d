//! Placement: grants leases; creates and destroys slots by worker load.
//!
//! Two pure cores and a shell. [`allocation`] chooses the worker of a new slot; [`ledger`] knows every worker, slot and
//! lease and decides; [`Placement`] carries out what the ledger decides: it calls workers, keeps claim streams and time.
//!
//! Absent on purpose: a disk. What placement knows is rebuilt from what workers report (see [`ledger`]).
#![forbid(unsafe_code)]

pub mod allocation;
mod config;
pub mod ledger;
mod service;

pub use config::{Config, InvalidConfig};
pub use service::{Deps, Placement, StartError};
