//! Reads durations as Mesos writes them: a number, possibly with a fraction, and a unit, without a blank.
use std::time::Duration;

const UNITS: &[(&str, f64)] = &[
    ("weeks", 604_800.0),
    ("days", 86_400.0),
    ("hrs", 3_600.0),
    ("mins", 60.0),
    ("secs", 1.0),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("ns", 1e-9),
];

/// Reads a duration text such as `15mins`, `1.5hrs` or `250ms`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (unit, seconds) = UNITS.iter().find(|(unit, _)| {
        text.strip_suffix(unit)
            .is_some_and(|number| number.ends_with(|c: char| c.is_ascii_digit() || c == '.'))
    })?;
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_is_read() {
        let cases = [
            ("15mins", 900_000),
            ("90secs", 90_000),
            ("250ms", 250),
            ("1.5hrs", 5_400_000),
            ("1days", 86_400_000),
            ("2weeks", 1_209_600_000),
            ("5000000ns", 5),
            ("1000us", 1),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "secs", "5 secs", "-1secs", "5s", "infsecs", "1e400weeks"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_never_causes_a_panic(text in ".{0,20}") {
            parse(&text);
        }

        #[test]
        fn whole_numbers_are_exact(number in 0u32..1_000_000) {
            prop_assert_eq!(parse(&format!("{number}secs")), Some(Duration::from_secs(u64::from(number))));
        }
    }
}
