//! The ledger of placement over workers that do what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{
    BundleDigest, ClaimId, FencingToken, FunctionSpec, HolderId, Moment, SlotId, SlotState, StartTimes,
};
use hearth_placement::ledger::{ClaimError, ClaimTicket, Ledger, LedgerConfig, Outbox, RecoverTicket, Start};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::{
    Capacity, ClaimOutcome, ClaimRequest, Grant, Load, ReleaseRequest, RenewRequest, RenewResponse, SlotReport,
    WorkerReport,
};
use hearth_protocol::worker::{FenceRequest, InitDone, InitSlot};

use super::fixture::{self, worker_number};
use super::meter::Meter;

/// What every function's init is said to take.
const INIT: Duration = Duration::from_millis(100);
/// Most bundles that a worker tells it has.
const BUNDLES_MAX: usize = 256;

/// A ledger, its workers, and what its calls cost.
#[derive(Debug)]
pub struct Fleet {
    ledger: Ledger,
    /// What the ledger sent and nobody has dealt with yet.
    pub sent: Sent,
    workers: Vec<SimulatedWorker>,
    ended: Ended,
    /// What its calls cost.
    pub costs: LedgerCosts,
}

/// What the calls into the ledger cost.
#[derive(Debug)]
pub struct LedgerCosts {
    /// A claim: a decision for each of its slots.
    pub claim: Meter,
    /// A slot is ready: its lease begins.
    pub granted: Meter,
    /// A lease is renewed.
    pub renew: Meter,
    /// A lease is given back.
    pub release: Meter,
    /// A worker reports.
    pub report: Meter,
    /// What is due by itself.
    pub deadline: Meter,
}

/// What a ledger sends.
#[derive(Debug, Default)]
pub struct Sent {
    /// Slots to be made.
    pub inits: Vec<(usize, InitSlot)>,
    /// Answers to claims.
    pub outcomes: Vec<(ClaimTicket, ClaimOutcome)>,
    reclaims: Vec<(usize, SlotId)>,
}

#[derive(Debug)]
struct SimulatedWorker {
    report: WorkerReport,
    slots: BTreeMap<SlotId, Made>,
    reserved_mb: u64,
}

#[derive(Debug)]
struct Made {
    request: InitSlot,
    at: Moment,
}

/// What slots that have ended were.
#[derive(Debug, Default, Clone, Copy)]
struct Ended {
    mb_seconds: f64,
}

impl Fleet {
    /// Workers of one size, each of which has reported.
    #[must_use]
    pub fn new(config: LedgerConfig, workers: usize, capacity: Capacity) -> Self {
        let config = LedgerConfig { expected_workers: Some(workers), ..config };
        let start = Start { now: Moment::ORIGIN, seed: 1, token_floor: Start::token_floor(0) };
        let worker =
            |n| SimulatedWorker { report: fixture::first_report(n, capacity), slots: BTreeMap::new(), reserved_mb: 0 };
        let mut fleet = Self {
            ledger: Ledger::new(config, start),
            sent: Sent::default(),
            workers: (0..workers).map(worker).collect(),
            ended: Ended::default(),
            costs: LedgerCosts::new(),
        };
        (0..workers).for_each(|n| fleet.report(Moment::ORIGIN, n));
        fleet.costs = LedgerCosts::new();
        fleet
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Worker number `n` says what it has.
    pub fn report(&mut self, now: Moment, n: usize) {
        let worker = &mut self.workers[n];
        worker.report.sequence += 1;
        worker.report.load = Load { memory_mb: worker.reserved_mb / 3, milli_cpus: 0 };
        let slot = |(slot, made): (&SlotId, &Made)| SlotReport {
            slot: *slot,
            token: made.request.token,
            holder: made.request.holder.clone(),
            function: made.request.function.function.clone(),
            memory_mb: made.request.function.memory.get(),
            state: SlotState::Idle,
        };
        let report = WorkerReport { slots: worker.slots.iter().map(slot).collect(), ..worker.report.clone() };
        let (ledger, sent) = (&mut self.ledger, &mut self.sent);
        let ack = self.costs.report.call(|| ledger.on_report(now, report, sent)).expect("a good report");
        for (slot, _) in ack.reclaim {
            self.end(now, n, slot);
        }
    }

    /// A holder claims slots. Tells whether that was taken: no more may be open than the ledger allows.
    pub fn claim(
        &mut self,
        now: Moment,
        number: u64,
        holder: HolderId,
        function: Arc<FunctionSpec>,
        count: u32,
    ) -> Result<(), ClaimError> {
        let id = ClaimId::new(&format!("manager-1-{number:016x}")).expect("a valid id");
        let request = ClaimRequest { id, holder, function, count };
        let (ledger, sent) = (&mut self.ledger, &mut self.sent);
        let claimed =
            self.costs.claim.call_for(count as usize, || ledger.on_claim(now, request, ClaimTicket(number), sent));
        claimed.map(|_| ())
    }

    /// A worker has made a slot.
    pub fn made(&mut self, now: Moment, n: usize, request: InitSlot) {
        let slot = (request.slot, request.token);
        let worker = &mut self.workers[n];
        worker.has_code(request.function.bundle);
        worker.reserved_mb += u64::from(request.function.memory.get());
        worker.slots.insert(request.slot, Made { request, at: now });
        let (ledger, sent, endpoint) = (&mut self.ledger, &mut self.sent, &worker.report.worker);
        let done = InitDone { times: StartTimes { from_pool: true, init: INIT, ..StartTimes::default() } };
        self.costs.granted.call(|| ledger.on_init_result(now, endpoint, slot, Ok(done), sent));
    }

    /// A holder renews leases.
    pub fn renew(&mut self, now: Moment, request: &RenewRequest) -> RenewResponse {
        let ledger = &mut self.ledger;
        let renewed = self.costs.renew.call_for(request.leases.len(), || ledger.on_renew(now, request));
        renewed.expect("the ledger has settled")
    }

    /// A holder gives leases back.
    pub fn release(&mut self, now: Moment, leases: Vec<(SlotId, FencingToken)>) {
        let (ledger, sent) = (&mut self.ledger, &mut self.sent);
        let request = ReleaseRequest { holder: fixture::holder(), leases };
        let released = self.costs.release.call_for(request.leases.len(), || ledger.on_release(&request, sent));
        released.expect("the ledger has settled");
        self.reclaim(now);
    }

    /// When [`Self::pass`] is to be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.ledger.next_deadline()
    }

    /// Time has come.
    pub fn pass(&mut self, now: Moment) {
        let (ledger, sent) = (&mut self.ledger, &mut self.sent);
        self.costs.deadline.call(|| ledger.on_deadline(now, sent));
        self.reclaim(now);
    }

    /// Memory that slots have held so far, in MB times seconds.
    #[must_use]
    pub fn held_mb_seconds(&self, now: Moment) -> f64 {
        let slots = self.workers.iter().flat_map(|worker| worker.slots.values());
        self.ended.mb_seconds + slots.map(|made| made.mb_seconds(now)).sum::<f64>()
    }

    /// Slots that exist.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.workers.iter().map(|worker| worker.slots.len()).sum()
    }

    /// Fills the workers with so many slots of functions of their own, claimed one by one; the leases.
    pub fn fill(&mut self, now: Moment, slots: usize) -> Vec<(SlotId, FencingToken)> {
        let mut leases = Vec::with_capacity(slots);
        for n in 0..slots {
            let function = fixture::function(n, fixture::MEMORY_MB, 3);
            let claimed = self.claim(now, n as u64, fixture::holder(), function, 1);
            claimed.expect("no other is open");
            for (worker, request) in std::mem::take(&mut self.sent.inits) {
                leases.push((request.slot, request.token));
                self.made(now, worker, request);
            }
            self.sent.outcomes.clear();
        }
        leases
    }

    fn reclaim(&mut self, now: Moment) {
        for (worker, slot) in std::mem::take(&mut self.sent.reclaims) {
            self.end(now, worker, slot);
        }
    }

    fn end(&mut self, now: Moment, n: usize, slot: SlotId) {
        let worker = &mut self.workers[n];
        if let Some(made) = worker.slots.remove(&slot) {
            worker.reserved_mb -= u64::from(made.request.function.memory.get());
            self.ended.mb_seconds += made.mb_seconds(now);
        }
    }
}

impl SimulatedWorker {
    fn has_code(&mut self, bundle: BundleDigest) {
        let cached = &mut self.report.cached_bundles;
        if cached.contains(&bundle) {
            return;
        }
        if cached.len() == BUNDLES_MAX {
            cached.remove(0);
        }
        cached.push(bundle);
    }
}

impl Made {
    fn mb_seconds(&self, now: Moment) -> f64 {
        f64::from(self.request.function.memory.get()) * now.since(self.at).as_secs_f64()
    }
}

impl LedgerCosts {
    fn new() -> Self {
        let [claim, granted, renew, release, deadline] = [1; 5].map(Meter::every);
        Self { claim, granted, renew, release, report: Meter::every(4), deadline }
    }
}

impl Sent {
    /// Whether anything waits.
    #[must_use]
    pub fn any(&self) -> bool {
        !(self.inits.is_empty() && self.outcomes.is_empty())
    }
}

impl Outbox for Sent {
    fn init_slot(&mut self, worker: &WorkerEndpoint, request: InitSlot) {
        self.inits.extend(worker_number(&worker.id).map(|worker| (worker, request)));
    }

    fn fence(&mut self, _: &WorkerEndpoint, _: FenceRequest) {
        unreachable!("nobody recovers");
    }

    fn reclaim(&mut self, worker: &WorkerEndpoint, slot: SlotId, _: FencingToken) {
        self.reclaims.extend(worker_number(&worker.id).map(|worker| (worker, slot)));
    }

    fn claim_outcome(&mut self, ticket: ClaimTicket, outcome: ClaimOutcome) {
        self.outcomes.push((ticket, outcome));
    }

    fn recovered(&mut self, _: RecoverTicket, _: Vec<Grant>) {
        unreachable!("nobody recovers");
    }
}
