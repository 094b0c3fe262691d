//! What the ledger wants done.

use hearth_domain::{FencingToken, SlotId};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::{ClaimOutcome, Grant};
use hearth_protocol::worker::{FenceRequest, InitSlot};

use super::{ClaimTicket, RecoverTicket};

/// Takes what the ledger wants done. None of it may fail or call back: results come as later events.
pub trait Outbox {
    /// Have the worker make a slot; then [`super::Ledger::on_init_result`].
    fn init_slot(&mut self, worker: &WorkerEndpoint, request: InitSlot);

    /// Have the worker give a slot a new token; then [`super::Ledger::on_fence_result`].
    fn fence(&mut self, worker: &WorkerEndpoint, request: FenceRequest);

    /// Have the worker drain and destroy a slot. May be lost: the answers to its reports repeat it.
    fn reclaim(&mut self, worker: &WorkerEndpoint, slot: SlotId, token: FencingToken);

    /// Tell whoever claimed. A granted slot that certainly can't be told goes to [`super::Ledger::on_undelivered`].
    fn claim_outcome(&mut self, ticket: ClaimTicket, outcome: ClaimOutcome);

    /// Tell whoever recovers. Once for each ticket.
    fn recovered(&mut self, ticket: RecoverTicket, grants: Vec<Grant>);
}
