//! CloudWatch Logs, as far as people look at functions' logs with it: groups, streams, events
//! (service model `logs/2014-03-28`, JSON 1.1: every operation is a POST to /, named in `X-Amz-Target`).
//!
//! The lines are the workers' own log files; nothing is stored twice. What an operation that is not here would need is a
//! second store, so it is refused by name.

mod events;
mod groups;
mod streams;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures::future::join_all;
use hearth_daemon::Clock;
use hearth_domain::{LogGroup, WorkerId};
use hearth_protocol::Worker;
use hearth_protocol::worker::{LogListQuery, LogPage, LogQuery, LogSummary};
use hearth_store::Collection;
use http::header;
use serde::de::DeserializeOwned;

use super::Api;
use super::call::Call;
use crate::errors::{ApiError, Code};
use crate::logs::GroupSettings;
use crate::logs::cursor::Cursor;

/// How `X-Amz-Target` begins.
const TARGET_PREFIX: &str = "Logs_20140328.";
/// Entries of a page of groups or streams (service model: `DescribeLimit`).
const DESCRIBE_LIMIT: u32 = 50;
/// Events of a page (service model: `EventsLimit`).
const EVENTS_LIMIT: u32 = 10_000;

impl Api {
    /// Every operation of the service.
    pub(super) async fn logs(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.header("x-amz-target").unwrap_or_default();
        match target.strip_prefix(TARGET_PREFIX) {
            Some("DescribeLogGroups") => self.describe_log_groups(&call).await,
            Some("DescribeLogStreams") => self.describe_log_streams(&call).await,
            Some("GetLogEvents") => self.get_log_events(&call).await,
            Some("FilterLogEvents") => self.filter_log_events(&call).await,
            Some("CreateLogGroup") => self.create_log_group(&call).await,
            Some("DeleteLogGroup") => self.delete_log_group(&call).await,
            Some("PutRetentionPolicy") => self.put_retention_policy(&call).await,
            Some("DeleteRetentionPolicy") => self.delete_retention_policy(&call).await,
            Some(other) if !other.is_empty() && other.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                let text = format!("Hearth does not implement {other} of CloudWatch Logs.");
                Err(ApiError::new(Code::NotImplementedException, text))
            }
            _ => Err(ApiError::new(Code::UnknownOperationException, "X-Amz-Target names no operation.")),
        }
    }

    /// A group that is there: somebody created it, or something was written to it. With its settings, if it has any.
    async fn known_group(&self, call: &Call, group: &LogGroup) -> Result<Option<Arc<GroupSettings>>, ApiError> {
        let settings = self.group_settings().get(&GroupSettings::path(&call.key.account, group)).await?;
        if let Some(found) = settings {
            return Ok(Some(found.value));
        }
        let written = self.list_logs(call, None).await?;
        if written.iter().any(|(_, summary)| summary.name == group.as_str()) {
            return Ok(None);
        }
        Err(no_such("log group"))
    }

    fn group_settings(&self) -> Collection<GroupSettings> {
        Collection::new(self.deps.documents.clone())
    }

    /// What all workers have: groups of the caller's account, or streams of one.
    async fn list_logs(&self, call: &Call, group: Option<&LogGroup>) -> Result<Vec<(WorkerId, LogSummary)>, ApiError> {
        let workers = self.workers_with_logs().await?;
        let query = LogListQuery { account: call.key.account.clone(), group: group.cloned() };
        let asked = workers.iter().map(|(id, worker)| {
            let query = query.clone();
            async move { (id, worker.list_logs(query).await) }
        });
        let mut found = Vec::new();
        for (id, listed) in join_all(asked).await {
            // Lines of a worker that can't be asked are missing here, and not lost.
            let listed = listed.map(|list| list.0).unwrap_or_default();
            found.extend(listed.into_iter().map(|summary| (id.clone(), summary)));
        }
        Ok(found)
    }

    /// One page of every worker. One that can't be asked has an empty one.
    async fn read_logs(
        &self,
        workers: &[(WorkerId, Arc<dyn Worker>)],
        cursor: &Cursor,
        query: &LogQuery,
    ) -> Vec<(WorkerId, LogPage)> {
        let asked = workers.iter().map(|(id, worker)| {
            let query = LogQuery { after: cursor.of(id), ..query.clone() };
            async move {
                let after = query.after;
                let page = worker.read_log(query).await;
                let nothing = LogPage { lines: Vec::new(), next: after, at_end: true };
                (id.clone(), page.unwrap_or(nothing))
            }
        });
        join_all(asked).await
    }
}

/// The document of a request.
async fn request<T: DeserializeOwned + Send + 'static>(call: &Call) -> Result<T, ApiError> {
    call.document().await
}

/// The group that a request names, by its name or (`logGroupIdentifier`) by its ARN.
fn named_group(call: &Call, name: Option<&str>, identifier: Option<&str>) -> Result<LogGroup, ApiError> {
    let name = match (name, identifier) {
        (Some(name), _) => name,
        (None, Some(arn)) if arn.starts_with("arn:") => group_of_arn(call, arn)?,
        (None, Some(name)) => name,
        (None, None) => return Err(invalid("logGroupName or logGroupIdentifier is missing.")),
    };
    LogGroup::new(name).map_err(|wrong| invalid(&wrong.to_string()))
}

/// `arn:aws:logs:REGION:ACCOUNT:log-group:NAME`, with `:*` at the end or without.
fn group_of_arn<'a>(call: &Call, arn: &'a str) -> Result<&'a str, ApiError> {
    let mut parts = arn.splitn(7, ':').skip(4);
    let (account, kind, name) = (parts.next(), parts.next(), parts.next());
    match (account, kind, name) {
        (Some(account), Some("log-group"), Some(name)) if account == call.key.account.as_str() => {
            Ok(name.trim_end_matches(":*"))
        }
        _ => Err(no_such("log group")),
    }
}

fn read_cursor(token: Option<&str>) -> Result<Cursor, ApiError> {
    let wrong = || invalid("The specified nextToken is invalid.");
    token.map_or_else(|| Ok(Cursor::default()), |token| Cursor::from_token(token).ok_or_else(wrong))
}

/// A number of the request within bounds; the largest if it is not there.
fn bounded(asked: Option<i64>, max: u32) -> Result<usize, ApiError> {
    let limit = asked.unwrap_or(i64::from(max));
    match u32::try_from(limit) {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit as usize),
        _ => Err(invalid(&format!("limit is from 1 to {max}, not {limit}."))),
    }
}

/// A page of what is sorted by name, from after the name in the token. The token of the next page, if there is one.
fn page_by_name<T>(
    items: Vec<T>,
    name: impl Fn(&T) -> &str,
    token: Option<&str>,
    limit: usize,
) -> (Vec<T>, Option<String>) {
    let mut page: Vec<_> =
        items.into_iter().filter(|item| token.is_none_or(|token| name(item) > token)).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|item| name(item).to_owned());
    (page, next)
}

fn now_unix_ms() -> u64 {
    Clock::unix_ms()
}

fn group_arn(api: &Api, call: &Call, group: &str) -> String {
    format!("arn:aws:logs:{}:{}:log-group:{group}", api.config.region, call.key.account)
}

fn invalid(text: &str) -> ApiError {
    ApiError::new(Code::InvalidParameterException, text)
}

fn no_such(what: &str) -> ApiError {
    ApiError::new(Code::ResourceNotFoundException, format!("The specified {what} does not exist."))
}

fn answer(value: &impl serde::Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    let response = Response::builder().header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
    response.body(Body::from(body)).map_err(ApiError::internal)
}

/// The answer of an operation that has nothing to say.
fn done() -> Result<Response, ApiError> {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
    response.body(Body::empty()).map_err(ApiError::internal)
}
