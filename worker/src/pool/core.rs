//! How many sandboxes of each class there should be, and so what to boot and what to discard.
//!
//! A class aims at as many as were wanted within the last [`WINDOW`], within configured bounds: after a burst the
//! next burst of the same size finds them ready, and a quiet host shrinks back to its least. The lower bound holds for
//! the smallest class of each runtime only; the others have something ready after somebody wanted it, so that a host
//! with many sizes does not boot all of them for nobody.
//!
//! Invariants, checked by `check_invariants`: ready and booting together never exceed the upper bound, and no more are
//! ready than are aimed at; never more than the bound of boots are under way; a class that failed boots nothing before
//! its back-off is over.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use hearth_domain::Moment;

use crate::class::SandboxClass;

/// How far back cold starts count.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Wait after a first failed boot; doubled with each further one.
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
/// Longest wait after a failed boot.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// Failures in a row after which a class is not waited for any more.
const FAILURES_UNTIL_GIVEN_UP: u32 = 3;

/// Names a sandbox within the pool.
pub(super) type SandboxNumber = u64;

/// Bounds of the pool, each for one class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolBounds {
    /// Sandboxes to keep ready at least, of each runtime's smallest class; 0 turns the pool off.
    pub(crate) min: u32,
    /// Sandboxes to keep ready at most.
    pub(crate) max: u32,
    /// Boots under way for the pool, all classes together.
    pub(crate) booting: u32,
}

/// What the core asks for.
pub(super) trait Outbox {
    /// Boot a sandbox; `on_booted` or `on_failed` tells how it went.
    fn boot(&mut self, number: SandboxNumber, class: SandboxClass);
    /// Destroy a ready sandbox.
    fn discard(&mut self, number: SandboxNumber);
}

/// The decisions of the pool.
#[derive(Debug)]
pub(super) struct PoolCore {
    bounds: PoolBounds,
    classes: BTreeMap<SandboxClass, Class>,
    booting: HashMap<SandboxNumber, SandboxClass>,
    last: SandboxNumber,
}

#[derive(Debug, Default)]
struct Class {
    /// Sandboxes to keep ready at least.
    min: u32,
    ready: VecDeque<SandboxNumber>,
    booting: u32,
    /// When sandboxes were wanted, at most as many as the upper bound.
    wanted: VecDeque<Moment>,
    booted_once: bool,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    failures: u32,
    until: Moment,
    reason: String,
}

impl PoolCore {
    pub(super) fn new(bounds: PoolBounds, classes: impl Iterator<Item = SandboxClass>) -> Self {
        let max = if bounds.min == 0 { 0 } else { bounds.max.max(bounds.min) };
        let bounds = PoolBounds { max, booting: bounds.booting.max(1), ..bounds };
        let mut classes: BTreeMap<_, _> = classes.map(|class| (class, Class::default())).collect();
        let mut runtime = None;
        for (name, class) in &mut classes {
            // In order, the smallest of each runtime comes first.
            if runtime.replace(name.runtime) != Some(name.runtime) {
                class.min = bounds.min;
            }
        }
        Self { bounds, classes, booting: HashMap::new(), last: 0 }
    }

    /// Time passed: boots what is missing, discards what is too much.
    pub(super) fn on_time(&mut self, now: Moment, out: &mut impl Outbox) {
        for class in self.classes.values_mut() {
            while class.wanted.front().is_some_and(|at| now.since(*at) >= WINDOW) {
                class.wanted.pop_front();
            }
            while class.ready.len() > class.target(self.bounds) {
                class.ready.pop_front().into_iter().for_each(|number| out.discard(number));
            }
        }
        while let Some(class) = self.most_lacking(now) {
            self.last += 1;
            self.booting.insert(self.last, class);
            if let Some(class) = self.classes.get_mut(&class) {
                class.booting += 1;
            }
            out.boot(self.last, class);
        }
    }

    /// Somebody wants a sandbox, whether or not there is one.
    pub(super) fn on_wanted(&mut self, now: Moment, class: SandboxClass) {
        let max = self.bounds.max as usize;
        if let Some(class) = self.classes.get_mut(&class).filter(|_| max > 0) {
            if class.wanted.len() == max {
                class.wanted.pop_front();
            }
            class.wanted.push_back(now);
        }
    }

    /// The oldest ready sandbox leaves the pool.
    pub(super) fn on_take(&mut self, class: SandboxClass) -> Option<SandboxNumber> {
        self.classes.get_mut(&class)?.ready.pop_front()
    }

    /// A sandbox is up.
    pub(super) fn on_booted(&mut self, now: Moment, number: SandboxNumber, out: &mut impl Outbox) {
        if let Some(class) = self.booting.remove(&number).and_then(|class| self.classes.get_mut(&class)) {
            class.booting -= 1;
            class.ready.push_back(number);
            class.booted_once = true;
            class.trouble = None;
        }
        self.on_time(now, out);
    }

    /// A sandbox did not come up, or ended while it waited.
    pub(super) fn on_failed(&mut self, now: Moment, number: SandboxNumber, reason: String, out: &mut impl Outbox) {
        let booting = self.booting.remove(&number);
        for (name, class) in &mut self.classes {
            let ready = class.ready.iter().position(|ready| *ready == number);
            if let Some(position) = ready {
                class.ready.remove(position);
            } else if booting == Some(*name) {
                class.booting -= 1;
            } else {
                continue;
            }
            let failures = class.trouble.as_ref().map_or(0, |trouble| trouble.failures).saturating_add(1);
            let wait = BACK_OFF_MIN.saturating_mul(1 << (failures - 1).min(16)).min(BACK_OFF_MAX);
            class.trouble = Some(Trouble { failures, until: now + wait, reason });
            break;
        }
        self.on_time(now, out);
    }

    /// When [`Self::on_time`] is to be called next.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let retries = self
            .classes
            .values()
            .filter(|class| class.lacking(self.bounds) > 0)
            .filter_map(|class| class.trouble.as_ref().map(|trouble| trouble.until));
        let shrinks = self.classes.values().filter_map(|class| class.wanted.front().map(|at| *at + WINDOW));
        retries.chain(shrinks).min()
    }

    /// Whether every class that is kept ready was ready once or is given up, and not all are given up.
    pub(super) fn ready(&self) -> bool {
        let settled = |class: &Class| class.booted_once || class.given_up();
        let mut kept = self.classes.values().filter(|class| class.min > 0);
        self.bounds.min == 0 || kept.clone().all(settled) && kept.any(|class| class.booted_once)
    }

    /// Why classes can't boot now.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.classes.values().filter_map(|class| class.trouble.as_ref().map(|trouble| trouble.reason.clone())).collect()
    }

    /// Ready sandboxes by class.
    pub(super) fn counts(&self) -> Vec<(SandboxClass, u32)> {
        self.classes.iter().map(|(name, class)| (*name, u32::try_from(class.ready.len()).unwrap_or(u32::MAX))).collect()
    }

    /// The class that may boot now and lacks most.
    fn most_lacking(&self, now: Moment) -> Option<SandboxClass> {
        if self.booting.len() >= self.bounds.booting as usize {
            return None;
        }
        let may_boot =
            |class: &Class| class.trouble.as_ref().is_none_or(|trouble| now >= trouble.until && class.booting == 0);
        let lacking = self.classes.iter().filter(|(_, class)| may_boot(class));
        let (name, class) = lacking.max_by_key(|(_, class)| class.lacking(self.bounds))?;
        (class.lacking(self.bounds) > 0).then_some(*name)
    }

    #[cfg(test)]
    fn check_invariants(&self) {
        let all_booting: u32 = self.classes.values().map(|class| class.booting).sum();
        assert_eq!(all_booting as usize, self.booting.len());
        assert!(all_booting <= self.bounds.booting);
        for class in self.classes.values() {
            assert!(class.ready.len() + class.booting as usize <= self.bounds.max as usize, "{class:?}");
            assert!(class.wanted.len() <= self.bounds.max as usize);
            assert!(class.ready.len() <= class.target(self.bounds), "{class:?}");
        }
    }
}

impl Class {
    fn target(&self, bounds: PoolBounds) -> usize {
        self.wanted.len().clamp(self.min as usize, bounds.max as usize)
    }

    fn lacking(&self, bounds: PoolBounds) -> usize {
        self.target(bounds).saturating_sub(self.ready.len() + self.booting as usize)
    }

    fn given_up(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.failures >= FAILURES_UNTIL_GIVEN_UP)
    }
}

#[cfg(test)]
mod tests;
