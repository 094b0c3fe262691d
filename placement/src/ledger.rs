//! The ledger: every worker, slot, grant and lease, and what to do about them. Pure: it is told the time and what
//! happened, and says what to do through an [`Outbox`].
//!
//! ```text
//!             init done                    holder renews
//! Initializing ───────→ Leased ⟲ ────────────────┘
//!  │   │                │    │  ╲ recover            idle: new token
//!  │   │ refused,       │    │   Fencing ──────────────────→ Leased
//!  │   │ init failed    │    │      │ busy
//!  │   ↓                │    │      ↓
//!  │  (gone)            │    └───→ Ending ──a report lacks it──→ (gone)
//!  └─worker unreachable─┼─────────→   ↑ released, or lease gone
//!                       └─worker lost or restarted, a report lacks it──→ (gone)
//! ```
//!
//! What always holds:
//!
//! - **A slot has one grant at a time and is never given to another holder.** It is reclaimed only when its holder released
//!   it, or when the lease is gone, counted from the last answer that carried it.
//! - **Tokens grow.** Every token is above all that this ledger gave out or heard of from a worker. Tokens start at a floor that the
//!   shell takes from the calendar, so that they also grow over restarts; lease safety does not rest on that, but on the reports.
//! - **After a restart** the ledger is empty. A slot that a worker reports and the ledger does not know is taken as leased, from now
//!   for a full term, to the holder the worker names: the ledger before this one answered for the last time before this one
//!   began, so its lease is gone by then. Claims wait until every worker had several occasions to report (or the expected
//!   number of workers did): safety does not need that, as no slot is ever granted twice, but affinity and load do.
//! - **Workers are believed about what exists.** A slot that was in one report and is not in the next is gone. A worker with a new
//!   incarnation has lost all earlier slots. A worker that falls silent is avoided, later lost with all its slots; should it come
//!   back, its slots are taken as after a restart.
//! - **Nothing grows without bound**: see [`limits`].

mod agenda;
mod claim;
mod config;
mod demand;
mod fleet;
mod initialization;
mod invariants;
mod lease;
pub mod limits;
mod outbox;
mod recovery;
mod report;
mod slot;
mod token;

use std::collections::{BTreeMap, HashMap};

use hearth_domain::{ClaimId, HolderId, Moment, SlotId, WorkerId};

pub use claim::{ClaimError, ClaimTicket};
pub use config::LedgerConfig;
pub use lease::Settling;
pub use outbox::Outbox;
pub use recovery::{RecoverError, RecoverTicket};
pub use report::ReportError;

use crate::allocation::Candidates;
use agenda::Agenda;
use claim::Claim;
use demand::Demand;
use fleet::KnownWorker;
use recovery::Recovery;
use slot::Slot;
use token::{SlotIds, Tokens};

/// Every worker, slot, grant and lease. See the module's head.
#[derive(Debug)]
pub struct Ledger {
    config: LedgerConfig,
    settled: bool,
    tokens: Tokens,
    ids: SlotIds,
    workers: HashMap<WorkerId, KnownWorker>,
    /// The workers that are not lost.
    candidates: Candidates<WorkerId>,
    slots: HashMap<SlotId, Slot>,
    claims: HashMap<ClaimId, Claim>,
    recoveries: BTreeMap<HolderId, Recovery>,
    demand: Demand,
    agenda: Agenda<Deadline>,
    /// When finished claims are forgotten.
    forgetting: Agenda<ClaimId>,
}

/// What a new ledger starts from.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Now.
    pub now: Moment,
    /// Slot ids are drawn from this; take it from the operating system's randomness, so that no two ledgers draw the same.
    pub seed: u64,
    /// No token is below this. Take it from the calendar: [`Start::token_floor`].
    pub token_floor: u64,
}

/// What is due at a moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Deadline {
    /// The time after the start is over in which claims wait.
    Settle,
    /// A lease is gone.
    Lease(SlotId),
    /// A worker is avoided, is so no more, is lost, or lost for so long that it is forgotten.
    Worker(WorkerId),
}

impl Start {
    /// The floor for a start at this Unix time: 2^20 tokens a millisecond are more than any fleet uses.
    #[must_use]
    pub const fn token_floor(unix_ms: u64) -> u64 {
        const TOKENS_PER_MS_BITS: u32 = 20;
        const CALENDAR_MAX_MS: u64 = limits::TOKEN_MAX >> (TOKENS_PER_MS_BITS + 1);
        let ms = if unix_ms > CALENDAR_MAX_MS { CALENDAR_MAX_MS } else { unix_ms };
        ms << TOKENS_PER_MS_BITS
    }
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(config: LedgerConfig, start: Start) -> Self {
        let mut agenda = Agenda::default();
        agenda.set(Deadline::Settle, start.now + config.settle_after);
        Self {
            config,
            settled: false,
            tokens: Tokens::from(start.token_floor),
            ids: SlotIds::from(start.seed),
            workers: HashMap::new(),
            candidates: Candidates::default(),
            slots: HashMap::new(),
            claims: HashMap::new(),
            recoveries: BTreeMap::new(),
            demand: Demand::default(),
            agenda,
            forgetting: Agenda::default(),
        }
    }

    /// When [`Self::on_deadline`] is to be called next; nothing may be due yet then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        [self.agenda.next(), self.forgetting.next()].into_iter().flatten().min()
    }

    /// Does what is due at `now`.
    pub fn on_deadline(&mut self, now: Moment, out: &mut impl Outbox) {
        while let Some(deadline) = self.agenda.take_due(now) {
            match deadline {
                Deadline::Settle => self.settle(now, out),
                Deadline::Lease(slot) => self.lease_gone(slot, out),
                Deadline::Worker(worker) => self.worker_waited(now, &worker, out),
            }
        }
        while let Some(claim) = self.forgetting.take_due(now) {
            self.claims.remove(&claim);
        }
    }

    /// Whether claims are being served: false for a while after the start.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.settled
    }

    fn settle(&mut self, now: Moment, out: &mut impl Outbox) {
        self.settled = true;
        self.agenda.clear(&Deadline::Settle);
        let mut waiting: Vec<ClaimId> = self.claims.keys().cloned().collect();
        waiting.sort_unstable();
        for claim in waiting {
            self.place_waiting(now, &claim, out);
        }
    }
}

#[cfg(test)]
mod tests;
