//! The life of a slot, as a table.
//!
//! ```text
//! Booting ─booted→ Pooled ─assigned→ Initializing ─initialized→ Idle ─started→ Busy
//!                                        │                      │ ←completed─ │
//!                                        │ drain          drain │             │ drain
//!                                        ↓                      ↓             ↓
//!                                        └───────────────→ Draining ←─────────┘
//! any state but Gone ─ended→ Gone   (failed init, crash, out of memory, timeout, destroyed)
//! ```

use serde::{Deserialize, Serialize};

/// Where a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SlotState {
    /// The sandbox starts; its shim has not reported yet.
    Booting,
    /// Booted, no code in it; waits to be assigned.
    Pooled,
    /// Bound to one version of one function; its init code runs.
    Initializing,
    /// Initialized, waits for an invocation.
    Idle,
    /// Runs an invocation.
    Busy,
    /// Takes no new invocation; a running one may finish.
    Draining,
    /// Destroyed. Nothing comes after.
    Gone,
}

/// What can happen to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SlotEvent {
    /// The shim reported that it is up.
    Booted,
    /// The slot was bound to a function version.
    Assigned,
    /// Init succeeded.
    Initialized,
    /// An invocation started.
    Started,
    /// The invocation is over and the sandbox can take another.
    Completed,
    /// The slot was asked to end once nothing runs on it.
    Drain,
    /// The sandbox is gone: it crashed, ran out of memory or time, or was destroyed.
    Ended,
}

/// An event that can't happen in that state: a bug in whoever sent it, or a hostile guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slot event {event:?} is illegal in state {state:?}")]
pub struct IllegalEvent {
    /// The state it met.
    pub state: SlotState,
    /// The event.
    pub event: SlotEvent,
}

impl SlotState {
    /// Every state, in order of life.
    pub const ALL: [Self; 7] =
        [Self::Booting, Self::Pooled, Self::Initializing, Self::Idle, Self::Busy, Self::Draining, Self::Gone];

    /// The state after `event`.
    pub const fn on(self, event: SlotEvent) -> Result<Self, IllegalEvent> {
        use SlotEvent as E;
        use SlotState as S;
        match (self, event) {
            (S::Booting, E::Booted) => Ok(S::Pooled),
            (S::Pooled, E::Assigned) => Ok(S::Initializing),
            (S::Initializing, E::Initialized) => Ok(S::Idle),
            (S::Idle, E::Started) => Ok(S::Busy),
            (S::Busy, E::Completed) => Ok(S::Idle),
            (S::Initializing | S::Idle | S::Busy, E::Drain) => Ok(S::Draining),
            // The invocation that ran when the drain began is over; what remains is to destroy.
            (S::Draining, E::Completed | E::Initialized | E::Drain) => Ok(S::Draining),
            (S::Booting | S::Pooled | S::Initializing | S::Idle | S::Busy | S::Draining, E::Ended) => Ok(S::Gone),
            (state, event) => Err(IllegalEvent { state, event }),
        }
    }

    /// Whether the slot has seen a function's code, so that it can never go back to the pool.
    #[must_use]
    pub const fn has_seen_code(self) -> bool {
        !matches!(self, Self::Booting | Self::Pooled)
    }
}

impl SlotEvent {
    /// Every event.
    pub const ALL: [Self; 7] =
        [Self::Booted, Self::Assigned, Self::Initialized, Self::Started, Self::Completed, Self::Drain, Self::Ended];
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// The whole state × event matrix; a change of the table shows here as a change of this text.
    #[test]
    fn matrix() {
        let mut matrix = String::new();
        for state in SlotState::ALL {
            for event in SlotEvent::ALL {
                if let Ok(next) = state.on(event) {
                    writeln!(matrix, "{state:?} + {event:?} = {next:?}").unwrap();
                }
            }
        }
        let expected = "\
Booting + Booted = Pooled
Booting + Ended = Gone
Pooled + Assigned = Initializing
Pooled + Ended = Gone
Initializing + Initialized = Idle
Initializing + Drain = Draining
Initializing + Ended = Gone
Idle + Started = Busy
Idle + Drain = Draining
Idle + Ended = Gone
Busy + Completed = Idle
Busy + Drain = Draining
Busy + Ended = Gone
Draining + Initialized = Draining
Draining + Completed = Draining
Draining + Drain = Draining
Draining + Ended = Gone
";
        assert_eq!(matrix, expected);
    }

    /// No reuse: no path leads from a state that has seen code back to one that has not.
    #[test]
    fn code_is_never_forgotten() {
        for state in SlotState::ALL.into_iter().filter(|state| state.has_seen_code()) {
            for event in SlotEvent::ALL {
                if let Ok(next) = state.on(event) {
                    assert!(next.has_seen_code(), "{state:?} + {event:?}");
                }
            }
        }
    }
}
