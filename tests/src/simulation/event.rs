//! What happens, and the messages in it.

use std::sync::Arc;

use hearth_domain::{FencingToken, FunctionSpec, HolderId, RequestId, SlotId, SlotOutcome};
use hearth_protocol::Unreachable;
use hearth_protocol::placement::{
    ClaimOutcome, ClaimRequest, Grant, ReleaseRequest, RenewRequest, RenewResponse, ReportAck, WorkerReport,
};
use hearth_protocol::worker::{FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError};
use hearth_protocol::worker_manager::{Completion, Reservation, ReserveError};
use hearth_worker_manager::leases::Renewal;
use hearth_worker_manager::router::ClaimNumber;

use super::clock::Instant;

/// Who takes part. Clients are one node: what they are is not the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum NodeId {
    Clients,
    Placement,
    Manager(usize),
    Worker(usize),
}

/// Counts the starts of a node, from 0.
pub(super) type Life = u32;

/// One call of one role by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RpcId(pub(super) u64);

/// Which life of which manager.
pub(super) type ManagerLife = (usize, Life);

#[derive(Debug)]
pub(super) enum Event {
    Request {
        rpc: RpcId,
        from: (NodeId, Life),
        to: NodeId,
        request: Request,
    },
    Response {
        rpc: RpcId,
        response: Response,
    },
    /// The caller hears nothing more: time over, connection refused or reset.
    Failed {
        rpc: RpcId,
        not_sent: bool,
    },
    /// A core's deadline.
    Timer {
        node: NodeId,
        life: Life,
        at: Instant,
    },
    Report {
        worker: usize,
        life: Life,
    },
    InitOver {
        worker: usize,
        life: Life,
        slot: SlotId,
        failed: bool,
    },
    InvocationOver {
        worker: usize,
        life: Life,
        slot: SlotId,
        run: u64,
    },
    SlotCrash {
        worker: usize,
        life: Life,
        slot: SlotId,
    },
    Recover {
        manager: usize,
        life: Life,
    },
    Call {
        call: usize,
    },
    Crash(NodeId),
    Start(NodeId),
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    Reserve { request_id: RequestId, function: Arc<FunctionSpec> },
    Complete(Completion),
    Invoke { request_id: RequestId, slot: SlotId, token: FencingToken, reserved_by: ManagerLife },
    Claim(ClaimRequest),
    Renew(RenewRequest),
    Release(ReleaseRequest),
    Recover(HolderId),
    Report(WorkerReport),
    Init(InitSlot),
    Fence(FenceRequest),
    Reclaim(Vec<(SlotId, FencingToken)>),
}

#[derive(Debug, Clone)]
pub(super) enum Response {
    Reserved(Result<(Reservation, ManagerLife), ReserveError>),
    Done,
    Invoked(Result<SlotOutcome, InvokeError>),
    /// One of several.
    Outcome(ClaimOutcome),
    Renewed(Result<RenewResponse, Unreachable>),
    Recovered(Result<Vec<Grant>, Unreachable>),
    Acked(ReportAck),
    Inited(Result<InitDone, InitSlotError>),
    Fenced(Fenced),
}

/// What a caller waits for, and what it needs to know when it comes.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) caller: NodeId,
    pub(super) life: Life,
    pub(super) to: NodeId,
    pub(super) about: About,
    /// A stream that was cut: what is still on its way never arrives.
    pub(super) cut: bool,
    /// Streams keep their order: nothing arrives before this.
    pub(super) not_before: Instant,
}

#[derive(Debug, Clone)]
pub(super) enum About {
    Reserve {
        call: usize,
    },
    Invoke {
        call: usize,
        reservation: Reservation,
    },
    Claim(ClaimNumber),
    Renew(Renewal),
    Recover {
        sent_at: hearth_domain::Moment,
    },
    Report,
    Init {
        slot: SlotId,
        token: FencingToken,
    },
    Fence {
        slot: SlotId,
        token: FencingToken,
    },
    /// Nobody waits for the answer.
    Nothing,
}
