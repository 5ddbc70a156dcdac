//! Whole pipelines: bytes in at one end, lines out at the other, and positions in between.
use super::*;
use crate::{Scope, compile};
use bytes::Bytes;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use tokio::sync::mpsc;

fn plan(text: &str) -> Plan {
    match compile(Scope::Docker, text, &|_| None) {
        Ok(plan) => plan,
        Err(problems) => panic!("{}", problems.iter().map(|p| p.render("test", text)).collect::<String>()),
    }
}

fn around(dir: &Path) -> Surroundings {
    Surroundings::new(dir.join("data"), "host-1", "test")
}

const DRAIN: Duration = Duration::from_secs(20);

/// Waits until `holds`; fails after a while.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let waited = tokio::time::timeout(DRAIN, async {
        while !holds() {
            tick.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

fn lines_of(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| memchr::memchr_iter(b'\n', &bytes).count())
}

type Acknowledged = Arc<Mutex<Vec<u64>>>;

/// A feed that is closed after these chunks, and the positions that were acknowledged.
fn feed(chunks: &[&str], open: bool) -> (Feed, Acknowledged, Option<mpsc::Sender<Chunk>>) {
    let (sender, receiver) = mpsc::channel(chunks.len().max(1));
    let mut end = 0;
    for chunk in chunks {
        end += chunk.len() as u64;
        sender.try_send(Chunk { bytes: Bytes::copy_from_slice(chunk.as_bytes()), end }).unwrap();
    }
    let acked = Arc::new(Mutex::new(Vec::new()));
    let told = acked.clone();
    let acked_fn = Arc::new(move |position| told.lock().unwrap().push(position));
    let feed = Feed { input: 0, path: "/var/log/a.log".into(), chunks: receiver, acked: acked_fn };
    (feed, acked, open.then_some(sender))
}

#[tokio::test]
async fn lines_of_a_file_come_out_exactly_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.log"), dir.path().join("out/o.log"));
    let text: String = (0..25_000).map(|i| format!("line {i} äöü {}\n", "x".repeat(i % 200))).collect();
    fs::write(&input, &text).unwrap();
    let plan = plan(&format!(
        "input {{ file {{ path => '{}' mode => read }} }}
         output {{ file {{ path => '{}' codec => line {{ format => '%{{message}}' }} }} }}",
        input.display(),
        output.display()
    ));
    let mut around = around(dir.path());
    around.workers = 3;
    let counters = run_to_end(plan, around, CancellationToken::new(), DRAIN).await.unwrap();
    assert!(fs::read_to_string(output).unwrap() == text);
    assert_eq!((counters.events_in, counters.events_out), (25_000, 25_000));
}

#[tokio::test]
async fn a_file_goes_on_at_the_byte_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.log"), dir.path().join("o.log"));
    let text = format!(
        "input {{ file {{ path => '{}' start_position => beginning stat_interval => 0.01 }} }}
         output {{ file {{ path => '{}' codec => line {{ format => '%{{message}}' }} }} }}",
        input.display(),
        output.display()
    );
    fs::write(&input, "one\ntwo\nthr").unwrap();
    let running = start(plan(&text), around(dir.path())).unwrap();
    until("two lines arrived", || lines_of(&output) == 2).await;
    running.stop(DRAIN).await.unwrap();
    fs::write(&input, "one\ntwo\nthree\nfour\n").unwrap();
    let running = start(plan(&text), around(dir.path())).unwrap();
    until("four lines arrived", || lines_of(&output) == 4).await;
    running.stop(DRAIN).await.unwrap();
    assert_eq!(fs::read_to_string(output).unwrap(), "one\ntwo\nthree\nfour\n");
}

#[tokio::test]
async fn feeds_are_acknowledged_at_ends_of_lines_and_the_rest_at_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("o.log");
    let text = format!(
        "input {{ file {{ docker-path => '/var/log/a.log' }} }}
         output {{ file {{ path => '{}' codec => line {{ format => '%{{message}} %{{path}} %{{host}} %{{[container][id]}}' }} }} }}",
        output.display()
    );
    let (feed, acked, open) = feed(&["a\nb\nc", "c\nd"], true);
    let mut around = around(dir.path());
    around.feeds.push(feed);
    around.fields.push(("[container][id]".into(), "c1".into()));
    let plan = plan(&text);
    assert_eq!(plan.feeds_wanted()[0].path, "/var/log/a.log");
    let mut running = start(plan, around).unwrap();
    until("whole lines are acknowledged", || acked.lock().unwrap().last() == Some(&7)).await;
    drop(open);
    running.finished().await.unwrap();
    assert_eq!(acked.lock().unwrap().last(), Some(&8));
    let lines: Vec<String> = fs::read_to_string(output).unwrap().lines().map(str::to_owned).collect();
    let tail = "/var/log/a.log host-1 c1";
    assert_eq!(lines, ["a", "b", "cc", "d"].map(|m| format!("{m} {tail}")));
}
