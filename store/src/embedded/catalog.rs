//! The catalog in sled, held in memory whole ([`Functions`]); changes go to disk first.
//!
//! ```text
//! functions    account '/' name '\0' version (8 bytes, big endian; 0 is $LATEST)  → FunctionRecord
//! published    account '/' name                                                   → the last version number given out
//! access_keys  id                                                                 → AccessKey
//! ```
//!
//! `published` outlives its function, so that a number is never given out twice. Changes are made one at a time, under
//! `writing`; each checks against memory, writes in one transaction, and shows in memory when it is on disk.

mod functions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use hearth_domain::{AccountId, BundleDigest, FunctionName, FunctionRef, RevisionId, Version};
use sled::transaction::ConflictableTransactionError;
use sled::{Transactional, Tree};

use crate::StoreFailure;
use crate::catalog::{AccessKey, Catalog, CatalogError, FunctionRecord};
use crate::embedded::catalog::functions::Functions;
use crate::embedded::disk::{Disk, off_thread, transacted};
use crate::embedded::value::{ValueError, decode, encode, failure};

const FUNCTIONS: &str = "functions";
const PUBLISHED: &str = "published";
const ACCESS_KEYS: &str = "access_keys";

pub(super) struct EmbeddedCatalog(Arc<Shared>);

struct Shared {
    disk: Arc<Disk>,
    functions: Tree,
    published: Tree,
    access_keys: Tree,
    writing: Mutex<()>,
    held: RwLock<Held>,
}

/// What is in memory: all of it.
#[derive(Default)]
struct Held {
    functions: Functions,
    access_keys: BTreeMap<String, Arc<AccessKey>>,
}

impl EmbeddedCatalog {
    pub(super) fn open(disk: &Arc<Disk>) -> Result<Self, StoreFailure> {
        let shared = Shared {
            disk: disk.clone(),
            functions: disk.tree(FUNCTIONS)?,
            published: disk.tree(PUBLISHED)?,
            access_keys: disk.tree(ACCESS_KEYS)?,
            writing: Mutex::default(),
            held: RwLock::default(),
        };
        let mut held = Held::default();
        for entry in &shared.functions {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new("read functions", error))?;
            let record: FunctionRecord = decode(FUNCTIONS, &key, &bytes)?;
            if key != version_key(&record.function) {
                return Err(failure("read", FUNCTIONS, &key, ValueError::Misplaced));
            }
            held.functions.insert(Arc::new(record));
        }
        for entry in &shared.access_keys {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new("read access keys", error))?;
            let access_key: AccessKey = decode(ACCESS_KEYS, &key, &bytes)?;
            held.access_keys.insert(access_key.id.clone(), Arc::new(access_key));
        }
        *shared.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(Self(Arc::new(shared)))
    }

    /// Runs a change: one at a time, off the async threads, and to its end even if nobody waits for it any more.
    async fn change<T: Send + 'static, E: From<StoreFailure> + Send + 'static>(
        &self,
        operation: String,
        change: impl FnOnce(&Shared, &str) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let shared = self.0.clone();
        off_thread(operation.clone(), move || {
            // A change that panicked showed nothing in memory, so the lock guards nothing that could be half done.
            let _one_at_a_time = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
            change(&shared, &operation)
        })
        .await
    }

    fn held<T>(&self, read: impl FnOnce(&Held) -> T) -> T {
        self.0.held(read)
    }
}

#[async_trait]
impl Catalog for EmbeddedCatalog {
    async fn create(&self, record: FunctionRecord) -> Result<(), CatalogError> {
        self.change(format!("create {}", record.function), move |shared, operation| {
            let FunctionRef { account, name, version, .. } = &record.function;
            if shared.held(|held| held.functions.get(account, name, *version).is_some()) {
                return Err(CatalogError::Exists(name.clone()));
            }
            shared.store(operation, record)?;
            Ok(())
        })
        .await
    }

    async fn get(
        &self,
        account: &AccountId,
        name: &FunctionName,
        version: Version,
    ) -> Result<Option<Arc<FunctionRecord>>, StoreFailure> {
        Ok(self.held(|held| held.functions.get(account, name, version).cloned()))
    }

    async fn replace(&self, record: FunctionRecord, expected: &RevisionId) -> Result<(), CatalogError> {
        let expected = expected.clone();
        self.change(format!("replace {}", record.function), move |shared, operation| {
            let FunctionRef { account, name, version, .. } = &record.function;
            let current = shared.current(account, name, *version)?;
            let found = current.function.revision.clone();
            if found != expected {
                return Err(CatalogError::RevisionMismatch { name: name.clone(), expected, found });
            }
            shared.store(operation, record)?;
            Ok(())
        })
        .await
    }

    async fn publish(&self, record: FunctionRecord) -> Result<Arc<FunctionRecord>, CatalogError> {
        self.change(format!("publish {}", record.function), move |shared, operation| {
            let FunctionRef { account, name, .. } = &record.function;
            shared.current(account, name, Version::Latest)?;
            Ok(shared.publish(operation, record)?)
        })
        .await
    }

    async fn delete(
        &self,
        account: &AccountId,
        name: &FunctionName,
        version: Option<Version>,
    ) -> Result<(), CatalogError> {
        let (account, name) = (account.clone(), name.clone());
        self.change(format!("delete {account}:{name}"), move |shared, operation| {
            let doomed = shared.held(|held| held.functions.versions(&account, &name, version));
            if doomed.is_empty() {
                return Err(CatalogError::NotFound { name, version: version.unwrap_or(Version::Latest) });
            }
            shared.remove(operation, &doomed)?;
            Ok(())
        })
        .await
    }

    async fn list(
        &self,
        account: &AccountId,
        all_versions: bool,
        after: Option<(FunctionName, Version)>,
        limit: usize,
    ) -> Result<Vec<Arc<FunctionRecord>>, StoreFailure> {
        Ok(self.held(|held| held.functions.list(account, all_versions, after.as_ref(), limit)))
    }

    async fn list_versions(
        &self,
        account: &AccountId,
        name: &FunctionName,
        after: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Arc<FunctionRecord>>, StoreFailure> {
        Ok(self.held(|held| held.functions.list_versions(account, name, after, limit)))
    }

    async fn referenced_bundles(&self) -> Result<Vec<BundleDigest>, StoreFailure> {
        Ok(self.held(|held| held.functions.bundles()))
    }

    async fn put_access_key(&self, key: AccessKey) -> Result<(), StoreFailure> {
        self.change(format!("put access key {}", key.id), move |shared, operation| {
            let bytes = encode(ACCESS_KEYS, key.id.as_bytes(), &key)?;
            let inserted = shared.access_keys.insert(key.id.as_bytes(), bytes);
            inserted.map_err(|error| StoreFailure::new(operation, error))?;
            shared.disk.commit(operation)?;
            shared.show(|held| held.access_keys.insert(key.id.clone(), Arc::new(key)));
            Ok(())
        })
        .await
    }

    async fn remove_access_key(&self, id: &str) -> Result<(), StoreFailure> {
        let id = id.to_owned();
        self.change(format!("remove access key {id}"), move |shared, operation| {
            shared.access_keys.remove(id.as_bytes()).map_err(|error| StoreFailure::new(operation, error))?;
            shared.disk.commit(operation)?;
            shared.show(|held| held.access_keys.remove(&id));
            Ok(())
        })
        .await
    }

    async fn access_key(&self, id: &str) -> Result<Option<Arc<AccessKey>>, StoreFailure> {
        Ok(self.held(|held| held.access_keys.get(id).cloned()))
    }

    async fn access_keys(&self) -> Result<Vec<Arc<AccessKey>>, StoreFailure> {
        Ok(self.held(|held| held.access_keys.values().cloned().collect()))
    }
}

impl Shared {
    fn held<T>(&self, read: impl FnOnce(&Held) -> T) -> T {
        read(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a change visible. Called when it is on disk, and only then.
    fn show<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn current(
        &self,
        account: &AccountId,
        name: &FunctionName,
        version: Version,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let found = self.held(|held| held.functions.get(account, name, version).cloned());
        found.ok_or_else(|| CatalogError::NotFound { name: name.clone(), version })
    }

    fn store(&self, operation: &str, record: FunctionRecord) -> Result<(), StoreFailure> {
        let key = version_key(&record.function);
        let bytes = encode(FUNCTIONS, &key, &record)?;
        self.functions.insert(&key, bytes).map_err(|error| StoreFailure::new(operation, error))?;
        self.disk.commit(operation)?;
        self.show(|held| held.functions.insert(Arc::new(record)));
        Ok(())
    }

    /// Counts up and stores the copy in one transaction.
    fn publish(&self, operation: &str, mut record: FunctionRecord) -> Result<Arc<FunctionRecord>, StoreFailure> {
        let counter = name_key(&record.function);
        let stored = self.published.get(&counter).map_err(|error| StoreFailure::new(operation, error))?;
        let last = stored.map(|bytes| decode::<u64>(PUBLISHED, &counter, &bytes)).transpose()?.unwrap_or(0);
        let next = last + 1;
        record.function.version = Version::Number(next);
        let key = version_key(&record.function);
        let (count, copy) = (encode(PUBLISHED, &counter, &next)?, encode(FUNCTIONS, &key, &record)?);
        let written = (&self.published, &self.functions).transaction(|(published, functions)| {
            published.insert(counter.as_slice(), count.as_slice())?;
            functions.insert(key.as_slice(), copy.as_slice())?;
            Ok::<(), ConflictableTransactionError<StoreFailure>>(())
        });
        transacted(operation, written)?;
        self.disk.commit(operation)?;
        let record = Arc::new(record);
        self.show(|held| held.functions.insert(record.clone()));
        Ok(record)
    }

    fn remove(&self, operation: &str, doomed: &[Arc<FunctionRecord>]) -> Result<(), StoreFailure> {
        let mut batch = sled::Batch::default();
        for record in doomed {
            batch.remove(version_key(&record.function));
        }
        self.functions.apply_batch(batch).map_err(|error| StoreFailure::new(operation, error))?;
        self.disk.commit(operation)?;
        self.show(|held| doomed.iter().for_each(|record| held.functions.remove(&record.function)));
        Ok(())
    }
}

fn name_key(function: &FunctionRef) -> Vec<u8> {
    format!("{}/{}", function.account, function.name).into_bytes()
}

fn version_key(function: &FunctionRef) -> Vec<u8> {
    let number = match function.version {
        Version::Latest => 0,
        Version::Number(number) => number,
    };
    let mut key = name_key(function);
    key.push(0);
    key.extend(number.to_be_bytes());
    key
}
