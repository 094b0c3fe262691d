//! The embedded engines: catalog, documents, events and usage in one sled database.
//!
//! Every change runs on a blocking thread, from its check to the update of what is kept in memory, and answers when it
//! has been written and synced; a caller that stops waiting leaves nothing half done. Values carry a format byte
//! ([`value`]) and large payloads lie beside the database as files ([`payloads`]), because sled is made for small values.
//!
//! Reads that every invocation needs (function, access key) never touch the disk: the catalog is held in memory whole.

mod catalog;
mod channels;
mod disk;
mod documents;
mod events;
mod payloads;
mod queue;
mod usage;
mod value;

use std::path::Path;
use std::sync::Arc;

pub use queue::QueueLimits;

use crate::embedded::catalog::EmbeddedCatalog;
use crate::embedded::disk::Disk;
use crate::embedded::documents::EmbeddedDocuments;
use crate::embedded::events::EmbeddedEvents;
use crate::embedded::usage::EmbeddedUsage;
use crate::{Catalog, Documents, EventQueue, MessageStore, StoreFailure, UsageStore};

/// Catalog, documents, events and usage of one machine. One process at a time can have a directory open.
pub struct Database {
    catalog: Arc<EmbeddedCatalog>,
    documents: Arc<EmbeddedDocuments>,
    events: Arc<EmbeddedEvents>,
    usage: Arc<EmbeddedUsage>,
}

impl Database {
    /// Opens the database in `dir`, making it if it is not there (mode 0700: it holds secrets), and reads the catalog
    /// and the due times of all events. Fails if another process has it open or if a stored value can't be read; the
    /// failure names the value's key.
    pub async fn open(dir: &Path) -> Result<Self, StoreFailure> {
        Self::open_with(dir, QueueLimits::default()).await
    }

    /// As [`Self::open`], with other limits for the queue of events.
    pub async fn open_with(dir: &Path, limits: QueueLimits) -> Result<Self, StoreFailure> {
        let dir = dir.to_owned();
        disk::off_thread(format!("open {}", dir.display()), move || {
            let disk = Arc::new(Disk::open(&dir)?);
            Ok(Self {
                catalog: Arc::new(EmbeddedCatalog::open(&disk)?),
                documents: Arc::new(EmbeddedDocuments::open(&disk)?),
                events: Arc::new(EmbeddedEvents::open(&disk, &dir, limits)?),
                usage: Arc::new(EmbeddedUsage::open(&disk)?),
            })
        })
        .await
    }

    /// Functions, versions, credentials.
    #[must_use]
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        self.catalog.clone()
    }

    /// What stands beside functions: aliases, policies, users, ….
    #[must_use]
    pub fn documents(&self) -> Arc<dyn Documents> {
        self.documents.clone()
    }

    /// Asynchronous invocations.
    #[must_use]
    pub fn events(&self) -> Arc<dyn EventQueue> {
        self.events.clone()
    }

    /// Messages in the stand-ins of queues, topics and buses.
    #[must_use]
    pub fn messages(&self) -> Arc<dyn MessageStore> {
        self.events.clone()
    }

    /// Usage counters.
    #[must_use]
    pub fn usage(&self) -> Arc<dyn UsageStore> {
        self.usage.clone()
    }
}
