//! What the queue of events holds in memory: which event is due when, which are taken, and how full it is. No I/O.
//!
//! ```text
//! admit ─→ (written) ─→ offer ─→ waiting ─take→ taken ─offer→ waiting …
//!    └─→ (failed) ─→ release                      └─settled→ gone
//! ```
//!
//! Events wait by function, so that one function with many slow events can't take every place from the others: of each
//! at most [`QueueLimits::max_taken_per_function`] are taken at a time.
//!
//! Invariant: `heads` has the earliest waiting event of every function of which another one may be taken, and nothing
//! else.

use std::collections::{BTreeMap, BTreeSet};

use hearth_domain::{AccountId, FunctionName};

use crate::event::{EventId, PushError};

/// How much the queue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most events; one more is refused.
    pub max_events: usize,
    /// Most bytes of all payloads together; one more is refused.
    pub max_payload_bytes: u64,
    /// Most events of one function that are taken at a time; its others wait until one is settled or put back.
    pub max_taken_per_function: usize,
    /// Most dead letters of one account; the oldest makes room for a new one, and the log says so.
    pub max_dead_letters: usize,
    /// Most messages of one queue, topic or bus; the oldest makes room for a record, and the log says so.
    pub max_messages: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            max_events: 100_000,
            max_payload_bytes: 4 * 1024 * 1024 * 1024,
            max_taken_per_function: 128,
            max_dead_letters: 10_000,
            max_messages: 10_000,
        }
    }
}

/// Whose events wait together.
pub(super) type FunctionKey = (AccountId, FunctionName);

/// See the module's head.
pub(super) struct Queue {
    limits: QueueLimits,
    functions: BTreeMap<FunctionKey, FunctionEvents>,
    heads: BTreeMap<(u64, EventId), FunctionKey>,
    taken: BTreeMap<EventId, Taken>,
    events: usize,
    payload_bytes: u64,
}

/// Events of one function.
#[derive(Default)]
struct FunctionEvents {
    waiting: BTreeSet<(u64, EventId)>,
    taken: usize,
}

/// A taken event.
struct Taken {
    function: FunctionKey,
    due_unix_ms: u64,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        let (functions, heads, taken) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { limits, functions, heads, taken, events: 0, payload_bytes: 0 }
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

    /// Makes room for events that take the place of one that is stored, or says that there is none.
    pub(super) fn admit_instead(&mut self, freed_bytes: u64, admitted: &[u64]) -> Result<(), PushError> {
        let (bytes, events) = (admitted.iter().sum::<u64>(), self.events - 1 + admitted.len());
        let grows = admitted.len() > 1 || bytes > freed_bytes;
        let fits = events <= self.limits.max_events
            && self.payload_bytes - freed_bytes + bytes <= self.limits.max_payload_bytes;
        if grows && !fits {
            return Err(PushError::Full { events: self.events, payload_bytes: self.payload_bytes });
        }
        admitted.iter().for_each(|bytes| self.count(*bytes));
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
        if self.end_taking(id).is_some() {
            self.release(payload_bytes);
        }
    }

    /// A stored event waits until `due_unix_ms`, from now on or again.
    pub(super) fn offer(&mut self, id: EventId, function: FunctionKey, due_unix_ms: u64) {
        self.end_taking(id);
        self.change(&function, |events| events.wait((due_unix_ms, id)));
    }

    /// Puts back what was taken and never handed over.
    pub(super) fn put_back(&mut self, id: EventId) {
        if let Some(Taken { function, due_unix_ms }) = self.end_taking(id) {
            self.change(&function, |events| events.wait((due_unix_ms, id)));
        }
    }

    /// Takes up to `limit` due events, earliest first.
    pub(super) fn take(&mut self, now_unix_ms: u64, limit: usize) -> Vec<EventId> {
        let mut ids = Vec::new();
        while ids.len() < limit {
            let Some((&(due_unix_ms, id), function)) = self.heads.first_key_value() else { break };
            if due_unix_ms > now_unix_ms {
                break;
            }
            let function = function.clone();
            self.change(&function, |events| {
                events.waiting.remove(&(due_unix_ms, id));
                events.taken += 1;
            });
            self.taken.insert(id, Taken { function, due_unix_ms });
            ids.push(id);
        }
        ids
    }

    pub(super) fn is_taken(&self, id: EventId) -> bool {
        self.taken.contains_key(&id)
    }

    /// When the next event can be taken.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.heads.first_key_value().map(|(&(due_unix_ms, _), _)| due_unix_ms)
    }

    pub(super) fn depth(&self) -> usize {
        self.events
    }

    fn end_taking(&mut self, id: EventId) -> Option<Taken> {
        let taken = self.taken.remove(&id)?;
        self.change(&taken.function, |events| events.taken -= 1);
        Some(taken)
    }

    /// Changes a function's events and keeps `heads` true.
    fn change(&mut self, function: &FunctionKey, change: impl FnOnce(&mut FunctionEvents)) {
        let max_taken = self.limits.max_taken_per_function;
        let events = self.functions.entry(function.clone()).or_default();
        let before = events.head(max_taken);
        change(events);
        let after = events.head(max_taken);
        if events.waiting.is_empty() && events.taken == 0 {
            self.functions.remove(function);
        }
        if before != after {
            before.map(|head| self.heads.remove(&head));
            after.map(|head| self.heads.insert(head, function.clone()));
        }
    }
}

impl FunctionEvents {
    fn wait(&mut self, due: (u64, EventId)) {
        self.waiting.insert(due);
    }

    /// The next one, if it may be taken.
    fn head(&self, max_taken: usize) -> Option<(u64, EventId)> {
        self.waiting.first().filter(|_| self.taken < max_taken).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(max_events: usize, max_payload_bytes: u64) -> Queue {
        let limits = QueueLimits {
            max_events,
            max_payload_bytes,
            max_taken_per_function: 3,
            max_dead_letters: 1,
            max_messages: 1,
        };
        Queue::new(limits)
    }

    fn function(name: &str) -> FunctionKey {
        ("000000000000".parse().unwrap(), name.parse().unwrap())
    }

    impl Queue {
        fn check_invariants(&self) {
            let max_taken = self.limits.max_taken_per_function;
            let heads = self.functions.iter().filter_map(|(key, events)| Some((events.head(max_taken)?, key.clone())));
            assert_eq!(self.heads, heads.collect());
            for (key, events) in &self.functions {
                let taken = self.taken.values().filter(|taken| taken.function == *key).count();
                assert_eq!(events.taken, taken);
                assert!(events.taken <= max_taken, "{key:?}");
            }
            let waiting: usize = self.functions.values().map(|events| events.waiting.len()).sum();
            assert!(waiting + self.taken.len() <= self.events);
        }
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
            queue.offer(EventId(id), function("f"), due);
            queue.check_invariants();
        }
        assert_eq!(queue.take(40, 2), [EventId(2), EventId(3)]);
        assert_eq!(queue.next_due(), Some(30));
        queue.put_back(EventId(3));
        queue.put_back(EventId(4));
        queue.check_invariants();
        assert_eq!((queue.next_due(), queue.depth()), (Some(10), 4));
        assert_eq!(queue.take(40, 9), [EventId(3), EventId(1)]);
        assert_eq!(queue.take(40, 9), []);
    }

    #[test]
    fn a_function_with_many_events_leaves_room_for_others() {
        let mut queue = queue(10, 100);
        for id in 0..6 {
            queue.count(0);
            queue.offer(EventId(id), function(if id < 5 { "busy" } else { "rare" }), id);
        }
        assert_eq!(queue.take(9, 9), [EventId(0), EventId(1), EventId(2), EventId(5)]);
        assert_eq!((queue.take(9, 9), queue.next_due()), (Vec::new(), None));
        queue.check_invariants();
        queue.settled(EventId(1), 0);
        queue.check_invariants();
        assert_eq!((queue.next_due(), queue.take(9, 9)), (Some(3), vec![EventId(3)]));
        queue.offer(EventId(0), function("busy"), 8);
        queue.check_invariants();
        assert_eq!(queue.take(9, 9), [EventId(4)]);
        for id in [2, 3, 4, 5] {
            queue.settled(EventId(id), 0);
            queue.check_invariants();
        }
        assert_eq!((queue.take(9, 9), queue.depth()), (vec![EventId(0)], 1));
        queue.settled(EventId(0), 0);
        assert!(queue.functions.is_empty() && queue.heads.is_empty());
    }
}
