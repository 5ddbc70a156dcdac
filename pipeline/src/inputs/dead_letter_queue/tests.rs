use super::*;
use crate::dead_letter::{DeadLetterLimits, Letterbox};
use crate::event::Event;
use crate::runtime::tally::Tally;
use crate::runtime::{Surroundings, run_to_end};
use crate::value::Text;
use crate::{Plan, Scope, compile};
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

const DRAIN: Duration = Duration::from_secs(20);

/// Puts letters of the output `out` into the letterbox of the pipeline `main`.
fn refuse(data: &Path, messages: &[&str], now: &str) {
    let letterbox = Letterbox::new(data, "main", DeadLetterLimits::default(), Arc::new(Tally::default()));
    let letters = Arc::new(letterbox).of("file", "out");
    for message in messages {
        let event = Event::with_message(Timestamp::UNIX_EPOCH, Text::from(*message));
        letters.keep(now.parse().unwrap(), [(&event, "because")]).unwrap();
    }
}

fn plan(text: &str) -> Plan {
    compile(Scope::Run, text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

async fn run(data: &Path, plan: Plan) {
    run_to_end(plan, Surroundings::new(data, "h", "main"), CancellationToken::new(), DRAIN).await.unwrap();
}

#[tokio::test]
async fn letters_come_out_with_their_reasons_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    refuse(&data, &["one", "two"], "2026-01-01T00:00:00Z");
    let text = |start: &str| {
        format!(
            "input {{ dead_letter_queue {{ path => '{}' stop_at_end => true {start} tags => [again] }} }}
             output {{ file {{ path => '{}' codec => line {{ format => '%{{message}} %{{[@metadata][dead_letter_queue][plugin_type]}} %{{[@metadata][dead_letter_queue][plugin_id]}} %{{[@metadata][dead_letter_queue][reason]}} %{{[@metadata][dead_letter_queue][entry_time]}} %{{[tags][0]}}' }} }} }}",
            data.join("dead_letter_queue").display(),
            out.display()
        )
    };
    let lines = || std::fs::read_to_string(&out).unwrap_or_default();
    run(&data, plan(&text("start_timestamp => '2026-01-01T00:00:01+00:00' commit_offsets => false"))).await;
    assert_eq!(lines(), "");
    run(&data, plan(&text(""))).await;
    let expected = "one file out because 2026-01-01T00:00:00.000Z again\ntwo file out because 2026-01-01T00:00:00.000Z again\n";
    assert_eq!(lines(), expected);
    refuse(&data, &["three"], "2026-01-01T00:00:00Z");
    run(&data, plan(&text(""))).await;
    assert_eq!(lines(), format!("{expected}three file out because 2026-01-01T00:00:00.000Z again\n"));
}

#[tokio::test]
async fn a_replay_delivers_to_the_output_that_refused_and_leaves_no_letters() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    refuse(&data, &["one", "two"], "2026-01-01T00:00:00Z");
    let plan = plan(&format!(
        "input {{ stdin {{ }} }} filter {{ mutate {{ uppercase => [message] }} }}
         output {{
           null {{ id => other }}
           if [never] {{ file {{ id => out path => '{}' codec => line {{ format => '%{{message}}' }} }} }}
         }}",
        out.display()
    ));
    let wanted: BTreeSet<String> = ["out".to_owned(), "gone".to_owned()].into();
    let letters = letters_in(&data);
    assert_eq!(plan.clone().replaying(&letters, 2, &wanted, None).unwrap_err(), ["gone"]);
    let wanted: BTreeSet<String> = ["out".to_owned()].into();
    run(&data, plan.replaying(&letters, 2, &wanted, None).unwrap()).await;
    assert_eq!(std::fs::read_to_string(out).unwrap(), "one\ntwo\n");
    crate::remove_dead_letters(&data, "main", 2).unwrap();
    assert_eq!(crate::dead_letters(&data, "main").count(), 0);
    refuse(&data, &["three"], "2026-01-01T00:00:00Z");
    assert_eq!(
        crate::dead_letters(&data, "main").map(|letter| letter.unwrap().number).collect::<Vec<_>>(),
        [3]
    );
}

fn letters_in(data: &Path) -> PathBuf {
    dead_letter::directory(&data.join("dead_letter_queue"), "main")
}

/// The letters of a letterbox with so many.
fn reading(data: &Path, count: usize, until: u64) -> Letters {
    refuse(data, &vec!["again"; count], "2026-01-01T00:00:00Z");
    Letters { reader: Reader::new(&letters_in(data), 0), last: 0, until, from: None }
}

#[test]
fn what_is_refused_again_while_letters_are_sent_again_is_not_taken_for_sent() {
    let dir = tempfile::tempdir().unwrap();
    let until = LINES_MAX as u64 + 5;
    let mut letters = reading(dir.path(), LINES_MAX + 5, until);
    let mut read = || letters.read().unwrap().map(|cut| (cut.len(), cut.end));
    assert_eq!(read(), Some((LINES_MAX, LINES_MAX as u64)));
    refuse(dir.path(), &["refused"; 3], "2026-01-01T00:00:00Z");
    assert_eq!((read(), read()), (Some((5, until)), None));
}

#[test]
fn letters_behind_a_last_one_that_is_not_there_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = reading(dir.path(), 3, 3);
    assert_eq!(crate::set_dead_letters_apart(dir.path(), "main").unwrap(), 3);
    let segment = letters_in(dir.path()).join(format!("{:020}.seg", 1));
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();
    refuse(dir.path(), &["later"], "2026-01-01T00:00:00Z");
    let mut read = || letters.read().unwrap().map(|cut| (cut.len(), cut.end));
    assert_eq!((read(), read()), (Some((2, 2)), None));
}

#[tokio::test]
async fn letters_are_read_from_the_first_when_their_numbers_began_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    let text = format!(
        "input {{ dead_letter_queue {{ path => '{}' stop_at_end => true }} }}
         output {{ file {{ path => '{}' codec => line {{ format => '%{{message}}' }} }} }}",
        data.join("dead_letter_queue").display(),
        out.display()
    );
    refuse(&data, &["one", "two"], "2026-01-01T00:00:00Z");
    run(&data, plan(&text)).await;
    std::fs::remove_dir_all(data.join("dead_letter_queue")).unwrap();
    refuse(&data, &["new"], "2026-01-01T00:00:00Z");
    run(&data, plan(&text)).await;
    assert_eq!(std::fs::read_to_string(out).unwrap(), "one\ntwo\nnew\n");
}

#[test]
fn what_cannot_work_is_told() {
    let text = "input { dead_letter_queue { path => 'a' start_timestamp => 'noon' clean_consumed => true commit_offsets => false } } output { null { } }";
    let problems = compile(Scope::Run, text, &|_| None).unwrap_err();
    assert_eq!(
        problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(),
        ["the path is relative", "this is no time", "`clean_consumed` needs `commit_offsets`"]
    );
}
