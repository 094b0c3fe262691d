//! One segment file: records one after the other.
//!
//! ```text
//! length of body u32 │ CRC-32 of body u32 │ body: unix_ms u64 │ lines u32 │ id length u8 │ request id
//!                                                 │ stream length u8 │ stream │ text
//! ```
//!
//! Numbers are little-endian. A record holds lines that came together, with line feeds between them. The highest bit of
//! the length of the id says that a stream follows: records of earlier versions have none.

use hearth_domain::RequestId;

use super::LogEntry;

const HEADER_BYTES: usize = 8;
const BODY_MIN_BYTES: usize = 13;
/// In the length of the id: a stream follows. A request id has at most 64 bytes.
const HAS_STREAM: u8 = 0x80;

/// A record, read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) unix_ms: u64,
    pub(super) lines: u32,
    pub(super) stream: &'a str,
    pub(super) request_id: Option<RequestId>,
    pub(super) text: &'a [u8],
}

/// Appends an entry and returns how many lines it has.
pub(super) fn encode(stream: &str, entry: &LogEntry, buffer: &mut Vec<u8>) -> u32 {
    let id = entry.request_id.as_ref().map_or("", RequestId::as_str);
    let newlines = entry.text.iter().filter(|byte| **byte == b'\n').count();
    let lines = u32::try_from(newlines + 1).unwrap_or(u32::MAX);
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    buffer.extend_from_slice(&entry.unix_ms.to_le_bytes());
    buffer.extend_from_slice(&lines.to_le_bytes());
    // A request id has at most 64 bytes, a stream's name not much more.
    buffer.push(u8::try_from(id.len()).unwrap_or(0) | HAS_STREAM);
    buffer.extend_from_slice(id.as_bytes());
    let stream_length = u8::try_from(stream.len()).unwrap_or(0);
    buffer.push(stream_length);
    buffer.extend_from_slice(&stream.as_bytes()[..usize::from(stream_length)]);
    buffer.extend_from_slice(&entry.text);
    let body = &buffer[start + HEADER_BYTES..];
    let (length, checksum) = (u32::try_from(body.len()).unwrap_or(u32::MAX), crc32fast::hash(body));
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    lines
}

/// Takes the record at the front of `bytes`; `None` at the end, or where a record is torn or damaged.
pub(super) fn decode<'a>(bytes: &mut &'a [u8]) -> Option<Record<'a>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let checksum = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if length < BODY_MIN_BYTES || length > rest.len() {
        return None;
    }
    let (body, rest) = rest.split_at(length);
    if crc32fast::hash(body) != checksum {
        return None;
    }
    let (unix_ms, fields) = body.split_first_chunk::<8>()?;
    let (lines, fields) = fields.split_first_chunk::<4>()?;
    let (id_length, fields) = fields.split_first()?;
    let (id, fields) = fields.split_at_checked(usize::from(id_length & !HAS_STREAM))?;
    let (stream, text) = if id_length & HAS_STREAM == 0 { ("", fields) } else { take_stream(fields)? };
    *bytes = rest;
    Some(Record {
        unix_ms: u64::from_le_bytes(*unix_ms),
        lines: u32::from_le_bytes(*lines),
        stream,
        request_id: std::str::from_utf8(id).ok().and_then(|id| RequestId::new(id).ok()),
        text,
    })
}

/// How much of a segment is whole: its bytes and its lines.
pub(super) fn sound(bytes: &[u8]) -> (u64, u64) {
    let (mut rest, mut lines) = (bytes, 0);
    while let Some(record) = decode(&mut rest) {
        lines += u64::from(record.lines);
    }
    ((bytes.len() - rest.len()) as u64, lines)
}

/// The stream, and what follows it.
fn take_stream(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (stream, text) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(stream).ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "2026/11/22/[$LATEST]0123";

    #[test]
    fn records_come_back_and_a_torn_one_does_not() {
        let entries = [
            LogEntry { unix_ms: 7, request_id: Some(RequestId::new("r-1").unwrap()), text: b"one\ntwo".to_vec() },
            LogEntry { unix_ms: 8, request_id: None, text: vec![0xff] },
        ];
        let mut bytes = Vec::new();
        assert_eq!(entries.iter().map(|entry| encode(STREAM, entry, &mut bytes)).sum::<u32>(), 3);
        let mut rest = bytes.as_slice();
        let first = decode(&mut rest).unwrap();
        assert_eq!((first.unix_ms, first.lines, first.stream, first.text), (7, 2, STREAM, &b"one\ntwo"[..]));
        assert_eq!(first.request_id.unwrap().as_str(), "r-1");
        let first_bytes = (bytes.len() - rest.len()) as u64;
        assert_eq!(decode(&mut rest).unwrap().request_id, None);
        assert_eq!(decode(&mut rest), None);
        for cut in 1..bytes.len() - first_bytes as usize {
            assert_eq!(sound(&bytes[..bytes.len() - cut]), (first_bytes, 2), "cut {cut} bytes");
        }
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(sound(&bytes), (first_bytes, 2));
    }

    #[test]
    fn records_of_earlier_versions_have_no_stream() {
        let mut body = Vec::new();
        body.extend_from_slice(&9u64.to_le_bytes());
        body.extend_from_slice(&1u32.to_le_bytes());
        body.extend_from_slice(b"\x03r-1text");
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        let record = decode(&mut bytes.as_slice()).unwrap();
        assert_eq!((record.unix_ms, record.stream, record.text), (9, "", &b"text"[..]));
    }
}
