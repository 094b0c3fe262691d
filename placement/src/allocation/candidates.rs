//! All workers that may be asked, by what they can run.

use std::collections::BTreeMap;

use hearth_domain::{FunctionSpec, Isolation, Runtime};

use super::districts::{Districts, Wanted};
use super::ranking::Ranking;
use super::rendezvous::WorkerHash;
use super::{Need, Standing};

/// What a worker can run, in the order in which it tells. Fleets have few kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    runtimes: Vec<Runtime>,
    isolation: Isolation,
}

/// The workers of a fleet, each with its kind and what it has room for.
#[derive(Debug)]
pub struct Candidates<K> {
    kinds: BTreeMap<Kind, Districts<K>>,
}

impl Kind {
    /// The kind of a worker that offers these.
    #[must_use]
    pub fn of(runtimes: &[Runtime], isolation: Isolation) -> Self {
        Self { runtimes: runtimes.to_vec(), isolation }
    }

    /// Whether it is the kind of a worker that offers these.
    #[must_use]
    pub fn is(&self, runtimes: &[Runtime], isolation: Isolation) -> bool {
        self.isolation == isolation && self.runtimes == runtimes
    }

    /// Whether the function may run here at all: never in less isolation than it asks for.
    #[must_use]
    pub fn can_run(&self, function: &FunctionSpec) -> bool {
        self.runtimes.contains(&function.runtime) && function.isolation.is_none_or(|asked| self.isolation >= asked)
    }
}

impl<K> Default for Candidates<K> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Candidates<K> {
    /// Takes a worker in, or changes what it has room for.
    pub fn set(&mut self, kind: &Kind, hash: WorkerHash, key: &K, standing: Standing) {
        match self.kinds.get_mut(kind) {
            Some(districts) => districts.set(hash, key, standing),
            None => self.kinds.entry(kind.clone()).or_default().set(hash, key, standing),
        }
    }

    /// Takes a worker out.
    pub fn remove(&mut self, kind: &Kind, hash: WorkerHash, key: &K) {
        let Some(districts) = self.kinds.get_mut(kind) else { return };
        districts.remove(hash, key);
        if districts.is_empty() {
            self.kinds.remove(kind);
        }
    }

    /// The workers to compare by warmth, best affinity first: at most [`super::AFFINITY_WINDOW`], none if nobody has room.
    /// Workers whose CPU is busy are taken only if no other has room: CPU is shared, so a busy one is slow but not wrong.
    pub fn shortlist(
        &self,
        wanted: Wanted,
        can_run: impl Fn(&Kind) -> bool,
        passed_over: impl Fn(&K) -> bool,
    ) -> Vec<&K> {
        let calm = self.best(wanted, &can_run, Standing::has_room_and_is_calm, &passed_over);
        if !calm.is_empty() {
            return calm.into_keys();
        }
        self.best(wanted, &can_run, Standing::has_room, &passed_over).into_keys()
    }

    /// Whether a worker would take it if it had no slots: then it is others' slots that stand in the way.
    pub fn could_fit(&self, wanted: Wanted, can_run: impl Fn(&Kind) -> bool) -> bool {
        !self.best(wanted, can_run, Standing::has_room_when_empty, |_| false).is_empty()
    }

    /// How many workers can run it.
    pub fn count(&self, can_run: impl Fn(&Kind) -> bool) -> usize {
        self.kinds.iter().filter(|(kind, _)| can_run(kind)).map(|(_, districts)| districts.len()).sum()
    }

    /// Whether none of the workers that can run it takes any new slot.
    pub fn are_closed(&self, can_run: impl Fn(&Kind) -> bool) -> bool {
        self.kinds.iter().filter(|(kind, _)| can_run(kind)).all(|(_, districts)| districts.are_closed())
    }

    /// What a worker has room for, if it is known as of this kind.
    #[must_use]
    pub fn get(&self, kind: &Kind, hash: WorkerHash, key: &K) -> Option<Standing> {
        self.kinds.get(kind)?.get(hash, key)
    }

    /// Checks what it relies on itself.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn check_invariants(&self) {
        for districts in self.kinds.values() {
            assert!(!districts.is_empty(), "a kind that nobody is of is forgotten");
            districts.check_invariants();
        }
    }

    fn best(
        &self,
        wanted: Wanted,
        can_run: impl Fn(&Kind) -> bool,
        fits: impl Fn(&Standing, Need) -> bool,
        passed_over: impl Fn(&K) -> bool,
    ) -> Ranking<&K> {
        let mut ranking = Ranking::default();
        for (_, districts) in self.kinds.iter().filter(|(kind, _)| can_run(kind)) {
            districts.walk(wanted, &fits, &passed_over, &mut ranking);
        }
        ranking
    }
}
