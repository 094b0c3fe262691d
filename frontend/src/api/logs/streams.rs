//! DescribeLogStreams: one stream for each execution environment.

use std::collections::BTreeMap;

use axum::response::Response;
use hearth_protocol::worker::LogSummary;
use serde::{Deserialize, Serialize};

use super::{DESCRIBE_LIMIT, answer, bounded, group_arn, invalid, named_group, now_unix_ms, page_by_name, request};
use crate::api::Api;
use crate::api::call::Call;
use crate::errors::ApiError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeLogStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: Option<bool>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogStreams {
    log_streams: Vec<StreamView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamView {
    log_stream_name: String,
    creation_time: u64,
    first_event_timestamp: u64,
    last_event_timestamp: u64,
    last_ingestion_time: u64,
    upload_sequence_token: &'static str,
    arn: String,
    stored_bytes: u64,
    /// By what it is sorted; also the token that leads on from it.
    #[serde(skip)]
    key: String,
}

impl Api {
    pub(super) async fn describe_log_streams(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: DescribeLogStreams = request(call).await?;
        let limit = bounded(asked.limit, DESCRIBE_LIMIT)?;
        let by_time = match asked.order_by.as_deref() {
            None | Some("LogStreamName") => false,
            Some("LastEventTime") => true,
            Some(_) => return Err(invalid("orderBy is LogStreamName or LastEventTime.")),
        };
        if by_time && asked.log_stream_name_prefix.is_some() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let group = named_group(call, asked.log_group_name.as_deref(), asked.log_group_identifier.as_deref())?;
        let settings = self.known_group(call, &group).await?;
        let oldest = settings.map_or(0, |settings| settings.oldest_unix_ms(now_unix_ms()));
        let mut streams = BTreeMap::<String, LogSummary>::new();
        for (_, found) in self.list_logs(call, Some(&group)).await? {
            let prefix = asked.log_stream_name_prefix.as_deref().unwrap_or_default();
            if found.name.starts_with(prefix) && found.last_unix_ms >= oldest {
                streams.insert(found.name.clone(), found);
            }
        }
        let arn = group_arn(self, call, group.as_str());
        let mut views: Vec<_> = streams.into_values().map(|stream| StreamView::of(stream, &arn, by_time)).collect();
        views.sort_by(|a, b| a.key.cmp(&b.key));
        let token = asked.next_token.as_deref();
        let (log_streams, next_token) = if asked.descending == Some(true) {
            views.reverse();
            let left = views.into_iter().filter(|view| token.is_none_or(|token| *view.key < *token));
            let mut page: Vec<_> = left.take(limit + 1).collect();
            let more = page.len() > limit;
            page.truncate(limit);
            let next = page.last().filter(|_| more).map(|view| view.key.clone());
            (page, next)
        } else {
            page_by_name(views, |view: &StreamView| &view.key, token, limit)
        };
        answer(&LogStreams { log_streams, next_token })
    }
}

impl StreamView {
    fn of(stream: LogSummary, group_arn: &str, by_time: bool) -> Self {
        let name = stream.name;
        let key = if by_time { format!("{:020} {name}", stream.last_unix_ms) } else { name.clone() };
        Self {
            arn: format!("{group_arn}:log-stream:{name}"),
            log_stream_name: name,
            creation_time: stream.first_unix_ms,
            first_event_timestamp: stream.first_unix_ms,
            last_event_timestamp: stream.last_unix_ms,
            last_ingestion_time: stream.last_unix_ms,
            // The model says that it is no longer looked at.
            upload_sequence_token: "0",
            stored_bytes: stream.bytes,
            key,
        }
    }
}
