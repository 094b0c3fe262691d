//! Histories of functions that have neither slot nor call at the moment, bounded.

use std::collections::{BTreeMap, HashMap};

use hearth_domain::{AccountId, FunctionName, FunctionRef, Version};

use super::History;

/// Whose history: a function version, over all its revisions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HistoryKey {
    account: AccountId,
    name: FunctionName,
    version: Version,
}

impl From<&FunctionRef> for HistoryKey {
    fn from(function: &FunctionRef) -> Self {
        Self { account: function.account.clone(), name: function.name.clone(), version: function.version }
    }
}

/// At most `max` histories; the one that was put away longest ago goes first. Histories in use are their function's
/// own and aren't here, so a warm call costs no lookup.
#[derive(Debug)]
pub struct Archive {
    max: usize,
    sequence: u64,
    histories: HashMap<HistoryKey, (u64, Box<History>)>,
    oldest_first: BTreeMap<u64, HistoryKey>,
}

impl Archive {
    /// An empty archive.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, sequence: 0, histories: HashMap::new(), oldest_first: BTreeMap::new() }
    }

    /// Puts a history away. If another revision's is there already, the longer of the two stays.
    pub fn put(&mut self, key: HistoryKey, history: Box<History>) {
        let history = match self.take(&key) {
            Some(other) if other.total() > history.total() => other,
            _ => history,
        };
        self.sequence += 1;
        self.oldest_first.insert(self.sequence, key.clone());
        self.histories.insert(key, (self.sequence, history));
        if self.histories.len() > self.max
            && let Some((_, oldest)) = self.oldest_first.pop_first()
        {
            self.histories.remove(&oldest);
        }
    }

    /// Takes a history out.
    pub fn take(&mut self, key: &HistoryKey) -> Option<Box<History>> {
        let (sequence, history) = self.histories.remove(key)?;
        self.oldest_first.remove(&sequence);
        Some(history)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.histories.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histories.is_empty()
    }

    /// Panics if the archive is not consistent or not bounded.
    pub fn check_invariants(&self) {
        assert!(self.histories.len() <= self.max, "more histories than allowed");
        assert_eq!(self.histories.len(), self.oldest_first.len());
        for (sequence, key) in &self.oldest_first {
            assert_eq!(self.histories.get(key).map(|(at, _)| at), Some(sequence));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeepAliveConfig;
    use super::*;

    fn key(name: &str) -> HistoryKey {
        HistoryKey {
            account: AccountId::new("000000000000").unwrap(),
            name: FunctionName::new(name).unwrap(),
            version: Version::Latest,
        }
    }

    fn history() -> Box<History> {
        Box::new(History::new(&KeepAliveConfig::default()))
    }

    #[test]
    fn the_one_put_away_longest_ago_goes_first() {
        let mut archive = Archive::new(2);
        for name in ["a", "b", "a", "c"] {
            archive.put(key(name), history());
            archive.check_invariants();
        }
        assert!(archive.take(&key("b")).is_none());
        assert!(archive.take(&key("a")).is_some() && archive.take(&key("c")).is_some());
        assert!(archive.is_empty());
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let mut archive = Archive::new(0);
        archive.put(key("a"), history());
        archive.check_invariants();
        assert!(archive.is_empty());
    }
}
