//! Randomness that is the same for the same seed, on every machine.

/// The splitmix64 generator.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn from(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` up to, not including, `high`; `low` if that is empty.
    pub(super) fn within(&mut self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { low + self.draw() % (high - low) }
    }

    /// True in so many cases of a thousand.
    pub(super) fn permille(&mut self, chance: u64) -> bool {
        self.within(0, 1_000) < chance
    }

    /// A generator of its own, for a part whose draws must not depend on the others'.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.draw())
    }
}
