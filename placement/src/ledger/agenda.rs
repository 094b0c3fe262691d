//! What is due when: at most one moment per thing.
//!
//! Moving a thing further away costs nothing until its old moment has come; then it is put where it belongs. Leases and
//! reports move their deadlines away several times before one comes.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use hearth_domain::Moment;

/// Moments by thing, and things by a moment that is no later than their own.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    by_thing: HashMap<K, Entry>,
    by_moment: BTreeSet<(Moment, K)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    due: Moment,
    /// Where it stands among the moments; never later than `due`.
    listed: Moment,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { by_thing: HashMap::new(), by_moment: BTreeSet::new() }
    }
}

impl<K: Ord + Hash + Clone> Agenda<K> {
    /// Sets or moves when `thing` is due.
    pub(super) fn set(&mut self, thing: K, at: Moment) {
        match self.by_thing.get_mut(&thing) {
            Some(entry) if entry.listed <= at => entry.due = at,
            Some(entry) => {
                let before = (entry.listed, thing);
                *entry = Entry { due: at, listed: at };
                self.by_moment.remove(&before);
                self.by_moment.insert((at, before.1));
            }
            None => {
                self.by_thing.insert(thing.clone(), Entry { due: at, listed: at });
                self.by_moment.insert((at, thing));
            }
        }
    }

    /// `thing` is not due any more.
    pub(super) fn clear(&mut self, thing: &K) {
        if let Some((thing, entry)) = self.by_thing.remove_entry(thing) {
            self.by_moment.remove(&(entry.listed, thing));
        }
    }

    /// When to look for what is due: no later than the earliest moment.
    pub(super) fn next(&self) -> Option<Moment> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// Takes a thing that is due: of those whose moments were never moved away, the earliest.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<K> {
        while self.next()? <= now {
            let (_, thing) = self.by_moment.pop_first()?;
            let entry = self.by_thing.get_mut(&thing)?;
            if entry.due <= now {
                self.by_thing.remove(&thing);
                return Some(thing);
            }
            entry.listed = entry.due;
            self.by_moment.insert((entry.due, thing));
        }
        None
    }

    /// What comes first; exact for things that were set once.
    pub(super) fn first(&self) -> Option<&K> {
        self.by_moment.first().map(|(_, thing)| thing)
    }

    /// When `thing` is due.
    pub(super) fn at(&self, thing: &K) -> Option<Moment> {
        self.by_thing.get(thing).map(|entry| entry.due)
    }

    /// How many things are due some time.
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.by_thing.len(), self.by_moment.len());
        self.by_thing.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn a_thing_is_due_at_the_last_moment_it_was_set_to() {
        let mut agenda = Agenda::default();
        agenda.set('a', at(5));
        agenda.set('a', at(9));
        agenda.set('b', at(7));
        assert_eq!(agenda.next(), Some(at(5)), "looking too early does no harm");
        assert_eq!(agenda.take_due(at(6)), None);
        assert_eq!((agenda.next(), agenda.at(&'a')), (Some(at(7)), Some(at(9))));
        agenda.set('a', at(2));
        assert_eq!(agenda.first(), Some(&'a'));
        assert_eq!(agenda.take_due(at(7)), Some('a'));
        assert_eq!((agenda.take_due(at(7)), agenda.take_due(at(7))), (Some('b'), None));
        assert_eq!((agenda.len(), agenda.next()), (0, None));
    }

    #[test]
    fn what_was_cleared_is_never_due() {
        let mut agenda = Agenda::default();
        agenda.set('a', at(1));
        agenda.set('a', at(3));
        agenda.clear(&'a');
        assert_eq!((agenda.take_due(at(9)), agenda.len()), (None, 0));
    }
}
