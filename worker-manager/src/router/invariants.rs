//! What always holds between two events. Tests call this after every one of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hearth_domain::{AccountId, FunctionName};

use super::admission::{InFlight, Pool};
use super::function::{Function, FunctionIndex};
use super::slot::SlotPlace;
use super::{Alarm, Call, Router};

impl Router {
    /// Panics, naming what is wrong, if the state is not consistent.
    pub fn check_invariants(&self) {
        for (index, function) in &self.functions {
            self.check_function(index, function);
        }
        self.check_slots();
        self.check_calls();
        self.check_claims();
        self.check_alarms();
        self.archive.check_invariants();
        assert!(self.waiters.len() <= self.config.max_waiters, "more waiters than allowed");
        let sent_off = self.releasing.is_empty() && self.unsettled.is_empty() && self.give_back_mb == 0;
        assert!(sent_off || self.turn_due.is_some(), "work is left and no turn is due");
    }

    fn check_function(&self, index: FunctionIndex, function: &Function) {
        let id = &function.id;
        assert_eq!(self.by_ref.get(id), Some(&index), "{id:?} is not found by its reference");
        let usable_idle = !function.idle.is_empty() || !function.pinned.idle.is_empty();
        assert!(!usable_idle || function.waiters.is_empty(), "{id:?}: a call waits beside an idle slot");
        assert!(!function.unused() || self.unsettled.contains(&index), "{id:?}: an entry without use");
        assert!(function.waiters.is_empty() || function.spec.is_some(), "{id:?}: a call waits without a spec");
        for (pinned, idle) in [(false, &function.idle), (true, &function.pinned.idle)] {
            assert!(idle.iter().is_sorted_by_key(|(since, _)| *since), "{id:?}: idle slots out of order");
            for (since, slot) in idle {
                let slot = &self.slots[slot];
                let found = (&slot.place, slot.function, slot.pinned);
                assert_eq!(found, (&SlotPlace::Idle(*since), index, pinned), "{id:?}: an idle slot isn't");
            }
        }
        self.check_pinned(index, function);
        for slot in &function.refreshing {
            let slot = &self.slots[slot];
            assert_eq!((&slot.place, slot.function), (&SlotPlace::Refreshing, index), "{id:?}: refreshing slot isn't");
        }
        for (place, waiter) in &function.waiters {
            let waiter = &self.waiters[waiter];
            assert_eq!((waiter.function, waiter.place), (index, *place), "{id:?}: a waiter is elsewhere");
        }
        assert_eq!(function.unmet_mb > 0, self.starving.contains(&index), "{id:?}: starving or not?");
        if let (Some(deadline), false) = (function.deadline(), self.unsettled.contains(&index)) {
            let rings = function.armed.at().is_some_and(|at| at <= deadline);
            assert!(rings || !self.stage.recovered, "{id:?}: its alarm rings too late");
        }
    }

    fn check_pinned(&self, index: FunctionIndex, function: &Function) {
        let (id, pinned) = (&function.id, &function.pinned);
        let held = self.slots.values().filter(|slot| slot.function == index && slot.pinned).count();
        assert_eq!(pinned.held as usize, held, "{id:?}: slots that are kept ready");
        assert_eq!(pinned.target > 0, self.pinning.contains(&index), "{id:?}: are slots to be kept ready or not?");
        let too_many = pinned.held > pinned.target && !pinned.idle.is_empty();
        assert!(!too_many, "{id:?}: more slots are kept ready than asked for");
        let wanted = pinned.target == 0 || (!function.retired && !self.stage.draining);
        assert!(wanted, "{id:?}: slots of what is retired are kept ready");
    }

    fn check_slots(&self) {
        let mut busy: HashMap<FunctionIndex, u32> = HashMap::new();
        let mut reserved_for = HashMap::new();
        for (id, slot) in &self.slots {
            let function = &self.functions[slot.function];
            match &slot.place {
                SlotPlace::Idle(since) => {
                    let idle = if slot.pinned { &function.pinned.idle } else { &function.idle };
                    assert!(idle.contains(&(*since, *id)), "{id}: not listed as idle");
                }
                SlotPlace::Refreshing => assert!(function.refreshing.contains(id), "{id}: not listed as refreshing"),
                SlotPlace::Busy(call) => {
                    *busy.entry(slot.function).or_default() += 1;
                    let key = (&function.id, &call.request_id);
                    let twice = reserved_for.insert(key, id);
                    assert!(twice.is_none(), "{id}: request {} has two slots", call.request_id);
                }
            }
            let listed = self.by_worker.get(&slot.worker.id).is_some_and(|slots| slots.contains(id));
            assert!(listed, "{id}: not found by its worker");
            if let Some(busy) = slot.busy() {
                assert!(slot.answered_at <= busy.since, "{id}: its worker answered for it while it was reserved");
            }
            let deadline = slot.deadline(&self.config);
            assert!(slot.armed.at().is_some_and(|at| at <= deadline), "{id}: its alarm rings too late");
        }
        let listed: usize = self.by_worker.values().map(BTreeSet::len).sum();
        assert_eq!(listed, self.slots.len(), "slots found by their workers, and slots held");
        assert!(self.by_worker.values().all(|slots| !slots.is_empty()), "a worker without slots is remembered");
        for (index, function) in &self.functions {
            assert_eq!(function.busy, busy.get(&index).copied().unwrap_or(0), "{:?}: busy slots", function.id);
        }
    }

    fn check_calls(&self) {
        for (request, call) in &self.calls {
            let known = match call {
                Call::Waits(id) => self.waiters.get(id).is_some_and(|waiter| waiter.request_id == *request),
                Call::Runs(id) => {
                    self.slots.get(id).and_then(|slot| slot.busy()).is_some_and(|b| b.request_id == *request)
                }
            };
            assert!(known, "request {request} stands for nothing");
        }
        let queued: usize = self.functions.iter().map(|(_, function)| function.waiters.len()).sum();
        assert_eq!(queued, self.waiters.len(), "waiters in queues and waiters known");
        self.check_in_flight();
    }

    /// Every call is counted once, for its account and for its function, where it was admitted.
    fn check_in_flight(&self) {
        let waiting = self.waiters.values().map(|waiter| (waiter.function, waiter.pool));
        let busy = self.slots.values().filter_map(|slot| slot.busy().map(|busy| (slot.function, busy.pool)));
        let mut accounts: BTreeMap<&AccountId, InFlight> = BTreeMap::new();
        let mut functions: BTreeMap<(&AccountId, &FunctionName), InFlight> = BTreeMap::new();
        for (index, pool) in waiting.chain(busy) {
            let id = &self.functions[index].id;
            for calls in
                [accounts.entry(&id.account).or_default(), functions.entry((&id.account, &id.name)).or_default()]
            {
                match pool {
                    Pool::Own => calls.own += 1,
                    Pool::Shared => calls.shared += 1,
                }
            }
        }
        for (account, calls) in &accounts {
            assert_eq!(self.accounts.of(account), *calls, "account {account}: calls in flight");
            assert!(calls.all() <= self.accounts.largest_limit(), "account {account}: above its limit");
        }
        for ((account, name), calls) in &functions {
            assert_eq!(self.accounts.of_function(account, name), *calls, "{account}:{name}: calls in flight");
        }
        assert_eq!(self.accounts.entries(), (accounts.len(), functions.len()), "who has calls in flight");
    }

    fn check_claims(&self) {
        let mut claiming: HashMap<(FunctionIndex, bool), u32> = HashMap::new();
        for (number, claim) in &self.claims {
            assert!(claim.outstanding > 0, "{number:?} is over");
            *claiming.entry((claim.function, claim.pinned)).or_default() += claim.outstanding;
        }
        for (index, function) in &self.functions {
            for (pinned, counted) in [(false, function.claiming), (true, function.pinned.claiming)] {
                let known = claiming.get(&(index, pinned)).copied().unwrap_or(0);
                assert_eq!(counted, known, "{:?}: claims under way", function.id);
            }
        }
    }

    fn check_alarms(&self) {
        let mut armed = 0;
        let mut check = |key: Alarm, at: crate::alarms::Armed| {
            if at.at().is_some() {
                armed += 1;
                assert!(self.alarms.holds(key, at), "{key:?} is armed and not in the queue");
            }
        };
        self.slots.iter().for_each(|(id, slot)| check(Alarm::Slot(*id), slot.armed));
        self.waiters.iter().for_each(|(id, waiter)| check(Alarm::Waiter(*id), waiter.armed));
        self.functions.iter().for_each(|(index, function)| check(Alarm::Function(index), function.armed));
        self.claims.iter().for_each(|(number, claim)| check(Alarm::Claim(*number), claim.armed));
        assert_eq!(armed, self.alarms.len(), "alarms without an owner");
        let late = |at: Option<hearth_domain::Moment>, deadline| at.is_none_or(|at| at > deadline);
        for waiter in self.waiters.values() {
            assert!(!late(waiter.armed.at(), waiter.deadline), "a wait ends too late");
        }
        for claim in self.claims.values() {
            assert!(!late(claim.armed.at(), claim.deadline), "a claim ends too late");
        }
    }
}
