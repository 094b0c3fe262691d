//! Dead letters: kept in order per account, the oldest making room when there are too many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_domain::AccountId;
use sled::{IVec, Tree};

use crate::StoreFailure;
use crate::embedded::disk::Disk;
use crate::embedded::events::stored::{Stored, StoredLetter};
use crate::embedded::payloads::{Payloads, Place};
use crate::embedded::value::{ValueError, failure};
use crate::event::DeadLetter;

const LETTERS: &str = "dead_letters";

pub(super) struct Letters {
    tree: Tree,
    max_per_account: usize,
    counts: Mutex<Counts>,
}

type Counts = BTreeMap<AccountId, usize>;

/// What one more dead letter writes and removes. Held until the transaction is over, so that no two evict the same.
pub(super) struct Burial<'a> {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) evicted: Vec<(IVec, Place)>,
    account: AccountId,
    counts: MutexGuard<'a, Counts>,
}

impl Letters {
    /// Counts what is stored, and adds the files that it refers to.
    pub(super) fn open(
        disk: &Arc<Disk>,
        max_per_account: usize,
        files: &mut BTreeSet<u64>,
    ) -> Result<Self, StoreFailure> {
        let tree = disk.tree(LETTERS)?;
        let mut counts = Counts::new();
        for entry in &tree {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new("read dead letters", error))?;
            let stored = decode(&key, &bytes)?;
            files.extend(stored.file());
            *counts.entry(stored.document.event.account).or_default() += 1;
        }
        Ok(Self { tree, max_per_account, counts: Mutex::new(counts) })
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn prepare(
        &self,
        operation: &str,
        sequence: u64,
        letter: &StoredLetter,
    ) -> Result<Burial<'_>, StoreFailure> {
        let account = letter.document.event.account.clone();
        let key = key(&account, sequence);
        let value = letter.encode(LETTERS, &key)?;
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&account).copied().unwrap_or(0);
        let too_many = (count + 1).saturating_sub(self.max_per_account);
        let oldest = self.tree.scan_prefix(account.as_str()).take(too_many).map(|entry| {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new(operation, error))?;
            let stored = decode(&key, &bytes)?;
            let request_id = &stored.document.event.request_id;
            tracing::warn!(%account, %request_id, "too many dead letters: the oldest is removed");
            Ok((key, stored.place))
        });
        let evicted = oldest.collect::<Result<Vec<_>, StoreFailure>>()?;
        Ok(Burial { key, value, evicted, account, counts })
    }

    pub(super) fn read(
        &self,
        operation: &str,
        account: &AccountId,
        after: Option<u64>,
        limit: usize,
        payloads: &Payloads,
    ) -> Result<Vec<(u64, DeadLetter)>, StoreFailure> {
        let (first, last) = (after.map_or(Some(0), |after| after.checked_add(1)), key(account, u64::MAX));
        let Some(first) = first else { return Ok(Vec::new()) };
        let read = |entry: sled::Result<(IVec, IVec)>| {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new(operation, error))?;
            Ok((sequence(&key)?, decode(&key, &bytes)?.load(payloads)?))
        };
        self.tree.range(key(account, first)..=last).take(limit).map(read).collect()
    }
}

impl Burial<'_> {
    /// The transaction is over; returns the payloads that nothing refers to any more.
    pub(super) fn done(mut self) -> Vec<Place> {
        let count = self.counts.entry(self.account).or_default();
        *count = *count + 1 - self.evicted.len();
        self.evicted.into_iter().map(|(_, place)| place).collect()
    }
}

fn decode(key: &[u8], bytes: &[u8]) -> Result<StoredLetter, StoreFailure> {
    Stored::decode(LETTERS, key, bytes)
}

fn key(account: &AccountId, sequence: u64) -> Vec<u8> {
    let mut key = account.as_str().as_bytes().to_vec();
    key.extend(sequence.to_be_bytes());
    key
}

fn sequence(key: &[u8]) -> Result<u64, StoreFailure> {
    let sequence = key.last_chunk::<8>().ok_or_else(|| failure("read", LETTERS, key, ValueError::Misplaced))?;
    Ok(u64::from_be_bytes(*sequence))
}
