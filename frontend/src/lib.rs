//! The HTTP edge.
#![forbid(unsafe_code)]
pub mod calendar;
pub mod sigv4;
