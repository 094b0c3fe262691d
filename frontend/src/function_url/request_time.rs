//! The time of a request as events have it: `12/Mar/2020:19:03:58 +0000`.

use crate::calendar::AmzDate;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time at `unix_ms`.
pub(super) fn request_time(unix_ms: u64) -> String {
    // `20200312T190358Z`
    let basic = AmzDate::from_unix(i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX)).to_string();
    let month = basic[4..6].parse::<usize>().unwrap_or(1);
    let (year, day) = (&basic[..4], &basic[6..8]);
    let (hour, minute, second) = (&basic[9..11], &basic[11..13], &basic[13..15]);
    format!("{day}/{}/{year}:{hour}:{minute}:{second} +0000", MONTHS[(month - 1) % MONTHS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_access_logs() {
        assert_eq!(request_time(1_584_039_838_390), "12/Mar/2020:19:03:58 +0000");
        assert_eq!(request_time(0), "01/Jan/1970:00:00:00 +0000");
    }
}
