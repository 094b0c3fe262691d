//! How many calls of an account are in flight.
//!
//! Lambda counts a request from when it is taken until it is answered, the start of its environment included; so do
//! we: waiting and reserved calls count.

use std::collections::HashMap;

use hearth_domain::AccountId;
use hearth_protocol::worker_manager::ReserveError;

/// Calls in flight per account; accounts without any have no entry.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    in_flight: HashMap<AccountId, u32>,
}

impl Accounts {
    /// Takes a call, or says that the account has as many as it may.
    pub(super) fn admit(&mut self, account: &AccountId, limit: u32) -> Result<(), ReserveError> {
        match self.in_flight.get_mut(account) {
            Some(count) if *count >= limit => Err(ReserveError::ConcurrencyLimit { account: account.clone(), limit }),
            Some(count) => {
                *count += 1;
                Ok(())
            }
            None => {
                self.in_flight.insert(account.clone(), 1);
                Ok(())
            }
        }
    }

    /// A call that was taken is over.
    pub(super) fn end(&mut self, account: &AccountId) {
        if let Some(count) = self.in_flight.get_mut(account) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(account);
            }
        }
    }

    /// Calls in flight of one account.
    pub(super) fn of(&self, account: &AccountId) -> u32 {
        self.in_flight.get(account).copied().unwrap_or(0)
    }

    /// Calls in flight of all accounts.
    pub(super) fn total(&self) -> usize {
        self.in_flight.values().map(|count| *count as usize).sum()
    }
}
