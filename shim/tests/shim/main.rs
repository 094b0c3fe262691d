//! The shim as a process, driven over its channel as a worker drives it, with real runtimes inside.

mod custom;
mod http;
mod node;
mod processes;
mod python;
mod sandbox;
mod snapshots;
