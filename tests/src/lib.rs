//! What proves the house: a seeded simulation of the cores in virtual time.
//!
//! Absent on purpose: anything that ships.
#![forbid(unsafe_code)]

pub mod simulation;
