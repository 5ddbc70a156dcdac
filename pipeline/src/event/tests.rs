//! Events against a plain model of them, and through JSON and back.
use super::*;
use crate::template::Template;
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
enum Step {
    Set(Vec<String>, i64),
    Remove(Vec<String>),
    Append(Vec<String>, i64),
}

fn path() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-d]", 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (path(), any::<i64>()).prop_map(|(p, v)| Step::Set(p, v)),
        1 => path().prop_map(Step::Remove),
        1 => (path(), any::<i64>()).prop_map(|(p, v)| Step::Append(p, v)),
    ]
}

fn model_get<'a>(model: &'a serde_json::Value, path: &[String]) -> Option<&'a serde_json::Value> {
    path.iter().try_fold(model, |at, name| at.as_object()?.get(name))
}

fn model_set(model: &mut serde_json::Value, path: &[String], value: serde_json::Value) -> bool {
    // What is no place in a list is taken and forgotten.
    let Some(map) = model.as_object_mut() else { return model.is_array() };
    match path {
        [last] => {
            map.insert(last.clone(), value);
            true
        }
        [first, rest @ ..] => model_set(map.entry(first.clone()).or_insert_with(|| json!({})), rest, value),
        [] => false,
    }
}

fn model_remove(model: &mut serde_json::Value, path: &[String]) {
    let (last, parents) = path.split_last().unwrap();
    let parent = parents.iter().try_fold(model, |at, name| at.as_object_mut()?.get_mut(name));
    if let Some(map) = parent.and_then(|p| p.as_object_mut()) {
        map.remove(last);
    }
}

fn field(path: &[String]) -> FieldRef {
    FieldRef::parse(&path.iter().map(|name| format!("[{name}]")).collect::<String>()).unwrap()
}

fn as_json(event: &Event) -> serde_json::Value {
    let mut json: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
    json.as_object_mut().unwrap().retain(|name, _| !name.starts_with('@'));
    json
}

proptest! {
    #[test]
    fn setting_getting_and_removing_agree_with_a_model(steps in proptest::collection::vec(step(), 0..30)) {
        let mut event = Event::new(Timestamp::UNIX_EPOCH);
        let mut model = json!({});
        for step in steps {
            match step {
                Step::Set(path, value) => {
                    let set = event.set(&field(&path), value).is_ok();
                    let mut changed = model.clone();
                    // A path through a number cannot be set; what was made on the way stays, as there was nothing.
                    let model_set = model_set(&mut changed, &path, json!(value));
                    prop_assert_eq!(set, model_set);
                    model = changed;
                }
                Step::Remove(path) => {
                    prop_assert_eq!(event.remove(&field(&path)).is_some(), model_get(&model, &path).is_some());
                    model_remove(&mut model, &path);
                }
                Step::Append(path, value) => {
                    let new = match model_get(&model, &path) {
                        Some(serde_json::Value::Array(items)) => {
                            json!(items.iter().cloned().chain([json!(value)]).collect::<Vec<_>>())
                        }
                        // Its pairs have an order, which the model has not.
                        Some(serde_json::Value::Object(_)) => continue,
                        Some(old) => json!([old, value]),
                        None => json!(value),
                    };
                    let appended = event.append(&field(&path), value).is_ok();
                    prop_assert_eq!(appended, model_set(&mut model, &path, new));
                }
            }
            prop_assert_eq!(as_json(&event), model.clone());
        }
    }

    #[test]
    fn any_text_goes_through_json_unchanged(text in any::<String>(), name in "[^\\[\\]]{1,40}") {
        prop_assume!(!name.starts_with('@'));
        let mut event = Event::new(Timestamp::UNIX_EPOCH);
        event.fields_mut().insert(name.as_str(), Value::from(text.as_str()));
        let json: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
        prop_assert_eq!(json[&name].as_str(), Some(text.as_str()));
        let back = crate::json::parse(&Text::from(event.to_json())).unwrap();
        let back = Event::from_map(Timestamp::MAX, back.as_map().unwrap().clone());
        prop_assert_eq!(back, event);
    }

    #[test]
    fn parts_of_any_line_are_what_they_were_cut_from(line in "\\PC{0,200}", a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let text = Text::lossy(line.clone().into_bytes().into());
        let border = |at: usize| (0..=at).rev().find(|i| line.is_char_boundary(*i)).unwrap();
        let (a, b) = (border(a.index(line.len() + 1)), border(b.index(line.len() + 1)));
        let range = a.min(b)..a.max(b);
        let cut = text.get(range.clone()).unwrap();
        prop_assert_eq!(text.part(cut), line.get(range).unwrap());
        prop_assert_eq!(text.part("elsewhere, and longer than what fits inline"), "elsewhere, and longer than what fits inline");
    }

    #[test]
    fn field_references_are_read_or_refused_but_never_panic(text in "[\\[\\]ab@ ]{0,12}") {
        if let Ok(field) = FieldRef::parse(&text) {
            let shown = field.to_string();
            prop_assert_eq!(FieldRef::parse(&shown), Ok(field));
        }
    }

    #[test]
    fn large_maps_work_like_small_ones(names in proptest::collection::vec("[a-z]{1,3}", 0..120), gone in proptest::collection::vec("[a-z]{1,3}", 0..40)) {
        let mut map = Map::new();
        let mut model = indexed(&names);
        for (i, name) in names.iter().enumerate() {
            map.insert(name.as_str(), Value::Int(i as i64));
        }
        for name in &gone {
            prop_assert_eq!(map.remove(name), model.iter().position(|(n, _)| n == name).map(|at| Value::Int(model.remove(at).1)));
        }
        let got: Vec<(String, Value)> = map.iter().map(|(n, v)| (n.to_string(), v.clone())).collect();
        let wanted: Vec<(String, Value)> = model.iter().map(|(n, v)| (n.clone(), Value::Int(*v))).collect();
        prop_assert_eq!(got, wanted);
    }
}

/// Each name once, where it came first, with the number of where it came last.
fn indexed(names: &[String]) -> Vec<(String, i64)> {
    let mut all: Vec<(String, i64)> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        match all.iter_mut().find(|(n, _)| n == name) {
            Some((_, at)) => *at = i as i64,
            None => all.push((name.clone(), i as i64)),
        }
    }
    all
}

#[test]
fn invalid_utf8_is_replaced_and_the_rest_kept() {
    let line = b"caf\xe9 \xff and the rest of a line that is long".to_vec();
    assert_eq!(Text::lossy(line.into()), "caf\u{fffd} \u{fffd} and the rest of a line that is long");
}

#[test]
fn metadata_is_never_written() {
    let mut event = Event::new(Timestamp::UNIX_EPOCH);
    event.set(&FieldRef::parse("[@metadata][target]").unwrap(), "x").unwrap();
    assert_eq!(event.to_json(), r#"{"@timestamp":"1970-01-01T00:00:00.000Z","@version":"1"}"#);
    assert_eq!(Template::parse("%{[@metadata][target]}").render(&event), "x");
    assert!(event.set(&FieldRef::top("@metadata"), "x").is_err());
}

#[test]
fn the_timestamp_takes_moments_only() {
    let mut event = Event::new(Timestamp::UNIX_EPOCH);
    let at = FieldRef::top("@timestamp");
    event.set(&at, Value::Time("2026-01-02T03:04:05+01:00".parse().unwrap())).unwrap();
    assert_eq!(event.timestamp().unwrap().to_string(), "2026-01-02T02:04:05Z");
    assert!(event.set(&at, "2026-01-02T03:04:05+01:00").is_err());
    assert!(event.set(&at, 5).is_err());
    assert!(event.remove(&at).is_some());
    assert_eq!(event.to_json(), r#"{"@version":"1"}"#);
    let nothing = [("@timestamp", Value::Null)].into_iter().collect();
    assert_eq!(Event::from_map(Timestamp::UNIX_EPOCH, nothing), Event::new(Timestamp::UNIX_EPOCH));
    let inside = FieldRef::parse("[@timestamp][x]").unwrap();
    let mut event = Event::new(Timestamp::UNIX_EPOCH);
    assert!(
        event.set(&inside, 1).is_err() && event.get(&inside).is_none() && event.remove(&inside).is_none()
    );
    assert!(event.append(&at, "2026-01-02T03:04:05Z").is_err());
    let bad = [("@timestamp", Value::from("yesterday"))].into_iter().collect();
    let event = Event::from_map(Timestamp::UNIX_EPOCH, bad);
    assert!(event.has_tag(TIMESTAMP_FAILURE));
    assert_eq!(event.timestamp(), Some(Timestamp::UNIX_EPOCH));
}

#[test]
fn tags_are_there_once() {
    let mut event = Event::new(Timestamp::UNIX_EPOCH);
    event.add_tag("a");
    event.add_tag("b");
    event.add_tag("a");
    assert_eq!(event.fields().get("tags"), Some(&Value::List(vec!["a".into(), "b".into()])));
    event.remove_tag("a");
    assert!(!event.has_tag("a") && event.has_tag("b"));
}

#[test]
fn moments_are_written_with_as_many_digits_as_they_need() {
    for (moment, written) in [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.6Z", "2026-01-02T03:04:05.600Z"),
        ("2026-12-31T23:59:59.000001Z", "2026-12-31T23:59:59.000001Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z"),
        ("0099-01-02T03:04:05Z", "0099-01-02T03:04:05.000Z"),
    ] {
        assert_eq!(Value::Time(moment.parse().unwrap()).to_text(), written);
    }
}

#[test]
fn texts_values_and_events_are_small() {
    use std::mem::size_of;
    assert_eq!((size_of::<Text>(), size_of::<Value>(), size_of::<(Name, Value)>()), (24, 32, 56));
    assert!(size_of::<Event>() <= 80, "{}", size_of::<Event>());
}

fn event(json: &str) -> Event {
    let value = crate::json::parse(&Text::from(json)).unwrap();
    Event::from_map(Timestamp::UNIX_EPOCH, value.as_map().unwrap().clone())
}

#[test]
fn fields_are_set_as_in_logstash() {
    let list = r#"{"l":["a",{"b":1}],"s":"x","n":null}"#;
    for (path, wanted) in [
        ("[l][0]", Ok(r#"{"l":["new",{"b":1}],"s":"x","n":null}"#)),
        ("[l][-1]", Ok(r#"{"l":["a","new"],"s":"x","n":null}"#)),
        ("[l][2]", Ok(r#"{"l":["a",{"b":1},"new"],"s":"x","n":null}"#)),
        ("[l][4]", Ok(r#"{"l":["a",{"b":1},null,null,"new"],"s":"x","n":null}"#)),
        ("[l][1][c]", Ok(r#"{"l":["a",{"b":1,"c":"new"}],"s":"x","n":null}"#)),
        ("[l][3][c]", Ok(r#"{"l":["a",{"b":1},null,{"c":"new"}],"s":"x","n":null}"#)),
        ("[l][name]", Ok(list)),
        ("[l][name][deep]", Ok(list)),
        ("[l][-3]", Err(FieldError::NotAContainer)),
        ("[l][99999999]", Err(FieldError::NotAContainer)),
        ("[l][0][x]", Err(FieldError::NotAContainer)),
        ("[s][x]", Err(FieldError::NotAContainer)),
        ("[n][x]", Err(FieldError::NotAContainer)),
        ("[0][1]", Ok(r#"{"l":["a",{"b":1}],"s":"x","n":null,"0":{"1":"new"}}"#)),
        ("[[m][x]][y]", Ok(r#"{"l":["a",{"b":1}],"s":"x","n":null,"m":{"x":{"y":"new"}}}"#)),
    ] {
        let mut event = event(list);
        let set = event.set(&FieldRef::parse(path).unwrap(), "new");
        assert_eq!(
            set.as_ref().map(|()| as_json(&event)),
            wanted.as_ref().map(|json| serde_json::from_str(json).unwrap()),
            "{path}"
        );
    }
}

#[test]
fn fields_are_added_to_as_add_field_does() {
    let mut event = event(r#"{"one": 1, "list": [1], "null": null, "map": {"a": 1, "b": [2]}}"#);
    for path in ["one", "list", "null", "map", "absent", "[deep][absent]"] {
        event.append(&FieldRef::parse(path).unwrap(), "x").unwrap();
    }
    let wanted = json!({
        "one": [1, "x"], "list": [1, "x"], "null": ["x"], "map": [["a", 1], ["b", [2]], "x"], "absent": "x",
        "deep": {"absent": "x"}
    });
    assert_eq!(as_json(&event), wanted);
}

#[test]
fn tags_hold_texts_only() {
    for (json, wanted) in [
        (r#"{"tags": "a"}"#, json!({"tags": "a"})),
        (r#"{"tags": ["a", "b"]}"#, json!({"tags": ["a", "b"]})),
        (r#"{"tags": []}"#, json!({"tags": []})),
        (r#"{"tags": 5}"#, json!({"_tags": [5], "tags": ["_tagsparsefailure"]})),
        (r#"{"tags": ["a", 5]}"#, json!({"_tags": [["a", 5]], "tags": ["_tagsparsefailure"]})),
        (r#"{"tags": {"a": 1}}"#, json!({"_tags": [{"a": 1}], "tags": ["_tagsparsefailure"]})),
        (r#"{"tags": null}"#, json!({"_tags": [null], "tags": ["_tagsparsefailure"]})),
    ] {
        assert_eq!(as_json(&event(json)), wanted, "{json}");
    }
    let mut event = event(r#"{"tags": ["a"]}"#);
    for (path, value) in
        [("tags", Value::Int(5)), ("tags", Value::Null), ("[tags][0]", "x".into()), ("[tags][x]", "x".into())]
    {
        assert_eq!(event.set(&FieldRef::parse(path).unwrap(), value), Err(FieldError::NotTags), "{path}");
    }
    event.set(&FieldRef::top("tags"), "b").unwrap();
    assert_eq!(as_json(&event), json!({"tags": "b"}));
}

#[test]
fn tags_that_options_add_may_be_there_twice_and_those_of_failures_not() {
    let mut event = event(r#"{"tags": "a"}"#);
    event.add_tag("a");
    assert_eq!(as_json(&event), json!({"tags": "a"}));
    event.push_tag("a".into());
    event.push_tag("a".into());
    event.add_tag("a");
    assert_eq!(as_json(&event), json!({"tags": ["a", "a", "a"]}));
    event.remove_tag("a");
    assert_eq!(as_json(&event), json!({"tags": []}));
    let mut event = self::event(r#"{"tags": "a"}"#);
    event.remove_tag("b");
    assert_eq!(as_json(&event), json!({"tags": ["a"]}));
    let mut event = self::event("{}");
    event.remove_tag("b");
    assert_eq!(as_json(&event), json!({}));
    event.push_tag("c".into());
    assert_eq!(as_json(&event), json!({"tags": ["c"]}));
}

proptest! {
    #[test]
    fn lines_that_lie_together_are_joined_as_copies_of_them(
        text in "[a-c]{20,30}(\n[a-c]{0,40}){0,4}",
        from in 0_usize..3,
        skip in 0_usize..4,
    ) {
        let whole = Text::from(text.clone());
        let lines: Vec<Text> = text.split('\n').map(|line| whole.part(line)).collect();
        let lines: Vec<Text> = lines.iter().skip(from).enumerate().filter(|(n, _)| *n != skip).map(|(_, l)| l.clone()).collect();
        if let Some(joined) = Text::spanning(&lines) {
            let copies: Vec<&str> = lines.iter().map(Text::as_str).collect();
            prop_assert_eq!(joined.as_str(), copies.join("\n"));
        }
    }
}

#[test]
fn neighbouring_lines_share_their_buffer_when_joined() {
    let whole = Text::from(String::from(
        "the first line of a stack trace\n\tat the second, which is long enough\nand a third one, too, of the same",
    ));
    let lines: Vec<Text> = whole.split('\n').map(|line| whole.part(line)).collect();
    assert_eq!(Text::spanning(&lines), Some(whole.clone()));
    assert_eq!(Text::spanning(&[lines[0].clone(), lines[2].clone()]), None);
    let apart: Vec<Text> = lines.iter().cloned().map(Text::detached).collect();
    assert_eq!((&apart, Text::spanning(&apart)), (&lines, None));
}

proptest! {
    #[test]
    fn an_event_in_the_memory_of_an_old_one_has_nothing_of_it(
        steps in proptest::collection::vec(step(), 0..40),
        shared in proptest::collection::btree_map("[a-e]|message", "[xy]", 0..4),
        tag in proptest::option::of("[a-c]"),
        metadata in any::<bool>(),
    ) {
        let shared: Map = shared.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))).collect();
        for shared in [shared.clone(), Event::shared_fields(&shared)] {
            let mut old = Event::with_fields_of("2026-01-02T03:04:05Z".parse().unwrap(), &shared, Text::from("old"), None);
            old.place = 7;
            for step in &steps {
                let names = |path: &[String]| FieldRef::from_names(&path.iter().map(String::as_str).collect::<Vec<_>>());
                let _done = match step {
                    Step::Set(path, value) => old.set(&names(path), *value).is_ok(),
                    Step::Remove(path) => old.remove(&names(path)).is_some(),
                    Step::Append(path, value) => old.append(&names(path), *value).is_ok(),
                };
            }
            tag.iter().for_each(|tag| old.add_tag(tag));
            if metadata {
                old.set(&FieldRef::from_names(&["@metadata", "a"]), 1).unwrap();
                old.remove(&FieldRef::parse("@timestamp").unwrap());
            }
            let new = |old| Event::with_fields_of(Timestamp::UNIX_EPOCH, &shared, Text::from("new"), old);
            prop_assert_eq!(new(Some(old)), new(None));
        }
    }
}
