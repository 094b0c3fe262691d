//! The worker through its own interface. Its sandboxes are tasks of the test that speak the guest protocol, well or ill.

mod fake;
mod fixture;
mod hostile;
mod lifecycle;
