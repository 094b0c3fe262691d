//! The router's settings: every bound it has, by name.

use std::time::Duration;

use hearth_domain::limits::ACCOUNT_CONCURRENCY_DEFAULT;
use hearth_domain::timing::{ENVIRONMENT_LIFE_MAX, INIT_TIMEOUT};

use crate::keep_alive::KeepAliveConfig;

/// Bounds and times of a [`super::Router`].
#[derive(Debug, Clone, PartialEq)]
pub struct RouterConfig {
    /// Most calls of one account in flight, waiting ones included, what Lambda counts as concurrency, where a call does
    /// not say it itself ([`ConcurrencyLimits::account`](hearth_protocol::worker_manager::ConcurrencyLimits)).
    pub account_concurrency: u32,
    /// Most calls that wait for a slot, over all accounts.
    pub max_waiters: usize,
    /// Most slots asked for in one claim.
    pub max_claim_count: u32,
    /// Most leases in one renewal.
    pub max_renew_count: usize,
    /// A renewal that is due goes out together with those that are due within this time.
    pub renew_together: Duration,
    /// After this time without an answer a renewal is sent again.
    pub renew_retry: Duration,
    /// A new grant with less than this left of its lease is renewed before its slot is used.
    pub first_use_margin: Duration,
    /// First back-off after a claim that brought no slot.
    pub claim_retry_min: Duration,
    /// Longest back-off; each failure in a row doubles it up to here.
    pub claim_retry_max: Duration,
    /// First pause after the init of a slot that is to be kept ready failed.
    pub pinning_retry_min: Duration,
    /// Longest such pause; each failure in a row doubles it up to here.
    pub pinning_retry_max: Duration,
    /// A claim is given up after two inits, the function's timeout and this.
    pub claim_margin: Duration,
    /// A reservation that nobody completes ends after the function's timeout and this; its slot is released.
    pub reservation_margin: Duration,
    /// A slot held for this long takes no call more.
    pub environment_life: Duration,
    /// How idle windows are chosen.
    pub keep_alive: KeepAliveConfig,
}

/// Settings that don't make sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("worker manager: {reason}")]
pub struct InvalidRouterConfig {
    /// Which, and why.
    pub reason: String,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            account_concurrency: ACCOUNT_CONCURRENCY_DEFAULT,
            max_waiters: 10_000,
            max_claim_count: 100,
            max_renew_count: 1_000,
            renew_together: Duration::from_millis(500),
            renew_retry: Duration::from_secs(1),
            first_use_margin: Duration::from_secs(1),
            claim_retry_min: Duration::from_millis(50),
            claim_retry_max: Duration::from_secs(2),
            pinning_retry_min: Duration::from_secs(1),
            pinning_retry_max: Duration::from_secs(300),
            claim_margin: Duration::from_secs(30),
            reservation_margin: Duration::from_secs(10),
            environment_life: ENVIRONMENT_LIFE_MAX,
            keep_alive: KeepAliveConfig::default(),
        }
    }
}

impl RouterConfig {
    /// Whether the settings make sense together.
    pub fn check(&self) -> Result<(), InvalidRouterConfig> {
        let invalid = |reason: &str| Err(InvalidRouterConfig { reason: reason.to_owned() });
        if self.account_concurrency == 0 || self.max_waiters == 0 {
            return invalid("account concurrency and waiters must be at least 1");
        }
        if self.max_claim_count == 0 || self.max_renew_count == 0 {
            return invalid("a claim and a renewal must be for at least 1 slot");
        }
        if self.renew_retry.is_zero() || self.claim_retry_min.is_zero() || self.pinning_retry_min.is_zero() {
            return invalid("retries must not follow at once");
        }
        if self.claim_retry_min > self.claim_retry_max {
            return invalid("the first back-off of a claim must not be above the longest");
        }
        self.keep_alive.check().map_err(|reason| InvalidRouterConfig { reason })
    }

    /// Longest time a claim may take: an init that runs into its time limit is tried once more, then limited by the
    /// function's timeout.
    pub(super) fn claim_bound(&self, timeout: Duration) -> Duration {
        2 * INIT_TIMEOUT + timeout + self.claim_margin
    }

    /// Back-off after the `failures`th failure in a row.
    pub(super) fn claim_backoff(&self, failures: u32) -> Duration {
        doubled(self.claim_retry_min, failures).min(self.claim_retry_max)
    }

    /// Pause after the `failures`th failed init in a row of what is to be kept ready.
    pub(super) fn pinning_backoff(&self, failures: u32) -> Duration {
        doubled(self.pinning_retry_min, failures).min(self.pinning_retry_max)
    }
}

fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let config = RouterConfig::default();
        let steps: Vec<_> = (1..=8).map(|failures| config.claim_backoff(failures).as_millis()).collect();
        assert_eq!(steps, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(config.claim_backoff(u32::MAX), config.claim_retry_max);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert_eq!(RouterConfig::default().check(), Ok(()));
        assert!(RouterConfig { account_concurrency: 0, ..RouterConfig::default() }.check().is_err());
        assert!(RouterConfig { renew_retry: Duration::ZERO, ..RouterConfig::default() }.check().is_err());
        let keep_alive = KeepAliveConfig { min: Duration::from_secs(4_000), ..KeepAliveConfig::default() };
        assert!(RouterConfig { keep_alive, ..RouterConfig::default() }.check().is_err());
    }
}
