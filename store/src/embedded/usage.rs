//! Usage counters in sled: one value per account and function.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_domain::{AccountId, FunctionName};
use sled::Tree;
use sled::transaction::ConflictableTransactionError::Abort;

use crate::StoreFailure;
use crate::embedded::disk::{Disk, off_thread, transacted};
use crate::embedded::value::{ValueError, decode, encode, failure};
use crate::usage::{Usage, UsageStore};

const TREE: &str = "usage";

pub(super) struct EmbeddedUsage {
    disk: Arc<Disk>,
    counters: Tree,
}

impl EmbeddedUsage {
    pub(super) fn open(disk: &Arc<Disk>) -> Result<Self, StoreFailure> {
        Ok(Self { disk: disk.clone(), counters: disk.tree(TREE)? })
    }
}

#[async_trait]
impl UsageStore for EmbeddedUsage {
    async fn add(&self, additions: Vec<((AccountId, FunctionName), Usage)>) -> Result<(), StoreFailure> {
        const OPERATION: &str = "add usage";
        if additions.is_empty() {
            return Ok(());
        }
        let (disk, counters) = (self.disk.clone(), self.counters.clone());
        off_thread(OPERATION.into(), move || {
            let added = counters.transaction(|counters| {
                for ((account, name), addition) in &additions {
                    let key = key(account, name);
                    let stored = counters.get(&key)?.map(|bytes| decode::<Usage>(TREE, &key, &bytes)).transpose();
                    let mut usage = stored.map_err(Abort)?.unwrap_or_default();
                    usage.add(addition);
                    counters.insert(key.as_slice(), encode(TREE, &key, &usage).map_err(Abort)?)?;
                }
                Ok(())
            });
            transacted(OPERATION, added)?;
            disk.commit(OPERATION)
        })
        .await
    }

    async fn read(&self, account: &AccountId) -> Result<Vec<(FunctionName, Usage)>, StoreFailure> {
        let operation = format!("read usage of {account}");
        let (counters, prefix) = (self.counters.clone(), format!("{account}/"));
        off_thread(operation.clone(), move || {
            let read = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
                let (key, bytes) = entry.map_err(|error| StoreFailure::new(operation.clone(), error))?;
                let name = std::str::from_utf8(&key[prefix.len()..]).ok().and_then(|name| name.parse().ok());
                let name = name.ok_or_else(|| failure("read", TREE, &key, ValueError::Misplaced))?;
                Ok((name, decode(TREE, &key, &bytes)?))
            };
            counters.scan_prefix(&prefix).map(read).collect()
        })
        .await
    }
}

fn key(account: &AccountId, name: &FunctionName) -> Vec<u8> {
    format!("{account}/{name}").into_bytes()
}
