//! The workers, as the ledger knows them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hearth_domain::runtime::RuntimeFamily;
use hearth_domain::{FunctionSpec, Isolation, Moment, Runtime, SlotId, WorkerId};
use hearth_protocol::placement::{FleetWorker, PooledCount, WorkerCondition, WorkerReport};

use super::slot::Phase;
use super::{Deadline, Ledger, LedgerConfig, Outbox};
use crate::allocation::{Kind, Need, Reserved, Standing, Warmth, WorkerHash};

/// One worker.
#[derive(Debug)]
pub(super) struct KnownWorker {
    pub(super) hash: WorkerHash,
    /// Its last report. What was placed since is taken from its pool counts and added to its bundles.
    pub(super) report: WorkerReport,
    pub(super) reported_at: Moment,
    /// It could not be called; until then others go first.
    pub(super) shunned_until: Moment,
    pub(super) past_incarnations: VecDeque<u64>,
    pub(super) slots: BTreeSet<SlotId>,
    pub(super) reserved: Reserved,
    /// As what it stands among the candidates; a lost worker does not.
    pub(super) listed: Option<Listed>,
}

/// How a worker was last put to the candidates.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) kind: Arc<Kind>,
    /// It takes new slots.
    pub(super) ready: bool,
}

impl KnownWorker {
    /// What to make of it at `now`.
    pub(super) fn condition(&self, now: Moment, config: &LedgerConfig) -> WorkerCondition {
        let silent = now.since(self.reported_at);
        if silent >= config.lost_after {
            WorkerCondition::Lost
        } else if self.report.draining {
            WorkerCondition::Draining
        } else if silent >= config.avoided_after || now < self.shunned_until {
            WorkerCondition::Avoided
        } else {
            WorkerCondition::Ready
        }
    }

    /// When that changes if nothing is heard of it; `None` once it is lost.
    pub(super) fn changes_at(&self, now: Moment, config: &LedgerConfig) -> Option<Moment> {
        let (avoided, lost) = (self.reported_at + config.avoided_after, self.reported_at + config.lost_after);
        [self.shunned_until, avoided, lost].into_iter().filter(|at| *at > now).min()
    }

    /// What it has room for, as its last report and its slots tell.
    pub(super) fn standing(&self, ready: bool, config: &LedgerConfig) -> Standing {
        let WorkerReport { capacity, load, .. } = self.report;
        if ready { config.load.standing(capacity, load, self.reserved) } else { Standing::CLOSED }
    }

    pub(super) fn warmth(&self, function: &FunctionSpec) -> Warmth {
        let size = self.pooled_size(function);
        Warmth {
            has_code: self.report.cached_bundles.contains(&function.bundle),
            has_pooled: self.report.pooled.iter().any(|pool| pool.ready > 0 && serves(pool, function, size)),
        }
    }

    /// The size of the pooled sandboxes that serve the function, MB: the smallest that holds it where sizes are for good;
    /// `None` where any will do.
    fn pooled_size(&self, function: &FunctionSpec) -> Option<u32> {
        let pools = self.report.pooled.iter().filter(|pool| same_sandbox(pool.runtime, function.runtime));
        let holding = pools.map(|pool| pool.memory_mb).filter(|size| *size >= function.memory.get());
        (self.report.isolation == Isolation::Kvm).then(|| holding.min().unwrap_or(u32::MAX))
    }

    /// A slot is about to be made here: until the next report tells better, one sandbox less waits and the code is here.
    pub(super) fn expect(&mut self, function: &FunctionSpec) {
        let size = self.pooled_size(function);
        if let Some(pool) = self.report.pooled.iter_mut().find(|pool| pool.ready > 0 && serves(pool, function, size)) {
            pool.ready -= 1;
        }
        if !self.report.cached_bundles.contains(&function.bundle) {
            self.report.cached_bundles.push(function.bundle);
        }
    }
}

fn serves(pool: &PooledCount, function: &FunctionSpec, size: Option<u32>) -> bool {
    same_sandbox(pool.runtime, function.runtime) && size.is_none_or(|size| pool.memory_mb == size)
}

/// Whether a sandbox booted for one runtime serves the other: custom runtimes differ in name only.
fn same_sandbox(a: Runtime, b: Runtime) -> bool {
    a == b || (a.family() == RuntimeFamily::Provided && b.family() == RuntimeFamily::Provided)
}

impl Ledger {
    /// Every worker known, in order of id.
    #[must_use]
    pub fn fleet(&self, now: Moment) -> Vec<FleetWorker> {
        let view = |worker: &KnownWorker| FleetWorker {
            report: worker.report.clone(),
            silent_for: now.since(worker.reported_at),
            condition: worker.condition(now, &self.config),
            reserved_mb: worker.reserved.memory_mb,
        };
        let mut fleet: Vec<_> = self.workers.values().map(view).collect();
        fleet.sort_unstable_by(|a, b| a.report.worker.id.cmp(&b.report.worker.id));
        fleet
    }

    /// How many workers are in that condition.
    #[must_use]
    pub fn workers_in(&self, condition: WorkerCondition, now: Moment) -> usize {
        self.workers.values().filter(|worker| worker.condition(now, &self.config) == condition).count()
    }

    /// Whether the worker has reported and is not forgotten.
    #[must_use]
    pub fn knows(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    /// How many slots are in which phase: initializing, leased, fencing, ending.
    #[must_use]
    pub fn slots_by_phase(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for slot in self.slots.values() {
            counts[match slot.phase {
                Phase::Initializing { .. } => 0,
                Phase::Leased(_) => 1,
                Phase::Fencing(_) => 2,
                Phase::Ending => 3,
            }] += 1;
        }
        counts
    }

    /// How many claims are open or remembered.
    #[must_use]
    pub fn claims(&self) -> usize {
        self.claims.len()
    }

    /// Something about a worker has lasted: its silence, or that it could not be called. First it is avoided, then its slots
    /// are lost, later it is forgotten.
    pub(super) fn worker_waited(&mut self, now: Moment, id: &WorkerId, out: &mut impl Outbox) {
        let Some(worker) = self.workers.get(id) else { return };
        if worker.condition(now, &self.config) != WorkerCondition::Lost {
            return self.watch(now, id);
        }
        let forgotten_at = worker.reported_at + self.config.lost_after + self.config.forgotten_after;
        let slots = worker.slots.clone();
        self.unlist(id);
        if now >= forgotten_at && slots.is_empty() {
            self.workers.remove(id);
            return;
        }
        // Set before slots are lost: their claims are placed again, and not here.
        self.agenda.set(Deadline::Worker(id.clone()), forgotten_at.max(now + self.config.lost_after));
        for slot in slots {
            self.slot_lost(now, slot, out);
        }
    }

    /// Something changed about a worker that is not lost: the candidates follow, and the agenda says when it changes by itself.
    pub(super) fn watch(&mut self, now: Moment, id: &WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let ready = worker.condition(now, &self.config) == WorkerCondition::Ready;
        let before = worker.listed.take();
        let WorkerReport { runtimes, isolation, .. } = &worker.report;
        let kind = match &before {
            Some(listed) if listed.kind.is(runtimes, *isolation) => listed.kind.clone(),
            Some(listed) => {
                self.candidates.remove(&listed.kind, worker.hash, id);
                Arc::new(Kind::of(runtimes, *isolation))
            }
            None => Arc::new(Kind::of(runtimes, *isolation)),
        };
        worker.listed = Some(Listed { kind, ready });
        if let Some(at) = worker.changes_at(now, &self.config) {
            self.agenda.set(Deadline::Worker(id.clone()), at);
        }
        self.list(id);
    }

    /// What is reserved at a worker changed: the candidates follow.
    pub(super) fn list(&mut self, id: &WorkerId) {
        let Some((id, worker)) = self.workers.get_key_value(id) else { return };
        let Some(Listed { kind, ready }) = &worker.listed else { return };
        self.candidates.set(kind, worker.hash, id, worker.standing(*ready, &self.config));
    }

    fn unlist(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        if let Some(listed) = worker.listed.take() {
            self.candidates.remove(&listed.kind, worker.hash, id);
        }
    }

    /// A slot is gone without its worker having been asked: whoever waits for it is served otherwise.
    pub(super) fn slot_lost(&mut self, now: Moment, id: SlotId, out: &mut impl Outbox) {
        let Some(slot) = self.remove_slot(id) else { return };
        match slot.phase {
            Phase::Initializing { claim, attempt } => self.place_again(now, &claim, attempt, slot.worker, out),
            Phase::Fencing(_) => self.recovery_settled(now, &slot.holder, id, None, out),
            Phase::Leased(_) | Phase::Ending => {}
        }
    }
}

/// The need of a slot that a worker reports: CPU follows from memory.
pub(super) fn need_of_reported(memory_mb: u32) -> Need {
    use hearth_domain::MemorySize;
    use hearth_domain::limits::{MEMORY_MAX_MB, MEMORY_MIN_MB};
    let bounded = MemorySize::new(memory_mb.clamp(MEMORY_MIN_MB, MEMORY_MAX_MB));
    let milli_cpus = bounded.map_or(0, |memory| u64::from(memory.milli_cpus()));
    Need { memory_mb: u64::from(memory_mb), milli_cpus }
}
