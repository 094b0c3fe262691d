//! Everything about placement that can be configured.

use std::time::Duration;

use hearth_domain::timing::CONNECT_TIMEOUT;

use crate::ledger::LedgerConfig;

/// Complete: every field has a default that suits one machine and many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Terms of leases, patience with workers, how full they may become.
    pub ledger: LedgerConfig,
    /// Most slots that one worker initializes at a time; more wait here.
    pub inits_per_worker: usize,
    /// Most short calls (fence, reclaim) under way to one worker.
    pub calls_per_worker: usize,
    /// Longest a short call may take.
    pub call_timeout: Duration,
    /// Added to the longest init a function is allowed, for the way there and back and the wait for the sandbox.
    pub init_margin: Duration,
    /// Most requests that wait for the ledger; callers of more wait in line.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ledger: LedgerConfig::default(),
            inits_per_worker: 32,
            calls_per_worker: 8,
            call_timeout: CONNECT_TIMEOUT,
            init_margin: Duration::from_secs(5),
            queue: 4_096,
        }
    }
}

/// A setting that can't work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// A bound that lets nothing through.
    #[error("{setting} must be above zero")]
    Zero {
        /// Which.
        setting: &'static str,
    },
    /// A worker has to be avoided before it is lost.
    #[error("a worker must be avoided ({avoided_after:?}) before it is lost ({lost_after:?})")]
    LostBeforeAvoided {
        /// When it is avoided.
        avoided_after: Duration,
        /// When it is lost.
        lost_after: Duration,
    },
}

impl Config {
    /// Every mistake, not just the first.
    pub fn check(&self) -> Result<(), Vec<InvalidConfig>> {
        let bounds = [
            ("inits per worker", self.inits_per_worker),
            ("calls per worker", self.calls_per_worker),
            ("queue", self.queue),
        ];
        let zero = |(setting, bound): (&'static str, usize)| (bound == 0).then_some(InvalidConfig::Zero { setting });
        let mut mistakes: Vec<_> = bounds.into_iter().filter_map(zero).collect();
        let LedgerConfig { avoided_after, lost_after, .. } = self.ledger;
        if avoided_after >= lost_after {
            mistakes.push(InvalidConfig::LostBeforeAvoided { avoided_after, lost_after });
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }
}
