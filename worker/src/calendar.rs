//! Unix time as people write it, UTC. Log streams and timeout messages carry dates; nothing else here does.

use std::fmt;

/// A moment of the calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    year: u64,
    month: u64,
    day: u64,
    ms_of_day: u64,
}

const MS_PER_DAY: u64 = 86_400_000;

impl Date {
    /// The calendar's view of `unix_ms`.
    ///
    /// The year is taken to begin in March, so that the leap day comes last and the months' lengths follow one line.
    pub(crate) const fn from_unix_ms(unix_ms: u64) -> Self {
        // Days since 0000-03-01, in eras of 400 years, which all have the same length.
        let days = unix_ms / MS_PER_DAY + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + (month <= 2) as u64;
        Self { year, month, day, ms_of_day: unix_ms % MS_PER_DAY }
    }

    /// `2026/11/22`, as log streams are named.
    pub(crate) fn slashed(self) -> String {
        format!("{:04}/{:02}/{:02}", self.year, self.month, self.day)
    }
}

/// `2026-11-22T03:40:00.123Z`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.ms_of_day / 1_000, self.ms_of_day % 1_000);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let Self { year, month, day, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_795_318_800_123, "2026-11-22T03:40:00.123Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Date::from_unix_ms(unix_ms).to_string(), text);
        }
        assert_eq!(Date::from_unix_ms(951_782_400_000).slashed(), "2000/02/29");
    }
}
