//! The frontends: reserve, invoke, complete; and again if the invocation certainly did not start.

use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{FunctionSpec, RequestId, SlotOutcome};
use hearth_protocol::worker_manager::{Completion, Reservation};

use super::manager::CAPACITY_WAIT;
use crate::simulation::clock::Instant;
use crate::simulation::event::{About, Event, ManagerLife, NodeId, Request, Response};
use crate::simulation::functions::TIMEOUT_S;
use crate::simulation::network::Network;

/// Tries to get a call going.
const TRIES_MAX: u32 = 4;
/// How much longer than the manager a client waits for a slot.
const RESERVE_MARGIN: Duration = Duration::from_millis(500);
/// How much longer than the function may run a client waits for its answer.
const INVOKE_MARGIN: Duration = Duration::from_secs(1);
const COMPLETE_PATIENCE: Duration = Duration::from_secs(1);

/// No call takes longer, whatever happens: all its tries, each with its longest wait and invocation.
pub(crate) const CALL_BOUND: Duration = Duration::from_secs(TRIES_MAX as u64 * (3 + 1 + 1 + 1 + 1));

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The function ran to an answer.
    Ran,
    /// An answer, but not the function's: 429, 503, an error of the platform.
    Refused(String),
}

#[derive(Debug)]
pub(crate) struct Clients {
    functions: Vec<Arc<FunctionSpec>>,
    managers: usize,
    pub(crate) calls: Vec<Call>,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) begins: Instant,
    pub(crate) function: usize,
    pub(crate) answered: Option<(Instant, Answered)>,
    reserved_by: Option<ManagerLife>,
    tries: u32,
}

const ME: (NodeId, u32) = (NodeId::Clients, 0);

impl Clients {
    pub(crate) fn new(functions: Vec<Arc<FunctionSpec>>, managers: usize, calls: &[(Instant, usize)]) -> Self {
        let call = |&(begins, function): &(Instant, usize)| Call {
            begins,
            function,
            answered: None,
            reserved_by: None,
            tries: 0,
        };
        Self { functions, managers, calls: calls.iter().map(call).collect() }
    }

    /// Asks for a slot.
    pub(crate) fn on_call(&mut self, index: usize, net: &mut Network) {
        let call = &mut self.calls[index];
        call.tries += 1;
        let function = self.functions[call.function].clone();
        let manager = NodeId::Manager(call.function % self.managers);
        let request = Request::Reserve { request_id: request_id(index), function };
        net.call(ME, manager, request, About::Reserve { call: index }, CAPACITY_WAIT + RESERVE_MARGIN);
    }

    pub(crate) fn on_response(&mut self, about: About, response: Response, net: &mut Network) {
        match (about, response) {
            (About::Reserve { call }, Response::Reserved(Ok((reservation, by)))) => {
                self.calls[call].reserved_by = Some(by);
                let request = Request::Invoke {
                    request_id: request_id(call),
                    slot: reservation.slot,
                    token: reservation.token,
                    reserved_by: by,
                };
                let worker = worker(&reservation);
                let about = About::Invoke { call, reservation };
                net.call(ME, worker, request, about, Duration::from_secs(TIMEOUT_S.into()) + INVOKE_MARGIN);
            }
            (About::Reserve { call }, Response::Reserved(Err(error))) => {
                self.answer(call, Answered::Refused(error.to_string()), net);
            }
            (About::Invoke { call, reservation }, Response::Invoked(Ok(outcome))) => {
                self.complete(call, &reservation, outcome, net);
                self.answer(call, Answered::Ran, net);
            }
            (About::Invoke { call, reservation }, Response::Invoked(Err(error))) => {
                self.complete(call, &reservation, SlotOutcome::Gone, net);
                if error.not_started() {
                    self.try_again(call, &error.to_string(), net);
                } else {
                    self.answer(call, Answered::Refused(error.to_string()), net);
                }
            }
            (_, Response::Done) => {}
            (about, response) => unreachable!("{response:?} answers {about:?}"),
        }
    }

    pub(crate) fn on_failed(&mut self, about: About, not_sent: bool, net: &mut Network) {
        match about {
            About::Reserve { call } => self.try_again(call, "the manager can't be reached", net),
            About::Invoke { call, reservation } => {
                let outcome = if not_sent { SlotOutcome::Unreachable } else { SlotOutcome::Gone };
                self.complete(call, &reservation, outcome, net);
                if not_sent {
                    self.try_again(call, "the worker can't be reached", net);
                } else {
                    self.answer(call, Answered::Refused("the worker did not answer".to_owned()), net);
                }
            }
            _ => {}
        }
    }

    fn complete(&mut self, call: usize, reservation: &Reservation, outcome: SlotOutcome, net: &mut Network) {
        let manager = NodeId::Manager(self.calls[call].function % self.managers);
        let (slot, token) = (reservation.slot, reservation.token);
        let completion = Completion { request_id: request_id(call), slot, token, outcome };
        net.call(ME, manager, Request::Complete(completion), About::Nothing, COMPLETE_PATIENCE);
    }

    fn try_again(&mut self, index: usize, reason: &str, net: &mut Network) {
        if self.calls[index].tries < TRIES_MAX {
            let pause = net.chance.within(20, 400);
            net.in_ms(pause, Event::Call { call: index });
        } else {
            self.answer(index, Answered::Refused(format!("after {TRIES_MAX} tries: {reason}")), net);
        }
    }

    fn answer(&mut self, index: usize, answer: Answered, net: &mut Network) {
        let call = &mut self.calls[index];
        assert_eq!(call.answered, None, "call {index} is answered twice");
        call.answered = Some((net.now, answer));
        net.note(index as u64);
    }
}

fn request_id(call: usize) -> RequestId {
    RequestId::new(&format!("call-{call}")).expect("a valid id")
}

fn worker(reservation: &Reservation) -> NodeId {
    let index = reservation.worker.id.as_str().strip_prefix("worker-").and_then(|index| index.parse().ok());
    NodeId::Worker(index.expect("one of ours"))
}
