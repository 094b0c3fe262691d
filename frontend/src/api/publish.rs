//! PublishVersion.

use std::sync::Arc;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_domain::Version;
use hearth_store::catalog::{FunctionState, UpdateStatus};
use hearth_store::{FunctionRecord, StoreFailure};
use serde::Deserialize;

use super::call::Call;
use super::changes::new_revision;
use super::configuration::{FunctionConfiguration, View};
use super::{Api, json};
use crate::errors::ApiError;
use crate::validation::NameForm;

/// Versions read at a time in search of the newest.
const CHUNK: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublishVersion {
    code_sha256: Option<String>,
    description: Option<String>,
    revision_id: Option<String>,
}

impl Api {
    pub(super) async fn publish_version(&self, call: Call) -> Result<Response, ApiError> {
        let request: PublishVersion = call.document().await?;
        let target = call.target(&self.config.region, NameForm::Plain)?;
        if target.qualifier.is_some() {
            return Err(ApiError::invalid_parameter("A version is published of $LATEST: name the function alone."));
        }
        let account = &call.key.account;
        let _change = self.changes.lock(account, &target.name).await;
        let latest = self.changeable(account, &target.name, request.revision_id.as_deref()).await?;
        let current = STANDARD.encode(latest.bundle.0);
        if let Some(asked) = request.code_sha256.filter(|asked| !asked.is_empty() && *asked != current) {
            return Err(ApiError::invalid_parameter(format!(
                "CodeSHA256 ({asked}) is different from current CodeSHA256 in $LATEST ({current}). Please try again \
                 with the CodeSHA256 in $LATEST."
            )));
        }
        let published = self.publish_copy(&latest, request.description).await?;
        json(201, &FunctionConfiguration::of(&published, true, View::Whole))
    }

    /// Publishes `$LATEST` as it is in `latest`. If nothing was changed since the newest version, that is the answer.
    /// The caller holds the function's change lock.
    pub(super) async fn publish_copy(
        &self,
        latest: &FunctionRecord,
        description: Option<String>,
    ) -> Result<Arc<FunctionRecord>, ApiError> {
        // A version keeps the `LastModified` of the `$LATEST` it was made of, and every change of `$LATEST` has a later
        // one, so equal dates mean that nothing was changed.
        if let Some(newest) = self.newest_version(latest).await?
            && newest.last_modified_unix_ms == latest.last_modified_unix_ms
            && newest.bundle == latest.bundle
        {
            return Ok(newest);
        }
        let mut copy = latest.clone();
        copy.function.revision = new_revision();
        copy.revision_id = None;
        if copy.last_update == UpdateStatus::InProgress {
            // Published with new code, which is not in effect yet.
            copy.state = FunctionState::Pending;
        }
        copy.last_update = UpdateStatus::Successful;
        if let Some(description) = description.filter(|description| !description.is_empty()) {
            copy.description = description;
        }
        let published = self.deps.catalog.publish(copy).await?;
        // Publishing gives $LATEST a new RevisionId, too.
        let touched = FunctionRecord { revision_id: Some(new_revision()), ..latest.clone() };
        self.deps.catalog.replace(touched, &latest.function.revision).await?;
        Ok(published)
    }

    async fn newest_version(&self, latest: &FunctionRecord) -> Result<Option<Arc<FunctionRecord>>, StoreFailure> {
        let function = &latest.function;
        let (mut newest, mut after) = (None, Some(Version::Latest));
        loop {
            let page = self.deps.catalog.list_versions(&function.account, &function.name, after, CHUNK).await?;
            let full = page.len() == CHUNK;
            newest = page.into_iter().next_back().or(newest);
            after = newest.as_ref().map(|record: &Arc<FunctionRecord>| record.function.version);
            if !full {
                return Ok(newest);
            }
        }
    }
}
