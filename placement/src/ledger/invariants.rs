//! What must hold between any two events.

use std::collections::BTreeMap;

use super::claim::Answer;
use super::fleet::Listed;
use super::limits::{CLAIMS_MAX, RECOVER_WAITERS_MAX, UNMET_MAX, WORKERS_MAX};
use super::slot::Phase;
use super::{Deadline, Ledger};
use crate::allocation::Reserved;

impl Ledger {
    /// Checks everything the ledger relies on. Called after every step of a test.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn check_invariants(&self) {
        self.check_workers();
        self.check_slots();
        self.check_claims();
        self.check_recoveries();
        assert!(self.demand.len() <= UNMET_MAX);
        let leases = self.slots.values().filter(|slot| matches!(slot.phase, Phase::Leased(_))).count();
        let finished = self.claims.values().filter(|claim| claim.finished()).count();
        let due = leases + self.workers.len() + usize::from(!self.settled);
        assert_eq!(self.agenda.len(), due, "the agenda holds what can become due and nothing else");
        assert_eq!(self.forgetting.len(), finished, "finished claims are forgotten some time, and no others");
    }

    fn check_workers(&self) {
        assert!(self.workers.len() <= WORKERS_MAX);
        let mut reserved: BTreeMap<_, Reserved> = BTreeMap::new();
        for slot in self.slots.values() {
            reserved.entry(&slot.worker).or_default().add(slot.need);
        }
        for (id, worker) in &self.workers {
            assert_eq!(worker.report.worker.id, *id);
            let real = reserved.remove(id).unwrap_or_default();
            assert_eq!(worker.reserved, real, "{id}: what is reserved is the sum of its slots");
            assert_eq!(worker.slots.len(), real.slots as usize, "{id}: its slots are listed");
            assert!(self.agenda.at(&Deadline::Worker(id.clone())).is_some(), "{id}: its silence would be noticed");
        }
        assert!(reserved.is_empty(), "slots of unknown workers: {reserved:?}");
        self.check_candidates();
    }

    fn check_candidates(&self) {
        self.candidates.check_invariants();
        let listed = self.workers.iter().filter_map(|(id, worker)| Some((id, worker, worker.listed.as_ref()?)));
        assert_eq!(self.candidates.count(|_| true), listed.clone().count(), "nobody else is a candidate");
        for (id, worker, Listed { kind, ready }) in listed {
            let known = self.candidates.get(kind, worker.hash, id);
            assert_eq!(known, Some(worker.standing(*ready, &self.config)), "{id}: the candidates know how it stands");
            assert!(kind.is(&worker.report.runtimes, worker.report.isolation), "{id}");
        }
    }

    fn check_slots(&self) {
        for (id, slot) in &self.slots {
            assert!(self.workers[&slot.worker].slots.contains(id), "{id} is listed by its worker");
            assert!(self.tokens.covers(slot.token), "{id}: {:?} could be drawn again", slot.token);
            let due = self.agenda.at(&Deadline::Lease(*id));
            match &slot.phase {
                Phase::Leased(lease) => {
                    assert_eq!((lease.slot, lease.token), (*id, slot.token), "{id}: its lease is its own");
                    assert_eq!(due, Some(lease.gone_at()), "{id}: the end of its lease would be noticed");
                }
                Phase::Initializing { claim, .. } => {
                    assert!(self.claims[claim].placing > 0, "{id}: its claim waits for it");
                    assert_eq!(self.claims[claim].holder, slot.holder, "{id}: it is made for who claimed");
                    assert_eq!(due, None);
                }
                Phase::Fencing(_) => {
                    let recovery = &self.recoveries[&slot.holder];
                    let waits = recovery.pending.contains(id) != recovery.ready.contains(id);
                    assert!(waits, "{id}: its recovery waits for it once");
                    assert_eq!(due, None);
                }
                Phase::Ending => assert_eq!(due, None),
            }
        }
    }

    fn check_claims(&self) {
        assert!(self.claims.len() <= CLAIMS_MAX);
        let mut placing: BTreeMap<_, u32> = BTreeMap::new();
        for slot in self.slots.values() {
            if let Phase::Initializing { claim, .. } = &slot.phase {
                *placing.entry(claim).or_default() += 1;
            }
        }
        for (id, claim) in &self.claims {
            let real = placing.get(id).copied().unwrap_or_default();
            assert_eq!(claim.placing, real, "{id}: it waits for the slots made for it");
            let answered = u32::try_from(claim.answered.len()).unwrap_or(u32::MAX);
            assert_eq!(
                claim.waiting + claim.placing + answered,
                claim.count,
                "{id}: each of its slots has one outcome"
            );
            assert!(!self.settled || claim.waiting == 0, "{id}: nothing waits without reason");
            assert_eq!(self.forgetting.at(id).is_some(), claim.finished());
            for answer in &claim.answered {
                if let Answer::Granted(_, token) = answer {
                    assert!(self.tokens.covers(*token));
                }
            }
        }
    }

    fn check_recoveries(&self) {
        for (holder, recovery) in &self.recoveries {
            assert!(!recovery.pending.is_empty(), "{holder}: a recovery without open questions is answered");
            assert!((1..=RECOVER_WAITERS_MAX).contains(&recovery.tickets.len()), "{holder}");
            for slot in recovery.pending.iter().chain(&recovery.ready) {
                assert!(matches!(self.slots[slot].phase, Phase::Fencing(_)), "{holder}: {slot}");
            }
        }
    }
}
