//! What functions have set aside of their account's concurrency: reserved, provisioned.
//!
//! One document an account. So all a call needs to know is one read of what is decoded already, and a change is held
//! against everything else that is set aside in one commit.
//!
//! Invariants ([`AccountConcurrency`]): a function's provisioned concurrency is within what it has reserved; what is
//! left for functions that set nothing aside is at least [`unreserved_min`].

mod account;

use std::sync::Arc;

use hearth_domain::{AccountId, FunctionName};
use hearth_protocol::worker_manager::ConcurrencyLimits;
use hearth_store::document::{CommitError, Expected};
use hearth_store::{Collection, Documents, StoreFailure};

pub use account::{AccountConcurrency, ConcurrencyError, FunctionConcurrency, ProvisionedConfig, unreserved_min};

/// Tries to change an account's document while other frontends change it.
const TRIES_MAX: u32 = 16;

/// The documents of all accounts, and how much each account has.
#[derive(Clone)]
pub struct Concurrency {
    accounts: Collection<AccountConcurrency>,
    account_limit: u32,
}

impl Concurrency {
    /// In this store; `account_limit` is every account's concurrency.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, account_limit: u32) -> Self {
        Self { accounts: Collection::new(documents), account_limit }
    }

    /// What one account's functions have set aside.
    pub async fn of(&self, account: &AccountId) -> Result<Arc<AccountConcurrency>, StoreFailure> {
        let found = self.accounts.get(account.as_str()).await?;
        Ok(found.map(|found| found.value).unwrap_or_default())
    }

    /// What a call of a function may use.
    pub async fn limits(&self, account: &AccountId, name: &FunctionName) -> Result<ConcurrencyLimits, StoreFailure> {
        let found = self.accounts.get(account.as_str()).await?;
        let limits = found.map(|found| found.value.limits(name)).unwrap_or_default();
        Ok(ConcurrencyLimits { account: Some(self.account_limit), ..limits })
    }

    /// Makes a change, if it may be made.
    pub async fn change<T>(
        &self,
        account: &AccountId,
        change: impl Fn(&mut AccountConcurrency) -> Result<T, ConcurrencyError>,
    ) -> Result<T, ChangeError> {
        let path = account.as_str();
        let mut tries = 1;
        loop {
            let found = self.accounts.get(path).await?;
            let mut next = found.as_ref().map(|found| (*found.value).clone()).unwrap_or_default();
            let result = change(&mut next)?;
            if found.as_ref().is_some_and(|found| *found.value == next) {
                return Ok(result);
            }
            let expected = found.map_or(Expected::Absent, |found| Expected::Revision(found.revision));
            match self.accounts.put(path, &next, expected).await {
                Ok(()) => return Ok(result),
                Err(CommitError::Unexpected { .. }) if tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Every account that has set something aside.
    pub async fn all(&self) -> Result<Vec<(AccountId, Arc<AccountConcurrency>)>, StoreFailure> {
        let all = self.accounts.all("", None).await?;
        Ok(all.into_iter().filter_map(|(path, found)| Some((path.parse().ok()?, found.value))).collect())
    }
}

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It must not be.
    #[error(transparent)]
    Refused(#[from] ConcurrencyError),
    /// Others changed it at the same time.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<StoreFailure> for ChangeError {
    fn from(failure: StoreFailure) -> Self {
        Self::Commit(CommitError::Store(failure))
    }
}
