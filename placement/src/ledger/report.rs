//! What a worker's report changes: who it is, what it has, which slots exist.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hearth_domain::{FencingToken, Lease, Moment, SlotId, SlotState, WorkerId};
use hearth_protocol::placement::{ReportAck, SlotReport, WorkerReport};

use super::fleet::{KnownWorker, need_of_reported};
use super::limits::{PAST_INCARNATIONS_MAX, REPORTED_SLOTS_MAX, TOKEN_MAX, UNSEEN_MISSES_MAX, WORKERS_MAX};
use super::slot::{Phase, Sight, Slot};
use super::{Ledger, Outbox};
use crate::allocation::{Reserved, WorkerHash};

/// A report that is not believed. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// As many workers as may be are known.
    #[error("worker {worker} is one more than the {WORKERS_MAX} a fleet may have")]
    FleetFull {
        /// Who reported.
        worker: WorkerId,
    },
    /// More slots than a worker can have.
    #[error("worker {worker} reports {count} slots, {REPORTED_SLOTS_MAX} at most are believed")]
    TooManySlots {
        /// Who reported.
        worker: WorkerId,
        /// How many.
        count: usize,
    },
    /// A token that can't have been given out.
    #[error("worker {worker} reports {token:?} on {slot}, which can't have been given out")]
    BadToken {
        /// Who reported.
        worker: WorkerId,
        /// On which slot.
        slot: SlotId,
        /// The token.
        token: FencingToken,
    },
}

impl Ledger {
    /// A worker reports. Reports that are older than one already heard change nothing.
    pub fn on_report(
        &mut self,
        now: Moment,
        mut report: WorkerReport,
        out: &mut impl Outbox,
    ) -> Result<ReportAck, ReportError> {
        self.check_report(&report)?;
        let id = report.worker.id.clone();
        let slots = std::mem::take(&mut report.slots);
        let mut reported: BTreeMap<SlotId, &SlotReport> = BTreeMap::new();
        for slot in slots.iter().filter(|slot| bound_to_a_function(slot.state)) {
            self.tokens.heard_of(slot.token);
            reported.insert(slot.slot, slot);
        }
        if !self.note_worker(now, report) {
            return Ok(ReportAck::default());
        }
        self.watch(now, &id);
        self.compare_known(now, &id, &reported, out);
        let ack = self.compare_reported(now, &id, &reported, out);
        if let Some(known) = self.workers.get_mut(&id) {
            known.report.slots = slots;
        }
        if !self.settled && self.config.expected_workers.is_some_and(|expected| self.workers.len() >= expected) {
            self.settle(now, out);
        }
        Ok(ack)
    }

    /// Takes over what the worker says of itself, without its slots. False if the report is old.
    fn note_worker(&mut self, now: Moment, report: WorkerReport) -> bool {
        let Some(known) = self.workers.get_mut(&report.worker.id) else {
            let worker = KnownWorker {
                hash: WorkerHash::of(&report.worker.id),
                reported_at: now,
                shunned_until: now,
                past_incarnations: VecDeque::new(),
                slots: BTreeSet::new(),
                reserved: Reserved::default(),
                listed: None,
                report,
            };
            self.workers.insert(worker.report.worker.id.clone(), worker);
            return true;
        };
        // A late report from before a restart. But if the later incarnation is the silent one, the ledger took a late report for the
        // later: incarnations have no order, and this ledger may have begun between the two.
        let from_the_past = known.past_incarnations.contains(&report.incarnation);
        if from_the_past && now.since(known.reported_at) < self.config.avoided_after {
            return false;
        }
        if known.report.incarnation == report.incarnation && known.report.sequence >= report.sequence {
            return false;
        }
        if known.report.incarnation != report.incarnation {
            known.past_incarnations.retain(|past| *past != report.incarnation);
            if known.past_incarnations.len() == PAST_INCARNATIONS_MAX {
                known.past_incarnations.pop_front();
            }
            known.past_incarnations.push_back(known.report.incarnation);
            known.shunned_until = now;
            // All earlier slots are gone: as if each had been seen, so that missing it now is enough.
            for slot in &known.slots {
                if let Some(slot) = self.slots.get_mut(slot) {
                    slot.sight = Sight::Reported(SlotState::Gone);
                }
            }
        }
        known.report = report;
        known.reported_at = now;
        true
    }

    /// Slots the ledger has on this worker and the report lacks.
    fn compare_known(
        &mut self,
        now: Moment,
        worker: &WorkerId,
        reported: &BTreeMap<SlotId, &SlotReport>,
        out: &mut impl Outbox,
    ) {
        let Some(known) = self.workers.get(worker) else { return };
        let missing: Vec<SlotId> = known.slots.iter().filter(|id| !reported.contains_key(id)).copied().collect();
        for id in missing {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            if let Phase::Initializing { .. } = slot.phase {
                // The call that makes it is under way and will tell; a restarted worker may not have got it yet.
                slot.sight = Sight::UNSEEN;
                continue;
            }
            match &mut slot.sight {
                Sight::Never { misses } if *misses + 1 < UNSEEN_MISSES_MAX => *misses += 1,
                Sight::Never { .. } | Sight::Reported(_) => self.slot_lost(now, id, out),
            }
        }
    }

    /// Slots the report has.
    fn compare_reported(
        &mut self,
        now: Moment,
        worker: &WorkerId,
        reported: &BTreeMap<SlotId, &SlotReport>,
        out: &mut impl Outbox,
    ) -> ReportAck {
        let mut ack = ReportAck::default();
        for (&id, &seen) in reported {
            let Some(slot) = self.slots.get_mut(&id) else {
                self.adopt(now, worker, seen);
                continue;
            };
            // Ids are never drawn twice: somebody copied a worker.
            if slot.worker != *worker {
                ack.reclaim.push((id, seen.token));
                continue;
            }
            slot.sight = Sight::Reported(seen.state);
            if matches!(slot.phase, Phase::Ending) && seen.state != SlotState::Draining {
                ack.reclaim.push((id, slot.token.max(seen.token)));
            }
            if seen.token > slot.token {
                self.fenced_before(now, seen, out);
            }
        }
        ack
    }

    /// A slot from before this ledger, or from before its worker was lost. Whoever is named as its holder may have been
    /// answered until just before this ledger began; so it has a full term from now.
    fn adopt(&mut self, now: Moment, worker: &WorkerId, seen: &SlotReport) {
        let lease = self.assumed(now, seen);
        // What drains can't be used any more, whoever holds it.
        let phase = if seen.state == SlotState::Draining { Phase::Ending } else { Phase::Leased(lease) };
        let slot = Slot {
            worker: worker.clone(),
            token: seen.token,
            holder: seen.holder.clone(),
            function: seen.function.clone(),
            need: need_of_reported(seen.memory_mb),
            phase,
            sight: Sight::Reported(seen.state),
            answers: 0,
        };
        self.insert_slot(seen.slot, slot);
    }

    /// A fencing that an earlier ledger sent has reached the worker only now: its token is the slot's newest.
    fn fenced_before(&mut self, now: Moment, seen: &SlotReport, out: &mut impl Outbox) {
        let lease = self.assumed(now, seen);
        let Some(slot) = self.slots.get_mut(&seen.slot) else { return };
        let before = std::mem::replace(&mut slot.holder, seen.holder.clone());
        slot.token = seen.token;
        match slot.phase {
            Phase::Initializing { .. } | Phase::Ending => {}
            Phase::Leased(_) => self.set_phase(seen.slot, Phase::Leased(lease)),
            Phase::Fencing(_) => {
                self.set_phase(seen.slot, Phase::Leased(lease));
                self.recovery_settled(now, &before, seen.slot, None, out);
            }
        }
    }

    fn assumed(&self, now: Moment, seen: &SlotReport) -> Lease {
        Lease { slot: seen.slot, token: seen.token, terms: self.config.terms, counted_from: now }
    }

    fn check_report(&self, report: &WorkerReport) -> Result<(), ReportError> {
        let worker = report.worker.id.clone();
        if !self.workers.contains_key(&worker) && self.workers.len() == WORKERS_MAX {
            return Err(ReportError::FleetFull { worker });
        }
        if report.slots.len() > REPORTED_SLOTS_MAX {
            return Err(ReportError::TooManySlots { worker, count: report.slots.len() });
        }
        match report.slots.iter().find(|slot| slot.token.0 > TOKEN_MAX) {
            Some(slot) => Err(ReportError::BadToken { worker, slot: slot.slot, token: slot.token }),
            None => Ok(()),
        }
    }
}

const fn bound_to_a_function(state: SlotState) -> bool {
    matches!(state, SlotState::Initializing | SlotState::Idle | SlotState::Busy | SlotState::Draining)
}
