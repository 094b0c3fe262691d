//! The HTTP API, driven as clients drive it: signed requests through the real router, over a real store and a fleet in
//! memory.

mod authentication;
mod clients;
mod fleet;
mod functions;
mod invocations;
mod model;
mod own_routes;
mod platform;
mod random;
mod refusals;
mod server;
mod warm_path;
