//! The HTTP API, driven as clients drive it: signed requests through the real router, over a real store and a fleet in
//! memory.

mod fleet;
mod functions;
mod platform;
