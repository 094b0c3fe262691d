//! Roles that record what they hear and answer from a script, and the values both sides agree on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;
use hearth_domain::stream::STREAM_CHUNK_MAX_BYTES;
use hearth_domain::timing::LEASE_TERMS;
use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FencingToken, FunctionRef, FunctionResponse, FunctionSpec, HolderId,
    InvocationUsage, MemorySize, RequestId, SlotId, SlotOutcome, StartTimes, Timeout, Version,
};
use hearth_protocol::placement::*;
use hearth_protocol::worker::*;
use hearth_protocol::worker_manager::*;
use hearth_protocol::{Placement, Unreachable, Worker, WorkerManager};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Pieces of the streamed answer: more than all windows on the way hold.
pub(crate) const STREAMED_PIECES: usize = 200;

pub(crate) fn account() -> AccountId {
    "000000000000".parse().unwrap()
}

pub(crate) fn holder() -> HolderId {
    "manager-1".parse().unwrap()
}

pub(crate) fn request_id(text: &str) -> RequestId {
    text.parse().unwrap()
}

fn function() -> FunctionRef {
    FunctionRef {
        account: account(),
        name: "echo".parse().unwrap(),
        version: Version::Latest,
        revision: "rev-1".parse().unwrap(),
    }
}

pub(crate) fn spec() -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec {
        function: function(),
        region: "us-east-1".into(),
        runtime: "python3.11".parse().unwrap(),
        handler: "app.handler".into(),
        memory: MemorySize::new(128).unwrap(),
        timeout: Timeout::new(3).unwrap(),
        ephemeral_storage: EphemeralStorage::new(512).unwrap(),
        environment: [("KEY".to_owned(), "value".to_owned())].into(),
        bundle: BundleDigest([7; 32]),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        credentials: None,
    })
}

fn endpoint() -> WorkerEndpoint {
    WorkerEndpoint { id: "worker-1".parse().unwrap(), url: "http://127.0.0.1:1".into() }
}

pub(crate) fn reservation() -> Reservation {
    Reservation { slot: SlotId(u64::MAX), token: FencingToken(2), worker: endpoint(), start: Some(Box::new(start())) }
}

fn start() -> AwaitedStart {
    AwaitedStart { awaited: Duration::from_millis(14), times: init_done().times }
}

pub(crate) fn grant() -> Grant {
    let (slot, token, start) = (SlotId(9), FencingToken(3), Some(init_done().times));
    Grant { slot, token, terms: LEASE_TERMS, worker: endpoint(), function: function(), start }
}

pub(crate) fn renew_response() -> RenewResponse {
    RenewResponse { renewed: vec![Some(LEASE_TERMS), None], give_back_mb: 128 }
}

pub(crate) fn fleet_worker() -> FleetWorker {
    let slot = SlotReport {
        slot: grant().slot,
        token: grant().token,
        holder: holder(),
        function: function(),
        memory_mb: 128,
        state: hearth_domain::SlotState::Idle,
    };
    let report = WorkerReport {
        worker: endpoint(),
        incarnation: 1,
        sequence: 2,
        capacity: Capacity { memory_mb: 4096, promised_memory_mb: 8192, milli_cpus: 2000, max_slots: 10 },
        load: Load { memory_mb: 1, milli_cpus: 2 },
        runtimes: vec!["provided".parse().unwrap()],
        isolation: hearth_domain::Isolation::Jail,
        pooled: vec![PooledCount { runtime: "provided".parse().unwrap(), memory_mb: 128, ready: 1 }],
        cached_bundles: vec![BundleDigest([7; 32])],
        slots: vec![slot],
        draining: false,
    };
    FleetWorker { report, silent_for: Duration::from_millis(5), condition: WorkerCondition::Ready, reserved_mb: 128 }
}

pub(crate) fn init_slot() -> InitSlot {
    InitSlot { slot: grant().slot, token: grant().token, holder: holder(), function: spec() }
}

pub(crate) fn init_done() -> InitDone {
    let [sandbox, attach, init] = [1, 2, 9].map(Duration::from_millis);
    InitDone { times: StartTimes { from_pool: true, sandbox, attach, init } }
}

pub(crate) fn invoke(id: &str, payload: Bytes) -> InvokeRequest {
    InvokeRequest {
        request_id: request_id(id),
        slot: grant().slot,
        token: grant().token,
        payload,
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:echo".into(),
        client_context: None,
        trace_id: Some("Root=1".into()),
        log_tail: true,
    }
}

/// What a fake heard, in order.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Answers every reservation but that of `refuse`.
pub(crate) struct RecordingManager {
    heard: Heard,
    reason: String,
}

impl RecordingManager {
    /// Placement behind it can't be reached for this reason.
    pub(crate) fn unreachable(reason: String) -> Self {
        Self { heard: Heard::default(), reason }
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.all()
    }
}

#[async_trait]
impl WorkerManager for RecordingManager {
    async fn reserve(&self, request: ReserveRequest) -> Result<Reservation, ReserveError> {
        self.heard.note(format!("reserve {} {:?} {:?}", request.request_id, request.function, request.wait));
        if request.request_id.as_str() == "refuse" {
            return Err(ReserveError::ConcurrencyLimit { account: account(), limit: 3 });
        }
        Ok(reservation())
    }

    async fn complete(&self, completion: Completion) -> Result<(), Unreachable> {
        self.heard.note(format!("{completion:?}"));
        Ok(())
    }

    async fn retire(&self, request: RetireRequest) -> Result<(), Unreachable> {
        self.heard.note(format!("{request:?}"));
        Ok(())
    }

    async fn provision(&self, provision: Provision) -> Result<ProvisionReport, Unreachable> {
        let provisioned = |target: ProvisionTarget| Provisioned {
            function: target.function.function.clone(),
            allocated: target.count,
            available: 0,
            failure: Some("none fits".into()),
        };
        Ok(ProvisionReport { functions: provision.targets.into_iter().map(provisioned).collect() })
    }

    async fn fleet(&self) -> Result<Fleet, Unreachable> {
        Err(Unreachable { role: "placement".into(), reason: self.reason.clone(), not_sent: true })
    }
}

/// Streams the outcomes that the test sends.
#[derive(Default)]
pub(crate) struct RecordingPlacement {
    heard: Heard,
    claim: Mutex<Option<mpsc::UnboundedSender<ClaimOutcome>>>,
    broken: Arc<Notify>,
}

impl RecordingPlacement {
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.all()
    }

    pub(crate) fn outcomes(&self) -> mpsc::UnboundedSender<ClaimOutcome> {
        self.claim.lock().unwrap().clone().expect("a claim came")
    }

    pub(crate) fn end_claim(&self) {
        self.claim.lock().unwrap().take();
    }

    /// Ends the stream although outcomes are due.
    pub(crate) fn break_claim(&self) {
        self.broken.notify_one();
    }
}

#[async_trait]
impl Placement for RecordingPlacement {
    async fn claim(&self, request: ClaimRequest) -> Result<BoxStream<'static, ClaimOutcome>, Unreachable> {
        self.heard.note(format!("claim {} of {}", request.count, request.id));
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.claim.lock().unwrap() = Some(sender);
        let broken = self.broken.clone();
        let cut = Box::pin(async move { broken.notified().await });
        Ok(UnboundedReceiverStream::new(receiver).take_until(cut).boxed())
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, Unreachable> {
        self.heard.note(format!("{request:?}"));
        Ok(renew_response())
    }

    async fn release(&self, request: ReleaseRequest) -> Result<(), Unreachable> {
        self.heard.note(format!("{request:?}"));
        Ok(())
    }

    async fn recover(&self, holder: HolderId) -> Result<Vec<Grant>, Unreachable> {
        self.heard.note(format!("recover {holder}"));
        Ok(vec![grant()])
    }

    async fn report(&self, report: WorkerReport) -> Result<ReportAck, Unreachable> {
        self.heard.note(format!("{report:?}"));
        Ok(ReportAck { reclaim: vec![(grant().slot, grant().token)] })
    }

    async fn fleet(&self) -> Result<Vec<FleetWorker>, Unreachable> {
        Ok(vec![fleet_worker()])
    }
}

/// Holds the invocation `held` until told to let go, refuses `stale`, answers `large` with the largest response.
#[derive(Default)]
pub(crate) struct RecordingWorker {
    heard: Heard,
    holding: Notify,
    let_go: Notify,
    dropped: Arc<Notify>,
}

impl RecordingWorker {
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.all()
    }

    pub(crate) async fn holding(&self) {
        self.holding.notified().await;
    }

    pub(crate) fn let_go(&self) {
        self.let_go.notify_one();
    }

    pub(crate) async fn dropped(&self) {
        self.dropped.notified().await;
    }

    async fn hold(&self) {
        /// Tells when the future it lives in ends, however that may be.
        struct TellOnDrop(Arc<Notify>);
        impl Drop for TellOnDrop {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let _tell = TellOnDrop(self.dropped.clone());
        self.holding.notify_one();
        self.let_go.notified().await;
    }
}

#[async_trait]
impl Worker for RecordingWorker {
    async fn init_slot(&self, request: InitSlot) -> Result<InitDone, InitSlotError> {
        assert_eq!(format!("{request:?}"), format!("{:?}", init_slot()));
        self.heard.note("init_slot");
        Ok(init_done())
    }

    async fn invoke(&self, request: InvokeRequest) -> Result<InvokeResponse, InvokeError> {
        self.heard.note(format!("invoke {}", request.request_id));
        let document = match request.request_id.as_str() {
            "stale" => return Err(InvokeError::StaleSlot { slot: request.slot, reason: "newer token".into() }),
            "large" => vec![b'y'; SYNC_RESPONSE_MAX_BYTES],
            "held" => {
                self.hold().await;
                Vec::new()
            }
            _ => b"{}".to_vec(),
        };
        Ok(InvokeResponse {
            response: FunctionResponse::Success(document.into()),
            usage: InvocationUsage::default(),
            log_tail: None,
            slot: SlotOutcome::Reusable,
        })
    }

    async fn invoke_streaming(
        &self,
        request: InvokeRequest,
        mut pieces: StreamSender,
    ) -> Result<InvokeResponse, InvokeError> {
        if request.request_id.as_str() == "streamed" {
            pieces.send(StreamPiece::Start { content_type: "text/plain".into() }).await;
            for _ in 0..STREAMED_PIECES {
                pieces.send(StreamPiece::Chunk(vec![b'z'; STREAM_CHUNK_MAX_BYTES].into())).await;
            }
        }
        drop(pieces);
        self.invoke(request).await
    }

    async fn fence(&self, request: FenceRequest) -> Result<Fenced, Unreachable> {
        self.heard.note(format!("{request:?}"));
        Ok(Fenced::Idle)
    }

    async fn reclaim(&self, slots: Vec<(SlotId, FencingToken)>) -> Result<(), Unreachable> {
        self.heard.note(format!("reclaim {}", slots.len()));
        Ok(())
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, Unreachable> {
        self.heard.note(format!("{query:?}"));
        Ok(LogPage::default())
    }

    async fn list_logs(&self, query: LogListQuery) -> Result<LogList, Unreachable> {
        self.heard.note(format!("{query:?}"));
        Ok(LogList::default())
    }

    async fn delete_log(&self, deletion: LogDeletion) -> Result<(), Unreachable> {
        self.heard.note(format!("{deletion:?}"));
        Ok(())
    }
}
