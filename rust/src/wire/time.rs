//! Times on the wire: text, and nanoseconds since the epoch.

/// Nanoseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000_000;
/// Nanoseconds of an hour.
pub(crate) const HOUR: i64 = 3600 * SECOND;

/// RFC 3339, UTC (`Z`), up to nine decimals of a second: nanoseconds since the epoch. `None` for anything else.
#[must_use]
pub fn parse_time(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let is = |at: usize, byte: u8| (text.get(at) == Some(&byte)).then_some(());
    is(4, b'-').and(is(7, b'-')).and(is(10, b'T')).and(is(13, b':')).and(is(16, b':'))?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // 1970 to 2261 fits nanoseconds in 64 bits; nothing of the feed is older.
    if !(1970..=2261).contains(&year) || !(1..=12).contains(&month) || !(1..=length).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanoseconds = 0;
    if text.get(at) == Some(&b'.') {
        let end = text.len().checked_sub(1)?;
        let decimals = end.checked_sub(at + 1)?;
        if !(1..=9).contains(&decimals) {
            return None;
        }
        nanoseconds = number(at + 1, end)?;
        for _ in decimals..9 {
            nanoseconds *= 10;
        }
        at = end;
    }
    if text.get(at..) != Some(b"Z") {
        return None;
    }
    // Days since the epoch, by counting years from March (the leap day is then the last of its year).
    let from_march = year - i64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let era = from_march / 400;
    let year_of_era = from_march % 400;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 * SECOND + second * SECOND + nanoseconds)
}
