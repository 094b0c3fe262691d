//! What routing and workers need of a version, with the credentials its environments are started with: made once per
//! revision, and not once per call.
//!
//! Everything that runs a function or has one kept ready comes through here: HTTP calls, function URLs, events,
//! provisioned concurrency. Credentials are those of the function's role, made anew long before they end; they travel
//! with the reservation, since a slot may have to be made for it, and lie in no store and no log.

use std::sync::Arc;

use dashmap::DashMap;
use hearth_daemon::Clock;
use hearth_domain::timing::FUNCTION_CREDENTIALS_RENEWED_AFTER;
use hearth_domain::{AccountId, FunctionName, FunctionSpec, Version};
use hearth_store::FunctionRecord;

use crate::identity::Identities;

/// Versions kept; a full cache starts over.
const MAX: usize = 16_384;

/// Specs by version. An entry that is of an older revision, or whose credentials are too old, is replaced when it is met.
pub(crate) struct Specs {
    identities: Arc<Identities>,
    kept: DashMap<(AccountId, FunctionName, Version), Kept>,
}

struct Kept {
    spec: Arc<FunctionSpec>,
    /// When its credentials were made, Unix seconds.
    made_unix_s: i64,
}

impl Specs {
    /// With credentials of these identities.
    #[must_use]
    pub(crate) fn new(identities: Arc<Identities>) -> Self {
        Self { identities, kept: DashMap::new() }
    }

    /// The spec of a record.
    #[must_use]
    pub(crate) fn of(&self, record: &FunctionRecord) -> Arc<FunctionSpec> {
        let function = &record.function;
        let key = (function.account.clone(), function.name.clone(), function.version);
        let now_s = i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
        if let Some(kept) = self.kept.get(&key)
            && kept.spec.function.revision == function.revision
            && now_s - kept.made_unix_s < renewed_after_s()
        {
            return kept.spec.clone();
        }
        let credentials = self.identities.function_credentials(&key.0, &record.role, &key.1, now_s);
        let spec = Arc::new(FunctionSpec { credentials: Some(credentials), ..record.spec() });
        if self.kept.len() >= MAX {
            self.kept.clear();
        }
        self.kept.insert(key, Kept { spec: spec.clone(), made_unix_s: now_s });
        spec
    }

    /// Forgets a function that was deleted.
    pub(crate) fn forget(&self, account: &AccountId, name: &FunctionName) {
        self.kept.retain(|(owner, kept, _), _| owner != account || kept != name);
    }
}

fn renewed_after_s() -> i64 {
    i64::try_from(FUNCTION_CREDENTIALS_RENEWED_AFTER.as_secs()).unwrap_or(i64::MAX)
}
