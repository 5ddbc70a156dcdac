//! Reads a date by a date pattern.
use jiff::tz::{Offset, TimeZone};

use super::Format;
use super::fields::{Fields, Zone};
use super::locale::{Locale, name_at, prefix};
use super::pattern::{Item, Number, Text};

/// The abbreviations of zones that Joda reads, and the zones it takes them for: the offset is that of the day.
const ABBREVIATIONS: [(&str, &str); 11] = [
    ("UTC", "UTC"),
    ("UT", "UTC"),
    ("GMT", "UTC"),
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("MST", "America/Denver"),
    ("MDT", "America/Denver"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
];

/// The longest identifier of a time zone that is looked for.
const LONGEST_ZONE_ID: usize = 40;

impl Format {
    /// Reads the whole of `text`; `None` when it is not of this form.
    pub(crate) fn read(&self, text: &str, locale: &Locale) -> Option<Fields> {
        let mut cursor = Cursor::new(text);
        let mut fields = Fields::default();
        fields.guess = self.guess;
        for item in &self.items {
            read_item(item, &mut cursor, locale, &mut fields)?;
        }
        cursor.at_end().then_some(fields)
    }
}

fn read_item(item: &Item, cursor: &mut Cursor<'_>, locale: &Locale, fields: &mut Fields) -> Option<()> {
    match item {
        Item::Literal(text) => cursor.skip(prefix(cursor.rest, text)?),
        Item::Number { field, max, .. } => {
            let signed = matches!(field, Number::Year | Number::WeekYear);
            let minus = signed && cursor.eat(b'-');
            if signed && !minus {
                cursor.eat(b'+');
            }
            let (value, _) = cursor.number(usize::from(*max))?;
            let value = i32::try_from(value).ok()?;
            fields.set(*field, if minus { -value } else { value })
        }
        Item::ShortYear { lenient, of_weeks } => {
            let minus = *lenient && cursor.eat(b'-');
            let (value, digits) = cursor.number(if *lenient { 9 } else { 2 })?;
            let value = i32::try_from(value).ok()?;
            if digits == 2 && !minus {
                *(if *of_weeks { &mut fields.short_week_year } else { &mut fields.short_year }) = Some(value);
                Some(())
            } else if *lenient {
                let year = if *of_weeks { Number::WeekYear } else { Number::Year };
                fields.set(year, if minus { -value } else { value })
            } else {
                None
            }
        }
        Item::Fraction(digits) => {
            fields.millis = cursor.fraction(usize::from(*digits), 1000)?;
            fields.timed = true;
            Some(())
        }
        Item::Text { field, .. } => read_word(*field, cursor, locale, fields),
        Item::ZoneName => {
            let (name, zone) = ABBREVIATIONS.iter().find(|(name, _)| cursor.rest.starts_with(name))?;
            cursor.skip(name.len())?;
            fields.zone = Some(Zone::Named(TimeZone::get(zone).ok()?));
            Some(())
        }
        Item::Offset { .. } => {
            fields.zone = Some(Zone::Offset(cursor.offset()?));
            Some(())
        }
        Item::ZoneId => read_zone_id(cursor, fields),
    }
}

fn read_word(field: Text, cursor: &mut Cursor<'_>, locale: &Locale, fields: &mut Fields) -> Option<()> {
    let words = |words: [(&'static str, bool); 4]| {
        let found = words.into_iter().find(|(word, _)| name_at(cursor.rest, word).is_some());
        found.map(|(word, yes)| (word.len(), yes))
    };
    let length = match field {
        Text::Month => {
            let (month, length) = locale.read_month(cursor.rest)?;
            fields.set(Number::Month, i32::from(month))?;
            length
        }
        Text::Weekday => {
            let (weekday, length) = locale.read_weekday(cursor.rest)?;
            fields.set(Number::DayOfWeek, i32::from(weekday))?;
            length
        }
        Text::HalfDay => {
            let (length, afternoon) = words([("AM", false), ("PM", true), ("a.m.", false), ("p.m.", true)])?;
            fields.afternoon = Some(afternoon);
            fields.timed = true;
            length
        }
        Text::Era => {
            let (length, before_christ) = words([("AD", false), ("BCE", true), ("BC", true), ("CE", false)])?;
            fields.before_christ = before_christ;
            length
        }
    };
    cursor.skip(length)
}

/// Reads the longest identifier that names a zone: `Europe/Berlin`, `Etc/GMT+3`, `UTC`, or an offset.
fn read_zone_id(cursor: &mut Cursor<'_>, fields: &mut Fields) -> Option<()> {
    if let Some(offset) = cursor.try_offset() {
        fields.zone = Some(Zone::Offset(offset));
        return Some(());
    }
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-');
    let longest = cursor.rest.bytes().take(LONGEST_ZONE_ID).take_while(|b| in_name(b)).count();
    for length in (1..=longest).rev() {
        let name = cursor.rest.get(..length)?;
        if let Ok(zone) = TimeZone::get(name) {
            fields.zone = Some(Zone::Named(zone));
            return cursor.skip(length);
        }
    }
    None
}

/// The zone of this identifier or offset.
pub(crate) fn zone_named(name: &str) -> Option<TimeZone> {
    if name == "Z" {
        return Some(TimeZone::UTC);
    }
    if !name.starts_with(['+', '-']) {
        return TimeZone::get(name).ok();
    }
    let mut cursor = Cursor::new(name);
    let offset = cursor.offset()?;
    cursor.at_end().then(|| TimeZone::fixed(offset))
}

/// What is left of the text that is being read.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// Consumes the ASCII character `wanted` if it is next.
    pub(super) fn eat(&mut self, wanted: u8) -> bool {
        self.rest.bytes().next() == Some(wanted) && self.skip(1).is_some()
    }

    pub(super) fn digits(&self, max: usize) -> usize {
        self.rest.bytes().take(max).take_while(u8::is_ascii_digit).count()
    }

    /// Reads a number of one to `max` (but never more than nine) digits, and says how many there were.
    pub(super) fn number(&mut self, max: usize) -> Option<(u32, usize)> {
        let digits = self.digits(max.min(9));
        let text = self.rest.get(..digits).filter(|t| !t.is_empty())?;
        let value = text.bytes().fold(0, |value, b| value * 10 + u32::from(b - b'0'));
        self.skip(digits)?;
        Some((value, digits))
    }

    /// Reads one to `max` digits after a decimal sign as a part of `unit` milliseconds, cut to whole ones.
    pub(super) fn fraction(&mut self, max: usize, unit: i64) -> Option<i64> {
        let digits = self.digits(max);
        let text = self.rest.get(..digits).filter(|t| !t.is_empty())?;
        let padded = text.bytes().chain(std::iter::repeat(b'0')).take(9);
        let billionths = padded.fold(0, |value, b| value * 10 + i64::from(b - b'0'));
        self.skip(digits)?;
        Some(billionths * unit / 1_000_000_000)
    }

    /// Reads `Z`, `+01`, `+0100`, `+01:00` or, with seconds, `+01:00:00`.
    pub(super) fn offset(&mut self) -> Option<Offset> {
        if self.eat(b'Z') || self.eat(b'z') {
            return Some(Offset::UTC);
        }
        let minus = self.eat(b'-');
        if !minus && !self.eat(b'+') {
            return None;
        }
        let mut seconds = self.pair(23)? * 3600;
        let colon = self.eat(b':');
        if colon || self.digits(2) == 2 {
            seconds += self.pair(59)? * 60;
            let more = if colon { self.rest.starts_with(':') && self.eat(b':') } else { self.digits(2) == 2 };
            if more {
                seconds += self.pair(59)?;
            }
        }
        Offset::from_seconds(if minus { -seconds } else { seconds }).ok()
    }

    /// Reads an offset that starts with a sign; consumes nothing when there is none.
    fn try_offset(&mut self) -> Option<Offset> {
        let mut ahead = Cursor { rest: self.rest };
        if !self.rest.starts_with(['+', '-']) {
            return None;
        }
        let offset = ahead.offset()?;
        self.rest = ahead.rest;
        Some(offset)
    }

    /// Reads exactly two digits, at most `max`.
    fn pair(&mut self, max: i32) -> Option<i32> {
        let (value, digits) = self.number(2)?;
        let value = i32::try_from(value).ok()?;
        (digits == 2 && value <= max).then_some(value)
    }
}
