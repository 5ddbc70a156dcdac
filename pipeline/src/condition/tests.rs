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
        "message": "GET /index.html 200", "status": 200, "ratio": 0.5, "code": "404", "empty": "", "yes": true,
        "no": false, "nothing": null, "list": ["a", "b", 3], "one": ["GET"], "map": {"inner": {"deep": "x"}, "n": 5},
        "@timestamp": "2026-01-02T03:04:05.678Z", "@metadata": {"from": "test"}, "tags": ["red"]
    }"#;
    let value = crate::json::parse(&Text::from(json)).unwrap();
    Event::from_map(Default::default(), value.as_map().unwrap().clone())
}

#[test]
fn conditions_hold_as_in_logstash() {
    let event = event();
    for (text, holds) in [
        // presence
        ("[message]", true),
        ("[absent]", false),
        ("[empty]", true),
        ("[yes]", true),
        ("[no]", false),
        ("[nothing]", false),
        ("[map][inner][deep]", true),
        ("[map][absent][deep]", false),
        ("[message][deep]", false),
        ("[@metadata][from]", true),
        ("![absent]", true),
        ("!([message] and [absent])", true),
        // equality
        ("[status] == 200", true),
        ("[status] == 200.0", true),
        ("[status] != 200", false),
        ("[status] == '200'", false),
        ("[code] == '404'", true),
        ("[code] == 404", false),
        ("[ratio] == 0.5", true),
        ("[absent] == 'x'", false),
        ("[absent] != 'x'", true),
        ("'GET /index.html 200' == [message]", true),
        ("[map][n] == [map][n]", true),
        ("[@timestamp] == '2026-01-02T03:04:05.678Z'", true),
        ("[list][0] == 'a'", true),
        ("[list][-1] == 3", true),
        // order
        ("[status] >= 200", true),
        ("[status] > 200", false),
        ("[status] < 500", true),
        ("[status] <= 199", false),
        ("[code] >= 400", true),
        ("[message] > 'A'", true),
        ("[absent] < 5", false),
        ("[absent] >= 5", false),
        ("[map] < 5", false),
        // matching
        ("[message] =~ /index\\.html/", true),
        ("[message] =~ 'ind[e]x'", true),
        ("[message] =~ /^INDEX/", false),
        ("[message] !~ /index/", false),
        ("[absent] =~ /x/", false),
        ("[absent] !~ /x/", true),
        ("[status] =~ /^2..$/", true),
        ("[list] =~ /^b$/", true),
        // containment
        ("'a' in [list]", true),
        ("'z' in [list]", false),
        ("3 in [list]", true),
        ("'z' not in [list]", true),
        ("[code] in ['200', '404']", true),
        ("[status] in [200, 404]", true),
        ("[status] not in [200]", false),
        ("'index' in [message]", true),
        ("'red' in [tags]", true),
        ("[absent] in ['x']", false),
        ("[absent] not in ['x']", true),
        ("'inner' in [map]", true),
        // both and either
        ("[message] and [status] == 200", true),
        ("[absent] or [status] == 200", true),
        ("[absent] and [message] or [status]", true),
        ("[message] xor [status]", false),
        ("[message] xor [absent]", true),
        ("[message] nand [status]", false),
        ("[message] nand [absent]", true),
        ("([absent] or [message]) and ([status] > 100 and [ratio] < 1)", true),
    ] {
        assert_eq!(condition(text).holds(&event), holds, "{text}");
    }
}

#[test]
fn an_evil_expression_ends_without_a_match() {
    let evil = condition("[message] =~ /^(a+)+$/");
    let event = Event::with_message(Default::default(), Text::from("a".repeat(60) + "!"));
    assert!(!evil.holds(&event));
}
