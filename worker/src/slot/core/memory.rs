//! Memory: what the sandbox used, by the host's count or its own, and whether the slot can be spared when it is short.

use hearth_domain::{FencingToken, Moment};
use hearth_guest_protocol::Stats;

use super::{Outbox, Phase, SlotCore};
use crate::slot::failure::Violation;

impl SlotCore {
    /// Since when it is idle, if it is.
    pub(crate) const fn idle_since(&self) -> Option<Moment> {
        match self.phase {
            Phase::Idle { since, .. } => Some(since),
            _ => None,
        }
    }

    /// The host needs memory: ends the slot if it is idle still and nobody took it meanwhile. Returns whether it ended.
    pub(crate) fn on_memory_short(&mut self, token: FencingToken, out: &mut impl Outbox) -> bool {
        let ends = token == self.token && self.idle_since().is_some();
        if ends {
            self.drain(out);
        }
        ends
    }

    /// The most memory the function used: the sandbox's own word where it has the only one, within what it may have.
    pub(super) fn memory_peak_bytes(&self, out: &mut impl Outbox) -> u64 {
        let on_host = || if self.bounds.guest_counts { self.function.memory.bytes() } else { u64::MAX };
        self.guest_use.peak_bytes().unwrap_or_else(|| out.memory_peak_bytes().min(on_host()))
    }

    /// Whether a limit on memory made a kernel, the host's or the sandbox's own, kill something in it.
    pub(super) fn ran_out_of_memory(&self, out: &mut impl Outbox) -> bool {
        self.guest_use.ran_out_of_memory() || out.ran_out_of_memory()
    }

    pub(super) fn on_stats(&mut self, stats: &Stats) -> Result<(), Violation> {
        match self.phase {
            Phase::Initializing { .. } | Phase::Resting { .. } | Phase::Idle { .. } | Phase::Running(_)
                if self.bounds.guest_counts =>
            {
                self.guest_use.take(stats, self.function.memory)
            }
            _ => Err(self.unexpected("Stats")),
        }
    }
}
