//! What is held in memory of the messages in channels: which there are, and which are hidden until when. No I/O.
//!
//! ```text
//! added ─→ (delayed) ─→ visible ─receive→ in flight ─removed→ gone
//!                          └──────── time is up ──┘
//! ```

use std::collections::BTreeMap;

use crate::message::MessageCounts;

/// See the module's head.
#[derive(Default)]
pub(super) struct Channels {
    channels: BTreeMap<String, BTreeMap<u64, Held>>,
}

/// A message, as far as receiving it needs to know.
#[derive(Debug, Clone, Copy)]
struct Held {
    hidden_until_unix_ms: u64,
    receive_count: u32,
    first_received_unix_ms: u64,
}

/// A message that was just received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) number: u64,
    pub(super) receive_count: u32,
    pub(super) first_received_unix_ms: u64,
}

impl Channels {
    pub(super) fn added(&mut self, channel: &str, number: u64, visible_unix_ms: u64) {
        let held = Held { hidden_until_unix_ms: visible_unix_ms, receive_count: 0, first_received_unix_ms: 0 };
        self.channels.entry(channel.to_owned()).or_default().insert(number, held);
    }

    /// Forgets a message; says whether it was there.
    pub(super) fn removed(&mut self, channel: &str, number: u64) -> bool {
        let Some(messages) = self.channels.get_mut(channel) else { return false };
        let found = messages.remove(&number).is_some();
        if messages.is_empty() {
            self.channels.remove(channel);
        }
        found
    }

    pub(super) fn has(&self, channel: &str, number: u64) -> bool {
        self.channels.get(channel).is_some_and(|messages| messages.contains_key(&number))
    }

    pub(super) fn len(&self, channel: &str) -> usize {
        self.channels.get(channel).map_or(0, BTreeMap::len)
    }

    /// The numbers of its messages, oldest first.
    pub(super) fn numbers(&self, channel: &str) -> impl Iterator<Item = u64> + '_ {
        self.channels.get(channel).into_iter().flat_map(|messages| messages.keys().copied())
    }

    pub(super) fn receive(
        &mut self,
        channel: &str,
        now_unix_ms: u64,
        hidden_until_unix_ms: u64,
        limit: usize,
    ) -> Vec<Receipt> {
        let Some(messages) = self.channels.get_mut(channel) else { return Vec::new() };
        let visible = messages.iter_mut().filter(|(_, held)| held.hidden_until_unix_ms <= now_unix_ms);
        let receive = |(number, held): (&u64, &mut Held)| {
            if held.receive_count == 0 {
                held.first_received_unix_ms = now_unix_ms;
            }
            held.receive_count = held.receive_count.saturating_add(1);
            held.hidden_until_unix_ms = hidden_until_unix_ms;
            let Held { receive_count, first_received_unix_ms, .. } = *held;
            Receipt { number: *number, receive_count, first_received_unix_ms }
        };
        visible.take(limit).map(receive).collect()
    }

    /// Says whether the message was there and received.
    pub(super) fn hide_until(&mut self, channel: &str, number: u64, unix_ms: u64) -> bool {
        let held = self.channels.get_mut(channel).and_then(|messages| messages.get_mut(&number));
        let Some(held) = held.filter(|held| held.receive_count > 0) else { return false };
        held.hidden_until_unix_ms = unix_ms;
        true
    }

    pub(super) fn counts(&self, channel: &str, now_unix_ms: u64) -> MessageCounts {
        let mut counts = MessageCounts::default();
        for held in self.channels.get(channel).into_iter().flat_map(BTreeMap::values) {
            let hidden = held.hidden_until_unix_ms > now_unix_ms;
            if hidden && counts.next_visible_unix_ms.is_none_or(|next| held.hidden_until_unix_ms < next) {
                counts.next_visible_unix_ms = Some(held.hidden_until_unix_ms);
            }
            match (hidden, held.receive_count) {
                (false, _) => counts.visible += 1,
                (true, 0) => counts.delayed += 1,
                (true, _) => counts.in_flight += 1,
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(receipts: &[Receipt]) -> Vec<u64> {
        receipts.iter().map(|receipt| receipt.number).collect()
    }

    #[test]
    fn a_received_message_is_hidden_until_its_time_is_up_or_it_is_gone() {
        let mut channels = Channels::default();
        for number in 1..=3 {
            channels.added("q", number, 0);
        }
        channels.added("q", 4, 50);
        assert_eq!(
            channels.counts("q", 10),
            MessageCounts { visible: 3, in_flight: 0, delayed: 1, next_visible_unix_ms: Some(50) }
        );
        assert_eq!(numbers(&channels.receive("q", 10, 40, 2)), [1, 2]);
        assert_eq!(numbers(&channels.receive("q", 10, 40, 9)), [3]);
        assert!(channels.receive("q", 39, 80, 9).is_empty());
        assert!(channels.removed("q", 1) && !channels.removed("q", 1));
        assert!(channels.hide_until("q", 2, 100) && !channels.hide_until("q", 4, 1) && !channels.hide_until("q", 1, 1));
        let again = channels.receive("q", 50, 90, 9);
        assert_eq!(numbers(&again), [3, 4]);
        assert_eq!((again[0].receive_count, again[0].first_received_unix_ms), (2, 10));
        assert_eq!(
            channels.counts("q", 50),
            MessageCounts { visible: 0, in_flight: 3, delayed: 0, next_visible_unix_ms: Some(90) }
        );
    }

    #[test]
    fn channels_do_not_see_each_other_and_leave_nothing_behind() {
        let mut channels = Channels::default();
        channels.added("a", 1, 0);
        assert_eq!((channels.len("a"), channels.len("b")), (1, 0));
        assert!(channels.receive("b", 9, 9, 9).is_empty() && !channels.has("b", 1));
        assert!(channels.removed("a", 1) && channels.channels.is_empty());
    }
}
