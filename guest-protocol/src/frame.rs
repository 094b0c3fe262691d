//! Length-delimited frames.

use bytes::{Buf, BufMut, BytesMut};
use prost::Message;

use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;

/// Largest frame either side sends: the largest payload and room for what surrounds it.
pub const FRAME_MAX_BYTES: usize = SYNC_RESPONSE_MAX_BYTES + 64 * 1024;

const LENGTH_BYTES: usize = 4;

/// Bytes that are no frame. The connection they came on is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is above [`FRAME_MAX_BYTES`].
    #[error("a frame of {length} bytes is above the limit of {FRAME_MAX_BYTES}")]
    TooLarge {
        /// The length it declared.
        length: usize,
    },
    /// The content is not the expected protobuf message.
    #[error("a frame is not the expected message: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Appends `message` as one frame.
pub fn encode(message: &impl Message, buffer: &mut BytesMut) -> Result<(), FrameError> {
    let length = message.encoded_len();
    let declared = u32::try_from(length).ok().filter(|_| length <= FRAME_MAX_BYTES);
    let Some(declared) = declared else { return Err(FrameError::TooLarge { length }) };
    buffer.reserve(LENGTH_BYTES + length);
    buffer.put_u32(declared);
    message.encode_raw(buffer);
    Ok(())
}

/// Takes one whole frame from the front of `buffer`, or `None` if more bytes are needed.
pub fn decode<M: Message + Default>(buffer: &mut BytesMut) -> Result<Option<M>, FrameError> {
    let Some(declared) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*declared) as usize;
    if length > FRAME_MAX_BYTES {
        return Err(FrameError::TooLarge { length });
    }
    if buffer.len() < LENGTH_BYTES + length {
        buffer.reserve(LENGTH_BYTES + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(M::decode(buffer.split_to(length).freeze())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GuestMessage, Log};

    fn log(text: &'static str) -> GuestMessage {
        Log { request_id: "r".into(), data: text.into(), dropped_bytes: 0 }.into()
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut whole = BytesMut::new();
        encode(&log("one"), &mut whole).unwrap();
        encode(&log("two"), &mut whole).unwrap();
        let mut arrived = BytesMut::new();
        let mut seen = Vec::new();
        for byte in whole {
            arrived.put_u8(byte);
            while let Some(message) = decode::<GuestMessage>(&mut arrived).unwrap() {
                seen.push(message);
            }
        }
        assert_eq!(seen, [log("one"), log("two")]);
    }

    #[test]
    fn a_huge_length_is_refused_before_it_is_buffered() {
        let mut bytes = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(decode::<GuestMessage>(&mut bytes), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn garbage_is_refused() {
        let mut bytes = BytesMut::from(&[0, 0, 0, 3, 0xff, 0xff, 0xff][..]);
        assert!(matches!(decode::<GuestMessage>(&mut bytes), Err(FrameError::Malformed(_))));
    }
}
