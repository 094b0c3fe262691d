//! TagResource, UntagResource, ListTags.

use std::collections::BTreeMap;

use axum::response::Response;
use hearth_domain::{FunctionName, Version};
use hearth_store::FunctionRecord;
use hearth_store::catalog::ISOLATION_TAG;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::configuration::function_arn;
use super::{Api, json, no_content};
use crate::errors::ApiError;
use crate::sigv4::decoded;
use crate::validation::{NameForm, Target};

/// Most tags of a function (AWS Lambda developer guide, "Using tags": 50).
const TAGS_MAX: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagResource {
    tags: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListTags<'a> {
    tags: &'a BTreeMap<String, String>,
}

impl Api {
    pub(super) async fn tag_resource(&self, call: Call) -> Result<Response, ApiError> {
        let request: TagResource = call.document().await?;
        if request.tags.is_empty() {
            return Err(ApiError::invalid_parameter("An error occurred and the request cannot be processed."));
        }
        self.retag(&call, move |tags| {
            tags.extend(request.tags);
        })
        .await
    }

    pub(super) async fn untag_resource(&self, call: Call) -> Result<Response, ApiError> {
        let keys = tag_keys(&call);
        self.retag(&call, move |tags| tags.retain(|key, _| !keys.contains(key))).await
    }

    pub(super) async fn list_tags(&self, call: Call) -> Result<Response, ApiError> {
        let name = self.tagged(&call)?;
        let found = self.deps.catalog.get(&call.key.account, &name, Version::Latest).await?;
        let record = found.ok_or_else(|| {
            let arn = function_arn(&self.config.region, &call.key.account, &name, None);
            ApiError::function_not_found(&arn)
        })?;
        json(200, &ListTags { tags: &record.tags })
    }

    /// Changes a function's tags, which are no part of a version: the revision stays, and with it the slots.
    async fn retag(
        &self,
        call: &Call,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<Response, ApiError> {
        let (account, name) = (&call.key.account, self.tagged(call)?);
        let _change = self.changes.lock(account, &name).await;
        let found = self.deps.catalog.get(account, &name, Version::Latest).await?;
        let current = found
            .ok_or_else(|| ApiError::function_not_found(&function_arn(&self.config.region, account, &name, None)))?;
        let mut record: FunctionRecord = (*current).clone();
        change(&mut record.tags);
        check_tags(&record.tags)?;
        if record.tags.get(ISOLATION_TAG) != current.tags.get(ISOLATION_TAG) {
            return Err(ApiError::invalid_parameter(format!(
                "The tag {ISOLATION_TAG} is fixed when a function is created: create the function anew."
            )));
        }
        self.deps.catalog.replace(record, &current.function.revision).await?;
        no_content()
    }

    /// The function whose ARN is in the path.
    fn tagged(&self, call: &Call) -> Result<FunctionName, ApiError> {
        let arn = call.route.parameter("Resource", call.parts.uri.path());
        let target = Target::read(&arn, NameForm::Namespaced, None, call.addressee(&self.config.region))?;
        if target.qualifier.is_some() {
            return Err(ApiError::invalid_parameter(
                "Tags on function aliases and versions are not supported. Please specify a function ARN.",
            ));
        }
        Ok(target.name)
    }
}

/// Refuses more tags than a function may have.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > TAGS_MAX {
        return Err(ApiError::invalid_parameter("Number of tags exceeds resource tag limit."));
    }
    Ok(())
}

/// Every `tagKeys` of the query.
fn tag_keys(call: &Call) -> Vec<String> {
    let query = call.parts.uri.query().unwrap_or_default();
    let keys = query.split('&').filter_map(|pair| pair.strip_prefix("tagKeys="));
    keys.map(|key| String::from_utf8_lossy(&decoded(key)).into_owned()).collect()
}
