//! What all changes of a function have in common: none while another is in progress, each with a new revision.

use std::sync::Arc;

use hearth_daemon::Clock;
use hearth_domain::{AccountId, FunctionName, RevisionId, Version};
use hearth_store::FunctionRecord;
use hearth_store::catalog::{FunctionState, UpdateStatus};
use uuid::Uuid;

use super::Api;
use super::configuration::function_arn;
use crate::errors::{ApiError, Code};

impl Api {
    /// A function's `$LATEST`, to be changed: refused while it is being created or updated, or if the caller's revision
    /// is not the current one.
    pub(super) async fn changeable(
        &self,
        account: &AccountId,
        name: &FunctionName,
        revision: Option<&str>,
    ) -> Result<Arc<FunctionRecord>, ApiError> {
        let record = self.deps.catalog.get(account, name, Version::Latest).await?;
        let arn = function_arn(&self.config.region, account, name, None);
        let record = record.ok_or_else(|| ApiError::function_not_found(&arn))?;
        if record.state == FunctionState::Pending {
            return Err(not_now("The function is currently in the following state: Pending"));
        }
        if record.last_update == UpdateStatus::InProgress {
            return Err(not_now(&format!("An update is in progress for resource: {arn}")));
        }
        check_revision(&record, revision)?;
        Ok(record)
    }
}

/// Refuses a revision that is not the record's.
pub(super) fn check_revision(record: &FunctionRecord, revision: Option<&str>) -> Result<(), ApiError> {
    if revision.is_some_and(|revision| revision != record.revision_id().as_str()) {
        return Err(ApiError::stale_revision());
    }
    Ok(())
}

/// A revision nobody had before.
pub(crate) fn new_revision() -> RevisionId {
    RevisionId::new(&Uuid::new_v4().to_string()).unwrap_or_else(|_| unreachable!("a UUID is a revision id"))
}

/// Now, and after `earlier` in any case: `LastModified` tells changes apart.
pub(super) fn modified_after(earlier: u64) -> u64 {
    Clock::unix_ms().max(earlier + 1)
}

/// `ResourceConflictException`.
pub(super) fn not_now(why: &str) -> ApiError {
    ApiError::new(Code::ResourceConflictException, format!("The operation cannot be performed at this time. {why}"))
}
