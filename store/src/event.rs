//! The durable queue of asynchronous invocations, and the dead letters.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_domain::{AccountId, AliasName, FunctionName, RequestId, Version};
use serde::{Deserialize, Serialize};

use crate::StoreFailure;
use crate::message::Message;

/// Events that were acknowledged with 202. At least once: an event that was taken and not settled is offered again
/// after a restart.
#[async_trait]
pub trait EventQueue: Send + Sync + 'static {
    /// Adds an event; on disk when this returns.
    async fn push(&self, event: Event) -> Result<EventId, PushError>;

    /// Takes up to `limit` events that are due at `now_unix_ms`, earliest due first; events of a function of which very
    /// many are taken are held back, so that others get their turn. Taken events stay stored and are not offered again
    /// by this process until [`Self::reschedule`] or [`Self::settle`].
    async fn take_due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<(EventId, Event)>, StoreFailure>;

    /// When the earliest event that can be taken is due, Unix milliseconds.
    async fn next_due(&self) -> Result<Option<u64>, StoreFailure>;

    /// Waits until [`Self::next_due`] may have changed since the last call: an event was pushed, rescheduled or settled.
    async fn changed(&self);

    /// Puts a taken event back with new counts and due time. Its payload is the one that was pushed.
    async fn reschedule(&self, id: EventId, event: Event) -> Result<(), StoreFailure>;

    /// Removes a taken event and, in the same transaction, stores what it leaves behind. If that has no room, nothing
    /// happens and the event stays taken.
    async fn settle(&self, id: EventId, leaves: Settlement) -> Result<(), PushError>;

    /// How many events are stored, taken ones included.
    async fn depth(&self) -> Result<usize, StoreFailure>;

    /// Dead letters of an account, oldest first, from after `after`, at most `limit`.
    async fn dead_letters(
        &self,
        account: &AccountId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, DeadLetter)>, StoreFailure>;
}

/// An event that was not added.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The queue holds as much as it may: a clear no (429), worth trying again later.
    #[error("the queue of events is full: it holds {events} events with {payload_bytes} bytes")]
    Full {
        /// How many events are stored.
        events: usize,
        /// The bytes of their payloads.
        payload_bytes: u64,
    },
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// Names a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub u64);

/// One asynchronous invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The id the caller was given; the same over all attempts.
    pub request_id: RequestId,
    /// Whose function.
    pub account: AccountId,
    /// Which function.
    pub name: FunctionName,
    /// Which version; of an event for an alias, the one it meant when the event was accepted.
    pub version: Version,
    /// The alias it was sent to: the version that runs is the one this means then.
    #[serde(default)]
    pub alias: Option<AliasName>,
    /// The ARN as it was invoked.
    pub invoked_arn: String,
    /// The payload.
    pub payload: Bytes,
    /// When it was accepted, Unix milliseconds: its age counts from here.
    pub accepted_unix_ms: u64,
    /// When it is due next, Unix milliseconds.
    pub due_unix_ms: u64,
    /// Attempts that reached the function and failed.
    pub failed_attempts: u32,
    /// Times it went back because of throttling or a failure of the platform.
    pub deferrals: u32,
    /// How many events led to it, each by a record sent to a function: 0 for a caller's event, 1 for the record of what
    /// became of that, 2 for the record of the record's.
    #[serde(default)]
    pub forwards: u32,
}

/// What a settled event leaves behind: nothing, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settlement {
    /// The letter that keeps it.
    pub dead_letter: Option<DeadLetter>,
    /// Events for other functions. Each needs room in the queue; the settled event's own is theirs.
    pub events: Vec<Event>,
    /// Messages to queues, topics and buses. Where a channel is full, its oldest message makes room, and the log says so.
    pub messages: Vec<Message>,
}

impl From<DeadLetter> for Settlement {
    fn from(letter: DeadLetter) -> Self {
        Self { dead_letter: Some(letter), ..Self::default() }
    }
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The event, as it was at the end.
    pub event: Event,
    /// `RetriesExhausted` or `EventAgeExceeded` (AWS: the `condition` of a destination record).
    pub condition: String,
    /// The last error document, if the function ran.
    pub error: Option<String>,
    /// When it was given up, Unix milliseconds.
    pub unix_ms: u64,
}
