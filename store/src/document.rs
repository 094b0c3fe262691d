//! Documents: what stands beside functions and versions (aliases, policies, layers, users, …), each a small value
//! under a path.
//!
//! The engine below ([`Documents`]) knows bytes, paths and conditions, and no more, so that a new kind of document
//! needs no change of any engine. [`Collection`] is what code works with: one kind, typed.
//!
//! Paths are segments joined by `/`. By convention what belongs to a function lies below `account/function`, so that
//! one scan finds what must go with it.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreFailure;

/// An engine for documents.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// The document under this path. Cheap enough for every invocation.
    async fn get(&self, path: &DocumentPath) -> Result<Option<Stored>, StoreFailure>;

    /// Documents of `kind` whose path begins with `prefix`, in the order of their paths, from after `after`
    /// (exclusive), at most `limit`.
    async fn scan(
        &self,
        kind: &'static str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreFailure>;

    /// Makes all of these changes if every expectation holds, and none otherwise. Each path may occur once.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError>;
}

/// Every document of `kind` whose path begins with `prefix`, from after `after` (exclusive), in the order of their paths.
pub async fn all(
    documents: &dyn Documents,
    kind: &'static str,
    prefix: &str,
    after: Option<&str>,
) -> Result<Vec<(String, Stored)>, StoreFailure> {
    let mut all = documents.scan(kind, prefix, after, CHUNK).await?;
    let mut full = all.len() == CHUNK;
    while full {
        let page = documents.scan(kind, prefix, all.last().map(|(path, _)| path.as_str()), CHUNK).await?;
        full = page.len() == CHUNK;
        all.extend(page);
    }
    Ok(all)
}

/// Documents that an engine is asked for at a time.
const CHUNK: usize = 256;

/// Where a document lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentPath {
    /// Which kind, in lower case: `alias`.
    pub kind: &'static str,
    /// Segments joined by `/`: `000000000000/echo/prod`.
    pub path: String,
}

/// A stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Changes with every change of the document; never one that this path had before.
    pub revision: u64,
    /// The value.
    pub bytes: Arc<[u8]>,
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which document.
    pub path: DocumentPath,
    /// Its new value; `None` removes it.
    pub value: Option<Vec<u8>>,
    /// What must hold before.
    pub expected: Expected,
}

/// A condition of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// None.
    Anything,
    /// There is no such document.
    Absent,
    /// There is one.
    Present,
    /// It has this revision.
    Revision(u64),
}

impl Expected {
    /// Whether it holds for a document as it is stored.
    #[must_use]
    pub fn holds(self, stored: Option<u64>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => stored.is_none(),
            Self::Present => stored.is_some(),
            Self::Revision(revision) => stored == Some(revision),
        }
    }
}

/// A commit that changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// This document was not as expected.
    #[error("{}/{} is not as expected ({expected:?})", .path.kind, .path.path)]
    Unexpected {
        /// Which.
        path: DocumentPath,
        /// What was expected.
        expected: Expected,
    },
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// A kind of document.
pub trait Document: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in paths. Part of what is stored: it never changes.
    const KIND: &'static str;
}

/// A document as code reads it.
#[derive(Debug)]
pub struct Found<T> {
    /// For [`Expected::Revision`].
    pub revision: u64,
    /// The document.
    pub value: Arc<T>,
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, value: self.value.clone() }
    }
}

/// Decoded documents kept; a full cache starts over.
const DECODED_MAX: usize = 16_384;

/// Documents of one kind. Reading one that was read before and has not changed since decodes nothing.
pub struct Collection<T> {
    documents: Arc<dyn Documents>,
    decoded: Arc<DashMap<String, Found<T>>>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { documents: self.documents.clone(), decoded: self.decoded.clone() }
    }
}

impl<T: Document> Collection<T> {
    /// The collection in this engine.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents, decoded: Arc::default() }
    }

    /// The document under a path.
    pub async fn get(&self, path: &str) -> Result<Option<Found<T>>, StoreFailure> {
        let stored = self.documents.get(&Self::path(path)).await?;
        stored.map(|stored| self.found(path, &stored)).transpose()
    }

    /// Documents whose path begins with `prefix`, in the order of their paths, from after `after` (exclusive), at most
    /// `limit`.
    pub async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Found<T>)>, StoreFailure> {
        self.found_in(self.documents.scan(T::KIND, prefix, after, limit).await?)
    }

    /// Every document whose path begins with `prefix`, in the order of their paths, from after `after` (exclusive).
    pub async fn all(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, Found<T>)>, StoreFailure> {
        self.found_in(all(&*self.documents, T::KIND, prefix, after).await?)
    }

    /// Stores a document.
    pub async fn put(&self, path: &str, value: &T, expected: Expected) -> Result<(), CommitError> {
        self.documents.commit(vec![Self::putting(path, value, expected)?]).await
    }

    /// Removes a document.
    pub async fn remove(&self, path: &str, expected: Expected) -> Result<(), CommitError> {
        self.documents.commit(vec![Self::removing(path, expected)]).await
    }

    /// The change that stores a document, for a commit with others.
    pub fn putting(path: &str, value: &T, expected: Expected) -> Result<Change, StoreFailure> {
        let encoded = serde_json::to_vec(value);
        let value = encoded.map_err(|error| StoreFailure::new(format!("encode {}/{path}", T::KIND), error))?;
        Ok(Change { path: Self::path(path), value: Some(value), expected })
    }

    /// The change that removes a document, for a commit with others.
    #[must_use]
    pub fn removing(path: &str, expected: Expected) -> Change {
        Change { path: Self::path(path), value: None, expected }
    }

    fn path(path: &str) -> DocumentPath {
        DocumentPath { kind: T::KIND, path: path.to_owned() }
    }

    fn found_in(&self, stored: Vec<(String, Stored)>) -> Result<Vec<(String, Found<T>)>, StoreFailure> {
        let found = |(path, stored): (String, Stored)| {
            let found = self.found(&path, &stored)?;
            Ok((path, found))
        };
        stored.into_iter().map(found).collect()
    }

    fn found(&self, path: &str, stored: &Stored) -> Result<Found<T>, StoreFailure> {
        let revision = stored.revision;
        if let Some(kept) = self.decoded.get(path).filter(|kept| kept.revision == revision) {
            return Ok(kept.clone());
        }
        let decoded = serde_json::from_slice(&stored.bytes);
        let value = decoded.map_err(|error| StoreFailure::new(format!("read {}/{path}", T::KIND), error))?;
        let found = Found { revision, value: Arc::new(value) };
        if self.decoded.len() >= DECODED_MAX {
            self.decoded.clear();
        }
        self.decoded.insert(path.to_owned(), found.clone());
        Ok(found)
    }
}
