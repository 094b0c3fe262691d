//! What can happen to the owner of the ledger.

use std::time::Duration;

use hearth_domain::{FencingToken, HolderId, SlotId};
use hearth_protocol::placement::{
    ClaimRequest, FleetWorker, Grant, ReleaseRequest, RenewRequest, RenewResponse, ReportAck, WorkerReport,
};
use hearth_protocol::worker::{Fenced, InitDone, InitSlotError};
use hearth_protocol::{Unreachable, WorkerEndpoint};
use tokio::sync::oneshot;

use super::claims::Outcomes;

/// Where the answer to a request goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Unreachable>>;

/// A request from outside or the result of a call.
#[derive(Debug)]
pub(super) enum Event {
    Claim {
        request: ClaimRequest,
        reply: Reply<Outcomes>,
    },
    Renew {
        request: RenewRequest,
        reply: Reply<RenewResponse>,
    },
    Release {
        request: ReleaseRequest,
        reply: Reply<()>,
    },
    Recover {
        holder: HolderId,
        reply: Reply<Vec<Grant>>,
    },
    Report {
        report: Box<WorkerReport>,
        reply: Reply<ReportAck>,
    },
    Fleet {
        reply: Reply<Vec<FleetWorker>>,
    },
    Init(InitResult),
    Fence {
        slot: SlotId,
        token: FencingToken,
        result: Result<Fenced, Unreachable>,
    },
    /// Grants that nobody read.
    Undelivered(Vec<(SlotId, FencingToken)>),
}

/// What came of having a worker make a slot.
#[derive(Debug)]
pub(super) struct InitResult {
    pub(super) worker: WorkerEndpoint,
    pub(super) slot: SlotId,
    pub(super) token: FencingToken,
    pub(super) took: Duration,
    pub(super) result: Result<InitDone, InitSlotError>,
}
