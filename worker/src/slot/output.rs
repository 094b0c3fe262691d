//! What one sandbox writes, cut into lines and kept within bounds.
//!
//! Invariants: a line never exceeds `LOG_LINE_MAX_BYTES`; between two [`Output::begin`]s at most
//! `INVOCATION_LOG_MAX_BYTES` are kept, and what is dropped is counted and told once, at the end.

use hearth_domain::RequestId;
use hearth_domain::limits::{INVOCATION_LOG_MAX_BYTES, LOG_LINE_MAX_BYTES, LOG_TAIL_MAX_BYTES};
use hearth_guest_protocol::{LOG_CHUNK_MAX_BYTES, Log};

use super::failure::Violation;
use crate::logs::LogEntry;

/// Log bytes of one invocation after which a sandbox is taken for hostile: its shim drops what is above
/// `INVOCATION_LOG_MAX_BYTES` itself.
const FLOOD_MAX_BYTES: u64 = 2 * INVOCATION_LOG_MAX_BYTES as u64;
/// Log messages of one invocation after which a sandbox is taken for hostile.
const FLOOD_MAX_MESSAGES: u64 = 4_000_000;

/// The output of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Output {
    line: Vec<u8>,
    owner: Option<RequestId>,
    kept_bytes: usize,
    dropped_bytes: u64,
    received_bytes: u64,
    messages: u64,
    tail: Option<Vec<u8>>,
}

impl Output {
    /// Starts to count anew, for an invocation or for what lies between two. `tail` keeps the last 4 KB.
    pub(crate) fn begin(&mut self, tail: bool) {
        let (line, owner) = (std::mem::take(&mut self.line), self.owner.take());
        *self = Self { line, owner, tail: tail.then(Vec::new), ..Self::default() };
    }

    /// Takes a message, and gives whole lines to `sink`.
    pub(crate) fn take(
        &mut self,
        unix_ms: u64,
        owner: Option<&RequestId>,
        log: &Log,
        sink: &mut impl FnMut(LogEntry),
    ) -> Result<(), Violation> {
        if log.data.len() > LOG_CHUNK_MAX_BYTES {
            return Err(Violation::Malformed { message: "Log", fault: "too many bytes" });
        }
        self.messages += 1;
        self.received_bytes += log.data.len() as u64;
        if self.messages > FLOOD_MAX_MESSAGES || self.received_bytes > FLOOD_MAX_BYTES {
            return Err(Violation::Flood);
        }
        if self.owner.as_ref() != owner {
            self.end_line(unix_ms, sink);
            self.owner = owner.cloned();
        }
        let room = INVOCATION_LOG_MAX_BYTES - self.kept_bytes;
        let (kept, dropped) = log.data.split_at(room.min(log.data.len()));
        self.kept_bytes += kept.len();
        self.dropped_bytes = self.dropped_bytes.saturating_add(log.dropped_bytes).saturating_add(dropped.len() as u64);
        let whole = self.cut(kept);
        self.emit(unix_ms, whole, sink);
        Ok(())
    }

    /// Adds lines of the platform's own, after whatever line was under way.
    pub(crate) fn platform(
        &mut self,
        unix_ms: u64,
        owner: Option<&RequestId>,
        text: &str,
        sink: &mut impl FnMut(LogEntry),
    ) {
        self.end_line(unix_ms, sink);
        self.owner = owner.cloned();
        self.emit(unix_ms, text.as_bytes().to_vec(), sink);
    }

    /// Ends the line under way and tells what was dropped.
    pub(crate) fn end(&mut self, unix_ms: u64, sink: &mut impl FnMut(LogEntry)) {
        self.end_line(unix_ms, sink);
        let dropped = std::mem::take(&mut self.dropped_bytes);
        if dropped > 0 {
            let note = format!(
                "{dropped} bytes of log output were dropped: one invocation may write {INVOCATION_LOG_MAX_BYTES} bytes"
            );
            self.emit(unix_ms, note.into_bytes(), sink);
        }
    }

    /// The last 4 KB since [`Self::begin`], if they were asked for.
    pub(crate) fn tail(&mut self) -> Option<Vec<u8>> {
        let mut tail = self.tail.take()?;
        tail.drain(..tail.len().saturating_sub(LOG_TAIL_MAX_BYTES));
        Some(tail)
    }

    /// The lines that `data` completes, each with its line feed; the rest stays.
    fn cut(&mut self, data: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let (mut body, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |body| (body, true));
            while self.line.len() + body.len() > LOG_LINE_MAX_BYTES {
                let (head, rest) = body.split_at(LOG_LINE_MAX_BYTES - self.line.len());
                whole.append(&mut self.line);
                whole.extend_from_slice(head);
                whole.push(b'\n');
                body = rest;
            }
            self.line.extend_from_slice(body);
            if ends {
                whole.append(&mut self.line);
                whole.push(b'\n');
            }
        }
        whole.pop();
        whole
    }

    fn end_line(&mut self, unix_ms: u64, sink: &mut impl FnMut(LogEntry)) {
        let line = std::mem::take(&mut self.line);
        self.emit(unix_ms, line, sink);
    }

    fn emit(&mut self, unix_ms: u64, text: Vec<u8>, sink: &mut impl FnMut(LogEntry)) {
        if text.is_empty() {
            return;
        }
        if let Some(tail) = &mut self.tail {
            let start = text.len().saturating_sub(LOG_TAIL_MAX_BYTES);
            tail.extend_from_slice(&text[start..]);
            tail.push(b'\n');
            if tail.len() > 4 * LOG_TAIL_MAX_BYTES {
                tail.drain(..tail.len() - LOG_TAIL_MAX_BYTES);
            }
        }
        sink(LogEntry { unix_ms, request_id: self.owner.clone(), text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> RequestId {
        RequestId::new(id).unwrap()
    }

    fn log(data: &[u8]) -> Log {
        Log { data: bytes::Bytes::copy_from_slice(data), ..Log::default() }
    }

    fn lines(entries: &[LogEntry]) -> Vec<(Option<&str>, String)> {
        let line = |entry: &LogEntry| String::from_utf8_lossy(&entry.text).into_owned();
        entries.iter().map(|entry| (entry.request_id.as_ref().map(RequestId::as_str), line(entry))).collect()
    }

    #[test]
    fn lines_are_joined_over_messages_and_attributed() {
        let (mut output, mut seen) = (Output::default(), Vec::new());
        let mut sink = |entry| seen.push(entry);
        output.begin(true);
        let (a, b) = (request("a"), request("b"));
        output.take(1, Some(&a), &log(b"on"), &mut sink).unwrap();
        output.take(2, Some(&a), &log(b"e\ntwo\nthr"), &mut sink).unwrap();
        output.take(3, Some(&b), &log(b"four\n"), &mut sink).unwrap();
        output.take(4, None, &log(b"\n\nfive"), &mut sink).unwrap();
        output.end(5, &mut sink);
        assert_eq!(output.tail().unwrap(), b"one\ntwo\nthr\nfour\n\n\nfive\n");
        let expected = [(Some("a"), "one\ntwo"), (Some("a"), "thr"), (Some("b"), "four"), (None, "\n"), (None, "five")];
        assert_eq!(lines(&seen), expected.map(|(owner, text)| (owner, text.to_owned())));
    }

    #[test]
    fn a_long_line_is_split_and_an_endless_output_cut_with_a_note() {
        let (mut output, mut seen) = (Output::default(), Vec::new());
        output.begin(false);
        let chunk = log(&[b'x'; LOG_CHUNK_MAX_BYTES]);
        for _ in 0..INVOCATION_LOG_MAX_BYTES / LOG_CHUNK_MAX_BYTES + 2 {
            output.take(1, None, &chunk, &mut |entry| seen.push(entry)).unwrap();
        }
        output.end(2, &mut |entry| seen.push(entry));
        let note = seen.pop().unwrap();
        assert!(String::from_utf8(note.text).unwrap().starts_with("131072 bytes of log output were dropped"));
        assert!(seen.iter().all(|entry| entry.text.len() == LOG_LINE_MAX_BYTES));
        assert_eq!(seen.len(), INVOCATION_LOG_MAX_BYTES / LOG_LINE_MAX_BYTES);
    }

    #[test]
    fn what_no_shim_sends_is_a_violation() {
        let mut output = Output::default();
        let huge = log(&vec![b'x'; LOG_CHUNK_MAX_BYTES + 1]);
        assert!(matches!(output.take(1, None, &huge, &mut |_| ()), Err(Violation::Malformed { .. })));
        let chunk = log(&[b'x'; LOG_CHUNK_MAX_BYTES]);
        let flood = (0..1_000).find_map(|_| output.take(1, None, &chunk, &mut |_| ()).err());
        assert_eq!(flood, Some(Violation::Flood));
    }
}
