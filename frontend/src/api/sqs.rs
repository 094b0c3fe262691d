//! SQS: a subset, enough for SDKs to read what destinations and dead-letter queues got, and to use queues in tests.
//!
//! The JSON protocol (`x-amz-target: AmazonSQS.…`); SDKs from before November 2023 speak the query protocol, and get
//! `UnsupportedOperation`. Visibility timeouts hold as long as the process: after a restart every message can be
//! received again. Absent: FIFO queues, redrive policies, permissions, tags, encryption.

mod attributes;
mod md5;
mod messages;
mod queues;

use axum::body::Body;
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::call::Call;
use crate::asynchronous::target::{ChannelKind, ChannelTarget, Home};
use crate::errors::{ApiError, Code};

/// What stands before the operation's name in `x-amz-target`.
const TARGET_PREFIX: &str = "AmazonSQS.";

impl Api {
    /// Any operation of SQS.
    pub(super) async fn sqs(&self, call: Call) -> Result<Response, ApiError> {
        let operation = call.header("x-amz-target").and_then(|target| target.strip_prefix(TARGET_PREFIX));
        match operation.unwrap_or_default() {
            "CreateQueue" => self.create_queue(&call).await,
            "DeleteQueue" => self.delete_queue(&call).await,
            "GetQueueUrl" => self.get_queue_url(&call).await,
            "GetQueueAttributes" => self.get_queue_attributes(&call).await,
            "ListQueues" => self.list_queues(&call).await,
            "PurgeQueue" => self.purge_queue(&call).await,
            "SendMessage" => self.send_message(&call).await,
            "ReceiveMessage" => self.receive_message(&call).await,
            "DeleteMessage" => self.delete_message(&call).await,
            "DeleteMessageBatch" => self.delete_message_batch(&call).await,
            "ChangeMessageVisibility" => self.change_message_visibility(&call).await,
            other => {
                let text = format!("Hearth does not implement the SQS operation '{other}'.");
                Err(ApiError::new(Code::UnsupportedOperation, text))
            }
        }
    }

    fn queue_named(&self, call: &Call, name: &str) -> Result<ChannelTarget, ApiError> {
        if !ChannelKind::Queue.is_name(name) {
            let text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
            return Err(ApiError::invalid_parameter(text));
        }
        let home = Home { account: &call.key.account, region: &self.config.region };
        Ok(ChannelTarget::named(ChannelKind::Queue, name, home))
    }

    /// The queue of this URL; what matters is the end: `…/ACCOUNT/NAME`.
    async fn queue_at(&self, call: &Call, url: Option<&str>) -> Result<ChannelTarget, ApiError> {
        let url = url.ok_or_else(|| missing("QueueUrl"))?;
        let mut parts = url.rsplit('/');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next());
        let is_ours = account.is_none_or(|account| account == call.key.account.as_str());
        let target = self.queue_named(call, name).ok().filter(|_| is_ours).ok_or_else(no_queue)?;
        let found = self.channels.get(&call.key.account, ChannelKind::Queue, name).await?;
        found.map(|_| target).ok_or_else(no_queue)
    }
}

fn no_queue() -> ApiError {
    ApiError::new(Code::QueueDoesNotExist, "The specified queue does not exist.")
}

fn missing(member: &str) -> ApiError {
    let text = format!("The request must contain the parameter {member}.");
    ApiError::new(Code::MissingParameter, text)
}

/// A number within bounds.
fn bounded(value: Option<i64>, member: &str, min: i64, max: i64, default: i64) -> Result<u64, ApiError> {
    let value = value.unwrap_or(default);
    if !(min..=max).contains(&value) {
        let text = format!("Value {value} for parameter {member} is invalid. Reason: Must be between {min} and {max}.");
        return Err(ApiError::invalid_parameter(text));
    }
    Ok(value.unsigned_abs())
}

fn answer(value: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    let response = Response::builder().header(http::header::CONTENT_TYPE, "application/x-amz-json-1.0");
    response.body(Body::from(body)).map_err(ApiError::internal)
}

/// An answer without members.
fn done() -> Result<Response, ApiError> {
    answer(&serde_json::json!({}))
}
