//! Which worker gets a new slot. Pure: it knows the workers as candidates, and nothing of slots or time.
//!
//! ```text
//! all workers ──kinds that can run it──▶ the function's order, parts without room left out ──▶ first few ──warmth──▶ one
//! ```
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) gives every function its own fixed order of the workers. The first whose
//! load allows it is taken, so a function stays on as few workers as its load needs, and a worker that comes or goes moves
//! only the functions it is first for. Among the first [`AFFINITY_WINDOW`] that have room, one that has the code unpacked
//! and a sandbox booted goes first: never a worker further down the order, so that affinity stays. Large fleets are
//! ordered in [`Districts`], so that a decision looks at a few hundred workers at most however many there are.

mod candidates;
mod districts;
mod load;
mod ranking;
pub(crate) mod rendezvous;

pub use candidates::{Candidates, Kind};
pub use districts::{DISTRICT_MAX, DISTRICT_MIN, Districts, Wanted};
pub use load::{Free, LoadLimits, Need, RESERVED_CPU_DEFAULT_PERCENT, RESERVED_CPU_PERCENT, Reserved, Standing};
pub use ranking::Ranking;
pub use rendezvous::{FunctionHash, WorkerHash};

/// How many of the first workers with room are compared by warmth. With one there would be no choice; with many the
/// function would wander over the fleet after free pools.
pub const AFFINITY_WINDOW: usize = 3;

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

#[cfg(test)]
mod tests;
