//! worker manager → placement, worker → placement: leases, and the fleet's load.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use hearth_domain::{
    ClaimId, FencingToken, FunctionRef, FunctionSpec, HolderId, InitFailure, Isolation, LeaseTerms, Runtime, SlotId,
    SlotState, StartTimes,
};

use crate::{Unreachable, WorkerEndpoint};

/// Grants leases; creates and destroys slots by worker load.
#[async_trait]
pub trait Placement: Send + Sync + 'static {
    /// Creates `count` slots and leases them to the holder. The stream has exactly `count` outcomes, each as soon as
    /// it is known; a stream that ends earlier was cut (the caller claims again under a new id and [`Self::recover`]s
    /// nothing: what it never heard of, placement reclaims when the lease is gone).
    async fn claim(&self, request: ClaimRequest) -> Result<BoxStream<'static, ClaimOutcome>, Unreachable>;

    /// Renews leases, many at a time.
    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, Unreachable>;

    /// Gives leases back; their slots drain and end.
    async fn release(&self, request: ReleaseRequest) -> Result<(), Unreachable>;

    /// A restarted holder asks for what it held: idle slots come back under new tokens, busy ones drain.
    async fn recover(&self, holder: HolderId) -> Result<Vec<Grant>, Unreachable>;

    /// A worker says what it is, how loaded it is and which slots it has. Complete every time, so that a restarted
    /// placement knows all after one report of each worker.
    async fn report(&self, report: WorkerReport) -> Result<ReportAck, Unreachable>;

    /// Every worker as placement sees it.
    async fn fleet(&self) -> Result<Vec<FleetWorker>, Unreachable>;
}

/// Asks for slots.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Makes a repeated claim harmless.
    pub id: ClaimId,
    /// Who will hold the leases.
    pub holder: HolderId,
    /// What the slots are to run.
    pub function: Arc<FunctionSpec>,
    /// How many, from 1.
    pub count: u32,
}

/// One outcome of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimOutcome {
    /// A slot, initialized and leased.
    Granted(Grant),
    /// The function's init failed in the slot; the slot is gone.
    InitFailed(Box<InitFailure>),
    /// No worker can take it now: full, none there, or none offers the runtime or the isolation.
    NoCapacity {
        /// Which of these, in words for the caller.
        reason: String,
        /// A worker would take it if others' slots ended: releasing idle ones helps. Without this, it would only take
        /// warm slots from those who use them.
        full: bool,
    },
}

/// A lease on an initialized slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The slot.
    pub slot: SlotId,
    /// This grant's token.
    pub token: FencingToken,
    /// The deadlines; the holder counts from when it sent the claim, or renews before first use.
    pub terms: LeaseTerms,
    /// Where the slot is.
    pub worker: WorkerEndpoint,
    /// What runs in it.
    pub function: FunctionRef,
    /// How it came about, if that was for this grant.
    pub start: Option<StartTimes>,
}

/// Renews leases of one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewRequest {
    /// Who holds them.
    pub holder: HolderId,
    /// Which.
    pub leases: Vec<(SlotId, FencingToken)>,
}

/// The answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewResponse {
    /// For each lease asked about, in the same order: its new terms, counted from the request's sending, or `None`
    /// where the lease is not the holder's any more.
    pub renewed: Vec<Option<LeaseTerms>>,
    /// Memory, in MB, of idle slots the holder is asked to release because others wait for capacity.
    pub give_back_mb: u64,
}

/// Gives leases back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// Who held them.
    pub holder: HolderId,
    /// Which.
    pub leases: Vec<(SlotId, FencingToken)>,
}

/// A worker, as it describes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerReport {
    /// Who and where.
    pub worker: WorkerEndpoint,
    /// Drawn anew at every start of the worker: a change means that all earlier slots are gone.
    pub incarnation: u64,
    /// Counts the reports of an incarnation from 1; an older one than the last is ignored.
    pub sequence: u64,
    /// What it has in all.
    pub capacity: Capacity,
    /// What is used of that, measured.
    pub load: Load,
    /// The runtimes it can start.
    pub runtimes: Vec<Runtime>,
    /// How it isolates.
    pub isolation: Isolation,
    /// Booted sandboxes that wait in the pools.
    pub pooled: Vec<PooledCount>,
    /// Bundles whose code is unpacked here already, at most the newest 256.
    pub cached_bundles: Vec<hearth_domain::BundleDigest>,
    /// Every slot bound to a function.
    pub slots: Vec<SlotReport>,
    /// The worker is shutting down: no new slots, existing ones drain.
    pub draining: bool,
}

/// What a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// Memory for slots, MB.
    pub memory_mb: u64,
    /// Memory that it promises to slots together, MB. More than there is, as functions seldom use all they ask for; what
    /// they do use is in [`Load`].
    pub promised_memory_mb: u64,
    /// CPU, thousandths of one.
    pub milli_cpus: u64,
    /// Most slots, whatever their size.
    pub max_slots: u32,
}

/// What of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Resident memory of all sandboxes, MB.
    pub memory_mb: u64,
    /// CPU used by all sandboxes since the last report, thousandths of one.
    pub milli_cpus: u64,
}

/// How many sandboxes wait for a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PooledCount {
    /// The runtime.
    pub runtime: Runtime,
    /// Their memory class, MB.
    pub memory_mb: u32,
    /// How many are ready.
    pub ready: u32,
}

/// A slot, as its worker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotReport {
    /// The slot.
    pub slot: SlotId,
    /// The newest token the worker was told.
    pub token: FencingToken,
    /// Who holds the lease, as told at init or at the last fencing.
    pub holder: HolderId,
    /// What runs in it.
    pub function: FunctionRef,
    /// Reserved memory, MB.
    pub memory_mb: u32,
    /// Its state.
    pub state: SlotState,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportAck {
    /// Slots that the worker has and should not have: drain and destroy them.
    pub reclaim: Vec<(SlotId, FencingToken)>,
}

/// A worker as placement sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetWorker {
    /// Its last report.
    pub report: WorkerReport,
    /// How long ago that was.
    pub silent_for: Duration,
    /// `ready`, `avoided`, `draining` or `lost`.
    pub condition: WorkerCondition,
    /// Memory reserved by grants, MB.
    pub reserved_mb: u64,
}

/// What placement makes of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCondition {
    /// Gets new slots.
    Ready,
    /// Silent for a while: gets none.
    Avoided,
    /// Shutting down: gets none.
    Draining,
    /// Silent for so long that its slots are taken for gone.
    Lost,
}

/// A lease, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The slot.
    pub slot: SlotId,
    /// The token.
    pub token: FencingToken,
    /// Until the holder must stop using it.
    pub usable_for: Duration,
}
