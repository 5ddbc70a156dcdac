//! Compiles Joda date patterns (`yyyy-MM-dd'T'HH:mm:ss.SSSZ`), by which dates are written and read.
//!
//! The pattern letters and their leniency are Joda's, because that is what Logstash configurations are written in:
//! a number may be read with fewer digits than letters, a month name in its short or its long form and in any case.
mod fields;
mod locale;
mod pattern;
mod read;
mod stamps;
mod write;

pub(crate) use fields::Guess;
use fields::YearGuess;
pub(crate) use locale::Locale;
pub(crate) use read::zone_named;
pub(crate) use stamps::Stamp;

use crate::mistake::Mistake;
use pattern::{Item, Number, Text};

/// A compiled date pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    items: Vec<Item>,
    /// How to guess the year; nothing when the pattern has one.
    guess: Option<YearGuess>,
}

impl Format {
    /// Compiles `pattern`; an error names the offending letters and where they are.
    pub(crate) fn parse(pattern: &str) -> Result<Self, Mistake> {
        // It is the letter that counts, even in quotes: so does Logstash.
        let guess = YearGuess { with_offset: pattern.contains('Z') };
        Ok(Self { items: pattern::items(pattern)?, guess: (!pattern.contains(['y', 'Y'])).then_some(guess) })
    }
}

impl Format {
    /// For how many seconds, counted from 1970 on, what it writes of a moment in UTC stays the same at least; 0 if not for
    /// one.
    pub(crate) fn period_s(&self) -> i64 {
        let of = |item: &Item| match item {
            Item::Number { field: Number::Second, .. } => 1,
            Item::Number { field: Number::Minute, .. } => 60,
            Item::Number {
                field: Number::Hour | Number::ClockHour | Number::HourOfHalf | Number::ClockHourOfHalf,
                ..
            }
            | Item::Text { field: Text::HalfDay, .. } => 3600,
            Item::Fraction(_) => 0,
            _ => 86_400,
        };
        self.items.iter().map(of).min().unwrap_or(86_400)
    }
}

#[cfg(test)]
mod tests;
