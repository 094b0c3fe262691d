//! What the router may do, in the plainest terms: who holds what since when, and who waits in which order.

mod checks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hearth_domain::{FencingToken, FunctionRef, FunctionSpec, Moment, RequestId, SlotId, SlotOutcome};
use hearth_protocol::WorkerEndpoint;
use hearth_protocol::placement::{ClaimOutcome, Grant, RenewResponse};
use hearth_protocol::worker_manager::{
    Completion, ConcurrencyLimits, Provision, ProvisionReport, ProvisionTarget, Reservation, ReserveError,
    ReserveRequest, RetireRequest,
};
use hearth_worker_manager::leases::Renewal;
use hearth_worker_manager::router::{ClaimNumber, Reserved, Router, RouterConfig, WaiterId};

use super::step::Step;
use crate::fixture::{Recorded, TERMS, WAIT, at, function, id, init_failure, version_of, worker};

const ACCOUNT_CONCURRENCY: u32 = 12;
const MAX_WAITERS: usize = 8;

/// The router and everything around it.
pub(crate) struct World {
    router: Router,
    now: Moment,
    functions: Vec<Arc<FunctionSpec>>,
    waiting: BTreeMap<WaiterId, (RequestId, usize)>,
    /// Per function, who waits in which order.
    queues: Vec<VecDeque<WaiterId>>,
    running: Vec<Running>,
    ended: Vec<Running>,
    claims: BTreeMap<ClaimNumber, UnderWay>,
    grants: Vec<(ClaimNumber, Grant)>,
    /// Slots the router may use, and since when their leases count.
    held: BTreeMap<SlotId, Moment>,
    /// When the worker last answered for each slot that was ever granted.
    answered_at: BTreeMap<SlotId, Moment>,
    /// Slots that were granted, late or not, and neither given back nor taken away.
    owed: BTreeSet<SlotId>,
    renewals: Vec<Renewal>,
    answered_renewals: Vec<Renewal>,
    /// What each function has reserved; the first and the last are versions of one.
    reserved: [Option<u32>; 3],
    /// How many slots of each are to be kept ready.
    targets: [u32; 3],
    refused: usize,
    last: u64,
}

#[derive(Clone)]
struct Running {
    request: RequestId,
    function: usize,
    reservation: Reservation,
    since: Moment,
}

struct UnderWay {
    function: usize,
    outstanding: u32,
    sent_at: Moment,
    cut: bool,
    pinned: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        let config =
            RouterConfig { account_concurrency: ACCOUNT_CONCURRENCY, max_waiters: MAX_WAITERS, ..Default::default() };
        let mut router = Router::new(config);
        router.on_recovered(at(1_000), at(1_000), Vec::new(), &mut Recorded::default());
        Self {
            router,
            now: at(1_000),
            functions: vec![function("f"), function("g"), version_of("f", 1)],
            waiting: BTreeMap::new(),
            queues: vec![VecDeque::new(); 3],
            running: Vec::new(),
            ended: Vec::new(),
            claims: BTreeMap::new(),
            grants: Vec::new(),
            held: BTreeMap::new(),
            answered_at: BTreeMap::new(),
            owed: BTreeSet::new(),
            renewals: Vec::new(),
            answered_renewals: Vec::new(),
            reserved: [None; 3],
            targets: [0; 3],
            refused: 0,
            last: 0,
        }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        match *step {
            Step::Reserve { function } => {
                self.last += 1;
                let request = id(&format!("r{}", self.last));
                self.reserve(request, function);
            }
            Step::AskAgain { call } => self.ask_again(call),
            Step::Cancel { waiter } => self.cancel(waiter),
            Step::Complete { call, outcome } => self.complete(call, outcome),
            Step::CompleteAgain { call } => self.complete_again(call),
            Step::Grant { claim } => self.grant(claim),
            Step::GrantAgain { grant } => self.grant_again(grant),
            Step::InitFails { claim } => self.outcome(claim, ClaimOutcome::InitFailed(init_failure())),
            Step::NoCapacity { claim, full } => {
                self.outcome(claim, ClaimOutcome::NoCapacity { reason: "none".into(), full });
            }
            Step::Cut { claim } => self.cut(claim),
            Step::Renew { renewal, refuse_last, give_back_mb } => self.renew(renewal, refuse_last, give_back_mb),
            Step::RenewAgain { renewal } => self.renew_again(renewal),
            Step::LoseRenewal { renewal } => {
                choose(&self.renewals, renewal).map(|index| self.renewals.swap_remove(index));
            }
            Step::Retire { function } => self.retire(function),
            Step::Limit { function, reserved } => self.limit(function, reserved),
            Step::Provision { targets } => drop(self.provision(targets)),
            Step::Pass { ms } => self.pass(Duration::from_millis(ms)),
            Step::Turn => self.turn(),
        }
    }

    /// Placement grants and renews whatever it was asked for.
    pub(crate) fn answer_everything(&mut self) {
        self.turn();
        while !self.renewals.is_empty() {
            self.renew(0, false, 0);
        }
        while self.claims.values().any(|claim| !claim.cut) {
            self.grant(0);
        }
        self.turn();
    }

    /// Calls that were refused or waited in vain.
    pub(crate) fn refused(&self) -> usize {
        self.refused
    }

    /// Everybody completes, nobody calls any more: then nothing may be left.
    pub(crate) fn come_to_rest(&mut self) {
        self.provision([0; 3]);
        while !self.running.is_empty() {
            self.complete(0, SlotOutcome::Reusable);
        }
        self.pass(WAIT);
        assert!(self.waiting.is_empty(), "never answered: {:?}", self.waiting);
        while !self.running.is_empty() {
            self.complete(0, SlotOutcome::Reusable);
        }
        self.pass(Duration::from_secs(2 * 3_600));
        assert_eq!(self.router.in_flight(), 0);
        assert!(self.router.held_slots(self.now).is_empty(), "slots nobody renews and nobody uses are still held");
        assert_eq!(self.router.next_deadline(), None, "something is left to do for nobody");
        assert!(self.owed.is_empty(), "never given back: {:?}", self.owed);
    }

    fn reserve(&mut self, request: RequestId, function: usize) {
        let in_flight = self.running.len() + self.waiting.len();
        let limits = self.limits(function);
        let mut sent = Recorded::default();
        let asked = self.ask(&request, function, &mut sent);
        let of_function = self.concurrency(function);
        match asked {
            Ok(reserved) => {
                assert!(limits.reserved.is_none_or(|reserved| of_function <= reserved), "{request} is one too many");
                self.reserved(request, function, reserved);
            }
            Err(ReserveError::ReservedLimit { limit, .. }) => {
                assert!(limits.reserved == Some(limit) && of_function >= limit);
            }
            Err(ReserveError::ConcurrencyLimit { .. }) => {
                let shared_out = limits.reserved.is_none() && limits.set_aside > 0;
                assert!(in_flight == ACCOUNT_CONCURRENCY as usize || shared_out, "{request} was refused");
            }
            Err(ReserveError::QueueFull { .. }) => assert_eq!(self.waiting.len(), MAX_WAITERS),
            Err(error) => panic!("{request}: {error}"),
        }
        self.check(sent);
    }

    fn ask(&mut self, request: &RequestId, function: usize, sent: &mut Recorded) -> Result<Reserved, ReserveError> {
        let spec = self.functions[function].clone();
        let limits = self.limits(function);
        let asked = ReserveRequest { request_id: request.clone(), function: spec, wait: WAIT, limits };
        self.router.on_reserve(self.now, asked, sent)
    }

    fn reserved(&mut self, request: RequestId, function: usize, reserved: Reserved) {
        match reserved {
            Reserved::Now(reservation) => {
                assert!(self.queues[function].is_empty(), "{request} overtook those who wait");
                self.handed_out(request, function, reservation);
            }
            Reserved::Waits(waiter) => {
                self.waiting.insert(waiter, (request, function));
                self.queues[function].push_back(waiter);
            }
        }
    }

    fn ask_again(&mut self, call: usize) {
        match choose(&self.running, call) {
            Some(index) if call.is_multiple_of(2) => self.ask_again_for(index),
            _ => self.ask_again_while_waiting(call),
        }
    }

    /// The same slot while something may start on it; else as if the call were new.
    fn ask_again_for(&mut self, index: usize) {
        let Running { request, function, reservation, .. } = self.running[index].clone();
        let since = self.held.get(&reservation.slot);
        let usable = since.is_some_and(|since| self.now < *since + TERMS.stop_using_after());
        if !usable {
            let call = self.running.swap_remove(index);
            self.held.remove(&reservation.slot);
            self.ended.push(call);
            return self.reserve(request, function);
        }
        let mut sent = Recorded::default();
        let again = self.ask(&request, function, &mut sent);
        assert_eq!(again, Ok(Reserved::Now(reservation)), "{request} got a second slot");
        self.check(sent);
    }

    fn ask_again_while_waiting(&mut self, call: usize) {
        let waiters: Vec<_> = self.waiting.keys().copied().collect();
        let Some(index) = choose(&waiters, call) else { return };
        let earlier = waiters[index];
        let (request, function) = self.waiting.remove(&earlier).unwrap();
        let mut sent = Recorded::default();
        let Ok(Reserved::Waits(again)) = self.ask(&request, function, &mut sent) else {
            panic!("{request} asked again and did not wait on");
        };
        let (to, answer) = sent.answers.pop_front().expect("the earlier asking was not answered");
        assert!(to == earlier && answer.is_err());
        self.waiting.insert(again, (request, function));
        let place = self.queues[function].iter_mut().find(|waiter| **waiter == earlier).unwrap();
        *place = again;
        self.check(sent);
    }

    fn cancel(&mut self, waiter: usize) {
        let waiters: Vec<_> = self.waiting.keys().copied().collect();
        let Some(index) = choose(&waiters, waiter) else { return };
        self.leaves(waiters[index]);
        self.router.on_cancel(self.now, waiters[index]);
        self.check(Recorded::default());
    }

    fn complete(&mut self, call: usize, outcome: SlotOutcome) {
        let Some(index) = choose(&self.running, call) else { return };
        let call = self.running.swap_remove(index);
        match outcome {
            SlotOutcome::Reusable => drop(self.answered_at.insert(call.reservation.slot, self.now)),
            SlotOutcome::Gone => drop(self.held.remove(&call.reservation.slot)),
            SlotOutcome::Unreachable => self.unreachable(&call),
        }
        assert!(self.completes(&call, outcome), "{} was not known", call.request);
        self.ended.push(call);
    }

    /// From here on none of the worker's slots may be handed out, unless it answered for it since the call began or
    /// does so later: the end of a call that runs on it.
    fn unreachable(&mut self, call: &Running) {
        self.held.remove(&call.reservation.slot);
        let (running, answered_at) = (&self.running, &self.answered_at);
        let lives = |slot: &SlotId| {
            worker_of(*slot) != call.reservation.worker
                || answered_at[slot] > call.since
                || running.iter().any(|other| other.reservation.slot == *slot)
        };
        self.held.retain(|slot, _| lives(slot));
    }

    fn complete_again(&mut self, call: usize) {
        let Some(index) = choose(&self.ended, call) else { return };
        let call = self.ended[index].clone();
        assert!(!self.completes(&call, SlotOutcome::Gone), "{} ended twice", call.request);
    }

    fn completes(&mut self, call: &Running, outcome: SlotOutcome) -> bool {
        let Reservation { slot, token, .. } = call.reservation;
        let completion = Completion { request_id: call.request.clone(), slot, token, outcome };
        let mut sent = Recorded::default();
        let known = self.router.on_complete(self.now, &completion, &mut sent);
        self.check(sent);
        known
    }

    fn grant(&mut self, claim: usize) {
        let Some(number) = self.choose_claim(claim) else { return };
        self.last += 1;
        let (slot, token) = (SlotId(self.last), FencingToken(self.last));
        let UnderWay { function, sent_at, cut, .. } = self.claims[&number];
        let function = self.functions[function].function.clone();
        let grant = Grant { slot, token, terms: TERMS, worker: worker_of(slot), function, start: None };
        self.answered_at.insert(slot, self.now);
        if !cut {
            self.held.insert(slot, sent_at);
        }
        self.owed.insert(slot);
        self.grants.push((number, grant.clone()));
        self.outcome(claim, ClaimOutcome::Granted(grant));
    }

    fn grant_again(&mut self, grant: usize) {
        let Some(index) = choose(&self.grants, grant) else { return };
        let (number, grant) = self.grants[index].clone();
        let mut sent = Recorded::default();
        self.router.on_claim_outcome(self.now, number, ClaimOutcome::Granted(grant), &mut sent);
        self.check(sent);
    }

    fn outcome(&mut self, claim: usize, outcome: ClaimOutcome) {
        let Some(number) = self.choose_claim(claim) else { return };
        let claim = self.claims.get_mut(&number).unwrap();
        claim.outstanding -= 1;
        if claim.outstanding == 0 {
            self.claims.remove(&number);
        }
        let mut sent = Recorded::default();
        self.router.on_claim_outcome(self.now, number, outcome, &mut sent);
        self.check(sent);
    }

    fn cut(&mut self, claim: usize) {
        let Some(number) = self.choose_claim(claim) else { return };
        self.claims.get_mut(&number).unwrap().cut = true;
        self.router.on_claim_cut(self.now, number, "cut");
        self.check(Recorded::default());
    }

    fn renew(&mut self, renewal: usize, refuse_last: bool, give_back_mb: u64) {
        let Some(index) = choose(&self.renewals, renewal) else { return };
        let renewal = self.renewals.swap_remove(index);
        let mut renewed = vec![Some(TERMS); renewal.leases.len()];
        if refuse_last {
            *renewed.last_mut().unwrap() = None;
        }
        self.renewed(&renewal, renewed, give_back_mb);
        if !refuse_last {
            self.answered_renewals.push(renewal);
        }
    }

    fn renew_again(&mut self, renewal: usize) {
        let Some(index) = choose(&self.answered_renewals, renewal) else { return };
        let renewal = self.answered_renewals[index].clone();
        self.renewed(&renewal, vec![Some(TERMS); renewal.leases.len()], 0);
    }

    fn renewed(&mut self, renewal: &Renewal, renewed: Vec<Option<hearth_domain::LeaseTerms>>, give_back_mb: u64) {
        for ((slot, _), terms) in renewal.leases.iter().zip(&renewed) {
            match terms {
                Some(_) => {
                    if let Some(since) = self.held.get_mut(slot) {
                        *since = renewal.sent_at.max(*since);
                    }
                }
                None => {
                    self.held.remove(slot);
                    self.owed.remove(slot);
                }
            }
        }
        let mut sent = Recorded::default();
        let answer = RenewResponse { renewed, give_back_mb };
        self.router.on_renewed(self.now, renewal, &answer, &mut sent);
        self.check(sent);
    }

    /// Calls of a function, all its versions together.
    fn concurrency(&self, function: usize) -> u32 {
        let FunctionRef { account, name, .. } = &self.functions[function].function;
        self.router.function_concurrency(account, name)
    }

    fn limits(&self, function: usize) -> ConcurrencyLimits {
        let of_function = |reserved: &[u32; 3]| if function == 1 { reserved[1] } else { reserved[0] + reserved[2] };
        let reserved = self.reserved[function % 2];
        let provisioned = if reserved.is_none() { of_function(&self.targets) } else { 0 };
        let set_aside = [0, 1].map(|index: usize| match self.reserved[index] {
            Some(reserved) => reserved,
            None if index == 1 => self.targets[1],
            None => self.targets[0] + self.targets[2],
        });
        ConcurrencyLimits { account: None, reserved, provisioned, set_aside: set_aside.into_iter().sum() }
    }

    fn limit(&mut self, function: usize, reserved: Option<u32>) {
        self.reserved[function % 2] = reserved;
    }

    /// Says what is to be kept ready; a target of zero is not named.
    pub(crate) fn provision(&mut self, targets: [u32; 3]) -> ProvisionReport {
        self.targets = targets;
        let target =
            |(function, count): (&Arc<FunctionSpec>, u32)| ProvisionTarget { function: function.clone(), count };
        let named = self.functions.iter().zip(targets).filter(|(_, count)| *count > 0).map(target).collect();
        let report = self.router.on_provision(self.now, &Provision { targets: named });
        self.check(Recorded::default());
        report
    }

    fn retire(&mut self, function: usize) {
        let FunctionRef { account, name, .. } = self.functions[function].function.clone();
        self.router.on_retire(self.now, &RetireRequest { account, name, version: None, keep: None });
        self.check(Recorded::default());
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(next) = self.router.next_deadline().filter(|next| *next <= until) {
            self.now = next.max(self.now);
            self.turn();
        }
        self.now = until;
    }

    fn turn(&mut self) {
        let mut sent = Recorded::default();
        self.router.on_tick(self.now, &mut sent);
        self.check(sent);
        assert!(self.router.next_deadline().is_none_or(|next| next > self.now), "a turn left something due");
    }

    fn leaves(&mut self, waiter: WaiterId) -> (RequestId, usize) {
        let (request, function) = self.waiting.remove(&waiter).expect("it waits");
        self.queues[function].retain(|other| *other != waiter);
        (request, function)
    }

    fn choose_claim(&self, claim: usize) -> Option<ClaimNumber> {
        let numbers: Vec<_> = self.claims.keys().copied().collect();
        choose(&numbers, claim).map(|index| numbers[index])
    }

    fn index_of(&self, function: &FunctionRef) -> usize {
        self.functions.iter().position(|spec| spec.function == *function).expect("one of ours")
    }
}

/// The slots lie on three workers.
fn worker_of(slot: SlotId) -> WorkerEndpoint {
    worker(slot.0 % 3)
}

fn choose<T>(among: &[T], number: usize) -> Option<usize> {
    (!among.is_empty()).then(|| number % among.len())
}
