//! The encoding `application/vnd.amazon.eventstream`, as far as answers in pieces need it: messages whose headers are
//! texts. Source: AWS's "Event stream encoding" (Amazon Transcribe developer guide; the same for all services).
//!
//! ```text
//! total length │ length of headers │ CRC of both │ headers │ payload │ CRC of all before
//!      4       │         4         │      4      │         │         │        4
//! header: length of name (1) │ name │ type 7 │ length of text (2) │ text
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// What surrounds headers and payload, bytes.
const FRAME_BYTES: usize = 16;
/// A header value that is text.
const TYPE_TEXT: u8 = 7;

/// One event: its `:event-type`, its `:content-type` and its payload. Names and types are short and ours, payloads are at
/// most a few megabytes, so nothing overflows.
#[must_use]
pub fn event(event_type: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let headers = [(":event-type", event_type), (":content-type", content_type), (":message-type", "event")];
    let headers_bytes: usize = headers.iter().map(|(name, value)| 1 + name.len() + 1 + 2 + value.len()).sum();
    let total = FRAME_BYTES + headers_bytes + payload.len();
    let mut message = BytesMut::with_capacity(total);
    message.put_u32(length(total));
    message.put_u32(length(headers_bytes));
    message.put_u32(crc32fast::hash(&message));
    for (name, value) in headers {
        message.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        message.put_slice(name.as_bytes());
        message.put_u8(TYPE_TEXT);
        message.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        message.put_slice(value.as_bytes());
    }
    message.put_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    message.freeze()
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use proptest::prelude::*;

    use super::*;

    /// Reads one message as a client would, checking every length and checksum.
    fn decode(message: &mut Bytes) -> (Vec<(String, String)>, Vec<u8>) {
        let total = (&message[..4]).get_u32() as usize;
        let mut whole = message.split_to(total);
        assert_eq!(crc32fast::hash(&whole[..total - 4]), (&whole[total - 4..]).get_u32());
        assert_eq!(crc32fast::hash(&whole[..8]), (&whole[8..12]).get_u32());
        whole.advance(4);
        let headers_bytes = whole.get_u32() as usize;
        whole.advance(4);
        let mut block = whole.split_to(headers_bytes);
        let mut headers = Vec::new();
        while block.has_remaining() {
            let name = usize::from(block.get_u8());
            let name = String::from_utf8(block.split_to(name).to_vec()).unwrap();
            assert_eq!(block.get_u8(), 7);
            let value = usize::from(block.get_u16());
            headers.push((name, String::from_utf8(block.split_to(value).to_vec()).unwrap()));
        }
        (headers, whole[..whole.len() - 4].to_vec())
    }

    #[test]
    fn bytes_are_as_another_encoder_has_them() {
        // Written by Python's struct and zlib.
        let expected = "000000490000003818c35dcf0b3a6576656e742d74797065070001450d3a636f6e74656e742d7479706507000174\
                        0d3a6d6573736167652d747970650700056576656e747853f56224";
        assert_eq!(hex::encode(event("E", "t", b"x")), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            events in prop::collection::vec(("[A-Za-z]{1,40}", prop::collection::vec(any::<u8>(), 0..3_000)), 1..5)
        ) {
            let mut stream = BytesMut::new();
            for (name, payload) in &events {
                stream.put(event(name, "application/octet-stream", payload));
            }
            let mut stream = stream.freeze();
            for (name, payload) in &events {
                let (headers, read) = decode(&mut stream);
                prop_assert_eq!(&read, payload);
                let expected = [
                    (":event-type", name.as_str()),
                    (":content-type", "application/octet-stream"),
                    (":message-type", "event"),
                ];
                let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
                prop_assert_eq!(headers, expected);
            }
            prop_assert!(stream.is_empty());
        }
    }
}
