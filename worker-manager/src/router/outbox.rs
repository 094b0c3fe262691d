//! What the router asks the world to do.

use std::sync::Arc;

use hearth_domain::{FencingToken, FunctionSpec, Moment, SlotId};
use hearth_protocol::worker_manager::{Reservation, ReserveError};

use crate::leases::Renewal;

/// Takes what the router decided. Called in the middle of a decision: it must not call back.
pub trait Outbox {
    /// The wait is over. Each waiter is answered exactly once, unless it was cancelled.
    fn answer(&mut self, waiter: WaiterId, answer: Result<Reservation, ReserveError>);

    /// Asks placement for slots. Its outcomes come back by [`super::Router::on_claim_outcome`].
    fn claim(&mut self, claim: Claim);

    /// Asks placement to renew leases. Its answer comes back by [`super::Router::on_renewed`], or never.
    fn renew(&mut self, renewal: Renewal);

    /// Gives leases back to placement. No answer is expected: a release that is lost ends with the lease.
    fn release(&mut self, leases: Vec<(SlotId, FencingToken)>);
}

/// What became of a call that asked for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// A slot, at once.
    Now(Reservation),
    /// It waits; the answer comes by [`Outbox::answer`].
    Waits(WaiterId),
}

/// A call that waits for a slot. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(pub u64);

/// A claim of this manager since its start, counted from 1. The shell makes it unique in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimNumber(pub u64);

/// Asks for slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which claim.
    pub number: ClaimNumber,
    /// What the slots are to run.
    pub function: Arc<FunctionSpec>,
    /// How many, from 1.
    pub count: u32,
    /// When the router gives up what is outstanding of it; a slot that comes later is given back.
    pub give_up_at: Moment,
}
