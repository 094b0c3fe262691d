//! How values are stored: one format byte, then a document.
//!
//! ```text
//! format 1:  01 | JSON document
//! ```
//!
//! A later format gets another byte, and what was written before stays readable. Anything else is refused by name of
//! its key, never guessed at.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreFailure;

/// The format this version writes.
pub(super) const FORMAT_JSON: u8 = 1;

/// A stored value that can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("the value is empty")]
    Empty,
    #[error("the value has format {0}, which this version of Hearth does not know")]
    UnknownFormat(u8),
    #[error("the value is cut short")]
    CutShort,
    #[error("the value is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("the value belongs under another key")]
    Misplaced,
}

pub(super) fn encode<T: Serialize>(tree: &str, key: &[u8], value: &T) -> Result<Vec<u8>, StoreFailure> {
    let mut bytes = vec![FORMAT_JSON];
    serde_json::to_writer(&mut bytes, value).map_err(|error| failure("encode", tree, key, error))?;
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(tree: &str, key: &[u8], bytes: &[u8]) -> Result<T, StoreFailure> {
    let document = document(bytes).map_err(|error| failure("read", tree, key, error))?;
    serde_json::from_slice(document).map_err(|error| failure("read", tree, key, ValueError::from(error)))
}

/// What follows the format byte, if the format is known.
pub(super) fn document(bytes: &[u8]) -> Result<&[u8], ValueError> {
    match bytes.split_first() {
        None => Err(ValueError::Empty),
        Some((&FORMAT_JSON, document)) => Ok(document),
        Some((&format, _)) => Err(ValueError::UnknownFormat(format)),
    }
}

/// A failure that names the key.
pub(super) fn failure(
    verb: &str,
    tree: &str,
    key: &[u8],
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreFailure {
    StoreFailure::new(format!("{verb} {tree}/{}", key.escape_ascii()), source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let bytes = encode("t", b"k", &"text").unwrap();
        assert_eq!(bytes, b"\x01\"text\"");
        assert_eq!(decode::<String>("t", b"k", &bytes).unwrap(), "text");
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (bytes, reason) in [
            (&b""[..], "the value is empty"),
            (b"\x02\"text\"", "the value has format 2"),
            (b"\x01\"te", "the value is damaged"),
            (b"\x01\"text\" more", "the value is damaged"),
        ] {
            let failure = decode::<String>("functions", b"0\x00k", bytes).unwrap_err();
            assert_eq!(failure.operation, "read functions/0\\x00k");
            assert!(failure.to_string().contains(reason), "{failure}");
        }
    }
}
