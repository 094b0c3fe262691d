//! How many calls are in flight, and whether one more may be.
//!
//! Lambda counts a request from when it is taken until it is answered, the start of its environment included; so do
//! we: waiting and reserved calls count.
//!
//! An account's concurrency is shared out. What a function has reserved is its own, and its limit, over all its
//! versions; so is, without the limit, what it has provisioned. Whatever nobody set aside is shared by all other calls.
//! The caller says with each call how that is now; a call is counted where it was admitted until it ends.

use std::collections::HashMap;

use hearth_domain::{AccountId, FunctionName, FunctionRef};
use hearth_protocol::worker_manager::{ConcurrencyLimits, ReserveError};

/// Of what a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// Of what its function has set aside.
    Own,
    /// Of what all share.
    Shared,
}

/// Calls in flight; accounts and functions without any have no entry.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    accounts: HashMap<AccountId, InFlight>,
    functions: HashMap<(AccountId, FunctionName), InFlight>,
    /// Largest limit under which a call was admitted.
    largest_limit: u32,
}

/// Calls by what they take of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) own: u32,
    pub(super) shared: u32,
}

impl InFlight {
    /// All of them.
    pub(super) fn all(self) -> u32 {
        self.own + self.shared
    }

    fn of(&mut self, pool: Pool) -> &mut u32 {
        match pool {
            Pool::Own => &mut self.own,
            Pool::Shared => &mut self.shared,
        }
    }
}

impl Accounts {
    /// Takes a call, or says which limit is reached; `limit` is the account's.
    pub(super) fn admit(
        &mut self,
        function: &FunctionRef,
        limits: ConcurrencyLimits,
        limit: u32,
    ) -> Result<Pool, ReserveError> {
        let account = self.of(&function.account);
        let key = (function.account.clone(), function.name.clone());
        let own = self.functions.get(&key).copied().unwrap_or_default();
        let pool = match limits.reserved {
            Some(reserved) if own.all() >= reserved => {
                return Err(ReserveError::ReservedLimit { name: function.name.clone(), limit: reserved });
            }
            Some(_) => Pool::Own,
            None if own.own < limits.provisioned => Pool::Own,
            None => Pool::Shared,
        };
        let shared_out = pool == Pool::Shared && account.shared.saturating_add(limits.set_aside) >= limit;
        if shared_out || account.all() >= limit {
            return Err(ReserveError::ConcurrencyLimit { account: function.account.clone(), limit });
        }
        self.largest_limit = self.largest_limit.max(limit);
        *self.accounts.entry(function.account.clone()).or_default().of(pool) += 1;
        *self.functions.entry(key).or_default().of(pool) += 1;
        Ok(pool)
    }

    /// A call that was taken is over.
    pub(super) fn end(&mut self, function: &FunctionRef, pool: Pool) {
        end(&mut self.accounts, &function.account, pool);
        end(&mut self.functions, &(function.account.clone(), function.name.clone()), pool);
    }

    /// Calls in flight of one account.
    pub(super) fn of(&self, account: &AccountId) -> InFlight {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    /// What no account's calls in flight exceed.
    pub(super) fn largest_limit(&self) -> u32 {
        self.largest_limit
    }

    /// Calls in flight of one function, all its versions together.
    pub(super) fn of_function(&self, account: &AccountId, name: &FunctionName) -> InFlight {
        self.functions.get(&(account.clone(), name.clone())).copied().unwrap_or_default()
    }

    /// Calls in flight of all accounts.
    pub(super) fn total(&self) -> usize {
        self.accounts.values().map(|calls| calls.all() as usize).sum()
    }

    /// How many accounts and functions have calls in flight.
    pub(super) fn entries(&self) -> (usize, usize) {
        (self.accounts.len(), self.functions.len())
    }
}

fn end<K: std::hash::Hash + Eq>(calls: &mut HashMap<K, InFlight>, key: &K, pool: Pool) {
    if let Some(count) = calls.get_mut(key) {
        *count.of(pool) -= 1;
        if count.all() == 0 {
            calls.remove(key);
        }
    }
}
