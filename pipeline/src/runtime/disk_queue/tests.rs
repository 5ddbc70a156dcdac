use super::*;
use crate::runtime::{Chunk, Feed, Running, Surroundings, run_to_end, start};
use crate::{Plan, Scope, compile};
use proptest::prelude::*;
use std::fs;
use std::sync::Mutex;

const DRAIN: Duration = Duration::from_secs(20);

fn plan(text: &str) -> Plan {
    compile(Scope::Docker, text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Lines to a file.
fn to_file(dir: &Path) -> Plan {
    let out = dir.join("out");
    let out = out.display();
    plan(&format!(
        "input {{ file {{ docker-path => '/a' }} }}
         output {{ file {{ path => '{out}' codec => line {{ format => '%{{message}}' }} }} }}"
    ))
}

/// Lines to a server that is not there.
fn to_nobody() -> Plan {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    plan(&format!(
        "input {{ file {{ docker-path => '/a' }} }} output {{ tcp {{ host => '127.0.0.1' port => {port} }} }}"
    ))
}

fn around(dir: &Path, queue: QueueSettings) -> Surroundings {
    Surroundings { queue: Some(queue), ..Surroundings::new(dir.join("data"), "h", "p") }
}

/// A source that stays open while the sender is kept, and how far it was acknowledged.
fn feed(text: &str) -> (Feed, Arc<AtomicU64>, mpsc::Sender<Chunk>) {
    let (sender, chunks) = mpsc::channel(1000);
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len() as u64;
        sender.try_send(Chunk { bytes: Bytes::copy_from_slice(line.as_bytes()), end }).unwrap();
    }
    let acked = Arc::new(AtomicU64::new(0));
    let told = acked.clone();
    let acked_in = Arc::new(move |position| told.store(position, Ordering::SeqCst));
    (Feed { input: 0, path: "/a".into(), chunks, acked: acked_in }, acked, sender)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    let waited = tokio::time::timeout(DRAIN, async {
        while !holds() {
            tick.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

/// Takes lines over while no output takes any, and is stopped then.
async fn take_over(dir: &Path, lines: &str, queue: QueueSettings) {
    let mut around = around(dir, queue);
    let (feed, acked, _open) = feed(lines);
    around.feeds.push(feed);
    let running = start(to_nobody(), around).unwrap();
    until("everything is in the queue", || acked.load(Ordering::SeqCst) == lines.len() as u64).await;
    assert!(running.queue().unwrap().events > 0);
    // What is on its way then, if anything is, is not delivered: it comes again.
    let _either = running.stop(Duration::from_millis(20)).await;
}

/// Delivers what a queue holds.
async fn deliver(dir: &Path, queue: QueueSettings) -> Vec<String> {
    let mut around = around(dir, queue);
    let (feed, ..) = feed("");
    around.feeds.push(feed);
    run_to_end(to_file(dir), around, CancellationToken::new(), DRAIN).await.unwrap();
    fs::read_to_string(dir.join("out")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn numbered(n: usize) -> String {
    (0..n).map(|n| format!("line {n}\n")).collect()
}

#[tokio::test]
async fn what_was_taken_over_while_an_output_is_down_is_delivered_after_a_restart_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let lines = numbered(900);
    take_over(dir.path(), &lines, QueueSettings::default()).await;
    let queue = QueueSettings::default();
    assert!(
        deliver(dir.path(), queue).await.iter().map(|line| format!("{line}\n")).collect::<String>() == lines
    );
    assert_eq!(deliver(dir.path(), queue).await.len(), 900, "the checkpoint says that nothing is left");
}

#[tokio::test]
async fn every_policy_of_syncing_delivers_everything_in_order_through_small_pages() {
    for sync_events in [0, 1, 7, 1024] {
        let dir = tempfile::tempdir().unwrap();
        let queue = QueueSettings { sync_events, page_bytes: 2000, ..QueueSettings::default() };
        let mut around = around(dir.path(), queue);
        let lines = numbered(300);
        let (feed, acked, open) = feed(&lines);
        around.feeds.push(feed);
        drop(open);
        let counters =
            run_to_end(to_file(dir.path()), around, CancellationToken::new(), DRAIN).await.unwrap();
        assert!(fs::read_to_string(dir.path().join("out")).unwrap() == lines);
        assert_eq!(acked.load(Ordering::SeqCst), lines.len() as u64);
        assert_eq!((counters.events_in, counters.events_out, counters.bytes_in), (300, 300, 2290));
    }
}

#[tokio::test]
async fn a_full_queue_lets_inputs_wait_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let lines = numbered(900);
    let queue = QueueSettings { max_bytes: 20_000, ..QueueSettings::default() };
    let mut around = around(dir.path(), queue);
    let (feed, acked, _open) = feed(&lines);
    around.feeds.push(feed);
    let running = start(to_nobody(), around).unwrap();
    until("the queue is full", || running.queue().unwrap().bytes >= 20_000).await;
    let before = acked.load(Ordering::SeqCst);
    assert!(before < lines.len() as u64, "some have to wait");
    let _either = running.stop(Duration::from_millis(20)).await;
    let taken = acked.load(Ordering::SeqCst);
    let acknowledged = lines.get(..usize::try_from(taken).unwrap()).unwrap();
    let out: String = deliver(dir.path(), queue).await.iter().map(|line| format!("{line}\n")).collect();
    // What was written when the end came and not yet acknowledged may be there, too.
    assert!(out.starts_with(acknowledged) && lines.starts_with(&out), "all that was acknowledged, in order");
    // There is room again, for more than the queue can hold at once.
    let lines = numbered(2000);
    let mut around = self::around(dir.path(), queue);
    let (sender, chunks) = mpsc::channel(1);
    around.feeds.push(Feed { input: 0, path: "/a".into(), chunks, acked: Arc::new(|_| {}) });
    let mut running: Running = start(to_file(dir.path()), around).unwrap();
    let mut end = 0;
    for line in lines.split_inclusive('\n') {
        end += line.len() as u64;
        sender.send(Chunk { bytes: Bytes::copy_from_slice(line.as_bytes()), end }).await.unwrap();
    }
    drop(sender);
    running.finished().await.unwrap();
    assert!(fs::read_to_string(dir.path().join("out")).unwrap() == format!("{out}{lines}"));
    assert_eq!(running.queue().unwrap().events, 0);
}

#[tokio::test]
async fn a_queue_that_is_stopped_while_it_is_full_holds_exactly_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let settings = QueueSettings { max_bytes: 20_000, ..QueueSettings::default() };
    let data_dir = dir.path().join("data");
    let (tally, health) = (Arc::default(), Arc::new(Health::new()));
    let site = QueueSite { data_dir: &data_dir, pipeline: "p", settings, tally, health };
    let queue = DiskQueue::open(site).unwrap();
    let gauge = queue.writer.gauge.clone();
    let (mut stages, stop) = (JoinSet::new(), CancellationToken::new());
    // Nobody takes what is read again: every output is down.
    let (to_filters, at_filters) = mpsc::channel(1);
    let frames = queue.between(&mut stages, to_filters, &stop);
    let acked = Arc::new(AtomicU64::new(0));
    let told = acked.clone();
    let source = Source::lines(Arc::new(move |position| told.store(position, Ordering::SeqCst)));
    let send = async |nth: u64| {
        let cut = Cut::of(&[Bytes::from(format!("line {nth}"))], nth + 1);
        frames.send(Frame::of(&source, cut, Vec::new(), None)).await.is_ok()
    };
    let mut sent = 0;
    while gauge.read().bytes < 20_000 && send(sent).await {
        sent += 1;
    }
    // As many as may still wait before it.
    while tokio::time::timeout(Duration::from_millis(100), send(sent)).await.is_ok() {
        sent += 1;
    }
    assert!(acked.load(Ordering::SeqCst) < sent, "some have to wait");
    stop.cancel();
    drop((frames, at_filters, source));
    while let Some(ended) = stages.join_next().await {
        ended.unwrap().unwrap();
    }
    assert_eq!(acked.load(Ordering::SeqCst), sent, "what was taken over is written, however full it is");
    let expected: Vec<String> = (0..sent).map(|nth| format!("line {nth}")).collect();
    assert_eq!(deliver(dir.path(), settings).await, expected);
}

#[tokio::test]
async fn an_event_that_is_larger_than_the_queue_goes_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let queue = QueueSettings { max_bytes: 100, max_events: 1, ..QueueSettings::default() };
    let mut around = around(dir.path(), queue);
    let lines = format!("{}\nshort\n{}\n", "x".repeat(5000), "y".repeat(5000));
    let (feed, _, open) = feed(&lines);
    around.feeds.push(feed);
    drop(open);
    run_to_end(to_file(dir.path()), around, CancellationToken::new(), DRAIN).await.unwrap();
    assert!(fs::read_to_string(dir.path().join("out")).unwrap() == lines);
}

/// A queue that holds three events, and the path of its only segment below the directory.
async fn three_held() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    take_over(dir.path(), "one\ntwo\nthree\n", QueueSettings::default()).await;
    let mut found = Vec::new();
    let mut dirs = vec![dir.path().join("data/queue")];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    assert_eq!(found.len(), 1);
    let path = found[0].strip_prefix(dir.path()).unwrap().to_owned();
    (dir, path)
}

/// What is delivered when the segment holds these bytes, and one more line comes.
async fn delivered(path: &Path, bytes: &[u8], checkpoint: Option<&[u8]>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let segment = dir.path().join(path);
    fs::create_dir_all(segment.parent().unwrap()).unwrap();
    fs::write(&segment, bytes).unwrap();
    if let Some(checkpoint) = checkpoint {
        fs::write(segment.with_file_name("checkpoint"), checkpoint).unwrap();
    }
    let mut around = around(dir.path(), QueueSettings::default());
    let (feed, acked, open) = feed("new\n");
    around.feeds.push(feed);
    drop(open);
    run_to_end(to_file(dir.path()), around, CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!(acked.load(Ordering::SeqCst), 4);
    fs::read_to_string(dir.path().join("out")).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_queue_that_is_cut_or_changed_at_any_byte_delivers_the_rest_and_takes_more() {
    let (dir, path) = three_held().await;
    let whole = fs::read(dir.path().join(&path)).unwrap();
    let ends: Vec<usize> = {
        let mut reader = Reader::new(dir.path().join(&path).parent().unwrap(), 0);
        let mut end = 0;
        std::iter::from_fn(|| reader.next().unwrap())
            .map(|record| {
                end += record.payload.len() + 20;
                end
            })
            .collect()
    };
    assert_eq!((ends.len(), ends[2]), (3, whole.len()));
    let names = ["one", "two", "three"];
    for at in 0..whole.len() {
        let kept = ends.iter().filter(|end| **end <= at).count();
        let mut expected = names[..kept].to_vec();
        expected.push("new");
        assert_eq!(delivered(&path, &whole[..at], None).await, expected, "cut at {at}");
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let hit = ends.iter().filter(|end| **end <= at).count();
        let mut expected: Vec<&str> = (0..3).filter(|n| *n != hit).map(|n| names[n]).collect();
        expected.push("new");
        assert_eq!(delivered(&path, &bytes, None).await, expected, "changed at {at}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_cut_or_changed_lets_nothing_be_lost() {
    let (dir, path) = three_held().await;
    let whole = fs::read(dir.path().join(&path)).unwrap();
    let good = checkpoint_text(2).into_bytes();
    assert_eq!(delivered(&path, &whole, Some(&good)).await, ["three", "new"]);
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        for bad in [&good[..at], changed.as_slice()] {
            assert_eq!(delivered(&path, &whole, Some(bad)).await, ["one", "two", "three", "new"], "{at}");
        }
    }
}

#[tokio::test]
async fn a_stopped_pipeline_delivers_its_queue_first_when_it_is_to_drain() {
    let dir = tempfile::tempdir().unwrap();
    let lines = numbered(500);
    take_over(dir.path(), &lines, QueueSettings::default()).await;
    let queue = QueueSettings { drain: true, ..QueueSettings::default() };
    let mut around = around(dir.path(), queue);
    let (feed, _, _open) = feed("");
    around.feeds.push(feed);
    let running = start(to_file(dir.path()), around).unwrap();
    running.stop(DRAIN).await.unwrap();
    assert!(fs::read_to_string(dir.path().join("out")).unwrap() == lines);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    // A file stands where the directory of the queue is to be.
    let block = dir.path().join("data/queue").join(file_name("p"));
    fs::create_dir_all(block.parent().unwrap()).unwrap();
    let mut around = around(dir.path(), QueueSettings::default());
    let (feed, acked, open) = feed("one\n");
    let seen = Mutex::new(String::new());
    let mut running = {
        let around_feed = feed;
        around.feeds.push(around_feed);
        let running = start(to_file(dir.path()), around).unwrap();
        // Opened before there was anything: only now it is in the way.
        fs::write(&block, "").unwrap();
        running
    };
    drop(open);
    let done = || {
        if let crate::runtime::State::Struggling(why) = running.state() {
            *seen.lock().unwrap() = why;
        }
        !seen.lock().unwrap().is_empty() || acked.load(Ordering::SeqCst) > 0
    };
    until("it is told, or was quicker than this test", done).await;
    let why = seen.lock().unwrap().clone();
    assert!(why.is_empty() || why.contains("queue"), "{why}");
    fs::remove_file(&block).ok();
    running.finished().await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "one\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_gets_free_of_what_was_delivered_while_more_waits() {
    let dir = tempfile::tempdir().unwrap();
    let queue = dir.path().join("data/queue").join(file_name("p"));
    fs::create_dir_all(&queue).unwrap();
    // Each event has a segment of its own; that of the second one is on a disk without room.
    let settings = QueueSettings { page_bytes: 1, sync_events: 1, ..QueueSettings::default() };
    let (first, second) = (queue.join(format!("{:020}.seg", 1)), queue.join(format!("{:020}.seg", 2)));
    let mut around = around(dir.path(), settings);
    let (feed, acked, open) = feed("one\n");
    around.feeds.push(feed);
    let running = start(to_file(dir.path()), around).unwrap();
    // Only now: a queue that is opened counts on from what is there.
    std::os::unix::fs::symlink("/dev/full", &second).unwrap();
    until("the first one is delivered", || dir.path().join("out").exists()).await;
    open.send(Chunk { bytes: Bytes::from_static(b"two\n"), end: 8 }).await.unwrap();
    until("the first one is off the disk", || !first.exists()).await;
    assert_eq!(acked.load(Ordering::SeqCst), 4);
    let segments = fs::read_dir(&queue)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "seg"));
    assert!(segments.count() <= 2, "tries use up no segments");
    drop(open);
    let _given_up = running.stop(Duration::from_millis(20)).await;
}

proptest! {
    #[test]
    fn arbitrary_checkpoints_are_numbers_or_nothing(text in "\\PC{0,30}", number in any::<u64>()) {
        prop_assert_eq!(parse_checkpoint(&checkpoint_text(number)), Some(number));
        let _either = parse_checkpoint(&text);
    }
}
