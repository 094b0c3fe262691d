//! Every function version, in memory and in the order in which they are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use hearth_domain::{AccountId, BundleDigest, FunctionName, FunctionRef, Version};

use crate::catalog::FunctionRecord;

/// Function versions by account, name and version. `$LATEST` sorts before every number.
#[derive(Default)]
pub(super) struct Functions {
    accounts: BTreeMap<AccountId, BTreeMap<FunctionName, Versions>>,
}

type Versions = BTreeMap<Version, Arc<FunctionRecord>>;

impl Functions {
    pub(super) fn get(
        &self,
        account: &AccountId,
        name: &FunctionName,
        version: Version,
    ) -> Option<&Arc<FunctionRecord>> {
        self.accounts.get(account)?.get(name)?.get(&version)
    }

    pub(super) fn insert(&mut self, record: Arc<FunctionRecord>) {
        let FunctionRef { account, name, version, .. } = record.function.clone();
        self.accounts.entry(account).or_default().entry(name).or_default().insert(version, record);
    }

    pub(super) fn remove(&mut self, function: &FunctionRef) {
        let Some(names) = self.accounts.get_mut(&function.account) else { return };
        let Some(versions) = names.get_mut(&function.name) else { return };
        versions.remove(&function.version);
        if versions.is_empty() {
            names.remove(&function.name);
        }
    }

    /// One version, or every version.
    pub(super) fn versions(
        &self,
        account: &AccountId,
        name: &FunctionName,
        version: Option<Version>,
    ) -> Vec<Arc<FunctionRecord>> {
        match version {
            Some(version) => self.get(account, name, version).cloned().into_iter().collect(),
            None => self.list_versions(account, name, None, usize::MAX),
        }
    }

    pub(super) fn list(
        &self,
        account: &AccountId,
        all_versions: bool,
        after: Option<&(FunctionName, Version)>,
        limit: usize,
    ) -> Vec<Arc<FunctionRecord>> {
        let Some(names) = self.accounts.get(account) else { return Vec::new() };
        let first = after.map_or(Bound::Unbounded, |(name, _)| Bound::Included(name));
        let is_after = |record: &FunctionRecord| {
            after.is_none_or(|(name, version)| (&record.function.name, record.function.version) > (name, *version))
        };
        names
            .range::<FunctionName, _>((first, Bound::Unbounded))
            .flat_map(|(_, versions)| versions.values())
            .filter(|record| all_versions || record.function.version == Version::Latest)
            .filter(|record| is_after(record))
            .take(limit)
            .cloned()
            .collect()
    }

    pub(super) fn list_versions(
        &self,
        account: &AccountId,
        name: &FunctionName,
        after: Option<Version>,
        limit: usize,
    ) -> Vec<Arc<FunctionRecord>> {
        let Some(versions) = self.accounts.get(account).and_then(|names| names.get(name)) else { return Vec::new() };
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        versions.range((first, Bound::Unbounded)).take(limit).map(|(_, record)| record.clone()).collect()
    }

    pub(super) fn bundles(&self) -> Vec<BundleDigest> {
        let records = self.accounts.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values);
        let of_record = |record: &Arc<FunctionRecord>| {
            let layers = record.layers.iter().map(|layer| layer.bundle);
            std::iter::once(record.bundle).chain(layers).collect::<Vec<_>>()
        };
        records.flat_map(of_record).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
