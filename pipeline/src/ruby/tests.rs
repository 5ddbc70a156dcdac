use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::ecs::Ecs;
use crate::grok::expand::{Style, expand};
use crate::grok::library::Library;
use crate::value::Value;

const LONG: Duration = Duration::from_secs(30);

fn replaced(text: &str, pattern: &str, with: &str) -> String {
    let ruby = Ruby::compile(pattern, Dot::NotNewline).unwrap();
    let out = ruby.replace_all(text, &Replacement::parse(with), LONG, &mut Groups::new()).unwrap();
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
    assert_eq!((to_f(".5"), to_f("-.5"), to_f("e5")), (0.5, -0.5, 0.0));
    assert_eq!(to_i("9223372036854775808x").to_text(), "9223372036854775808");
}

#[test]
fn a_hostile_pattern_is_given_up() {
    let ruby = Ruby::compile("^(a+)+$", Dot::AnyCharacter).unwrap();
    let text = format!("{}b", "a".repeat(60));
    let before = Instant::now();
    let found = ruby.search(&text, 0, Duration::from_millis(20), &mut Groups::new());
    assert_eq!(found, Err(OutOfTime));
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn slow_starts_in_a_long_text_are_given_up_too() {
    let ruby = Ruby::compile("(?:x+x+)y", Dot::AnyCharacter).unwrap();
    let text = "x".repeat(100_000);
    let found = ruby.search(&text, 0, Duration::from_millis(20), &mut Groups::new());
    assert_eq!(found, Err(OutOfTime));
}

#[test]
fn a_long_text_is_searched_to_its_end() {
    let mut groups = Groups::new();
    let text = format!("{}needle", "hay ".repeat(10_000));
    for (pattern, found) in
        [("ne{2}dle", true), ("ne{2}dle$", true), (r"\Ane{2}dle", false), (".*needle", true)]
    {
        let ruby = Ruby::compile(pattern, Dot::AnyCharacter).unwrap();
        assert_eq!(ruby.search(&text, 0, LONG, &mut groups), Ok(found), "{pattern}");
    }
    let greedy = Ruby::compile("^(.*) (needle)$", Dot::AnyCharacter).unwrap();
    assert_eq!(greedy.search(&text, 0, LONG, &mut groups), Ok(true));
    assert_eq!(groups.text(&text, 2), Some("needle"));
}

#[test]
fn a_pattern_that_does_not_compile_says_why() {
    let mistake = Ruby::compile("(a", Dot::AnyCharacter).unwrap_err();
    assert_eq!(
        mistake.message,
        "the regular expression cannot be used: end pattern with unmatched parenthesis"
    );
}

/// The places of all groups of a match.
type Places = Vec<Option<(usize, usize)>>;

/// What the program and Oniguruma find; `None` when there is no program, or it takes too long.
fn both(ruby: &Ruby, text: &str, from: usize) -> Option<[Option<Places>; 2]> {
    let program = ruby.program.as_ref()?;
    let mut groups = Groups::new();
    let places = |groups: &Groups| (0..program.groups()).map(|number| groups.place(number)).collect();
    // One start after the other: its search takes `$.*` for something that begins where the search does.
    let deadline = Instant::now() + LONG;
    let by_oniguruma = ruby.search_closely(text, from, deadline, &mut groups.region).ok()?;
    let by_oniguruma = by_oniguruma.then(|| places(&groups));
    groups.by_program = true;
    let by_program = program.search(text, from, &mut groups.memory).ok()?.then(|| places(&groups));
    Some([by_program, by_oniguruma])
}

fn both_of(pattern: &str, text: &str, from: usize) -> Option<[Option<Places>; 2]> {
    both(&Ruby::compile(pattern, Dot::AnyCharacter).ok()?, text, from)
}

/// The stock patterns of grok, of both sets.
static STOCK: LazyLock<Vec<(&str, Ruby)>> = LazyLock::new(|| {
    let style = Style { keep_unnamed: true, target: None, overwrite: &[] };
    let compile = |library: Library| {
        let one = |name| {
            let expanded = expand(&format!("%{{{name}}}"), &library, style).unwrap();
            (name, Ruby::compile(&expanded.regex, Dot::AnyCharacter).unwrap())
        };
        library.stock_names().map(one).collect::<Vec<_>>()
    };
    [Ecs::Disabled, Ecs::V8].into_iter().flat_map(|names| compile(Library::stock(names))).collect()
});

/// Lines of many programs.
const LINES: [&str; 14] = [
    "203.0.113.9 - frank [20/Nov/2026:10:01:15 +0000] \"GET /a?b=c HTTP/1.1\" 200 2326 \"http://e.com/\" \"Mozilla/5.0 (X11)\"",
    "2001:db8::7 - a.b@c.de [2/Nov/2026:1:01:15 -0530] \"\\x16\" 400 - \"-\" 'x'",
    "Nov 20 10:01:15 web-1 sshd[4711]: Accepted publickey for root from ::ffff:10.0.0.1 port 5000 ssh2",
    "<165>1 2026-11-20T10:01:15.003Z host.example.com su - ID47 [ex@32473 a=\"1\"][b] failed",
    "[Fri Nov 20 10:01:15.12 2026] [core:notice] [pid 17:tid 1400] (13)x: [client 203.0.113.9:5000] AH00094: Command",
    "Nov 20 10:01:15 lb haproxy[14]: 10.0.1.2:33317 [20/Nov/2026:10:01:14.655] in b/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} \"GET /index.html HTTP/1.1\"",
    "I, [2026-11-20T10:01:15.123456 #4711]  INFO -- web: started",
    "\tat org.example.Main$1.<init>(Main.java:42)",
    "2026-11-20T10:01:15.123+0000 I NETWORK  [conn1] end connection 127.0.0.1:27017 (12ms)",
    "1339233458.731228 [0 127.0.0.1:60866] \"set\" \"a\" \"b\"",
    "%ASA-6-302013: Built outbound TCP connection 1 for o:1.2.3.4/80 (1.2.3.4/80) to i:10.0.0.2/5 (9.8.7.6/5)",
    "2026-11-20T10:01:15Z lb 1.2.3.4:80 10.0.0.1:8080 0.1 0.2 0.3 200 200 5 6 \"GET http://u:p@h.com:80/x?y HTTP/1.1\"",
    "RT_FLOW_SESSION_DENY: session denied 10.0.0.1/5->10.0.0.2/80 junos-http 6(0) p trust untrust x",
    "/dev/pts/0 C:\\x\\y urn:isbn:1 00:1b:44:11:3a:b7 1b44.113a.b701 123e4567-e89b-12d3-a456-426614174000 -0x1F.8 .5",
];

#[test]
fn most_stock_patterns_have_programs() {
    for pattern in [
        "(?:[0-9]{1,3}\\.){3}[0-9]{1,3}",
        "(?<q>(?>(?<!\\\\)(?>\"(?>\\\\.|[^\\\\\"]+)+\"|\"\")))",
        "(?i)error|(?-i:x)",
        "^(?=(?<a>.*))\\w+?(?!<[0-9])$",
        "(?:(?:[ab]{2}c){0,3}d)*+",
    ] {
        assert!(Ruby::compile(pattern, Dot::AnyCharacter).unwrap().program.is_some(), "{pattern}");
    }
}

#[test]
fn what_programs_cannot_do_is_left_to_oniguruma() {
    for pattern in [
        "(?<a>x)\\k<a>",
        "(?<a>x\\g<a>?)",
        "(?:a*)*",
        "a**",
        "a{2}?",
        "(?x) a",
        "[a&&b]",
        "\\p{Alpha}",
        "(?~ab)",
        "a\\Kb",
        "(?i)é",
    ] {
        assert!(Ruby::compile(pattern, Dot::AnyCharacter).unwrap().program.is_none(), "{pattern}");
    }
}

#[test]
fn a_program_that_goes_back_too_often_hands_over() {
    let ruby = Ruby::compile("(x+x+)+y", Dot::AnyCharacter).unwrap();
    let program = ruby.program.as_ref().unwrap();
    let mut memory = Memory::default();
    assert!(program.search(&"x".repeat(40), 0, &mut memory).is_err());
    assert_eq!(program.search("xxxxy", 0, &mut memory), Ok(true));
}

#[test]
fn texts_that_are_not_plain_are_searched_all_the_same() {
    let ruby = Ruby::compile("(\\w+)$", Dot::NotNewline).unwrap();
    assert!(ruby.program.is_some());
    let mut groups = Groups::new();
    for (text, found) in [("ab cd", "cd"), ("ab\ncd", "ab"), ("ab Größe", "e"), ("é x", "x")] {
        assert_eq!(ruby.search(text, 0, LONG, &mut groups), Ok(true));
        assert_eq!(groups.text(text, 1), Some(found));
    }
}

/// Expressions of everything that programs can do, over few letters, so that they match now and then.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        8 => "[abc]{1,2}",
        3 => Just("[ab]".to_owned()),
        2 => Just("[^a]".to_owned()),
        2 => Just(".".to_owned()),
        1 => Just("\\w".to_owned()),
        1 => Just("-".to_owned()),
        1 => Just("\\b".to_owned()),
        1 => Just("\\B".to_owned()),
        1 => Just("^".to_owned()),
        1 => Just("$".to_owned()),
        1 => Just("(?![ab])".to_owned()),
        1 => Just("(?<!b)".to_owned()),
        1 => Just("(?<=[ac])".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let quantifier = prop_oneof![
            Just("*"), Just("+"), Just("?"), Just("*?"), Just("+?"), Just("??"), Just("*+"), Just("++"), Just("?+"),
            Just("{2}"), Just("{1,2}"), Just("{0,3}"), Just("{,2}"), Just("{1,}"),
        ];
        let group = prop_oneof![
            6 => Just("(?:"), 5 => Just("("), 2 => Just("(?>"), 1 => Just("(?="), 1 => Just("(?!"), 1 => Just("(?i:"), 1 => Just("(?<=")
        ];
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|items| items.concat()),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(|ways| format!("(?:{})", ways.join("|"))),
            3 => (group, inner.clone()).prop_map(|(open, inside)| format!("{open}{inside})")),
            3 => (inner, quantifier).prop_map(|(inside, times)| format!("(?:{inside}){times}")),
        ]
    })
}

#[test]
fn nearly_all_stock_patterns_have_programs_and_find_the_same_either_way() {
    let without: BTreeSet<&str> =
        STOCK.iter().filter(|(_, r)| r.program.is_none()).map(|(name, _)| *name).collect();
    let known = BTreeSet::from(["MONGO_QUERY", "MONGO_SLOWQUERY", "RAILS3", "RPROCESSING", "SHOREWALL"]);
    assert_eq!(without, known);
    for (name, ruby) in STOCK.iter() {
        for line in LINES {
            if let Some([program, oniguruma]) = both(ruby, line, 0) {
                assert_eq!(program, oniguruma, "{name} in {line:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn stock_patterns_find_the_same_in_garbled_lines(
        line in 0..LINES.len(),
        which in 0..STOCK.len(),
        cuts in prop::collection::vec((0usize..120, 0usize..3, "[ -~]{0,2}"), 0..4),
    ) {
        let mut line = LINES[line].to_owned();
        for (at, length, instead) in cuts {
            let (start, end) = (at.min(line.len()), (at + length).min(line.len()));
            line.replace_range(start..end, &instead);
        }
        let (name, ruby) = &STOCK[which];
        if let Some([program, oniguruma]) = both(ruby, &line, 0) {
            prop_assert_eq!(program, oniguruma, "{} in {:?}", name, line);
        }
    }

    #[test]
    fn programs_find_what_oniguruma_finds(pattern in expressions(), text in "[abcA -]{0,12}", from in 0usize..3) {
        if let Some([program, oniguruma]) = both_of(&pattern, &text, from.min(text.len())) {
            prop_assert_eq!(program, oniguruma, "{:?} in {:?}", pattern, text);
        }
    }

    #[test]
    fn any_expression_finds_the_same_either_way(
        pattern in "[ab.*+?()|^$\\\\{}1-3,:=!<>-]{0,14}|(?:\\[[\\^a-c\\]\\\\wd:-]{1,6}\\]|[ab?+*|().]){1,8}",
        text in "[ab1:{}<-]{0,10}",
    ) {
        if let Some([program, oniguruma]) = both_of(&pattern, &text, 0) {
            prop_assert_eq!(program, oniguruma, "{:?} in {:?}", pattern, text);
        }
    }

    #[test]
    fn replacing_never_panics_and_by_itself_changes_nothing(
        text in "\\PC{0,40}",
        pattern in "[a-c.*+?()|^$\\\\\\[\\]{}1-3é]{0,10}",
        with in "[\\\\0-9k<>&'`a]{0,8}",
    ) {
        if let Ok(ruby) = Ruby::compile(&pattern, Dot::NotNewline) {
            let mut groups = Groups::new();
            let _any = ruby.replace_all(&text, &Replacement::parse(&with), Duration::from_millis(50), &mut groups);
            let same = Replacement::parse("\\0");
            if let Ok(Some(out)) = ruby.replace_all(&text, &same, Duration::from_millis(50), &mut groups) {
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
