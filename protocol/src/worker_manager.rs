//! frontend → worker manager: which slot runs this invocation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_domain::{
    AccountId, FencingToken, FunctionName, FunctionRef, FunctionSpec, InitFailure, RequestId, RevisionId, SlotId,
    SlotOutcome, StartTimes, Version, WorkerId,
};

use crate::placement::{FleetWorker, LeaseView};
use crate::{Unreachable, WorkerEndpoint};

/// Routes invocations to warm slots held under leases.
#[async_trait]
pub trait WorkerManager: Send + Sync + 'static {
    /// Gives a slot to one invocation, waiting at most `request.wait` for one. Dropping the future gives up the wait;
    /// a slot that was about to be handed over goes to the next waiter.
    async fn reserve(&self, request: ReserveRequest) -> Result<Reservation, ReserveError>;

    /// Gives the slot of a reservation back. Unknown slots, stale tokens and other invocations' slots are ignored:
    /// the manager may have been restarted since, or the message may have arrived twice.
    async fn complete(&self, completion: Completion) -> Result<(), Unreachable>;

    /// Ends the idle slots of a function whose revision is not current any more; running calls finish.
    async fn retire(&self, request: RetireRequest) -> Result<(), Unreachable>;

    /// Says which functions have environments that are kept ready (provisioned concurrency), all of them: what is not
    /// named has none any more. Answers how far that is. Said again now and then, since a manager that is restarted
    /// does not remember.
    async fn provision(&self, provision: Provision) -> Result<ProvisionReport, Unreachable>;

    /// What the fleet looks like, for `hearth workers` and for CreateFunction's check of runtimes.
    async fn fleet(&self) -> Result<Fleet, Unreachable>;
}

/// Asks for a slot.
#[derive(Debug, Clone)]
pub struct ReserveRequest {
    /// The invocation it is for; asking again with the same id is answered with the same slot while it is reserved.
    pub request_id: RequestId,
    /// The function version to run.
    pub function: Arc<FunctionSpec>,
    /// Longest wait for capacity.
    pub wait: Duration,
    /// What of its account's concurrency the function may use.
    pub limits: ConcurrencyLimits,
}

/// How an account's concurrency is shared out, as far as it matters to a call of one function. What functions have
/// reserved or provisioned is theirs alone; all others share the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConcurrencyLimits {
    /// Most calls of the account in flight: the frontend's setting, which so holds wherever it counts. `None` if the
    /// caller leaves it to the manager.
    pub account: Option<u32>,
    /// Most calls of the function in flight, all its versions together; `None` if it has reserved none.
    pub reserved: Option<u32>,
    /// Calls of the function, all its versions together, for which it has provisioned environments: they take nothing
    /// of what is shared. Without meaning beside [`Self::reserved`], which contains them.
    pub provisioned: u32,
    /// What functions of the account have reserved and provisioned together.
    pub set_aside: u32,
}

/// Every environment that is to be kept ready.
#[derive(Debug, Clone, Default)]
pub struct Provision {
    /// By function version; each once.
    pub targets: Vec<ProvisionTarget>,
}

/// How many environments of one version are to be kept ready.
#[derive(Debug, Clone)]
pub struct ProvisionTarget {
    /// The version.
    pub function: Arc<FunctionSpec>,
    /// How many, from 1.
    pub count: u32,
}

/// How far the keeping ready is, for each target in the same order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProvisionReport {
    /// By target.
    pub functions: Vec<Provisioned>,
}

/// What one version has ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// The version.
    pub function: FunctionRef,
    /// Environments there are or that are being made.
    pub allocated: u32,
    /// Environments that are initialized, those in use included.
    pub available: u32,
    /// Why the last one could not be made, if none was since.
    pub failure: Option<String>,
}

/// A slot that is this invocation's until [`Completion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The slot.
    pub slot: SlotId,
    /// Goes with the Invoke, so that the worker can refuse a stale one.
    pub token: FencingToken,
    /// Where the slot is.
    pub worker: WorkerEndpoint,
    /// The start that the call waited for, if it is the first to use the slot and did not find it idle.
    pub start: Option<Box<AwaitedStart>>,
}

/// A start that a call waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwaitedStart {
    /// How long the manager waited for the slot on behalf of the call: from the claim, or from the call where that came
    /// later, until placement granted it.
    pub awaited: Duration,
    /// What the worker did. More than `awaited` where the call came when it was half done.
    pub times: StartTimes,
}

/// Why there is no slot.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReserveError {
    /// The account runs as many invocations as it may: 429 `TooManyRequestsException`,
    /// reason `ConcurrentInvocationLimitExceeded`.
    #[error("account {account} has {limit} invocations running, which is its limit")]
    ConcurrencyLimit {
        /// Whose limit.
        account: AccountId,
        /// The limit.
        limit: u32,
    },
    /// The function runs as many invocations as it has reserved: 429 `TooManyRequestsException`, reason
    /// `ReservedFunctionConcurrentInvocationLimitExceeded`.
    #[error("function {name} has {limit} invocations running, which is what it has reserved")]
    ReservedLimit {
        /// Whose limit.
        name: FunctionName,
        /// The limit.
        limit: u32,
    },
    /// The queue of calls that wait for a slot is full: 429.
    #[error("{waiting} calls wait for a slot already, which is the limit")]
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
    /// No slot came free in time: 503 (429 for asynchronous retries makes no difference).
    #[error("no capacity came free within {waited:?}: {reason}")]
    NoCapacity {
        /// How long the call waited.
        waited: Duration,
        /// What placement said last.
        reason: String,
    },
    /// The environment that was made for this call failed in its init; the answer of the call.
    #[error("init failed: {}", .0.error_type)]
    InitFailed(Box<InitFailure>),
    /// The manager is shutting down or can't be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// Gives a slot back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The invocation it was reserved for. A completion that arrives twice, or late, must not end the next
    /// invocation's reservation of the same slot under the same token.
    pub request_id: RequestId,
    /// The slot of the reservation.
    pub slot: SlotId,
    /// Its token.
    pub token: FencingToken,
    /// Whether it can be used again.
    pub outcome: SlotOutcome,
}

/// Ends what belongs to other revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetireRequest {
    /// Whose function.
    pub account: AccountId,
    /// Its name.
    pub name: FunctionName,
    /// The version, or all of them (the function was deleted).
    pub version: Option<Version>,
    /// The revision that stays, if any.
    pub keep: Option<RevisionId>,
}

/// The fleet as worker manager and placement see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Every worker placement knows.
    pub workers: Vec<FleetWorker>,
    /// Every slot this manager holds a lease on.
    pub slots: Vec<HeldSlot>,
    /// Calls that wait for a slot right now.
    pub waiting: usize,
}

/// A slot as its holder sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldSlot {
    /// Which slot, token, and how much of the lease is left.
    pub lease: LeaseView,
    /// The worker it is on.
    pub worker: WorkerId,
    /// The function version in it.
    pub function: FunctionRef,
    /// Whether an invocation runs on it.
    pub busy: bool,
    /// How long it has been idle (zero while busy).
    pub idle_for: Duration,
}
