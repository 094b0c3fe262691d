//! Finds workers by their URLs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::WorkerClient;
use crate::directory::NoSuchWorker;
use crate::{Worker, WorkerDirectory, WorkerEndpoint};

/// Most workers that connections are kept to. One more, and all are forgotten: connecting again costs little, and a
/// fleet of this size is above what one placement serves.
pub const DIRECTORY_MAX_WORKERS: usize = 16_384;

/// A client for each worker URL, made when it is first asked for and kept.
#[derive(Debug, Default)]
pub struct GrpcDirectory {
    clients: Mutex<HashMap<Arc<str>, Arc<WorkerClient>>>,
}

impl GrpcDirectory {
    /// A directory without connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl WorkerDirectory for GrpcDirectory {
    fn worker(&self, endpoint: &WorkerEndpoint) -> Arc<dyn Worker> {
        // Nothing under the lock can panic half way, so a poisoned map is whole.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&endpoint.url) {
            return client.clone();
        }
        let client = match WorkerClient::new(&endpoint.url) {
            Ok(client) => Arc::new(client),
            Err(invalid) => return Arc::new(NoSuchWorker::new(endpoint, invalid.to_string())),
        };
        if clients.len() >= DIRECTORY_MAX_WORKERS {
            clients.clear();
        }
        clients.insert(endpoint.url.clone(), client.clone());
        client
    }
}
