//! What a microVM says its function used. A guest's word about itself: good for its own report line, for telling why its
//! own runtime died, and for nothing else; so it is clamped rather than believed.

use hearth_domain::MemorySize;
use hearth_guest_protocol::Stats;

use super::failure::Violation;

/// Most messages of a call, an init, or the time between: the shim sends one before each thing it says.
const MESSAGES_MAX: u32 = 16;

/// What one sandbox told.
#[derive(Debug, Default)]
pub(crate) struct GuestUse {
    peak_bytes: Option<u64>,
    oom_kills: u64,
    oom_kills_before: u64,
    messages: u32,
}

impl GuestUse {
    /// A call or an init begins: what was killed before it is not its affair.
    pub(crate) fn begin(&mut self) {
        (self.messages, self.oom_kills_before) = (0, self.oom_kills);
    }

    /// Takes a message of a sandbox whose function may have `memory`.
    pub(crate) fn take(&mut self, stats: &Stats, memory: MemorySize) -> Result<(), Violation> {
        self.messages += 1;
        if self.messages > MESSAGES_MAX {
            return Err(Violation::Malformed { message: "Stats", fault: "too many of them" });
        }
        let peak = stats.memory_peak_bytes.max(stats.memory_bytes).min(memory.bytes());
        self.peak_bytes = Some(self.peak_bytes.unwrap_or(0).max(peak));
        // A count that goes back is none.
        self.oom_kills = self.oom_kills.max(stats.oom_kills);
        Ok(())
    }

    /// The most the function used, if the sandbox said so.
    pub(crate) const fn peak_bytes(&self) -> Option<u64> {
        self.peak_bytes
    }

    /// Whether its kernel killed something for memory since [`Self::begin`].
    pub(crate) const fn ran_out_of_memory(&self) -> bool {
        self.oom_kills > self.oom_kills_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn stats(memory_bytes: u64, memory_peak_bytes: u64, oom_kills: u64) -> Stats {
        Stats { memory_bytes, memory_peak_bytes, oom_kills }
    }

    #[test]
    fn hostile_numbers_harm_nobody() {
        let (mut used, memory) = (GuestUse::default(), MemorySize::new(128).unwrap());
        assert_eq!(used.peak_bytes(), None);
        used.take(&stats(30 * MB, 20 * MB, 0), memory).unwrap();
        assert_eq!((used.peak_bytes(), used.ran_out_of_memory()), (Some(30 * MB), false));
        used.take(&stats(0, u64::MAX, u64::MAX), memory).unwrap();
        assert_eq!((used.peak_bytes(), used.ran_out_of_memory()), (Some(128 * MB), true));
        used.begin();
        used.take(&stats(0, 0, 3), memory).unwrap();
        assert!(!used.ran_out_of_memory(), "a count that went back tells nothing");
    }

    #[test]
    fn what_was_killed_in_an_earlier_call_does_not_explain_this_one() {
        let (mut used, memory) = (GuestUse::default(), MemorySize::new(128).unwrap());
        used.take(&stats(MB, MB, 1), memory).unwrap();
        used.begin();
        used.take(&stats(MB, MB, 1), memory).unwrap();
        assert!(!used.ran_out_of_memory());
        used.take(&stats(MB, MB, 2), memory).unwrap();
        assert!(used.ran_out_of_memory());
    }

    #[test]
    fn a_flood_is_none_of_the_shims() {
        let (mut used, memory) = (GuestUse::default(), MemorySize::new(128).unwrap());
        for _ in 0..MESSAGES_MAX {
            used.take(&stats(0, 0, 0), memory).unwrap();
        }
        assert!(used.take(&stats(0, 0, 0), memory).is_err());
        used.begin();
        assert!(used.take(&stats(0, 0, 0), memory).is_ok());
    }
}
