//! Reads and writes moments in ISO 8601, the shapes that logs mostly have without any detour.
use super::iso8601;
use crate::value::Timestamp;

const DAY_S: i64 = 86_400;
/// The years that are written with four digits.
const FOUR_DIGITS: std::ops::RangeInclusive<i64> = 0..=9999;

/// Reads an ISO 8601 moment, as far as [`iso8601`] goes.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(at) = parse_plain(text.as_bytes()) {
        return Some(at);
    }
    iso8601::parse(text)
}

/// Reads `2026-01-02T03:04:05Z` with or without a fraction of a second; everything else is none of its business.
fn parse_plain(text: &[u8]) -> Option<Timestamp> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2] = *head else {
        return None;
    };
    let two = |tens: u8, ones: u8| Some(i64::from(digit(tens)? * 10 + digit(ones)?));
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let (hour, minute, second) = (two(h1, h2)?, two(i1, i2)?, two(s1, s2)?);
    let fits = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match rest {
        [b'Z'] => 0,
        [b'.', fraction @ .., b'Z'] => nanos(fraction)?,
        _ => return None,
    };
    let at = days_before(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    Timestamp::new(at, nanos).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(digit)
}

/// Nanoseconds by one to nine digits of a fraction.
fn nanos(fraction: &[u8]) -> Option<i32> {
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let mut nanos = 0;
    for place in 0..9 {
        nanos = nanos * 10 + i32::from(fraction.get(place).map_or(Some(0), |byte| digit(*byte))?);
    }
    Some(nanos)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// How many days there are from 1970-01-01 to a date of the years 0 to 9999.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From March on, months have 31, 30, 31, 30, 31 days again and again.
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Adds a moment in ISO 8601 to `out`.
pub(crate) fn push_time(out: &mut String, at: Timestamp) {
    let (text, len) = time_text(at);
    out.push_str(std::str::from_utf8(text.get(..len).unwrap_or_default()).unwrap_or_default());
}

/// Adds a moment in ISO 8601 to `out`.
pub(super) fn push_moment(out: &mut Vec<u8>, at: Timestamp) {
    let (text, len) = time_text(at);
    out.extend_from_slice(text.get(..len).unwrap_or_default());
}

/// A moment as Logstash writes it, `2026-01-02T03:04:05.678Z`: milliseconds, and as many of the nine digits as are
/// needed if there are finer parts.
fn time_text(at: Timestamp) -> ([u8; 32], usize) {
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    // Before 1970 the fraction counts backwards.
    let (seconds, nanos) = if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) };
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S) as u32);
    let (year, month, day) = date(days);
    let mut text = [0; 32];
    let mut pen = Pen { text: &mut text, len: 0 };
    if !FOUR_DIGITS.contains(&year) {
        pen.byte(b'-');
    }
    let year = year.unsigned_abs() as u32;
    pen.two(year / 100);
    pen.two(year % 100);
    pen.byte(b'-');
    pen.two(month);
    pen.byte(b'-');
    pen.two(day);
    pen.byte(b'T');
    pen.two(second / 3600);
    pen.byte(b':');
    pen.two(second / 60 % 60);
    pen.byte(b':');
    pen.two(second % 60);
    pen.byte(b'.');
    let nanos = nanos.unsigned_abs();
    for (group, needed) in [
        (nanos / 1_000_000, true),
        (nanos / 1000 % 1000, nanos % 1_000_000 != 0),
        (nanos % 1000, nanos % 1000 != 0),
    ] {
        if needed {
            pen.byte(b'0' + (group / 100) as u8);
            pen.two(group % 100);
        }
    }
    pen.byte(b'Z');
    let len = pen.len;
    (text, len)
}

/// The date so many days after 1970-01-01.
fn date(days: i64) -> (i64, u32, u32) {
    // Days since 1 March of the year 0, in rounds of 400 years.
    let days = days + 719_468;
    let (round, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (round * 400 + year + next, month as u32, day as u32)
}

struct Pen<'a> {
    text: &'a mut [u8; 32],
    len: usize,
}

impl Pen<'_> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// A number below 100.
    #[inline]
    fn two(&mut self, number: u32) {
        self.byte(b'0' + (number / 10) as u8);
        self.byte(b'0' + (number % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As [`time_text`], by what the library for times knows.
    fn slowly(at: Timestamp) -> String {
        let civil = jiff::tz::Offset::UTC.to_datetime(at);
        let nanos = civil.subsec_nanosecond();
        let fraction = match nanos {
            n if n % 1_000_000 == 0 => format!("{:03}", n / 1_000_000),
            n if n % 1_000 == 0 => format!("{:06}", n / 1_000),
            n => format!("{n:09}"),
        };
        let sign = if civil.year() < 0 { "-" } else { "" };
        format!(
            "{sign}{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{fraction}Z",
            civil.year().unsigned_abs(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        )
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        let (min, max) = (Timestamp::MIN.as_second() + 1, Timestamp::MAX.as_second());
        let nanos = prop_oneof![Just(0), (0..1000).prop_map(|ms| ms * 1_000_000), 0..1_000_000_000];
        let seconds = prop_oneof![0..4_000_000_000_i64, min..max];
        (seconds, nanos).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
    }

    proptest! {
        #[test]
        fn moments_are_written_as_slowly_and_read_back(at in moment()) {
            let mut text = String::new();
            push_time(&mut text, at);
            prop_assert_eq!(&text, &slowly(at));
            if (0..=9999).contains(&jiff::tz::Offset::UTC.to_datetime(at).year()) {
                prop_assert_eq!(parse_plain(text.as_bytes()), Some(at));
            }
        }

        #[test]
        fn what_is_read_quickly_is_read_the_same_slowly(
            text in "[0-9]{4}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?Z?|\\PC{0,30}",
        ) {
            if let Some(quickly) = parse_plain(text.as_bytes()) {
                prop_assert_eq!(Some(quickly), iso8601::parse(&text));
            }
        }
    }

    #[test]
    fn every_day_of_the_calendar_has_its_number() {
        let mut day = jiff::civil::date(0, 1, 1);
        let mut number = days_before(0, 1, 1);
        while day.year() < 2500 {
            let (year, month) = (i64::from(day.year()), day.month());
            assert_eq!(days_before(year, i64::from(month), i64::from(day.day())), number);
            assert_eq!(date(number), (year, month as u32, day.day() as u32));
            (day, number) = (day.tomorrow().unwrap(), number + 1);
        }
    }
}
