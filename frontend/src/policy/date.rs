//! Moments as policies write them: W3C's profile of ISO 8601, or seconds since 1970.

use crate::calendar::days_from_civil;

/// Unix seconds of `2013-06-30`, `2013-06-30T00:00Z`, `2013-06-30T00:00:00+02:00`, `1372550400`; `None` if it is none
/// of these. Fractions of seconds are cut off.
pub(super) fn parse(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days_from_civil(year, month, day) * 86_400 + time.map_or(Some(0), time_of_day)?)
}

fn time_of_day(text: &str) -> Option<i64> {
    let at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(at);
    let offset_s = match zone.split_at(1) {
        ("Z", "") => 0,
        (sign, zone) if sign != "Z" => {
            let (hours, minutes) = zone.split_once(':')?;
            let offset_s = number(hours, 2)? * 3_600 + number(minutes, 2)? * 60;
            if sign == "-" { -offset_s } else { offset_s }
        }
        _ => return None,
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |text| number(text.split('.').next()?, 2))?;
    (hour < 24 && minute < 60 && second < 60).then(|| hour * 3_600 + minute * 60 + second - offset_s)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let valid = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_same_moment_in_each_spelling() {
        for text in [
            "1372550400",
            "2013-06-30",
            "2013-06-30T00:00Z",
            "2013-06-30T00:00:00Z",
            "2013-06-30T00:00:00.123Z",
            "2013-06-30T02:00:00+02:00",
            "2013-06-29T19:30:00-04:30",
        ] {
            assert_eq!(parse(text), Some(1_372_550_400), "{text}");
        }
        for text in ["", "2013-6-30", "2013-06-30T", "2013-06-30T25:00Z", "2013-06-30T00:00", "yesterday"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
