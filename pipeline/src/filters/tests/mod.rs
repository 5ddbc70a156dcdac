//! Runs the cases in `pipeline/cases`, those of filters and those of the language: configurations whose first lines say what goes in and what comes out.
//!
//! - `# in: {…}`: an event, as JSON.
//! - `# out: {…}`: the whole event that it becomes, less `@version`, and less `@timestamp` where that did not change;
//!   `# out: nothing` for a dropped one, `# out: [{…}, {…}]` for one that becomes several.
//! - `# has: {…}`: fields that it has, among others.
//! - `# problem: line:column message | hint`: what `check` says, in order, all of it.
use std::path::{Path, PathBuf};

use serde_json::{Map as JsonMap, Value as Json};

use crate::batch::Batch;
use crate::check::{Scope, check, compile};
use crate::event::Event;
use crate::runtime::chain::{Chain, Together};
use crate::value::{Text, Timestamp, Value};

const NO_ENV: &dyn Fn(&str) -> Option<String> = &|_| None;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files = Vec::new();
    for part in ["filters", "language"] {
        for directory in std::fs::read_dir(root.join(part)).unwrap() {
            for file in std::fs::read_dir(directory.unwrap().path()).unwrap() {
                files.push(file.unwrap().path());
            }
        }
    }
    files.sort();
    assert!(files.len() > 30, "the cases are not where they are looked for");
    files
}

/// The events of `batch` after the filters of `text`.
fn filtered(text: &str, mut batch: Batch) -> Vec<Event> {
    let plan = compile(Scope::Run, text, NO_ENV).unwrap_or_else(|problems| {
        let shown: Vec<_> = problems.iter().map(|p| p.render("case", text)).collect();
        panic!("{}", shown.join("\n"))
    });
    let mut chain = Chain::build(0, &plan.filters, &mut Together::new(), &Default::default()).unwrap();
    chain.run(&mut batch);
    batch.into_events()
}

fn json(text: &str, file: &Path) -> JsonMap<String, Json> {
    match serde_json::from_str(text) {
        Ok(Json::Object(map)) => map,
        other => panic!("{}: {text}: {other:?}", file.display()),
    }
}

fn event(text: &str, now: Timestamp, file: &Path) -> Event {
    match crate::json::parse(&Text::from(text)) {
        Ok(Value::Map(map)) => Event::from_map(now, map),
        other => panic!("{}: {text}: {other:?}", file.display()),
    }
}

/// The event as a case would write it.
fn shown(event: &Event, now: Timestamp, file: &Path) -> JsonMap<String, Json> {
    let mut map = json(&event.to_json(), file);
    map.remove("@version");
    if event.timestamp() == Some(now) {
        map.remove("@timestamp");
    }
    map
}

fn problems_of(text: &str) -> Vec<String> {
    let shown = |p: config::diagnostic::Diagnostic| {
        let hint = p.hint.map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{}:{} {}{hint}", p.line, p.column, p.message)
    };
    check(Scope::Run, text, NO_ENV).into_iter().map(shown).collect()
}

#[test]
fn every_case_comes_out_as_it_says() {
    let now: Timestamp = "2001-02-03T04:05:06Z".parse().unwrap();
    let mut wrong = String::new();
    for file in cases() {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines_of = |mark: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(mark)?.strip_prefix(": "));
            lines.map(str::to_owned).collect::<Vec<String>>()
        };
        let (inputs, told) = (lines_of("# in"), lines_of("# problem"));
        let found = problems_of(&text);
        if found != told {
            wrong += &format!("{}:\n# problem: {}\n", file.display(), found.join("\n# problem: "));
        }
        if inputs.is_empty() {
            assert!(!told.is_empty() || !found.is_empty(), "{} tests nothing", file.display());
            continue;
        }
        let outputs = text.lines().filter(|l| l.starts_with("# out: ") || l.starts_with("# has: "));
        assert_eq!(outputs.clone().count(), inputs.len(), "{}", file.display());
        for (input, output) in inputs.iter().zip(outputs) {
            let events = filtered(&text, Batch::new(vec![event(input, now, &file)]));
            let got: Vec<Json> = events.iter().map(|e| Json::Object(shown(e, now, &file))).collect();
            let right = match (output.split_at(7), got.as_slice()) {
                (("# out: ", "nothing"), got) => got.is_empty(),
                (("# out: ", wanted), got) if wanted.starts_with('[') => {
                    serde_json::from_str::<Vec<Json>>(wanted).unwrap() == got
                }
                (("# out: ", wanted), [got]) => *got == Json::Object(json(wanted, &file)),
                (("# has: ", wanted), [got]) => {
                    json(wanted, &file).iter().all(|(name, value)| got.get(name) == Some(value))
                }
                _ => false,
            };
            if !right {
                let got = match got.as_slice() {
                    [] => "nothing".to_owned(),
                    [one] => one.to_string(),
                    several => Json::from(several).to_string(),
                };
                wrong += &format!("{}:\n# in: {input}\n# out: {got}\n", file.display());
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn about_the_wanted_part_of_events_is_dropped() {
    let now = Timestamp::UNIX_EPOCH;
    let events = (0..10_000).map(|_| Event::new(now)).collect();
    let left = filtered("filter { drop { percentage => 30 } }", Batch::new(events)).len();
    assert!((6500..7500).contains(&left), "{left}");
}

#[test]
fn found_texts_are_slices_of_the_line() {
    let line = format!("key={}", "v".repeat(1000));
    let batch = Batch::new(vec![Event::with_message(Timestamp::UNIX_EPOCH, Text::from(line))]);
    let events = filtered("filter { grok { match => { message => \"key=%{GREEDYDATA:value}\" } } }", batch);
    let text = |name: &str| events[0].fields().get(name).and_then(Value::as_text).unwrap().as_str().as_ptr();
    assert_eq!(text("message") as usize + 4, text("value") as usize);
}

#[test]
fn patterns_are_read_from_directories() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine.grok"), "# a comment\n\nFRUIT  apple|pear\n").unwrap();
    std::fs::write(directory.path().join("other"), "FRUIT stone\n").unwrap();
    let text = format!(
        "filter {{ grok {{ patterns_dir => [\"{}\"] patterns_files_glob => \"*.g?ok\" \
         match => {{ message => \"^%{{FRUIT:fruit}}$\" }} }} }}",
        directory.path().display()
    );
    let batch = Batch::new(vec![Event::with_message(Timestamp::UNIX_EPOCH, Text::from("pear"))]);
    let events = filtered(&text, batch);
    assert_eq!(events[0].fields().get("fruit"), Some(&Value::from("pear")));
}

/// The events after the filters, of messages with seconds as their moments.
fn after(text: &str, events: &[(i64, &str)]) -> Vec<Event> {
    let event = |(second, message): &(i64, &str)| {
        Event::with_message(Timestamp::from_second(*second).unwrap(), Text::from(*message))
    };
    filtered(text, Batch::new(events.iter().map(event).collect()))
}

#[test]
fn events_before_and_after_the_counts_of_their_period_are_throttled() {
    let text = "filter { throttle { key => \"%{message}\" before_count => 2 after_count => 3 period => 10 add_tag => t } }";
    let events = [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (4, "a"), (11, "a"), (12, "b")];
    let tagged: Vec<bool> = after(text, &events).iter().map(|event| event.has_tag("t")).collect();
    assert_eq!(tagged, [true, false, true, false, true, true, true]);
}

#[test]
fn the_first_line_names_the_columns_when_asked_for() {
    let text = "filter { csv { autodetect_column_names => true } }";
    let events = after(text, &[(0, "name,size"), (0, "nail,3")]);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].fields().get("size"), Some(&Value::from("3")));
}
