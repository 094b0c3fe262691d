//! PutProvisionedConcurrencyConfig, GetProvisionedConcurrencyConfig, DeleteProvisionedConcurrencyConfig,
//! ListProvisionedConcurrencyConfigs.

use axum::response::Response;
use hearth_daemon::Clock;
use hearth_domain::{AccountId, FunctionName, Version};
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::configuration::function_arn;
use super::paging::{Page, after_marker, page_size};
use super::{Api, json, no_content};
use crate::calendar::last_modified;
use crate::concurrency::{FunctionConcurrency, ProvisionedConfig};
use crate::errors::{ApiError, Code};
use crate::provisioning::Readiness;
use crate::validation::{NameForm, Qualifier};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutProvisionedConcurrency {
    provisioned_concurrent_executions: u32,
}

/// The answer of Put and Get, and with an ARN an item of List.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigView {
    #[serde(skip_serializing_if = "Option::is_none")]
    function_arn: Option<String>,
    requested_provisioned_concurrent_executions: u32,
    available_provisioned_concurrent_executions: u32,
    allocated_provisioned_concurrent_executions: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    last_modified: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListConfigs {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    provisioned_concurrency_configs: Vec<ConfigView>,
}

impl Api {
    pub(super) async fn put_provisioned_concurrency(&self, call: Call) -> Result<Response, ApiError> {
        let request: PutProvisionedConcurrency = call.document().await?;
        let unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
        let (name, qualifier) = self.provisionable(&call, unpublished)?;
        let account = &call.key.account;
        let _change = self.changes.lock(account, &name).await;
        self.check_provisionable(account, &name, &qualifier, unpublished).await?;
        let config = ProvisionedConfig {
            requested: request.provisioned_concurrent_executions,
            last_modified_unix_ms: Clock::unix_ms(),
        };
        let (limit, text) = (self.config.account_concurrency, text_of(&qualifier));
        self.concurrency.change(account, |all| all.provision(&name, &text, config, limit)).await?;
        self.provisioner.changed();
        json(202, &ConfigView::of(config, &Readiness::default()))
    }

    pub(super) async fn get_provisioned_concurrency(&self, call: Call) -> Result<Response, ApiError> {
        let (name, qualifier) = self.provisionable(&call, MUST_BE_PUBLISHED)?;
        let account = &call.key.account;
        self.resolve_provisionable(account, &name, &qualifier).await?;
        let (all, text) = (self.concurrency.of(account).await?, text_of(&qualifier));
        let Some(config) = all.function(&name).and_then(|of| of.provisioned.get(&text)).copied() else {
            let missing = "No Provisioned Concurrency Config found for this function";
            return Err(ApiError::new(Code::ProvisionedConcurrencyConfigNotFoundException, missing));
        };
        let readiness = self.provisioner.readiness(account, &name).await?;
        json(200, &ConfigView::of(config, &readiness.get(&text).cloned().unwrap_or_default()))
    }

    /// Stops provisioning; what is not provisioned is no error.
    pub(super) async fn delete_provisioned_concurrency(&self, call: Call) -> Result<Response, ApiError> {
        let (name, qualifier) = self.provisionable(&call, MUST_BE_PUBLISHED)?;
        let account = &call.key.account;
        let _change = self.changes.lock(account, &name).await;
        self.resolve_provisionable(account, &name, &qualifier).await?;
        let text = text_of(&qualifier);
        self.concurrency.change(account, |all| Ok(all.stop_provisioning(&name, &text))).await?;
        self.provisioner.changed();
        no_content()
    }

    pub(super) async fn list_provisioned_concurrency(&self, call: Call) -> Result<Response, ApiError> {
        let (account, name) = (&call.key.account, self.unqualified(&call)?);
        let (limit, after) = (page_size(&call)?, after_marker(&call)?);
        self.existing(account, &name).await?;
        let all = self.concurrency.of(account).await?;
        let mut page = Page::new(limit);
        let configs = all.function(&name).into_iter().flat_map(|of| &of.provisioned);
        configs.filter(|(text, _)| after.as_ref().is_none_or(|after| *text > after)).for_each(|entry| page.add(entry));
        let (configs, next_marker) = page.finish(|(text, _)| (*text).clone());
        let mut shown = Vec::new();
        if !configs.is_empty() {
            let readiness = self.provisioner.readiness(account, &name).await?;
            let arn = function_arn(&self.config.region, account, &name, None);
            shown.extend(configs.into_iter().map(|(text, config)| ConfigView {
                function_arn: Some(format!("{arn}:{text}")),
                ..ConfigView::of(*config, &readiness.get(text).cloned().unwrap_or_default())
            }));
        }
        json(200, &ListConfigs { next_marker, provisioned_concurrency_configs: shown })
    }

    /// The function and qualifier in a request; `latest` is what is said of `$LATEST` and of no qualifier at all.
    fn provisionable(&self, call: &Call, latest: &str) -> Result<(FunctionName, Qualifier), ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        match target.qualifier {
            Some(qualifier) if qualifier != Qualifier::Version(Version::Latest) => Ok((target.name, qualifier)),
            _ => Err(ApiError::invalid_parameter(latest)),
        }
    }

    /// The version that a qualifier names now.
    async fn resolve_provisionable(
        &self,
        account: &AccountId,
        name: &FunctionName,
        qualifier: &Qualifier,
    ) -> Result<Version, ApiError> {
        let found = self.resolver.look_up(account, name, Some(qualifier)).await?;
        let found = found.map(|found| found.record.function.version);
        found.ok_or_else(|| {
            let arn = function_arn(&self.config.region, account, name, None);
            match qualifier {
                Qualifier::Version(version) => ApiError::function_not_found(&format!("{arn}:{version}")),
                Qualifier::Alias(alias) => {
                    ApiError::new(Code::ResourceNotFoundException, format!("Cannot find alias arn: {arn}:{alias}"))
                }
            }
        })
    }

    /// A version is provisioned by itself or through aliases, not both.
    async fn check_provisionable(
        &self,
        account: &AccountId,
        name: &FunctionName,
        qualifier: &Qualifier,
        unpublished: &str,
    ) -> Result<(), ApiError> {
        let version = self.resolve_provisionable(account, name, qualifier).await?;
        if version == Version::Latest {
            return Err(ApiError::invalid_parameter(unpublished));
        }
        let all = self.concurrency.of(account).await?;
        let nothing = FunctionConcurrency::default();
        let provisioned = &all.function(name).unwrap_or(&nothing).provisioned;
        let conflict = |text: &str| Err(ApiError::new(Code::ResourceConflictException, text));
        if matches!(qualifier, Qualifier::Alias(_)) {
            if provisioned.contains_key(&version.to_string()) {
                return conflict(
                    "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
                );
            }
            return Ok(());
        }
        let aliases = self.aliases_of(account, name, None).await?;
        if aliases.iter().any(|alias| alias.names(version) && provisioned.contains_key(alias.name.as_str())) {
            return conflict("Version is pointed by a Provisioned Concurrency alias");
        }
        Ok(())
    }
}

const MUST_BE_PUBLISHED: &str = "The function resource provided must be an alias or a published version.";

fn text_of(qualifier: &Qualifier) -> String {
    match qualifier {
        Qualifier::Version(version) => version.to_string(),
        Qualifier::Alias(alias) => alias.clone(),
    }
}

impl ConfigView {
    fn of(config: ProvisionedConfig, ready: &Readiness) -> Self {
        let failed = ready.failure.is_some() && ready.available < config.requested;
        let status = match () {
            () if failed => "FAILED",
            () if ready.available >= config.requested => "READY",
            () => "IN_PROGRESS",
        };
        Self {
            function_arn: None,
            requested_provisioned_concurrent_executions: config.requested,
            available_provisioned_concurrent_executions: ready.available,
            allocated_provisioned_concurrent_executions: ready.allocated,
            status,
            status_reason: failed.then(|| "FUNCTION_ERROR_INIT_FAILURE".to_owned()),
            // Whole seconds, as in AWS's examples of these operations.
            last_modified: last_modified(config.last_modified_unix_ms / 1_000 * 1_000).replace(".000", ""),
        }
    }
}
