//! The credentials that environments are started with: of the function's role, made anew long before they end.
//!
//! They travel with the reservation, since a slot may have to be made for it, and lie in no store and no log.

use std::sync::Arc;

use dashmap::DashMap;
use hearth_daemon::Clock;
use hearth_domain::timing::FUNCTION_CREDENTIALS_RENEWED_AFTER;
use hearth_domain::{AccountId, FunctionName, FunctionSpec, Version};
use hearth_store::{Catalog, StoreFailure};
use tracing::warn;

use crate::identity::Identities;

/// Versions whose specs are kept; a full cache starts over.
const MAX: usize = 16_384;

/// Gives specs their credentials.
pub struct RoleCredentials {
    catalog: Arc<dyn Catalog>,
    identities: Arc<Identities>,
    equipped: DashMap<(AccountId, FunctionName, Version), Equipped>,
}

/// A spec with credentials.
struct Equipped {
    spec: Arc<FunctionSpec>,
    /// When they were made, Unix seconds.
    made_unix_s: i64,
}

impl RoleCredentials {
    /// For the functions of this catalog.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, identities: Arc<Identities>) -> Self {
        Self { catalog, identities, equipped: DashMap::new() }
    }

    /// The spec with credentials; as it is if the store fails, which is told.
    pub(crate) async fn equip(&self, spec: &Arc<FunctionSpec>) -> Arc<FunctionSpec> {
        let function = &spec.function;
        let key = (function.account.clone(), function.name.clone(), function.version);
        let now_s = i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
        if let Some(kept) = self.equipped.get(&key)
            && kept.spec.function.revision == function.revision
            && now_s - kept.made_unix_s < renewed_after_s()
        {
            return kept.spec.clone();
        }
        match self.make(spec, now_s).await {
            Ok(Some(made)) => {
                if self.equipped.len() >= MAX {
                    self.equipped.clear();
                }
                self.equipped.insert(key, Equipped { spec: made.clone(), made_unix_s: now_s });
                made
            }
            Ok(None) => spec.clone(),
            Err(failure) => {
                warn!(%function, %failure, "a function gets no credentials");
                spec.clone()
            }
        }
    }

    async fn make(&self, spec: &FunctionSpec, now_s: i64) -> Result<Option<Arc<FunctionSpec>>, StoreFailure> {
        let function = &spec.function;
        let Some(record) = self.catalog.get(&function.account, &function.name, function.version).await? else {
            return Ok(None);
        };
        let (account, name) = (&function.account, &function.name);
        let credentials = self.identities.function_credentials(account, &record.role, name, now_s);
        Ok(Some(Arc::new(FunctionSpec { credentials: Some(credentials), ..spec.clone() })))
    }
}

fn renewed_after_s() -> i64 {
    i64::try_from(FUNCTION_CREDENTIALS_RENEWED_AFTER.as_secs()).unwrap_or(i64::MAX)
}
