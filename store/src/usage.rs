//! Usage per account and function.

use async_trait::async_trait;
use hearth_domain::{AccountId, FunctionName};
use serde::{Deserialize, Serialize};

use crate::StoreFailure;

/// Counters that survive restarts. The frontend counts in memory and adds what came together once a second and at shutdown.
#[async_trait]
pub trait UsageStore: Send + Sync + 'static {
    /// Adds to the counters, all in one transaction.
    async fn add(&self, additions: Vec<((AccountId, FunctionName), Usage)>) -> Result<(), StoreFailure>;

    /// Counters of an account's functions, by name; deleted functions included.
    async fn read(&self, account: &AccountId) -> Result<Vec<(FunctionName, Usage)>, StoreFailure>;
}

/// What a function used since it was first created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Invocations that reached an environment or failed in making one.
    pub invocations: u64,
    /// Of these, how many ended in a function error.
    pub errors: u64,
    /// Calls refused with 429.
    pub throttles: u64,
    /// Cold starts among the invocations.
    pub cold_starts: u64,
    /// Billed time, milliseconds.
    pub billed_ms: u64,
    /// Memory × billed time, MB-milliseconds: 1,024,000 are one GB-second.
    pub mb_ms: u64,
}

impl Usage {
    /// GB-seconds.
    #[must_use]
    pub fn gb_seconds(&self) -> f64 {
        self.mb_ms as f64 / 1_024_000.0
    }

    /// Adds `other` to this.
    pub fn add(&mut self, other: &Self) {
        self.invocations += other.invocations;
        self.errors += other.errors;
        self.throttles += other.throttles;
        self.cold_starts += other.cold_starts;
        self.billed_ms += other.billed_ms;
        self.mb_ms += other.mb_ms;
    }
}
