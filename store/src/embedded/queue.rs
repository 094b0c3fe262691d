//! What the queue of events holds in memory: which event is due when, which are taken, and how full it is. No I/O.
//!
//! ```text
//! admit ─→ (written) ─→ offer ─→ waiting ─take→ taken ─offer→ waiting …
//!    └─→ (failed) ─→ release                      └─settled→ gone
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{EventId, PushError};

/// How much the queue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most events; one more is refused.
    pub max_events: usize,
    /// Most bytes of all payloads together; one more is refused.
    pub max_payload_bytes: u64,
    /// Most dead letters of one account; the oldest makes room for a new one, and the log says so.
    pub max_dead_letters: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { max_events: 100_000, max_payload_bytes: 4 * 1024 * 1024 * 1024, max_dead_letters: 10_000 }
    }
}

/// See the module's head.
pub(super) struct Queue {
    limits: QueueLimits,
    waiting: BTreeSet<(u64, EventId)>,
    /// Taken events and when they were due.
    taken: BTreeMap<EventId, u64>,
    events: usize,
    payload_bytes: u64,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, waiting: BTreeSet::new(), taken: BTreeMap::new(), events: 0, payload_bytes: 0 }
    }

    /// Makes room for an event, or says that there is none.
    pub(super) fn admit(&mut self, payload_bytes: u64) -> Result<(), PushError> {
        let fits = self.events < self.limits.max_events
            && self.payload_bytes.saturating_add(payload_bytes) <= self.limits.max_payload_bytes;
        if !fits {
            return Err(PushError::Full { events: self.events, payload_bytes: self.payload_bytes });
        }
        self.count(payload_bytes);
        Ok(())
    }

    /// Counts an event that is stored already, whatever the limits are now.
    pub(super) fn count(&mut self, payload_bytes: u64) {
        self.events += 1;
        self.payload_bytes += payload_bytes;
    }

    /// Gives the room of an event back that was admitted and never got stored.
    pub(super) fn release(&mut self, payload_bytes: u64) {
        self.events -= 1;
        self.payload_bytes -= payload_bytes;
    }

    /// Forgets a taken event that is stored no more.
    pub(super) fn settled(&mut self, id: EventId, payload_bytes: u64) {
        if self.taken.remove(&id).is_some() {
            self.release(payload_bytes);
        }
    }

    /// A stored event waits until `due_unix_ms`, from now on or again.
    pub(super) fn offer(&mut self, id: EventId, due_unix_ms: u64) {
        self.taken.remove(&id);
        self.waiting.insert((due_unix_ms, id));
    }

    /// Puts back what was taken and never handed over.
    pub(super) fn put_back(&mut self, id: EventId) {
        if let Some(due_unix_ms) = self.taken.remove(&id) {
            self.waiting.insert((due_unix_ms, id));
        }
    }

    /// Takes up to `limit` due events, earliest first.
    pub(super) fn take(&mut self, now_unix_ms: u64, limit: usize) -> Vec<EventId> {
        let mut taken = Vec::new();
        while taken.len() < limit && self.next_due().is_some_and(|due_unix_ms| due_unix_ms <= now_unix_ms) {
            let Some((due_unix_ms, id)) = self.waiting.pop_first() else { break };
            self.taken.insert(id, due_unix_ms);
            taken.push(id);
        }
        taken
    }

    pub(super) fn is_taken(&self, id: EventId) -> bool {
        self.taken.contains_key(&id)
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.waiting.first().map(|(due_unix_ms, _)| *due_unix_ms)
    }

    pub(super) fn depth(&self) -> usize {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(max_events: usize, max_payload_bytes: u64) -> Queue {
        Queue::new(QueueLimits { max_events, max_payload_bytes, ..QueueLimits::default() })
    }

    #[test]
    fn both_limits_refuse_and_release_makes_room_again() {
        let mut queue = queue(2, 100);
        queue.admit(60).unwrap();
        assert!(matches!(queue.admit(41), Err(PushError::Full { events: 1, payload_bytes: 60 })));
        queue.admit(40).unwrap();
        assert!(matches!(queue.admit(0), Err(PushError::Full { events: 2, payload_bytes: 100 })));
        queue.release(40);
        queue.admit(1).unwrap();
    }

    #[test]
    fn taken_events_are_not_offered_until_put_back() {
        let mut queue = queue(10, 100);
        for (id, due) in [(1, 30), (2, 10), (3, 10), (4, 50)] {
            queue.count(0);
            queue.offer(EventId(id), due);
        }
        assert_eq!(queue.take(40, 2), [EventId(2), EventId(3)]);
        assert_eq!(queue.take(40, 2), [EventId(1)]);
        assert_eq!(queue.take(40, 2), []);
        assert_eq!(queue.next_due(), Some(50));
        queue.put_back(EventId(3));
        queue.put_back(EventId(4));
        assert_eq!((queue.next_due(), queue.depth()), (Some(10), 4));
        assert_eq!(queue.take(40, 9), [EventId(3)]);
    }
}
