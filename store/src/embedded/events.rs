//! The queue of events, the dead letters, and the messages of channels in sled.
//!
//! ```text
//! events        id (8 bytes, big endian)                    → StoredEvent, payload
//! dead_letters  account, sequence (8 bytes, big endian)     → StoredLetter, payload
//! messages      channel '\0' number (8 bytes, big endian)   → StoredMessage, body
//! ```
//!
//! Which event is due when, and which are taken, is in memory ([`Queue`]) and rebuilt at the start: so a taken event that
//! was not settled is offered again after a crash, and taking one writes nothing.

mod channel_store;
mod letters;
mod messages;
mod settle;
mod stored;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hearth_domain::AccountId;
use sled::Tree;
use tokio::sync::Notify;

use crate::StoreFailure;
use crate::embedded::disk::{Disk, off_thread};
use crate::embedded::events::letters::Letters;
use crate::embedded::events::messages::Messages;
use crate::embedded::events::stored::Stored;
use crate::embedded::payloads::Payloads;
use crate::embedded::queue::{FunctionKey, Queue, QueueLimits};
use crate::event::{DeadLetter, Event, EventId, EventQueue, PushError, Settlement};
use crate::message::Message;

const EVENTS: &str = "events";

pub(super) struct EmbeddedEvents(Arc<Shared>);

struct Shared {
    disk: Arc<Disk>,
    events: Tree,
    letters: Letters,
    messages: Messages,
    payloads: Payloads,
    queue: Mutex<Queue>,
    changed: Notify,
    /// A message has come.
    arrived: Notify,
}

/// Events that were taken and not handed over yet. Dropped with the events in it (because nobody waits for them any
/// more, or one could not be read), it puts them back.
struct Taken {
    shared: Arc<Shared>,
    ids: Vec<EventId>,
    events: Vec<(EventId, Event)>,
}

impl EmbeddedEvents {
    pub(super) fn open(disk: &Arc<Disk>, dir: &Path, limits: QueueLimits) -> Result<Self, StoreFailure> {
        let events = disk.tree(EVENTS)?;
        let payloads = Payloads::open(dir.join("payloads"))?;
        let mut queue = Queue::new(limits);
        let mut files = BTreeSet::new();
        for entry in &events {
            let (key, bytes) = entry.map_err(|error| StoreFailure::new("read events", error))?;
            let (id, stored) = stored::decode_event(&key, &bytes)?;
            queue.count(stored.payload_bytes());
            queue.offer(id, function(&stored.document), stored.document.due_unix_ms);
            files.extend(stored.file());
        }
        let letters = Letters::open(disk, limits.max_dead_letters, &mut files)?;
        let messages = Messages::open(disk, limits.max_messages, &mut files)?;
        payloads.sweep(&files)?;
        let (disk, queue, changed, arrived) = (disk.clone(), Mutex::new(queue), Notify::new(), Notify::new());
        Ok(Self(Arc::new(Shared { disk, events, letters, messages, payloads, queue, changed, arrived })))
    }

    /// Runs work off the async threads, and to its end even if nobody waits for it any more.
    async fn off_thread<T: Send + 'static, E: From<StoreFailure> + Send + 'static>(
        &self,
        operation: String,
        work: impl FnOnce(&Arc<Shared>, &str) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let shared = self.0.clone();
        off_thread(operation.clone(), move || work(&shared, &operation)).await
    }
}

#[async_trait]
impl EventQueue for EmbeddedEvents {
    async fn push(&self, event: Event) -> Result<EventId, PushError> {
        self.off_thread(format!("push event of request {}", event.request_id), |shared, operation| {
            let (function, due, bytes) = (function(&event), event.due_unix_ms, event.payload.len() as u64);
            shared.queue().admit(bytes)?;
            let written = shared.write_new(operation, event);
            match &written {
                Ok(id) => shared.offer(*id, function, due),
                Err(_) => shared.queue().release(bytes),
            }
            Ok(written?)
        })
        .await
    }

    async fn take_due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<(EventId, Event)>, StoreFailure> {
        let taken = self.off_thread("take events".into(), move |shared, operation| {
            let ids = shared.queue().take(now_unix_ms, limit);
            let mut taken = Taken { shared: shared.clone(), ids, events: Vec::new() };
            taken.read(operation)?;
            Ok::<_, StoreFailure>(taken)
        });
        Ok(taken.await?.hand_over())
    }

    async fn next_due(&self) -> Result<Option<u64>, StoreFailure> {
        Ok(self.0.queue().next_due())
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }

    async fn reschedule(&self, id: EventId, event: Event) -> Result<(), StoreFailure> {
        self.off_thread(format!("reschedule event {}", id.0), move |shared, operation| {
            let stored = shared.taken(operation, id)?;
            let (function, due) = (function(&event), event.due_unix_ms);
            let bytes = stored.with_document(event).encode(EVENTS, &key(id))?;
            shared.events.insert(key(id), bytes).map_err(|error| StoreFailure::new(operation, error))?;
            shared.disk.commit(operation)?;
            shared.offer(id, function, due);
            Ok(())
        })
        .await
    }

    async fn settle(&self, id: EventId, leaves: Settlement) -> Result<(), PushError> {
        self.off_thread(format!("settle event {}", id.0), move |shared, operation| shared.settle(operation, id, leaves))
            .await
    }

    async fn depth(&self) -> Result<usize, StoreFailure> {
        Ok(self.0.queue().depth())
    }

    async fn dead_letters(
        &self,
        account: &AccountId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, DeadLetter)>, StoreFailure> {
        let account = account.clone();
        self.off_thread(format!("read dead letters of {account}"), move |shared, operation| {
            shared.letters.read(operation, &account, after, limit, &shared.payloads)
        })
        .await
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No method of the queue leaves it half changed, whatever panics around it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, id: EventId, function: FunctionKey, due_unix_ms: u64) {
        self.queue().offer(id, function, due_unix_ms);
        self.changed.notify_one();
    }

    fn write_new(&self, operation: &str, mut event: Event) -> Result<EventId, StoreFailure> {
        let id = EventId(self.disk.next_id()?);
        let payload = std::mem::take(&mut event.payload);
        let (place, inline) = self.payloads.write(id.0, &payload)?;
        let written = Stored { document: event, place, inline }.encode(EVENTS, &key(id)).and_then(|bytes| {
            self.events.insert(key(id), bytes).map_err(|error| StoreFailure::new(operation, error))?;
            self.disk.commit(operation)
        });
        written.map(|()| id)
    }

    /// A taken event as it is stored.
    fn taken(&self, operation: &str, id: EventId) -> Result<Stored<Event>, StoreFailure> {
        if !self.queue().is_taken(id) {
            return Err(StoreFailure::new(operation, "the event is not taken"));
        }
        self.stored(operation, id)
    }

    fn stored(&self, operation: &str, id: EventId) -> Result<Stored<Event>, StoreFailure> {
        let bytes = self.events.get(key(id)).map_err(|error| StoreFailure::new(operation, error))?;
        let bytes =
            bytes.ok_or_else(|| StoreFailure::new(format!("{operation}: read event {}", id.0), "it is gone"))?;
        Ok(stored::decode_event(&key(id), &bytes)?.1)
    }

    /// A message with its body; `None` if it was deleted meanwhile.
    fn loaded_message(&self, channel: &str, number: u64) -> Result<Option<Message>, StoreFailure> {
        let loaded = self.messages.stored(channel, number).and_then(|stored| stored.load(&self.payloads));
        match loaded {
            Err(_) if !self.messages.channels().has(channel, number) => Ok(None),
            loaded => loaded.map(Some),
        }
    }
}

impl Taken {
    /// Reads the events. One that can't be read is set aside until the next start, so that it does not stand in the
    /// way of the others.
    fn read(&mut self, operation: &str) -> Result<(), StoreFailure> {
        for id in self.ids.clone() {
            let read = self.shared.stored(operation, id).and_then(|stored| stored.load(&self.shared.payloads));
            match read {
                Ok(event) => self.events.push((id, event)),
                Err(failure) => {
                    self.ids.retain(|other| *other != id);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn hand_over(mut self) -> Vec<(EventId, Event)> {
        self.ids.clear();
        std::mem::take(&mut self.events)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let mut queue = self.shared.queue();
        self.ids.iter().for_each(|id| queue.put_back(*id));
        drop(queue);
        self.shared.changed.notify_one();
    }
}

fn function(event: &Event) -> FunctionKey {
    (event.account.clone(), event.name.clone())
}

fn key(id: EventId) -> [u8; 8] {
    id.0.to_be_bytes()
}
