//! Which snapshots there are, which are being made, which may not be tried now; which go when there are too many. Pure.
//!
//! Invariants, checked by `check_invariants`: at most one snapshot of a key is there or being made; after each change all
//! that are there are within the bounds, but for the newest; a key that failed is not made again before its back-off is
//! over, and the back-off ends only when a sandbox of it did come up.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hearth_domain::Moment;

/// Most snapshots, whatever their size.
pub(super) const SNAPSHOTS_MAX: usize = 256;
/// Wait after a first failure; doubled with each further one.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const BACK_OFF_MAX: Duration = Duration::from_secs(600);
/// Most keys whose failures are remembered.
const TROUBLES_MAX: usize = 1_024;

/// Names a snapshot's directory. Never used twice.
pub(super) type SnapshotNumber = u64;

/// All snapshots of a worker.
#[derive(Debug)]
pub(super) struct Shelf {
    max_bytes: u64,
    entries: BTreeMap<String, Entry>,
    troubles: HashMap<String, Trouble>,
    uses: u64,
    last: SnapshotNumber,
}

#[derive(Debug)]
struct Entry {
    number: SnapshotNumber,
    state: State,
}

#[derive(Debug)]
enum State {
    Making,
    There { bytes: u64, last_use: u64, prefetch: bool },
}

#[derive(Debug)]
struct Trouble {
    failures: u32,
    until: Moment,
}

impl Shelf {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, entries: BTreeMap::new(), troubles: HashMap::new(), uses: 0, last: 0 }
    }

    /// One that an earlier worker made. `prefetch`: whether what to bring in ahead is known.
    pub(super) fn take_up(&mut self, key: String, number: SnapshotNumber, bytes: u64, prefetch: bool) {
        self.last = self.last.max(number);
        self.entries.insert(key, Entry { number, state: State::There { bytes, last_use: 0, prefetch } });
    }

    /// The snapshot of `key`, if it is there.
    pub(super) fn find(&mut self, key: &str) -> Option<SnapshotNumber> {
        let entry = self.entries.get_mut(key)?;
        let State::There { last_use, .. } = &mut entry.state else { return None };
        self.uses += 1;
        *last_use = self.uses;
        Some(entry.number)
    }

    /// Whether one of `key` may be made now.
    pub(super) fn lacks(&self, now: Moment, key: &str) -> bool {
        !self.entries.contains_key(key) && self.troubles.get(key).is_none_or(|trouble| now >= trouble.until)
    }

    /// Begins to make one, if it may be made now: `on_made` or `on_unmade` tells how it went.
    pub(super) fn begin(&mut self, now: Moment, key: &str) -> Option<SnapshotNumber> {
        if !self.lacks(now, key) {
            return None;
        }
        self.last += 1;
        self.entries.insert(key.to_owned(), Entry { number: self.last, state: State::Making });
        Some(self.last)
    }

    /// It is there. Returns whether it is still wanted, and which others have to go for it.
    pub(super) fn on_made(&mut self, key: &str, number: SnapshotNumber, bytes: u64) -> (bool, Vec<SnapshotNumber>) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.number == number) else {
            return (false, Vec::new());
        };
        self.uses += 1;
        entry.state = State::There { bytes, last_use: self.uses, prefetch: false };
        (true, self.evict(number))
    }

    /// It could not be made.
    pub(super) fn on_unmade(&mut self, now: Moment, key: &str, number: SnapshotNumber) {
        if self.remove_number(key, number) {
            self.failed(now, key);
        }
    }

    /// A sandbox of it came up.
    pub(super) fn on_used(&mut self, key: &str) {
        self.troubles.remove(key);
    }

    /// It is of no use. False if somebody said so before.
    pub(super) fn on_unusable(&mut self, now: Moment, key: &str, number: SnapshotNumber) -> bool {
        let first = self.remove_number(key, number);
        if first {
            self.failed(now, key);
        }
        first
    }

    /// Whether the caller is to find out what to bring in ahead: true once for each snapshot.
    pub(super) fn claim_prefetch(&mut self, key: &str, number: SnapshotNumber) -> bool {
        match self.entries.get_mut(key) {
            Some(Entry { number: known, state: State::There { prefetch, .. } }) if *known == number => {
                !std::mem::replace(prefetch, true)
            }
            _ => false,
        }
    }

    /// Takes those off the shelf whose keys are not `wanted`; those that are being made will not be kept.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<SnapshotNumber> {
        let mut removed = Vec::new();
        self.entries.retain(|key, entry| {
            let keep = wanted(key);
            if !keep && matches!(entry.state, State::There { .. }) {
                removed.push(entry.number);
            }
            keep
        });
        removed
    }

    /// What there are snapshots of.
    pub(super) fn keys(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// How many there are, and their bytes.
    pub(super) fn size(&self) -> (usize, u64) {
        let there = self.entries.values().filter_map(|entry| match entry.state {
            State::There { bytes, .. } => Some(bytes),
            State::Making => None,
        });
        there.fold((0, 0), |(count, all), bytes| (count + 1, all + bytes))
    }

    /// Takes the least recently used off the shelf until the rest fits. `newest` stays.
    pub(super) fn evict(&mut self, newest: SnapshotNumber) -> Vec<SnapshotNumber> {
        let mut evicted = Vec::new();
        while let (count, bytes) = self.size()
            && (count > SNAPSHOTS_MAX || bytes > self.max_bytes)
        {
            let others = self.entries.iter().filter_map(|(key, entry)| match entry.state {
                State::There { last_use, .. } if entry.number != newest => Some((last_use, key, entry.number)),
                _ => None,
            });
            let Some((key, number)) = others.min().map(|(_, key, number)| (key.clone(), number)) else { break };
            self.entries.remove(&key);
            evicted.push(number);
        }
        evicted
    }

    fn remove_number(&mut self, key: &str, number: SnapshotNumber) -> bool {
        let is_there = self.entries.get(key).is_some_and(|entry| entry.number == number);
        if is_there {
            self.entries.remove(key);
        }
        is_there
    }

    fn failed(&mut self, now: Moment, key: &str) {
        if self.troubles.len() >= TROUBLES_MAX {
            self.troubles.retain(|_, trouble| now < trouble.until);
        }
        let failures = self.troubles.get(key).map_or(0, |trouble| trouble.failures).saturating_add(1);
        let wait = BACK_OFF_MIN.saturating_mul(1 << (failures - 1).min(16)).min(BACK_OFF_MAX);
        self.troubles.insert(key.to_owned(), Trouble { failures, until: now + wait });
    }

    #[cfg(test)]
    fn check_invariants(&self, newest: SnapshotNumber) {
        let (count, bytes) = self.size();
        assert!(count <= SNAPSHOTS_MAX);
        let alone = count == 1 && self.entries.values().any(|entry| entry.number == newest);
        assert!(bytes <= self.max_bytes || alone, "{self:?}");
        assert!(self.entries.values().all(|entry| entry.number <= self.last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Moment {
        Moment::ORIGIN + Duration::from_secs(s)
    }

    fn made(shelf: &mut Shelf, key: &str, bytes: u64) -> (SnapshotNumber, Vec<SnapshotNumber>) {
        let number = shelf.begin(at(0), key).unwrap();
        let (wanted, evicted) = shelf.on_made(key, number, bytes);
        assert!(wanted);
        shelf.check_invariants(number);
        (number, evicted)
    }

    #[test]
    fn one_at_a_time_is_made_and_found_when_it_is_there() {
        let mut shelf = Shelf::new(100);
        let number = shelf.begin(at(0), "a").unwrap();
        assert_eq!((shelf.begin(at(0), "a"), shelf.find("a")), (None, None));
        assert_eq!(shelf.on_made("a", number, 10), (true, vec![]));
        assert_eq!((shelf.find("a"), shelf.begin(at(0), "a")), (Some(number), None));
        assert_eq!([1, 2].map(|_| shelf.claim_prefetch("a", number)), [true, false]);
        assert!(!shelf.claim_prefetch("a", number + 1));
    }

    #[test]
    fn the_least_recently_used_goes_when_there_are_too_many_bytes() {
        let mut shelf = Shelf::new(100);
        let (a, _) = made(&mut shelf, "a", 40);
        let (b, _) = made(&mut shelf, "b", 40);
        assert_eq!(shelf.find("a"), Some(a));
        assert_eq!(made(&mut shelf, "c", 40).1, [b]);
        let (large, evicted) = made(&mut shelf, "large", 400);
        assert_eq!(
            (evicted.len(), shelf.find("large")),
            (2, Some(large)),
            "one that is too large alone serves all the same"
        );
    }

    #[test]
    fn what_fails_waits_longer_each_time_until_one_is_used() {
        let mut shelf = Shelf::new(100);
        let mut now = 0;
        for wait in [1, 2, 4] {
            let number = shelf.begin(at(now), "a").unwrap();
            if wait == 2 {
                shelf.on_unmade(at(now), "a", number);
            } else {
                shelf.on_made("a", number, 10);
                assert!(shelf.on_unusable(at(now), "a", number));
                assert!(!shelf.on_unusable(at(now), "a", number), "many who fail on one snapshot are one failure");
            }
            assert!(!shelf.lacks(at(now + wait - 1), "a"));
            now += wait;
        }
        let number = shelf.begin(at(now), "a").unwrap();
        shelf.on_made("a", number, 10);
        shelf.on_used("a");
        shelf.on_unusable(at(now), "a", number);
        assert!(shelf.lacks(at(now + 1), "a"));
    }

    #[test]
    fn what_is_not_wanted_any_more_goes_even_while_it_is_made() {
        let mut shelf = Shelf::new(100);
        let (a, _) = made(&mut shelf, "version 1", 10);
        let making = shelf.begin(at(0), "version 2").unwrap();
        made(&mut shelf, "class", 10);
        assert_eq!(shelf.retain(|key| !key.starts_with("version")), [a]);
        assert_eq!(shelf.on_made("version 2", making, 10), (false, vec![]));
        assert_eq!(shelf.size(), (1, 10));
    }
}
