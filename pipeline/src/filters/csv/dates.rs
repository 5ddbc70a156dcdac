//! Reads the forms of dates that Ruby's CSV library converts.
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// The names of months, of which three letters are enough.
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// A day: `2026-11-20`, `Nov 20, 2026`, `Fri, November 20 26`.
pub(super) fn day(text: &str) -> Option<Date> {
    iso_day(text).or_else(|| named(text, false).map(|(day, _)| day))
}

/// A moment: a day, perhaps with a time behind it, or `Fri Nov 20 10:01:15 2026`.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let utc = |local: DateTime| local.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    if let Some((day, time)) = named(text, true) {
        return utc(day.to_datetime(time));
    }
    let Some((day, time)) = text.split_once(['T', ' ']) else { return utc(iso_day(text)?.at(0, 0, 0, 0)) };
    let written = format!("{}T{}", iso_day(day)?, time);
    if let Some(local) = written.strip_suffix(" UTC").or_else(|| written.strip_suffix(" GMT")) {
        return utc(local.parse().ok()?);
    }
    // An hour alone is no time.
    time.contains(':').then(|| written.parse().ok().or_else(|| utc(written.parse().ok()?)))?
}

fn iso_day(text: &str) -> Option<Date> {
    (text.len() == 10).then(|| text.parse().ok())?
}

/// `[weekday[,]] month day[,] year`, with a time before the year if there is to be one.
fn named(text: &str, with_time: bool) -> Option<(Date, Time)> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if text.trim() != text {
        return None;
    }
    let year = words.pop()?;
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    if year.len() < 2 || !digits(year, 4) {
        return None;
    }
    let year: i16 = year.parse::<i16>().ok().map(|number| match (year.len(), number) {
        (2, 69..) => number + 1900,
        (2, _) => number + 2000,
        _ => number,
    })?;
    let time = match with_time {
        true => clock(words.pop()?)?,
        false => Time::midnight(),
    };
    let day = words.pop()?;
    let day = if with_time { day } else { day.strip_suffix(',').unwrap_or(day) };
    let month = words.pop()?.to_ascii_lowercase();
    let weekday = words.pop();
    if !digits(day, 2)
        || !words.is_empty()
        || weekday.is_some_and(|word| !is_word(word.trim_end_matches(',')))
    {
        return None;
    }
    let month = (1..).zip(MONTHS).find(|(_, name)| month.starts_with(name) && is_word(&month))?.0;
    Some((Date::new(year, month, day.parse().ok()?).ok()?, time))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// `10:01:15`, perhaps with a comma behind it.
fn clock(text: &str) -> Option<Time> {
    let mut parts = text.strip_suffix(',').unwrap_or(text).split(':').map(str::parse::<i8>);
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    parts.next().is_none().then(|| Time::new(hour, minute, second, 0).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_and_moments_are_read_in_all_their_forms() {
        for (text, wanted) in [
            ("2026-11-20", Some("2026-11-20")),
            ("Nov 20, 2026", Some("2026-11-20")),
            ("Friday, November 20 26", Some("2026-11-20")),
            ("fri Nov 5 1999", Some("1999-11-05")),
            ("Nov 31 2026", None),
            ("2026-1-2", None),
            (" 2026-11-20", None),
            ("Foo 20 2026", None),
            ("20 Nov 2026", None),
        ] {
            assert_eq!(day(text).map(|day| day.to_string()).as_deref(), wanted, "{text}");
        }
        for (text, wanted) in [
            ("2026-11-20", Some("2026-11-20T00:00:00Z")),
            ("2026-11-20 10:01", Some("2026-11-20T10:01:00Z")),
            ("2026-11-20T10:01:15.5+01:00", Some("2026-11-20T09:01:15.5Z")),
            ("2026-11-20 10:01:15 UTC", Some("2026-11-20T10:01:15Z")),
            ("2026-11-20T10:01:15Z", Some("2026-11-20T10:01:15Z")),
            ("Fri Nov 20 10:01:15 2026", Some("2026-11-20T10:01:15Z")),
            ("Nov 20 10:01:15, 26", Some("2026-11-20T10:01:15Z")),
            ("2026-11-20 10", None),
            ("yesterday", None),
        ] {
            assert_eq!(moment(text).map(|at| at.to_string()).as_deref(), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_reader(text in "\\PC{0,30}|[A-Za-z0-9:, T+Z-]{0,30}") {
            let _either = (day(&text), moment(&text));
        }
    }
}
