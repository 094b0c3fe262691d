//! What the programs that measure share: quantiles, and memory of process trees.
#![forbid(unsafe_code)]

pub mod memory;
pub mod statistics;
