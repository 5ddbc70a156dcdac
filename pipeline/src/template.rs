//! Reads texts with `%{field}` and `%{+yyyy.MM.dd}` in them once, and fills them in for each event.
use crate::event::Event;
use crate::field::FieldRef;
use crate::value::{Text, Timestamp};
use std::fmt::Write;

/// A text with places to fill in.
///
/// - `%{field}`, `%{[a][b]}`: the value of a field; an absent field leaves the place as it is written.
/// - `%{+yyyy.MM.dd}`: `@timestamp` in UTC by a Joda-like pattern; `%{+%s}` in seconds since 1970.
/// - `%{{yyyy.MM.dd}}`: the same, as newer Logstash writes it; `%{{TIME_NOW}}` is not filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Text),
    Field { field: FieldRef, written: Text },
    Date { pattern: Vec<DatePart>, written: Text },
}

#[derive(Clone, Debug, PartialEq)]
enum DatePart {
    Literal(String),
    /// A letter of a pattern and how often it stands in a row.
    Letter(char, usize),
    EpochSeconds,
}

impl Template {
    /// Reads a text. Nothing can be wrong with it: what is no place to fill in stands for itself.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("%{") {
            literal.push_str(before);
            let (part, after) = match place(from) {
                Some(found) => found,
                None => {
                    literal.push_str("%{");
                    rest = from;
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(part);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Self { parts }
    }

    /// The text, if there is nothing to fill in.
    pub fn as_literal(&self) -> Option<&Text> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether a field is filled in (a date alone is not).
    pub fn has_fields(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field { .. }))
    }

    /// The literal text before the first place to fill in.
    pub fn literal_start(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Fills in; free if the text is a literal or just one field that holds a string.
    pub fn render(&self, event: &Event) -> Text {
        match self.parts.as_slice() {
            [Part::Literal(text)] => text.clone(),
            [Part::Field { field, written }] => event.get(field).map_or(written.clone(), |v| v.to_text()),
            _ => {
                let mut out = String::new();
                self.render_into(event, &mut out);
                out.into()
            }
        }
    }

    /// Fills in, adding the result to `out`.
    pub fn render_into(&self, event: &Event, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Field { field, written } => match event.get(field) {
                    Some(value) => value.write_text(out),
                    None => out.push_str(written),
                },
                Part::Date { pattern, written } => match event.timestamp() {
                    Some(at) => write_date(pattern, at, out),
                    None => out.push_str(written),
                },
            }
        }
    }

    /// Whether everything that is to be filled in is there.
    pub fn is_complete(&self, event: &Event) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Literal(_) => true,
            Part::Field { field, .. } => event.has(field),
            Part::Date { .. } => event.timestamp().is_some(),
        })
    }
}

/// Reads a place after its `%{`; returns what is after it too.
fn place(from: &str) -> Option<(Part, &str)> {
    if let Some(java) = from.strip_prefix('{') {
        let (pattern, after) = java.split_once("}}")?;
        if pattern.is_empty() || pattern == "TIME_NOW" {
            return None;
        }
        let written = Text::from(format!("%{{{{{pattern}}}}}"));
        return Some((Part::Date { pattern: date_pattern(pattern), written }, after));
    }
    let (inside, after) = from.split_once('}')?;
    let written = Text::from(format!("%{{{inside}}}"));
    if let Some(pattern) = inside.strip_prefix('+') {
        return Some((Part::Date { pattern: date_pattern(pattern), written }, after));
    }
    let field = FieldRef::parse(inside).ok()?;
    Some((Part::Field { field, written }, after))
}

fn date_pattern(pattern: &str) -> Vec<DatePart> {
    if pattern == "%s" {
        return vec![DatePart::EpochSeconds];
    }
    let mut parts = Vec::new();
    let mut chars = pattern.chars().peekable();
    let push_literal = |parts: &mut Vec<DatePart>, c: char| match parts.last_mut() {
        Some(DatePart::Literal(text)) => text.push(c),
        _ => parts.push(DatePart::Literal(c.to_string())),
    };
    while let Some(c) = chars.next() {
        if c == '\'' {
            if chars.next_if_eq(&'\'').is_some() {
                push_literal(&mut parts, '\'');
                continue;
            }
            while let Some(quoted) = chars.next() {
                if quoted == '\'' && chars.next_if_eq(&'\'').is_none() {
                    break;
                }
                push_literal(&mut parts, quoted);
            }
        } else if c.is_ascii_alphabetic() {
            let mut count = 1;
            while chars.next_if_eq(&c).is_some() {
                count += 1;
            }
            parts.push(DatePart::Letter(c, count));
        } else {
            push_literal(&mut parts, c);
        }
    }
    parts
}

fn write_date(pattern: &[DatePart], at: Timestamp, out: &mut String) {
    let when = jiff::tz::TimeZone::UTC.to_datetime(at);
    for part in pattern {
        match part {
            DatePart::Literal(text) => out.push_str(text),
            DatePart::EpochSeconds => number(at.as_second(), 1, out),
            DatePart::Letter(letter, count) => write_letter(*letter, *count, when, out),
        }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn write_letter(letter: char, count: usize, when: jiff::civil::DateTime, out: &mut String) {
    let week = when.date().iso_week_date();
    let weekday = when.weekday().to_monday_one_offset();
    match letter {
        'y' | 'Y' | 'u' => year(i64::from(when.year()), count, out),
        'x' => year(i64::from(week.year()), count, out),
        'M' | 'L' if count >= 3 => name(&MONTHS, when.month(), count, out),
        'M' | 'L' => number(i64::from(when.month()), count, out),
        'd' => number(i64::from(when.day()), count, out),
        'D' => number(i64::from(when.day_of_year()), count, out),
        'w' => number(i64::from(week.week()), count, out),
        'e' => number(i64::from(weekday), count, out),
        'E' => name(&DAYS, weekday, count, out),
        'a' => out.push_str(if when.hour() < 12 { "AM" } else { "PM" }),
        'H' => number(i64::from(when.hour()), count, out),
        'k' => number(if when.hour() == 0 { 24 } else { i64::from(when.hour()) }, count, out),
        'K' => number(i64::from(when.hour() % 12), count, out),
        'h' => number(i64::from((when.hour() + 11) % 12 + 1), count, out),
        'm' => number(i64::from(when.minute()), count, out),
        's' => number(i64::from(when.second()), count, out),
        'S' => {
            let digits = format!("{:09}", when.subsec_nanosecond());
            out.extend(digits.chars().chain(std::iter::repeat('0')).take(count));
        }
        'Z' => out.push_str(if count >= 2 { "+00:00" } else { "+0000" }),
        'z' | 'V' => out.push_str("UTC"),
        'X' => out.push('Z'),
        other => out.extend(std::iter::repeat_n(other, count)),
    }
}

fn year(year: i64, count: usize, out: &mut String) {
    if count == 2 { number(year.rem_euclid(100), 2, out) } else { number(year, count, out) }
}

fn number(n: i64, digits: usize, out: &mut String) {
    // Writing into a string cannot fail.
    let _ok = write!(out, "{n:0digits$}");
}

fn name(names: &[&str], from_one: i8, count: usize, out: &mut String) {
    let at = usize::try_from(from_one - 1).unwrap_or_default();
    let whole = names.get(at).copied().unwrap_or_default();
    let short = whole.get(..3).unwrap_or(whole);
    out.push_str(if count >= 4 { whole } else { short });
}
