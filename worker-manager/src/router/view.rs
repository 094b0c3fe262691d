//! What others may see of the router.

use hearth_domain::{AccountId, FunctionName, FunctionRef, Moment, SlotId};
use hearth_protocol::placement::LeaseView;
use hearth_protocol::worker_manager::HeldSlot;

use super::function::Function;
use super::slot::{Slot, SlotPlace};
use super::{Router, Stats};

/// What one revision of a function has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FunctionCounts {
    /// Slots that can take a call.
    pub idle: usize,
    /// Reserved slots.
    pub busy: usize,
    /// Slots that wait for a renewal before they can be used.
    pub refreshing: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Slots asked for, whose outcome is not known yet.
    pub claiming: usize,
    /// Of the slots: those that are kept ready.
    pub pinned: usize,
    /// Slots asked for to be kept ready, whose outcome is not known yet.
    pub pinning: usize,
}

impl Router {
    /// Every slot held, by id.
    #[must_use]
    pub fn held_slots(&self, now: Moment) -> Vec<HeldSlot> {
        let mut held: Vec<_> = self.slots.iter().map(|(id, slot)| self.held_slot(now, *id, slot)).collect();
        held.sort_unstable_by_key(|slot| slot.lease.slot);
        held
    }

    /// What a function revision has; all zero if it is unknown.
    #[must_use]
    pub fn counts(&self, function: &FunctionRef) -> FunctionCounts {
        let Some(index) = self.by_ref.get(function) else { return FunctionCounts::default() };
        counts_of(&self.functions[*index])
    }

    /// The sum of [`Self::counts`] over all functions.
    #[must_use]
    pub fn totals(&self) -> FunctionCounts {
        self.functions.iter().map(|(_, function)| counts_of(function)).fold(FunctionCounts::default(), |sum, one| {
            FunctionCounts {
                idle: sum.idle + one.idle,
                busy: sum.busy + one.busy,
                refreshing: sum.refreshing + one.refreshing,
                waiting: sum.waiting + one.waiting,
                claiming: sum.claiming + one.claiming,
                pinned: sum.pinned + one.pinned,
                pinning: sum.pinning + one.pinning,
            }
        })
    }

    /// Calls that wait for a slot.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Calls that wait or run.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.accounts.total()
    }

    /// Calls of an account that wait or run: its concurrency.
    #[must_use]
    pub fn concurrency(&self, account: &AccountId) -> u32 {
        self.accounts.of(account).all()
    }

    /// Calls of a function that wait or run, all its versions together.
    #[must_use]
    pub fn function_concurrency(&self, account: &AccountId, name: &FunctionName) -> u32 {
        self.accounts.of_function(account, name).all()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn held_slot(&self, now: Moment, id: SlotId, slot: &Slot) -> HeldSlot {
        let lost = slot.busy().is_some_and(|busy| busy.lost);
        let usable_for = if lost { std::time::Duration::ZERO } else { slot.lease.usable_for(now) };
        HeldSlot {
            lease: LeaseView { slot: id, token: slot.lease.token(), usable_for },
            worker: slot.worker.id.clone(),
            function: self.functions[slot.function].id.clone(),
            busy: slot.busy().is_some(),
            idle_for: match slot.place {
                SlotPlace::Idle(since) => now.since(since),
                SlotPlace::Refreshing | SlotPlace::Busy(_) => std::time::Duration::ZERO,
            },
        }
    }
}

fn counts_of(function: &Function) -> FunctionCounts {
    FunctionCounts {
        idle: function.idle.len() + function.pinned.idle.len(),
        busy: function.busy as usize,
        refreshing: function.refreshing.len(),
        waiting: function.waiters.len(),
        claiming: function.claiming as usize,
        pinned: function.pinned.held as usize,
        pinning: function.pinned.claiming as usize,
    }
}
