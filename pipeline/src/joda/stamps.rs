//! Reads the dates that have a name instead of a pattern: ISO8601, UNIX, UNIX_MS and TAI64N.
use jiff::{SignedDuration, Timestamp};

use super::fields::{Fields, Guess, Zone};
use super::pattern::Number;
use super::read::Cursor;

/// A form of dates that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// `2026-11-20T09:30:00.123Z` and what else the standard allows with hyphens and colons; a blank may stand for `T`.
    Iso8601,
    /// Seconds since 1970, with or without a fraction.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// `@` and 24 hexadecimal digits, as daemontools' multilog writes.
    Tai64n,
}

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
            Self::Unix => decimal(text, 0),
            Self::UnixMs => decimal(text, 3),
            Self::Tai64n => tai64n(text),
        }
    }
}

/// Reads an ISO 8601 date, with or without a time and an offset.
fn iso8601(text: &str) -> Option<Fields> {
    let mut cursor = Cursor::new(text);
    let mut fields = Fields::default();
    iso_date(&mut cursor, &mut fields)?;
    if cursor.at_end() {
        return Some(fields);
    }
    let blank = cursor.eat(b' ');
    if !blank && !cursor.eat(b'T') && !cursor.eat(b't') {
        return None;
    }
    set(&mut cursor, &mut fields, Number::Hour)?;
    if cursor.eat(b':') {
        set(&mut cursor, &mut fields, Number::Minute)?;
        if cursor.eat(b':') {
            set(&mut cursor, &mut fields, Number::Second)?;
            if cursor.eat(b'.') || cursor.eat(b',') {
                fields.nanos = cursor.fraction(usize::MAX)?;
            }
        }
    }
    if !cursor.at_end() {
        fields.zone = Some(Zone::Offset(cursor.offset()?));
    }
    cursor.at_end().then_some(fields)
}

fn iso_date(cursor: &mut Cursor<'_>, fields: &mut Fields) -> Option<()> {
    let minus = cursor.eat(b'-');
    if !minus {
        cursor.eat(b'+');
    }
    let (year, digits) = cursor.number(9)?;
    if digits < 4 {
        return None;
    }
    let year = i32::try_from(year).ok()?;
    fields.set(Number::Year, if minus { -year } else { year })?;
    if !cursor.eat(b'-') {
        return Some(());
    }
    if cursor.eat(b'W') {
        set(cursor, fields, Number::Week)?;
        if cursor.eat(b'-') {
            set(cursor, fields, Number::DayOfWeek)?;
        }
        return Some(());
    }
    if cursor.digits(4) == 3 {
        let (day, _) = cursor.number(3)?;
        return fields.set(Number::DayOfYear, i32::try_from(day).ok()?);
    }
    set(cursor, fields, Number::Month)?;
    if cursor.eat(b'-') {
        set(cursor, fields, Number::Day)?;
    }
    Some(())
}

fn set(cursor: &mut Cursor<'_>, fields: &mut Fields, field: Number) -> Option<()> {
    let (value, _) = cursor.number(2)?;
    fields.set(field, i32::try_from(value).ok()?)
}

/// Reads `[-]digits[.digits]` as a count of seconds divided by 10^`scale` since 1970.
fn decimal(text: &str, scale: u32) -> Option<Timestamp> {
    let (minus, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !numeric(whole) || !numeric(fraction) {
        return None;
    }
    let unit = 10i128.pow(9u32.checked_sub(scale)?);
    let whole = i128::from(whole.parse::<u64>().ok()?) * unit;
    let nanos = fraction
        .bytes()
        .fold((0, unit / 10), |(sum, place), b| (sum + i128::from(b - b'0') * place, place / 10))
        .0;
    let nanos = whole + nanos;
    Timestamp::from_nanosecond(if minus { -nanos } else { nanos }).ok()
}

fn tai64n(text: &str) -> Option<Timestamp> {
    let digits = text.strip_prefix('@').unwrap_or(text);
    if digits.len() != 24 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let seconds = u64::from_str_radix(digits.get(..16)?, 16).ok()?;
    let nanos = i32::from_str_radix(digits.get(16..)?, 16).ok()?;
    let seconds = i64::try_from(i128::from(seconds) - (1i128 << 62)).ok()?;
    // Ten is what TAI was ahead of UTC in 1970, which is what multilog and Logstash reckon with.
    let moment = Timestamp::new(seconds, nanos).ok()?;
    moment.checked_sub(SignedDuration::from_secs(10)).ok()
}
