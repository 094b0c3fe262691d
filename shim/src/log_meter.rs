//! How much of what an invocation writes is kept.
//!
//! Invariant: between two turns at most [`INVOCATION_LOG_MAX_BYTES`] in at most [`MAX_MESSAGES`] are let through, and every
//! byte above is counted and told. The runtime is never stopped from writing: what is too much is read and thrown away.

use hearth_domain::limits::INVOCATION_LOG_MAX_BYTES;
use hearth_guest_protocol::Log;

/// Messages of one invocation: a flood of single bytes must not cost the worker a message each for ever. The worker takes
/// four times as many for an attack.
const MAX_MESSAGES: usize = 1_000_000;

/// Counts the bytes of the invocation that writes now.
#[derive(Debug)]
pub struct LogMeter {
    request_id: String,
    left: usize,
    messages_left: usize,
    dropped: u64,
}

impl LogMeter {
    /// A meter that counts for nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self { request_id: String::new(), left: INVOCATION_LOG_MAX_BYTES, messages_left: MAX_MESSAGES, dropped: 0 }
    }

    /// These bytes were written: what of them is to be sent, if anything.
    pub fn take(&mut self, data: &[u8]) -> Option<Log> {
        let kept = if self.messages_left > 0 { data.len().min(self.left) } else { 0 };
        self.left -= kept;
        self.messages_left = self.messages_left.saturating_sub(1);
        self.dropped += (data.len() - kept) as u64;
        (kept > 0).then(|| Log {
            request_id: self.request_id.clone(),
            data: data[..kept].to_vec().into(),
            // Nothing is dropped before the last byte is let through.
            dropped_bytes: 0,
        })
    }

    /// Counts for another invocation from now on. What is to be said about the one before, if anything.
    pub fn turn(&mut self, to: String) -> Option<Log> {
        let before = std::mem::replace(self, Self { request_id: to, ..Self::new() });
        (before.dropped > 0).then(|| Log {
            request_id: before.request_id,
            data: Default::default(),
            dropped_bytes: before.dropped,
        })
    }
}

impl Default for LogMeter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_gets_its_bytes_and_a_note_about_the_rest() {
        let mut meter = LogMeter::new();
        assert_eq!(meter.turn("a".into()), None);
        let whole = vec![b'x'; INVOCATION_LOG_MAX_BYTES - 2];
        assert_eq!(meter.take(&whole).unwrap().data.len(), whole.len());
        assert_eq!(meter.take(b"12345").unwrap(), Log { request_id: "a".into(), data: "12".into(), dropped_bytes: 0 });
        assert_eq!(meter.take(b"more"), None);
        let note = Log { request_id: "a".into(), data: Default::default(), dropped_bytes: 7 };
        assert_eq!(meter.turn("b".into()), Some(note));
        assert_eq!(meter.take(b"fresh").unwrap().request_id, "b");
        assert_eq!(meter.turn(String::new()), None);
    }

    #[test]
    fn single_bytes_are_counted_by_the_message() {
        let mut meter = LogMeter::new();
        let sent = (0..MAX_MESSAGES + 5).filter_map(|_| meter.take(b"x")).count();
        assert_eq!(sent, MAX_MESSAGES);
        assert_eq!(meter.turn(String::new()).unwrap().dropped_bytes, 5);
    }
}
