//! What a frontend has stored, short enough to be compared after every request.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hearth_store::catalog::{FunctionState, UpdateStatus};
use hearth_store::document::{Change, CommitError, DocumentPath, Documents, Stored};
use hearth_store::{FunctionRecord, StoreFailure};

use crate::platform::{Platform, account};

/// More than any round makes.
const ALL: usize = 100_000;

/// Learns which kinds of documents are written, so that all of them are compared.
#[derive(Clone, Default)]
pub(super) struct Watched {
    kinds: Arc<Mutex<BTreeSet<&'static str>>>,
}

struct Wrapper {
    inner: Arc<dyn Documents>,
    kinds: Arc<Mutex<BTreeSet<&'static str>>>,
}

/// Everything that a request could have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    functions: Vec<FunctionRecord>,
    documents: Vec<(String, Stored)>,
}

impl Watched {
    pub(super) fn around(&self, inner: Arc<dyn Documents>) -> Arc<dyn Documents> {
        Arc::new(Wrapper { inner, kinds: self.kinds.clone() })
    }
}

impl State {
    pub(super) async fn now(platform: &Platform, watched: &Watched) -> Self {
        let functions = platform.deps.catalog.list(&account(), true, None, ALL).await.unwrap();
        let kinds: Vec<&'static str> = watched.kinds.lock().unwrap().iter().copied().collect();
        let mut documents = Vec::new();
        for kind in kinds {
            documents.extend(platform.deps.documents.scan(kind, "", None, ALL).await.unwrap());
        }
        Self { functions: functions.iter().map(|record| FunctionRecord::clone(record)).collect(), documents }
    }

    /// When nothing is pending any more: what was accepted may still be coming into effect. The store tells nobody of
    /// changes, so this looks again after each step of the scheduler.
    pub(super) async fn settled(platform: &Platform, watched: &Watched) -> Self {
        let settle = async {
            loop {
                let state = Self::now(platform, watched).await;
                if state.functions.iter().all(is_settled) {
                    return state;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), settle).await.expect("what was accepted comes into effect")
    }
}

fn is_settled(record: &FunctionRecord) -> bool {
    record.state != FunctionState::Pending && record.last_update != UpdateStatus::InProgress
}

#[async_trait]
impl Documents for Wrapper {
    async fn get(&self, path: &DocumentPath) -> Result<Option<Stored>, StoreFailure> {
        self.inner.get(path).await
    }

    async fn scan(
        &self,
        kind: &'static str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreFailure> {
        self.inner.scan(kind, prefix, after, limit).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        self.kinds.lock().unwrap().extend(changes.iter().map(|change| change.path.kind));
        self.inner.commit(changes).await
    }
}
