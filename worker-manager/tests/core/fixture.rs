//! A router, a clock that moves when told to, and an outbox that keeps what was sent until a test takes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{
    AccountId, BundleDigest, EphemeralStorage, FencingToken, FunctionName, FunctionRef, FunctionSpec, InitFailure,
    LeaseTerms, MemorySize, Moment, RequestId, RevisionId, Runtime, SlotId, SlotOutcome, StartTimes, Timeout, Version,
    WorkerId,
};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::{ClaimOutcome, Grant, RenewResponse};
use hearth_protocol::worker_manager::{Completion, ConcurrencyLimits, Reservation, ReserveError, ReserveRequest};
use hearth_worker_manager::leases::Renewal;
use hearth_worker_manager::router::{Claim, ClaimNumber, Outbox, Reserved, Router, RouterConfig, WaiterId};

pub(crate) const WAIT: Duration = Duration::from_secs(10);
pub(crate) const TERMS: LeaseTerms = hearth_domain::timing::LEASE_TERMS;

/// What the router sent, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) answers: VecDeque<(WaiterId, Result<Reservation, ReserveError>)>,
    pub(crate) claims: VecDeque<Claim>,
    pub(crate) renewals: VecDeque<Renewal>,
    pub(crate) releases: VecDeque<(SlotId, FencingToken)>,
}

impl Outbox for Recorded {
    fn answer(&mut self, waiter: WaiterId, answer: Result<Reservation, ReserveError>) {
        self.answers.push_back((waiter, answer));
    }

    fn claim(&mut self, claim: Claim) {
        self.claims.push_back(claim);
    }

    fn renew(&mut self, renewal: Renewal) {
        self.renewals.push_back(renewal);
    }

    fn release(&mut self, leases: Vec<(SlotId, FencingToken)>) {
        self.releases.extend(leases);
    }
}

/// The router under test. Every step checks its invariants.
pub(crate) struct Bench {
    pub(crate) router: Router,
    pub(crate) sent: Recorded,
    pub(crate) now: Moment,
    /// Which worker the next grants are on.
    pub(crate) granted_on: WorkerEndpoint,
    /// What the next calls may use.
    pub(crate) limits: ConcurrencyLimits,
    /// How the next grants' slots came about.
    pub(crate) start_times: Option<StartTimes>,
    last_slot: u64,
}

impl Bench {
    /// A router that has recovered nothing, with the default settings.
    pub(crate) fn new() -> Self {
        Self::with(RouterConfig::default())
    }

    pub(crate) fn with(config: RouterConfig) -> Self {
        let mut bench = Self::before_recovery(config);
        bench.recovered(Vec::new());
        bench
    }

    pub(crate) fn before_recovery(config: RouterConfig) -> Self {
        config.check().unwrap();
        Self {
            router: Router::new(config),
            sent: Recorded::default(),
            now: at(1_000),
            granted_on: worker(1),
            limits: ConcurrencyLimits::default(),
            start_times: None,
            last_slot: 0,
        }
    }

    pub(crate) fn recovered(&mut self, grants: Vec<Grant>) {
        self.router.on_recovered(self.now, self.now, grants, &mut self.sent);
        self.turn();
    }

    /// Lets time pass, with every tick on its deadline.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        self.turn();
        while let Some(next) = self.router.next_deadline().filter(|next| *next <= until) {
            self.now = next.max(self.now);
            self.turn();
        }
        self.now = until;
    }

    /// The end of a turn of the event loop.
    pub(crate) fn turn(&mut self) {
        self.router.check_invariants();
        self.router.on_tick(self.now, &mut self.sent);
        self.router.check_invariants();
        assert!(self.router.next_deadline().is_none_or(|next| next > self.now), "a tick left something due");
    }

    pub(crate) fn ask(&mut self, spec: &Arc<FunctionSpec>, request: &str) -> Result<Reserved, ReserveError> {
        let limits = self.limits;
        let request = ReserveRequest { request_id: id(request), function: spec.clone(), wait: WAIT, limits };
        let reserved = self.router.on_reserve(self.now, request, &mut self.sent);
        self.router.check_invariants();
        reserved
    }

    pub(crate) fn ask_and_wait(&mut self, spec: &Arc<FunctionSpec>, request: &str) -> WaiterId {
        match self.ask(spec, request).unwrap() {
            Reserved::Waits(waiter) => waiter,
            Reserved::Now(reservation) => panic!("{request} got {reservation:?} at once"),
        }
    }

    pub(crate) fn ask_warm(&mut self, spec: &Arc<FunctionSpec>, request: &str) -> Reservation {
        match self.ask(spec, request).unwrap() {
            Reserved::Now(reservation) => reservation,
            Reserved::Waits(_) => panic!("{request} waits"),
        }
    }

    pub(crate) fn complete(&mut self, request: &str, reservation: &Reservation, outcome: SlotOutcome) -> bool {
        let (slot, token) = (reservation.slot, reservation.token);
        let completion = Completion { request_id: id(request), slot, token, outcome };
        let known = self.router.on_complete(self.now, &completion, &mut self.sent);
        self.router.check_invariants();
        known
    }

    pub(crate) fn give_back(&mut self, request: &str, reservation: &Reservation) {
        assert!(self.complete(request, reservation, SlotOutcome::Reusable), "{request} was not known");
        self.turn();
    }

    /// The one claim that was sent.
    pub(crate) fn claim(&mut self) -> Claim {
        let claim = self.sent.claims.pop_front().expect("no claim was sent");
        assert!(self.sent.claims.is_empty(), "more than one claim was sent");
        claim
    }

    pub(crate) fn outcome(&mut self, claim: ClaimNumber, outcome: ClaimOutcome) {
        self.router.on_claim_outcome(self.now, claim, outcome, &mut self.sent);
        self.router.check_invariants();
    }

    /// One outcome of the claim is a new slot.
    pub(crate) fn grant(&mut self, claim: &Claim) -> Grant {
        let grant = self.new_grant(&claim.function.function);
        self.outcome(claim.number, ClaimOutcome::Granted(grant.clone()));
        self.turn();
        grant
    }

    pub(crate) fn new_grant(&mut self, function: &FunctionRef) -> Grant {
        self.last_slot += 1;
        let (slot, token) = (SlotId(self.last_slot), FencingToken(self.last_slot + 1_000));
        let (worker, function, start) = (self.granted_on.clone(), function.clone(), self.start_times);
        Grant { slot, token, terms: TERMS, worker, function, start }
    }

    pub(crate) fn no_capacity(&mut self, claim: &Claim) {
        self.outcome(claim.number, ClaimOutcome::NoCapacity { reason: "the fleet is full".into(), full: true });
        self.turn();
    }

    /// The one answer that was sent.
    pub(crate) fn answer(&mut self, waiter: WaiterId) -> Result<Reservation, ReserveError> {
        let (to, answer) = self.sent.answers.pop_front().expect("no answer was sent");
        assert_eq!(to, waiter);
        answer
    }

    pub(crate) fn renewal(&mut self) -> Renewal {
        let renewal = self.sent.renewals.pop_front().expect("no renewal was sent");
        assert!(self.sent.renewals.is_empty(), "more than one renewal was sent");
        renewal
    }

    /// Placement renews everything that was asked for.
    pub(crate) fn renew_all(&mut self) {
        while let Some(renewal) = self.sent.renewals.pop_front() {
            self.renewed(&renewal, vec![Some(TERMS); renewal.leases.len()], 0);
        }
    }

    pub(crate) fn renewed(&mut self, renewal: &Renewal, renewed: Vec<Option<LeaseTerms>>, give_back_mb: u64) {
        let answer = RenewResponse { renewed, give_back_mb };
        self.router.on_renewed(self.now, renewal, &answer, &mut self.sent);
        self.turn();
    }

    /// Lets time pass while placement renews at once whatever it is asked to.
    pub(crate) fn pass_renewing(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            let step = Duration::from_secs(1).min(until.since(self.now));
            self.pass(step);
            self.renew_all();
        }
    }

    /// One idle slot: a cold call that came and went.
    pub(crate) fn warm_up(&mut self, spec: &Arc<FunctionSpec>, request: &str) -> SlotId {
        let waiter = self.ask_and_wait(spec, request);
        self.turn();
        let claim = self.claim();
        self.grant(&claim);
        let reservation = self.answer(waiter).unwrap();
        self.give_back(request, &reservation);
        reservation.slot
    }

    /// As many idle slots as asked for: cold calls that came together and went.
    pub(crate) fn warm_up_many(&mut self, spec: &Arc<FunctionSpec>, slots: u64) -> Vec<SlotId> {
        let requests: Vec<_> = (0..slots).map(|n| format!("warm-up-{}-{n}", self.last_slot)).collect();
        for request in &requests {
            self.ask_and_wait(spec, request);
        }
        self.turn();
        let claim = self.claim();
        (0..slots).for_each(|_| drop(self.grant(&claim)));
        let reserved: Vec<_> = self.sent.answers.drain(..).map(|(_, answer)| answer.unwrap()).collect();
        for (request, reservation) in requests.iter().zip(&reserved) {
            self.give_back(request, reservation);
        }
        reserved.into_iter().map(|reservation| reservation.slot).collect()
    }

    pub(crate) fn released(&mut self) -> Vec<SlotId> {
        std::mem::take(&mut self.sent.releases).into_iter().map(|(slot, _)| slot).collect()
    }

    /// Ends a scenario.
    pub(crate) fn nothing_else_was_sent(&self) {
        let Recorded { answers, claims, renewals, releases } = &self.sent;
        let nothing = answers.is_empty() && claims.is_empty() && renewals.is_empty() && releases.is_empty();
        assert!(nothing, "something else was sent: {:?}", self.sent);
    }
}

pub(crate) fn at(seconds: u64) -> Moment {
    Moment::ORIGIN + Duration::from_secs(seconds)
}

pub(crate) fn id(request: &str) -> RequestId {
    RequestId::new(request).unwrap()
}

pub(crate) fn worker(number: u64) -> WorkerEndpoint {
    WorkerEndpoint { id: WorkerId::new(&format!("worker-{number}")).unwrap(), url: "".into() }
}

/// A function of the test account: 128 MB, 3 seconds.
pub(crate) fn function(name: &str) -> Arc<FunctionSpec> {
    revision(name, "1", 128)
}

pub(crate) fn revision(name: &str, revision: &str, memory_mb: u32) -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec {
        function: FunctionRef {
            account: AccountId::new("000000000000").unwrap(),
            name: FunctionName::new(name).unwrap(),
            version: Version::Latest,
            revision: RevisionId::new(revision).unwrap(),
        },
        region: "us-east-1".into(),
        runtime: "python3.12".parse::<Runtime>().unwrap(),
        handler: "app.handler".into(),
        memory: MemorySize::new(memory_mb).unwrap(),
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

/// A published version of a function of the test account.
pub(crate) fn version_of(name: &str, number: u64) -> Arc<FunctionSpec> {
    let mut spec = (*function(name)).clone();
    spec.function.version = Version::Number(number);
    Arc::new(spec)
}

pub(crate) fn init_failure() -> Box<InitFailure> {
    Box::new(InitFailure {
        error_type: "Runtime.ImportModuleError".into(),
        document: "{}".into(),
        init_duration: Duration::from_millis(10),
        max_memory_used_bytes: 0,
        log_tail: Vec::new(),
    })
}
