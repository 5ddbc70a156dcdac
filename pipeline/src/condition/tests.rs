//! Conditions with events, and whether they hold.
use super::*;
use crate::plan::Step;
use crate::{Scope, compile};

fn condition(text: &str) -> Condition {
    let config = format!("filter {{ if {text} {{ drop {{ }} }} }} output {{ null {{ }} }}");
    let plan = match compile(Scope::Run, &config, &|_| None) {
        Ok(plan) => plan,
        Err(problems) => panic!("{}", problems.iter().map(|p| p.render("test", &config)).collect::<String>()),
    };
    match plan.filters.into_iter().next() {
        Some(Step::If { mut arms, .. }) => arms.remove(0).0,
        other => panic!("not a condition: {other:?}"),
    }
}

fn event() -> Event {
    let json = r#"{
        "message": "GET /index.html 200", "status": 200, "ratio": 0.5, "code": "404", "empty": "", "blank": " ",
        "false": "false", "zero": 0, "none": [], "yes": true, "first": "a", "umlaut": "Müller",
        "no": false, "nothing": null, "list": ["a", "b", 3], "one": ["GET"], "map": {"inner": {"deep": "x"}, "n": 5},
        "alike": {"inner": {"deep": "x"}, "n": 5},
        "@timestamp": "2026-01-02T03:04:05.678Z", "@metadata": {"from": "test"}, "tags": ["red"]
    }"#;
    let value = crate::json::parse(&Text::from(json)).unwrap();
    Event::from_map(Default::default(), value.as_map().unwrap().clone())
}

fn holds(text: &str, event: &Event) -> bool {
    condition(text).holds(event).unwrap_or_else(|why| panic!("{text}: {why}"))
}

type Case = (&'static str, bool);

const PRESENCE: &[Case] = &[
    ("[message]", true),
    ("[absent]", false),
    ("[empty]", false),
    ("[blank]", true),
    ("[false]", false),
    ("[zero]", true),
    ("[none]", true),
    ("[yes]", true),
    ("[no]", false),
    ("[nothing]", false),
    ("[map][inner][deep]", true),
    ("[map][absent][deep]", false),
    ("[message][deep]", false),
    ("[@metadata][from]", true),
    ("[@metadata]", true),
    ("'text'", true),
    ("'false'", false),
    ("''", false),
    ("![absent]", true),
    ("!([message] and [absent])", true),
];

const EQUALITY: &[Case] = &[
    ("[status] == 200", true),
    ("[status] == 200.0", false),
    ("200 == [status]", true),
    ("[status] != 200", false),
    ("[status] == '200'", false),
    ("[code] == '404'", true),
    ("[code] == 404", false),
    ("[code] != 404", true),
    ("[ratio] == 0.5", true),
    ("[zero] == 0", true),
    ("[yes] == 'true'", false),
    ("[absent] == 'x'", false),
    ("[absent] != 'x'", true),
    ("[absent] == [gone]", true),
    ("[absent] == [nothing]", false),
    ("[nothing] == [nothing]", true),
    ("'GET /index.html 200' == [message]", true),
    ("[map][n] == [map][n]", true),
    ("[list] == [list]", true),
    ("[map] == [map]", true),
    ("[map] == [alike]", false),
    // Of an array only the first item counts.
    ("[status] == [200, 1]", true),
    ("[status] == [1, 200]", false),
    ("[list] == ['a', 'b', 3]", false),
    ("[@timestamp] == '2026-01-02T03:04:05.678Z'", false),
    ("[@timestamp] == [@timestamp]", true),
    ("[list][0] == 'a'", true),
    ("[list][-1] == 3", true),
    ("'a' == 'a'", true),
    ("7 == 7", true),
    ("7 == '7'", false),
];

const ORDER: &[Case] = &[
    ("[status] >= 200", true),
    ("[status] > 200", false),
    ("[status] < 500", true),
    ("[status] <= 199.5", false),
    ("500 > [status]", true),
    ("200 <= [status]", true),
    ("[code] >= '400'", true),
    ("[code] < '5'", true),
    ("[message] > 'A'", true),
    ("[ratio] < [status]", true),
    ("[nothing] >= 5", true),
    ("[nothing] < 5", false),
    ("[@timestamp] > '2020'", false),
    ("[@timestamp] >= '2020'", true),
    ("[no] >= [absent]", true),
    ("[status] > [100, 300]", true),
    ("5 <= [no]", true),
    ("2 > 1", true),
];

const MATCHING: &[Case] = &[
    ("[message] =~ /index\\.html/", true),
    ("[message] =~ /\\/index/", true),
    ("[message] =~ 'ind[e]x'", true),
    ("[message] =~ /^INDEX/", false),
    ("[message] =~ /(?i)^get/", true),
    ("[message] !~ /index/", false),
    ("[absent] =~ /x/", false),
    ("[absent] !~ /x/", true),
    ("[status] =~ /^2..$/", false),
    ("[status] !~ /^2..$/", true),
    ("[list] =~ /^b$/", false),
    ("[yes] =~ /true/", false),
    ("[umlaut] =~ /^\\w+$/", false),
    ("[umlaut] =~ /^[[:alpha:]]+$/", true),
    ("'z' =~ /z/", true),
    ("'z' !~ /z/", false),
];

const CONTAINMENT: &[Case] = &[
    ("'a' in [list]", true),
    ("'z' in [list]", false),
    ("3 in [list]", true),
    ("3.0 in [list]", false),
    ("'3' in [list]", false),
    ("'z' not in [list]", true),
    ("[code] in ['200', '404']", true),
    ("[status] in [200, 404]", true),
    ("[status] in ['200', '404']", true),
    ("[code] in [200, 404]", true),
    ("[status] not in [200, 404]", false),
    ("[yes] in [true, other]", true),
    ("[code] in [200, 'x', 404]", true),
    ("'index' in [message]", true),
    ("200 in [message]", false),
    ("200 in [status]", false),
    ("[code] in 'x404y'", true),
    ("[status] in 'x200y'", false),
    ("[code] in [code]", true),
    ("[status] in [status]", true),
    ("[first] in [list]", true),
    ("[list] in [list]", false),
    ("[list] in ['a', 'b']", false),
    ("'red' in [tags]", true),
    ("'re' in [tags]", false),
    ("[absent] in ['x', 'y']", false),
    ("[absent] not in ['x', 'y']", true),
    ("[absent] in [list]", false),
    ("[absent] in [gone]", false),
    ("[absent] not in [gone]", true),
    ("'inner' in [map]", false),
    // Between constants nothing is looked for.
    ("'foo' in ['foo', 'bar']", false),
    ("'fo' in 'foo'", false),
    ("'foo' in 'foo'", true),
    ("!('foo' in ['hello', 'world'])", true),
    ("'foo' not in 'baz'", true),
    // Brackets around one value are a field.
    ("[code] in ['404']", false),
    ("[status] not in [200]", true),
];

const BOTH_AND_EITHER: &[Case] = &[
    ("[message] and [status] == 200", true),
    ("[absent] or [status] == 200", true),
    ("[absent] and [message] or [status]", true),
    ("[message] xor [status]", false),
    ("[message] xor [absent]", true),
    ("[message] nand [status]", false),
    ("[message] nand [absent]", true),
    ("([absent] or [message]) and ([status] > 100 and [ratio] < 1)", true),
    // Only the last two before an `or` belong to it.
    ("[absent] and [message] and [status] or [code]", false),
    ("[message] and [absent] and [status] or [code]", true),
    ("[code] or [absent] and [message] and [status]", true),
    // What is not reached cannot be undecided.
    ("[message] or [absent] > 5", true),
    ("[absent] and [absent] > 5", false),
];

#[test]
fn conditions_hold_as_in_logstash() {
    let event = event();
    for cases in [PRESENCE, EQUALITY, ORDER, MATCHING, CONTAINMENT, BOTH_AND_EITHER] {
        for (text, wanted) in cases {
            assert_eq!(holds(text, &event), *wanted, "{text}");
        }
    }
}

#[test]
fn what_has_no_order_cannot_be_decided() {
    let event = event();
    for (text, left, right) in [
        ("[absent] < 5", "`[absent]`, which is absent,", "a number"),
        ("5 >= [absent]", "a number", "`[absent]`, which is absent,"),
        ("[code] >= 400", "`[code]`, a text,", "a number"),
        ("[status] < '5'", "`[status]`, a number,", "a text"),
        ("[map] < 5", "`[map]`, a map,", "a number"),
        ("[list] > 'a'", "`[list]`, a list,", "a text"),
        ("!([map][n] <= [code])", "`[map][n]`, a number,", "`[code]`, a text,"),
        ("[message] and [status] > [nothing]", "`[status]`, a number,", "`[nothing]`, which is null,"),
    ] {
        let why = condition(text).holds(&event).unwrap_err();
        assert_eq!((why.left.as_ref(), why.right.as_ref()), (left, right), "{text}");
    }
}

#[test]
fn an_evil_expression_ends_without_a_match() {
    let evil = condition("[message] =~ /^(a+)+$/");
    let event = Event::with_message(Default::default(), Text::from("a".repeat(60) + "!"));
    assert_eq!(evil.holds(&event), Ok(false));
}
