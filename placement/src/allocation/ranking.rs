//! The best few of those offered.

use super::AFFINITY_WINDOW;

/// The best [`AFFINITY_WINDOW`], best first: the earlier part of the order, and within it the higher score.
#[derive(Debug)]
pub struct Ranking<K> {
    best: Vec<(Part, u64, K)>,
}

/// Where in a function's order a part of the workers stands: the smaller comes first. Its bits from the top say at each fork
/// whether the side was taken that the function prefers less, so that parts of trees of unequal depth compare.
pub(super) type Part = u64;

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self { best: Vec::with_capacity(AFFINITY_WINDOW + 1) }
    }
}

impl<K> Ranking<K> {
    /// Takes the key if it is among the best so far.
    pub(super) fn offer(&mut self, part: Part, score: u64, key: K) {
        let before = |(its_part, its_score, _): &(Part, u64, K)| (*its_part, !*its_score) <= (part, !score);
        let place = self.best.partition_point(before);
        if place < AFFINITY_WINDOW {
            self.best.insert(place, (part, score, key));
            self.best.truncate(AFFINITY_WINDOW);
        }
    }

    /// Whether nobody of this part or a later one can be among the best any more.
    pub(super) fn is_closed_to(&self, part: Part) -> bool {
        self.best.get(AFFINITY_WINDOW - 1).is_some_and(|(last, ..)| *last < part)
    }

    /// Whether nobody was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.best.is_empty()
    }

    /// The best, best first.
    #[must_use]
    pub fn into_keys(self) -> Vec<K> {
        self.best.into_iter().map(|(.., key)| key).collect()
    }
}
