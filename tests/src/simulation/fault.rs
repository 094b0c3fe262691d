//! Bugs planted on purpose, to see that the simulation would find them. Each bends what passes between a node and its core; the
//! cores have no part in it.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A holder goes on using a slot after "stop using": it takes its leases for ten times as long as they are.
    HolderIgnoresItsDeadline,
    /// The granter renews a lease after "gone", when the slot was reclaimed already.
    RenewedAfterGone,
    /// A restarted granter does not wait until leases from before are gone: it reclaims what it does not know.
    RestartForgetsLeases,
    /// A recovered slot keeps its token.
    TokenReused,
    /// A worker does not look at tokens.
    TokenIgnored,
    /// A worker starts a second invocation on a busy slot.
    TwoAtATime,
    /// A holder's clock is slower than the terms of leases allow for.
    ClockRunsAway,
    /// A worker puts a slot that has ended back for another function.
    SandboxReused,
    /// A granted slot is never ended: releases and expired leases are not acted on.
    NothingReclaimed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::HolderIgnoresItsDeadline,
        Self::RenewedAfterGone,
        Self::RestartForgetsLeases,
        Self::TokenReused,
        Self::TokenIgnored,
        Self::TwoAtATime,
        Self::ClockRunsAway,
        Self::SandboxReused,
        Self::NothingReclaimed,
    ];
}
