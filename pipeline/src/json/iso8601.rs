//! Reads the moments that `@timestamp` takes from a text: ISO 8601 with as much leniency as Logstash has.
use crate::value::Timestamp;
use jiff::ToSpan;
use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};

/// Reads a date, perhaps a time of day, perhaps a zone. Without a time it is midnight, without a zone it is that of this
/// machine. A day that a month has not (the 31st of April) is its last; the second 60 is none.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = date(text)?;
    let (days, time, rest) = match rest.strip_prefix(['T', 't']) {
        Some(rest) => time(rest)?,
        None => (0, Time::midnight(), rest),
    };
    let local = date.checked_add(days.days()).ok()?.to_datetime(time);
    let zone = if rest.is_empty() { TimeZone::system() } else { zone(rest)? };
    zone.to_timestamp(local).ok()
}

/// Four digits of a year, or more after a sign, `-`, month, `-`, day.
fn date(text: &str) -> Option<(Date, &str)> {
    let (sign, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.get(..1)?, rest),
        None => ("", text),
    };
    let (year, rest) = unsigned.split_once('-')?;
    // More digits than four are the only ones that may and must have a plus.
    let fits = match sign {
        "" => year.len() == 4,
        "+" => year.len() > 4,
        _ => year.len() >= 4,
    };
    let year = number(year).filter(|_| fits)?;
    let year = i16::try_from(if sign == "-" { -year } else { year }).ok()?;
    let (month, rest) = two(rest)?;
    let (day, rest) = two(rest.strip_prefix('-')?)?;
    let first = Date::new(year, month, 1).ok()?;
    let day = if (1..=31).contains(&day) { day.min(first.days_in_month()) } else { return None };
    Some((Date::new(year, month, day).ok()?, rest))
}

/// Hour and minute, perhaps a second, perhaps its fraction. 24:00 is the start of the next day.
fn time(text: &str) -> Option<(i64, Time, &str)> {
    let (hour, rest) = two(text)?;
    let (minute, mut rest) = two(rest.strip_prefix(':')?)?;
    let (mut second, mut nanos) = (0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        (second, rest) = two(after)?;
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.bytes().take(9).take_while(u8::is_ascii_digit).count();
            let padded = after.bytes().take(digits).chain(std::iter::repeat(b'0')).take(9);
            nanos = padded.fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
            rest = after.get(digits..)?;
        }
    }
    if (hour, minute, second, nanos) == (24, 0, 0, 0) {
        return Some((1, Time::midnight(), rest));
    }
    Some((0, Time::new(hour, minute, second, nanos).ok()?, rest))
}

/// `Z`, `+01`, `+0130`, `+01:30`, both with seconds too, or the name of a zone.
fn zone(text: &str) -> Option<TimeZone> {
    let Some(digits) = text.strip_prefix(['+', '-']) else {
        return match text {
            "Z" | "z" => Some(TimeZone::UTC),
            name => TimeZone::get(name).ok(),
        };
    };
    let (hours, rest) = two(digits)?;
    let (minutes, seconds) = match rest.strip_prefix(':') {
        None if rest.is_empty() => (0, 0),
        None => {
            let (minutes, rest) = two(rest)?;
            (minutes, if rest.is_empty() { 0 } else { last_two(rest)? })
        }
        Some(rest) => {
            let (minutes, rest) = two(rest)?;
            (minutes, if rest.is_empty() { 0 } else { last_two(rest.strip_prefix(':')?)? })
        }
    };
    let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60 + i32::from(seconds);
    let within = minutes < 60 && seconds <= 18 * 3600;
    let offset = if text.starts_with('-') { -seconds } else { seconds };
    Offset::from_seconds(offset).ok().filter(|_| within).map(TimeZone::fixed)
}

fn two(text: &str) -> Option<(i8, &str)> {
    let (digits, rest) = text.split_at_checked(2)?;
    Some((i8::try_from(number(digits)?).ok()?, rest))
}

fn last_two(text: &str) -> Option<i8> {
    two(text).filter(|(number, rest)| *number < 60 && rest.is_empty()).map(|(number, _)| number)
}

fn number(digits: &str) -> Option<i32> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_read_as_logstash_reads_them() {
        for (text, wanted) in [
            ("2015-05-28T23:02:05.350Z", "2015-05-28T23:02:05.35Z"),
            ("2015-05-28t23:02:05z", "2015-05-28T23:02:05Z"),
            ("2015-05-28T23:02Z", "2015-05-28T23:02:00Z"),
            ("2015-05-28T23:02:05.Z", "2015-05-28T23:02:05Z"),
            ("2015-05-28T23:02:05.123456789Z", "2015-05-28T23:02:05.123456789Z"),
            ("2015-05-28T23:02:05+01", "2015-05-28T22:02:05Z"),
            ("2015-05-28T23:02:05+0130", "2015-05-28T21:32:05Z"),
            ("2015-05-28T23:02:05+01:30", "2015-05-28T21:32:05Z"),
            ("2015-05-28T23:02:05+01:30:15", "2015-05-28T21:31:50Z"),
            ("2015-05-28T23:02:05-013015", "2015-05-29T00:32:20Z"),
            ("2015-05-28T23:02:05+18:00", "2015-05-28T05:02:05Z"),
            ("2015-05-28T23:02:05Europe/Berlin", "2015-05-28T21:02:05Z"),
            ("2015-05-28T23:02:05UTC", "2015-05-28T23:02:05Z"),
            ("2015-05-28Z", "2015-05-28T00:00:00Z"),
            ("2015-02-30Z", "2015-02-28T00:00:00Z"),
            ("2015-04-31Z", "2015-04-30T00:00:00Z"),
            ("2015-05-28T24:00:00Z", "2015-05-29T00:00:00Z"),
            ("-0001-05-28Z", "-000001-05-28T00:00:00Z"),
        ] {
            assert_eq!(parse(text).map(|at| at.to_string()).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in [
            "",
            "yesterday",
            "2015",
            " 2015-05-28",
            "2015-5-28",
            "15-05-28",
            "12015-05-28",
            "+2015-05-28",
            "2015-13-01",
            "2015-05-32",
            "2015-05-00",
            "2015-05-28T",
            "2015-05-28T23",
            "2015-05-28T3:02:05Z",
            "2015-05-28T24:00:01Z",
            "2015-05-28T23:60:00Z",
            "2015-05-28T23:59:60Z",
            "2015-05-28 23:02:05Z",
            "2015-05-28T23:02:05,5Z",
            "2015-05-28T23:02:05.1234567891Z",
            "2015-05-28T23:02:05 Z",
            "2015-05-28T23:02:05+1",
            "2015-05-28T23:02:05+010",
            "2015-05-28T23:02:05+19:00",
            "2015-05-28T23:02:05Z0100",
            "1432854125",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_zone_it_is_that_of_this_machine() {
        let local = jiff::civil::date(2015, 5, 28).at(23, 2, 5, 0).to_zoned(TimeZone::system()).unwrap();
        assert_eq!(parse("2015-05-28T23:02:05"), Some(local.timestamp()));
    }

    proptest! {
        #[test]
        fn moments_that_are_written_are_read_back(nanos in -2_000_000_000_000_000_000..2_000_000_000_000_000_000_i128) {
            let at = Timestamp::from_nanosecond(nanos).unwrap();
            let mut text = String::new();
            crate::json::push_time(&mut text, at);
            prop_assert_eq!(parse(&text), Some(at), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9TZ:.é ]{0,40}") {
            parse(&text);
        }
    }
}
