//! The ledger under a recording outbox: each test ends with nothing unexpected sent, and invariants hold after every step.

mod bench;
mod claims;
mod fleet;
mod leases;
mod properties;
mod recovery;
mod restart;
