//! The worker through its own interface. Its sandboxes are tasks of the test that speak the guest protocol, well or ill;
//! in `real`, they are the launchers' own, with the shim and the languages that this host has.

mod fake;
mod fixture;
mod hostile;
mod lifecycle;
mod microvms;
mod neighbours;
mod real;
mod snap_start;
mod snapshots;
