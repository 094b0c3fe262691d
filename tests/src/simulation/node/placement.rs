//! Placement: the real ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_domain::{FencingToken, HolderId, SlotId};
use hearth_placement::ledger::{ClaimTicket, Ledger, LedgerConfig, Outbox, RecoverError, RecoverTicket, Start};
use hearth_protocol::placement::{ClaimOutcome, ClaimRequest, Grant, ReleaseRequest, ReportAck, WorkerReport};
use hearth_protocol::worker::{FenceRequest, InitSlot, InitSlotError};
use hearth_protocol::{Unreachable, WorkerEndpoint};

use super::Host;
use crate::simulation::clock::Instant;
use crate::simulation::event::{About, Life, ManagerLife, NodeId, Request, Response, RpcId};
use crate::simulation::fault::Fault;
use crate::simulation::network::Network;

/// Longest call of [`Outbox::init_slot`].
const INIT_PATIENCE: Duration = Duration::from_secs(6);
/// Longest call of [`Outbox::fence`].
const CALL_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct PlacementNode {
    host: Host,
    config: LedgerConfig,
    pub(crate) ledger: Ledger,
    listeners: BTreeMap<ClaimTicket, (RpcId, ManagerLife)>,
    recoveries: BTreeMap<RecoverTicket, (RpcId, ManagerLife)>,
    parked: Vec<(RpcId, Parked)>,
    tickets: u64,
    /// Planted: what the world takes for the token of a slot.
    aliases: BTreeMap<SlotId, (FencingToken, FencingToken)>,
    /// What was reclaimed in this step.
    pub(crate) reclaimed: Vec<(SlotId, FencingToken)>,
}

#[derive(Debug)]
enum Parked {
    Release(ReleaseRequest),
    Recover(HolderId, ManagerLife),
}

/// What the ledger said in one step.
#[derive(Debug, Default)]
struct Said(Vec<Saying>);

#[derive(Debug)]
enum Saying {
    Init(WorkerEndpoint, InitSlot),
    Fence(WorkerEndpoint, FenceRequest),
    Reclaim(WorkerEndpoint, SlotId, FencingToken),
    Outcome(ClaimTicket, ClaimOutcome),
    Recovered(RecoverTicket, Vec<Grant>),
}

impl Outbox for Said {
    fn init_slot(&mut self, worker: &WorkerEndpoint, request: InitSlot) {
        self.0.push(Saying::Init(worker.clone(), request));
    }

    fn fence(&mut self, worker: &WorkerEndpoint, request: FenceRequest) {
        self.0.push(Saying::Fence(worker.clone(), request));
    }

    fn reclaim(&mut self, worker: &WorkerEndpoint, slot: SlotId, token: FencingToken) {
        self.0.push(Saying::Reclaim(worker.clone(), slot, token));
    }

    fn claim_outcome(&mut self, ticket: ClaimTicket, outcome: ClaimOutcome) {
        self.0.push(Saying::Outcome(ticket, outcome));
    }

    fn recovered(&mut self, ticket: RecoverTicket, grants: Vec<Grant>) {
        self.0.push(Saying::Recovered(ticket, grants));
    }
}

impl PlacementNode {
    pub(crate) fn new(config: LedgerConfig, drift_ppm: i64) -> Self {
        let start = Start { now: hearth_domain::Moment::ORIGIN, seed: 0, token_floor: 0 };
        Self {
            host: Host::new(NodeId::Placement, drift_ppm),
            config,
            ledger: Ledger::new(config, start),
            listeners: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            parked: Vec::new(),
            tickets: 0,
            aliases: BTreeMap::new(),
            reclaimed: Vec::new(),
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
        net.oracle.on_placement_started();
        // The calendar may be wrong: often the floor is no help, and the reports have to do.
        let token_floor = if net.chance.permille(500) { Start::token_floor(net.now.ms()) } else { 0 };
        let start = Start { now: self.host.now(net), seed: net.chance.draw(), token_floor };
        self.ledger = Ledger::new(self.config, start);
        self.listeners.clear();
        self.recoveries.clear();
        self.parked.clear();
        self.aliases.clear();
        self.after_step(Said::default(), net);
    }

    pub(crate) fn crash(&mut self) {
        self.host.crash();
    }

    pub(crate) fn on_timer(&mut self, life: Life, at: Instant, net: &mut Network) {
        if self.host.rings(life, at) {
            let mut said = Said::default();
            self.ledger.on_deadline(self.host.now(net), &mut said);
            self.after_step(said, net);
        }
    }

    pub(crate) fn on_request(&mut self, rpc: RpcId, from: ManagerLife, request: Request, net: &mut Network) {
        let now = self.host.now(net);
        let mut said = Said::default();
        match request {
            Request::Claim(claim) => self.on_claim(rpc, from, claim, &mut said, net),
            Request::Renew(mut request) => {
                self.inward(&mut request.leases);
                let answer = self.ledger.on_renew(now, &request).map_err(|settling| refusal(&settling));
                net.respond(rpc, Response::Renewed(answer));
            }
            Request::Release(mut request) => {
                self.inward(&mut request.leases);
                self.release(rpc, request, &mut said, net);
            }
            Request::Recover(holder) => self.recover(rpc, holder, from, &mut said, net),
            Request::Report(report) => self.on_report(rpc, report, &mut said, net),
            other => unreachable!("placement is not asked {other:?}"),
        }
        self.after_step(said, net);
    }

    pub(crate) fn on_response(&mut self, about: &About, worker: usize, response: Response, net: &mut Network) {
        let now = self.host.now(net);
        let mut said = Said::default();
        match (about, response) {
            (About::Init { slot, token }, Response::Inited(result)) => {
                self.ledger.on_init_result(now, &endpoint(worker), (*slot, *token), result, &mut said);
            }
            (About::Fence { slot, token }, Response::Fenced(fenced)) => {
                self.ledger.on_fence_result(now, (*slot, *token), Ok(fenced), &mut said);
            }
            (about, response) => unreachable!("{response:?} answers {about:?}"),
        }
        self.after_step(said, net);
    }

    pub(crate) fn on_failed(&mut self, about: &About, worker: usize, not_sent: bool, net: &mut Network) {
        let failure = || Unreachable { role: "worker".to_owned(), reason: "simulated".to_owned(), not_sent };
        let now = self.host.now(net);
        let mut said = Said::default();
        match about {
            About::Init { slot, token } => {
                let result = Err(InitSlotError::Unreachable(failure()));
                self.ledger.on_init_result(now, &endpoint(worker), (*slot, *token), result, &mut said);
            }
            About::Fence { slot, token } => {
                self.ledger.on_fence_result(now, (*slot, *token), Err(failure()), &mut said);
            }
            about => unreachable!("placement does not wait for {about:?}"),
        }
        self.after_step(said, net);
    }

    fn on_claim(&mut self, rpc: RpcId, from: ManagerLife, claim: ClaimRequest, said: &mut Said, net: &mut Network) {
        let ticket = ClaimTicket(self.ticket());
        self.listeners.insert(ticket, (rpc, from));
        match self.ledger.on_claim(self.host.now(net), claim, ticket, said) {
            Ok(Some(replaced)) => drop(self.listeners.remove(&replaced)),
            Ok(None) => {}
            Err(_) => {
                self.listeners.remove(&ticket);
                net.cut(rpc);
            }
        }
    }

    fn on_report(&mut self, rpc: RpcId, report: WorkerReport, said: &mut Said, net: &mut Network) {
        let slots: Vec<_> = report.slots.iter().map(|slot| (slot.slot, slot.token)).collect();
        let forgets = net.has(Fault::RestartForgetsLeases) && self.host.life > 1;
        let first = forgets && !self.ledger.knows(&report.worker.id);
        let mut ack = self.ledger.on_report(self.host.now(net), report, said).expect("simulated reports are sound");
        if first {
            ack.reclaim = slots;
        }
        if net.has(Fault::NothingReclaimed) {
            ack.reclaim.clear();
        }
        for (slot, token) in &mut ack.reclaim {
            *token = self.outward(*slot, *token);
            net.oracle.on_reclaimed(*slot, *token);
        }
        self.reclaimed.extend(&ack.reclaim);
        net.respond(rpc, Response::Acked(ReportAck { reclaim: ack.reclaim }));
    }

    fn release(&mut self, rpc: RpcId, request: ReleaseRequest, said: &mut Said, net: &mut Network) {
        match self.ledger.on_release(&request, said) {
            Ok(()) => net.respond(rpc, Response::Done),
            Err(_) => self.parked.push((rpc, Parked::Release(request))),
        }
    }

    fn recover(&mut self, rpc: RpcId, holder: HolderId, from: ManagerLife, said: &mut Said, net: &mut Network) {
        let ticket = RecoverTicket(self.ticket());
        self.recoveries.insert(ticket, (rpc, from));
        match self.ledger.on_recover(self.host.now(net), &holder, ticket, said) {
            Ok(()) => return,
            Err(RecoverError::Settling(_)) => self.parked.push((rpc, Parked::Recover(holder, from))),
            Err(error @ RecoverError::TooMany { .. }) => net.respond(rpc, Response::Recovered(Err(refusal(&error)))),
        }
        self.recoveries.remove(&ticket);
    }

    fn after_step(&mut self, said: Said, net: &mut Network) {
        let mut said = said;
        while !said.0.is_empty() {
            let mut more = Said::default();
            for saying in said.0 {
                self.act(saying, &mut more, net);
            }
            said = more;
        }
        if self.ledger.settled() && !self.parked.is_empty() {
            let mut more = Said::default();
            for (rpc, parked) in std::mem::take(&mut self.parked) {
                match parked {
                    Parked::Release(request) => self.release(rpc, request, &mut more, net),
                    Parked::Recover(holder, from) => self.recover(rpc, holder, from, &mut more, net),
                }
            }
            return self.after_step(more, net);
        }
        if net.checks_now() {
            self.ledger.check_invariants();
        }
        self.host.arm(self.ledger.next_deadline(), net);
    }

    fn act(&mut self, saying: Saying, more: &mut Said, net: &mut Network) {
        let me = (NodeId::Placement, self.host.life);
        match saying {
            Saying::Init(worker, request) => {
                net.oracle.on_token(request.slot, request.token, self.host.life);
                let about = About::Init { slot: request.slot, token: request.token };
                net.call(me, node(&worker), Request::Init(request), about, INIT_PATIENCE);
            }
            Saying::Fence(worker, mut request) => {
                let about = About::Fence { slot: request.slot, token: request.token };
                if net.has(Fault::TokenReused) {
                    let outside = self.outward(request.slot, FencingToken(0)).max(net.oracle.token(request.slot));
                    self.aliases.insert(request.slot, (request.token, outside));
                }
                request.token = self.outward(request.slot, request.token);
                if !net.has(Fault::TokenReused) {
                    net.oracle.on_token(request.slot, request.token, self.host.life);
                }
                net.call(me, node(&worker), Request::Fence(request), about, CALL_PATIENCE);
            }
            Saying::Reclaim(worker, slot, token) if !net.has(Fault::NothingReclaimed) => {
                let token = self.outward(slot, token);
                net.oracle.on_reclaimed(slot, token);
                self.reclaimed.push((slot, token));
                net.call(me, node(&worker), Request::Reclaim(vec![(slot, token)]), About::Nothing, CALL_PATIENCE);
            }
            Saying::Reclaim(..) => {}
            Saying::Outcome(ticket, outcome) => self.tell(ticket, outcome, more, net),
            Saying::Recovered(ticket, mut grants) => {
                let Some((rpc, to)) = self.recoveries.remove(&ticket) else { return };
                for grant in &mut grants {
                    grant.token = self.outward(grant.slot, grant.token);
                    net.oracle.on_granted(net.now, grant.slot, grant.token, to);
                }
                net.respond(rpc, Response::Recovered(Ok(grants)));
            }
        }
    }

    fn tell(&mut self, ticket: ClaimTicket, outcome: ClaimOutcome, more: &mut Said, net: &mut Network) {
        let Some((rpc, to)) = self.listeners.get(&ticket).copied() else { return };
        let ClaimOutcome::Granted(grant) = &outcome else { return net.respond(rpc, Response::Outcome(outcome)) };
        let (slot, token) = (grant.slot, grant.token);
        net.oracle.on_granted(net.now, slot, self.outward(slot, token), to);
        // Whether the server notices that nobody listens is luck.
        let deaf = net.calls.get(&rpc).is_none_or(|call| call.cut);
        if deaf && net.chance.permille(500) {
            self.ledger.on_undelivered(slot, token, more);
        }
        net.respond(rpc, Response::Outcome(outcome));
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// What the world calls a token of the ledger's. The same, unless that bug is planted.
    fn outward(&self, slot: SlotId, token: FencingToken) -> FencingToken {
        self.aliases.get(&slot).map_or(token, |(_, outside)| *outside)
    }

    fn inward(&self, leases: &mut [(SlotId, FencingToken)]) {
        for (slot, token) in leases {
            if let Some((inside, _)) = self.aliases.get(slot).filter(|(_, outside)| outside == token) {
                *token = *inside;
            }
        }
    }
}

fn endpoint(worker: usize) -> WorkerEndpoint {
    super::worker::endpoint(worker)
}

fn node(worker: &WorkerEndpoint) -> NodeId {
    NodeId::Worker(
        worker.id.as_str().strip_prefix("worker-").and_then(|index| index.parse().ok()).expect("one of ours"),
    )
}

fn refusal(reason: &dyn std::fmt::Display) -> Unreachable {
    Unreachable { role: "placement".to_owned(), reason: reason.to_string(), not_sent: false }
}
