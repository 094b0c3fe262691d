//! Values that have a form of their own.

use std::str::FromStr;
use std::time::Duration;

/// A duration as people write it: `500ms`, `30s`, `10m`, `1h`; a bare `0` needs no unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

/// Text that is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a number and ms, s, m or h, such as 500ms or 30s")]
pub struct InvalidDuration;

impl FromStr for DurationText {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
        let ms_per_unit = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if number == 0 => 1,
            _ => return Err(InvalidDuration),
        };
        number.checked_mul(ms_per_unit).map(Duration::from_millis).map(Self).ok_or(InvalidDuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_their_unit() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1h", 3_600_000), ("0", 0), ("2 s", 2_000)]
        {
            assert_eq!(text.parse(), Ok(DurationText(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(text.parse::<DurationText>(), Err(InvalidDuration), "{text}");
        }
    }
}
