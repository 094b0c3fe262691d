//! What the router counts, from its start on.

/// Counters; each only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Calls that got an idle slot at once.
    pub warm: u64,
    /// Calls that got a slot after waiting.
    pub waited: u64,
    /// Calls refused by their account's concurrency.
    pub throttled: u64,
    /// Calls refused because too many waited.
    pub queue_full: u64,
    /// Calls that waited in vain.
    pub timed_out: u64,
    /// Calls whose caller gave up waiting.
    pub cancelled: u64,
    /// Calls whose answer was a failed init.
    pub init_failed: u64,
    /// Inits that failed, whether a call waited for them still or not.
    pub inits_failed: u64,
    /// Slots asked for.
    pub slots_claimed: u64,
    /// Slots granted.
    pub slots_granted: u64,
    /// Slots taken over from an earlier life.
    pub recovered: u64,
    /// Refusals for want of capacity.
    pub no_capacity: u64,
    /// Claims that ended before all their outcomes came.
    pub claims_cut: u64,
    /// Leases whose renewal was asked for.
    pub renewals: u64,
    /// Leases that ran out or were taken away.
    pub leases_lost: u64,
    /// Leases given back, whatever the reason.
    pub released: u64,
    /// Of these: idle longer than their window.
    pub aged_out: u64,
    /// Of these: idle while others waited for capacity.
    pub made_room: u64,
    /// Of these: not reserved when a call could not reach their worker.
    pub given_up: u64,
    /// Of these: reserved and never completed.
    pub abandoned: u64,
}
