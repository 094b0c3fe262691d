//! A worker: slots that live by domain's table, in sandboxes that take time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{
    FencingToken, FunctionSpec, HolderId, InitFailure, RequestId, SlotEvent, SlotId, SlotOutcome, SlotState,
    StartTimes, WorkerId,
};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::{Capacity, Load, PooledCount, SlotReport, WorkerReport};
use hearth_protocol::worker::{FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError};

use super::Host;
use crate::simulation::event::{About, Event, Life, ManagerLife, NodeId, Request, Response, RpcId};
use crate::simulation::fault::Fault;
use crate::simulation::functions::RUNTIME;
use crate::simulation::network::Network;

const REPORT_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct WorkerNode {
    host: Host,
    index: usize,
    memory_mb: u64,
    report_every: Duration,
    incarnation: u64,
    sequence: u64,
    sandboxes: u64,
    runs: u64,
    pub(crate) slots: BTreeMap<SlotId, SimulatedSlot>,
    /// Planted: the last sandbox that ended.
    ended_sandbox: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct SimulatedSlot {
    state: SlotState,
    token: FencingToken,
    holder: HolderId,
    function: Arc<FunctionSpec>,
    sandbox: u64,
    /// Who waits for its init.
    asked_by: Vec<RpcId>,
    running: BTreeMap<u64, RpcId>,
}

impl SimulatedSlot {
    fn advance(&mut self, event: SlotEvent) {
        self.state = self.state.on(event).expect("the worker follows the table");
    }
}

impl WorkerNode {
    pub(crate) fn new(index: usize, memory_mb: u64, report_every: Duration) -> Self {
        Self {
            host: Host::new(NodeId::Worker(index), 0),
            index,
            memory_mb,
            report_every,
            incarnation: 0,
            sequence: 0,
            sandboxes: 0,
            runs: 0,
            slots: BTreeMap::new(),
            ended_sandbox: None,
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
        self.incarnation = net.chance.draw();
        self.sequence = 0;
        let phase = net.chance.within(0, u64::try_from(self.report_every.as_millis()).unwrap_or(1));
        net.in_ms(phase, Event::Report { worker: self.index, life: self.host.life });
    }

    pub(crate) fn crash(&mut self) {
        self.host.crash();
        self.slots.clear();
        self.ended_sandbox = None;
    }

    /// Says what there is, and again after a while.
    pub(crate) fn report(&mut self, net: &mut Network) {
        self.sequence += 1;
        let slots = self.slots.iter().map(|(slot, known)| SlotReport {
            slot: *slot,
            token: known.token,
            holder: known.holder.clone(),
            function: known.function.function.clone(),
            memory_mb: known.function.memory.get(),
            state: known.state,
        });
        let report = WorkerReport {
            worker: endpoint(self.index),
            incarnation: self.incarnation,
            sequence: self.sequence,
            // What is promised is what there is: memory runs short.
            capacity: Capacity {
                memory_mb: self.memory_mb,
                promised_memory_mb: self.memory_mb,
                milli_cpus: 4_000,
                max_slots: 1_000,
            },
            load: Load { memory_mb: self.reserved_mb() / 4, milli_cpus: 0 },
            runtimes: vec![RUNTIME],
            isolation: hearth_domain::Isolation::Jail,
            pooled: vec![PooledCount { runtime: RUNTIME, memory_mb: 128, ready: 2 }],
            cached_bundles: Vec::new(),
            slots: slots.collect(),
            draining: false,
        };
        let me = (self.host.id, self.host.life);
        net.call(me, NodeId::Placement, Request::Report(report), About::Report, REPORT_PATIENCE);
        let again = net.now.plus(self.report_every);
        net.at(again, Event::Report { worker: self.index, life: self.host.life });
    }

    pub(crate) fn on_request(&mut self, rpc: RpcId, request: Request, net: &mut Network) {
        match request {
            Request::Init(request) => self.init(rpc, request, net),
            Request::Invoke { request_id, slot, token, reserved_by } => {
                let started = self.invoke(rpc, &request_id, slot, token, reserved_by, net);
                if let Err(error) = started {
                    net.respond(rpc, Response::Invoked(Err(error)));
                }
            }
            Request::Fence(request) => {
                let fenced = self.fence(&request, net);
                net.respond(rpc, Response::Fenced(fenced));
            }
            Request::Reclaim(slots) => self.reclaim(&slots, net),
            other => unreachable!("a worker is not asked {other:?}"),
        }
        self.check();
    }

    /// Placement's answer to a report.
    pub(crate) fn on_acked(&mut self, reclaim: &[(SlotId, FencingToken)], net: &mut Network) {
        self.reclaim(reclaim, net);
        self.check();
    }

    fn init(&mut self, rpc: RpcId, request: InitSlot, net: &mut Network) {
        if let Some(slot) = self.slots.get_mut(&request.slot) {
            match slot.state {
                SlotState::Initializing => slot.asked_by.push(rpc),
                SlotState::Idle | SlotState::Busy => net.respond(rpc, Response::Inited(Ok(done()))),
                _ => net.respond(rpc, Response::Inited(Err(refused("the slot is ending")))),
            }
            return;
        }
        if self.reserved_mb() + u64::from(request.function.memory.get()) > self.memory_mb {
            return net.respond(rpc, Response::Inited(Err(refused("no room"))));
        }
        let reused = self.ended_sandbox.take().filter(|_| net.has(Fault::SandboxReused));
        self.sandboxes += 1;
        let sandbox = reused.unwrap_or(self.sandboxes);
        net.oracle.on_bound(
            self.index,
            u64::from(self.host.life) << 32 | sandbox,
            request.slot,
            &request.function.function,
        );
        let mut slot = SimulatedSlot {
            state: SlotState::Booting,
            token: request.token,
            holder: request.holder,
            function: request.function,
            sandbox,
            asked_by: vec![rpc],
            running: BTreeMap::new(),
        };
        slot.advance(SlotEvent::Booted);
        slot.advance(SlotEvent::Assigned);
        self.slots.insert(request.slot, slot);
        let weather = net.weather();
        let failed = net.chance.permille(weather.init_failures);
        let takes = if net.chance.permille(weather.slow_inits) {
            net.chance.within(1_000, 5_000)
        } else {
            net.chance.within(2, 200)
        };
        net.in_ms(takes, Event::InitOver { worker: self.index, life: self.host.life, slot: request.slot, failed });
    }

    pub(crate) fn on_init_over(&mut self, id: SlotId, failed: bool, net: &mut Network) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.state == SlotState::Initializing) else { return };
        let asked_by = std::mem::take(&mut slot.asked_by);
        let result = if failed { Err(InitSlotError::InitFailed(Box::new(failure()))) } else { Ok(done()) };
        if failed {
            self.end(id);
        } else {
            slot.advance(SlotEvent::Initialized);
        }
        for rpc in asked_by {
            net.respond(rpc, Response::Inited(result.clone()));
        }
        self.check();
    }

    fn invoke(
        &mut self,
        rpc: RpcId,
        request: &RequestId,
        id: SlotId,
        token: FencingToken,
        reserved_by: ManagerLife,
        net: &mut Network,
    ) -> Result<(), InvokeError> {
        let stale = |reason: &str| Err(InvokeError::StaleSlot { slot: id, reason: reason.to_owned() });
        let Some(slot) = self.slots.get_mut(&id) else { return stale("there is none") };
        if slot.token != token && !net.has(Fault::TokenIgnored) {
            return stale("its token is another");
        }
        match slot.state {
            SlotState::Idle => slot.advance(SlotEvent::Started),
            SlotState::Busy if net.has(Fault::TwoAtATime) => {}
            SlotState::Busy => return Err(InvokeError::Busy { slot: id }),
            _ => return stale("it is ending"),
        }
        net.oracle.on_started(id, token, reserved_by, &slot.function.function);
        net.note(request.as_str().len() as u64 ^ id.0);
        self.runs += 1;
        slot.running.insert(self.runs, rpc);
        let (worker, life, run) = (self.index, self.host.life, self.runs);
        if net.chance.permille(net.weather().slot_crashes) {
            let after = net.chance.within(0, 100);
            net.in_ms(after, Event::SlotCrash { worker, life, slot: id });
        }
        let takes = if net.chance.permille(20) { net.chance.within(300, 1_000) } else { net.chance.within(1, 150) };
        net.in_ms(takes, Event::InvocationOver { worker, life, slot: id, run });
        Ok(())
    }

    pub(crate) fn on_invocation_over(&mut self, id: SlotId, run: u64, net: &mut Network) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(rpc) = slot.running.remove(&run) else { return };
        slot.advance(SlotEvent::Completed);
        let outcome = if slot.state == SlotState::Idle { SlotOutcome::Reusable } else { SlotOutcome::Gone };
        net.respond(rpc, Response::Invoked(Ok(outcome)));
        if outcome == SlotOutcome::Gone {
            self.end(id);
        }
        self.check();
    }

    /// The sandbox dies, and what runs in it gets an answer that says so.
    pub(crate) fn on_slot_crash(&mut self, id: SlotId, net: &mut Network) {
        for rpc in self.end(id) {
            net.respond(rpc, Response::Invoked(Ok(SlotOutcome::Gone)));
        }
    }

    fn fence(&mut self, request: &FenceRequest, net: &mut Network) -> Fenced {
        let Some(slot) = self.slots.get_mut(&request.slot) else { return Fenced::Unknown };
        if request.token < slot.token || slot.state == SlotState::Draining {
            return Fenced::Unknown;
        }
        slot.token = request.token;
        slot.holder = request.holder.clone();
        if slot.state == SlotState::Idle {
            return Fenced::Idle;
        }
        self.drain(request.slot, net);
        Fenced::Draining
    }

    fn reclaim(&mut self, slots: &[(SlotId, FencingToken)], net: &mut Network) {
        for (id, token) in slots {
            if self.slots.get(id).is_some_and(|slot| *token >= slot.token) {
                self.drain(*id, net);
            }
        }
    }

    fn drain(&mut self, id: SlotId, net: &mut Network) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.advance(SlotEvent::Drain);
        for rpc in std::mem::take(&mut slot.asked_by) {
            net.respond(rpc, Response::Inited(Err(refused("the slot was taken back during its init"))));
        }
        if slot.running.is_empty() {
            self.end(id);
        }
    }

    /// The slot is gone; gives back the calls that ran on it.
    fn end(&mut self, id: SlotId) -> Vec<RpcId> {
        let Some(mut slot) = self.slots.remove(&id) else { return Vec::new() };
        slot.advance(SlotEvent::Ended);
        self.ended_sandbox = Some(slot.sandbox);
        slot.running.into_values().collect()
    }

    fn reserved_mb(&self) -> u64 {
        self.slots.values().map(|slot| u64::from(slot.function.memory.get())).sum()
    }

    fn check(&self) {
        assert!(self.reserved_mb() <= self.memory_mb, "worker {} is overfull", self.index);
        for (id, slot) in &self.slots {
            assert!(slot.running.len() <= 1, "{id} runs two calls at a time");
            let busy = matches!(slot.state, SlotState::Busy);
            assert!(slot.running.is_empty() != busy || slot.state == SlotState::Draining, "{id}: {:?}", slot.state);
        }
    }
}

pub(crate) fn endpoint(index: usize) -> WorkerEndpoint {
    WorkerEndpoint { id: WorkerId::new(&format!("worker-{index}")).expect("a valid id"), url: Arc::from("") }
}

fn done() -> InitDone {
    InitDone { times: StartTimes { init: Duration::from_millis(1), ..StartTimes::default() } }
}

fn refused(reason: &str) -> InitSlotError {
    InitSlotError::Refused { reason: reason.to_owned() }
}

fn failure() -> InitFailure {
    InitFailure {
        error_type: "Runtime.ExitError".to_owned(),
        document: "{}".to_owned(),
        init_duration: Duration::from_millis(1),
        max_memory_used_bytes: 0,
        log_tail: Vec::new(),
    }
}
