//! When to look at what again.
//!
//! Each owner (a slot, a waiter, …) keeps an [`Armed`] beside its own state and has at most one entry here. An alarm
//! may ring too early, never too late: moving a deadline further away costs nothing until the old alarm rings and the
//! owner arms the next one. So a warm call, which only ever moves deadlines away, touches no ordered structure.

use std::collections::BTreeSet;

use hearth_domain::Moment;

/// The alarms of many owners, ordered by time.
#[derive(Debug)]
pub(crate) struct Alarms<K> {
    queue: BTreeSet<(Moment, K)>,
}

/// What an owner remembers of its alarm.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Armed(Option<Moment>);

impl Armed {
    /// When the alarm rings, if one is armed.
    pub(crate) fn at(self) -> Option<Moment> {
        self.0
    }

    /// The alarm was popped.
    pub(crate) fn rang(&mut self) {
        self.0 = None;
    }
}

impl<K: Ord + Copy> Alarms<K> {
    pub(crate) fn new() -> Self {
        Self { queue: BTreeSet::new() }
    }

    /// Makes the owner's alarm ring at `at` or earlier.
    pub(crate) fn arm(&mut self, key: K, armed: &mut Armed, at: Moment) {
        match armed.0 {
            Some(earlier) if earlier <= at => return,
            Some(later) => {
                self.queue.remove(&(later, key));
            }
            None => {}
        }
        self.queue.insert((at, key));
        armed.0 = Some(at);
    }

    /// The owner is gone.
    pub(crate) fn disarm(&mut self, key: K, armed: &mut Armed) {
        if let Some(at) = armed.0.take() {
            self.queue.remove(&(at, key));
        }
    }

    /// When the next alarm rings.
    pub(crate) fn first(&self) -> Option<Moment> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one alarm that rings at `now` or before; its owner must call [`Armed::rang`].
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        (at <= now).then(|| {
            self.queue.pop_first();
            key
        })
    }

    /// The owners whose alarms ring at `limit` or before, earliest first.
    pub(crate) fn until(&self, limit: Moment) -> impl Iterator<Item = K> + '_ {
        self.queue.iter().take_while(move |(at, _)| *at <= limit).map(|(_, key)| *key)
    }

    /// How many alarms are armed.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether exactly this alarm is armed.
    pub(crate) fn holds(&self, key: K, armed: Armed) -> bool {
        armed.0.is_some_and(|at| self.queue.contains(&(at, key)))
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
    fn an_alarm_moves_earlier_at_once_and_never_later() {
        let (mut alarms, mut armed) = (Alarms::new(), Armed::default());
        alarms.arm('a', &mut armed, at(5));
        alarms.arm('a', &mut armed, at(9));
        assert_eq!((alarms.first(), alarms.len()), (Some(at(5)), 1));
        alarms.arm('a', &mut armed, at(2));
        assert_eq!((alarms.first(), alarms.len()), (Some(at(2)), 1));
        assert_eq!(alarms.pop_due(at(1)), None);
        assert_eq!(alarms.pop_due(at(2)), Some('a'));
        armed.rang();
        assert_eq!((alarms.first(), armed.at()), (None, None));
    }

    #[test]
    fn a_disarmed_alarm_never_rings() {
        let (mut alarms, mut armed) = (Alarms::new(), Armed::default());
        alarms.arm('a', &mut armed, at(1));
        assert!(alarms.holds('a', armed));
        alarms.disarm('a', &mut armed);
        assert_eq!(alarms.pop_due(at(9)), None);
    }
}
