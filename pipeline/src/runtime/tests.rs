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
async fn a_few_lines_of_many_files_travel_together_and_each_file_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for nth in 0..60 {
        let lines: String = (0..nth).map(|line| format!("{line}\n")).collect();
        fs::write(dir.path().join(format!("{nth}.log")), lines).unwrap();
    }
    let output = dir.path().join("out");
    let text = format!(
        "input {{ file {{ path => '{}/*.log' mode => read }} }}
         output {{ file {{ path => '{}' codec => line {{ format => '%{{path}} %{{message}}' }} }} }}",
        dir.path().display(),
        output.display()
    );
    let run = || run_to_end(plan(&text), around(dir.path()), CancellationToken::new(), DRAIN);
    assert_eq!(run().await.unwrap().events_out, 60 * 59 / 2);
    let text_out = fs::read_to_string(&output).unwrap();
    for nth in 0..60 {
        let path = dir.path().join(format!("{nth}.log")).display().to_string();
        let own: Vec<&str> =
            text_out.lines().filter_map(|line| line.strip_prefix(&path)?.strip_prefix(' ')).collect();
        assert_eq!(own, (0..nth).map(|line| line.to_string()).collect::<Vec<_>>(), "{path}");
    }
    assert_eq!(run().await.unwrap().events_out, 0, "a second run finds nothing new");
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
         output {{ file {{ path => '{}' codec => line {{ format => '%{{message}} %{{path}} %{{[@metadata][host]}} %{{[container][id]}}' }} }} }}",
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

#[tokio::test]
async fn conditions_choose_filters_and_outputs_and_order_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "input {{ generator {{ count => 1000 lines => ['a', 'b', 'c', 'd'] }} }}
         filter {{
           if [message] == 'a' {{ mutate {{ add_tag => ['first'] }} }}
           else if [message] == 'b' {{ drop {{ }} }}
           else {{ mutate {{ add_field => {{ 'kind' => 'other' }} }} }}
         }}
         output {{
           file {{ path => '{dir}/all' codec => line {{ format => '%{{message}}%{{sequence}}' }} }}
           if 'first' in [tags] {{ file {{ path => '{dir}/a' codec => line {{ format => '%{{sequence}}' }} }} }}
           else if [kind] {{ file {{ path => '{dir}/other-%{{message}}' codec => line {{ format => '%{{sequence}}' }} }} }}
         }}",
        dir = dir.path().display()
    );
    let mut around = around(dir.path());
    around.workers = 4;
    let counters = run_to_end(plan(&text), around, CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!((counters.events_in, counters.dropped_events, counters.events_out), (4000, 1000, 3000));
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let all: String = (0..1000).flat_map(|i| ["a", "c", "d"].map(|m| format!("{m}{i}\n"))).collect();
    assert!(read("all") == all);
    let each: String = (0..1000).map(|i| format!("{i}\n")).collect();
    assert!(read("a") == each && read("other-c") == each && read("other-d") == each);
    assert!(!dir.path().join("other-b").exists());
}

#[tokio::test]
async fn events_without_an_answer_to_a_condition_become_dead_letters_and_their_neighbours_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "input {{ generator {{ count => 1 lines => ['1', 'b', 'c', '4'] }} }}
         filter {{
           if [message] =~ /^[0-9]/ {{ mutate {{ convert => {{ 'message' => 'integer' }} }} }}
           if [message] < 'c' {{ mutate {{ add_field => {{ 'early' => 'yes' }} }} }}
         }}
         output {{
           file {{ path => '{dir}/all' codec => line {{ format => '%{{message}}%{{early}}' }} }}
           if [early] > 5 {{ file {{ path => '{dir}/never' }} }} else {{ file {{ path => '{dir}/never' }} }}
         }}",
        dir = dir.path().display()
    );
    let counters =
        run_to_end(plan(&text), around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("all")).unwrap(), "byes\nc%{early}\n");
    assert!(!dir.path().join("never").exists());
    assert_eq!((counters.events_in, counters.dropped_events, counters.dead_letters), (4, 0, 4));
    let letters = crate::dead_letters(&dir.path().join("data"), "test");
    let letters: String = letters.map(|letter| letter.unwrap().to_json()).collect();
    for reason in [
        "`[message]`, a number, and a text have no order",
        "`[early]`, a text, and a number have no order",
        "`[early]`, which is absent, and a number have no order",
    ] {
        assert!(letters.contains(reason), "{letters}");
    }
}

#[tokio::test]
async fn lines_of_several_pipelines_in_one_file_stay_whole() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("shared");
    let mut running = Vec::new();
    for name in ["one", "two", "three"] {
        let text = format!(
            "input {{ generator {{ count => 3000 message => '{}' }} }} output {{ file {{ path => '{}' }} }}",
            name.repeat(50),
            output.display()
        );
        let mut around = around(dir.path());
        around.id = name.to_owned();
        running.push(start(plan(&text), around).unwrap());
    }
    for mut one in running {
        one.finished().await.unwrap();
    }
    let text = fs::read_to_string(output).unwrap();
    let whole = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert_eq!((text.lines().count(), whole.count()), (9000, 9000));
}

#[tokio::test]
async fn what_cannot_be_written_is_tried_again_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("not-a-directory");
    fs::write(&blocked, "").unwrap();
    let output = blocked.join("o.log");
    let text = format!(
        "input {{ generator {{ count => 10 }} }} output {{ file {{ path => '{}' }} }}",
        output.display()
    );
    let mut running = start(plan(&text), around(dir.path())).unwrap();
    let mut state = running.watch();
    let struggling = state.wait_for(|state| matches!(state, State::Struggling(_))).await.unwrap().clone();
    assert!(format!("{struggling:?}").contains("o.log"), "{struggling:?}");
    fs::remove_file(&blocked).unwrap();
    running.finished().await.unwrap();
    assert_eq!(lines_of(&output), 10);
    assert_eq!(running.counters().events_out, 10);
    assert!(running.counters().retries > 0);
}

#[tokio::test]
async fn a_stop_that_cannot_drain_gives_up_at_the_deadline_and_acknowledges_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let text = format!(
        "input {{ file {{ docker-path => '/var/log/a.log' }} }} output {{ file {{ path => '{}/file/x' }} }}",
        dir.path().display()
    );
    let (feed, acked, _open) = feed(&["a\nb\n"], true);
    let mut around = around(dir.path());
    around.feeds.push(feed);
    let running = start(plan(&text), around).unwrap();
    let mut state = running.watch();
    state.wait_for(|state| matches!(state, State::Struggling(_))).await.unwrap();
    let stopped = running.stop(Duration::from_millis(10)).await;
    assert!(stopped.unwrap_err().0.contains("comes again"));
    assert!(acked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_slow_output_stops_the_reading_instead_of_filling_memory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let text = format!(
        "input {{ generator {{ }} }} output {{ file {{ path => '{}/file/x' }} }}",
        dir.path().display()
    );
    let running = start(plan(&text), around(dir.path())).unwrap();
    until("the first attempts failed", || running.counters().retries > 3).await;
    let full = running.counters().events_in;
    until("a few more attempts failed", || running.counters().retries > 6).await;
    assert_eq!(running.counters().events_in, full, "nothing more was read");
    assert!(full <= 1000 * 30, "{full}");
    assert!(running.stop(Duration::ZERO).await.is_err());
}

/// Many pipelines whose outputs are all down read no more together than the budget of the process allows.
#[tokio::test]
async fn however_many_pipelines_wait_for_their_outputs_what_they_hold_together_is_limited() {
    // Another test of this process may have been first.
    let _again = rustls::crypto::ring::default_provider().install_default();
    const PIPELINES: usize = 30;
    const BYTES: usize = 6 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (input, blocked) = (dir.path().join("in.log"), dir.path().join("file"));
    fs::write(&input, format!("{}\n", "x".repeat(1023)).repeat(BYTES / 1024)).unwrap();
    fs::write(&blocked, "").unwrap();
    let text = format!(
        "input {{ file {{ path => '{}' mode => read }} }}
         output {{
           elasticsearch {{ hosts => 'http://127.0.0.1:1' retry_max_interval => 0.1 }}
           file {{ path => '{}/x' }}
         }}",
        input.display(),
        blocked.display()
    );
    let start_one = |nth: usize| {
        let mut around = around(dir.path());
        around.id = format!("p{nth}");
        start(plan(&text), around).unwrap()
    };
    let running: Vec<Running> = (0..PIPELINES).map(start_one).collect();
    let read = || running.iter().map(|one| one.counters().bytes_in).sum::<u64>();
    let retries = |least: u64| running.iter().all(|one| one.counters().retries > least);
    until("all of them wait", || retries(3)).await;
    let mut before = read();
    // What was read when all had to wait may still be on its way to where it is counted.
    until("nobody reads any further", || std::mem::replace(&mut before, read()) == read() && retries(12))
        .await;
    let held = usize::try_from(read()).unwrap();
    // The budget is 64 MiB with all that an event takes beside its line; each pipeline may have one frame beyond it.
    assert!(held < (64 << 20) && PIPELINES * BYTES > (128 << 20), "{held}");
    drop(running);
}

#[tokio::test]
async fn a_plan_without_outputs_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = start(plan("input { generator { } }"), around(dir.path()));
    assert!(matches!(nothing, Err(StartError::NoOutput)));
}

#[tokio::test]
async fn json_lines_become_fields_and_what_is_not_json_is_tagged_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("o");
    let text = format!(
        r#"input {{ file {{ docker-path => '/x' codec => json tags => ['in'] type => 'app' add_field => {{ 'env' => '%{{level}}' }} }} }}
         output {{ file {{ path => '{}' }} }}"#,
        output.display()
    );
    let lines = [
        r#"{"level":"info","@timestamp":"2026-01-02T03:04:05Z","path":"mine","n":[1,{"a":null}],"big":18446744073709551615}"#,
        r#"[{"level":"a"},{"level":"b"}]"#,
        "  ",
        "{not json",
    ];
    let (feed, _, _) = feed(&[&lines.join("\n")], false);
    let mut around = around(dir.path());
    around.feeds.push(feed);
    run_to_end(plan(&text), around, CancellationToken::new(), DRAIN).await.unwrap();
    let mut got: Vec<serde_json::Value> =
        fs::read_to_string(output).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for event in got.iter_mut().skip(1) {
        event.as_object_mut().unwrap().remove("@timestamp").unwrap();
    }
    let expected = [
        r#"{"@timestamp":"2026-01-02T03:04:05.000Z","level":"info","path":"mine","n":[1,{"a":null}],"big":18446744073709551615,
            "@version":"1","host":"host-1","type":"app","env":"info","tags":["in"]}"#,
        r#"{"level":"a","@version":"1","host":"host-1","path":"/var/log/a.log","type":"app","env":"a","tags":["in"]}"#,
        r#"{"level":"b","@version":"1","host":"host-1","path":"/var/log/a.log","type":"app","env":"b","tags":["in"]}"#,
        r#"{"message":"{not json","@version":"1","host":"host-1","path":"/var/log/a.log","type":"app","env":"%{level}",
            "tags":["_jsonparsefailure","in"]}"#,
    ];
    let expected: Vec<serde_json::Value> =
        expected.iter().map(|e| serde_json::from_str(e).unwrap()).collect();
    assert_eq!(got, expected);
}

#[test]
fn options_that_do_not_fit_together_are_told_at_their_place() {
    let text = "input {
  file { }
  file { path => '/x' delimiter => '' sincedb_path => 'x' codec => rubydebug }
  generator { threads => 0 }
}
output {
  elasticsearch { user => 'x' }
  elasticsearch { hosts => ['ftp://me:s3cret@x'] user => 'x' api_key => 'y' }
  file { path => '%{x}' }
}";
    let problems = crate::check(Scope::Run, text, &|_| None);
    let told: Vec<String> =
        problems.iter().map(|p| format!("{}:{} {}\n", p.line, p.column, p.message)).collect();
    expect_test::expect![[r#"
        2:3 this input reads no file
        3:36 the delimiter is empty
        3:55 positions are kept in the data directory
        3:68 the codec `rubydebug` can only write
        4:26 no thread would make events
        7:27 the `user` has no `password`
        8:28 a host is neither `host:port` nor a URL
        8:58 both `user` and `api_key` are given
        9:18 the path does not begin with a fixed absolute directory
    "#]]
    .assert_eq(&told.concat());
}

#[tokio::test]
async fn lines_that_wait_for_more_hold_their_position_back_and_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.log"), dir.path().join("o.log"));
    let text = format!(
        "input {{ file {{ path => '{}' start_position => beginning stat_interval => 0.01
           codec => multiline {{ pattern => '^ ' what => previous }} }} }}
         output {{ file {{ path => '{}' codec => json_lines }} }}",
        input.display(),
        output.display()
    );
    let messages = || -> Vec<String> {
        let text = fs::read_to_string(&output).unwrap_or_default();
        let message = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["message"].as_str().unwrap().to_owned()
        };
        text.lines().map(message).collect()
    };
    fs::write(&input, "one\n 1\n\ntwo\n 2\n").unwrap();
    let running = start(plan(&text), around(dir.path())).unwrap();
    until("the first message arrived", || messages().len() == 1).await;
    running.stop(DRAIN).await.unwrap();
    fs::write(&input, "one\n 1\n\ntwo\n 2\n 3\nthree\n").unwrap();
    let running = start(plan(&text), around(dir.path())).unwrap();
    until("the second message arrived", || messages().len() == 2).await;
    running.stop(DRAIN).await.unwrap();
    assert_eq!(messages(), ["one\n 1", "two\n 2\n 3"]);
}

#[tokio::test]
async fn lines_that_wait_are_a_message_after_a_while_and_at_the_end_of_their_source() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("o.log");
    let text = |more: &str| {
        format!(
            "input {{ file {{ docker-path => '/var/log/a.log'
               codec => multiline {{ pattern => '^ ' what => previous {more} }} }} }}
             output {{ file {{ path => '{}' codec => line {{ format => '%{{message}};%{{tags}}' }} }} }}",
            output.display()
        )
    };
    let (one, acked, open) = feed(&["a\n 1\nb\n"], true);
    let mut surroundings = around(dir.path());
    surroundings.feeds.push(one);
    let mut running = start(plan(&text("auto_flush_interval => 0.01")), surroundings).unwrap();
    until("all of it is acknowledged", || acked.lock().unwrap().last() == Some(&7)).await;
    drop(open);
    running.finished().await.unwrap();
    assert_eq!(fs::read_to_string(&output).unwrap(), "a\n 1;multiline\nb;%{tags}\n");
    fs::remove_file(&output).unwrap();

    let (two, acked, open) = feed(&["a\n 1\nb\n"], true);
    let mut surroundings = around(dir.path());
    surroundings.feeds.push(two);
    let mut running = start(plan(&text("")), surroundings).unwrap();
    until("the first is acknowledged", || acked.lock().unwrap().last() == Some(&5)).await;
    drop(open);
    running.finished().await.unwrap();
    assert_eq!(acked.lock().unwrap().last(), Some(&7));
    assert_eq!(fs::read_to_string(&output).unwrap(), "a\n 1;multiline\nb;%{tags}\n");
}

#[tokio::test]
async fn files_that_were_delivered_are_written_down_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("a.log", "one\ntwo\n"), ("b.log", ""), ("c.log", "three")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let at = dir.path().display();
    let text = format!(
        "input {{ file {{ path => '{at}/*.log' mode => read file_sort_by => path file_completed_action => log_and_delete
           file_completed_log_path => '{at}/done' sincedb_path => '/dev/null'
           codec => multiline {{ pattern => '^t' what => previous }} }} }}
         output {{ file {{ path => '{at}/o' codec => line {{ format => '%{{message}}' }} }} }}"
    );
    run_to_end(plan(&text), around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("o")).unwrap(), "one\ntwo\nthree\n");
    let done = fs::read_to_string(dir.path().join("done")).unwrap();
    let mut done: Vec<&str> = done.lines().filter_map(|path| path.rsplit('/').next()).collect();
    done.sort_unstable();
    assert_eq!(done, ["a.log", "b.log", "c.log"]);
    assert!(!dir.path().join("a.log").exists() && !dir.path().join("c.log").exists());
}

#[test]
fn pipelines_whose_outputs_take_nothing_hold_no_thread_that_others_need() {
    // Another test of this process may have been first.
    let _again = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(2).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.log");
    fs::write(&input, "a line\n".repeat(200_000)).unwrap();
    let read = format!("input {{ file {{ path => '{}' mode => read }} }}", input.display());
    runtime.block_on(async {
        let mut stuck = Vec::new();
        for nth in 0..4 {
            let text = format!("{read} output {{ elasticsearch {{ hosts => 'http://127.0.0.1:1' }} }}");
            let around = Surroundings::new(dir.path().join("data"), "host-1", format!("stuck-{nth}"));
            let pipeline = start(plan(&text), around).unwrap();
            pipeline.watch().wait_for(|state| matches!(state, State::Struggling(_))).await.unwrap();
            stuck.push(pipeline);
        }
        let text = format!("{read} output {{ file {{ path => '{}' }} }}", dir.path().join("o").display());
        let counters = tokio::time::timeout(
            DRAIN,
            run_to_end(plan(&text), around(dir.path()), CancellationToken::new(), DRAIN),
        );
        assert_eq!(counters.await.unwrap().unwrap().events_out, 200_000);
    });
    runtime.shutdown_background();
}
