//! One slot as its holder keeps it.
//!
//! ```text
//! granted ─▶ Idle ⇄ Busy ─▶ released or dropped
//!    │         ▲      │
//!    └─▶ Refreshing ◀─┘     too little left of the lease: a renewal comes first
//! ```

use hearth_domain::{Moment, RequestId};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::worker_manager::AwaitedStart;

use crate::alarms::Armed;
use crate::leases::HeldLease;

use super::RouterConfig;
use super::admission::Pool;
use super::function::FunctionIndex;

/// A slot this manager holds, or that a call of ours may still run on.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) lease: HeldLease,
    pub(super) worker: WorkerEndpoint,
    pub(super) function: FunctionIndex,
    pub(super) place: SlotPlace,
    /// It is kept ready.
    pub(super) pinned: bool,
    /// When it was granted; after a restart of this manager, when it was found.
    pub(super) granted_at: Moment,
    /// When its worker last answered for it: the grant, or the end of a call that left it reusable.
    pub(super) answered_at: Moment,
    /// How it came about, until its first call has it or it is idle.
    pub(super) start: Option<Box<AwaitedStart>>,
    pub(super) armed: Armed,
}

/// Where a slot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotPlace {
    /// Waits for a call, since then.
    Idle(Moment),
    /// Waits for a renewal before it can take a call.
    Refreshing,
    /// Reserved.
    Busy(Busy),
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Busy {
    /// For which invocation.
    pub(super) request_id: RequestId,
    /// Of what it takes.
    pub(super) pool: Pool,
    /// Since when.
    pub(super) since: Moment,
    /// When it is taken for abandoned.
    pub(super) until: Moment,
    /// The lease is not ours any more; the call may still run, but nothing follows it.
    pub(super) lost: bool,
}

impl Slot {
    /// The reservation, if it is reserved.
    pub(super) fn busy(&self) -> Option<&Busy> {
        match &self.place {
            SlotPlace::Busy(busy) => Some(busy),
            SlotPlace::Idle(_) | SlotPlace::Refreshing => None,
        }
    }

    /// When to look at it again at the latest.
    pub(super) fn deadline(&self, config: &RouterConfig) -> Moment {
        let renew = self.lease.renew_at(config.renew_retry);
        match &self.place {
            SlotPlace::Busy(busy) if busy.lost => busy.until,
            SlotPlace::Busy(busy) => busy.until.min(renew),
            SlotPlace::Idle(_) | SlotPlace::Refreshing => {
                let ends = self.lease.forget_at();
                let ends = self.replaced_at(config).map_or(ends, |replaced| replaced.min(ends));
                renew.min(ends)
            }
        }
    }

    /// When it is replaced though nobody called it: what is kept ready does not age out, and its credentials do.
    pub(super) fn replaced_at(&self, config: &RouterConfig) -> Option<Moment> {
        self.pinned.then(|| self.granted_at + config.environment_life)
    }
}
