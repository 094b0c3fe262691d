//! Settings that stand beside a function's configuration: recursion, runtime management.

use axum::response::Response;
use hearth_domain::{AccountId, FunctionName, Version};
use hearth_store::document::{Collection, Document, Expected};
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::configuration::runtime_version_arn;
use super::{Api, json};
use crate::errors::ApiError;
use crate::validation::{NameForm, Target};

/// What is to happen with a function that calls itself in a circle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RecursionConfig {
    /// `Allow` or `Terminate`.
    recursive_loop: String,
}

impl Document for RecursionConfig {
    const KIND: &'static str = "recursion";
}

impl RecursionConfig {
    /// Where a function's lies among the documents.
    pub(crate) fn path(account: &AccountId, function: &FunctionName) -> String {
        format!("{account}/{function}")
    }

    /// Whether it may call itself in a circle.
    pub(crate) fn is_allowed(&self) -> bool {
        self.recursive_loop == "Allow"
    }
}

impl Default for RecursionConfig {
    fn default() -> Self {
        Self { recursive_loop: "Terminate".to_owned() }
    }
}

/// When a version's runtime is updated. Ours is whatever the runtime image has, so there is one version of each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RuntimeManagement {
    /// `Auto`, `FunctionUpdate` or `Manual`.
    update_runtime_on: String,
    /// In mode `Manual`: which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_version_arn: Option<String>,
}

impl Document for RuntimeManagement {
    const KIND: &'static str = "runtime-management";
}

impl Default for RuntimeManagement {
    fn default() -> Self {
        Self { update_runtime_on: "Auto".to_owned(), runtime_version_arn: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeManagementView {
    function_arn: String,
    #[serde(flatten)]
    config: RuntimeManagement,
}

impl Api {
    pub(super) async fn put_recursion_config(&self, call: Call) -> Result<Response, ApiError> {
        let config: RecursionConfig = call.document().await?;
        let (account, name) = (&call.key.account, self.unqualified(&call)?);
        let _change = self.changes.lock(account, &name).await;
        self.existing(account, &name).await?;
        self.recursion().put(&RecursionConfig::path(account, &name), &config, Expected::Anything).await?;
        json(200, &config)
    }

    pub(super) async fn get_recursion_config(&self, call: Call) -> Result<Response, ApiError> {
        let (account, name) = (&call.key.account, self.unqualified(&call)?);
        self.existing(account, &name).await?;
        let found = self.recursion().get(&RecursionConfig::path(account, &name)).await?;
        json(200, &found.map(|found| (*found.value).clone()).unwrap_or_default())
    }

    pub(super) async fn put_runtime_management(&self, call: Call) -> Result<Response, ApiError> {
        let config: RuntimeManagement = call.document().await?;
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let _change = self.changes.lock(&call.key.account, &target.name).await;
        let record = self.record(&call, &target).await?;
        let only = runtime_version_arn(&record);
        match (config.update_runtime_on.as_str(), config.runtime_version_arn.as_deref()) {
            ("Manual", Some(arn)) if arn != only => {
                return Err(ApiError::invalid_parameter(format!(
                    "The runtime version {arn} is not offered here. The only version of this runtime is {only}."
                )));
            }
            ("Manual", None) => {
                return Err(ApiError::invalid_parameter(
                    "RuntimeVersionArn is required when UpdateRuntimeOn is Manual.",
                ));
            }
            ("Auto" | "FunctionUpdate", Some(_)) => {
                let text = "RuntimeVersionArn can only be given when UpdateRuntimeOn is Manual.";
                return Err(ApiError::invalid_parameter(text));
            }
            _ => {}
        }
        let path = management_path(&call, &target);
        self.runtime_management().put(&path, &config, Expected::Anything).await?;
        let function_arn = target.arn(call.addressee(&self.config.region));
        json(200, &RuntimeManagementView { function_arn, config })
    }

    pub(super) async fn get_runtime_management(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        self.record(&call, &target).await?;
        let found = self.runtime_management().get(&management_path(&call, &target)).await?;
        let config = found.map(|found| (*found.value).clone()).unwrap_or_default();
        let function_arn = target.arn(call.addressee(&self.config.region));
        json(200, &RuntimeManagementView { function_arn, config })
    }

    fn recursion(&self) -> Collection<RecursionConfig> {
        Collection::new(self.deps.documents.clone())
    }

    fn runtime_management(&self) -> Collection<RuntimeManagement> {
        Collection::new(self.deps.documents.clone())
    }
}

fn management_path(call: &Call, target: &Target) -> String {
    let qualifier = target.qualifier.as_ref().map_or_else(|| Version::Latest.to_string(), ToString::to_string);
    format!("{}/{}/{qualifier}", call.key.account, target.name)
}
