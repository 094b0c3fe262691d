//! The router in virtual time: scenarios against a recording outbox, and random schedules.
#![forbid(unsafe_code)]

mod capacity;
mod cold_start;
mod fixture;
mod keep_alive;
mod lease;
mod life;
mod provisioned;
mod random;
mod reservation;
mod reserved;
mod unreachable;
