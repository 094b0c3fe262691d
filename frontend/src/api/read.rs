//! GetFunction, GetFunctionConfiguration, ListFunctions, ListVersionsByFunction.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use hearth_domain::{FunctionName, Version};
use hearth_store::FunctionRecord;
use serde::Serialize;

use super::call::Call;
use super::configuration::{FunctionConfiguration, View};
use super::paging::{invalid_marker, marker, page_size, read_marker};
use super::reserved::Reserved;
use super::{Api, json};
use crate::errors::ApiError;
use crate::resolution::Resolved;
use crate::validation::{NameForm, Target};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetFunction<'a> {
    configuration: FunctionConfiguration<'a>,
    code: FunctionCodeLocation,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<Reserved>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionCodeLocation {
    repository_type: &'static str,
    location: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListFunctions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    functions: Vec<FunctionConfiguration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListVersions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    versions: Vec<FunctionConfiguration<'a>>,
}

impl Api {
    /// The version that a call to `target` runs; one that is not there is `ResourceNotFoundException`.
    pub(super) async fn resolved(&self, call: &Call, target: &Target) -> Result<Resolved, ApiError> {
        let found = self.resolver.resolve(&call.key.account, &target.name, target.qualifier.as_ref()).await?;
        found.ok_or_else(|| {
            // Invoke names the version that it would have run (LocalStack's recordings, test_invoke_exceptions).
            let arn = target.arn(call.addressee(&self.config.region));
            let version = if target.qualifier.is_none() { ":$LATEST" } else { "" };
            ApiError::function_not_found(&format!("{arn}{version}"))
        })
    }

    /// The version that a request to show or change `target` means.
    pub(super) async fn record(&self, call: &Call, target: &Target) -> Result<Arc<FunctionRecord>, ApiError> {
        let found = self.resolver.look_up(&call.key.account, &target.name, target.qualifier.as_ref()).await?;
        found.map(|found| found.record).ok_or_else(|| self.not_found(call, target))
    }

    fn not_found(&self, call: &Call, target: &Target) -> ApiError {
        ApiError::function_not_found(&target.arn(call.addressee(&self.config.region)))
    }

    pub(super) async fn get_function(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let record = self.record(&call, &target).await?;
        let arn = target.arn(call.addressee(&self.config.region));
        let configuration = FunctionConfiguration::of(&record, false, View::Whole).under(arn);
        let code = FunctionCodeLocation { repository_type: "S3", location: self.code_link(&call, &record)? };
        // Tags are the function's, whatever version is asked for.
        let latest = self.deps.catalog.get(&call.key.account, &target.name, Version::Latest).await?;
        let tags = &latest.as_ref().unwrap_or(&record).tags;
        let concurrency = self.concurrency_view(&call.key.account, &target.name).await?;
        json(200, &GetFunction { configuration, code, tags, concurrency })
    }

    pub(super) async fn get_function_configuration(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let record = self.record(&call, &target).await?;
        let arn = target.arn(call.addressee(&self.config.region));
        json(200, &FunctionConfiguration::of(&record, false, View::Whole).under(arn))
    }

    pub(super) async fn list_functions(&self, call: Call) -> Result<Response, ApiError> {
        // ALL is the one value there is.
        let all_versions = call.query("FunctionVersion").is_some();
        let limit = page_size(&call)?;
        let after = call.query("Marker").map(|marker| read_version_marker(&marker)).transpose()?;
        let mut records = self.deps.catalog.list(&call.key.account, all_versions, after, limit + 1).await?;
        let next_marker = next_marker(&mut records, limit);
        let functions =
            records.iter().map(|record| FunctionConfiguration::of(record, all_versions, View::Listed)).collect();
        json(200, &ListFunctions { next_marker, functions })
    }

    pub(super) async fn list_versions_by_function(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let (account, name) = (&call.key.account, &target.name);
        if self.deps.catalog.get(account, name, Version::Latest).await?.is_none() {
            return Err(ApiError::function_not_found(&target.arn(call.addressee(&self.config.region))));
        }
        let limit = page_size(&call)?;
        let after =
            call.query("Marker").map(|marker| read_version_marker(&marker)).transpose()?.map(|(_, version)| version);
        let mut records = self.deps.catalog.list_versions(account, name, after, limit + 1).await?;
        let next_marker = next_marker(&mut records, limit);
        let versions = records.iter().map(|record| FunctionConfiguration::of(record, true, View::Listed)).collect();
        json(200, &ListVersions { next_marker, versions })
    }
}

/// Cuts `records` to a page; if there are more, the marker that leads to them.
fn next_marker(records: &mut Vec<Arc<FunctionRecord>>, limit: usize) -> Option<String> {
    if records.len() <= limit {
        return None;
    }
    records.truncate(limit);
    let function = &records.last()?.function;
    Some(marker(&format!("{}:{}", function.name, function.version)))
}

fn read_version_marker(text: &str) -> Result<(FunctionName, Version), ApiError> {
    let text = read_marker(text)?;
    let parts = text.split_once(':');
    let read = parts.and_then(|(name, version)| Some((name.parse().ok()?, version.parse().ok()?)));
    read.ok_or_else(invalid_marker)
}
