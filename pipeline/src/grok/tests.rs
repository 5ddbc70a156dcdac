use std::time::Duration;

use proptest::prelude::*;

use super::expand::{Expanded, Style, expand};
use super::library::Library;
use super::matcher::{Found, Matcher};
use super::needles::Needles;
use crate::ecs::Ecs;
use crate::mistake::Mistake;
use crate::ruby::{Dot, Groups, Ruby};
use crate::value::{Text, Value};

const STYLE: Style<'static> = Style { keep_unnamed: false, target: None, overwrite: &[] };

fn expanded(pattern: &str) -> Result<Expanded, Mistake> {
    let mut library = Library::stock(Ecs::Disabled);
    library.define("A", "a");
    library.define("B", "%{A:inner}b");
    library.define("LOOP", "x%{LOOP2}");
    library.define("LOOP2", "%{LOOP}y");
    library.define("BAD", "%{NOPE}");
    library.define("X0", "xxxxxxxxxxxxxxxx");
    for i in 0..20 {
        library.define(format!("X{}", i + 1), format!("%{{X{i}}}%{{X{i}}}"));
    }
    expand(pattern, &library, STYLE)
}

fn regex(pattern: &str) -> String {
    expanded(pattern).unwrap().regex
}

#[test]
fn every_stock_pattern_compiles() {
    for (names, least) in [(Ecs::Disabled, 317), (Ecs::V8, 361)] {
        let library = Library::stock(names);
        for name in library.stock_names() {
            let pattern = format!("%{{{name}:all}}");
            if let Err(mistake) = Matcher::compile(&pattern, &library, STYLE, &mut |w| panic!("{name}: {w}"))
            {
                panic!("{name}: {mistake}");
            }
        }
        assert!(library.stock_names().count() >= least);
    }
}

#[test]
fn names_are_replaced_by_what_they_stand_for() {
    for (pattern, wanted) in [
        ("%{A}", "(?:a)"),
        ("%{A:x}", "(?<_n0>a)"),
        ("%{B:x}%{A:y}", "(?<_n0>(?<_n1>a)b)(?<_n2>a)"),
        ("(?<x>%{A})", "(?<x>(?:a))"),
        ("(?<[a][b]>x)(?<a:n:int>y)", "(?<_n0>x)(?<_n1>y)"),
        ("%{A:x}%{A:x:int}%{A:x}", "(?<_n0>a)(?<_n1>a)(?<_n0>a)"),
        (r"%{C=\d{2}\}x}%{C:y}", r"(?:\d{2}\}x)(?<_n0>\d{2}\}x)"),
        (r"\(?<x>", r"\(?<x>"),
        ("(?<=x)(?<!y)(?:z)", "(?<=x)(?<!y)(?:z)"),
        ("[(?<x>%{A}]", "[(?<x>(?:a)]"),
        ("[]x(?<y>]", r"[\]x(?<y>]"),
        ("[^]x]%{A}", r"[^\]x](?:a)"),
        ("[[:alpha:]_]%{A}", "[[:alpha:]_](?:a)"),
        ("100%{", "100%{"),
        ("%{A b}", "(?:a)"),
        ("%{A: b}", "(?:a)"),
        ("%%{A}", "%(?:a)"),
        ("ä%{A}", "ä(?:a)"),
    ] {
        assert_eq!(regex(pattern), wanted, "{pattern}");
    }
}

#[test]
fn mistakes_are_told_at_their_place_in_the_outermost_pattern() {
    for (pattern, start, end, message) in [
        ("ä %{NOPE:x}", 3, 12, "there is no pattern named `NOPE`"),
        ("x %{BAD} y", 2, 8, "there is no pattern named `NOPE` (in the pattern `BAD`)"),
        (
            "%{LOOP}",
            0,
            7,
            "patterns use each other in a circle: `LOOP` uses `LOOP2` uses `LOOP` (in the pattern `LOOP2`)",
        ),
        ("%{X20}", 0, 6, "the pattern grows to more than 262144 characters (in the pattern `X1`)"),
        ("%{A:x", 0, 3, "`%{A` is not closed"),
        ("a%{[x]}", 1, 7, "there is no pattern named `[x]`"),
        ("a%{A:[x}", 1, 8, "`[x` is not a field reference: `[` without `]`"),
    ] {
        let mistake = expanded(pattern).unwrap_err();
        let message = message.split(" (in the pattern `X").next().unwrap();
        assert!(mistake.message.starts_with(message), "{pattern}: {}", mistake.message);
        assert_eq!((mistake.start, mistake.end), (start, end), "{pattern}");
    }
    for pattern in ["%{A:x:integer}", "%{A: x}", "%{A:x y}"] {
        assert_eq!(expanded(pattern).unwrap().warnings.len(), 1, "{pattern}");
    }
}

#[test]
fn literals_without_which_nothing_matches_are_found() {
    for (regex, wanted) in [
        ("abc", &["abc"][..]),
        ("abc|def", &[]),
        ("ab+cd", &["ab", "cd"]),
        ("abx?cd", &["ab", "cd"]),
        ("abx*cd", &["ab", "cd"]),
        ("ab(?:cd)?ef", &["ab", "ef"]),
        ("ab(?:cd|xy)ef", &["ab", "ef"]),
        ("ab(?:cd)ef", &["abcdef"]),
        ("ab(?<n>c.d)ef", &["abc", "def"]),
        ("ab(?=cd)ef", &["ab", "ef"]),
        ("ab(?<!cd)ef", &["ab", "ef"]),
        (r"ab\] \[cd", &["ab] [cd"]),
        (r"ab\dcd", &["ab", "cd"]),
        ("ab[c-d]ef", &["ab", "ef"]),
        ("abx{0,3}cd", &["ab", "cd"]),
        ("abx{2}cd", &["abx", "cd"]),
        ("ab(?:xy){0}cd", &["ab", "cd"]),
        ("ab(?:xy)+?cd", &["abxy", "cd"]),
        ("ab(?>xy){2,}cd", &["abxy", "cd"]),
        ("(?i)abc", &[]),
        ("ab(?i:c)", &["ab"]),
        (r"abc\k<x>", &[]),
        (r"abc\x41", &["abcA"]),
        ("(.*f){10}", &["f"]),
        ("a|", &[]),
        ("", &[]),
    ] {
        assert_eq!(Needles::of(regex).literals(), wanted, "{regex}");
    }
    let apache = expand("%{COMBINEDAPACHELOG}", &Library::stock(Ecs::Disabled), STYLE).unwrap();
    assert_eq!(Needles::of(&apache.regex).literals(), [" [", "] \"", "\" "]);
}

#[test]
fn a_line_without_the_literals_is_a_miss() {
    let needles = Needles::of("ab.*cd");
    assert!(needles.may_match("xxabxxcd"));
    assert!(!needles.may_match("cdab"));
    assert!(!needles.may_match("abc"));
    assert!(Needles::of("a*").may_match(""));
}

#[test]
fn networks_and_dates_are_recognised() {
    let library = Library::stock(Ecs::Disabled);
    let whole = |name: &str, text: &str| {
        let pattern = format!("\\A%{{{name}:x}}\\z");
        let matcher = Matcher::compile(&pattern, &library, STYLE, &mut |_| {}).unwrap();
        matcher.matches(text, Duration::from_secs(5), &mut Groups::new()).unwrap()
    };
    for (name, fits, does_not) in [
        (
            "IPV6",
            &["::", "::1", "2001:db8::ff00:42:8329", "fe80::1%eth0", "::ffff:192.0.2.1", "1:2:3:4:5:6:7:8"][..],
            &["1:2", "g::", "12345::"][..],
        ),
        ("IPV4", &["0.0.0.0", "255.255.255.255", "192.168.1.1"], &["256.1.1.1", "1.2.3", "1.2.3.4.5"]),
        ("HOSTNAME", &["localhost", "a-b.example.com", "x."], &["-a", "a b"]),
        ("MAC", &["00:1B:44:11:3A:B7", "00-1B-44-11-3A-B7", "001B.4411.3AB7"], &["00:1B:44:11:3A"]),
        ("UUID", &["123e4567-e89b-12d3-a456-426614174000"], &["123e4567e89b12d3a456426614174000"]),
        (
            "TIMESTAMP_ISO8601",
            &["2026-11-20T10:01:15.123Z", "2026-11-20 10:01", "2026-11-20 10:01:15,5+0100"],
            &["2026-13-20T10:01", "20.11.2026"],
        ),
        ("HTTPDATE", &["20/Nov/2026:10:01:15 +0000"], &["20/Foo/2026:10:01:15 +0000"]),
        ("SYSLOGTIMESTAMP", &["Nov 20 10:01:15", "Nov  2 10:01:15"], &["Nov 40 10:01:15"]),
        ("LOGLEVEL", &["DEBUG", "warn", "Error", "INFORMATION", "emerg"], &["debug1", "LOUD"]),
        ("QUOTEDSTRING", &["\"a \\\" b\"", "''", "`x`"], &["\"a", "a\""]),
        ("URI", &["http://user:x@example.com:8080/a?b=c#d", "ftp://h/"], &["example.com"]),
        ("PATH", &["/var/log/a.log", "C:\\x\\y"], &["var/log"]),
        ("NUMBER", &["1", "-1.5", "+.5"], &["1.", "x"]),
        ("EMAILADDRESS", &["a.b+c@example.com"], &["a.b", "@x"]),
    ] {
        fits.iter().for_each(|text| assert!(whole(name, text), "{name} {text}"));
        does_not.iter().for_each(|text| assert!(!whole(name, text), "{name} {text}"));
    }
}

#[test]
fn a_long_access_log_line_is_found_in_slices() {
    let matcher =
        Matcher::compile("%{COMBINEDAPACHELOG}", &Library::stock(Ecs::Disabled), STYLE, &mut |_| {}).unwrap();
    let request = "/x".repeat(2000);
    let line = Text::from(format!(
        "1.2.3.4 - - [20/Nov/2026:10:01:15 +0000] \"GET {request} HTTP/1.1\" 200 5 \"-\" \"-\""
    ));
    let mut groups = Groups::new();
    assert_eq!(matcher.matches(&line, Duration::from_secs(5), &mut groups), Ok(true));
    let found = matcher.found(&line, &groups).find(|found| found.field.to_string() == "request");
    assert_eq!(found.and_then(|Found { value, .. }| value), Some(Value::from(request)));
}

proptest! {
    #[test]
    fn expanding_never_panics(pattern in "\\PC{0,30}|[%{}A-Z:a-c\\[\\]()?<>\\\\^|x]{0,30}") {
        let _expanded = expanded(&pattern);
    }

    #[test]
    fn reading_pattern_files_never_panics(file in "[#A-Z \\t\\n%{}a-z]{0,60}") {
        let mut library = Library::stock(Ecs::Disabled);
        library.define_all(&file);
    }

    #[test]
    fn what_matches_has_the_literals(pattern in "[ab()|*+?.{}2,\\[\\]\\\\^$<=!:]{0,14}", text in "[ab{}\\[\\]()2,:=<!]{0,12}") {
        if let Ok(ruby) = Ruby::compile(&pattern, Dot::AnyCharacter) {
            let found = ruby.search(&text, 0, Duration::from_millis(100), &mut Groups::new());
            if found == Ok(true) {
                prop_assert!(Needles::of(&pattern).may_match(&text), "{:?}", Needles::of(&pattern).literals());
            }
        }
    }
}
