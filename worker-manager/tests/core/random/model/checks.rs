//! What the router sent, held against the model.

use std::collections::BTreeSet;
use std::time::Duration;

use hearth_domain::{RequestId, SlotId};
use hearth_protocol::worker_manager::{Reservation, ReserveError};
use hearth_worker_manager::router::{RouterConfig, WaiterId};

use super::{Running, UnderWay, World};
use crate::fixture::{Recorded, TERMS, WAIT};

impl World {
    /// After each step: the router's own invariants, and what it sent against the model.
    pub(super) fn check(&mut self, sent: Recorded) {
        self.router.check_invariants();
        for (slot, _) in &sent.releases {
            self.released(*slot);
        }
        for (waiter, answer) in sent.answers {
            self.answered(waiter, answer);
        }
        let on_demand = sent.claims.iter().filter(|claim| !claim.function.provisioned);
        let claimed: BTreeSet<_> = on_demand.map(|claim| self.index_of(&claim.function.function)).collect();
        for claim in sent.claims {
            let function = self.index_of(&claim.function.function);
            let pinned = claim.function.provisioned;
            if pinned {
                self.as_many_as_asked_for(function);
            }
            let under_way = UnderWay { function, outstanding: claim.count, sent_at: self.now, cut: false, pinned };
            assert!(self.claims.insert(claim.number, under_way).is_none(), "a claim number was used twice");
        }
        for function in claimed {
            self.no_stampede(function);
        }
        self.renewals.extend(sent.renewals);
    }

    /// Nothing is claimed that no waiter needs: so slots and claims never exceed calls.
    fn no_stampede(&self, function: usize) {
        let open = |claim: &&UnderWay| claim.function == function && !claim.cut && !claim.pinned;
        let under_way: u32 = self.claims.values().filter(open).map(|claim| claim.outstanding).sum();
        let counts = self.router.counts(&self.functions[function].function);
        assert_eq!(counts.idle, 0, "claimed beside an idle slot");
        // The router may have given up a claim that we still count; it never counts one that we don't.
        assert!(counts.claiming as u32 <= under_way);
        // Slots that are kept ready are made, and so refreshed, without a waiter.
        let waited_for = self.queues[function].len() + counts.pinned;
        assert!(counts.claiming + counts.refreshing <= waited_for, "claimed more than is waited for");
    }

    /// What is claimed to be kept ready is what was missing.
    fn as_many_as_asked_for(&self, function: usize) {
        let counts = self.router.counts(&self.functions[function].function);
        assert_eq!(counts.pinned + counts.pinning, self.targets[function] as usize);
    }

    fn released(&mut self, slot: SlotId) {
        let abandoned = self.running.iter().position(|call| call.reservation.slot == slot);
        if let Some(call) = abandoned.map(|index| self.running.swap_remove(index)) {
            let bound = Duration::from_secs(3) + RouterConfig::default().reservation_margin;
            assert!(self.now >= call.since + bound, "{slot} was released under a running call");
            self.ended.push(call);
        }
        self.held.remove(&slot);
        self.owed.remove(&slot);
    }

    fn answered(&mut self, waiter: WaiterId, answer: Result<Reservation, ReserveError>) {
        let head = self.waiting.get(&waiter).map(|(_, function)| self.queues[*function].front() == Some(&waiter));
        let head = head.expect("an answer to nobody, or a second one");
        let (request, function) = self.leaves(waiter);
        match answer {
            Ok(reservation) => {
                assert!(head, "{request} overtook the head of its queue");
                self.handed_out(request, function, reservation);
            }
            Err(ReserveError::InitFailed(_)) => assert!(head, "{request} got the head's failure"),
            Err(ReserveError::NoCapacity { waited, .. }) => {
                assert!(waited >= WAIT, "{request} was sent away after {waited:?}");
                self.refused += 1;
            }
            Err(error) => panic!("{request}: {error}"),
        }
    }

    pub(super) fn handed_out(&mut self, request: RequestId, function: usize, reservation: Reservation) {
        let slot = reservation.slot;
        let since = *self.held.get(&slot).unwrap_or_else(|| panic!("{slot} is not held any more"));
        assert!(self.now < since + TERMS.stop_using_after(), "{slot} was handed out after its lease ran out");
        let (_, grant) = self.grants.iter().find(|(_, grant)| grant.slot == slot).unwrap();
        assert_eq!(grant.function, self.functions[function].function, "{request} got another function's slot");
        assert!(self.running.iter().all(|call| call.reservation.slot != slot), "{slot} was reserved twice");
        self.running.push(Running { request, function, reservation, since: self.now });
    }
}
