//! The beginning of a streamed response: a JSON document with status, headers and cookies, then eight zero bytes, then
//! the body (developer guide, "Response streaming", `awslambda.HttpResponseStream.from`).

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::MalformedAnswer;
use super::answer::head;

/// What ends a prelude.
const END: [u8; 8] = [0; 8];
/// Largest prelude, bytes. Ours; what HTTP servers take for a head.
pub const PRELUDE_MAX_BYTES: usize = 64 * 1024;

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prelude {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

/// Finds the prelude in what comes piece by piece.
#[derive(Debug, Default)]
pub struct PreludeReader {
    held: BytesMut,
}

impl PreludeReader {
    /// Takes a piece; gives the prelude and the first bytes of the body once its end has come.
    pub fn take(&mut self, piece: Bytes) -> Result<Option<(Prelude, Bytes)>, MalformedAnswer> {
        // The end may have begun in the piece before.
        let searched = self.held.len().saturating_sub(END.len() - 1);
        self.held.extend_from_slice(&piece);
        let found = self.held[searched..].windows(END.len()).position(|window| window == END);
        let Some(end) = found.map(|at| searched + at) else {
            let too_large = self.held.len() > PRELUDE_MAX_BYTES;
            return if too_large { Err(MalformedAnswer { fault: "a prelude without an end" }) } else { Ok(None) };
        };
        let document = self.held.split_to(end);
        let body = self.held.split_off(END.len()).freeze();
        match serde_json::from_slice(&document) {
            Ok(Value::Object(members)) => {
                let (status, headers) = head(&members)?;
                Ok(Some((Prelude { status, headers }, body)))
            }
            _ => Err(MalformedAnswer { fault: "a prelude that is no JSON object" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b"{\"statusCode\":203,\"cookies\":[\"a=b\"]}\0\0\0\0\0\0\0\0body\0\0\0\0\0\0\0\0more";

    proptest! {
        #[test]
        fn a_prelude_is_found_however_it_is_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.push(0);
            cuts.push(STREAM.len());
            cuts.sort_unstable();
            let mut reader = Some(PreludeReader::default());
            let (mut prelude, mut body) = (None, Vec::new());
            for cut in cuts.windows(2) {
                let piece = Bytes::from_static(&STREAM[cut[0]..cut[1]]);
                match &mut reader {
                    Some(reading) => {
                        if let Some((found, first)) = reading.take(piece).unwrap() {
                            reader = None;
                            prelude = Some(found);
                            body.extend_from_slice(&first);
                        }
                    }
                    None => body.extend_from_slice(&piece),
                }
            }
            let prelude = prelude.unwrap();
            prop_assert_eq!(prelude.status.as_u16(), 203);
            prop_assert_eq!(&prelude.headers["set-cookie"], "a=b");
            prop_assert_eq!(body, b"body\0\0\0\0\0\0\0\0more");
        }
    }

    #[test]
    fn what_is_no_prelude_is_refused() {
        let take = |bytes: Vec<u8>| PreludeReader::default().take(bytes.into());
        assert!(take(b"[]\0\0\0\0\0\0\0\0".to_vec()).is_err());
        assert!(take(b"{\"statusCode\":1}\0\0\0\0\0\0\0\0".to_vec()).is_err());
        assert!(take(vec![b'x'; PRELUDE_MAX_BYTES + 1]).is_err());
        assert_eq!(take(vec![b'x'; PRELUDE_MAX_BYTES]), Ok(None));
    }
}
