//! Messages in the local stand-ins of queues, topics and event buses: where records of asynchronous invocations go.
//!
//! A channel is no more than a name here (its ARN); which ones exist is the frontend's to know. Messages are durable;
//! who has received one without deleting it yet is in memory, so after a restart every message can be received again.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::StoreFailure;

/// Messages of channels, each channel in the order of sending.
#[async_trait]
pub trait MessageStore: Send + Sync + 'static {
    /// Adds a message; on disk when this returns. Its number rises from message to message.
    async fn send(&self, message: Message) -> Result<u64, SendError>;

    /// Receives up to `limit` messages that can be received at `now_unix_ms`, oldest first, and hides each until
    /// `hidden_until_unix_ms`, or until it is deleted.
    async fn receive(
        &self,
        channel: &str,
        now_unix_ms: u64,
        hidden_until_unix_ms: u64,
        limit: usize,
    ) -> Result<Vec<Received>, StoreFailure>;

    /// Messages from after `after`, whether received or not, at most `limit`. Receives none.
    async fn peek(&self, channel: &str, after: Option<u64>, limit: usize) -> Result<Vec<(u64, Message)>, StoreFailure>;

    /// Deletes a message. Says whether it was there.
    async fn delete(&self, channel: &str, number: u64) -> Result<bool, StoreFailure>;

    /// Hides a received message until then instead; a moment in the past shows it again. Says whether it was there and
    /// hidden.
    async fn hide_until(&self, channel: &str, number: u64, unix_ms: u64) -> Result<bool, StoreFailure>;

    /// Deletes all messages of a channel; tells how many.
    async fn purge(&self, channel: &str) -> Result<usize, StoreFailure>;

    /// How many a channel holds.
    async fn counts(&self, channel: &str, now_unix_ms: u64) -> Result<MessageCounts, StoreFailure>;

    /// Waits until a message has come into any channel since the last look of this waiter's process.
    async fn arrival(&self);
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The ARN of its queue, topic or bus.
    pub channel: String,
    /// Its id, unique.
    pub id: String,
    /// The content.
    pub body: Bytes,
    /// Named values beside it.
    #[serde(default)]
    pub attributes: BTreeMap<String, Attribute>,
    /// When it was sent, Unix milliseconds.
    pub sent_unix_ms: u64,
    /// When it can be received first, Unix milliseconds.
    #[serde(default)]
    pub visible_unix_ms: u64,
}

/// A value beside a message (SQS: `MessageAttributeValue`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `String`, `Number`, or one of them with a custom suffix.
    pub data_type: String,
    /// The value as text.
    pub value: String,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Names it within its channel.
    pub number: u64,
    /// What it is.
    pub message: Message,
    /// How many times it was received since this process started, this time included.
    pub receive_count: u32,
    /// When it was received first, Unix milliseconds.
    pub first_received_unix_ms: u64,
}

/// How many messages a channel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageCounts {
    /// Can be received.
    pub visible: usize,
    /// Were received and are not deleted yet.
    pub in_flight: usize,
    /// Can't be received yet for the first time.
    pub delayed: usize,
    /// When the next of the hidden ones can be received, Unix milliseconds.
    pub next_visible_unix_ms: Option<u64>,
}

/// A message that was not added.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The channel holds as many as it may.
    #[error("{channel} is full: it holds {messages} messages")]
    Full {
        /// Which.
        channel: String,
        /// How many.
        messages: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}
