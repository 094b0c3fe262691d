//! The shell with workers that are scripted, in paused time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use hearth_domain::timing::WORKER_REPORT_INTERVAL;
use hearth_domain::{
    AccountId, BundleDigest, ClaimId, EphemeralStorage, FencingToken, FunctionName, FunctionRef, FunctionSpec,
    HolderId, MemorySize, RevisionId, Runtime, SlotId, SlotState, StartTimes, Timeout, Version, WorkerId,
};
use hearth_protocol::placement::{
    Capacity, ClaimOutcome, ClaimRequest, Grant, Load, ReleaseRequest, RenewRequest, SlotReport, WorkerReport,
};
use hearth_protocol::worker::{
    FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError, InvokeRequest, InvokeResponse, LogDeletion,
    LogList, LogListQuery, LogPage, LogQuery,
};
use hearth_protocol::{Placement as _, Unreachable, Worker, WorkerDirectory, WorkerEndpoint};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::*;

/// A worker that makes slots when it is let to.
struct Scripted {
    name: String,
    /// One permit lets one init finish.
    gate: Semaphore,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    refuses: bool,
    silent: bool,
    slots: Mutex<BTreeMap<SlotId, (FencingToken, HolderId)>>,
    reclaimed: mpsc::UnboundedSender<(SlotId, FencingToken)>,
    made: Notify,
}

#[async_trait]
impl Worker for Scripted {
    async fn init_slot(&self, request: InitSlot) -> Result<InitDone, InitSlotError> {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        if self.silent {
            std::future::pending::<()>().await;
        }
        if !self.refuses {
            self.gate.acquire().await.expect("never closed").forget();
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if self.refuses {
            return Err(InitSlotError::Refused { reason: format!("{} is full", self.name) });
        }
        self.slots.lock().unwrap().insert(request.slot, (request.token, request.holder));
        self.made.notify_one();
        Ok(InitDone { times: StartTimes::default() })
    }

    async fn invoke(&self, _: InvokeRequest) -> Result<InvokeResponse, InvokeError> {
        unreachable!("placement never invokes")
    }

    async fn fence(&self, request: FenceRequest) -> Result<Fenced, Unreachable> {
        match self.slots.lock().unwrap().get_mut(&request.slot) {
            Some(slot) => *slot = (request.token, request.holder),
            None => return Ok(Fenced::Unknown),
        }
        Ok(Fenced::Idle)
    }

    async fn reclaim(&self, slots: Vec<(SlotId, FencingToken)>) -> Result<(), Unreachable> {
        for slot in slots {
            self.slots.lock().unwrap().remove(&slot.0);
            self.reclaimed.send(slot).expect("the test reads on");
        }
        Ok(())
    }

    async fn read_log(&self, _: LogQuery) -> Result<LogPage, Unreachable> {
        unreachable!("placement reads no logs")
    }

    async fn list_logs(&self, _: LogListQuery) -> Result<LogList, Unreachable> {
        unreachable!("placement reads no logs")
    }

    async fn delete_log(&self, _: LogDeletion) -> Result<(), Unreachable> {
        unreachable!("placement reads no logs")
    }
}

struct Directory(BTreeMap<WorkerId, Arc<Scripted>>);

impl WorkerDirectory for Directory {
    fn worker(&self, endpoint: &WorkerEndpoint) -> Arc<dyn Worker> {
        self.0[&endpoint.id].clone()
    }
}

struct House {
    placement: Arc<Placement>,
    workers: BTreeMap<WorkerId, Arc<Scripted>>,
    reclaimed: mpsc::UnboundedReceiver<(SlotId, FencingToken)>,
    sequence: u64,
}

impl House {
    fn with(config: Config, shape: impl Fn(&mut Scripted), names: &[&str]) -> Self {
        let (sender, reclaimed) = mpsc::unbounded_channel();
        let worker = |name: &&str| {
            let mut worker = Scripted {
                name: (*name).to_owned(),
                gate: Semaphore::new(0),
                at_once: AtomicUsize::new(0),
                most_at_once: AtomicUsize::new(0),
                refuses: false,
                silent: false,
                slots: Mutex::default(),
                reclaimed: sender.clone(),
                made: Notify::new(),
            };
            shape(&mut worker);
            (WorkerId::new(name).unwrap(), Arc::new(worker))
        };
        let workers: BTreeMap<_, _> = names.iter().map(worker).collect();
        let deps = Deps { workers: Arc::new(Directory(workers.clone())) };
        let placement = Placement::start(config, deps, &Registry::new()).expect("it starts");
        Self { placement, workers, reclaimed, sequence: 0 }
    }

    /// One report of every worker, with what it has.
    async fn report(&mut self) {
        self.sequence += 1;
        for (id, worker) in &self.workers {
            let slots = worker.slots.lock().unwrap().clone();
            let slots = slots.iter().map(|(slot, (token, holder))| SlotReport {
                slot: *slot,
                token: *token,
                holder: holder.clone(),
                function: function().function.clone(),
                memory_mb: 128,
                state: SlotState::Idle,
            });
            let report = WorkerReport {
                worker: WorkerEndpoint { id: id.clone(), url: Arc::from("") },
                incarnation: 1,
                sequence: self.sequence,
                capacity: Capacity {
                    memory_mb: 100_000,
                    promised_memory_mb: 200_000,
                    milli_cpus: 100_000,
                    max_slots: 1_000,
                },
                load: Load::default(),
                runtimes: vec![Runtime::Python { minor: 11 }],
                isolation: hearth_domain::Isolation::Jail,
                pooled: Vec::new(),
                cached_bundles: Vec::new(),
                slots: slots.collect(),
                draining: false,
            };
            self.placement.report(report).await.expect("it listens");
        }
    }

    fn only(&self) -> &Arc<Scripted> {
        self.workers.values().next().expect("one worker")
    }

    async fn claim(&self, id: &str, count: u32) -> BoxStream<'static, ClaimOutcome> {
        let request = ClaimRequest { id: ClaimId::new(id).unwrap(), holder: holder(), function: function(), count };
        self.placement.claim(request).await.expect("it listens")
    }

    async fn granted(&self, id: &str, count: usize) -> Vec<Grant> {
        let outcomes = self.claim(id, u32::try_from(count).unwrap()).await;
        self.only().gate.add_permits(count);
        outcomes.map(grant).collect().await
    }
}

fn one_worker() -> Config {
    let mut config = Config::default();
    config.ledger.expected_workers = Some(1);
    config
}

fn grant(outcome: ClaimOutcome) -> Grant {
    match outcome {
        ClaimOutcome::Granted(grant) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

fn holder() -> HolderId {
    HolderId::new("m1").unwrap()
}

fn function() -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").unwrap(),
            name: FunctionName::new("echo").unwrap(),
            version: Version::Latest,
            revision: RevisionId::new("r1").unwrap(),
        },
        region: "us-east-1".to_owned(),
        runtime: Runtime::Python { minor: 11 },
        handler: "main.handler".to_owned(),
        memory: MemorySize::new(128).unwrap(),
        timeout: Timeout::new(3).unwrap(),
        ephemeral_storage: EphemeralStorage::new(512).unwrap(),
        environment: BTreeMap::new(),
        bundle: BundleDigest([7; 32]),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        credentials: None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_claim_streams_its_outcomes_as_they_come_and_then_ends() {
    let mut house = House::with(one_worker(), |_| {}, &["w1"]);
    house.report().await;
    let mut outcomes = house.claim("c1", 2).await;
    house.only().gate.add_permits(1);
    let first = grant(outcomes.next().await.expect("one is ready"));
    house.only().gate.add_permits(1);
    let second = grant(outcomes.next().await.expect("the other follows"));
    assert_ne!(first.slot, second.slot);
    assert!(outcomes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn inits_of_one_worker_are_bounded() {
    let mut house = House::with(Config { inits_per_worker: 3, ..one_worker() }, |_| {}, &["w1"]);
    house.report().await;
    assert_eq!(house.granted("c1", 20).await.len(), 20);
    assert_eq!(house.only().most_at_once.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_slot_is_made_elsewhere() {
    let mut config = one_worker();
    config.ledger.expected_workers = Some(2);
    let shape = |worker: &mut Scripted| {
        worker.refuses = worker.name == "w1";
        worker.gate.add_permits(8);
    };
    let mut house = House::with(config, shape, &["w1", "w2"]);
    house.report().await;
    let grants: Vec<Grant> = house.claim("c1", 8).await.map(grant).collect().await;
    assert!(grants.iter().all(|grant| grant.worker.id.as_str() == "w2"));
    assert_eq!(grants.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_answer_costs_a_bounded_wait() {
    let mut house = House::with(one_worker(), |worker| worker.silent = true, &["w1"]);
    house.report().await;
    let outcomes = house.claim("c1", 1).await;
    let outcomes: Vec<_> = outcomes.collect().await;
    assert!(matches!(outcomes[..], [ClaimOutcome::NoCapacity { .. }]), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn grants_that_nobody_reads_are_taken_back_at_once() {
    let mut house = House::with(one_worker(), |_| {}, &["w1"]);
    house.report().await;
    let mut outcomes = house.claim("c1", 3).await;
    house.only().gate.add_permits(2);
    let kept = grant(outcomes.next().await.expect("one is ready"));
    while house.only().slots.lock().unwrap().len() < 2 {
        house.only().made.notified().await;
    }
    drop(outcomes);
    house.only().gate.add_permits(1);
    let gone = [house.reclaimed.recv().await.unwrap().0, house.reclaimed.recv().await.unwrap().0];
    assert!(!gone.contains(&kept.slot) && gone[0] != gone[1]);
    assert_eq!(house.only().slots.lock().unwrap().keys().copied().collect::<Vec<_>>(), [kept.slot]);
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_released_and_reclaimed() {
    let mut house = House::with(one_worker(), |_| {}, &["w1"]);
    house.report().await;
    let grants = house.granted("c1", 2).await;
    let lease = |grant: &Grant| (grant.slot, grant.token);
    let (kept, given_back) = (lease(&grants[0]), lease(&grants[1]));
    let renewed = house.placement.renew(RenewRequest { holder: holder(), leases: vec![kept] }).await.unwrap();
    assert_eq!(renewed.renewed, [Some(grants[0].terms)]);
    house.placement.release(ReleaseRequest { holder: holder(), leases: vec![given_back] }).await.unwrap();
    assert_eq!(house.reclaimed.recv().await, Some(given_back));
    let answered = tokio::time::Instant::now();
    while house.reclaimed.is_empty() {
        tokio::time::sleep(WORKER_REPORT_INTERVAL).await;
        house.report().await;
    }
    assert_eq!(house.reclaimed.recv().await, Some(kept));
    assert!(answered.elapsed() >= grants[0].terms.gone_after());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_holder_gets_its_slots_under_new_tokens_even_from_a_restarted_placement() {
    let mut house = House::with(one_worker(), |_| {}, &["w1"]);
    house.report().await;
    let before = house.granted("c1", 2).await;
    house.placement.shutdown(Duration::from_secs(1)).await;
    let deps = Deps { workers: Arc::new(Directory(house.workers.clone())) };
    house.placement = Placement::start(one_worker(), deps, &Registry::new()).unwrap();
    // Asked before any worker has reported: answered once it has.
    let (after, ()) = tokio::join!(house.placement.clone().recover_now(), house.report());
    assert_eq!(after.len(), 2);
    for grant in &after {
        let old = before.iter().find(|old| old.slot == grant.slot).expect("the same slots");
        assert!(grant.token > old.token);
    }
}

impl Placement {
    async fn recover_now(self: Arc<Self>) -> Vec<Grant> {
        self.recover(holder()).await.expect("it listens")
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_open_claims_finish_and_then_refuses() {
    let mut house = House::with(one_worker(), |_| {}, &["w1"]);
    house.report().await;
    let outcomes = house.claim("c1", 1).await;
    let (gate, placement) = (house.only().clone(), house.placement.clone());
    let finish = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.gate.add_permits(1);
    };
    let ((), (), outcomes) =
        tokio::join!(placement.shutdown(Duration::from_secs(10)), finish, outcomes.collect::<Vec<_>>());
    assert!(matches!(outcomes[..], [ClaimOutcome::Granted(_)]), "{outcomes:?}");
    let refused = house.placement.fleet().await.expect_err("it has stopped");
    assert!(refused.not_sent);
}
