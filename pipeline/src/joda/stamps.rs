//! Reads the dates that have a name instead of a pattern: ISO8601, UNIX, UNIX_MS and TAI64N.
use jiff::Timestamp;

use super::fields::{Fields, Guess, Zone};
use super::pattern::Number;
use super::read::Cursor;

/// A form of dates that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// `2026-11-20T09:30:00.123Z` and what else the standard allows with hyphens and colons; also
    /// `2026-11-20 09:30:00.123`, with or without an offset.
    Iso8601,
    /// Seconds since 1970, with or without a fraction.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// `@` and 24 hexadecimal digits, as daemontools' multilog writes.
    Tai64n,
}

/// The last second that is read as one: what is larger are likely milliseconds.
const LAST_SECOND: i64 = i32::MAX as i64;

impl Stamp {
    /// The form that has this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "ISO8601" => Some(Self::Iso8601),
            "UNIX" => Some(Self::Unix),
            "UNIX_MS" => Some(Self::UnixMs),
            "TAI64N" => Some(Self::Tai64n),
            _ => None,
        }
    }

    /// The moment that the whole of `text` tells; `guess` is for what ISO 8601 lets one leave out.
    pub(crate) fn read(self, text: &str, guess: Guess<'_>) -> Option<Timestamp> {
        match self {
            Self::Iso8601 => iso8601(text)?.moment(guess),
            Self::Unix => seconds(text),
            Self::UnixMs => Timestamp::from_millisecond(text.parse().ok()?).ok(),
            Self::Tai64n => tai64n(text),
        }
    }

    /// The moment that a number tells.
    pub(crate) fn count(self, number: f64) -> Option<Timestamp> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "Logstash truncates, and the range is looked at below"
        )]
        let millis = match self {
            Self::Unix if number.trunc() <= LAST_SECOND as f64 => (number * 1000.0) as i64,
            Self::UnixMs => number as i64,
            Self::Unix | Self::Iso8601 | Self::Tai64n => return None,
        };
        Timestamp::from_millisecond(millis).ok()
    }

    /// The moment that a whole number tells.
    pub(crate) fn count_whole(self, number: i64) -> Option<Timestamp> {
        match self {
            Self::Unix if number <= LAST_SECOND => Timestamp::from_second(number).ok(),
            Self::UnixMs => Timestamp::from_millisecond(number).ok(),
            Self::Unix | Self::Iso8601 | Self::Tai64n => None,
        }
    }
}

/// Reads an ISO 8601 date, with or without a time and an offset, or a time alone.
fn iso8601(text: &str) -> Option<Fields> {
    let mut cursor = Cursor::new(text);
    let mut fields = Fields::default();
    let time_alone = text.starts_with(['T', 't']);
    let whole_day = !time_alone && iso_date(&mut cursor, &mut fields)?;
    if cursor.at_end() {
        return Some(fields);
    }
    if whole_day && cursor.eat(b' ') {
        full_time(&mut cursor, &mut fields)?;
    } else if cursor.eat(b'T') || cursor.eat(b't') {
        if time_alone || cursor.digits(1) == 1 {
            iso_time(&mut cursor, &mut fields)?;
        }
    } else {
        return None;
    }
    if !cursor.at_end() {
        fields.zone = Some(Zone::Offset(cursor.offset()?));
    }
    cursor.at_end().then_some(fields)
}

/// Reads a time of which parts may be missing; the last that is there may have a fraction.
fn iso_time(cursor: &mut Cursor<'_>, fields: &mut Fields) -> Option<()> {
    let mut unit = 3_600_000;
    set(cursor, fields, Number::Hour)?;
    for (number, millis) in [(Number::Minute, 60_000), (Number::Second, 1000)] {
        if !cursor.eat(b':') {
            break;
        }
        set(cursor, fields, number)?;
        unit = millis;
    }
    if cursor.eat(b'.') || cursor.eat(b',') {
        fields.millis = cursor.fraction(9, unit)?;
    }
    Some(())
}

/// Reads the time that may stand behind a blank: to the millisecond.
fn full_time(cursor: &mut Cursor<'_>, fields: &mut Fields) -> Option<()> {
    set(cursor, fields, Number::Hour)?;
    for number in [Number::Minute, Number::Second] {
        cursor.eat(b':').then_some(())?;
        set(cursor, fields, number)?;
    }
    (cursor.eat(b'.') || cursor.eat(b',')).then_some(())?;
    fields.millis = cursor.fraction(3, 1000)?;
    Some(())
}

/// Reads a day, a month, a year, or a week; says whether it was a day of a month.
fn iso_date(cursor: &mut Cursor<'_>, fields: &mut Fields) -> Option<bool> {
    let minus = cursor.eat(b'-');
    if !minus {
        cursor.eat(b'+');
    }
    let (year, _) = cursor.number(9)?;
    let year = i32::try_from(year).ok()?;
    let year = if minus { -year } else { year };
    let mut ahead = Cursor { rest: cursor.rest };
    if ahead.eat(b'-') && (ahead.eat(b'W') || ahead.eat(b'w')) {
        fields.set(Number::WeekYear, year)?;
        cursor.rest = ahead.rest;
        set(cursor, fields, Number::Week)?;
        if cursor.eat(b'-') {
            set(cursor, fields, Number::DayOfWeek)?;
        }
        return Some(false);
    }
    fields.set(Number::Year, year)?;
    if !cursor.eat(b'-') {
        return Some(false);
    }
    if cursor.digits(4) >= 3 {
        let (day, _) = cursor.number(3)?;
        return fields.set(Number::DayOfYear, i32::try_from(day).ok()?).map(|()| false);
    }
    set(cursor, fields, Number::Month)?;
    let day = cursor.eat(b'-');
    if day {
        set(cursor, fields, Number::Day)?;
    }
    Some(day)
}

fn set(cursor: &mut Cursor<'_>, fields: &mut Fields, field: Number) -> Option<()> {
    let (value, _) = cursor.number(2)?;
    fields.set(field, i32::try_from(value).ok()?)
}

/// Reads `[-]digits[.digits]` as seconds since 1970. The fraction is added, also to what is before 1970: so does Logstash.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let whole = whole.parse::<i64>().ok().filter(|seconds| *seconds <= LAST_SECOND)?;
    let more = match fraction.map(|fraction| fraction.get(..3).unwrap_or(fraction)) {
        None => 0,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => format!("{digits:0<3}").parse().ok()?,
        Some(_) => return None,
    };
    if fraction == Some("") {
        return None;
    }
    Timestamp::from_millisecond(whole.checked_mul(1000)?.checked_add(more)?).ok()
}

/// Reads 24 hexadecimal digits; what follows them is left alone.
fn tai64n(text: &str) -> Option<Timestamp> {
    let digits = text.strip_prefix('@').unwrap_or(text).get(..24)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let seconds = u64::from_str_radix(digits.get(..16)?, 16).ok()?;
    let nanos = i32::from_str_radix(digits.get(16..)?, 16).ok()?;
    let seconds = i64::try_from(seconds & ((1 << 62) - 1)).ok()?;
    // Ten is what TAI was ahead of UTC in 1970, which is what multilog and Logstash reckon with.
    let millis = (seconds - 10).checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?;
    Timestamp::from_millisecond(millis).ok()
}
