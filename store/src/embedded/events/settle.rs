//! Settling an event: out of the queue, and in the same transaction whatever it leaves behind.

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionalTree};

use crate::StoreFailure;
use crate::embedded::disk::transacted;
use crate::embedded::events::letters::Burial;
use crate::embedded::events::messages::Sending;
use crate::embedded::events::stored::Stored;
use crate::embedded::events::{EVENTS, Shared, function, key};
use crate::embedded::payloads::Place;
use crate::event::{DeadLetter, Event, EventId, PushError, Settlement};

type Abort = ConflictableTransactionError<StoreFailure>;

/// An event for another function, ready to be written.
struct NewEvent {
    id: EventId,
    event: Event,
    value: Vec<u8>,
}

impl Shared {
    pub(super) fn settle(&self, operation: &str, id: EventId, leaves: Settlement) -> Result<(), PushError> {
        let stored = self.taken(operation, id)?;
        let (freed, place) = (stored.payload_bytes(), stored.place);
        let admitted: Vec<u64> = leaves.events.iter().map(|event| event.payload.len() as u64).collect();
        self.queue().admit_instead(freed, &admitted)?;
        let buried = leaves.dead_letter.is_some();
        let settled = self.write_settlement(operation, id, stored, leaves);
        let (new, mut removed) = match settled {
            Ok(settled) => settled,
            Err(failure) => {
                let mut queue = self.queue();
                admitted.iter().for_each(|bytes| queue.release(*bytes));
                return Err(failure.into());
            }
        };
        if !buried {
            removed.push(place);
        }
        removed.into_iter().for_each(|place| self.payloads.remove(place));
        let mut queue = self.queue();
        for NewEvent { id, event, .. } in &new {
            queue.offer(*id, function(event), event.due_unix_ms);
        }
        queue.settled(id, freed);
        drop(queue);
        // Another one of the same function may be taken now.
        self.changed.notify_one();
        self.arrived.notify_waiters();
        Ok(())
    }

    /// Returns the new events and the payloads that nothing refers to any more. On disk when this returns.
    fn write_settlement(
        &self,
        operation: &str,
        id: EventId,
        stored: Stored<Event>,
        leaves: Settlement,
    ) -> Result<(Vec<NewEvent>, Vec<Place>), StoreFailure> {
        let new = leaves.events.into_iter().map(|event| self.new_event(event)).collect::<Result<Vec<_>, _>>()?;
        let burial = leaves.dead_letter.map(|letter: DeadLetter| {
            self.letters.prepare(operation, self.disk.next_id()?, &stored.with_document(letter))
        });
        let burial = burial.transpose()?;
        let sending = self.messages.prepare(&self.disk, &self.payloads, leaves.messages)?;
        let trees = (&self.events, self.letters.tree(), self.messages.tree());
        let written = trees.transaction(|(events, letters, messages)| {
            events.remove(&key(id))?;
            for NewEvent { id, value, .. } in &new {
                events.insert(&key(*id), value.as_slice())?;
            }
            burial.as_ref().map_or(Ok(()), |burial| burial.write(letters))?;
            sending.write(messages)
        });
        transacted(operation, written)?;
        let mut removed = burial.map(Burial::done).unwrap_or_default();
        removed.extend(sending.done());
        self.disk.commit(operation)?;
        Ok((new, removed))
    }

    fn new_event(&self, event: Event) -> Result<NewEvent, StoreFailure> {
        let id = EventId(self.disk.next_id()?);
        let (place, inline) = self.payloads.write(id.0, &event.payload)?;
        let mut document = event.clone();
        document.payload.clear();
        let value = Stored { document, place, inline }.encode(EVENTS, &key(id))?;
        Ok(NewEvent { id, event, value })
    }
}

impl Burial<'_> {
    fn write(&self, letters: &TransactionalTree) -> Result<(), Abort> {
        letters.insert(self.key.as_slice(), self.value.as_slice())?;
        for (evicted, _) in &self.evicted {
            letters.remove(evicted)?;
        }
        Ok(())
    }
}

impl Sending<'_> {
    pub(super) fn write(&self, messages: &TransactionalTree) -> Result<(), Abort> {
        for (key, value) in &self.written {
            messages.insert(key.as_slice(), value.as_slice())?;
        }
        for key in &self.evicted {
            messages.remove(key.as_slice())?;
        }
        Ok(())
    }
}
