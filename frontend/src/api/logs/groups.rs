//! DescribeLogGroups, CreateLogGroup, DeleteLogGroup, PutRetentionPolicy, DeleteRetentionPolicy.

use std::collections::BTreeMap;

use axum::response::Response;
use futures::future::try_join_all;
use hearth_domain::LogGroup;
use hearth_protocol::worker::LogDeletion;
use hearth_store::document::{CommitError, Expected};
use serde::{Deserialize, Serialize};

use super::{
    DESCRIBE_LIMIT, answer, bounded, done, group_arn, invalid, named_group, no_such, now_unix_ms, page_by_name, request,
};
use crate::api::Api;
use crate::api::call::Call;
use crate::errors::{ApiError, Code};
use crate::logs::{GroupSettings, RETENTION_DAYS};

/// Groups with settings that an account can have.
const GROUPS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeLogGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedGroup {
    log_group_name: Option<String>,
    retention_in_days: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogGroups {
    log_groups: Vec<GroupView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupView {
    log_group_name: String,
    creation_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_in_days: Option<u32>,
    metric_filter_count: u32,
    arn: String,
    stored_bytes: u64,
    log_group_class: &'static str,
    log_group_arn: String,
}

/// What is known of a group from workers and from its settings.
#[derive(Default)]
struct Known {
    created_unix_ms: Option<u64>,
    retention_days: Option<u32>,
    bytes: u64,
}

impl Api {
    pub(super) async fn describe_log_groups(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: DescribeLogGroups = request(call).await?;
        let limit = bounded(asked.limit, DESCRIBE_LIMIT)?;
        if asked.log_group_name_prefix.is_some() && asked.log_group_name_pattern.is_some() {
            return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
        }
        let pattern = asked.log_group_name_pattern.map(|pattern| pattern.to_lowercase());
        let wanted = |name: &str| {
            asked.log_group_name_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
                && pattern.as_ref().is_none_or(|pattern| name.to_lowercase().contains(pattern))
        };
        let known = self.known_groups(call).await?;
        let views =
            known.into_iter().filter(|(name, _)| wanted(name)).map(|(name, known)| self.view(call, name, known));
        let (log_groups, next_token) =
            page_by_name(views.collect(), |view: &GroupView| &view.log_group_name, asked.next_token.as_deref(), limit);
        answer(&LogGroups { log_groups, next_token })
    }

    pub(super) async fn create_log_group(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: NamedGroup = request(call).await?;
        let group = named_group(call, asked.log_group_name.as_deref(), None)?;
        let exists = || ApiError::new(Code::ResourceAlreadyExistsException, "The specified log group already exists");
        match self.known_group(call, &group).await {
            Ok(_) => return Err(exists()),
            Err(error) if error.code() == Code::ResourceNotFoundException => {}
            Err(error) => return Err(error),
        }
        let settings = GroupSettings { created_unix_ms: now_unix_ms(), retention_days: None };
        let path = GroupSettings::path(&call.key.account, &group);
        match self.group_settings().put(&path, &settings, Expected::Absent).await {
            Ok(()) => done(),
            Err(CommitError::Unexpected { .. }) => Err(exists()),
            Err(CommitError::Store(failure)) => Err(failure.into()),
        }
    }

    /// With all its lines. A worker that can't be asked would keep its lines, so then nothing is said to be done.
    pub(super) async fn delete_log_group(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: NamedGroup = request(call).await?;
        let group = named_group(call, asked.log_group_name.as_deref(), None)?;
        self.known_group(call, &group).await?;
        let workers = self.workers_with_logs().await?;
        let deletion = LogDeletion { account: call.key.account.clone(), group: group.clone() };
        try_join_all(workers.iter().map(|(_, worker)| worker.delete_log(deletion.clone()))).await?;
        let path = GroupSettings::path(&call.key.account, &group);
        match self.group_settings().remove(&path, Expected::Anything).await {
            Ok(()) | Err(CommitError::Unexpected { .. }) => done(),
            Err(CommitError::Store(failure)) => Err(failure.into()),
        }
    }

    pub(super) async fn put_retention_policy(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: NamedGroup = request(call).await?;
        let days = asked.retention_in_days.and_then(|days| u32::try_from(days).ok());
        let Some(days) = days.filter(|days| RETENTION_DAYS.contains(days)) else {
            return Err(invalid(&format!("retentionInDays is one of {RETENTION_DAYS:?}.")));
        };
        self.set_retention(call, asked.log_group_name.as_deref(), Some(days)).await
    }

    pub(super) async fn delete_retention_policy(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: NamedGroup = request(call).await?;
        self.set_retention(call, asked.log_group_name.as_deref(), None).await
    }

    async fn set_retention(
        &self,
        call: &Call,
        name: Option<&str>,
        retention_days: Option<u32>,
    ) -> Result<Response, ApiError> {
        let group = named_group(call, name, None)?;
        let known = self.known_group(call, &group).await?;
        let created_unix_ms = known.map_or_else(now_unix_ms, |known| known.created_unix_ms);
        let path = GroupSettings::path(&call.key.account, &group);
        let settings = GroupSettings { created_unix_ms, retention_days };
        match self.group_settings().put(&path, &settings, Expected::Anything).await {
            Ok(()) => done(),
            Err(CommitError::Unexpected { .. }) => Err(no_such("log group")),
            Err(CommitError::Store(failure)) => Err(failure.into()),
        }
    }

    async fn known_groups(&self, call: &Call) -> Result<BTreeMap<String, Known>, ApiError> {
        let mut groups = BTreeMap::<String, Known>::new();
        for (_, summary) in self.list_logs(call, None).await? {
            let known = groups.entry(summary.name).or_default();
            let created = known.created_unix_ms.unwrap_or(u64::MAX).min(summary.first_unix_ms);
            (known.created_unix_ms, known.bytes) = (Some(created), known.bytes + summary.bytes);
        }
        let prefix = format!("{}/", call.key.account);
        for (path, settings) in self.group_settings().scan(&prefix, None, GROUPS_MAX).await? {
            let Some(group) = GroupSettings::group_at(&path) else { continue };
            let known = groups.entry(LogGroup::to_string(&group)).or_default();
            known.created_unix_ms = Some(settings.value.created_unix_ms);
            known.retention_days = settings.value.retention_days;
        }
        Ok(groups)
    }

    fn view(&self, call: &Call, name: String, known: Known) -> GroupView {
        let log_group_arn = group_arn(self, call, &name);
        GroupView {
            log_group_name: name,
            creation_time: known.created_unix_ms.unwrap_or_default(),
            retention_in_days: known.retention_days,
            metric_filter_count: 0,
            arn: format!("{log_group_arn}:*"),
            stored_bytes: known.bytes,
            log_group_class: "STANDARD",
            log_group_arn,
        }
    }
}
