//! What happens between a change's acknowledgement and its effect: `Pending` → `Active`, `InProgress` → `Successful`.
//!
//! A new function waits here until a worker offers its runtime; a changed one until the slots of its old revision are
//! told to end. Both are durable: what a crash leaves pending is taken up again at the next start.
//!
//! Invariant: a transition is written only if the revision is still the one it is about, so a function that was
//! changed or deleted meanwhile is left alone. Transitions give a new `RevisionId`, as at AWS, and leave the revision
//! that slots are bound to: warm slots stay good.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hearth_daemon::{OnFailure, Tasks};
use hearth_domain::{AccountId, FunctionName, RevisionId};
use hearth_protocol::WorkerManager;
use hearth_protocol::worker_manager::RetireRequest;
use hearth_store::catalog::{Catalog, CatalogError, FunctionState, UpdateStatus};
use hearth_store::{FunctionRecord, StoreFailure};
use tokio::sync::Mutex;
use tracing::warn;

use crate::api::changes::new_revision;
use crate::api::runtimes::{Offer, not_offered, offer};
use crate::change_locks::ChangeLocks;

/// Pause before the fleet is asked again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Tries to tell the worker manager that a revision is over. Slots of an old revision are never chosen again, so one
/// that was not told only keeps their memory until they age out.
const RETIRE_TRIES_MAX: u32 = 5;
/// Records read at a time.
const CHUNK: usize = 256;

/// Carries changes into effect, each in a task of its own.
#[derive(Clone)]
pub(crate) struct Activator {
    catalog: Arc<dyn Catalog>,
    manager: Arc<dyn WorkerManager>,
    changes: Arc<ChangeLocks>,
    tasks: Tasks,
    /// Held by the one that asks the fleet: however many functions wait, it is asked once at a time.
    asking: Arc<Mutex<()>>,
}

impl Activator {
    pub(crate) fn new(
        catalog: Arc<dyn Catalog>,
        manager: Arc<dyn WorkerManager>,
        changes: Arc<ChangeLocks>,
        tasks: Tasks,
    ) -> Self {
        Self { catalog, manager, changes, tasks, asking: Arc::default() }
    }

    /// Brings everything of a function that is pending or in progress into effect.
    pub(crate) fn activate(&self, account: AccountId, name: FunctionName) {
        let this = self.clone();
        let stop = self.tasks.stop_token();
        self.tasks.spawn("activation", OnFailure::Log, async move {
            stop.run_until_cancelled(this.activate_until_done(&account, &name)).await;
            Ok::<(), Infallible>(())
        });
    }

    /// Takes up what an earlier process left.
    pub(crate) async fn resume(&self) -> Result<(), StoreFailure> {
        let mut accounts: Vec<AccountId> =
            self.catalog.access_keys().await?.iter().map(|key| key.account.clone()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            let mut after = None;
            loop {
                let page = self.catalog.list(&account, true, after, CHUNK).await?;
                for record in page.iter().filter(|record| unfinished(record)) {
                    self.activate(account.clone(), record.function.name.clone());
                }
                match page.last() {
                    Some(last) if page.len() == CHUNK => {
                        after = Some((last.function.name.clone(), last.function.version));
                    }
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Ends the slots of what was deleted.
    pub(crate) fn retire(&self, request: RetireRequest) {
        let this = self.clone();
        self.tasks.spawn("retire", OnFailure::Log, async move {
            this.tell_retired(request).await;
            Ok::<(), StoreFailure>(())
        });
    }

    /// A store that fails now may work later, and nobody else brings the function out of its state.
    async fn activate_until_done(&self, account: &AccountId, name: &FunctionName) {
        while let Err(failure) = self.activate_all(account, name).await {
            warn!(%account, %name, %failure, "a change was not brought into effect; it is tried again");
            tokio::time::sleep(PAUSE_MAX).await;
        }
    }

    async fn activate_all(&self, account: &AccountId, name: &FunctionName) -> Result<(), CatalogError> {
        let mut after = None;
        loop {
            let page = self.catalog.list_versions(account, name, after, CHUNK).await?;
            for record in page.iter().filter(|record| unfinished(record)) {
                self.finish(record).await?;
            }
            match page.last() {
                Some(last) if page.len() == CHUNK => after = Some(last.function.version),
                _ => return Ok(()),
            }
        }
    }

    async fn finish(&self, record: &FunctionRecord) -> Result<(), CatalogError> {
        let function = &record.function;
        let (account, name, version) = (&function.account, &function.name, function.version);
        let mut state = None;
        if record.state == FunctionState::Pending {
            state = Some(self.wait_for_runtime(record).await);
        }
        if record.last_update == UpdateStatus::InProgress {
            self.retire_others(record).await;
        }
        let _change = self.changes.lock(account, name).await;
        // What changed meanwhile and left the revision (tags, say) stays as it is now.
        let Some(current) = self.catalog.get(account, name, version).await? else { return Ok(()) };
        if current.function.revision != function.revision {
            return Ok(());
        }
        let mut finished = (*current).clone();
        finished.state = state.unwrap_or(finished.state);
        finished.last_update = UpdateStatus::Successful;
        finished.revision_id = Some(new_revision());
        match self.catalog.replace(finished, &function.revision).await {
            // Changed or deleted meanwhile: whoever did it has started an activation of its own.
            Ok(()) | Err(CatalogError::NotFound { .. } | CatalogError::RevisionMismatch { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn wait_for_runtime(&self, record: &FunctionRecord) -> FunctionState {
        let _one_asks = self.asking.lock().await;
        let mut pause = PAUSE_MIN;
        loop {
            match offer(&*self.manager, record.runtime).await {
                Offer::Offered => return FunctionState::Active,
                Offer::NotOffered(offered) => {
                    return FunctionState::Failed { reason: not_offered(record.runtime, &offered) };
                }
                Offer::Unknown => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn retire_others(&self, record: &FunctionRecord) {
        let function = &record.function;
        let keep: Option<RevisionId> = Some(function.revision.clone());
        let (account, name, version) = (function.account.clone(), function.name.clone(), function.version);
        self.tell_retired(RetireRequest { account, name, version: Some(version), keep }).await;
    }

    async fn tell_retired(&self, request: RetireRequest) {
        let mut pause = PAUSE_MIN;
        for _ in 0..RETIRE_TRIES_MAX {
            match self.manager.retire(request.clone()).await {
                Ok(()) => return,
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        warn!(name = %request.name, version = ?request.version, "the worker manager was not told of a retired revision");
    }
}

fn unfinished(record: &FunctionRecord) -> bool {
    record.state == FunctionState::Pending || record.last_update == UpdateStatus::InProgress
}
