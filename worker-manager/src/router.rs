//! Which slot runs an invocation: the decision core of the worker manager.
//!
//! ```text
//!              on_reserve                    on_complete
//!  call ──▶ admission ──▶ idle slot? ──yes──▶ busy ──▶ head waiter? ──▶ busy
//!                            │ no                          │ no
//!                            ▼                             ▼
//!                      FIFO of waiters ◀──grant─── claim  idle (MRU) ──window──▶ released
//! ```
//!
//! A warm call takes the slot used last and gives it back; nothing else happens. A call that finds no idle slot joins
//! its function's queue, and at the end of the turn the function claims as many slots as it has waiters without one
//! under way. Whatever comes first, a slot that got free or a granted one, serves the head of the queue; what
//! then comes too much turns idle.
//!
//! What always holds ([`Router::check_invariants`] and the tests):
//! - A slot is never reserved twice, and never handed out without a usable lease.
//! - When a call could not reach a worker, none of its slots is handed out for which the worker did not answer since.
//! - Claims under way for waiters plus slots being refreshed never exceed the waiters they were asked for; so K
//!   concurrent calls of a cold function create at most K slots.
//! - Waiters of a function are served in the order they came; while one waits, no usable slot of its function is idle.
//! - Every waiter is answered exactly once, or cancelled.
//! - A function that reserved concurrency never has more calls in flight than that, over all its versions.
//! - What is to be kept ready is there, asked for, or waits for its next try.
//! - Waiters, histories and calls in flight are bounded; slots and claims are bounded by calls.
//!
//! Plain and synchronous: no clock, no randomness, no async. Answers to waiters leave through the [`Outbox`] at once;
//! everything for placement leaves, batched, from [`Router::on_tick`], which is due at [`Router::next_deadline`].

mod admission;
mod claims;
mod complete;
mod config;
mod function;
mod hand_out;
mod invariants;
mod outbox;
mod pressure;
mod provision;
mod renewals;
mod reserve;
mod retire;
mod slot;
mod start_stop;
mod stats;
mod tick;
mod unreachable;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hearth_domain::{AccountId, FencingToken, FunctionName, FunctionRef, Moment, RequestId, SlotId, WorkerId};
use slab::Slab;

use crate::alarms::Alarms;
use crate::keep_alive::Archive;

use admission::Accounts;
use claims::ClaimState;
use function::{Function, FunctionIndex, Place};
use reserve::Waiter;
use slot::Slot;

pub use config::{InvalidRouterConfig, RouterConfig};
pub use outbox::{Claim, ClaimNumber, Outbox, Reserved, WaiterId};
pub use stats::Stats;
pub use view::FunctionCounts;

/// The state of one worker manager. See the module's documentation.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    functions: Slab<Function>,
    by_ref: HashMap<FunctionRef, FunctionIndex>,
    by_name: BTreeMap<(AccountId, FunctionName), Vec<FunctionIndex>>,
    slots: HashMap<SlotId, Slot>,
    by_worker: HashMap<WorkerId, BTreeSet<SlotId>>,
    calls: HashMap<RequestId, Call>,
    waiters: HashMap<WaiterId, Waiter>,
    claims: BTreeMap<ClaimNumber, ClaimState>,
    accounts: Accounts,
    archive: Archive,
    alarms: Alarms<Alarm>,
    last_waiter: WaiterId,
    last_place: Place,
    last_claim: ClaimNumber,
    /// Functions whose waiters, claims or slots changed in a way that may ask for claims or for forgetting them.
    unsettled: BTreeSet<FunctionIndex>,
    /// Functions of which slots are to be kept ready.
    pinning: BTreeSet<FunctionIndex>,
    /// Functions that were told there is no capacity, and wait for room of ours to be made.
    starving: BTreeSet<FunctionIndex>,
    /// Memory placement asked back, MB.
    give_back_mb: u64,
    /// Leases to give back at the end of the turn.
    releasing: Vec<(SlotId, FencingToken)>,
    /// Something waits for the end of the turn since then.
    turn_due: Option<Moment>,
    stage: Stage,
    stats: Stats,
}

/// What a request id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Waits(WaiterId),
    Runs(SlotId),
}

/// Whose alarm rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// A lease or a reservation.
    Slot(SlotId),
    /// A wait.
    Waiter(WaiterId),
    /// An idle window, or the end of a back-off.
    Function(FunctionIndex),
    /// The longest time a claim may take.
    Claim(ClaimNumber),
}

/// Where the manager is in its own life.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    /// Until placement said what an earlier life held, nothing is claimed: recovering fences every idle slot of the
    /// holder, so it would also fence what was claimed meanwhile.
    recovered: bool,
    /// Why recovering failed last.
    recovery_failure: Option<String>,
    /// Takes no new calls.
    draining: bool,
}

impl Router {
    /// A manager that holds nothing and has not heard from placement: call [`Self::on_recovered`] next.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        Self {
            archive: Archive::new(config.keep_alive.max_histories),
            functions: Slab::new(),
            by_ref: HashMap::new(),
            by_name: BTreeMap::new(),
            slots: HashMap::new(),
            by_worker: HashMap::new(),
            calls: HashMap::new(),
            waiters: HashMap::new(),
            claims: BTreeMap::new(),
            accounts: Accounts::default(),
            alarms: Alarms::new(),
            last_waiter: WaiterId(0),
            last_place: Place(0),
            last_claim: ClaimNumber(0),
            unsettled: BTreeSet::new(),
            pinning: BTreeSet::new(),
            starving: BTreeSet::new(),
            give_back_mb: 0,
            releasing: Vec::new(),
            turn_due: None,
            stage: Stage { recovered: false, recovery_failure: None, draining: false },
            stats: Stats::default(),
            config,
        }
    }

    /// When [`Self::on_tick`] is to be called at the latest; in the past if the turn has something to send.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match (self.turn_due, self.alarms.first()) {
            (Some(turn), Some(alarm)) => Some(turn.min(alarm)),
            (turn, alarm) => turn.or(alarm),
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Something is to be done at the end of this turn.
    fn end_turn(&mut self, now: Moment) {
        self.turn_due.get_or_insert(now);
    }

    /// The function may need claims, or may be of no more use.
    fn unsettle(&mut self, now: Moment, index: FunctionIndex) {
        self.unsettled.insert(index);
        self.end_turn(now);
    }
}
