//! Documents in sled, held in memory whole; changes go to disk first.
//!
//! ```text
//! documents    kind '\0' path   → revision (8 bytes, big endian), then the value as the caller encoded it
//! ```
//!
//! Commits are made one at a time: each checks its expectations against memory, writes in one batch, and shows in
//! memory when it is on disk. Revisions are numbers this database never gave out before.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use sled::Tree;

use crate::StoreFailure;
use crate::document::{Change, CommitError, DocumentPath, Documents, Stored};
use crate::embedded::disk::{Disk, off_thread};
use crate::embedded::value::{ValueError, failure};

const TREE: &str = "documents";
const REVISION_BYTES: usize = 8;

pub(super) struct EmbeddedDocuments(Arc<Shared>);

struct Shared {
    disk: Arc<Disk>,
    tree: Tree,
    writing: Mutex<()>,
    /// By key, as on disk.
    held: RwLock<BTreeMap<Vec<u8>, Stored>>,
}

impl EmbeddedDocuments {
    pub(super) fn open(disk: &Arc<Disk>) -> Result<Self, StoreFailure> {
        let tree = disk.tree(TREE)?;
        let mut held = BTreeMap::new();
        for entry in &tree {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new("read documents", error))?;
            let (revision, value) = bytes
                .split_first_chunk::<REVISION_BYTES>()
                .ok_or_else(|| failure("read", TREE, &key, ValueError::CutShort))?;
            held.insert(key.to_vec(), Stored { revision: u64::from_be_bytes(*revision), bytes: value.into() });
        }
        let shared = Shared { disk: disk.clone(), tree, writing: Mutex::default(), held: RwLock::new(held) };
        Ok(Self(Arc::new(shared)))
    }
}

#[async_trait]
impl Documents for EmbeddedDocuments {
    async fn get(&self, path: &DocumentPath) -> Result<Option<Stored>, StoreFailure> {
        Ok(self.0.held(|held| held.get(&key(path.kind, &path.path)).cloned()))
    }

    async fn scan(
        &self,
        kind: &'static str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreFailure> {
        let (first, kind_key) = (key(kind, prefix), key(kind, ""));
        let from = match after.map(|after| key(kind, after)) {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first.clone()),
        };
        let found = self.0.held(|held| {
            let below = held.range((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(&first));
            let shown = |(key, stored): (&Vec<u8>, &Stored)| {
                (String::from_utf8_lossy(&key[kind_key.len()..]).into_owned(), stored.clone())
            };
            below.take(limit).map(shown).collect()
        });
        Ok(found)
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let shared = self.0.clone();
        let paths: Vec<String> =
            changes.iter().map(|change| format!("{}/{}", change.path.kind, change.path.path)).collect();
        let operation = format!("commit {}", paths.join(", "));
        off_thread(operation.clone(), move || shared.commit(&operation, changes)).await
    }
}

impl Shared {
    fn held<T>(&self, read: impl FnOnce(&BTreeMap<Vec<u8>, Stored>) -> T) -> T {
        read(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn commit(&self, operation: &str, changes: Vec<Change>) -> Result<(), CommitError> {
        // A commit that panicked showed nothing in memory, so the lock guards nothing that could be half done.
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut shown) = (sled::Batch::default(), Vec::with_capacity(changes.len()));
        for Change { path, value, expected } in changes {
            let key = key(path.kind, &path.path);
            let stored = self.held(|held| held.get(&key).map(|stored| stored.revision));
            if !expected.holds(stored) {
                return Err(CommitError::Unexpected { path, expected });
            }
            let Some(value) = value else {
                batch.remove(key.as_slice());
                shown.push((key, None));
                continue;
            };
            let revision = self.disk.next_id()?;
            batch.insert(key.as_slice(), [revision.to_be_bytes().as_slice(), &value].concat());
            shown.push((key, Some(Stored { revision, bytes: value.into() })));
        }
        self.tree.apply_batch(batch).map_err(|error| StoreFailure::new(operation, error))?;
        self.disk.commit(operation)?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for (key, stored) in shown {
            match stored {
                Some(stored) => held.insert(key, stored),
                None => held.remove(&key),
            };
        }
        Ok(())
    }
}

fn key(kind: &str, path: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", path.as_bytes()].concat()
}
