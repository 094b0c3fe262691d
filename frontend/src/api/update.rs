//! UpdateFunctionCode, UpdateFunctionConfiguration.

use std::sync::Arc;

use axum::response::Response;
use hearth_domain::{FunctionName, Version};
use hearth_store::FunctionRecord;
use hearth_store::catalog::{FunctionState, UpdateStatus};
use serde::Deserialize;

use super::call::Call;
use super::changes::{modified_after, new_revision};
use super::code::CodeSource;
use super::configuration::{FunctionConfiguration, View};
use super::create::refuse_arm;
use super::layers::check_unzipped;
use super::runtimes::{Offer, not_offered, offer};
use super::{Api, json};
use crate::errors::{ApiError, Code};
use crate::validation::{NameForm, Settings};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateFunctionCode {
    publish: Option<bool>,
    dry_run: Option<bool>,
    revision_id: Option<String>,
    architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateFunctionConfiguration {
    revision_id: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

impl Api {
    /// Gives `$LATEST` new code, and publishes it if asked to. A dry run checks everything and changes nothing.
    pub(super) async fn update_function_code(&self, call: Call) -> Result<Response, ApiError> {
        let request: UpdateFunctionCode = call.document().await?;
        let source: CodeSource = call.document().await?;
        refuse_arm(request.architectures.as_deref())?;
        let name = self.latest_only(&call)?;
        let account = &call.key.account;
        if source.is_image() {
            let text = "Please don't provide ImageUri when updating a function with packageType Zip.";
            return Err(ApiError::invalid_parameter(text));
        }
        // Asked first to spare the work, and again below: a large zip must not hold back other functions' changes.
        self.changeable(account, &name, request.revision_id.as_deref()).await?;
        let zip = source.checked().await?;
        let _change = self.changes.lock(account, &name).await;
        let current = self.changeable(account, &name, request.revision_id.as_deref()).await?;
        let mut record = self.next_revision(&current);
        (record.code_size, record.unzipped_bytes) = (zip.size(), zip.unzipped_bytes());
        check_unzipped(&record)?;
        if request.dry_run == Some(true) {
            let shown = FunctionRecord { bundle: zip.digest(), code_size: zip.size(), ..(*current).clone() };
            return json(200, &FunctionConfiguration::of(&shown, false, View::Whole));
        }
        record.bundle = self.store_zip(zip).await?;
        self.deps.catalog.replace(record.clone(), &current.function.revision).await?;
        let publish = request.publish == Some(true);
        let shown = if publish { self.publish_copy(&record, None).await? } else { Arc::new(record) };
        self.activator.activate(account.clone(), name);
        json(200, &FunctionConfiguration::of(&shown, publish, View::Whole))
    }

    /// Changes settings of `$LATEST`; what is not named stays.
    pub(super) async fn update_function_configuration(&self, call: Call) -> Result<Response, ApiError> {
        let UpdateFunctionConfiguration { revision_id, settings } = call.document().await?;
        let name = self.latest_only(&call)?;
        let account = &call.key.account;
        let _change = self.changes.lock(account, &name).await;
        let current = self.changeable(account, &name, revision_id.as_deref()).await?;
        let mut record = self.next_revision(&current);
        if let Some(arns) = settings.layers() {
            record.layers = self.function_layers(account, arns).await?;
            check_unzipped(&record)?;
        }
        settings.apply(&mut record)?;
        self.check_function_role(account, &record.role).await?;
        if let Some(target) = &record.dead_letter_target {
            self.ensure_channel(account, target).await?;
        }
        if record.runtime != current.runtime {
            self.check_new_runtime(&record).await?;
        }
        self.deps.catalog.replace(record.clone(), &current.function.revision).await?;
        self.activator.activate(account.clone(), name);
        json(200, &FunctionConfiguration::of(&record, false, View::Whole))
    }

    /// Unlike a new function, one that works is not put at risk: if nobody can say what the fleet offers, the update
    /// is refused and the old runtime stays.
    async fn check_new_runtime(&self, record: &FunctionRecord) -> Result<(), ApiError> {
        match offer(&*self.deps.manager, record.runtime).await {
            Offer::Offered => Ok(()),
            Offer::NotOffered(offered) => Err(ApiError::invalid_parameter(not_offered(record.runtime, &offered))),
            Offer::Unknown => {
                let text = "No worker can be asked right now whether it offers the new runtime. Try again.";
                Err(ApiError::new(Code::ServiceUnavailableException, text))
            }
        }
    }

    /// The name in the path of an operation that changes `$LATEST` and nothing else.
    fn latest_only(&self, call: &Call) -> Result<FunctionName, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        match target.version() {
            Some(Version::Latest) => Ok(target.name),
            _ => {
                let text = "This operation is permitted on Lambda functions only, not on aliases or versions. Please \
                            specify only a function name.";
                Err(ApiError::invalid_parameter(text))
            }
        }
    }

    /// A copy of `$LATEST` to be changed: a new revision, in progress.
    fn next_revision(&self, current: &FunctionRecord) -> FunctionRecord {
        let mut record = current.clone();
        record.function.revision = new_revision();
        record.revision_id = None;
        record.last_modified_unix_ms = modified_after(current.last_modified_unix_ms);
        record.last_update = UpdateStatus::InProgress;
        if matches!(record.state, FunctionState::Failed { .. }) {
            // What made it fail may be what is being changed: it is judged anew.
            record.state = FunctionState::Pending;
        }
        record
    }
}
