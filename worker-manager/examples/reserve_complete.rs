//! How many warm calls a second: the router alone, then through the trait as a frontend in the same process calls it.
//! Counted in CPU time as Linux tells it, so that the figures mean the same on a busy machine; the wall clock beside it.
//!
//!     cargo run --release -p hearth-worker-manager --example reserve_complete
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_domain::timing::LEASE_TERMS;
use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FencingToken, FunctionName, FunctionRef, FunctionSpec, HolderId,
    MemorySize, Moment, RequestId, RevisionId, SlotId, SlotOutcome, Timeout, Version, WorkerId,
};
use hearth_protocol::placement::{
    ClaimOutcome, ClaimRequest, FleetWorker, Grant, Placement, ReleaseRequest, RenewRequest, RenewResponse, ReportAck,
    WorkerReport,
};
use hearth_protocol::worker_manager::{Completion, ConcurrencyLimits, Reservation, ReserveError, ReserveRequest};
use hearth_protocol::{Unreachable, WorkerEndpoint, WorkerManager as _};
use hearth_worker_manager::leases::Renewal;
use hearth_worker_manager::router::{Claim, Outbox, Reserved, Router, RouterConfig, WaiterId};
use hearth_worker_manager::{Config, Deps, WorkerManager};
use prometheus::Registry;
use tokio::sync::Barrier;

const CALLS: u32 = 2_000_000;

fn main() {
    for functions in [1, 100, 10_000] {
        report(&format!("router, {functions} functions"), router(functions), CALLS);
    }
    for tasks in [1, 2, 32] {
        let calls = CALLS / 4 / tasks;
        report(&format!("trait, {tasks} tasks on 2 threads"), through_the_trait(tasks, calls), calls * tasks);
    }
}

fn report(what: &str, took: Took, calls: u32) {
    let each = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(calls);
    let (cpu, wall) = (each(took.cpu), each(took.wall));
    println!("{what}: {:.0} reserve+complete per CPU second, {cpu:.0} ns each ({wall:.0} ns by the wall)", 1e9 / cpu);
}

struct Took {
    cpu: Duration,
    wall: Duration,
}

/// Since when, by both clocks.
struct Stopwatch {
    cpu: Duration,
    wall: Instant,
}

impl Stopwatch {
    fn start() -> Self {
        Self { cpu: cpu_time(), wall: Instant::now() }
    }

    fn stop(&self) -> Took {
        Took { cpu: cpu_time() - self.cpu, wall: self.wall.elapsed() }
    }
}

/// What all threads of this process have used so far.
fn cpu_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux tells of threads");
    let used = threads.map(|thread| {
        let path = thread.expect("a thread").path().join("schedstat");
        let stat = std::fs::read_to_string(path).expect("Linux tells of a thread's time");
        stat.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok()).expect("nanoseconds come first")
    });
    Duration::from_nanos(used.sum())
}

/// Calls in turn over so many functions, each with a warm slot.
fn router(functions: u32) -> Took {
    let specs: Vec<_> = (0..functions).map(function).collect();
    let mut router = Router::new(RouterConfig::default());
    let now = Moment::ORIGIN;
    let grants = specs.iter().zip(1..).map(|(spec, slot)| grant(SlotId(slot), spec.function.clone())).collect();
    router.on_recovered(now, now, grants, &mut Nothing);
    router.on_tick(now, &mut Nothing);
    let requests: Vec<_> = (0..1_000).map(request_id).collect();
    let start = Stopwatch::start();
    for n in 0..CALLS {
        let now = Moment::from_nanos(u64::from(n));
        let request_id = requests[(n % 1_000) as usize].clone();
        let function = specs[(n % functions) as usize].clone();
        let request = ReserveRequest {
            request_id: request_id.clone(),
            function,
            wait: Duration::from_secs(10),
            limits: ConcurrencyLimits::default(),
        };
        let Ok(Reserved::Now(reservation)) = router.on_reserve(now, request, &mut Nothing) else {
            panic!("a slot was not warm");
        };
        assert!(router.on_complete(now, &completion(request_id, &reservation), &mut Nothing));
        black_box(router.next_deadline());
    }
    start.stop()
}

fn through_the_trait(tasks: u32, calls: u32) -> Took {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("a runtime starts").block_on(async move {
        let config = Config::new(HolderId::new("manager-1").expect("a valid id"));
        let deps = Deps { placement: Arc::new(Instantly(AtomicU64::new(0))) };
        let manager = WorkerManager::start(config, deps, &Registry::new()).expect("it starts");
        let warm = Arc::new(Barrier::new(tasks as usize + 1));
        let callers = (0..tasks).map(|task| tokio::spawn(caller(manager.clone(), warm.clone(), task, calls)));
        let callers: Vec<_> = callers.collect();
        warm.wait().await;
        let start = Stopwatch::start();
        for caller in callers {
            caller.await.expect("no caller fails");
        }
        start.stop()
    })
}

/// Calls one function, one after the other; the first is cold and not counted.
async fn caller(manager: Arc<WorkerManager>, warm: Arc<Barrier>, task: u32, calls: u32) {
    let spec = function(task);
    let requests: Vec<_> = (0..1_000).map(|n| request_id(task * 1_000 + n)).collect();
    for n in 0..=calls {
        if n == 1 {
            warm.wait().await;
        }
        let request_id = requests[(n % 1_000) as usize].clone();
        let wait = Duration::from_secs(10);
        let request = ReserveRequest {
            request_id: request_id.clone(),
            function: spec.clone(),
            wait,
            limits: ConcurrencyLimits::default(),
        };
        let reservation = manager.reserve(request).await.expect("there is a slot");
        manager.complete(completion(request_id, &reservation)).await.expect("it completes");
    }
}

fn request_id(n: u32) -> RequestId {
    RequestId::new(&format!("6f1c8e0a-3f0b-4e55-9a55-0000{n:08}")).expect("a valid id")
}

fn completion(request_id: RequestId, reservation: &Reservation) -> Completion {
    let (slot, token) = (reservation.slot, reservation.token);
    Completion { request_id, slot, token, outcome: SlotOutcome::Reusable }
}

fn grant(slot: SlotId, function: FunctionRef) -> Grant {
    let worker = WorkerEndpoint { id: WorkerId::new("worker-1").expect("a valid id"), url: "".into() };
    Grant { slot, token: FencingToken(slot.0), terms: LEASE_TERMS, worker, function, start: None }
}

fn function(n: u32) -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").expect("a valid id"),
            name: FunctionName::new(&format!("function-{n}")).expect("a valid name"),
            version: Version::Latest,
            revision: RevisionId::new(&format!("0b6c2f54-9d4e-4a53-8b6e-0000{n:08}")).expect("a valid id"),
        },
        region: "us-east-1".into(),
        runtime: "provided.al2023".parse().expect("a runtime"),
        handler: String::new(),
        memory: MemorySize::new(128).expect("a size"),
        timeout: Timeout::new(3).expect("a timeout"),
        ephemeral_storage: EphemeralStorage::new(512).expect("a size"),
        environment: BTreeMap::new(),
        bundle: BundleDigest([0; 32]),
        isolation: None,
        snap_start: false,
        provisioned: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        credentials: None,
    })
}

/// Takes what the router sends; on the warm path that is nothing.
struct Nothing;

impl Outbox for Nothing {
    fn answer(&mut self, _: WaiterId, _: Result<Reservation, ReserveError>) {}
    fn claim(&mut self, _: Claim) {}
    fn renew(&mut self, _: Renewal) {}
    fn release(&mut self, _: Vec<(SlotId, FencingToken)>) {}
}

/// A placement that grants at once; holds the last slot id.
struct Instantly(AtomicU64);

#[async_trait]
impl Placement for Instantly {
    async fn claim(&self, request: ClaimRequest) -> Result<BoxStream<'static, ClaimOutcome>, Unreachable> {
        let first = self.0.fetch_add(u64::from(request.count), Ordering::Relaxed);
        let slots = (1..=u64::from(request.count)).map(move |n| SlotId(first + n));
        let function = request.function.function.clone();
        let outcomes: Vec<_> = slots.map(|slot| ClaimOutcome::Granted(grant(slot, function.clone()))).collect();
        Ok(futures::stream::iter(outcomes).boxed())
    }

    async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, Unreachable> {
        Ok(RenewResponse { renewed: vec![Some(LEASE_TERMS); request.leases.len()], give_back_mb: 0 })
    }

    async fn release(&self, _: ReleaseRequest) -> Result<(), Unreachable> {
        Ok(())
    }

    async fn recover(&self, _: HolderId) -> Result<Vec<Grant>, Unreachable> {
        Ok(Vec::new())
    }

    async fn report(&self, _: WorkerReport) -> Result<ReportAck, Unreachable> {
        Ok(ReportAck::default())
    }

    async fn fleet(&self) -> Result<Vec<FleetWorker>, Unreachable> {
        Ok(Vec::new())
    }
}
