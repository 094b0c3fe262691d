//! What the ledger can be told to do differently.

use std::time::Duration;

use hearth_domain::LeaseTerms;
use hearth_domain::timing::{LEASE_TERMS, WORKER_AVOIDED_AFTER, WORKER_LOST_AFTER};

use crate::allocation::LoadLimits;

/// Terms and bounds of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerConfig {
    /// The deadlines of every lease. A fleet that shortens them has to let the old, longer ones run out before placement
    /// starts again: a restarted ledger takes what it finds as leased on its own terms.
    pub terms: LeaseTerms,
    /// A worker silent for this long gets no new slots. Also how long one that could not be called gets none.
    pub avoided_after: Duration,
    /// A worker silent for this long is lost, and its slots with it.
    pub lost_after: Duration,
    /// A worker lost for this long is forgotten.
    pub forgotten_after: Duration,
    /// How long after the start claims wait for workers to report. Several report intervals.
    pub settle_after: Duration,
    /// Claims wait no longer once this many workers have reported; for fleets of known size, such as one.
    pub expected_workers: Option<usize>,
    /// How full a worker may become.
    pub load: LoadLimits,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
        Self {
            terms: LEASE_TERMS,
            avoided_after: WORKER_AVOIDED_AFTER,
            lost_after: WORKER_LOST_AFTER,
            forgotten_after: FORGOTTEN_AFTER,
            settle_after: WORKER_AVOIDED_AFTER,
            expected_workers: None,
            load: LoadLimits::default(),
        }
    }
}
