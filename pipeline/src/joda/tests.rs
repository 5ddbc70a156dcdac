use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::{Format, Guess, Locale, Stamp};

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// Reads `text` by `pattern` at noon of 2026-06-15, in Berlin unless the text says otherwise.
fn read(pattern: &str, text: &str) -> Option<String> {
    read_at(pattern, text, "2026-06-15T12:00:00Z", "en")
}

fn read_at(pattern: &str, text: &str, now: &str, locale: &str) -> Option<String> {
    let format = Format::parse(pattern).unwrap();
    let berlin = zone("Europe/Berlin");
    let guess = Guess { zone: &berlin, today: berlin.to_datetime(now.parse().unwrap()).date() };
    let fields = format.read(text, &Locale::named(locale).unwrap())?;
    fields.moment(guess).map(|t| t.to_string())
}

fn write(pattern: &str, moment: &str, in_zone: &str) -> String {
    let mut out = String::new();
    let format = Format::parse(pattern).unwrap();
    format.format(moment.parse().unwrap(), &zone(in_zone), &mut out);
    out
}

#[test]
fn dates_of_common_log_formats_are_read() {
    for (pattern, text, expected) in [
        ("dd/MMM/yyyy:HH:mm:ss Z", "20/Nov/2026:10:01:15 +0200", "2026-11-20T08:01:15Z"),
        ("dd/MMM/YYYY:HH:mm:ss Z", "20/Nov/2026:10:01:15 -0530", "2026-11-20T15:31:15Z"),
        ("yyyy-MM-dd HH:mm:ss,SSS", "2026-01-02 03:04:05,678", "2026-01-02T02:04:05.678Z"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSZZ", "2026-01-02T03:04:05.6+01:00", "2026-01-02T02:04:05.6Z"),
        ("yyyyMMddHHmmss", "20260102030405", "2026-01-02T02:04:05Z"),
        ("yyMMdd HHmmss", "260102 030405", "2026-01-02T02:04:05Z"),
        ("EEE MMM dd HH:mm:ss yyyy", "Fri Nov 20 10:01:15 2026", "2026-11-20T09:01:15Z"),
        ("EEE MMM dd HH:mm:ss.SSSSSS yyyy", "Fri Nov 20 10:01:15.123456 2026", "2026-11-20T09:01:15.123Z"),
        ("MM/dd/yy hh:mm:ss a", "11/20/26 12:30:00 AM", "2026-11-19T23:30:00Z"),
        ("MM/dd/yy hh:mm:ss a", "11/20/26 12:30:00 pm", "2026-11-20T11:30:00Z"),
        ("MM/dd/yyyy K:mm a", "11/20/2026 0:30 PM", "2026-11-20T11:30:00Z"),
        ("yyyy-MM-dd kk:mm", "2026-01-02 24:30", "2026-01-01T23:30:00Z"),
        ("yyyy-MM-dd HH:mm:ss ZZZ", "2026-07-01 12:00:00 America/New_York", "2026-07-01T16:00:00Z"),
        ("yyyy-MM-dd HH:mm:ss ZZZ", "2026-07-01 12:00:00 UTC", "2026-07-01T12:00:00Z"),
        ("yyyy-MM-dd HH:mm:ss ZZZ", "2026-07-01 12:00:00 +02:00", "2026-07-01T10:00:00Z"),
        ("ZZZ yyyy-MM-dd", "Etc/GMT+3 2026-07-01", "2026-07-01T03:00:00Z"),
        ("yyyy-MM-dd HH:mm:ss z", "2026-07-01 12:00:00 PST", "2026-07-01T19:00:00Z"),
        ("yyyy-MM-dd HH:mm:ss z", "2026-01-01 12:00:00 GMT", "2026-01-01T12:00:00Z"),
        ("yyyy-MM-dd'T'HH:mm:ssZ", "2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ("yyyy-DDD", "2024-366", "2024-12-30T23:00:00Z"),
        ("xxxx-'W'ww-e 'y'", "2026-W01-4 y", "2025-12-31T23:00:00Z"),
        ("xxxx-'W'ww-e 'y'", "2020-W53-7 y", "2021-01-02T23:00:00Z"),
        ("xx'y'ww", "26y47", "2026-11-15T23:00:00Z"),
        ("yy ww kk", "45 32 12", "2045-08-08T10:00:00Z"),
        ("yyyy M ww", "1999 3 20", "1999-05-16T22:00:00Z"),
        ("yyyy ww e", "2026 47 5", "2026-11-19T23:00:00Z"),
        // A day of the week moves the date within its week, in whichever order they stand.
        ("EEE yyyy-MM-dd", "Mon 2024-06-02", "2024-05-26T22:00:00Z"),
        ("yyyy-MM-dd EEE", "2024-06-02 Sun", "2024-06-01T22:00:00Z"),
        ("yyyy-MM-dd HH a", "2026-01-02 13 AM", "2026-01-02T12:00:00Z"),
        ("yyyy-MM-dd hh", "2026-01-02 12", "2026-01-01T23:00:00Z"),
        ("yyyy-MM-dd a", "2026-01-02 PM", "2026-01-02T11:00:00Z"),
        ("yyyy", "2026", "2025-12-31T23:00:00Z"),
        // Berlin's local mean time then was 53 minutes and 28 seconds ahead.
        ("yyyy G", "44 BC", "-000044-12-31T23:06:32Z"),
        ("d.M.yyyy", "1.2.2026", "2026-01-31T23:00:00Z"),
        ("HH 'o''clock on' yyyy-MM-dd", "12 O'CLOCK on 2026-07-01", "2026-07-01T10:00:00Z"),
        ("''yyyy''", "'2026'", "2025-12-31T23:00:00Z"),
    ] {
        let got = read(pattern, text);
        assert_eq!(got.as_deref(), Some(expected), "{pattern} {text}");
    }
}

#[test]
fn names_are_read_long_or_short_as_they_are_in_small_letters_or_in_capitals() {
    assert_eq!(read("d MMM yyyy", "1 dEc 2026"), None);
    assert_eq!(read("yyyy a", "2026 Pm"), None);
    for text in ["1 Dec 2026", "1 DEC 2026", "1 december 2026", "1 December 2026"] {
        for pattern in ["d MMM yyyy", "d MMMM yyyy"] {
            assert_eq!(read(pattern, text).unwrap(), "2026-11-30T23:00:00Z");
        }
    }
}

#[test]
fn names_are_read_in_other_languages() {
    for (locale, text) in [
        ("de-DE", "1. März 2026"),
        ("de", "1. MÄRZ 2026"),
        ("sv", "1. mars 2026"),
        ("pl", "1. marca 2026"),
        ("ru", "1. марта 2026"),
        ("ca", "1. de març 2026"),
        ("ja-JP", "1. 3月 2026"),
        ("fr_FR", "1. mars 2026"),
        ("es", "1. marzo 2026"),
        ("it", "1. mar 2026"),
        ("nl", "1. mrt 2026"),
        ("pt-BR", "1. março 2026"),
    ] {
        let got = read_at("d. MMM yyyy", text, "2026-06-15T12:00:00Z", locale);
        assert_eq!(got.as_deref(), Some("2026-02-28T23:00:00Z"), "{locale} {text}");
    }
    let juillet = read_at("d MMM yyyy", "14 juil. 2026", "2026-06-15T12:00:00Z", "fr");
    assert_eq!(juillet.as_deref(), Some("2026-07-13T22:00:00Z"));
    assert_eq!(Locale::named("tlh"), None);
    for language in Locale::languages().split(", ") {
        assert!(Locale::named(language).is_some(), "{language}");
    }
}

#[test]
fn what_is_not_of_the_form_is_not_read() {
    for (pattern, text) in [
        ("yyyy-MM-dd", "2026-13-01"),
        ("yyyy-MM-dd", "2026-02-29"),
        ("yyyy-MM-dd", "2026-02-28 "),
        ("yyyy-MM-dd", " 2026-02-28"),
        ("yyyy-MM-dd", "2026-02"),
        ("yyyy-MM-dd", ""),
        ("HH:mm", "24:00"),
        ("hh:mm a", "13:00 PM"),
        ("kk", "0"),
        ("yyyy-DDD", "2026-366"),
        ("xxxx-'W'ww", "2025-W53"),
        ("yyyy-MM-dd HH:mm:ss", "2016-12-31 23:59:60"),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2016-12-31 23:59:00.1234"),
        ("yyyy-MM-dd z", "2016-12-31 CET"),
        ("yyyy MMM", "2026 Foo"),
        ("yyyy ZZZ", "2026 Mars/Olympus"),
        ("yyyy Z", "2026 0100"),
        ("yyyy Z", "2026 +9900"),
        ("yyyy-MM-dd", "99999999999-01-01"),
        ("yyyy-MM-dd", "２０２６-01-01"),
    ] {
        assert_eq!(read(pattern, text), None, "{pattern} {text}");
    }
}

#[test]
fn a_local_time_that_a_clock_skipped_is_refused_and_of_two_the_earlier_is_meant() {
    let pattern = "yyyy-MM-dd HH:mm";
    assert_eq!(read(pattern, "2026-03-29 01:59").unwrap(), "2026-03-29T00:59:00Z");
    assert_eq!(read(pattern, "2026-03-29 02:30"), None);
    assert_eq!(read(pattern, "2026-03-29 03:00").unwrap(), "2026-03-29T01:00:00Z");
    assert_eq!(read(pattern, "2026-10-25 02:30").unwrap(), "2026-10-25T00:30:00Z");
    assert_eq!(read(pattern, "2026-10-25 03:00").unwrap(), "2026-10-25T02:00:00Z");
}

#[test]
fn a_missing_year_is_the_present_one_but_around_new_year() {
    let pattern = "MMM d HH:mm:ss";
    for (now, text, expected) in [
        ("2026-06-15T12:00:00Z", "Jun 15 13:59:59", Some("2026-06-15T11:59:59Z")),
        ("2026-06-15T12:00:00Z", "Nov 16 14:00:01", Some("2026-11-16T13:00:01Z")),
        ("2026-06-15T12:00:00Z", "Dec 31 12:00:00", Some("2026-12-31T11:00:00Z")),
        ("2026-01-01T00:00:00Z", "Dec 31 23:59:59", Some("2025-12-31T22:59:59Z")),
        ("2026-12-31T12:00:00Z", "Jan 1 00:30:00", Some("2026-12-31T23:30:00Z")),
        ("2026-12-01T12:00:00Z", "Feb 1 00:30:00", Some("2026-01-31T23:30:00Z")),
        ("2026-06-15T12:00:00Z", "Feb 29 12:00:00", None),
        ("2024-06-15T12:00:00Z", "Feb 29 12:00:00", Some("2024-02-29T11:00:00Z")),
        ("2026-06-15T12:00:00Z", "Mar 29 02:30:00", None),
    ] {
        let got = read_at(pattern, text, now, "en");
        assert_eq!(got.as_deref(), expected, "{text} at {now}");
    }
    for (pattern, text, expected) in [
        ("MMM d HH:mm:ss Z", "Jun 1 00:30:00 +0800", "2026-05-31T16:30:00Z"),
        ("HH:mm", "12:30", "2026-01-01T11:30:00Z"),
        ("dd", "3", "2026-01-02T23:00:00Z"),
        ("xxxx-'W'ww-e", "2020-W10-1", "2026-03-01T23:00:00Z"),
    ] {
        assert_eq!(read(pattern, text).as_deref(), Some(expected), "{pattern} {text}");
    }
}

#[test]
fn two_digits_of_a_year_mean_the_century_around_now() {
    assert_eq!(read("yy", "26").unwrap(), "2025-12-31T23:00:00Z");
    assert_eq!(read("yy", "45").unwrap(), "2044-12-31T23:00:00Z");
    assert_eq!(read("yy", "46").unwrap(), "1945-12-31T23:00:00Z");
    assert_eq!(read("yy", "1999").unwrap(), "1998-12-31T23:00:00Z");
}

#[test]
fn moments_are_written() {
    let moment = "2026-03-05T15:04:09.120456789Z";
    for (pattern, expected) in [
        ("YYYY.MM.dd", "2026.03.05"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2026-03-05T16:04:09.120+0100"),
        ("yy yyy yyyyy", "26 2026 02026"),
        ("SSSSSSSSSSS", "12045678900"),
        ("M/d H:m:s", "3/5 16:4:9"),
        ("MMM MMMM EEE EEEE", "Mar March Thu Thursday"),
        ("hh K kk a", "04 4 16 PM"),
        ("D DDD", "64 064"),
        ("xxxx-'W'ww-e", "2026-W10-4"),
        ("C G", "20 AD"),
        ("z ZZ ZZZ", "CET +01:00 Europe/Berlin"),
        ("'it''s' HH", "it's 16"),
    ] {
        assert_eq!(write(pattern, moment, "Europe/Berlin"), expected, "{pattern}");
    }
    assert_eq!(write("h k", "2026-03-05T00:00:00Z", "UTC"), "12 24");
    assert_eq!(write("z Z ZZZ", moment, "UTC"), "UTC +0000 UTC");
}

#[test]
fn a_bad_pattern_is_refused_with_its_place() {
    for (pattern, start, end, message) in [
        ("yyyy-MM-ddTHH:mm", 10, 11, "the letter `T` means nothing in a date pattern"),
        ("yyyy-MM-dd 'at HH", 11, 17, "this quote is not closed"),
        ("HH:ii", 3, 5, "the letter `i` means nothing in a date pattern"),
        ("", 0, 0, "a date pattern must not be empty"),
    ] {
        let error = Format::parse(pattern).unwrap_err();
        assert_eq!((error.start, error.end), (start, end), "{pattern}");
        assert_eq!(error.to_string(), message);
        assert!(error.hint.is_some());
    }
}

#[test]
fn iso_dates_are_read_in_all_their_forms() {
    let zone = zone("Europe/Berlin");
    let today = "2026-06-15".parse().unwrap();
    let read = |text: &str| {
        let moment = Stamp::Iso8601.read(text, Guess { zone: &zone, today })?;
        Some(moment.to_string())
    };
    for (text, expected) in [
        ("2026-11-20T09:30:00.123Z", "2026-11-20T09:30:00.123Z"),
        ("2026-11-20T09:30:00,123456789+01:00", "2026-11-20T08:30:00.123Z"),
        ("2026-11-20T09:30:00.1+01", "2026-11-20T08:30:00.1Z"),
        ("2026-11-20T09:30.25Z", "2026-11-20T09:30:15Z"),
        ("2026-11-20T09,5Z", "2026-11-20T09:30:00Z"),
        ("2026-11-20TZ", "2026-11-20T00:00:00Z"),
        ("2026-11-20T", "2026-11-19T23:00:00Z"),
        ("T09:30Z", "1970-01-01T09:30:00Z"),
        ("2026-1-2T3:4:5Z", "2026-01-02T03:04:05Z"),
        ("2026-11-20 09:30:00,123", "2026-11-20T08:30:00.123Z"),
        ("2026-11-20 09:30:00.123Z", "2026-11-20T09:30:00.123Z"),
        ("2026-11-20 09:30:00.5-0330", "2026-11-20T13:00:00.5Z"),
        ("2026-11-20T09:30:00+01", "2026-11-20T08:30:00Z"),
        ("2026-11-20T09:30", "2026-11-20T08:30:00Z"),
        ("2026-11-20T09", "2026-11-20T08:00:00Z"),
        ("2026-11-20", "2026-11-19T23:00:00Z"),
        ("2026-11", "2026-10-31T23:00:00Z"),
        ("2026", "2025-12-31T23:00:00Z"),
        ("2026-324T09:30:00Z", "2026-11-20T09:30:00Z"),
        ("2026-W47-5T09:30:00Z", "2026-11-20T09:30:00Z"),
    ] {
        assert_eq!(read(text).as_deref(), Some(expected), "{text}");
    }
    for text in [
        "",
        "2026-11-20T25:00",
        "2026-11-20X09",
        "2026-11-20T09:30Zz",
        "2026-11-20Z",
        "2026-11-20 09:30:00",
        "2026-11-20 09:30:00.1234",
        "2026-11-20T09:30:60Z",
        "2026-11-20T09:30:00.1234567890Z",
        " 2026-11-20",
        "TZ",
        "T+01",
        "2026-324 10:01:15.123",
        "2026 10:01:15.123",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn counted_seconds_are_read() {
    use Stamp::{Tai64n, Unix, UnixMs};
    for (stamp, text, expected) in [
        (Unix, "1326149001", Some("2012-01-09T22:43:21Z")),
        (Unix, "1326149001.132", Some("2012-01-09T22:43:21.132Z")),
        (Unix, "1326149001.1239567890123", Some("2012-01-09T22:43:21.123Z")),
        (Unix, "1326149001.5", Some("2012-01-09T22:43:21.5Z")),
        (Unix, "-1", Some("1969-12-31T23:59:59Z")),
        (Unix, "-1.5", Some("1969-12-31T23:59:59.5Z")),
        (Unix, "+1", Some("1970-01-01T00:00:01Z")),
        (Unix, "2147483647", Some("2038-01-19T03:14:07Z")),
        (UnixMs, "1326149001132", Some("2012-01-09T22:43:21.132Z")),
        (UnixMs, "-1", Some("1969-12-31T23:59:59.999Z")),
        (UnixMs, "99999999999999", Some("5138-11-16T09:46:39.999Z")),
        (Tai64n, "@4000000050d506482dbdf024", Some("2012-12-22T01:00:46.767Z")),
        (Tai64n, "4000000050d506482dbdf024 and more", Some("2012-12-22T01:00:46.767Z")),
        (Unix, "", None),
        (Unix, "1.", None),
        (Unix, ".5", None),
        (Unix, "1e3", None),
        (Unix, " 1", None),
        (Unix, "2147483648", None),
        (Unix, "1326149001132", None),
        (UnixMs, "1.5", None),
        (Tai64n, "@4000000050d50648", None),
        (Tai64n, "@4000000050d50648ffffffff", None),
    ] {
        let got = stamp.read(text, Guess { zone: &TimeZone::UTC, today: jiff::civil::Date::ZERO });
        assert_eq!(got, expected.map(|e| e.parse().unwrap()), "{stamp:?} {text}");
    }
}

#[test]
fn numbers_are_counted_from_1970() {
    for (moment, expected) in [
        (Stamp::Unix.count(1_350_414_944.123_456), Some("2012-10-16T19:15:44.123Z")),
        (Stamp::Unix.count(-1.5), Some("1969-12-31T23:59:58.5Z")),
        (Stamp::Unix.count(2_147_483_648.0), None),
        (Stamp::UnixMs.count(1.9), Some("1970-01-01T00:00:00.001Z")),
        (Stamp::Unix.count_whole(0), Some("1970-01-01T00:00:00Z")),
        (Stamp::Unix.count_whole(i64::MAX), None),
        (Stamp::UnixMs.count_whole(i64::MAX), None),
        (Stamp::Iso8601.count_whole(2026), None),
        (Stamp::Tai64n.count(2026.0), None),
    ] {
        assert_eq!(moment, expected.map(|e| e.parse().unwrap()), "{expected:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(seconds in -9_000_000_000i64..9_000_000_000, millis in 0i32..1000, which in 0usize..6) {
        let moment = Timestamp::new(seconds, millis * 1_000_000).unwrap();
        let patterns = [
            "yyyy-MM-dd'T'HH:mm:ss.SSSZ",
            "EEEE, d MMMM yyyy KK:mm:ss.SSS a ZZ",
            "yyyyMMddHHmmssSSS Z",
            "yyyy-DDD kk:m:s.SSS ZZ",
            "xxxx-'Way' ww-e HH:mm:ss.SSS Z",
            "GG CC yy MMM dd hh 'o''clock' a mm ss SSS Z",
        ];
        let format = Format::parse(patterns[which]).unwrap();
        let zone = zone("America/New_York");
        let mut text = String::new();
        format.format(moment, &zone, &mut text);
        let guess = Guess { zone: &TimeZone::UTC, today: jiff::civil::date(2026, 6, 15) };
        let back = format.read(&text, &Locale::ENGLISH).and_then(|f| f.moment(guess));
        prop_assert_eq!(back, Some(moment), "{}", text);
    }

    #[test]
    fn reading_and_compiling_never_panic(pattern in "[ -~]{0,12}|[yMdHmsSEzZaGCxwe'T:. -]{0,20}", text in "\\PC{0,30}|[0-9a-zA-Z+:. -]{0,30}") {
        if let Ok(format) = Format::parse(&pattern) {
            let zone = TimeZone::UTC;
            let guess = Guess { zone: &zone, today: jiff::civil::Date::ZERO };
            let _moment = format.read(&text, &Locale::ENGLISH).and_then(|f| f.moment(guess));
            format.format(Timestamp::MAX, &zone, &mut String::new());
            format.format(Timestamp::MIN, &zone, &mut String::new());
        }
        let guess = Guess { zone: &TimeZone::UTC, today: jiff::civil::Date::ZERO };
        for stamp in [Stamp::Iso8601, Stamp::Unix, Stamp::UnixMs, Stamp::Tai64n] {
            let _moment = stamp.read(&text, guess);
        }
    }
}
