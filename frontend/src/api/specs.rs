//! What routing and workers need of a version, made once per revision and not once per call.

use std::sync::Arc;

use dashmap::DashMap;
use hearth_domain::{AccountId, FunctionName, FunctionSpec, Version};
use hearth_store::FunctionRecord;

/// Versions kept; a full cache starts over.
const MAX: usize = 16_384;

/// Specs by version. An entry of an older revision is replaced when it is met.
#[derive(Default)]
pub(super) struct SpecCache {
    specs: DashMap<(AccountId, FunctionName, Version), Arc<FunctionSpec>>,
}

impl SpecCache {
    /// The spec of a record.
    pub(super) fn of(&self, record: &FunctionRecord) -> Arc<FunctionSpec> {
        let function = &record.function;
        let key = (function.account.clone(), function.name.clone(), function.version);
        if let Some(spec) = self.specs.get(&key)
            && spec.function.revision == function.revision
        {
            return spec.clone();
        }
        if self.specs.len() >= MAX {
            self.specs.clear();
        }
        let spec = Arc::new(record.spec());
        self.specs.insert(key, spec.clone());
        spec
    }

    /// Forgets a function that was deleted.
    pub(super) fn forget(&self, account: &AccountId, name: &FunctionName) {
        self.specs.retain(|(owner, kept, _), _| owner != account || kept != name);
    }
}
