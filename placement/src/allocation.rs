//! Which worker gets a new slot. Pure: a function of what is known about the fleet, nothing is remembered here.
//!
//! ```text
//! all workers ──eligible, not refused──▶ rendezvous order of the function ──bounded load──▶ first few ──warmth──▶ one
//! ```
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) gives every function its own fixed order of the workers. The first whose
//! load allows it is taken, so a function stays on as few workers as its load needs, and a worker that comes or goes moves
//! only the functions it is first for. Among the first [`AFFINITY_WINDOW`] that have room, one that has the code unpacked
//! and a sandbox booted goes first: never a worker further down the order, so that affinity stays.

mod load;
pub(crate) mod rendezvous;

pub use load::{LoadLimits, Need, Reserved, Room};
pub use rendezvous::{FunctionHash, WorkerHash};

use hearth_protocol::placement::{Capacity, Load};

/// How many of the first workers with room are compared by warmth. With one there would be no choice; with many the
/// function would wander over the fleet after free pools.
pub const AFFINITY_WINDOW: usize = 3;

/// A worker that may be asked: it offers the runtime, reports, does not drain, and did not refuse this claim before.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<K> {
    /// What the caller knows it by.
    pub key: K,
    /// Its place in every function's order.
    pub hash: WorkerHash,
    /// What it has.
    pub capacity: Capacity,
    /// What of it was measured as used.
    pub load: Load,
    /// What of it is promised to slots.
    pub reserved: Reserved,
}

/// The workers to compare by warmth, best affinity first: at most [`AFFINITY_WINDOW`], none if nobody has room. Workers whose
/// CPU is busy are taken only if no other has room: CPU is shared, so a busy one is slow but not wrong.
#[must_use]
pub fn shortlist<K>(
    function: FunctionHash,
    need: Need,
    limits: &LoadLimits,
    candidates: impl Iterator<Item = Candidate<K>>,
) -> Vec<K> {
    let (mut calm, mut busy) = (Ranking::default(), Ranking::default());
    for candidate in candidates {
        let score = function.score(candidate.hash);
        match limits.room(need, candidate.capacity, candidate.load, candidate.reserved) {
            Room::Calm => calm.offer(score, candidate.key),
            Room::Busy => busy.offer(score, candidate.key),
            Room::None => {}
        }
    }
    if calm.best.is_empty() { busy.into_keys() } else { calm.into_keys() }
}

/// The warmest of a shortlist; the earlier where two are alike.
#[must_use]
pub fn warmest<K: Copy>(shortlist: &[K], warmth: impl Fn(K) -> Warmth) -> Option<K> {
    let mut best: Option<(K, u8)> = None;
    for &key in shortlist {
        let warmth = warmth(key).score();
        if best.is_none_or(|(_, known)| warmth > known) {
            best = Some((key, warmth));
        }
    }
    best.map(|(key, _)| key)
}

/// What a worker has ready for a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Warmth {
    /// Its code is unpacked there.
    pub has_code: bool,
    /// A booted sandbox for its runtime waits in the pool.
    pub has_pooled: bool,
}

impl Warmth {
    fn score(self) -> u8 {
        u8::from(self.has_code) + u8::from(self.has_pooled)
    }
}

/// The best few by score, best first.
#[derive(Debug)]
struct Ranking<K> {
    best: Vec<(u64, K)>,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self { best: Vec::with_capacity(AFFINITY_WINDOW + 1) }
    }
}

impl<K> Ranking<K> {
    fn offer(&mut self, score: u64, key: K) {
        let place = self.best.partition_point(|(known, _)| *known >= score);
        if place < AFFINITY_WINDOW {
            self.best.insert(place, (score, key));
            self.best.truncate(AFFINITY_WINDOW);
        }
    }

    fn into_keys(self) -> Vec<K> {
        self.best.into_iter().map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests;
