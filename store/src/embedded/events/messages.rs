//! Messages of queues, topics and buses in sled.
//!
//! ```text
//! messages      channel '\0' number (8 bytes, big endian)   → StoredMessage, body
//! ```
//!
//! Numbers are the database's own, so they rise over all channels.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sled::Tree;

use crate::StoreFailure;
use crate::embedded::channels::Channels;
use crate::embedded::disk::Disk;
use crate::embedded::events::stored::Stored;
use crate::embedded::payloads::{Payloads, Place};
use crate::embedded::value::{ValueError, failure};
use crate::message::{Message, SendError};

const MESSAGES: &str = "messages";

pub(super) type StoredMessage = Stored<Message>;

pub(super) struct Messages {
    tree: Tree,
    max_per_channel: usize,
    /// Held while messages are written, so that what is in memory and what is on disk change together.
    channels: Mutex<Channels>,
}

/// What some more messages write and remove. Held until the transaction is over.
pub(super) struct Sending<'a> {
    pub(super) written: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) evicted: Vec<Vec<u8>>,
    channels: MutexGuard<'a, Channels>,
    added: Vec<(String, u64, u64)>,
    removed: Vec<(String, u64, Place)>,
}

impl Messages {
    /// Reads which messages there are, and adds the files that they refer to.
    pub(super) fn open(
        disk: &Arc<Disk>,
        max_per_channel: usize,
        files: &mut BTreeSet<u64>,
    ) -> Result<Self, StoreFailure> {
        let tree = disk.tree(MESSAGES)?;
        let mut channels = Channels::default();
        for entry in &tree {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new("read messages", error))?;
            let stored = StoredMessage::decode(MESSAGES, &key, &bytes)?;
            files.extend(stored.file());
            channels.added(&stored.document.channel, number(&key)?, stored.document.visible_unix_ms);
        }
        Ok(Self { tree, max_per_channel, channels: Mutex::new(channels) })
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn channels(&self) -> MutexGuard<'_, Channels> {
        // No method of the channels leaves them half changed, whatever panics around them.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a message for a full channel.
    pub(super) fn check_room(&self, channel: &str) -> Result<(), SendError> {
        let messages = self.channels().len(channel);
        if messages < self.max_per_channel {
            return Ok(());
        }
        Err(SendError::Full { channel: channel.to_owned(), messages })
    }

    /// Writes the bodies, and says what the transaction has to do. Of a full channel the oldest messages are removed.
    pub(super) fn prepare(
        &self,
        disk: &Disk,
        payloads: &Payloads,
        messages: Vec<Message>,
    ) -> Result<Sending<'_>, StoreFailure> {
        let mut sending = Sending {
            written: Vec::new(),
            evicted: Vec::new(),
            channels: self.channels(),
            added: Vec::new(),
            removed: Vec::new(),
        };
        for mut message in messages {
            let number = disk.next_id()?;
            let body = std::mem::take(&mut message.body);
            let (place, inline) = payloads.write(number, &body)?;
            let (channel, visible) = (message.channel.clone(), message.visible_unix_ms);
            let key = key(&channel, number);
            let value = Stored { document: message, place, inline }.encode(MESSAGES, &key)?;
            sending.written.push((key, value));
            sending.added.push((channel, number, visible));
        }
        self.evict(&mut sending)?;
        Ok(sending)
    }

    fn evict(&self, sending: &mut Sending<'_>) -> Result<(), StoreFailure> {
        let channels: BTreeSet<&String> = sending.added.iter().map(|(channel, ..)| channel).collect();
        for channel in channels {
            let more = sending.added.iter().filter(|(other, ..)| other == channel).count();
            let surplus = (sending.channels.len(channel) + more).saturating_sub(self.max_per_channel);
            for number in sending.channels.numbers(channel).take(surplus) {
                tracing::warn!(%channel, number, "too many messages: the oldest is removed");
                let place = self.stored(channel, number)?.place;
                sending.evicted.push(key(channel, number));
                sending.removed.push((channel.clone(), number, place));
            }
        }
        Ok(())
    }

    /// A message as it is stored.
    pub(super) fn stored(&self, channel: &str, number: u64) -> Result<StoredMessage, StoreFailure> {
        let key = key(channel, number);
        let failed = |error: &str| StoreFailure::new(format!("read message {number} of {channel}"), error);
        let bytes = self.tree.get(&key).map_err(|error| failed(&error.to_string()))?;
        StoredMessage::decode(MESSAGES, &key, &bytes.ok_or_else(|| failed("it is gone"))?)
    }

    /// Deletes messages; returns the payloads that nothing refers to any more.
    pub(super) fn delete(&self, disk: &Disk, channel: &str, numbers: &[u64]) -> Result<Vec<Place>, StoreFailure> {
        let operation = format!("delete messages of {channel}");
        let mut channels = self.channels();
        let (mut batch, mut places) = (sled::Batch::default(), Vec::new());
        for number in numbers.iter().filter(|number| channels.has(channel, **number)) {
            places.push(self.stored(channel, *number)?.place);
            batch.remove(key(channel, *number));
        }
        self.tree.apply_batch(batch).map_err(|error| StoreFailure::new(&operation, error))?;
        disk.commit(&operation)?;
        for number in numbers {
            channels.removed(channel, *number);
        }
        Ok(places)
    }
}

impl Sending<'_> {
    /// The transaction is over; returns the payloads that nothing refers to any more.
    pub(super) fn done(mut self) -> Vec<Place> {
        for (channel, number, visible_unix_ms) in &self.added {
            self.channels.added(channel, *number, *visible_unix_ms);
        }
        let evicted = self.removed.iter().map(|(channel, number, place)| {
            self.channels.removed(channel, *number);
            *place
        });
        evicted.collect()
    }

    /// The number of the last message.
    pub(super) fn last_number(&self) -> u64 {
        self.added.last().map_or(0, |(_, number, _)| *number)
    }
}

fn key(channel: &str, number: u64) -> Vec<u8> {
    let mut key = channel.as_bytes().to_vec();
    key.push(0);
    key.extend(number.to_be_bytes());
    key
}

fn number(key: &[u8]) -> Result<u64, StoreFailure> {
    let number = key.last_chunk::<8>().ok_or_else(|| failure("read", MESSAGES, key, ValueError::Misplaced))?;
    Ok(u64::from_be_bytes(*number))
}
