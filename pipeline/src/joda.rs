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
pub(crate) use locale::Locale;
pub(crate) use read::zone_named;
pub(crate) use stamps::Stamp;

use crate::mistake::Mistake;
use pattern::Item;

/// A compiled date pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    items: Vec<Item>,
}

impl Format {
    /// Compiles `pattern`; an error names the offending letters and where they are.
    pub(crate) fn parse(pattern: &str) -> Result<Self, Mistake> {
        Ok(Self { items: pattern::items(pattern)? })
    }
}

#[cfg(test)]
mod tests;
