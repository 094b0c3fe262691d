//! One run: who there is, what happens, what must have come of it.

use hearth_domain::SlotId;

use super::chance::Chance;
use super::clock::Instant;
use super::event::{About, Event, Life, NodeId, Request, Response, RpcId};
use super::fault::Fault;
use super::functions::function;
use super::network::Network;
use super::node::{Answered, CALL_BOUND, Call, Clients, ManagerNode, PlacementNode, WorkerNode};
use super::scenario::{Scenario, Victim};

/// Above this many workers the cores are not checked after every event.
const MANY_WORKERS: usize = 100;
/// But after every so many.
const CHECK_MANY_EVERY: u64 = 1_000;

/// A fleet and its run.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    net: Network,
    placement: PlacementNode,
    managers: Vec<ManagerNode>,
    workers: Vec<WorkerNode>,
    clients: Clients,
}

/// What came of a run that broke no invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// How many things happened.
    pub events: u64,
    /// How many calls were made.
    pub calls: usize,
    /// How many of them ran to an answer of the function.
    pub ran: usize,
    /// For each function: slots made, and workers they were made on.
    pub made: Vec<(usize, usize)>,
    /// The longest a call took, ms.
    pub slowest_ms: u64,
}

impl World {
    /// A fleet, about to start.
    #[must_use]
    pub fn new(scenario: Scenario, fault: Option<Fault>) -> Self {
        let mut chance = Chance::from(scenario.seed ^ 0x5117);
        let most = u64::try_from(scenario.max_drift_ppm).unwrap_or(0);
        let drift =
            |chance: &mut Chance| i64::try_from(chance.within(0, 2 * most + 1)).unwrap_or(0) - scenario.max_drift_ppm;
        let placement = PlacementNode::new(scenario.ledger, drift(&mut chance));
        let manager = |index| {
            const RUNAWAY_PPM: i64 = -500_000;
            let drift = if fault == Some(Fault::ClockRunsAway) { RUNAWAY_PPM } else { drift(&mut chance) };
            ManagerNode::new(index, scenario.router.clone(), drift)
        };
        let managers: Vec<_> = (0..scenario.managers).map(manager).collect();
        let worker = |index| WorkerNode::new(index, scenario.worker_memory_mb, scenario.report_every);
        let workers: Vec<_> = (0..scenario.workers).map(worker).collect();
        let functions = scenario.functions.iter().enumerate().map(|(index, memory_mb)| function(index, *memory_mb));
        let clients = Clients::new(functions.collect(), scenario.managers, &scenario.calls);
        let mut net = Network::new(chance, scenario.weather, scenario.calm_at, fault);
        if scenario.workers > MANY_WORKERS {
            net.check_every(CHECK_MANY_EVERY);
        }
        for _ in 0..scenario.weather.partitions {
            let between = partition(&scenario, &mut net.chance);
            net.partition(between);
        }
        Self { scenario, net, placement, managers, workers, clients }
    }

    /// Prints every event on the way.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.net.told = true;
        self
    }

    /// Runs to the end and says what came of it.
    ///
    /// # Panics
    /// If an invariant breaks.
    #[must_use]
    pub fn run(mut self) -> Summary {
        self.schedule();
        while let Some(event) = self.net.next(self.scenario.end_at) {
            self.on_event(event);
        }
        self.check_end();
        self.summary()
    }

    fn schedule(&mut self) {
        let net = &mut self.net;
        net.at(Instant::default(), Event::Start(NodeId::Placement));
        (0..self.managers.len()).for_each(|index| net.at(Instant::default(), Event::Start(NodeId::Manager(index))));
        (0..self.workers.len()).for_each(|index| net.at(Instant::default(), Event::Start(NodeId::Worker(index))));
        for (at, victim) in &self.scenario.crashes {
            let node = match *victim {
                Victim::Placement => NodeId::Placement,
                Victim::Manager(index) => NodeId::Manager(index),
                Victim::Worker(index) => NodeId::Worker(index),
            };
            net.at(*at, Event::Crash(node));
            let back = at.plus_ms(net.chance.within(50, 5_000)).min(self.scenario.calm_at);
            net.at(back, Event::Start(node));
        }
        for (index, call) in self.clients.calls.iter().enumerate() {
            net.at(call.begins, Event::Call { call: index });
        }
    }

    fn on_event(&mut self, event: Event) {
        let net = &mut self.net;
        match event {
            Event::Request { rpc, from, to, request } => self.on_request(rpc, from, to, request),
            Event::Response { rpc, response } => self.on_response(rpc, response),
            Event::Failed { rpc, not_sent } => self.on_failed(rpc, not_sent),
            Event::Timer { node: NodeId::Placement, life, at } => self.placement.on_timer(life, at, net),
            Event::Timer { node: NodeId::Manager(index), life, at } => self.managers[index].on_timer(life, at, net),
            Event::Timer { .. } => {}
            Event::Report { worker, life } => self.with_worker(worker, life, WorkerNode::report),
            Event::InitOver { worker, life, slot, failed } => {
                self.with_worker(worker, life, |worker, net| worker.on_init_over(slot, failed, net));
            }
            Event::InvocationOver { worker, life, slot, run } => {
                self.with_worker(worker, life, |worker, net| worker.on_invocation_over(slot, run, net));
            }
            Event::SlotCrash { worker, life, slot } => {
                self.with_worker(worker, life, |worker, net| worker.on_slot_crash(slot, net));
            }
            Event::Recover { manager, life } => self.managers[manager].recover(life, net),
            Event::Call { call } => self.clients.on_call(call, net),
            Event::Crash(node) => self.crash(node),
            Event::Start(node) => self.start(node),
        }
        self.check_reclaims();
    }

    fn with_worker(&mut self, index: usize, life: Life, act: impl FnOnce(&mut WorkerNode, &mut Network)) {
        let worker = &mut self.workers[index];
        if worker.alive() && worker.life() == life {
            act(worker, &mut self.net);
        }
    }

    fn alive(&self, node: NodeId) -> Option<Life> {
        match node {
            NodeId::Clients => Some(0),
            NodeId::Placement => self.placement.alive().then(|| self.placement.life()),
            NodeId::Manager(index) => self.managers[index].alive().then(|| self.managers[index].life()),
            NodeId::Worker(index) => self.workers[index].alive().then(|| self.workers[index].life()),
        }
    }

    fn on_request(&mut self, rpc: RpcId, from: (NodeId, Life), to: NodeId, request: Request) {
        const REFUSED_AT_ONCE_PERMILLE: u64 = 700;
        if self.alive(to).is_none() {
            if self.net.chance.permille(REFUSED_AT_ONCE_PERMILLE) {
                self.net.in_ms(1, Event::Failed { rpc, not_sent: true });
            } else if matches!(request, Request::Claim(_)) {
                // Connections are checked for life, so that a stream does not wait for a dead host forever.
                self.net.cut(rpc);
            }
            return;
        }
        let net = &mut self.net;
        match to {
            NodeId::Placement => {
                let manager = match from.0 {
                    NodeId::Manager(index) => index,
                    _ => usize::MAX,
                };
                self.placement.on_request(rpc, (manager, from.1), request, net);
            }
            NodeId::Manager(index) => self.managers[index].on_request(rpc, request, net),
            NodeId::Worker(index) => self.workers[index].on_request(rpc, request, net),
            NodeId::Clients => unreachable!("nobody calls clients"),
        }
    }

    fn on_response(&mut self, rpc: RpcId, response: Response) {
        let Some(pending) = self.net.calls.get(&rpc).filter(|pending| !pending.cut) else { return };
        let (caller, life, to) = (pending.caller, pending.life, pending.to);
        let about = pending.about.clone();
        // A claim has several answers, and some of them twice; it is forgotten when its caller's patience ends.
        if !matches!(about, About::Claim(_)) {
            self.net.calls.remove(&rpc);
        }
        if self.alive(caller) != Some(life) {
            return;
        }
        let net = &mut self.net;
        match caller {
            NodeId::Clients => self.clients.on_response(about, response, net),
            NodeId::Manager(index) => self.managers[index].on_response(about, response, net),
            NodeId::Placement => self.placement.on_response(&about, worker_index(to), response, net),
            NodeId::Worker(index) => {
                if let Response::Acked(ack) = response {
                    self.workers[index].on_acked(&ack.reclaim, net);
                }
            }
        }
    }

    fn on_failed(&mut self, rpc: RpcId, not_sent: bool) {
        let Some(pending) = self.net.calls.remove(&rpc) else { return };
        if self.alive(pending.caller) != Some(pending.life) {
            return;
        }
        let net = &mut self.net;
        match pending.caller {
            NodeId::Clients => self.clients.on_failed(pending.about, not_sent, net),
            NodeId::Manager(index) => self.managers[index].on_failed(&pending.about, net),
            NodeId::Placement => {
                self.placement.on_failed(&pending.about, worker_index(pending.to), not_sent, net);
            }
            NodeId::Worker(_) => {}
        }
    }

    fn crash(&mut self, node: NodeId) {
        if self.alive(node).is_none() {
            return;
        }
        match node {
            NodeId::Placement => self.placement.crash(),
            NodeId::Manager(index) => self.managers[index].crash(),
            NodeId::Worker(index) => self.workers[index].crash(),
            NodeId::Clients => {}
        }
        self.net.reset_calls_to(node);
    }

    fn start(&mut self, node: NodeId) {
        if self.alive(node).is_some() {
            return;
        }
        let net = &mut self.net;
        match node {
            NodeId::Placement => self.placement.start(net),
            NodeId::Manager(index) => self.managers[index].start(net),
            NodeId::Worker(index) => self.workers[index].start(net),
            NodeId::Clients => {}
        }
    }

    /// Lease safety: what placement decided to end just now, nobody believes to be allowed to use.
    fn check_reclaims(&mut self) {
        for (slot, token) in std::mem::take(&mut self.placement.reclaimed) {
            for manager in self.managers.iter().filter(|manager| manager.alive()) {
                let uses = manager.uses(slot, token, &self.net);
                assert!(!uses, "{slot} ({token:?}) is reclaimed while {} may use it", manager.holder);
            }
        }
    }

    /// Liveness, and nothing left over.
    fn check_end(&self) {
        let end = self.scenario.end_at;
        for (index, call) in self.clients.calls.iter().enumerate() {
            let Some((at, answer)) = &call.answered else {
                panic!("call {index}, begun at {} ms, is not answered by {} ms", call.begins.ms(), end.ms());
            };
            assert!(*at <= call.begins.plus(CALL_BOUND), "call {index} took until {} ms", at.ms());
            if call.begins >= self.scenario.healed_at && self.scenario.has_room() {
                assert_eq!(*answer, Answered::Ran, "call {index}, begun after all had healed");
            }
        }
        for (index, worker) in self.workers.iter().enumerate() {
            let left: Vec<(&SlotId, _)> = worker.slots.iter().collect();
            assert!(left.is_empty(), "worker {index} is left with {left:?}");
        }
        assert_eq!(self.placement.ledger.slots_by_phase(), [0; 4], "placement is left with slots");
        assert_eq!(self.placement.ledger.claims(), 0, "placement is left with claims");
        for manager in &self.managers {
            let totals = manager.router.totals();
            let counts = [totals.idle, totals.busy, totals.refreshing, totals.waiting, totals.claiming];
            assert_eq!(counts, [0; 5], "{} is left with slots or calls", manager.holder);
        }
    }

    fn summary(&self) -> Summary {
        let calls = &self.clients.calls;
        let ran = |call: &&Call| matches!(call.answered, Some((_, Answered::Ran)));
        let took = |call: &Call| call.answered.as_ref().map(|(at, _)| at.ms() - call.begins.ms());
        let functions = self.scenario.functions.iter().enumerate();
        Summary {
            trace: self.net.trace,
            events: self.net.events,
            calls: calls.len(),
            ran: calls.iter().filter(ran).count(),
            made: functions.map(|(index, memory)| self.net.oracle.made(&function(index, *memory).function)).collect(),
            slowest_ms: calls.iter().filter_map(took).max().unwrap_or_default(),
        }
    }
}

fn worker_index(node: NodeId) -> usize {
    match node {
        NodeId::Worker(index) => index,
        other => unreachable!("placement calls workers, not {other:?}"),
    }
}

/// Two nodes that talk to each other.
fn partition(scenario: &Scenario, chance: &mut Chance) -> (NodeId, NodeId) {
    let manager = NodeId::Manager(chance.within(0, scenario.managers as u64) as usize);
    let worker = NodeId::Worker(chance.within(0, scenario.workers as u64) as usize);
    match chance.within(0, 4) {
        0 => (NodeId::Clients, manager),
        1 => (NodeId::Clients, worker),
        2 => (NodeId::Placement, manager),
        _ => (NodeId::Placement, worker),
    }
}
