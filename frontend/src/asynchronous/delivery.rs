//! What a settled event leaves behind: the records for its destinations, the message for its dead-letter queue, or the
//! letter that keeps it.
//!
//! ```text
//! succeeded ─→ OnSuccess                            (no record that arrives: counted)
//! given up ──→ OnFailure, dead-letter target         (neither gets it whole: the event is kept as a dead letter)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_domain::RequestId;
use hearth_domain::limits::{
    ASYNC_REQUEST_MAX_BYTES, BUS_EVENT_MAX_BYTES, QUEUE_MESSAGE_MAX_BYTES, TOPIC_MESSAGE_MAX_BYTES,
};
use hearth_store::event::{DeadLetter, Event, Settlement};
use hearth_store::message::{Attribute, Message};
use hearth_store::{Catalog, StoreFailure};
use serde::Deserialize;
use tracing::{error, warn};
use uuid::Uuid;

use crate::asynchronous::channels::Channels;
use crate::asynchronous::configuration::EventInvokeConfig;
use crate::asynchronous::destination::{Ending, Recorded};
use crate::asynchronous::schedule::Condition;
use crate::asynchronous::target::{ChannelKind, ChannelTarget, FunctionTarget, Home, Target};
use crate::resolution::Resolver;

/// Most of an error's text that goes to a dead-letter queue, bytes (AWS: "The first 1 KB of the error message").
const ERROR_MESSAGE_MAX_BYTES: usize = 1_024;

/// Finds targets, and writes what they get.
pub(super) struct Delivery {
    pub(super) region: String,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) resolver: Resolver,
    pub(super) channels: Channels,
}

/// What an event leaves behind.
pub(super) struct Leaves {
    pub(super) settlement: Settlement,
    /// The same without events for functions, if the queue has no room for those.
    pub(super) without_events: Settlement,
    /// Records and messages that don't arrive.
    pub(super) undelivered: u64,
    /// Where the others go, for counting.
    pub(super) delivered: Vec<&'static str>,
}

/// Something for one target.
enum Parcel {
    Event(Event),
    Message(Message),
}

/// What goes to a target: the record, or the event itself as a dead-letter queue gets it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Record,
    DeadLetter,
}

impl Delivery {
    /// What becomes of an event that ended so. Never fails: what can't be sent is kept.
    pub(super) async fn leaves(&self, ending: Ending<'_>, config: Option<&EventInvokeConfig>) -> Leaves {
        let succeeded = ending.condition == Condition::Success;
        let destination =
            config.and_then(|config| if succeeded { &config.on_success } else { &config.on_failure }.clone());
        let dead_letter_target = if succeeded { None } else { self.dead_letter_target(ending).await };
        let targets =
            [destination.map(|arn| (arn, Form::Record)), dead_letter_target.map(|arn| (arn, Form::DeadLetter))];
        let (mut settlement, mut undelivered, mut delivered) = (Settlement::default(), 0, Vec::new());
        // Whether somebody gets the event whole, and whether that holds without the events for functions.
        let (mut whole, mut whole_by_message) = (false, false);
        for (arn, form) in targets.into_iter().flatten() {
            match self.parcel(&arn, form, ending).await {
                Some((Parcel::Event(event), has_payload)) => {
                    whole |= has_payload;
                    settlement.events.push(event);
                    delivered.push("function");
                }
                Some((Parcel::Message(message), has_payload)) => {
                    (whole, whole_by_message) = (whole | has_payload, whole_by_message | has_payload);
                    settlement.messages.push(message);
                    delivered.push("channel");
                }
                None => undelivered += 1,
            }
        }
        let letter = |kept: bool| (kept && !succeeded).then(|| dead_letter(ending));
        let without_events = Settlement {
            dead_letter: letter(!whole_by_message),
            messages: settlement.messages.clone(),
            events: Vec::new(),
        };
        settlement.dead_letter = letter(!whole);
        Leaves { settlement, without_events, undelivered, delivered }
    }

    /// The one of the version that ran; it is part of a version's frozen configuration.
    async fn dead_letter_target(&self, ending: Ending<'_>) -> Option<String> {
        let event = ending.event;
        let version = ending.last_run.map_or(event.version, |run| run.executed_version);
        let found = self.catalog.get(&event.account, &event.name, version).await;
        found.unwrap_or_else(|failure| lost(event, &failure))?.dead_letter_target.clone()
    }

    /// What the target at `arn` gets, and whether the event's payload is in it; `None` if it can't have it.
    async fn parcel(&self, arn: &str, form: Form, ending: Ending<'_>) -> Option<(Parcel, bool)> {
        let home = Home { account: &ending.event.account, region: &self.region };
        let parcel = match Target::read(arn, home) {
            Some(Target::Function(target)) => self.event_for(&target, ending).await,
            Some(Target::Channel(target)) => self.message_for(&target, form, ending).await,
            None => None,
        };
        if parcel.is_none() {
            warn!(request_id = %ending.event.request_id, %arn, "the record of an event can't be sent");
        }
        parcel
    }

    async fn event_for(&self, target: &FunctionTarget, ending: Ending<'_>) -> Option<(Parcel, bool)> {
        let Ending { event, unix_ms, .. } = ending;
        // The record would only go round again.
        if ending.condition == Condition::RecursiveLoop {
            return None;
        }
        let found = self.resolver.look_up(&event.account, &target.name, target.qualifier.as_ref()).await;
        let found = found.unwrap_or_else(|failure| lost(event, &failure))?;
        let Recorded { bytes, has_payload } = ending.record(ASYNC_REQUEST_MAX_BYTES)?;
        let record = Event {
            request_id: fresh_request_id(),
            account: event.account.clone(),
            name: target.name.clone(),
            version: found.record.function.version,
            alias: found.alias.map(|alias| alias.name.clone()),
            invoked_arn: target.arn.clone(),
            payload: bytes,
            accepted_unix_ms: unix_ms,
            due_unix_ms: unix_ms,
            failed_attempts: 0,
            deferrals: 0,
            forwards: event.forwards.saturating_add(1),
        };
        Some((Parcel::Event(record), has_payload))
    }

    async fn message_for(&self, target: &ChannelTarget, form: Form, ending: Ending<'_>) -> Option<(Parcel, bool)> {
        let Ending { event, unix_ms, .. } = ending;
        let found = self.channels.get(&event.account, target.kind, &target.name).await;
        found.unwrap_or_else(|failure| lost(event, &failure))?;
        let id = Uuid::new_v4().to_string();
        let (max_bytes, is_bus) = match target.kind {
            ChannelKind::Queue => (QUEUE_MESSAGE_MAX_BYTES, false),
            ChannelKind::Topic => (TOPIC_MESSAGE_MAX_BYTES, false),
            ChannelKind::Bus => (BUS_EVENT_MAX_BYTES, true),
        };
        let (Recorded { bytes, has_payload }, attributes) = match form {
            Form::DeadLetter => {
                let attributes = dead_letter_attributes(ending);
                let whole = event.payload.len() + size_of_attributes(&attributes) <= max_bytes;
                (whole.then(|| Recorded { bytes: event.payload.clone(), has_payload: true })?, attributes)
            }
            Form::Record if is_bus => (ending.bus_event(&id, &target.arn, &self.region, max_bytes)?, BTreeMap::new()),
            Form::Record => (ending.record(max_bytes)?, BTreeMap::new()),
        };
        let channel = target.arn.clone();
        let message = Message { channel, id, body: bytes, attributes, sent_unix_ms: unix_ms, visible_unix_ms: unix_ms };
        Some((Parcel::Message(message), has_payload))
    }
}

fn dead_letter(ending: Ending<'_>) -> DeadLetter {
    DeadLetter {
        event: ending.event.clone(),
        condition: ending.condition.name().to_owned(),
        error: ending.last_run.map(|run| String::from_utf8_lossy(&run.document).into_owned()),
        unix_ms: ending.unix_ms,
    }
}

/// AWS: Lambda developer guide, "Adding a dead-letter queue": `RequestID`, `ErrorCode`, `ErrorMessage`.
fn dead_letter_attributes(ending: Ending<'_>) -> BTreeMap<String, Attribute> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ErrorDocument {
        error_message: String,
    }
    let said = ending.last_run.and_then(|run| serde_json::from_slice::<ErrorDocument>(&run.document).ok());
    let text = said.map_or_else(|| ending.condition.name().to_owned(), |document| document.error_message);
    let end = (0..=ERROR_MESSAGE_MAX_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    let text = &text[..end.unwrap_or(0)];
    let code = match (ending.last_run, ending.condition) {
        (Some(_), _) => "200",
        (None, Condition::FunctionNotFound) => "404",
        (None, _) => "429",
    };
    let attribute = |name: &str, data_type: &str, value: &str| {
        (name.to_owned(), Attribute { data_type: data_type.to_owned(), value: value.to_owned() })
    };
    BTreeMap::from([
        attribute("RequestID", "String", ending.event.request_id.as_str()),
        attribute("ErrorCode", "Number", code),
        attribute("ErrorMessage", "String", text),
    ])
}

/// Attributes count against the size of a message (SQS: "Message size").
fn size_of_attributes(attributes: &BTreeMap<String, Attribute>) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value.data_type.len() + value.value.len()).sum()
}

/// A store that fails leaves the event without that target, and so to be kept.
fn lost<T>(event: &Event, failure: &StoreFailure) -> Option<T> {
    error!(%failure, request_id = %event.request_id, "a target of records can't be looked up");
    None
}

fn fresh_request_id() -> RequestId {
    let id = Uuid::new_v4().to_string();
    RequestId::new(&id).unwrap_or_else(|_| unreachable!("a UUID is a request id"))
}
