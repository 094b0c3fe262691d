//! Router and ledger together, under a trace, in virtual time. Messages between the two take no time; what workers make does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{FencingToken, FunctionSpec, Moment, RequestId, SlotId, SlotOutcome};
use hearth_placement::ledger::LedgerConfig;
use hearth_protocol::placement::{Capacity, RenewRequest};
use hearth_protocol::worker::InitSlot;
use hearth_protocol::worker_manager::{Completion, ConcurrencyLimits, Reservation, ReserveError, ReserveRequest};
use hearth_worker_manager::leases::Renewal;
use hearth_worker_manager::router::{Claim, ClaimNumber, Outbox, Reserved, Router, RouterConfig, Stats, WaiterId};

use super::chance::Chance;
use super::fixture;
use super::fleet::Fleet;
use super::meter::Meter;
use super::trace::Called;

/// Median and deviation (of the logarithm) of the time in which a worker makes a slot.
const INIT_S: (f64, f64) = (0.25, 0.5);

/// How a cluster is set up.
#[derive(Debug)]
pub struct Settings {
    /// How many workers.
    pub workers: usize,
    /// What each has.
    pub capacity: Capacity,
    /// How often each reports.
    pub report_every: Duration,
    /// Leases, and patience with workers.
    pub ledger: LedgerConfig,
    /// The router's bounds and its keep-alive.
    pub router: RouterConfig,
    /// Who is called, and how.
    pub functions: Vec<Called>,
    /// Where all randomness comes from.
    pub seed: u64,
}

/// The whole control plane and what is around it.
#[derive(Debug)]
pub struct Cluster {
    now: Moment,
    router: Router,
    sent: Sent,
    fleet: Fleet,
    functions: Vec<Called>,
    report_every: Duration,
    events: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    requests: u64,
    /// Calls that wait, with their function; those without one end as soon as they begin.
    waiting: HashMap<WaiterId, (Option<usize>, RequestId)>,
    chance: Chance,
    /// What calls into the router cost.
    pub costs: RouterCosts,
    /// Of each function: calls, and those that found no idle slot.
    pub calls: Vec<(u64, u64)>,
    busy_mb_seconds: f64,
}

/// What the calls into the router cost.
#[derive(Debug)]
pub struct RouterCosts {
    /// A call asks for a slot.
    pub reserve: Meter,
    /// A call gives its slot back.
    pub complete: Meter,
    /// The end of a turn: claims, renewals, releases, what ages.
    pub turn: Meter,
    /// Placement answered a claim.
    pub outcome: Meter,
    /// Placement answered a renewal; counted in leases.
    pub renewed: Meter,
}

#[derive(Debug, PartialEq, Eq)]
struct Scheduled {
    at: Moment,
    number: u64,
    event: Event,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Call(usize),
    End(Box<Completion>),
    Made(Box<MadeSlot>),
    Report(usize),
}

#[derive(Debug)]
struct MadeSlot {
    worker: usize,
    request: InitSlot,
}

#[derive(Debug, Default)]
struct Sent {
    answers: Vec<(WaiterId, Result<Reservation, ReserveError>)>,
    claims: Vec<Claim>,
    renewals: Vec<Renewal>,
    releases: Vec<Vec<(SlotId, FencingToken)>>,
}

impl Cluster {
    /// Everything has started and nothing was called yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut cluster = Self {
            now: Moment::ORIGIN,
            router: Router::new(settings.router),
            sent: Sent::default(),
            fleet: Fleet::new(settings.ledger, settings.workers, settings.capacity),
            calls: vec![(0, 0); settings.functions.len()],
            functions: settings.functions,
            report_every: settings.report_every,
            events: BinaryHeap::new(),
            scheduled: 0,
            requests: 0,
            waiting: HashMap::new(),
            chance: Chance::from(settings.seed),
            costs: RouterCosts::new(),
            busy_mb_seconds: 0.0,
        };
        cluster.router.on_recovered(Moment::ORIGIN, Moment::ORIGIN, Vec::new(), &mut cluster.sent);
        for n in 0..cluster.fleet.workers() {
            let phase = cluster.report_every.mul_f64(cluster.chance.share());
            cluster.schedule(phase, Event::Report(n));
        }
        for n in 0..cluster.functions.len() {
            let first = cluster.functions[n].first(&mut cluster.chance);
            cluster.schedule(first, Event::Call(n));
        }
        cluster
    }

    /// Lets so much time pass.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let event = self.events.peek().map(|Reverse(scheduled)| scheduled.at);
            let (router, fleet) = (self.router.next_deadline(), self.fleet.next_deadline());
            let Some(next) = [event, router, fleet].into_iter().flatten().min().filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            if router.is_some_and(|due| due <= self.now) {
                let (router, sent, now) = (&mut self.router, &mut self.sent, self.now);
                self.costs.turn.call(|| router.on_tick(now, sent));
            } else if fleet.is_some_and(|due| due <= self.now) {
                self.fleet.pass(self.now);
            } else if let Some(Reverse(scheduled)) = self.events.pop() {
                self.happen(scheduled.event);
            }
            self.deliver();
        }
        self.now = until;
    }

    /// The ledger and the workers.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What the router counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.router.stats()
    }

    /// Memory that slots held while no call ran on them, GB times seconds.
    #[must_use]
    pub fn idle_gb_seconds(&self) -> f64 {
        (self.fleet.held_mb_seconds(self.now) - self.busy_mb_seconds) / 1_024.0
    }

    /// Makes one slot ready for each of so many functions, by a call that ends at once.
    pub fn warm_up(&mut self, slots: usize) {
        for n in 0..slots {
            let spec = fixture::function(n, fixture::MEMORY_MB, 3);
            let (request_id, reserved) = self.reserve(spec);
            if let Ok(Reserved::Waits(waiter)) = reserved {
                self.waiting.insert(waiter, (None, request_id));
            }
            let due = self.router.next_deadline().filter(|due| *due <= self.now);
            if due.is_some() {
                self.router.on_tick(self.now, &mut self.sent);
            }
            self.deliver_with(Duration::ZERO);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call(n) => {
                let gap = self.functions[n].gap(&mut self.chance);
                self.schedule(gap, Event::Call(n));
                self.call(n);
            }
            Event::End(completion) => {
                let (router, sent, now) = (&mut self.router, &mut self.sent, self.now);
                self.costs.complete.call(|| router.on_complete(now, &completion, sent));
            }
            Event::Made(made) => self.fleet.made(self.now, made.worker, made.request),
            Event::Report(n) => {
                self.fleet.report(self.now, n);
                self.schedule(self.report_every, Event::Report(n));
            }
        }
    }

    fn call(&mut self, n: usize) {
        self.calls[n].0 += 1;
        let spec = self.functions[n].spec.clone();
        let (request_id, reserved) = self.reserve(spec);
        match reserved {
            Ok(Reserved::Now(reservation)) => self.started(Some(n), request_id, &reservation),
            Ok(Reserved::Waits(waiter)) => {
                self.calls[n].1 += 1;
                self.waiting.insert(waiter, (Some(n), request_id));
            }
            // The bounds that a provider has, too: whoever called was told.
            Err(_) => self.calls[n].1 += 1,
        }
    }

    fn reserve(&mut self, function: Arc<FunctionSpec>) -> (RequestId, Result<Reserved, ReserveError>) {
        self.requests += 1;
        let request_id = fixture::request_id(self.requests);
        let request = ReserveRequest {
            request_id: request_id.clone(),
            function,
            wait: Duration::from_secs(10),
            limits: ConcurrencyLimits::default(),
        };
        let (router, sent, now) = (&mut self.router, &mut self.sent, self.now);
        (request_id, self.costs.reserve.call(|| router.on_reserve(now, request, sent)))
    }

    fn started(&mut self, n: Option<usize>, request_id: RequestId, reservation: &Reservation) {
        let runs = n.map_or(Duration::ZERO, |n| {
            let function = &self.functions[n];
            let runs = function.run(&mut self.chance);
            self.busy_mb_seconds += f64::from(function.spec.memory.get()) * runs.as_secs_f64();
            runs
        });
        let Reservation { slot, token, .. } = *reservation;
        let completion = Completion { request_id, slot, token, outcome: SlotOutcome::Reusable };
        self.schedule(runs, Event::End(Box::new(completion)));
    }

    /// Brings what was sent to whom it is for, until nothing is left.
    fn deliver(&mut self) {
        let takes = Duration::from_secs_f64(INIT_S.0 * (INIT_S.1 * self.chance.normal()).exp());
        self.deliver_with(takes);
    }

    fn deliver_with(&mut self, init_takes: Duration) {
        while self.sent.any() || self.fleet.sent.any() {
            for (waiter, answer) in std::mem::take(&mut self.sent.answers) {
                if let (Some((n, request_id)), Ok(reservation)) = (self.waiting.remove(&waiter), answer) {
                    self.started(n, request_id, &reservation);
                }
            }
            for Claim { number, function, count, .. } in std::mem::take(&mut self.sent.claims) {
                if let Err(error) = self.fleet.claim(self.now, number.0, fixture::holder(), function, count) {
                    self.router.on_claim_cut(self.now, number, &error.to_string());
                }
            }
            for renewal in std::mem::take(&mut self.sent.renewals) {
                self.renew(&renewal);
            }
            for leases in std::mem::take(&mut self.sent.releases) {
                self.fleet.release(self.now, leases);
            }
            for (worker, request) in std::mem::take(&mut self.fleet.sent.inits) {
                if init_takes.is_zero() {
                    self.fleet.made(self.now, worker, request);
                } else {
                    self.schedule(init_takes, Event::Made(Box::new(MadeSlot { worker, request })));
                }
            }
            for (ticket, outcome) in std::mem::take(&mut self.fleet.sent.outcomes) {
                let (router, sent, now) = (&mut self.router, &mut self.sent, self.now);
                let number = ClaimNumber(ticket.0);
                self.costs.outcome.call(|| router.on_claim_outcome(now, number, outcome, sent));
            }
        }
    }

    fn renew(&mut self, renewal: &Renewal) {
        let request = RenewRequest { holder: fixture::holder(), leases: renewal.leases.clone() };
        let answer = self.fleet.renew(self.now, &request);
        let (router, sent, now) = (&mut self.router, &mut self.sent, self.now);
        self.costs.renewed.call_for(request.leases.len(), || router.on_renewed(now, renewal, &answer, sent));
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse(Scheduled { at: self.now + after, number: self.scheduled, event }));
    }
}

impl RouterCosts {
    fn new() -> Self {
        let [turn, outcome, renewed] = [1; 3].map(Meter::every);
        Self { reserve: Meter::every(8), complete: Meter::every(8), turn, outcome, renewed }
    }
}

impl Sent {
    fn any(&self) -> bool {
        !(self.answers.is_empty() && self.claims.is_empty() && self.renewals.is_empty() && self.releases.is_empty())
    }
}

impl Outbox for Sent {
    fn answer(&mut self, waiter: WaiterId, answer: Result<Reservation, ReserveError>) {
        self.answers.push((waiter, answer));
    }

    fn claim(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    fn renew(&mut self, renewal: Renewal) {
        self.renewals.push(renewal);
    }

    fn release(&mut self, leases: Vec<(SlotId, FencingToken)>) {
        self.releases.push(leases);
    }
}

/// Known by its slot, which no other event carries.
impl PartialEq for MadeSlot {
    fn eq(&self, other: &Self) -> bool {
        self.request.slot == other.request.slot
    }
}

impl Eq for MadeSlot {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What was scheduled first comes first of what comes at one moment.
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
