//! Finds workers of the same process, and stands in for workers that can't be found.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use hearth_domain::{FencingToken, SlotId, WorkerId};

use crate::worker::{
    FenceRequest, Fenced, InitDone, InitSlot, InitSlotError, InvokeError, InvokeRequest, InvokeResponse, LogDeletion,
    LogList, LogListQuery, LogPage, LogQuery,
};
use crate::{Unreachable, Worker, WorkerDirectory, WorkerEndpoint};

/// Workers of this process, by id. Placement needs the directory before the worker exists, and the worker needs
/// placement; so workers are put in later.
#[derive(Default)]
pub struct LocalDirectory {
    workers: RwLock<HashMap<WorkerId, Arc<dyn Worker>>>,
}

impl LocalDirectory {
    /// A directory without workers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a worker known; one of the same id is replaced.
    pub fn put(&self, id: WorkerId, worker: Arc<dyn Worker>) {
        self.workers.write().unwrap_or_else(PoisonError::into_inner).insert(id, worker);
    }

    /// Forgets a worker, and with it what it holds.
    pub fn remove(&self, id: &WorkerId) {
        self.workers.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl WorkerDirectory for LocalDirectory {
    fn worker(&self, endpoint: &WorkerEndpoint) -> Arc<dyn Worker> {
        let workers = self.workers.read().unwrap_or_else(PoisonError::into_inner);
        match workers.get(&endpoint.id) {
            Some(worker) => worker.clone(),
            None => Arc::new(NoSuchWorker::new(endpoint, "it is not in this process".into())),
        }
    }
}

/// Answers for a worker that nobody can reach.
#[derive(Debug)]
pub(crate) struct NoSuchWorker(Unreachable);

impl NoSuchWorker {
    pub(crate) fn new(endpoint: &WorkerEndpoint, reason: String) -> Self {
        Self(Unreachable { role: format!("worker {endpoint:?}"), reason, not_sent: true })
    }
}

#[async_trait]
impl Worker for NoSuchWorker {
    async fn init_slot(&self, _: InitSlot) -> Result<InitDone, InitSlotError> {
        Err(self.0.clone().into())
    }

    async fn invoke(&self, _: InvokeRequest) -> Result<InvokeResponse, InvokeError> {
        Err(self.0.clone().into())
    }

    async fn fence(&self, _: FenceRequest) -> Result<Fenced, Unreachable> {
        Err(self.0.clone())
    }

    async fn reclaim(&self, _: Vec<(SlotId, FencingToken)>) -> Result<(), Unreachable> {
        Err(self.0.clone())
    }

    async fn read_log(&self, _: LogQuery) -> Result<LogPage, Unreachable> {
        Err(self.0.clone())
    }

    async fn list_logs(&self, _: LogListQuery) -> Result<LogList, Unreachable> {
        Err(self.0.clone())
    }

    async fn delete_log(&self, _: LogDeletion) -> Result<(), Unreachable> {
        Err(self.0.clone())
    }
}
