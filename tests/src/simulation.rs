//! A whole fleet in virtual time, from one seed.
//!
//! ```text
//!  clients ──▶ managers: real Router ──▶ placement: real Ledger ──▶ workers: slots by domain's table
//!      └────────────────────────────────invoke──────────────────────▶┘
//!          every arrow: a network that loses, delays, doubles and reorders; every node: a clock of its own, crashes
//! ```
//!
//! The cores are the ones that serve traffic; only their shells are replaced, by [`node`]s that do what the shells do: calls with
//! timeouts, claim streams, deadlines. The [`oracle`] sees everything in true time and panics when DESIGN.md's
//! invariants are broken; the cores' own `check_invariants()` run after every step. A run has a storm, in which everything goes
//! wrong, a calm, in which the fleet has to heal, calls that then have to succeed, and an end at which nothing may be left.
//!
//! The same seed gives the same run, to the last message: [`Summary::trace`] is a hash of it.

mod chance;
mod clock;
mod event;
mod fault;
mod functions;
mod network;
mod node;
mod oracle;
mod scenario;
mod world;

pub use fault::Fault;
pub use scenario::Scenario;
pub use world::{Summary, World};

/// Runs the storm of this seed.
///
/// # Panics
/// If an invariant breaks.
#[must_use]
pub fn storm(seed: u64, fault: Option<Fault>) -> Summary {
    World::new(Scenario::storm(seed), fault).run()
}

/// Runs the storm of this seed and prints everything that happens in it.
///
/// # Panics
/// If an invariant breaks.
#[must_use]
pub fn storm_told(seed: u64) -> Summary {
    World::new(Scenario::storm(seed), None).told().run()
}
