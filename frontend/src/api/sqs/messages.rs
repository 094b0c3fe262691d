//! SendMessage, ReceiveMessage, DeleteMessage, DeleteMessageBatch, ChangeMessageVisibility.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_daemon::Clock;
use hearth_domain::limits::QUEUE_MESSAGE_MAX_BYTES;
use hearth_store::message::{Attribute, Message, Received, SendError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::attributes::{DELAY_MAX_S, VISIBILITY_MAX_S, WAIT_MAX_S, seconds};
use super::{answer, bounded, done, md5, missing, no_queue};
use crate::api::Api;
use crate::api::call::Call;
use crate::asynchronous::target::{ChannelKind, ChannelTarget};
use crate::errors::{ApiError, Code};

/// Most messages of one ReceiveMessage, and of one batch.
const BATCH_MAX: i64 = 10;
/// Most attributes of a message (SQS quotas).
const ATTRIBUTES_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Send {
    queue_url: Option<String>,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: BTreeMap<String, AttributeValue>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttributeValue {
    data_type: String,
    string_value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Receive {
    queue_url: Option<String>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Handle {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    receipt_handle: String,
}

#[derive(Serialize)]
struct Sent {
    #[serde(rename = "MessageId")]
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5_of_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_attributes: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MessageView {
    message_id: String,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: String,
    body: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<String, AttributeValue>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_attributes: Option<String>,
}

impl Api {
    pub(super) async fn send_message(&self, call: &Call) -> Result<Response, ApiError> {
        let request: Send = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        let body = request.message_body.filter(|body| !body.is_empty()).ok_or_else(|| missing("MessageBody"))?;
        let attributes = read_attributes(request.message_attributes)?;
        let bytes = body.len() + attributes.iter().map(|(name, value)| size_of(name, value)).sum::<usize>();
        if bytes > QUEUE_MESSAGE_MAX_BYTES {
            let text = format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {QUEUE_MESSAGE_MAX_BYTES} bytes."
            );
            return Err(ApiError::invalid_parameter(text));
        }
        let channel = self.channels.get(&call.key.account, ChannelKind::Queue, &target.name).await?;
        let default = channel.map_or(0, |channel| seconds(&channel, "DelaySeconds"));
        let delay_s =
            bounded(request.delay_seconds, "DelaySeconds", 0, DELAY_MAX_S, i64::try_from(default).unwrap_or(0))?;
        let now = Clock::unix_ms();
        let sent = Sent {
            message_id: Uuid::new_v4().to_string(),
            md5_of_body: md5::of_body(body.as_bytes()),
            md5_of_attributes: (!attributes.is_empty()).then(|| md5::of_attributes(&attributes)),
        };
        let message = Message {
            channel: target.arn,
            id: sent.message_id.clone(),
            body: body.into(),
            attributes,
            sent_unix_ms: now,
            visible_unix_ms: now + delay_s * 1_000,
        };
        match self.deps.messages.send(message).await {
            Ok(_) => answer(&sent),
            Err(full @ SendError::Full { .. }) => Err(ApiError::new(Code::OverLimit, full.to_string())),
            Err(SendError::Store(failure)) => Err(failure.into()),
        }
    }

    /// Waits for a message if it is asked to and there is none.
    pub(super) async fn receive_message(&self, call: &Call) -> Result<Response, ApiError> {
        let request: Receive = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        let found =
            self.channels.get(&call.key.account, ChannelKind::Queue, &target.name).await?.ok_or_else(no_queue)?;
        let default = |name| i64::try_from(seconds(&found, name)).unwrap_or(0);
        let max = bounded(request.max_number_of_messages, "MaxNumberOfMessages", 1, BATCH_MAX, 1)?;
        let visibility = default("VisibilityTimeout");
        let hidden_s = bounded(request.visibility_timeout, "VisibilityTimeout", 0, VISIBILITY_MAX_S, visibility)?;
        let wait = default("ReceiveMessageWaitTimeSeconds");
        let wait_s = bounded(request.wait_time_seconds, "WaitTimeSeconds", 0, WAIT_MAX_S, wait)?;
        let deadline = Instant::now() + Duration::from_secs(wait_s);
        let received = loop {
            // Before the look, so that nothing comes unnoticed in between.
            let arrival = self.deps.messages.arrival();
            tokio::pin!(arrival);
            let _ = futures::poll!(arrival.as_mut());
            let now = Clock::unix_ms();
            let limit = usize::try_from(max).unwrap_or(1);
            let received = self.deps.messages.receive(&target.arn, now, now + hidden_s * 1_000, limit).await?;
            if !received.is_empty() || Instant::now() >= deadline || self.stopping.is_cancelled() {
                break received;
            }
            let next_ms = self.deps.messages.counts(&target.arn, now).await?.next_visible_unix_ms;
            let next = next_ms.map(|next_ms| Instant::now() + Duration::from_millis(next_ms.saturating_sub(now)));
            tokio::select! {
                () = arrival => {}
                () = tokio::time::sleep_until(next.map_or(deadline, |next| next.min(deadline))) => {}
                () = self.stopping.cancelled() => {}
            }
        };
        let wanted = |names: &[String], name: &str| names.iter().any(|asked| is_asked(asked, name));
        let system = [request.attribute_names, request.message_system_attribute_names].concat();
        let views: Vec<MessageView> = received
            .into_iter()
            .map(|received| {
                MessageView::of(
                    received,
                    &call.key.id,
                    |name| wanted(&request.message_attribute_names, name),
                    |name| wanted(&system, name),
                )
            })
            .collect();
        answer(&if views.is_empty() { serde_json::json!({}) } else { serde_json::json!({ "Messages": views }) })
    }

    pub(super) async fn delete_message(&self, call: &Call) -> Result<Response, ApiError> {
        let request: Handle = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        let handle = request.receipt_handle.ok_or_else(|| missing("ReceiptHandle"))?;
        self.delete_by(&target, &handle).await?;
        done()
    }

    pub(super) async fn delete_message_batch(&self, call: &Call) -> Result<Response, ApiError> {
        let request: Batch = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        bounded(i64::try_from(request.entries.len()).ok(), "Entries", 1, BATCH_MAX, 0)?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for Entry { id, receipt_handle } in request.entries {
            match self.delete_by(&target, &receipt_handle).await {
                Ok(()) => successful.push(serde_json::json!({ "Id": id })),
                Err(error) => failed.push(serde_json::json!({
                    "Id": id, "Code": error.code().name(), "Message": error.message(), "SenderFault": true,
                })),
            }
        }
        answer(&serde_json::json!({ "Successful": successful, "Failed": failed }))
    }

    pub(super) async fn change_message_visibility(&self, call: &Call) -> Result<Response, ApiError> {
        let request: Handle = call.document().await?;
        let target = self.queue_at(call, request.queue_url.as_deref()).await?;
        let number = read_handle(request.receipt_handle.as_deref().ok_or_else(|| missing("ReceiptHandle"))?)?;
        request.visibility_timeout.ok_or_else(|| missing("VisibilityTimeout"))?;
        let hidden_s = bounded(request.visibility_timeout, "VisibilityTimeout", 0, VISIBILITY_MAX_S, 0)?;
        let until = Clock::unix_ms() + hidden_s * 1_000;
        if self.deps.messages.hide_until(&target.arn, number, until).await? {
            return done();
        }
        let text = format!(
            "Value {number} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
        );
        Err(ApiError::invalid_parameter(text))
    }

    /// Deleting what is gone is no error, as at SQS.
    async fn delete_by(&self, target: &ChannelTarget, handle: &str) -> Result<(), ApiError> {
        self.deps.messages.delete(&target.arn, read_handle(handle)?).await?;
        Ok(())
    }
}

impl MessageView {
    fn of(
        received: Received,
        sender: &str,
        is_wanted: impl Fn(&str) -> bool,
        is_system_wanted: impl Fn(&str) -> bool,
    ) -> Self {
        let Received { number, message, receive_count, first_received_unix_ms } = received;
        let attributes: BTreeMap<_, _> = message.attributes.into_iter().filter(|(name, _)| is_wanted(name)).collect();
        let md5_of_attributes = (!attributes.is_empty()).then(|| md5::of_attributes(&attributes));
        let shown = |Attribute { data_type, value }| AttributeValue { data_type, string_value: Some(value) };
        let mut system = BTreeMap::from([
            ("SenderId", sender.to_owned()),
            ("SentTimestamp", message.sent_unix_ms.to_string()),
            ("ApproximateReceiveCount", receive_count.to_string()),
            ("ApproximateFirstReceiveTimestamp", first_received_unix_ms.to_string()),
        ]);
        system.retain(|name, _| is_system_wanted(name));
        Self {
            message_id: message.id,
            receipt_handle: URL_SAFE_NO_PAD.encode(format!("{number}:{receive_count}")),
            md5_of_body: md5::of_body(&message.body),
            body: String::from_utf8_lossy(&message.body).into_owned(),
            attributes: system,
            message_attributes: attributes.into_iter().map(|(name, value)| (name, shown(value))).collect(),
            md5_of_attributes,
        }
    }
}

fn read_attributes(given: BTreeMap<String, AttributeValue>) -> Result<BTreeMap<String, Attribute>, ApiError> {
    if given.len() > ATTRIBUTES_MAX {
        let text =
            format!("Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].", given.len());
        return Err(ApiError::invalid_parameter(text));
    }
    let read = |(name, AttributeValue { data_type, string_value }): (String, AttributeValue)| {
        let is_text = data_type.starts_with("String") || data_type.starts_with("Number");
        let value = string_value.filter(|_| is_text).ok_or_else(|| {
            let text = format!("The message attribute '{name}' must be a string or a number here.");
            ApiError::invalid_parameter(text)
        })?;
        Ok((name, Attribute { data_type, value }))
    };
    given.into_iter().map(read).collect()
}

fn size_of(name: &str, attribute: &Attribute) -> usize {
    name.len() + attribute.data_type.len() + attribute.value.len()
}

/// `All`, `.*`, `prefix.*` or the name.
fn is_asked(asked: &str, name: &str) -> bool {
    asked == "All" || asked == name || asked.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
}

/// The message that a handle names.
fn read_handle(handle: &str) -> Result<u64, ApiError> {
    let text = URL_SAFE_NO_PAD.decode(handle).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let number = text.and_then(|text| text.split_once(':')?.0.parse().ok());
    number.ok_or_else(|| {
        let text = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
        ApiError::new(Code::ReceiptHandleIsInvalid, text)
    })
}
