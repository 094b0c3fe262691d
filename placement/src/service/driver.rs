//! The task that owns the ledger.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{Clock, Tasks};
use hearth_domain::{FencingToken, HolderId, Moment, SlotId};
use hearth_protocol::placement::{ClaimOutcome, ClaimRequest, Grant, ReleaseRequest};
use hearth_protocol::worker::{FenceRequest, InitSlot};
use hearth_protocol::{WorkerDirectory, WorkerEndpoint};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::claims::{OpenClaims, Outcomes};
use super::event::{Event, Reply};
use super::metrics::Metrics;
use super::refusal;
use crate::config::Config;
use crate::ledger::limits::CLAIM_SLOTS_MAX;
use crate::ledger::{Ledger, Outbox, RecoverError, RecoverTicket, Start};

/// How often the gauges are set at most: they take a walk over all slots.
const GAUGES_EVERY: Duration = Duration::from_secs(1);
/// Requests that wait for the ledger to settle at most; more are refused.
const PARKED_MAX: usize = 1_024;

/// Owns the ledger and does what it says.
pub(super) struct Driver {
    ledger: Ledger,
    clock: Clock,
    hands: Hands,
    /// What can be answered only once the ledger has settled.
    parked: Vec<Parked>,
    gauges_at: Moment,
    next_recovery: u64,
}

/// What the ledger acts with.
struct Hands {
    calls: Calls,
    claims: OpenClaims,
    recoveries: HashMap<RecoverTicket, Reply<Vec<Grant>>>,
    /// Grants that could not be told, for the ledger to hear of next.
    undelivered: Vec<(SlotId, FencingToken)>,
    metrics: Metrics,
}

enum Parked {
    Release(ReleaseRequest, Reply<()>),
    Recover(HolderId, Reply<Vec<Grant>>),
}

impl Driver {
    pub(super) fn new(
        config: Config,
        workers: Arc<dyn WorkerDirectory>,
        metrics: Metrics,
        events: mpsc::WeakSender<Event>,
        tasks: Tasks,
    ) -> Self {
        let clock = Clock::start();
        let start = Start {
            now: Moment::from_nanos(0),
            seed: rand::random(),
            token_floor: Start::token_floor(Clock::unix_ms()),
        };
        Self {
            ledger: Ledger::new(config.ledger, start),
            clock,
            hands: Hands {
                calls: Calls::new(config, workers, events.clone(), tasks),
                claims: OpenClaims::new(events),
                recoveries: HashMap::new(),
                undelivered: Vec::new(),
                metrics,
            },
            parked: Vec::new(),
            gauges_at: Moment::ORIGIN,
            next_recovery: 0,
        }
    }

    /// Serves until asked to stop and no claim is open, or until `abandon`ed.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Event>,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) -> Result<(), Infallible> {
        loop {
            let stopping = stop.is_cancelled();
            if stopping && self.hands.claims.is_empty() {
                return Ok(());
            }
            let due = self.ledger.next_deadline().map(|at| self.clock.instant(at.since(Moment::ORIGIN)));
            tokio::select! {
                event = inbox.recv() => match event {
                    Some(event) => self.on_event(event, stopping),
                    None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    self.ledger.on_deadline(self.now(), &mut self.hands);
                }
                () = stop.cancelled(), if !stopping => {}
                () = abandon.cancelled() => return Ok(()),
            }
            self.after_step();
        }
    }

    fn on_event(&mut self, event: Event, stopping: bool) {
        let now = self.now();
        match event {
            Event::Claim { request: _, reply } if stopping => answer(reply, Err(refusal("it is shutting down", true))),
            Event::Claim { request, reply } => self.claim(now, request, reply),
            Event::Renew { request, reply } => {
                let renewed = self.ledger.on_renew(now, &request).map_err(|settling| refusal(settling, false));
                if let Ok(response) = &renewed {
                    let good = response.renewed.iter().flatten().count();
                    self.hands.metrics.renewed(good as u64, (response.renewed.len() - good) as u64);
                }
                answer(reply, renewed);
            }
            Event::Release { request, reply } => self.release(request, reply),
            Event::Recover { holder, reply } => self.recover(now, holder, reply),
            Event::Report { report, reply } => {
                let ack = self.ledger.on_report(now, *report, &mut self.hands);
                answer(reply, ack.map_err(|error| refusal(error, false)));
            }
            Event::Fleet { reply } => answer(reply, Ok(self.ledger.fleet(now))),
            Event::Init(done) => {
                self.hands.metrics.init(&done);
                let slot = (done.slot, done.token);
                self.ledger.on_init_result(now, &done.worker, slot, done.result, &mut self.hands);
            }
            Event::Fence { slot, token, result } => {
                self.ledger.on_fence_result(now, (slot, token), result, &mut self.hands);
            }
            Event::Undelivered(grants) => self.hands.undelivered.extend(grants),
        }
    }

    fn claim(&mut self, now: Moment, request: ClaimRequest, reply: Reply<Outcomes>) {
        let (ticket, outcomes) = self.hands.claims.open(request.count.min(CLAIM_SLOTS_MAX));
        match self.ledger.on_claim(now, request, ticket, &mut self.hands) {
            Ok(replaced) => {
                replaced.into_iter().for_each(|before| self.hands.claims.cut(before));
                answer(reply, Ok(outcomes));
            }
            Err(error) => {
                self.hands.claims.cut(ticket);
                answer(reply, Err(refusal(error, false)));
            }
        }
    }

    fn release(&mut self, request: ReleaseRequest, reply: Reply<()>) {
        match self.ledger.on_release(&request, &mut self.hands) {
            Ok(()) => answer(reply, Ok(())),
            Err(_) if self.parked.len() < PARKED_MAX => self.parked.push(Parked::Release(request, reply)),
            Err(settling) => answer(reply, Err(refusal(settling, false))),
        }
    }

    fn recover(&mut self, now: Moment, holder: HolderId, reply: Reply<Vec<Grant>>) {
        let ticket = RecoverTicket(self.next_recovery);
        self.next_recovery += 1;
        // Before the ledger is asked: it may answer at once.
        self.hands.recoveries.insert(ticket, reply);
        let Err(error) = self.ledger.on_recover(now, &holder, ticket, &mut self.hands) else { return };
        let Some(reply) = self.hands.recoveries.remove(&ticket) else { return };
        match error {
            RecoverError::Settling(_) if self.parked.len() < PARKED_MAX => {
                self.parked.push(Parked::Recover(holder, reply));
            }
            error => answer(reply, Err(refusal(error, false))),
        }
    }

    /// What follows from a step: grants that did not arrive, requests that waited, calls that were gathered, gauges.
    fn after_step(&mut self) {
        let now = self.now();
        for (slot, token) in std::mem::take(&mut self.hands.undelivered) {
            self.ledger.on_undelivered(slot, token, &mut self.hands);
        }
        if self.ledger.settled() {
            for parked in std::mem::take(&mut self.parked) {
                match parked {
                    Parked::Release(request, reply) => self.release(request, reply),
                    Parked::Recover(holder, reply) => self.recover(now, holder, reply),
                }
            }
        }
        self.hands.calls.flush();
        if now >= self.gauges_at {
            self.gauges_at = now + GAUGES_EVERY;
            self.hands.metrics.refresh(&self.ledger, now);
            self.hands.calls.keep(|worker| self.ledger.knows(worker));
        }
    }

    fn now(&self) -> Moment {
        Moment::ORIGIN + self.clock.elapsed()
    }
}

impl Outbox for Hands {
    fn init_slot(&mut self, worker: &WorkerEndpoint, request: InitSlot) {
        tracing::debug!(worker = %worker.id, slot = %request.slot, function = %request.function.function, "init slot");
        self.calls.init_slot(worker, request);
    }

    fn fence(&mut self, worker: &WorkerEndpoint, request: FenceRequest) {
        self.calls.fence(worker, request);
    }

    fn reclaim(&mut self, worker: &WorkerEndpoint, slot: SlotId, token: FencingToken) {
        self.metrics.reclaim();
        self.calls.reclaim(worker, slot, token);
    }

    fn claim_outcome(&mut self, ticket: crate::ledger::ClaimTicket, outcome: ClaimOutcome) {
        self.metrics.outcome(&outcome);
        self.undelivered.extend(self.claims.tell(ticket, outcome));
    }

    fn recovered(&mut self, ticket: RecoverTicket, grants: Vec<Grant>) {
        self.metrics.recovered(grants.len());
        if let Some(reply) = self.recoveries.remove(&ticket) {
            answer(reply, Ok(grants));
        }
    }
}

/// Whoever asked may have gone; then the answer has no reader, and leases in it run out by themselves.
fn answer<T>(reply: Reply<T>, result: Result<T, hearth_protocol::Unreachable>) {
    let _ = reply.send(result);
}
