//! Sees everything, in true time, and panics when a promise is broken.

use std::collections::{BTreeMap, BTreeSet};

use hearth_domain::{FencingToken, FunctionRef, SlotId};

use super::clock::Instant;
use super::event::{Life, ManagerLife};

/// What really happened.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// The newest grant of each slot, and to whom.
    granted: BTreeMap<SlotId, Granted>,
    /// What the placement of now has decided to end.
    reclaimed: BTreeSet<(SlotId, FencingToken)>,
    /// The newest token sent for each slot, and by which life of placement.
    tokens: BTreeMap<SlotId, (FencingToken, Life)>,
    /// Sandboxes that have seen code: number, and whose.
    sandboxes: BTreeMap<(usize, u64), FunctionRef>,
    /// The function of each slot.
    functions: BTreeMap<SlotId, FunctionRef>,
    /// Slots made for each function, and the workers that made them.
    made: BTreeMap<FunctionRef, (usize, BTreeSet<usize>)>,
}

/// One grant. Two lives of a holder may be told of it, if both asked for what they held; one of them is dead.
#[derive(Debug)]
struct Granted {
    token: FencingToken,
    to: Vec<ManagerLife>,
    at: Instant,
}

impl Oracle {
    /// Placement answers with a grant.
    pub(super) fn on_granted(&mut self, now: Instant, slot: SlotId, token: FencingToken, to: ManagerLife) {
        assert!(!self.reclaimed.contains(&(slot, token)), "{slot} is granted to {to:?} after it was reclaimed");
        let fresh = || Granted { token, to: Vec::new(), at: now };
        let known = self.granted.entry(slot).or_insert_with(fresh);
        assert!(known.to.iter().all(|before| before.0 == to.0), "{slot} is granted to another holder");
        assert!(known.token <= token, "{slot} is granted with a token older than one before");
        if known.token < token {
            *known = fresh();
        }
        if !known.to.contains(&to) {
            assert_eq!(known.at, now, "{slot}: a new life of its holder got the same token {token:?}");
            known.to.push(to);
        }
    }

    /// Placement sends a token with a new slot, or with an order to fence. An order of an earlier life that never arrived may have
    /// carried a higher one; what was *granted* grows over all lives.
    pub(super) fn on_token(&mut self, slot: SlotId, token: FencingToken, by: Life) {
        if let Some((before, life)) = self.tokens.insert(slot, (token, by)) {
            assert!(before < token || life < by, "{slot}: token {token:?} after {before:?}");
        }
    }

    /// The newest token of a slot.
    pub(super) fn token(&self, slot: SlotId) -> FencingToken {
        self.tokens.get(&slot).map_or(FencingToken(0), |(token, _)| *token)
    }

    /// Placement decides to end a slot. That nobody may still use it is checked by the world, which knows the holders.
    pub(super) fn on_reclaimed(&mut self, slot: SlotId, token: FencingToken) {
        self.reclaimed.insert((slot, token));
    }

    pub(super) fn is_reclaimed(&self, slot: SlotId, token: FencingToken) -> bool {
        self.reclaimed.contains(&(slot, token))
    }

    /// Another placement takes over: what the one before wanted to end, it may let live.
    pub(super) fn on_placement_started(&mut self) {
        self.reclaimed.clear();
    }

    /// A holder hands a slot to a call.
    pub(super) fn on_reserved(&self, slot: SlotId, token: FencingToken, by: ManagerLife) {
        assert!(!self.reclaimed.contains(&(slot, token)), "{by:?} uses {slot} ({token:?}) after it was reclaimed");
        let granted = self.granted.get(&slot).is_some_and(|granted| granted.to.iter().any(|to| to.0 == by.0));
        assert!(granted, "{by:?} uses {slot}, which is another's");
    }

    /// A worker starts an invocation on a slot.
    pub(super) fn on_started(
        &self,
        slot: SlotId,
        token: FencingToken,
        reserved_by: ManagerLife,
        function: &FunctionRef,
    ) {
        let granted = self.granted.get(&slot);
        let right = granted.is_some_and(|granted| granted.token == token && granted.to.contains(&reserved_by));
        assert!(right, "{slot} runs a call of {reserved_by:?} with {token:?}, but is granted as {granted:?}");
        assert_eq!(self.functions.get(&slot), Some(function), "{slot} runs another function than it was made for");
    }

    /// A worker binds a sandbox to a slot.
    pub(super) fn on_bound(&mut self, worker: usize, sandbox: u64, slot: SlotId, function: &FunctionRef) {
        let before = self.sandboxes.insert((worker, sandbox), function.clone());
        assert_eq!(before, None, "worker {worker} reuses sandbox {sandbox}");
        let of_slot = self.functions.entry(slot).or_insert_with(|| function.clone());
        assert_eq!(of_slot, function, "{slot} is made for two functions");
        let (slots, workers) = self.made.entry(function.clone()).or_default();
        *slots += 1;
        workers.insert(worker);
    }

    /// How many slots a function got, and on which workers.
    pub(super) fn made(&self, function: &FunctionRef) -> (usize, usize) {
        self.made.get(function).map_or((0, 0), |(slots, workers)| (*slots, workers.len()))
    }
}
