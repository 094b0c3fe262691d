//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency, GetAccountSettings.

use axum::response::Response;
use hearth_domain::limits::{BUNDLE_UNZIPPED_MAX_BYTES, BUNDLE_ZIP_MAX_BYTES};
use hearth_domain::{AccountId, FunctionName, Version};
use hearth_store::StoreFailure;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::configuration::function_arn;
use super::{Api, json, no_content};
use crate::concurrency::{ChangeError, ConcurrencyError};
use crate::errors::ApiError;

/// What AWS lets an account store, bytes (75 GB). Told, since tools read it, and not enforced: the disk is yours.
const TOTAL_CODE_BYTES: u64 = 75 * 1024 * 1024 * 1024;
/// Records read at a time.
const CHUNK: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutFunctionConcurrency {
    reserved_concurrent_executions: u32,
}

/// The `Concurrency` structure of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Reserved {
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_concurrent_executions: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccountSettings {
    account_limit: AccountLimit,
    account_usage: AccountUsage,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccountLimit {
    total_code_size: u64,
    code_size_unzipped: u64,
    code_size_zipped: usize,
    concurrent_executions: u32,
    unreserved_concurrent_executions: u32,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccountUsage {
    total_code_size: u64,
    function_count: u64,
}

impl Api {
    pub(super) async fn put_function_concurrency(&self, call: Call) -> Result<Response, ApiError> {
        let request: PutFunctionConcurrency = call.document().await?;
        let (account, name) = (&call.key.account, self.unqualified(&call)?);
        let _change = self.changes.lock(account, &name).await;
        if self.deps.catalog.get(account, &name, Version::Latest).await?.is_none() {
            let arn = function_arn(&self.config.region, account, &name, Some(Version::Latest));
            return Err(ApiError::function_not_found(&arn));
        }
        let (reserved, limit) = (Some(request.reserved_concurrent_executions), self.config.account_concurrency);
        self.concurrency.change(account, |all| all.reserve(&name, reserved, limit)).await?;
        json(200, &Reserved { reserved_concurrent_executions: reserved })
    }

    pub(super) async fn get_function_concurrency(&self, call: Call) -> Result<Response, ApiError> {
        let (account, name) = (&call.key.account, self.unqualified(&call)?);
        self.existing(account, &name).await?;
        let reserved_concurrent_executions = self.reserved(account, &name).await?;
        json(200, &Reserved { reserved_concurrent_executions })
    }

    pub(super) async fn delete_function_concurrency(&self, call: Call) -> Result<Response, ApiError> {
        let (account, name) = (&call.key.account, self.unqualified(&call)?);
        let _change = self.changes.lock(account, &name).await;
        self.existing(account, &name).await?;
        let limit = self.config.account_concurrency;
        self.concurrency.change(account, |all| all.reserve(&name, None, limit)).await?;
        no_content()
    }

    /// What a function has reserved, as GetFunction shows it.
    pub(super) async fn concurrency_view(
        &self,
        account: &AccountId,
        name: &FunctionName,
    ) -> Result<Option<Reserved>, StoreFailure> {
        let reserved = self.reserved(account, name).await?;
        Ok(reserved.map(|reserved| Reserved { reserved_concurrent_executions: Some(reserved) }))
    }

    pub(super) async fn get_account_settings(&self, call: Call) -> Result<Response, ApiError> {
        let account = &call.key.account;
        let limit = self.config.account_concurrency;
        let account_limit = AccountLimit {
            total_code_size: TOTAL_CODE_BYTES,
            code_size_unzipped: BUNDLE_UNZIPPED_MAX_BYTES,
            code_size_zipped: BUNDLE_ZIP_MAX_BYTES,
            concurrent_executions: limit,
            unreserved_concurrent_executions: self.concurrency.of(account).await?.unreserved(limit),
        };
        json(200, &AccountSettings { account_limit, account_usage: self.account_usage(account).await? })
    }

    async fn reserved(&self, account: &AccountId, name: &FunctionName) -> Result<Option<u32>, StoreFailure> {
        Ok(self.concurrency.of(account).await?.function(name).and_then(|of| of.reserved))
    }

    async fn account_usage(&self, account: &AccountId) -> Result<AccountUsage, StoreFailure> {
        let (mut usage, mut after) = (AccountUsage::default(), None);
        loop {
            let page = self.deps.catalog.list(account, true, after, CHUNK).await?;
            for record in &page {
                usage.total_code_size += record.code_size;
                usage.function_count += u64::from(record.function.version == Version::Latest);
            }
            match page.last() {
                Some(last) if page.len() == CHUNK => after = Some((last.function.name.clone(), last.function.version)),
                _ => return Ok(usage),
            }
        }
    }
}

impl From<ConcurrencyError> for ApiError {
    fn from(error: ConcurrencyError) -> Self {
        let refused = Self::invalid_parameter(error.to_string());
        if matches!(error, ConcurrencyError::BelowProvisioned { .. }) { refused.untyped() } else { refused }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refused) => refused.into(),
            ChangeError::Commit(error) => error.into(),
        }
    }
}
