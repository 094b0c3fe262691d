//! What the programs that measure share: a platform of their own, functions to call, signed connections, quantiles,
//! phases of calls, CPU and memory of process trees, how far a job is, and reports with plots.
#![forbid(unsafe_code)]

pub mod caller;
pub mod connection;
pub mod cores;
pub mod cpu;
pub mod cpu_tree;
pub mod function;
pub mod machine;
pub mod memory;
pub mod pace;
pub mod phases;
pub mod platform;
pub mod plot;
pub mod progress;
pub mod report;
pub mod statistics;
