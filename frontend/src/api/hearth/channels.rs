//! Queues, topics and buses, for `hearth queue` and `hearth events`.

use std::collections::BTreeMap;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_daemon::Clock;
use hearth_store::message::Message;
use serde::Serialize;

use crate::api::call::Call;
use crate::api::{Api, json, no_content};
use crate::asynchronous::channels::CHANNELS_MAX;
use crate::asynchronous::target::{ChannelKind, ChannelTarget, Home};
use crate::errors::{ApiError, Code};

/// Most messages in one answer.
const MESSAGES_MAX: u32 = 1_000;
/// Messages in one answer unless asked otherwise.
const MESSAGES_DEFAULT: u32 = 100;

/// `GET /hearth/v1/channels`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelList {
    channels: Vec<ChannelView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelView {
    kind: &'static str,
    name: String,
    arn: String,
    created_unix_ms: u64,
    visible: usize,
    in_flight: usize,
    delayed: usize,
}

/// `GET /hearth/v1/channels/{Kind}/{Name}/messages?after=&limit=`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessagePage {
    messages: Vec<MessageView>,
    /// `after` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageView {
    number: u64,
    id: String,
    sent_unix_ms: u64,
    attributes: BTreeMap<String, String>,
    /// The content, base64: a dead letter may be anything.
    body_base64: String,
}

impl Api {
    /// `GET /hearth/v1/channels`
    pub(in crate::api) async fn hearth_channels(&self, call: Call) -> Result<Response, ApiError> {
        let now = Clock::unix_ms();
        let mut channels = Vec::new();
        for kind in ChannelKind::ALL {
            for channel in self.channels.list(&call.key.account, kind, "", None, CHANNELS_MAX).await? {
                let counts = self.deps.messages.counts(&channel.arn, now).await?;
                channels.push(ChannelView {
                    kind: kind.name(),
                    name: channel.name.clone(),
                    arn: channel.arn.clone(),
                    created_unix_ms: channel.created_unix_ms,
                    visible: counts.visible,
                    in_flight: counts.in_flight,
                    delayed: counts.delayed,
                });
            }
        }
        json(200, &ChannelList { channels })
    }

    /// `GET /hearth/v1/channels/{Kind}/{Name}/messages`
    pub(in crate::api) async fn hearth_messages(&self, call: Call) -> Result<Response, ApiError> {
        let target = self.channel_in_path(&call).await?;
        let limit = call.query_number("limit", "limit", MESSAGES_MAX, MESSAGES_DEFAULT)? as usize;
        let after = call.query("after").map(|text| number(&text, "after")).transpose()?;
        let found = self.deps.messages.peek(&target.arn, after, limit).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(number, _)| *number)).flatten();
        json(200, &MessagePage { messages: found.into_iter().map(MessageView::of).collect(), next })
    }

    /// `DELETE /hearth/v1/channels/{Kind}/{Name}/messages/{Number}`
    pub(in crate::api) async fn hearth_delete_message(&self, call: Call) -> Result<Response, ApiError> {
        let target = self.channel_in_path(&call).await?;
        let text = call.route.parameter("Number", call.parts.uri.path());
        if !self.deps.messages.delete(&target.arn, number(&text, "Number")?).await? {
            let text = format!("{} has no message {text}.", target.arn);
            return Err(ApiError::new(Code::ResourceNotFoundException, text));
        }
        no_content()
    }

    async fn channel_in_path(&self, call: &Call) -> Result<ChannelTarget, ApiError> {
        let path = call.parts.uri.path();
        let (kind, name) = (call.route.parameter("Kind", path), call.route.parameter("Name", path));
        let none = || ApiError::new(Code::ResourceNotFoundException, format!("There is no {kind} {name}."));
        let found = ChannelKind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(none)?;
        self.channels.get(&call.key.account, found, &name).await?.ok_or_else(none)?;
        let home = Home { account: &call.key.account, region: &self.config.region };
        Ok(ChannelTarget::named(found, &name, home))
    }
}

impl MessageView {
    fn of((number, message): (u64, Message)) -> Self {
        Self {
            number,
            id: message.id,
            sent_unix_ms: message.sent_unix_ms,
            attributes: message.attributes.into_iter().map(|(name, attribute)| (name, attribute.value)).collect(),
            body_base64: STANDARD.encode(&message.body),
        }
    }
}

fn number(text: &str, what: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::invalid_parameter(format!("{what} must be the number of a message")))
}
