//! Writes moments in UTC by the patterns of `java.time`, which differ from Joda's in letters and in weeks.
//!
//! Names are English; weeks are those of the United States (`Y`, `w`, `W`, `e`, `c`): they begin on Sunday, and the week of
//! the 1st of January is the first of its year.
use crate::mistake::Mistake;
use crate::value::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use std::fmt::Write;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern(Vec<Item>);

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Literal(String),
    /// So many times a letter, filled up with blanks on the left to so many characters.
    Field {
        letter: char,
        count: usize,
        pad: usize,
    },
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

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Pattern {
    /// Compiles a pattern; the places of mistakes are those in `pattern`.
    pub(super) fn parse(pattern: &str) -> Result<Self, Mistake> {
        let mut items: Vec<Item> = Vec::new();
        let mut literal = String::new();
        let mut pad = 0;
        let mut optional = 0_usize;
        let mut chars = pattern.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c.is_ascii_alphabetic() {
                let mut count = 1;
                while chars.next_if(|(_, next)| *next == c).is_some() {
                    count += 1;
                }
                if c == 'p' {
                    if !chars.peek().is_some_and(|(_, next)| next.is_ascii_alphabetic()) {
                        return Err(mistake(
                            at,
                            count,
                            "nothing follows the `p` that it could fill up".to_owned(),
                        ));
                    }
                    pad = count;
                    continue;
                }
                allowed(c, count).map_err(|message| mistake(at, count, message))?;
                if !literal.is_empty() {
                    items.push(Item::Literal(std::mem::take(&mut literal)));
                }
                items.push(Item::Field { letter: c, count, pad: std::mem::take(&mut pad) });
                continue;
            }
            match c {
                '\'' => quoted(&mut chars, &mut literal)
                    .ok_or_else(|| mistake(at, pattern.len() - at, "this quote is not closed".to_owned()))?,
                '[' => optional += 1,
                ']' => {
                    let less = optional.checked_sub(1);
                    optional = less.ok_or_else(|| mistake(at, 1, "this `]` closes nothing".to_owned()))?;
                }
                '{' | '}' | '#' => return Err(mistake(at, 1, format!("`{c}` needs quotes: `'{c}'`"))),
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            items.push(Item::Literal(literal));
        }
        Ok(Self(items))
    }

    /// Adds the moment to `out`.
    pub(super) fn format(&self, at: Timestamp, out: &mut String) {
        let civil = Offset::UTC.to_datetime(at);
        for item in &self.0 {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field { letter, count, pad: 0 } => field(*letter, *count, civil, out),
                Item::Field { letter, count, pad } => {
                    let mut text = String::new();
                    field(*letter, *count, civil, &mut text);
                    out.extend((text.chars().count()..*pad).map(|_| ' '));
                    out.push_str(&text);
                }
            }
        }
    }
}

fn mistake(at: usize, len: usize, message: String) -> Mistake {
    let hint =
        "in `%{{…}}` stands a pattern of java.time such as `yyyy-MM-dd HH:mm:ss`, in `%{+…}` one of Joda";
    Mistake::new(at, at + len, message).with_hint(hint)
}

/// Takes a quoted text, or a quote (`''`), whose first quote was just taken; `None` when it is not closed.
fn quoted(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, literal: &mut String) -> Option<()> {
    let is_quote = |(_, next): &(usize, char)| *next == '\'';
    if chars.next_if(is_quote).is_some() {
        literal.push('\'');
        return Some(());
    }
    loop {
        match chars.next()?.1 {
            '\'' if chars.next_if(is_quote).is_some() => literal.push('\''),
            '\'' => return Some(()),
            c => literal.push(c),
        }
    }
}

/// Whether a letter means something, so many times.
fn allowed(letter: char, count: usize) -> Result<(), String> {
    let most = match letter {
        'u' | 'y' | 'Y' | 'A' | 'n' | 'N' | 'g' => 19,
        'S' => 9,
        'G' | 'M' | 'L' | 'Q' | 'q' | 'E' | 'e' | 'c' | 'Z' | 'X' | 'x' => 5,
        'z' => 4,
        'D' => 3,
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'w' => 2,
        'a' | 'F' | 'W' => 1,
        'V' if count == 2 => 2,
        'V' => return Err("`V` stands twice: `VV`".to_owned()),
        'v' | 'O' if count == 1 || count == 4 => 4,
        'v' | 'O' => return Err(format!("`{letter}` stands once or four times")),
        _ => return Err(format!("the letter `{letter}` means nothing in a pattern of java.time")),
    };
    match count {
        2 if letter == 'c' => Err("`c` stands once, or three to five times".to_owned()),
        count if count <= most => Ok(()),
        _ => Err(format!("`{letter}` stands {most} times at most")),
    }
}

fn field(letter: char, count: usize, at: DateTime, out: &mut String) {
    let year = i64::from(at.year());
    let hour = i64::from(at.hour());
    let clock = |hours: i64| if hour % hours == 0 { hours } else { hour % hours };
    let seconds = hour * 3600 + i64::from(at.minute()) * 60 + i64::from(at.second());
    let nanos = i64::from(at.subsec_nanosecond());
    match letter {
        'u' => push_year(year, count, out),
        'y' => push_year(if year > 0 { year } else { 1 - year }, count, out),
        'Y' => push_year(week_of_year(at).0, count, out),
        'w' => push(week_of_year(at).1, count, out),
        'W' => push(week_of(i64::from(at.day()), at), count, out),
        'F' => push((i64::from(at.day()) - 1) / 7 + 1, count, out),
        'D' => push(i64::from(at.day_of_year()), count, out),
        'd' => push(i64::from(at.day()), count, out),
        'M' | 'L' => named(&MONTHS, i64::from(at.month()), count, out),
        'Q' | 'q' => quarter(i64::from(at.month() - 1) / 3 + 1, count, out),
        'E' => named(&WEEKDAYS, weekday(at), count.max(3), out),
        'e' | 'c' => named(&WEEKDAYS, weekday(at), count, out),
        'G' => out.push_str(match (year > 0, count) {
            (true, ..4) => "AD",
            (true, 4) => "Anno Domini",
            (true, _) => "A",
            (false, ..4) => "BC",
            (false, 4) => "Before Christ",
            (false, _) => "B",
        }),
        'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'h' => push(clock(12), count, out),
        'K' => push(hour % 12, count, out),
        'H' => push(hour, count, out),
        'k' => push(clock(24), count, out),
        'm' => push(i64::from(at.minute()), count, out),
        's' => push(i64::from(at.second()), count, out),
        'S' => out.push_str(format!("{nanos:09}").get(..count).unwrap_or_default()),
        'A' => push(seconds * 1000 + nanos / 1_000_000, count, out),
        'n' => push(nanos, count, out),
        'N' => push(seconds * 1_000_000_000 + nanos, count, out),
        'g' => push(modified_julian_day(at), count, out),
        'z' | 'V' | 'v' | 'X' => out.push('Z'),
        'O' => out.push_str("GMT"),
        'Z' => out.push_str(match count {
            ..4 => "+0000",
            4 => "GMT",
            _ => "Z",
        }),
        'x' => out.push_str(match count {
            1 => "+00",
            2 | 4 => "+0000",
            _ => "+00:00",
        }),
        _ => {}
    }
}

fn push(number: i64, width: usize, out: &mut String) {
    if number < 0 {
        out.push('-');
    }
    // Writing into a string cannot fail.
    let _ok = write!(out, "{:0width$}", number.unsigned_abs());
}

/// Two letters are the last two digits; a year with more digits than four or more letters ask for has a sign.
fn push_year(year: i64, count: usize, out: &mut String) {
    if count == 2 {
        return push(year.rem_euclid(100), 2, out);
    }
    if count >= 4 && year >= 10_i64.pow(u32::try_from(count).unwrap_or(18).min(18)) {
        out.push('+');
    }
    push(year, count, out);
}

/// The nth name from 1: as a number, short, in full, or its first letter.
fn named(names: &[&str], nth: i64, count: usize, out: &mut String) {
    let name = usize::try_from(nth - 1).ok().and_then(|at| names.get(at)).copied().unwrap_or_default();
    match count {
        1 | 2 => push(nth, count, out),
        3 => out.push_str(name.get(..3).unwrap_or(name)),
        4 => out.push_str(name),
        _ => out.push_str(name.get(..1).unwrap_or(name)),
    }
}

fn quarter(quarter: i64, count: usize, out: &mut String) {
    match count {
        3 => out.push('Q'),
        4 => {
            let ordinals = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];
            return named(&ordinals, quarter, count, out);
        }
        _ => {}
    }
    push(quarter, if count == 2 { 2 } else { 1 }, out);
}

/// 1 is Sunday.
fn weekday(at: DateTime) -> i64 {
    i64::from(at.weekday().to_sunday_zero_offset()) + 1
}

/// In which week, from 1, the `day`th day of a month or year is, when that is the day `at`.
fn week_of(day: i64, at: DateTime) -> i64 {
    let week_start = (day - weekday(at)).rem_euclid(7);
    let offset = if week_start > 0 { 7 - week_start } else { 0 };
    (7 + offset + day - 1) / 7
}

/// The year that the week belongs to, and the number of the week in it.
fn week_of_year(at: DateTime) -> (i64, i64) {
    let (day, year) = (i64::from(at.day_of_year()), i64::from(at.year()));
    let week = week_of(day, at);
    // The week that the next 1st of January is in is the first of that year.
    let to_new_year = i64::from(at.date().days_in_year()) - day;
    if weekday(at) + to_new_year < 7 { (year + 1, 1) } else { (year, week) }
}

fn modified_julian_day(at: DateTime) -> i64 {
    let epoch = jiff::civil::date(1858, 11, 17);
    at.date().since((jiff::Unit::Day, epoch)).map_or(0, |span| i64::from(span.get_days()))
}
