//! CreateQueue, DeleteQueue, GetQueueUrl, GetQueueAttributes, ListQueues, PurgeQueue.

use std::collections::BTreeMap;

use axum::response::Response;
use hearth_daemon::Clock;
use http::header;
use serde::{Deserialize, Serialize};

use super::{answer, attributes, bounded, done, missing, no_queue};
use crate::api::Api;
use crate::api::call::Call;
use crate::asynchronous::channels::CreateError;
use crate::asynchronous::target::ChannelKind;
use crate::errors::{ApiError, Code};

/// Queues in one answer of ListQueues (SQS: `MaxResults`).
const PAGE_MAX: i64 = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    queue_name: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// A request about one queue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct At {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    queue_name_prefix: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct QueueUrl {
    queue_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct QueueUrls {
    queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Api {
    /// Creating one that is there is no error if it has the same attributes.
    pub(super) async fn create_queue(&self, call: &Call) -> Result<Response, ApiError> {
        let request: Named = call.document().await?;
        let target = self.queue_named(call, &request.queue_name.ok_or_else(|| missing("QueueName"))?)?;
        attributes::check(&request.attributes)?;
        let account = &call.key.account;
        match self.channels.ensure(account, &target, request.attributes.clone(), Clock::unix_ms()).await {
            Ok(true) => {}
            Ok(false) => {
                let found = self.channels.get(account, ChannelKind::Queue, &target.name).await?.ok_or_else(no_queue)?;
                let same = |(name, value)| found.attributes.get(name) == Some(value);
                if !request.attributes.iter().all(same) {
                    let text = "A queue already exists with the same name and a different value for an attribute.";
                    return Err(ApiError::new(Code::QueueNameExists, text));
                }
            }
            Err(CreateError::TooMany) => {
                return Err(ApiError::new(Code::OverLimit, CreateError::TooMany.to_string()));
            }
            Err(CreateError::Store(failure)) => return Err(failure.into()),
        }
        answer(&QueueUrl { queue_url: self.queue_url(call, &target.name) })
    }

    pub(super) async fn get_queue_url(&self, call: &Call) -> Result<Response, ApiError> {
        let request: Named = call.document().await?;
        let name = request.queue_name.ok_or_else(|| missing("QueueName"))?;
        let found = self.channels.get(&call.key.account, ChannelKind::Queue, &name).await?.ok_or_else(no_queue)?;
        answer(&QueueUrl { queue_url: self.queue_url(call, &found.name) })
    }

    pub(super) async fn delete_queue(&self, call: &Call) -> Result<Response, ApiError> {
        let request: At = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        self.channels.delete(&call.key.account, ChannelKind::Queue, &target.name).await?;
        self.deps.messages.purge(&target.arn).await?;
        done()
    }

    pub(super) async fn purge_queue(&self, call: &Call) -> Result<Response, ApiError> {
        let request: At = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        self.deps.messages.purge(&target.arn).await?;
        done()
    }

    pub(super) async fn get_queue_attributes(&self, call: &Call) -> Result<Response, ApiError> {
        let request: At = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        let found =
            self.channels.get(&call.key.account, ChannelKind::Queue, &target.name).await?.ok_or_else(no_queue)?;
        let counts = self.deps.messages.counts(&target.arn, Clock::unix_ms()).await?;
        let mut all = attributes::all(&found, counts);
        let asked = |name: &str| request.attribute_names.iter().any(|asked| asked == "All" || asked == name);
        all.retain(|name, _| asked(name));
        answer(&serde_json::json!({ "Attributes": all }))
    }

    pub(super) async fn list_queues(&self, call: &Call) -> Result<Response, ApiError> {
        let request: List = call.document().await?;
        let max = usize::try_from(bounded(request.max_results, "MaxResults", 1, PAGE_MAX, PAGE_MAX)?).unwrap_or(1);
        let prefix = request.queue_name_prefix.unwrap_or_default();
        let after = request.next_token.as_deref();
        let mut found = self.channels.list(&call.key.account, ChannelKind::Queue, &prefix, after, max + 1).await?;
        let is_last = found.len() <= max;
        found.truncate(max);
        let next_token = found.last().filter(|_| !is_last).map(|last| last.name.clone());
        answer(&QueueUrls {
            queue_urls: found.iter().map(|found| self.queue_url(call, &found.name)).collect(),
            next_token,
        })
    }

    fn queue_url(&self, call: &Call, name: &str) -> String {
        let base = match &self.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", call.header(header::HOST.as_str()).unwrap_or("localhost")),
        };
        format!("{base}/{}/{name}", call.key.account)
    }
}
