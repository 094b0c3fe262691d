//! An event, a dead letter or a message as one value: the document without its payload, and the payload behind it if it is small.
//!
//! ```text
//! format 1:  01 | length of the document (4 bytes, big endian) | JSON document | inline payload
//! ```

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StoreFailure;
use crate::embedded::payloads::{Payloads, Place};
use crate::embedded::value::{self, ValueError};
use crate::event::{DeadLetter, Event, EventId};
use crate::message::Message;

/// A document with an emptied payload, and where the payload is.
pub(super) struct Stored<T> {
    pub(super) document: T,
    pub(super) place: Place,
    pub(super) inline: Bytes,
}

pub(super) type StoredLetter = Stored<DeadLetter>;

/// What stands before the payload.
#[derive(Serialize, Deserialize)]
struct Head<T> {
    document: T,
    place: Place,
}

/// A document that came with a payload.
pub(super) trait Carrier {
    fn payload(&mut self) -> &mut Bytes;
}

impl Carrier for Event {
    fn payload(&mut self) -> &mut Bytes {
        &mut self.payload
    }
}

impl Carrier for DeadLetter {
    fn payload(&mut self) -> &mut Bytes {
        &mut self.event.payload
    }
}

impl Carrier for Message {
    fn payload(&mut self) -> &mut Bytes {
        &mut self.body
    }
}

impl<T: Carrier + Serialize + DeserializeOwned> Stored<T> {
    pub(super) fn encode(&self, tree: &str, key: &[u8]) -> Result<Vec<u8>, StoreFailure> {
        let failed = |error| value::failure("encode", tree, key, error);
        let head = Head { document: &self.document, place: self.place };
        let mut bytes = vec![value::FORMAT_JSON, 0, 0, 0, 0];
        serde_json::to_writer(&mut bytes, &head).map_err(|error| failed(error.into()))?;
        let length = u32::try_from(bytes.len() - 5)
            .map_err(|error| failed(Box::<dyn std::error::Error + Send + Sync>::from(error)))?;
        bytes[1..5].copy_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.inline);
        Ok(bytes)
    }

    pub(super) fn decode(tree: &str, key: &[u8], bytes: &[u8]) -> Result<Self, StoreFailure> {
        let parsed = || {
            let rest = value::document(bytes)?;
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(ValueError::CutShort)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (head, inline) = rest.split_at_checked(length).ok_or(ValueError::CutShort)?;
            let Head { document, place } = serde_json::from_slice(head)?;
            Ok(Self { document, place, inline: Bytes::copy_from_slice(inline) })
        };
        parsed().map_err(|error: ValueError| value::failure("read", tree, key, error))
    }

    /// The document with its payload.
    pub(super) fn load(mut self, payloads: &Payloads) -> Result<T, StoreFailure> {
        *self.document.payload() = payloads.read(self.place, self.inline)?;
        Ok(self.document)
    }

    /// Another document that goes with the same payload.
    pub(super) fn with_document<U: Carrier>(self, mut document: U) -> Stored<U> {
        document.payload().clear();
        Stored { document, place: self.place, inline: self.inline }
    }

    pub(super) fn payload_bytes(&self) -> u64 {
        match self.place {
            Place::Inline => self.inline.len() as u64,
            Place::File { bytes, .. } => bytes,
        }
    }

    /// The name of the payload's file, if it has one.
    pub(super) fn file(&self) -> Option<u64> {
        match self.place {
            Place::Inline => None,
            Place::File { name, .. } => Some(name),
        }
    }
}

pub(super) fn decode_event(key: &[u8], bytes: &[u8]) -> Result<(EventId, Stored<Event>), StoreFailure> {
    let misplaced = |_| value::failure("read", super::EVENTS, key, ValueError::Misplaced);
    let id = <[u8; 8]>::try_from(key).map_err(misplaced)?;
    Ok((EventId(u64::from_be_bytes(id)), Stored::decode(super::EVENTS, key, bytes)?))
}
