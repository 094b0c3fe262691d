//! The router in virtual time: scenarios against a recording outbox, and random schedules.
#![forbid(unsafe_code)]

mod cold_start;
mod fixture;
mod reservation;
