//! Changes of one function follow each other.

use std::hash::{BuildHasher, RandomState};

use hearth_domain::{AccountId, FunctionName};
use tokio::sync::{Mutex, MutexGuard};

/// How many functions may change at the same time without any chance of waiting for each other.
const STRIPES: usize = 64;

/// Makes changes of one function follow each other, so that reading, deciding and writing are one step. The catalog's
/// own check of revisions covers other frontends.
pub(crate) struct ChangeLocks {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for ChangeLocks {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }
}

impl ChangeLocks {
    /// Waits for the changes of this function that came before.
    pub(crate) async fn lock(&self, account: &AccountId, name: &FunctionName) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one((account, name)) as usize % STRIPES;
        self.stripes[stripe].lock().await
    }
}
