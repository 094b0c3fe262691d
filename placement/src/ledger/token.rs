//! Where tokens and slot ids come from.

use hearth_domain::{FencingToken, SlotId};

use crate::allocation::rendezvous::mix;

/// Draws fencing tokens, each above all before and above all heard of.
#[derive(Debug)]
pub(super) struct Tokens {
    next: u64,
}

impl Tokens {
    /// Draws from `floor` up; zero is never drawn.
    pub(super) fn from(floor: u64) -> Self {
        Self { next: floor.max(1) }
    }

    /// The next token.
    pub(super) fn draw(&mut self) -> FencingToken {
        let token = FencingToken(self.next);
        self.next += 1;
        token
    }

    /// A token that exists: the next one drawn is above it.
    pub(super) fn heard_of(&mut self, token: FencingToken) {
        self.next = self.next.max(token.0 + 1);
    }

    /// Whether `token` was drawn or heard of, as far as its size tells.
    pub(super) fn covers(&self, token: FencingToken) -> bool {
        token.0 < self.next
    }
}

/// Draws slot ids: the splitmix64 sequence, which visits every number once before it repeats.
#[derive(Debug)]
pub(super) struct SlotIds {
    state: u64,
}

impl SlotIds {
    /// The sequence that starts at `seed`.
    pub(super) fn from(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next id.
    pub(super) fn draw(&mut self) -> SlotId {
        const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        self.state = self.state.wrapping_add(GOLDEN_RATIO);
        SlotId(mix(self.state))
    }
}
