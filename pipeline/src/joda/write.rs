//! Writes a moment by a date pattern.
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::Format;
use super::locale::Locale;
use super::pattern::{Item, Number, Text};

impl Format {
    /// Appends `timestamp` as seen in `zone` to `out`, with English names.
    pub(crate) fn format(&self, timestamp: Timestamp, zone: &TimeZone, out: &mut String) {
        let offset = zone.to_offset(timestamp);
        let civil = offset.to_datetime(timestamp);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Number { field, min, .. } => {
                    push_padded(out, number(*field, civil), u32::from(*min));
                }
                Item::ShortYear { .. } => {
                    push_padded(out, i32::from(civil.year()).rem_euclid(100), 2);
                }
                Item::Fraction(digits) => {
                    push_fraction(out, civil.subsec_nanosecond(), u32::from(*digits));
                }
                Item::Text { field, long } => out.push_str(word(*field, *long, civil)),
                Item::ZoneName => {
                    out.push_str(zone.to_offset_info(timestamp).abbreviation());
                }
                Item::Offset { colon } => push_offset(out, offset, *colon),
                Item::ZoneId => match zone.iana_name() {
                    Some(name) => out.push_str(name),
                    None => push_offset(out, offset, true),
                },
            }
        }
    }
}

fn number(field: Number, civil: DateTime) -> i32 {
    let year = i32::from(civil.year());
    let hour = i32::from(civil.hour());
    let clock = |hour: i32, hours: i32| if hour % hours == 0 { hours } else { hour % hours };
    match field {
        Number::Century => year_of_era(year) / 100,
        Number::YearOfEra => year_of_era(year),
        Number::Year => year,
        Number::WeekYear => i32::from(civil.date().iso_week_date().year()),
        Number::Week => i32::from(civil.date().iso_week_date().week()),
        Number::DayOfWeek => i32::from(civil.weekday().to_monday_one_offset()),
        Number::DayOfYear => i32::from(civil.day_of_year()),
        Number::Month => i32::from(civil.month()),
        Number::Day => i32::from(civil.day()),
        Number::HourOfHalf => hour % 12,
        Number::ClockHourOfHalf => clock(hour, 12),
        Number::Hour => hour,
        Number::ClockHour => clock(hour, 24),
        Number::Minute => i32::from(civil.minute()),
        Number::Second => i32::from(civil.second()),
    }
}

fn year_of_era(year: i32) -> i32 {
    if year > 0 { year } else { 1 - year }
}

fn word(field: Text, long: bool, civil: DateTime) -> &'static str {
    match field {
        Text::Era if civil.year() > 0 => "AD",
        Text::Era => "BC",
        Text::HalfDay if civil.hour() < 12 => "AM",
        Text::HalfDay => "PM",
        Text::Month => Locale::ENGLISH.month(civil.month(), long),
        Text::Weekday => Locale::ENGLISH.weekday(civil.weekday().to_monday_one_offset(), long),
    }
}

fn push_padded(out: &mut String, value: i32, width: u32) {
    if value < 0 {
        out.push('-');
    }
    let value = value.unsigned_abs();
    let digits = value.checked_ilog10().unwrap_or(0) + 1;
    for _ in digits..width {
        out.push('0');
    }
    for place in (0..digits).rev() {
        push_digit(out, value / 10u32.pow(place));
    }
}

fn push_fraction(out: &mut String, nanos: i32, digits: u32) {
    let nanos = nanos.unsigned_abs();
    for place in 0..digits {
        push_digit(out, if place < 9 { nanos / 10u32.pow(8 - place) } else { 0 });
    }
}

fn push_digit(out: &mut String, value: u32) {
    out.push(char::from_digit(value % 10, 10).unwrap_or('0'));
}

fn push_offset(out: &mut String, offset: Offset, colon: bool) {
    let seconds = offset.seconds();
    out.push(if seconds < 0 { '-' } else { '+' });
    let seconds = seconds.abs();
    push_padded(out, seconds / 3600, 2);
    if colon {
        out.push(':');
    }
    push_padded(out, seconds / 60 % 60, 2);
    if seconds % 60 != 0 {
        if colon {
            out.push(':');
        }
        push_padded(out, seconds % 60, 2);
    }
}
