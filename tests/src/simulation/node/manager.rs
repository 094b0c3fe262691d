//! A worker manager: the real router.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_domain::{ClaimId, FencingToken, HolderId, LeaseTerms, RequestId, SlotId};
use hearth_protocol::placement::{ClaimOutcome, ClaimRequest, ReleaseRequest, RenewRequest, RenewResponse};
use hearth_protocol::worker_manager::{Completion, Reservation, ReserveError, ReserveRequest};
use hearth_worker_manager::leases::Renewal;
use hearth_worker_manager::router::{Claim, Outbox, Reserved, Router, RouterConfig, WaiterId};

use super::Host;
use crate::simulation::clock::Instant;
use crate::simulation::event::{About, Event, Life, ManagerLife, NodeId, Request, Response, RpcId};
use crate::simulation::fault::Fault;
use crate::simulation::network::Network;

/// Longest wait of a call for a slot.
pub(crate) const CAPACITY_WAIT: Duration = Duration::from_secs(3);
/// Longest call of placement other than a claim.
const PLACEMENT_PATIENCE: Duration = Duration::from_millis(1_500);
/// Longest claim.
const CLAIM_PATIENCE: Duration = Duration::from_secs(25);
/// Pause before asking again what an earlier life held, ms.
const RECOVER_RETRY_MS: u64 = 150;

#[derive(Debug)]
pub(crate) struct ManagerNode {
    host: Host,
    index: usize,
    pub(crate) holder: HolderId,
    config: RouterConfig,
    pub(crate) router: Router,
    waiting: BTreeMap<WaiterId, (RpcId, RequestId)>,
}

/// What the router said in one step.
#[derive(Debug, Default)]
struct Said {
    answers: Vec<(WaiterId, Result<Reservation, ReserveError>)>,
    claims: Vec<Claim>,
    renewals: Vec<Renewal>,
    releases: Vec<(SlotId, FencingToken)>,
}

impl Outbox for Said {
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
        self.releases.extend(leases);
    }
}

impl ManagerNode {
    pub(crate) fn new(index: usize, config: RouterConfig, drift_ppm: i64) -> Self {
        Self {
            host: Host::new(NodeId::Manager(index), drift_ppm),
            index,
            holder: HolderId::new(&format!("manager-{index}")).expect("a valid id"),
            router: Router::new(config.clone()),
            config,
            waiting: BTreeMap::new(),
        }
    }

    pub(crate) fn alive(&self) -> bool {
        self.host.alive
    }

    pub(crate) fn life(&self) -> Life {
        self.host.life
    }

    pub(crate) fn start(&mut self, net: &mut Network) {
        self.host.start(net);
        self.router = Router::new(self.config.clone());
        self.waiting.clear();
        self.recover(self.host.life, net);
    }

    pub(crate) fn crash(&mut self) {
        self.host.crash();
    }

    /// Asks what an earlier life held.
    pub(crate) fn recover(&mut self, life: Life, net: &mut Network) {
        if self.host.alive && self.host.life == life {
            let about = About::Recover { sent_at: self.host.now(net) };
            let request = Request::Recover(self.holder.clone());
            net.call(self.me(), NodeId::Placement, request, about, PLACEMENT_PATIENCE);
        }
    }

    pub(crate) fn on_timer(&mut self, life: Life, at: Instant, net: &mut Network) {
        if self.host.rings(life, at) {
            let mut said = Said::default();
            self.router.on_tick(self.host.now(net), &mut said);
            self.after_step(said, net);
        }
    }

    pub(crate) fn on_request(&mut self, rpc: RpcId, request: Request, net: &mut Network) {
        let now = self.host.now(net);
        let mut said = Said::default();
        match request {
            Request::Reserve { request_id, function } => {
                let request = ReserveRequest {
                    request_id: request_id.clone(),
                    function,
                    wait: CAPACITY_WAIT,
                    limits: hearth_protocol::worker_manager::ConcurrencyLimits::default(),
                };
                match self.router.on_reserve(now, request, &mut said) {
                    Ok(Reserved::Waits(waiter)) => drop(self.waiting.insert(waiter, (rpc, request_id))),
                    Ok(Reserved::Now(reservation)) => self.answer(rpc, Ok(reservation), net),
                    Err(error) => self.answer(rpc, Err(error), net),
                }
            }
            Request::Complete(completion) => {
                self.complete(&completion, &mut said, net);
                net.respond(rpc, Response::Done);
            }
            other => unreachable!("a manager is not asked {other:?}"),
        }
        self.after_step(said, net);
    }

    pub(crate) fn on_response(&mut self, about: About, response: Response, net: &mut Network) {
        let now = self.host.now(net);
        let mut said = Said::default();
        match (about, response) {
            (About::Claim(number), Response::Outcome(outcome)) => {
                let outcome = bent_outcome(outcome, net);
                self.router.on_claim_outcome(now, number, outcome, &mut said);
            }
            (About::Renew(renewal), Response::Renewed(Ok(answer))) => {
                let answer = bent_renewal(&renewal, answer, net);
                self.router.on_renewed(now, &renewal, &answer, &mut said);
            }
            (About::Recover { sent_at }, Response::Recovered(Ok(mut grants))) => {
                for grant in &mut grants {
                    grant.terms = bent(grant.terms, net);
                }
                self.router.on_recovered(now, sent_at, grants, &mut said);
            }
            (About::Recover { .. }, Response::Recovered(Err(_))) => self.recover_later(net),
            (About::Renew(_), Response::Renewed(Err(_))) | (About::Nothing, Response::Done) => {}
            (about, response) => unreachable!("{response:?} answers {about:?}"),
        }
        self.after_step(said, net);
    }

    pub(crate) fn on_failed(&mut self, about: &About, net: &mut Network) {
        match about {
            About::Claim(number) => self.router.on_claim_cut(self.host.now(net), *number, "simulated"),
            About::Recover { .. } => {
                self.router.on_recovery_failed("simulated");
                self.recover_later(net);
            }
            _ => {}
        }
        self.after_step(Said::default(), net);
    }

    fn complete(&mut self, completion: &Completion, said: &mut Said, net: &mut Network) {
        net.note(completion.slot.0);
        self.router.on_complete(self.host.now(net), completion, said);
    }

    fn recover_later(&mut self, net: &mut Network) {
        net.in_ms(RECOVER_RETRY_MS, Event::Recover { manager: self.index, life: self.host.life });
    }

    fn answer(&mut self, rpc: RpcId, answer: Result<Reservation, ReserveError>, net: &mut Network) {
        let life: ManagerLife = (self.index, self.host.life);
        if let Ok(reservation) = &answer {
            net.oracle.on_reserved(reservation.slot, reservation.token, life);
        }
        net.respond(rpc, Response::Reserved(answer.map(|reservation| (reservation, life))));
    }

    fn after_step(&mut self, said: Said, net: &mut Network) {
        for (waiter, answer) in said.answers {
            if let Some((rpc, _)) = self.waiting.remove(&waiter) {
                self.answer(rpc, answer, net);
            }
        }
        for claim in said.claims {
            self.claim(claim, net);
        }
        for renewal in said.renewals {
            let request = RenewRequest { holder: self.holder.clone(), leases: renewal.leases.clone() };
            net.call(self.me(), NodeId::Placement, Request::Renew(request), About::Renew(renewal), PLACEMENT_PATIENCE);
        }
        if !said.releases.is_empty() {
            let request = ReleaseRequest { holder: self.holder.clone(), leases: said.releases };
            net.call(self.me(), NodeId::Placement, Request::Release(request), About::Nothing, PLACEMENT_PATIENCE);
        }
        if net.checks_now() {
            self.router.check_invariants();
        }
        self.host.arm(self.router.next_deadline(), net);
    }

    fn claim(&mut self, claim: Claim, net: &mut Network) {
        let counts = self.router.counts(&claim.function.function);
        let under_way = counts.claiming + counts.refreshing;
        assert!(under_way <= counts.waiting, "claims and slots exceed the calls that need them: {counts:?}");
        let id = ClaimId::new(&format!("{}-{}-{}", self.index, self.host.life, claim.number.0)).expect("a valid id");
        let request = ClaimRequest { id, holder: self.holder.clone(), function: claim.function, count: claim.count };
        let about = About::Claim(claim.number);
        net.call(self.me(), NodeId::Placement, Request::Claim(request), about, CLAIM_PATIENCE);
    }

    /// What this manager believes it may use now.
    pub(crate) fn uses(&self, slot: SlotId, token: FencingToken, net: &Network) -> bool {
        let held = self.router.held_slots(self.host.now(net));
        let lease = held.iter().find(|held| held.lease.slot == slot).map(|held| held.lease.clone());
        lease.is_some_and(|lease| lease.token == token && !lease.usable_for.is_zero())
    }

    fn me(&self) -> (NodeId, Life) {
        (self.host.id, self.host.life)
    }
}

fn bent_outcome(outcome: ClaimOutcome, net: &Network) -> ClaimOutcome {
    match outcome {
        ClaimOutcome::Granted(mut grant) => {
            grant.terms = bent(grant.terms, net);
            ClaimOutcome::Granted(grant)
        }
        outcome => outcome,
    }
}

fn bent_renewal(renewal: &Renewal, mut answer: RenewResponse, net: &Network) -> RenewResponse {
    for (terms, (slot, token)) in answer.renewed.iter_mut().zip(&renewal.leases) {
        if net.has(Fault::RenewedAfterGone) && net.oracle.is_reclaimed(*slot, *token) {
            *terms = Some(LeaseTerms::new(Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(4)));
        }
        *terms = terms.map(|terms| bent(terms, net));
    }
    answer
}

/// The terms as the holder takes them: as they are, unless that bug is planted.
fn bent(terms: LeaseTerms, net: &Network) -> LeaseTerms {
    if net.has(Fault::HolderIgnoresItsDeadline) {
        LeaseTerms::new(terms.renew_after(), 10 * terms.stop_using_after(), 10 * terms.gone_after())
    } else {
        terms
    }
}
