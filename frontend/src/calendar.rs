//! Dates as the wire spells them: SigV4's basic ISO 8601 and Lambda's `LastModified`.
//!
//! Proleptic Gregorian calendar, UTC, years 1970 to 9999. No clock in here.

/// A second of Unix time, as SigV4 writes it: `20150830T123600Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AmzDate {
    unix_s: i64,
}

impl AmzDate {
    /// The date at `unix_s`.
    #[must_use]
    pub const fn from_unix(unix_s: i64) -> Self {
        Self { unix_s }
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn unix_s(self) -> i64 {
        self.unix_s
    }

    /// Reads `YYYYMMDDTHHMMSSZ`; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| {
            bytes[from..to]
                .iter()
                .try_fold(0_i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
        };
        let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        let plausible = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !plausible || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_from_civil(year, month, day);
        // The 31st of a short month comes back as another day.
        (civil_from_days(days) == (year, month, day))
            .then(|| Self { unix_s: days * DAY_S + hour * 3_600 + minute * 60 + second })
    }

    /// The date alone, as it stands in a credential scope: `20150830`.
    #[must_use]
    pub fn date(self) -> String {
        let (year, month, day) = civil_from_days(self.unix_s.div_euclid(DAY_S));
        format!("{year:04}{month:02}{day:02}")
    }
}

impl std::fmt::Display for AmzDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = civil_from_days(self.unix_s.div_euclid(DAY_S));
        let second = self.unix_s.rem_euclid(DAY_S);
        write!(f, "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3_600, second / 60 % 60, second % 60)
    }
}

/// Lambda's `LastModified`: `2023-01-01T00:00:00.000+0000`.
#[must_use]
pub fn last_modified(unix_ms: u64) -> String {
    let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let (unix_s, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (year, month, day) = civil_from_days(unix_s / DAY_S);
    let second = unix_s % DAY_S;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{ms:03}+0000", second % 60)
}

/// `2023-01-01T00:00:00Z`, as STS and IAM write it.
#[must_use]
pub fn iso_8601(unix_s: i64) -> String {
    let (year, month, day) = civil_from_days(unix_s.div_euclid(DAY_S));
    let second = unix_s.rem_euclid(DAY_S);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

const DAY_S: i64 = 86_400;
/// Days of 400 Gregorian years.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days since 1970. Years are counted from March, so that the leap day comes last.
pub(crate) const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + EPOCH_DAYS;
    let (era, of_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (text, unix_s) in [
            ("19700101T000000Z", 0),
            ("20000229T235959Z", 951_868_799),
            ("20150830T123600Z", 1_440_938_160),
            ("20240301T000000Z", 1_709_251_200),
            ("21000228T000000Z", 4_107_456_000),
        ] {
            let date = AmzDate::parse(text).unwrap();
            assert_eq!(date.unix_s(), unix_s, "{text}");
            assert_eq!(date.to_string(), text);
            assert_eq!(date.date(), text[..8]);
        }
        assert_eq!(iso_8601(1_672_531_207), "2023-01-01T00:00:07Z");
        assert_eq!(last_modified(1_672_531_200_007), "2023-01-01T00:00:00.007+0000");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in
            ["", "20150830T123600", "20150230T000000Z", "20151301T000000Z", "20150830T240000Z", "2015083 T123600Z"]
        {
            assert!(AmzDate::parse(text).is_none(), "{text:?} was taken for a date");
        }
    }

    #[test]
    fn every_day_round_trips() {
        for days in 0..50_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
