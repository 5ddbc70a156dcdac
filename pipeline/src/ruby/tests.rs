use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::value::Value;

const LONG: Duration = Duration::from_secs(30);

fn replaced(text: &str, pattern: &str, with: &str) -> String {
    let ruby = Ruby::compile(pattern, Dot::NotNewline).unwrap();
    let out = ruby.replace_all(text, &Replacement::parse(with), LONG, &mut Region::new()).unwrap();
    out.unwrap_or_else(|| text.to_owned())
}

#[test]
fn each_match_is_replaced_as_ruby_would() {
    for (text, pattern, with, expected) in [
        ("a/b/c", "/", "_", "a_b_c"),
        ("a\\b?c#d-", r"[\\?#-]", ".", "a.b.c.d."),
        ("john doe", r"(\w+) (\w+)", r"\2, \1", "doe, john"),
        ("john doe", r"(?<first>\w+) (?<last>\w+)", r"\k<last>, \k<first>", "doe, john"),
        ("abc", "b", r"[\0|\&|\`|\']", "a[b|b|a|c]c"),
        ("abc", "b", r"\\1 \x \", r"a\1 \x \c"),
        ("abc", "x", "y", "abc"),
        ("äöü", "", "-", "-ä-ö-ü-"),
        ("aaa", "a*", "x", "xx"),
        ("bab", "b*", "x", "xxaxx"),
        ("a\nb", ".", "x", "x\nx"),
        ("a\nb", "^b$", "c", "a\nc"),
        ("", "^$", "empty", "empty"),
        ("abc", r"(b)|(z)", r"<\2>", "a<>c"),
    ] {
        assert_eq!(replaced(text, pattern, with), expected, "{text} {pattern} {with}");
    }
}

#[test]
fn numbers_are_read_as_ruby_reads_them() {
    for (text, whole, float) in [
        ("12", 12, 12.0),
        ("-12.5kg", -12, -12.5),
        ("+7", 7, 7.0),
        ("  8", 8, 8.0),
        ("1_000", 1000, 1000.0),
        ("1__0", 1, 1.0),
        ("0x1f", 0, 0.0),
        ("1e3", 1, 1000.0),
        ("1e", 1, 1.0),
        ("1.", 1, 1.0),
        ("abc", 0, 0.0),
        ("", 0, 0.0),
        ("-", 0, 0.0),
    ] {
        assert_eq!(to_i(text), Value::Int(whole), "{text}");
        assert_eq!(to_f(text), float, "{text}");
    }
    assert_eq!(to_f(".5"), 0.5);
    assert_eq!(to_i("9223372036854775808"), Value::Float(9_223_372_036_854_775_808.0));
}

#[test]
fn a_hostile_pattern_is_given_up() {
    let ruby = Ruby::compile("^(a+)+$", Dot::AnyCharacter).unwrap();
    let text = format!("{}b", "a".repeat(60));
    let before = Instant::now();
    let found = ruby.search(&text, 0, Duration::from_millis(20), &mut Region::new());
    assert_eq!(found, Err(OutOfTime));
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn slow_starts_in_a_long_text_are_given_up_too() {
    let ruby = Ruby::compile("(?:x+x+)y", Dot::AnyCharacter).unwrap();
    let text = "x".repeat(100_000);
    let found = ruby.search(&text, 0, Duration::from_millis(20), &mut Region::new());
    assert_eq!(found, Err(OutOfTime));
}

#[test]
fn a_long_text_is_searched_to_its_end() {
    let mut region = Region::new();
    let text = format!("{}needle", "hay ".repeat(10_000));
    for (pattern, found) in
        [("ne{2}dle", true), ("ne{2}dle$", true), (r"\Ane{2}dle", false), (".*needle", true)]
    {
        let ruby = Ruby::compile(pattern, Dot::AnyCharacter).unwrap();
        assert_eq!(ruby.search(&text, 0, LONG, &mut region), Ok(found), "{pattern}");
    }
    let greedy = Ruby::compile("^(.*) (needle)$", Dot::AnyCharacter).unwrap();
    assert_eq!(greedy.search(&text, 0, LONG, &mut region), Ok(true));
    assert_eq!(group(&text, &region, 2), Some("needle"));
}

#[test]
fn a_pattern_that_does_not_compile_says_why() {
    let mistake = Ruby::compile("(a", Dot::AnyCharacter).unwrap_err();
    assert_eq!(
        mistake.message,
        "the regular expression cannot be used: end pattern with unmatched parenthesis"
    );
}

proptest! {
    #[test]
    fn replacing_never_panics_and_by_itself_changes_nothing(
        text in "\\PC{0,40}",
        pattern in "[a-c.*+?()|^$\\\\\\[\\]{}1-3é]{0,10}",
        with in "[\\\\0-9k<>&'`a]{0,8}",
    ) {
        if let Ok(ruby) = Ruby::compile(&pattern, Dot::NotNewline) {
            let mut region = Region::new();
            let _any = ruby.replace_all(&text, &Replacement::parse(&with), Duration::from_millis(50), &mut region);
            let same = Replacement::parse("\\0");
            if let Ok(Some(out)) = ruby.replace_all(&text, &same, Duration::from_millis(50), &mut region) {
                prop_assert_eq!(out, text);
            }
        }
    }

    #[test]
    fn reading_numbers_never_panics(text in "[ +-]?[0-9_.eE+-]{0,12}\\PC{0,3}") {
        let _whole = to_i(&text);
        prop_assert!(!to_f(&text).is_nan());
    }
}
