//! Templates and what they are filled in to; the expected texts are those of Logstash.
use super::*;
use crate::event::Event;
use proptest::prelude::*;

fn event(json: &str) -> Event {
    let value = crate::json::parse(&Text::from(json)).unwrap();
    Event::from_map(Timestamp::UNIX_EPOCH, value.as_map().unwrap().clone())
}

fn filled(template: &str, event: &Event) -> String {
    Template::parse(template).render(event).to_string()
}

#[test]
fn fields_are_filled_in_as_texts() {
    let event = event(
        r#"{"s": "hi", "i": -5, "one": 1.0, "large": 12345678.9, "small": 0.0001, "yes": true, "null": null, "empty": "",
            "list": ["a", 1, 1.5, true, null, ["b", "c"], {"k": "v", "n": null}], "none": [], "map": {"k1": "v"}, "void": {},
            "a": {"b": [10, {"c": "deep"}]}, "with space": "x", "@metadata": {"m": "meta"}}"#,
    );
    for (template, wanted) in [
        ("plain", "plain"),
        ("", ""),
        ("%{s}", "hi"),
        ("<%{s}|%{i}|%{one}|%{yes}|%{empty}>", "<hi|-5|1.0|true|>"),
        ("%{large} %{small}", "1.23456789E7 1.0E-4"),
        ("%{list}", "a,1,1.5,true,,b,c,{n=null, k=v}"),
        ("%{none}%{void}", "{}"),
        ("%{map}", r#"{"k1":"v"}"#),
        ("%{[a][b][0]} %{[a][b][1][c]} %{[a][b][-1][c]}", "10 deep deep"),
        ("%{[a]}", r#"{"b":[10,{"c":"deep"}]}"#),
        ("%{with space}", "x"),
        ("%{[@metadata][m]} %{@version}", "meta 1"),
        ("%{absent} %{[a][c]} %{[s][x]}", "%{absent} %{[a][c]} %{[s][x]}"),
        ("%{null}", "%{null}"),
        ("%{ 100% %{s} %{", "%{ 100% %{s} %{"),
        ("100% %{s}} %s", "100% hi} %s"),
        ("%{s", "%{s"),
        ("%{x%{s}}", "%{x%{s}}"),
        ("%{[a} %{s}", "%{[a} hi"),
        ("%{@timestamp}", "1970-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(filled(template, &event), wanted, "{template}");
    }
}

#[test]
fn entries_of_maps_come_in_the_order_of_a_hash_map() {
    let event = event(
        r#"{"m": {"name": "x", "id": 1, "tags": ["a"], "zebra": null, "at": 1.0}, "two": {"b": 1, "a": 2}}"#,
    );
    assert_eq!(filled("%{m}", &event), r#"{"name":"x","zebra":null,"id":1,"at":1.0,"tags":["a"]}"#);
    assert_eq!(filled("%{two}", &event), r#"{"a":2,"b":1}"#);
}

#[test]
fn the_moment_is_filled_in_by_patterns_of_joda() {
    let event = event(r#"{"@timestamp": "2015-10-01T03:04:05.678912Z"}"#);
    for (template, wanted) in [
        ("logs-%{+YYYY.MM.dd}", "logs-2015.10.01"),
        ("%{+yyyy-MM-dd'T'HH:mm:ss.SSSZZ}", "2015-10-01T03:04:05.678+00:00"),
        // Joda knows milliseconds only.
        ("%{+SSSSSS}", "678000"),
        ("%{+xxxx-'W'ww}", "2015-W40"),
        ("%{+EEE EEEE MMM MMMM}", "Thu Thursday Oct October"),
        ("%{+%s}", "1443668645"),
        ("%{}%{+}%{+%}", "144366864514436686451443668645"),
        // What goes on after `+%s` is a pattern.
        ("%{+%ss}", "%05"),
        ("/full/%{+YYY/web", "/full/%{+YYY/web"),
        ("%{@timestamp}", "2015-10-01T03:04:05.678912Z"),
    ] {
        assert_eq!(filled(template, &event), wanted, "{template}");
    }
}

#[test]
fn the_moment_is_filled_in_by_patterns_of_java_time() {
    let event = event(r#"{"@timestamp": "2015-10-01T13:04:05.678912Z"}"#);
    for (pattern, wanted) in [
        ("YYYY-DDD", "2015-274"),
        ("YYYY-'W'ww", "2015-W40"),
        ("yyyy.MM.dd.HH", "2015.10.01.13"),
        ("uuuu-MM-dd'T'HH:mm:ss.SSSX", "2015-10-01T13:04:05.678Z"),
        ("y yy yyy yyyyy", "2015 15 2015 02015"),
        ("M MM MMM MMMM MMMMM L", "10 10 Oct October O 10"),
        ("E EEE EEEE EEEEE e c eee", "Thu Thu Thursday T 5 5 Thu"),
        ("d dd D", "1 01 274"),
        ("h hh K k H a", "1 01 1 13 13 PM"),
        ("S SSS SSSSSS SSSSSSSSS", "6 678 678912 678912000"),
        ("A n N", "47045678 678912000 47045678912000"),
        ("Q QQ QQQ QQQQ", "4 04 Q4 4th quarter"),
        ("w W F", "40 1 1"),
        ("G GGGG GGGGG", "AD Anno Domini A"),
        ("VV z X XXX x xx xxx Z ZZZZ ZZZZZ O", "Z Z Z Z +00 +0000 +00:00 +0000 GMT Z GMT"),
        ("ppH|pppd", "13|  1"),
        ("yyyy['-'MM]''", "2015-10'"),
        ("g", "57296"),
    ] {
        let template = format!("%{{{{{pattern}}}}}");
        assert_eq!(filled(&template, &event), wanted, "{template}");
    }
}

#[test]
fn weeks_begin_on_sunday_and_belong_to_the_year_of_their_saturday() {
    for (day, wanted) in [
        ("2026-01-01", "2026-W01"),
        ("2025-12-27", "2025-W52"),
        ("2025-12-28", "2026-W01"),
        ("2022-12-31", "2022-W53"),
        ("2023-01-01", "2023-W01"),
        ("2023-01-08", "2023-W02"),
    ] {
        let event = event(&format!(r#"{{"@timestamp": "{day}T12:00:00Z"}}"#));
        assert_eq!(filled("%{{YYYY-'W'ww}}", &event), wanted, "{day}");
    }
}

#[test]
fn nothing_stands_for_a_moment_that_was_removed() {
    let mut event = event("{}");
    event.remove(&FieldRef::top("@timestamp"));
    assert_eq!(filled("<%{+yyyy}%{{yyyy}}%{+%s}>", &event), "<>");
    assert_eq!(filled("%{@timestamp}", &event), "%{@timestamp}");
}

#[test]
fn the_present_moment_is_filled_in() {
    let before = in_micros(Timestamp::now());
    let now: Timestamp = filled("%{{TIME_NOW}}", &event("{}")).parse().unwrap();
    assert!(before <= now && now <= Timestamp::now());
}

#[test]
fn what_cannot_be_filled_in_is_told_with_its_place() {
    for (template, part) in [
        ("a%{+yyyy-jj}b", "jj"),
        ("a%{+yyyy'b}", "'b"),
        ("a%{{BAD_TIME_NOW}}", "B"),
        ("a%{{yyyy-DDDD}}", "DDDD"),
        ("a %{[b} %{c}", "[b"),
        ("%{+yyyy} %{{yyyy]}}", "]"),
    ] {
        let mut found = Vec::new();
        Template::read(template, |unfillable| found.push(unfillable));
        let [Unfillable::Date(mistake) | Unfillable::Field(mistake)] = found.as_slice() else {
            panic!("{template}: {found:?}")
        };
        assert_eq!(template.get(mistake.start..mistake.end), Some(part), "{template}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_and_filled_in_without_panic(text in "[%{}+\\[\\]'a-zA-Z#. ]{0,40}", at in any::<i32>()) {
        let mut event = event(r#"{"a": {"b": [1]}}"#);
        event.set(&FieldRef::top("@timestamp"), Value::Time(Timestamp::from_second(i64::from(at)).unwrap())).unwrap();
        let mut mistakes = Vec::new();
        let template = Template::read(&text, |unfillable| mistakes.push(unfillable));
        for Unfillable::Date(mistake) | Unfillable::Field(mistake) in mistakes {
            prop_assert!(text.get(mistake.start..mistake.end).is_some(), "{}: {:?}", text, mistake);
        }
        template.render(&event);
        template.is_complete(&event);
    }
}

proptest! {
    #[test]
    fn what_is_filled_in_stays_the_same_for_its_period(
        text in prop_oneof![
            Just("x-%{+YYYY.MM.dd}"), Just("%{+xxxx.ww}"), Just("%{+yyyy-MM-dd HH}"), Just("%{+a hh}"), Just("%{+HH:mm}"),
            Just("%{+ss}"), Just("%{+SSS}"), Just("%{+%s}"), Just("%{{yyyy}}"), Just("%{message}"), Just("none"),
            Just("%{+EEE Z ZZZ D}"),
        ],
        seconds in -100_000_000_000_i64..100_000_000_000,
        nanos in 0..1_000_000_000_i32,
        other in 0..86_400_i64,
    ) {
        let template = Template::parse(text);
        let period = template.period_s();
        if period > 0 {
            let render = |seconds: i64, nanos: i32| {
                let at = Timestamp::new(seconds, nanos).unwrap();
                template.render(&Event::with_message(at, "m".into())).to_string()
            };
            let begin = seconds.div_euclid(period) * period;
            prop_assert_eq!(render(seconds, nanos), render(begin + other % period, 0));
        }
    }
}
