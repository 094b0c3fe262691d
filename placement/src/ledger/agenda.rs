//! What is due when: at most one moment per thing.

use std::collections::{BTreeMap, BTreeSet};

use hearth_domain::Moment;

/// Moments by thing and things by moment.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    by_thing: BTreeMap<K, Moment>,
    by_moment: BTreeSet<(Moment, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { by_thing: BTreeMap::new(), by_moment: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Agenda<K> {
    /// Sets or moves when `thing` is due.
    pub(super) fn set(&mut self, thing: K, at: Moment) {
        if let Some(before) = self.by_thing.insert(thing.clone(), at) {
            self.by_moment.remove(&(before, thing.clone()));
        }
        self.by_moment.insert((at, thing));
    }

    /// `thing` is not due any more.
    pub(super) fn clear(&mut self, thing: &K) {
        if let Some((thing, at)) = self.by_thing.remove_entry(thing) {
            self.by_moment.remove(&(at, thing));
        }
    }

    /// The earliest moment.
    pub(super) fn next(&self) -> Option<Moment> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// Takes the earliest thing if it is due.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, thing) = self.by_moment.pop_first()?;
        self.by_thing.remove(&thing);
        Some(thing)
    }

    /// When `thing` is due.
    pub(super) fn at(&self, thing: &K) -> Option<Moment> {
        self.by_thing.get(thing).copied()
    }

    /// How many things are due some time.
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.by_thing.len(), self.by_moment.len());
        self.by_thing.len()
    }
}
