//! The path of one invocation, shared by HTTP calls and asynchronous events.
//!
//! Happy path: a slot is reserved at the worker manager, the payload goes to the slot's worker, the answer comes back,
//! the slot is completed, the caller gets the answer. A call that certainly did not start is tried on another slot
//! until its wait for capacity is over; one that may have started never is.
//!
//! Invariants: a reserved slot is always completed, also if the caller has gone (the run goes on in a task of its
//! own); giving up the wait for a slot needs nothing but dropping the future. The slot is completed before the answer
//! is given, so that a caller's next call finds it idle, but a slow manager holds no answer back for longer than
//! [`COMPLETE_BEFORE_ANSWER`].

mod events;
mod pace;
mod runs_on;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_domain::{
    AccountId, FunctionError, FunctionName, FunctionResponse, FunctionSpec, InitFailure, InvocationUsage, RequestId,
    SlotOutcome, StartTimes,
};
use hearth_protocol::worker::{InvokeError, InvokeRequest, InvokeResponse, StreamSender};
use hearth_protocol::worker_manager::{
    AwaitedStart, Completion, ConcurrencyLimits, Reservation, ReserveError, ReserveRequest,
};
use hearth_protocol::{Unreachable, WorkerDirectory, WorkerManager};
use hearth_store::usage::Usage;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::concurrency::Concurrency;
use crate::server_timing::CallTimes;
pub(crate) use events::EventRuns;
use pace::Pace;
use runs_on::RunsOn;
pub(crate) use streaming::{Part, Pieces, Streamed};

/// Longest that a slow completion holds back an answer.
const COMPLETE_BEFORE_ANSWER: Duration = Duration::from_millis(50);
/// Tries to tell the manager that a slot is free; after that the manager learns it from the lease.
const COMPLETE_TRIES_MAX: u32 = 6;
/// First pause before the manager is asked again; it doubles.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Runs invocations.
pub struct Invoker {
    roles: Roles,
    running: TaskTracker,
}

/// Takes note of what invocations used. Called on the path of every call, so it must be cheap.
pub trait Meter: Send + Sync + 'static {
    /// Adds to a function's counters.
    fn add(&self, account: &AccountId, name: &FunctionName, usage: Usage);
}

/// One invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Its id, everywhere.
    pub request_id: RequestId,
    /// What to run.
    pub function: Arc<FunctionSpec>,
    /// The event document.
    pub payload: Bytes,
    /// The ARN as it was invoked.
    pub invoked_arn: String,
    /// Decoded client context, JSON.
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id`.
    pub trace_id: Option<String>,
    /// Whether the end of the log is wanted.
    pub log_tail: bool,
    /// Longest wait for a slot.
    pub capacity_wait: Duration,
    /// Takes note of when what happened, if somebody wants to know.
    pub times: Option<Arc<CallTimes>>,
}

/// What the caller gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The handler's answer or the error document.
    pub response: FunctionResponse<Bytes>,
    /// The end of the log, if it was wanted.
    pub log_tail: Option<Bytes>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvocationError {
    /// No slot; the function did not run. An init that failed is an [`Answer`], so it never stands here.
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    /// Every slot tried until the wait for capacity was over refused the call; the function did not run.
    #[error("the call did not start on {tries} slots, at last: {last}")]
    NotStarted {
        /// How many were tried.
        tries: u32,
        /// What the last one said.
        last: InvokeError,
    },
    /// The platform failed while the call ran or may have run.
    #[error(transparent)]
    Failed(InvokeError),
    /// The task that ran the call ended without a word: a bug, or the runtime is going down.
    #[error("the call was lost inside the frontend")]
    Lost,
}

impl Invoker {
    /// An invoker that counts into `meter`.
    #[must_use]
    pub fn new(manager: Arc<dyn WorkerManager>, workers: Arc<dyn WorkerDirectory>, meter: Arc<dyn Meter>) -> Self {
        let roles = Roles { manager, workers, meter, concurrency: None };
        Self { roles, running: TaskTracker::new() }
    }

    /// Holds calls to what functions have reserved.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: Concurrency) -> Self {
        self.roles.concurrency = Some(concurrency);
        self
    }

    /// Runs one invocation to its answer. A call that did not start waits for its next try as for capacity, within the
    /// same bound. Dropping the future gives up the wait for a slot; a call that has its slot
    /// runs on, is metered and gives the slot back.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Answer, InvocationError> {
        let deadline = Instant::now() + invocation.capacity_wait;
        let mut pace = Pace::until(deadline);
        loop {
            let reservation = match self.roles.reserve(&invocation, deadline).await {
                Ok(reservation) => reservation,
                Err(ReserveError::InitFailed(failure)) => return Ok(self.roles.init_failed(&invocation, *failure)),
                Err(error) => {
                    self.roles.refused(&invocation, &error);
                    return Err(error.into());
                }
            };
            match self.start(&invocation, reservation, None).await {
                Ok(answer) => return Ok(answer),
                Err(last) if !last.not_started() => return Err(InvocationError::Failed(last)),
                Err(last) => pace.before_next(last).await?,
            }
        }
    }

    /// Waits until every call that has a slot is over. Later calls still run; the caller sees to it that none come.
    pub async fn drain(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// From here on the slot is ours to complete, whatever becomes of the caller: no await lies between the
    /// reservation and this, and what it returns runs on when it is dropped. What the function streams goes to `pieces`, if
    /// that is wanted.
    fn start(
        &self,
        invocation: &Invocation,
        reservation: Reservation,
        pieces: Option<StreamSender>,
    ) -> RunsOn<impl Future<Output = Result<Answer, InvokeError>> + Send + use<>> {
        let (roles, running) = (self.roles.clone(), self.running.clone());
        RunsOn::new(roles.run(invocation.clone(), reservation, pieces, running), &self.running)
    }
}

/// The other roles, as one call needs them.
#[derive(Clone)]
struct Roles {
    manager: Arc<dyn WorkerManager>,
    workers: Arc<dyn WorkerDirectory>,
    meter: Arc<dyn Meter>,
    concurrency: Option<Concurrency>,
}

impl Roles {
    /// What the call may use of its account's concurrency, as that is now.
    async fn limits(&self, invocation: &Invocation) -> Result<ConcurrencyLimits, ReserveError> {
        let Some(concurrency) = &self.concurrency else { return Ok(ConcurrencyLimits::default()) };
        let function = &invocation.function.function;
        concurrency.limits(&function.account, &function.name).await.map_err(|failure| {
            let reason = format!("what functions have reserved can't be read: {failure}");
            ReserveError::Unreachable(Unreachable { role: "store".to_owned(), reason, not_sent: true })
        })
    }

    /// Asks for a slot until `deadline`. A manager that can't be reached may be restarting, and asking again under the
    /// same request id is harmless, so it is asked again.
    async fn reserve(&self, invocation: &Invocation, deadline: Instant) -> Result<Reservation, ReserveError> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let request = ReserveRequest {
                request_id: invocation.request_id.clone(),
                function: invocation.function.clone(),
                wait: deadline.saturating_duration_since(Instant::now()),
                limits: self.limits(invocation).await?,
            };
            if let Some(times) = &invocation.times {
                times.on_asked();
            }
            match self.manager.reserve(request).await {
                Err(ReserveError::Unreachable(_)) if Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                outcome => {
                    if let Some(times) = &invocation.times {
                        times.on_reserved(awaited(&outcome));
                    }
                    return outcome;
                }
            }
        }
    }

    async fn run(
        self,
        invocation: Invocation,
        reservation: Reservation,
        pieces: Option<StreamSender>,
        running: TaskTracker,
    ) -> Result<Answer, InvokeError> {
        let worker = self.workers.worker(&reservation.worker);
        let request = InvokeRequest {
            request_id: invocation.request_id.clone(),
            slot: reservation.slot,
            token: reservation.token,
            payload: invocation.payload,
            invoked_arn: invocation.invoked_arn,
            client_context: invocation.client_context,
            trace_id: invocation.trace_id,
            log_tail: invocation.log_tail,
        };
        let outcome = match pieces {
            None => worker.invoke(request).await,
            Some(pieces) => worker.invoke_streaming(request, pieces).await,
        };
        if let (Some(times), Ok(response)) = (&invocation.times, &outcome) {
            times.on_answered(response.usage.duration);
        }
        let completion = Completion {
            request_id: invocation.request_id,
            slot: reservation.slot,
            token: reservation.token,
            outcome: outcome.as_ref().map_or_else(outcome_of_failure, |response| response.slot),
        };
        self.meter_run(&invocation.function, &outcome);
        let outcome = outcome.map(bounded_answer);
        let mut completed = Box::pin(complete(self.manager, completion));
        // A call that is to be tried again asks under the same id, and would be given this slot if it still had it.
        let tried_again = outcome.as_ref().is_err_and(InvokeError::not_started);
        let patience = if tried_again { Duration::MAX } else { COMPLETE_BEFORE_ANSWER };
        if timeout(patience, &mut completed).await.is_err() {
            running.spawn(completed);
        }
        outcome
    }

    fn meter_run(&self, function: &FunctionSpec, outcome: &Result<InvokeResponse, InvokeError>) {
        let usage = match outcome {
            Ok(response) => Usage {
                invocations: 1,
                errors: u64::from(matches!(response.response, FunctionResponse::Error(_))),
                cold_starts: u64::from(response.usage.init_duration.is_some()),
                billed_ms: response.usage.billed_ms,
                mb_ms: response.usage.mb_ms(),
                throttles: 0,
            },
            Err(error) if error.not_started() => return,
            Err(_) => Usage { invocations: 1, errors: 1, ..Usage::default() },
        };
        self.meter.add(&function.function.account, &function.function.name, usage);
    }

    /// A failed init is the call's answer, and billed as a good one would be: for its duration, whatever the runtime.
    fn init_failed(&self, invocation: &Invocation, failure: InitFailure) -> Answer {
        let function = &invocation.function;
        let billed_ms = u64::try_from(failure.init_duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let used = InvocationUsage { billed_ms, memory_mb: function.memory.get(), ..InvocationUsage::default() };
        let usage =
            Usage { invocations: 1, errors: 1, cold_starts: 1, billed_ms, mb_ms: used.mb_ms(), ..Usage::default() };
        self.meter.add(&function.function.account, &function.function.name, usage);
        Answer {
            response: FunctionResponse::Error(FunctionError {
                error_type: failure.error_type,
                document: name_request(failure.document, &invocation.request_id).into(),
            }),
            log_tail: invocation.log_tail.then(|| failure.log_tail.into()),
        }
    }

    fn refused(&self, invocation: &Invocation, error: &ReserveError) {
        let throttled = matches!(
            error,
            ReserveError::ConcurrencyLimit { .. } | ReserveError::ReservedLimit { .. } | ReserveError::QueueFull { .. }
        );
        if throttled {
            let function = &invocation.function.function;
            self.meter.add(&function.account, &function.name, Usage { throttles: 1, ..Usage::default() });
        }
    }
}

/// Tells the manager that a slot is free, patiently.
async fn complete(manager: Arc<dyn WorkerManager>, completion: Completion) {
    let mut pause = RETRY_PAUSE_MIN;
    for _ in 1..COMPLETE_TRIES_MAX {
        match manager.complete(completion.clone()).await {
            Ok(()) => return,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
    if let Err(unreachable) = manager.complete(completion.clone()).await {
        let Completion { request_id, slot, .. } = completion;
        warn!(%request_id, %slot, %unreachable, "the worker manager was not told that the slot is free");
    }
}

/// What the platform says of a failed init (`Error: Runtime exited …`) names the call that is answered with it, as AWS
/// does; a worker that initializes does not know for whom. What a runtime says of itself stays as it is.
fn name_request(document: String, request_id: &RequestId) -> String {
    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Platform {
        error_type: String,
        error_message: String,
    }
    match serde_json::from_str::<Platform>(&document) {
        Ok(mut platform) if platform.error_message.starts_with("Error: ") => {
            platform.error_message.insert_str(0, &format!("RequestId: {request_id} "));
            // Two strings always make a document.
            serde_json::to_string(&platform).unwrap_or(document)
        }
        _ => document,
    }
}

/// The start that a call waited for. Of one that failed its init is known.
fn awaited(outcome: &Result<Reservation, ReserveError>) -> Option<AwaitedStart> {
    match outcome {
        Ok(reservation) => reservation.start.as_deref().copied(),
        Err(ReserveError::InitFailed(failure)) => {
            let (awaited, init) = (failure.init_duration, failure.init_duration);
            Some(AwaitedStart { awaited, times: StartTimes { init, ..StartTimes::default() } })
        }
        Err(_) => None,
    }
}

/// Only what certainly never left says that the worker can't be reached: what breaks a call under way may be of the
/// call's own making, and must not cost other functions their slots.
fn outcome_of_failure(error: &InvokeError) -> SlotOutcome {
    match error {
        InvokeError::Unreachable(unreachable) if unreachable.not_sent => SlotOutcome::Unreachable,
        InvokeError::Unreachable(_)
        | InvokeError::StaleSlot { .. }
        | InvokeError::Busy { .. }
        | InvokeError::WorkerFailed { .. } => SlotOutcome::Gone,
    }
}

/// An answer above the limit becomes Lambda's error for it.
fn bounded_answer(response: InvokeResponse) -> Answer {
    let bytes = match &response.response {
        FunctionResponse::Success(document) => document.len(),
        FunctionResponse::Error(error) => error.document.len(),
    };
    let response_or_error = if bytes > SYNC_RESPONSE_MAX_BYTES {
        let error_type = "Function.ResponseSizeTooLarge";
        let document = format!(
            r#"{{"errorMessage":"Response payload size ({bytes} bytes) exceeded maximum allowed payload size ({SYNC_RESPONSE_MAX_BYTES} bytes).","errorType":"{error_type}"}}"#
        );
        FunctionResponse::Error(FunctionError { error_type: error_type.to_owned(), document: document.into() })
    } else {
        response.response
    };
    Answer { response: response_or_error, log_tail: response.log_tail }
}
