//! What an account's functions have set aside: the rules, in plain code.
//!
//! Texts are AWS's, as far as they are public (people's reports of PutFunctionConcurrency and
//! PutProvisionedConcurrencyConfig).

use std::collections::BTreeMap;

use hearth_domain::FunctionName;
use hearth_domain::limits::UNRESERVED_CONCURRENCY_MIN;
use hearth_protocol::worker_manager::ConcurrencyLimits;
use hearth_store::Document;
use serde::{Deserialize, Serialize};

/// What an account's functions have set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountConcurrency {
    /// Functions that have set something aside.
    functions: BTreeMap<FunctionName, FunctionConcurrency>,
    /// The sum over them.
    set_aside: u32,
}

/// What one function has set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionConcurrency {
    /// Reserved: its share, and its limit.
    pub reserved: Option<u32>,
    /// Provisioned, by version or alias.
    pub provisioned: BTreeMap<String, ProvisionedConfig>,
}

/// The provisioned concurrency of one version or alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedConfig {
    /// How many environments are to be kept ready.
    pub requested: u32,
    /// When that was said, Unix milliseconds.
    pub last_modified_unix_ms: u64,
}

/// Why something can't be set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConcurrencyError {
    /// Too little would be left for the others.
    #[error(
        "Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum value of \
         [{min}]."
    )]
    TooLittleLeft {
        /// `ReservedConcurrentExecutions` or `ConcurrentExecutions`.
        what: &'static str,
        /// What must be left.
        min: u32,
    },
    /// More is provisioned than would be reserved. The spaces are AWS's (LocalStack's recordings,
    /// test_reserved_provisioned_overlap).
    #[error(
        " ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned concurrency \
         [{provisioned}]."
    )]
    BelowProvisioned {
        /// What was to be reserved.
        reserved: u32,
        /// What is provisioned.
        provisioned: u32,
    },
    /// More would be provisioned than is reserved.
    #[error(
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )]
    AboveReserved,
    /// More would be provisioned than all others share.
    #[error("Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{left}].")]
    AboveUnreserved {
        /// What they share.
        left: u32,
    },
}

impl Document for AccountConcurrency {
    const KIND: &'static str = "concurrency";
}

/// What of an account's `limit` must stay for functions that set nothing aside; of a small account all of it.
#[must_use]
pub const fn unreserved_min(limit: u32) -> u32 {
    if limit < UNRESERVED_CONCURRENCY_MIN { limit } else { UNRESERVED_CONCURRENCY_MIN }
}

impl AccountConcurrency {
    /// What a function has set aside, if anything.
    #[must_use]
    pub fn function(&self, name: &FunctionName) -> Option<&FunctionConcurrency> {
        self.functions.get(name)
    }

    /// Functions that have set something aside.
    pub fn functions(&self) -> impl Iterator<Item = (&FunctionName, &FunctionConcurrency)> {
        self.functions.iter()
    }

    /// What is left of `limit` for functions that set nothing aside.
    #[must_use]
    pub fn unreserved(&self, limit: u32) -> u32 {
        limit.saturating_sub(self.set_aside)
    }

    /// What a call of a function may use, but for the account's own limit.
    #[must_use]
    pub fn limits(&self, name: &FunctionName) -> ConcurrencyLimits {
        let of = self.functions.get(name);
        ConcurrencyLimits {
            account: None,
            reserved: of.and_then(|of| of.reserved),
            provisioned: of.map_or(0, |of| if of.reserved.is_some() { 0 } else { of.all_provisioned() }),
            set_aside: self.set_aside,
        }
    }

    /// Reserves, or gives the reservation up; `limit` is the account's.
    pub fn reserve(&mut self, name: &FunctionName, reserved: Option<u32>, limit: u32) -> Result<(), ConcurrencyError> {
        let mut next = self.functions.get(name).cloned().unwrap_or_default();
        next.reserved = reserved;
        let provisioned = next.all_provisioned();
        if let Some(reserved) = reserved.filter(|reserved| *reserved < provisioned) {
            return Err(ConcurrencyError::BelowProvisioned { reserved, provisioned });
        }
        self.take(name, next, limit, "ReservedConcurrentExecutions")
    }

    /// Provisions for a version or alias.
    pub fn provision(
        &mut self,
        name: &FunctionName,
        qualifier: &str,
        config: ProvisionedConfig,
        limit: u32,
    ) -> Result<(), ConcurrencyError> {
        let mut next = self.functions.get(name).cloned().unwrap_or_default();
        next.provisioned.insert(qualifier.to_owned(), config);
        if next.reserved.is_some_and(|reserved| reserved < next.all_provisioned()) {
            return Err(ConcurrencyError::AboveReserved);
        }
        if config.requested > self.unreserved(limit) && next.reserved.is_none() {
            return Err(ConcurrencyError::AboveUnreserved { left: self.unreserved(limit) });
        }
        self.take(name, next, limit, "ConcurrentExecutions")
    }

    /// Provisions no more for a version or alias; tells whether it did.
    pub fn stop_provisioning(&mut self, name: &FunctionName, qualifier: &str) -> bool {
        let Some(of) = self.functions.get(name) else { return false };
        let mut next = of.clone();
        let found = next.provisioned.remove(qualifier).is_some();
        self.store(name, next);
        found
    }

    /// The function is gone.
    pub fn forget(&mut self, name: &FunctionName) {
        self.store(name, FunctionConcurrency::default());
    }

    /// Takes `next` if enough is left, or if it takes no more than before.
    fn take(
        &mut self,
        name: &FunctionName,
        next: FunctionConcurrency,
        limit: u32,
        what: &'static str,
    ) -> Result<(), ConcurrencyError> {
        let before = self.functions.get(name).map_or(0, FunctionConcurrency::set_aside);
        let (taken, min) = (self.set_aside - before, unreserved_min(limit));
        let left = i64::from(limit) - i64::from(taken) - i64::from(next.set_aside());
        if next.set_aside() > before && left < i64::from(min) {
            return Err(ConcurrencyError::TooLittleLeft { what, min });
        }
        self.store(name, next);
        Ok(())
    }

    fn store(&mut self, name: &FunctionName, next: FunctionConcurrency) {
        let before = self.functions.get(name).map_or(0, FunctionConcurrency::set_aside);
        self.set_aside = self.set_aside - before + next.set_aside();
        if next == FunctionConcurrency::default() {
            self.functions.remove(name);
        } else {
            self.functions.insert(name.clone(), next);
        }
    }
}

impl FunctionConcurrency {
    /// Environments to be kept ready over all versions and aliases.
    #[must_use]
    pub fn all_provisioned(&self) -> u32 {
        self.provisioned.values().fold(0, |sum, config| sum.saturating_add(config.requested))
    }

    /// What is not shared by others. What is provisioned is within what is reserved.
    fn set_aside(&self) -> u32 {
        self.reserved.unwrap_or_else(|| self.all_provisioned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u32 = 1_000;

    fn name(text: &str) -> FunctionName {
        text.parse().unwrap()
    }

    fn config(requested: u32) -> ProvisionedConfig {
        ProvisionedConfig { requested, last_modified_unix_ms: 0 }
    }

    #[test]
    fn a_hundred_stay_for_the_others() {
        let mut account = AccountConcurrency::default();
        account.reserve(&name("f"), Some(900), LIMIT).unwrap();
        let refused = account.reserve(&name("g"), Some(1), LIMIT).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
             below its minimum value of [100]."
        );
        account.reserve(&name("g"), Some(0), LIMIT).unwrap();
        account.reserve(&name("f"), Some(899), LIMIT).unwrap();
        account.reserve(&name("g"), Some(1), LIMIT).unwrap();
        assert_eq!(account.unreserved(LIMIT), 100);
        account.forget(&name("f"));
        assert_eq!(account.unreserved(LIMIT), 999);
    }

    #[test]
    fn a_small_account_can_only_stop_functions() {
        let mut account = AccountConcurrency::default();
        assert!(account.reserve(&name("f"), Some(1), 10).is_err());
        account.reserve(&name("f"), Some(0), 10).unwrap();
        assert_eq!(account.limits(&name("f")).reserved, Some(0));
    }

    #[test]
    fn what_is_provisioned_is_within_what_is_reserved() {
        let mut account = AccountConcurrency::default();
        account.reserve(&name("f"), Some(5), LIMIT).unwrap();
        account.provision(&name("f"), "1", config(3), LIMIT).unwrap();
        assert_eq!(account.provision(&name("f"), "live", config(3), LIMIT), Err(ConcurrencyError::AboveReserved));
        let below = ConcurrencyError::BelowProvisioned { reserved: 2, provisioned: 3 };
        assert_eq!(account.reserve(&name("f"), Some(2), LIMIT), Err(below));
        assert_eq!(account.unreserved(LIMIT), 995);
        account.reserve(&name("f"), None, LIMIT).unwrap();
        let limits = ConcurrencyLimits { provisioned: 3, set_aside: 3, ..ConcurrencyLimits::default() };
        assert_eq!(account.limits(&name("f")), limits);
        assert_eq!(
            account.provision(&name("f"), "2", config(998), LIMIT),
            Err(ConcurrencyError::AboveUnreserved { left: 997 })
        );
        assert!(account.stop_provisioning(&name("f"), "1") && !account.stop_provisioning(&name("f"), "1"));
        assert_eq!(account, AccountConcurrency::default());
    }

    proptest! {
        /// Whatever is asked for in whatever order, the sum is kept and enough is left.
        #[test]
        fn the_sum_is_kept_and_enough_is_left(
            asks in prop::collection::vec((0..4_u8, 0..3_usize, "[12]", 0..700_u32), 0..60)
        ) {
            let mut account = AccountConcurrency::default();
            for (ask, function, qualifier, number) in asks {
                let name = name(["f", "g", "h"][function]);
                let before = account.clone();
                let done = match ask {
                    0 => account.reserve(&name, Some(number), LIMIT),
                    1 => account.provision(&name, &qualifier, config(number + 1), LIMIT),
                    2 => account.reserve(&name, None, LIMIT),
                    _ => {
                        account.stop_provisioning(&name, &qualifier);
                        Ok(())
                    }
                };
                if done.is_err() {
                    prop_assert_eq!(&account, &before, "a refused change changed something");
                }
                let sum: u32 = account.functions.values().map(FunctionConcurrency::set_aside).sum();
                prop_assert_eq!(account.set_aside, sum);
                prop_assert!(account.unreserved(LIMIT) >= unreserved_min(LIMIT));
                for of in account.functions.values() {
                    prop_assert!(of.reserved.is_none_or(|reserved| reserved >= of.all_provisioned()));
                }
            }
        }
    }
}
