//! Sizes of events.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use hearth_domain::limits::SYNC_RESPONSE_MAX_BYTES;

/// Bytes of an event that is a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

/// The shortest JSON string.
const MIN: usize = 2;

impl Size {
    /// The event: every language gives it back byte for byte.
    pub(super) fn event(self) -> Bytes {
        let quote = [b'"'];
        [&quote[..], &vec![b'x'; self.0 - MIN], &quote].concat().into()
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'k') => (&text[..text.len() - 1], 1 << 10),
            Some(b'M') => (&text[..text.len() - 1], 1 << 20),
            _ => (text, 1),
        };
        let number: usize = digits.parse().map_err(|_| "give bytes, or a number with k or M".to_owned())?;
        let bytes = number.saturating_mul(unit);
        if (MIN..=SYNC_RESPONSE_MAX_BYTES).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(format!("must be from {MIN} to {SYNC_RESPONSE_MAX_BYTES} bytes"))
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes.trailing_zeros() >= 20 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes.trailing_zeros() >= 10 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_events_have_them() {
        for (text, bytes, told) in
            [("7", 7, "7 B"), ("1k", 1024, "1 KiB"), ("1M", 1 << 20, "1 MiB"), ("1500", 1500, "1500 B")]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.event().len(), size.to_string().as_str()), (bytes, told));
        }
        assert_eq!(&Size(7).event()[..], b"\"xxxxx\"");
        assert!(
            ["", "1", "k", "7M", "-1", "1kk", "99999999999999999999"].iter().all(|text| text.parse::<Size>().is_err())
        );
    }
}
