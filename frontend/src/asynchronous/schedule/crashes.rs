//! The schedule over a queue in memory, with crashes between any two steps: what is stored survives, what is taken is
//! forgotten, and a settlement is written whole or not at all, as the store's own tests prove of the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hearth_store::event::Event;
use proptest::prelude::*;

use super::tests::{deferred, event, function_error, outcome, run};
use super::{Condition, Decision, RetryConfig};
use crate::asynchronous::Outcome;

#[derive(Debug, Clone)]
enum Step {
    Push,
    Wait {
        ms: u64,
    },
    Take {
        limit: usize,
    },
    /// The attempt of a taken event ends; the process may die before that is written down, or right after.
    End {
        which: usize,
        outcome: Outcome,
        dies: Option<Dies>,
    },
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    BeforeItIsWritten,
    AfterItIsWritten,
}

fn step() -> impl Strategy<Value = Step> {
    let dies = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Dies::BeforeItIsWritten)),
        1 => Just(Some(Dies::AfterItIsWritten))
    ];
    prop_oneof![
        3 => Just(Step::Push),
        3 => (0..400_000_u64).prop_map(|ms| Step::Wait { ms }),
        4 => (1..4_usize).prop_map(|limit| Step::Take { limit }),
        6 => (any::<usize>(), outcome(), dies)
            .prop_map(|(which, outcome, dies)| Step::End { which, outcome, dies }),
        1 => Just(Step::Crash),
    ]
}

/// A platform with one function.
struct Model {
    retry: RetryConfig,
    now: u64,
    pushed: u64,
    /// On disk.
    stored: BTreeMap<u64, Event>,
    ended: BTreeMap<u64, (Event, Condition)>,
    /// Failed attempts that were written down.
    failures: BTreeMap<u64, u32>,
    /// In memory.
    taken: BTreeSet<u64>,
}

impl Model {
    fn new(retry: RetryConfig) -> Self {
        Self {
            retry,
            now: 1_000_000,
            pushed: 0,
            stored: BTreeMap::new(),
            ended: BTreeMap::new(),
            failures: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Push => {
                self.pushed += 1;
                let event = Event { accepted_unix_ms: self.now, due_unix_ms: self.now, ..event() };
                self.stored.insert(self.pushed, event);
            }
            Step::Wait { ms } => self.now += ms,
            Step::Take { limit } => self.take(*limit),
            Step::End { which, outcome, dies } => {
                let Some(index) = which.checked_rem(self.taken.len()) else { return };
                let id = *self.taken.iter().nth(index).unwrap();
                self.end(id, outcome, *dies);
            }
            Step::Crash => self.taken.clear(),
        }
    }

    fn take(&mut self, limit: usize) {
        let mut due: Vec<(u64, u64)> = self
            .stored
            .iter()
            .filter(|(id, event)| event.due_unix_ms <= self.now && !self.taken.contains(id))
            .map(|(id, event)| (event.due_unix_ms, *id))
            .collect();
        due.sort_unstable();
        for (_, id) in due.into_iter().take(limit) {
            let event = &self.stored[&id];
            if self.retry.is_expired(event, self.now) {
                let event = self.stored.remove(&id).unwrap();
                self.settle(id, event, Condition::EventAgeExceeded);
            } else {
                self.taken.insert(id);
            }
        }
    }

    fn end(&mut self, id: u64, outcome: &Outcome, dies: Option<Dies>) {
        let event = self.stored[&id].clone();
        let failed = matches!(outcome, Outcome::FunctionError(_));
        if dies == Some(Dies::BeforeItIsWritten) {
            self.taken.clear();
            return;
        }
        *self.failures.entry(id).or_default() += u32::from(failed);
        self.taken.remove(&id);
        match self.retry.on_outcome(event.clone(), outcome, self.now) {
            Decision::Again(next) => {
                self.check_wait(&event, &next, failed);
                self.stored.insert(id, next);
            }
            Decision::Done(event) => {
                self.stored.remove(&id);
                self.settle(id, event, Condition::Success);
            }
            Decision::GiveUp(event, condition) => {
                self.stored.remove(&id);
                self.settle(id, event, condition);
            }
        }
        if dies == Some(Dies::AfterItIsWritten) {
            self.taken.clear();
        }
    }

    fn settle(&mut self, id: u64, event: Event, condition: Condition) {
        assert!(self.ended.insert(id, (event, condition)).is_none(), "it ended twice");
    }

    fn check_wait(&self, before: &Event, next: &Event, failed: bool) {
        let wait = next.due_unix_ms - self.now;
        let ms = |duration: Duration| (duration.as_millis() as u64).max(1);
        if failed {
            assert_eq!(wait, ms(self.retry.waits[before.failed_attempts as usize]));
            return;
        }
        let deadline = self.retry.deadline_unix_ms(before);
        let (min, max) = (ms(self.retry.deferral_min), ms(self.retry.deferral_max));
        assert!((min..=max).contains(&wait) || next.due_unix_ms == deadline, "a wait of {wait} ms");
        assert!(next.due_unix_ms > self.now && next.due_unix_ms <= deadline);
    }

    fn check_invariants(&self) {
        for id in 1..=self.pushed {
            assert_ne!(
                self.stored.contains_key(&id),
                self.ended.contains_key(&id),
                "event {id} is lost, or there twice"
            );
        }
        assert!(self.taken.iter().all(|id| self.stored.contains_key(id)));
        let attempts_max = self.retry.waits.len() as u32 + 1;
        for (id, event) in self.stored.iter().chain(self.ended.iter().map(|(id, (event, _))| (id, event))) {
            assert!(event.failed_attempts <= attempts_max);
            assert_eq!(event.failed_attempts, self.failures.get(id).copied().unwrap_or(0), "event {id}");
        }
    }

    /// Runs everything to its end, failing or throttled, without another crash.
    fn drain(&mut self, outcome: &Outcome) {
        const ROUNDS_MAX: usize = 10_000;
        for _ in 0..ROUNDS_MAX {
            let Some(next) = self.stored.values().map(|event| event.due_unix_ms).min() else { return };
            self.now = self.now.max(next);
            self.take(usize::MAX);
            for id in std::mem::take(&mut self.taken) {
                self.end(id, outcome, None);
                self.check_invariants();
            }
        }
        panic!("events that never end");
    }
}

proptest! {
    #[test]
    fn every_event_ends_once_whatever_crashes(
        steps in proptest::collection::vec(step(), 1..120),
        waits in proptest::collection::vec(0..200_000_u64, 0..3),
        max_age_ms in 1_000..3_000_000_u64,
        at_last in prop_oneof![Just(function_error()), Just(deferred()), Just(Outcome::Succeeded(run()))],
    ) {
        let retry = RetryConfig {
            waits: waits.iter().copied().map(Duration::from_millis).collect(),
            max_age: Duration::from_millis(max_age_ms),
            ..RetryConfig::default()
        };
        let mut model = Model::new(retry);
        for step in &steps {
            model.apply(step);
            model.check_invariants();
        }
        model.taken.clear();
        model.drain(&at_last);
        prop_assert_eq!(model.ended.len() as u64, model.pushed);
    }
}
