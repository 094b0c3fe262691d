//! The streams on which claims are answered.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use hearth_domain::{FencingToken, SlotId};
use hearth_protocol::placement::ClaimOutcome;
use tokio::sync::mpsc;

use super::event::Event;
use crate::ledger::ClaimTicket;

/// The reading end: exactly as many outcomes as were claimed. If it is dropped before, grants in it that nobody read
/// are given back.
#[derive(Debug)]
pub(super) struct Outcomes {
    outcomes: mpsc::Receiver<ClaimOutcome>,
    events: mpsc::WeakSender<Event>,
}

impl Stream for Outcomes {
    type Item = ClaimOutcome;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ClaimOutcome>> {
        self.outcomes.poll_recv(context)
    }
}

impl Drop for Outcomes {
    fn drop(&mut self) {
        self.outcomes.close();
        let mut unread = Vec::new();
        while let Ok(outcome) = self.outcomes.try_recv() {
            unread.extend(granted(&outcome));
        }
        if let Some(events) = self.events.upgrade().filter(|_| !unread.is_empty()) {
            // If the queue is full, the leases run out by themselves.
            let _ = events.try_send(Event::Undelivered(unread));
        }
    }
}

/// The writing ends of all open claims.
#[derive(Debug)]
pub(super) struct OpenClaims {
    open: HashMap<ClaimTicket, Listener>,
    next: u64,
    events: mpsc::WeakSender<Event>,
}

#[derive(Debug)]
struct Listener {
    outcomes: mpsc::Sender<ClaimOutcome>,
    remaining: u32,
}

impl OpenClaims {
    pub(super) fn new(events: mpsc::WeakSender<Event>) -> Self {
        Self { open: HashMap::new(), next: 0, events }
    }

    /// A new stream for `count` outcomes. The caller makes sure that `count` is bounded.
    pub(super) fn open(&mut self, count: u32) -> (ClaimTicket, Outcomes) {
        let ticket = ClaimTicket(self.next);
        self.next += 1;
        // Room for all: the ledger's owner never waits for a reader.
        let (outcomes, reader) = mpsc::channel(count.max(1) as usize);
        if count > 0 {
            self.open.insert(ticket, Listener { outcomes, remaining: count });
        }
        (ticket, Outcomes { outcomes: reader, events: self.events.clone() })
    }

    /// Ends a stream early.
    pub(super) fn cut(&mut self, ticket: ClaimTicket) {
        self.open.remove(&ticket);
    }

    /// Tells an outcome; gives back a grant that could not be told.
    pub(super) fn tell(&mut self, ticket: ClaimTicket, outcome: ClaimOutcome) -> Option<(SlotId, FencingToken)> {
        let Some(listener) = self.open.get_mut(&ticket) else { return granted(&outcome) };
        let undelivered = listener.outcomes.try_send(outcome).err().and_then(|error| granted(&error.into_inner()));
        listener.remaining -= 1;
        if listener.remaining == 0 {
            self.open.remove(&ticket);
        }
        undelivered
    }

    /// Whether no claim is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

fn granted(outcome: &ClaimOutcome) -> Option<(SlotId, FencingToken)> {
    match outcome {
        ClaimOutcome::Granted(grant) => Some((grant.slot, grant.token)),
        ClaimOutcome::InitFailed(_) | ClaimOutcome::NoCapacity { .. } => None,
    }
}
