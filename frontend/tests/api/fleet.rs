//! A fleet of one worker that works, and of others that are dead, in memory, behind the real traits: it runs "functions" written in this file.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_domain::{
    FencingToken, FunctionError, FunctionResponse, InitFailure, InvocationUsage, RequestId, Runtime, SlotId,
    SlotOutcome, WorkerId,
};
use hearth_protocol::placement::{Capacity, FleetWorker, Load, WorkerCondition, WorkerReport};
use hearth_protocol::worker::*;
use hearth_protocol::worker_manager::*;
use hearth_protocol::{LocalDirectory, Unreachable, Worker, WorkerDirectory, WorkerEndpoint, WorkerManager};
use tokio::sync::Notify;

/// Worker manager, worker and directory in one. Slots are counted, so that a test sees which were never completed.
pub(crate) struct Fleet {
    pub(crate) runtimes: Mutex<Vec<Runtime>>,
    /// What the next reservations answer instead of a slot.
    pub(crate) refusals: Mutex<VecDeque<ReserveError>>,
    /// What the next invocations answer instead of running.
    pub(crate) failures: Mutex<VecDeque<InvokeError>>,
    pub(crate) invoked: Mutex<Vec<InvokeRequest>>,
    pub(crate) completed: Mutex<Vec<Completion>>,
    pub(crate) retired: Mutex<Vec<RetireRequest>>,
    /// What is to be kept ready, as told last.
    pub(crate) provisioned: Mutex<Vec<ProvisionTarget>>,
    pub(crate) reachable: Mutex<bool>,
    /// Whether questions about the fleet wait for `release`, and who waits to hear of one.
    pub(crate) hold_questions: Mutex<bool>,
    pub(crate) asked: Notify,
    /// Whether completions wait for `release`.
    pub(crate) hold_completions: Mutex<bool>,
    /// Handlers `hold` wait for this.
    pub(crate) release: Notify,
    pub(crate) running: AtomicUsize,
    pub(crate) started: Notify,
    pub(crate) lines: Mutex<Vec<LogLine>>,
    pub(crate) line_written: Notify,
    /// Idle slots of dead workers, the one used last at the back: handed out before anything else.
    pub(crate) dead_slots: Mutex<Vec<Reservation>>,
    /// The start that the next calls wait for.
    pub(crate) start: Mutex<Option<AwaitedStart>>,
    handlers: Mutex<HashMap<SlotId, String>>,
    next_slot: AtomicU64,
    reserved: AtomicU64,
}

impl Fleet {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            runtimes: Mutex::new(["python3.11", "provided.al2023"].iter().map(|name| name.parse().unwrap()).collect()),
            refusals: Mutex::default(),
            failures: Mutex::default(),
            invoked: Mutex::default(),
            completed: Mutex::default(),
            retired: Mutex::default(),
            provisioned: Mutex::default(),
            reachable: Mutex::new(true),
            hold_questions: Mutex::new(false),
            asked: Notify::new(),
            hold_completions: Mutex::new(false),
            release: Notify::new(),
            running: AtomicUsize::new(0),
            started: Notify::new(),
            lines: Mutex::default(),
            line_written: Notify::new(),
            dead_slots: Mutex::default(),
            start: Mutex::default(),
            handlers: Mutex::default(),
            next_slot: AtomicU64::new(1),
            reserved: AtomicU64::new(0),
        })
    }

    /// Slots that were reserved and not completed.
    pub(crate) fn open_slots(&self) -> u64 {
        self.reserved.load(Ordering::SeqCst) - self.completed.lock().unwrap().len() as u64
    }

    /// Calls that ran, and reservations that were completed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.invoked.lock().unwrap().len(), self.completed.lock().unwrap().len())
    }

    /// A worker that nobody can reach holds idle slots that nobody knows to be dead.
    pub(crate) fn dies(&self, worker: &str, idle_slots: usize) {
        let worker = WorkerEndpoint { id: WorkerId::new(worker).unwrap(), url: "".into() };
        let idle = (0..idle_slots).map(|_| self.new_slot(worker.clone()));
        self.dead_slots.lock().unwrap().extend(idle);
    }

    fn new_slot(&self, worker: WorkerEndpoint) -> Reservation {
        let slot = SlotId(self.next_slot.fetch_add(1, Ordering::SeqCst));
        Reservation { slot, token: FencingToken(slot.0), worker, start: self.start.lock().unwrap().map(Box::new) }
    }

    fn check_reachable(&self) -> Result<(), Unreachable> {
        if *self.reachable.lock().unwrap() {
            return Ok(());
        }
        Err(Unreachable { role: "worker manager".into(), reason: "switched off".into(), not_sent: true })
    }

    fn endpoint() -> WorkerEndpoint {
        WorkerEndpoint { id: WorkerId::new("worker-1").unwrap(), url: "".into() }
    }
}

#[async_trait]
impl WorkerManager for Fleet {
    async fn reserve(&self, request: ReserveRequest) -> Result<Reservation, ReserveError> {
        self.check_reachable()?;
        if let Some(refusal) = self.refusals.lock().unwrap().pop_front() {
            return Err(refusal);
        }
        let dead = self.dead_slots.lock().unwrap().pop();
        let reservation = dead.unwrap_or_else(|| self.new_slot(Self::endpoint()));
        self.reserved.fetch_add(1, Ordering::SeqCst);
        self.handlers.lock().unwrap().insert(reservation.slot, request.function.handler.clone());
        Ok(reservation)
    }

    async fn complete(&self, completion: Completion) -> Result<(), Unreachable> {
        self.check_reachable()?;
        if *self.hold_completions.lock().unwrap() {
            self.release.notified().await;
        }
        if completion.outcome == SlotOutcome::Unreachable {
            // One worker is dead at a time in these tests.
            self.dead_slots.lock().unwrap().clear();
        }
        self.completed.lock().unwrap().push(completion);
        Ok(())
    }

    async fn retire(&self, request: RetireRequest) -> Result<(), Unreachable> {
        self.check_reachable()?;
        self.retired.lock().unwrap().push(request);
        Ok(())
    }

    async fn provision(&self, provision: Provision) -> Result<ProvisionReport, Unreachable> {
        let ready = |target: &ProvisionTarget| Provisioned {
            function: target.function.function.clone(),
            allocated: target.count,
            available: target.count,
            failure: None,
        };
        let report = ProvisionReport { functions: provision.targets.iter().map(ready).collect() };
        *self.provisioned.lock().unwrap() = provision.targets;
        Ok(report)
    }

    async fn fleet(&self) -> Result<hearth_protocol::worker_manager::Fleet, Unreachable> {
        self.check_reachable()?;
        self.asked.notify_waiters();
        if *self.hold_questions.lock().unwrap() {
            self.release.notified().await;
        }
        let report = WorkerReport {
            worker: Self::endpoint(),
            incarnation: 1,
            sequence: 1,
            capacity: Capacity { memory_mb: 4_096, promised_memory_mb: 8_192, milli_cpus: 2_000, max_slots: 64 },
            load: Load::default(),
            runtimes: self.runtimes.lock().unwrap().clone(),
            isolation: hearth_domain::Isolation::Process,
            pooled: Vec::new(),
            cached_bundles: Vec::new(),
            slots: Vec::new(),
            draining: false,
        };
        let silent_for = Duration::from_millis(7);
        let worker = FleetWorker { report, silent_for, condition: WorkerCondition::Ready, reserved_mb: 128 };
        Ok(hearth_protocol::worker_manager::Fleet { workers: vec![worker], slots: Vec::new(), waiting: 0 })
    }
}

#[async_trait]
impl Worker for Fleet {
    async fn init_slot(&self, _: InitSlot) -> Result<InitDone, InitSlotError> {
        unreachable!("the frontend makes no slots")
    }

    async fn invoke(&self, request: InvokeRequest) -> Result<InvokeResponse, InvokeError> {
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        self.invoked.lock().unwrap().push(request.clone());
        let handler = self.handlers.lock().unwrap()[&request.slot].clone();
        self.running.fetch_add(1, Ordering::SeqCst);
        self.started.notify_waiters();
        let response = match handler.as_str() {
            "fail" => FunctionResponse::Error(FunctionError {
                error_type: "ValueError".into(),
                document: Bytes::from_static(br#"{"errorMessage":"no","errorType":"ValueError"}"#),
            }),
            "large" => FunctionResponse::Success(Bytes::from(vec![b'1'; 7 * 1024 * 1024])),
            "six_megabytes" => FunctionResponse::Success(Bytes::from(vec![b'1'; 6 * 1024 * 1024])),
            "hold" => {
                self.release.notified().await;
                FunctionResponse::Success(Bytes::from_static(b"\"held\""))
            }
            _ => FunctionResponse::Success(request.payload.clone()),
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        let usage = InvocationUsage { billed_ms: 2, memory_mb: 128, ..InvocationUsage::default() };
        let log_tail = request.log_tail.then(|| Bytes::from(format!("START RequestId: {}\n", request.request_id)));
        Ok(InvokeResponse { response, usage, log_tail, slot: SlotOutcome::Reusable })
    }

    async fn fence(&self, _: FenceRequest) -> Result<Fenced, Unreachable> {
        unreachable!("the frontend fences nothing")
    }

    async fn reclaim(&self, _: Vec<(SlotId, FencingToken)>) -> Result<(), Unreachable> {
        unreachable!("the frontend reclaims nothing")
    }

    async fn read_log(&self, query: LogQuery) -> Result<LogPage, Unreachable> {
        let page = |lines: &[LogLine]| {
            let after = usize::try_from(query.after).unwrap().min(lines.len());
            let lines: Vec<LogLine> = lines[after..].iter().take(query.limit as usize).cloned().collect();
            LogPage { next: query.after + lines.len() as u64, lines, at_end: true }
        };
        let written = self.line_written.notified();
        let now = page(&self.lines.lock().unwrap());
        if !now.lines.is_empty() || query.wait.is_zero() {
            return Ok(now);
        }
        let _ = tokio::time::timeout(query.wait, written).await;
        Ok(page(&self.lines.lock().unwrap()))
    }

    async fn list_logs(&self, _: LogListQuery) -> Result<LogList, Unreachable> {
        Ok(LogList::default())
    }

    async fn delete_log(&self, _: LogDeletion) -> Result<(), Unreachable> {
        self.lines.lock().unwrap().clear();
        Ok(())
    }
}

/// The fleet as a directory: every endpoint but the one worker's is dead.
pub(crate) struct Directory(pub Arc<Fleet>);

impl WorkerDirectory for Directory {
    fn worker(&self, endpoint: &WorkerEndpoint) -> Arc<dyn Worker> {
        if *endpoint == Fleet::endpoint() { self.0.clone() } else { LocalDirectory::new().worker(endpoint) }
    }
}

pub(crate) fn init_failure() -> ReserveError {
    ReserveError::InitFailed(Box::new(InitFailure {
        error_type: "Runtime.ImportModuleError".into(),
        document: r#"{"errorMessage":"no module","errorType":"Runtime.ImportModuleError"}"#.into(),
        init_duration: Duration::from_millis(3),
        max_memory_used_bytes: 1,
        log_tail: b"INIT failed".to_vec(),
    }))
}

pub(crate) fn line(unix_ms: u64, text: &str) -> LogLine {
    let stream = "2026/11/22/[$LATEST]00".into();
    LogLine { number: unix_ms, unix_ms, stream, request_id: RequestId::new("r-1").ok(), text: text.into() }
}
