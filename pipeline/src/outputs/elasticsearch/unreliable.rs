//! Whole pipelines against a server that fails in every way it can: nothing is lost, nothing is acknowledged too early.
use crate::runtime::{Chunk, Feed, Surroundings, run_to_end};
use crate::{Scope, compile};
use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answers,
    /// It takes some documents, and says of the others: later.
    TakesSome,
    /// The request as a whole is answered so.
    Says(u16),
    /// The answer is none of Elasticsearch.
    Babbles,
    Cuts,
    /// It takes the documents, and nobody gets to know.
    TakesAndCuts,
    /// It does not answer in time.
    Hangs,
    TakesAndHangs,
    /// It finds more than a few documents too many.
    IsSmall,
}

const MOODS: [Mood; 12] = [
    Mood::Answers,
    Mood::TakesSome,
    Mood::Says(429),
    Mood::Says(503),
    Mood::Says(500),
    Mood::Says(401),
    Mood::Babbles,
    Mood::Cuts,
    Mood::TakesAndCuts,
    Mood::Hangs,
    Mood::TakesAndHangs,
    Mood::IsSmall,
];

struct Server {
    moods: Vec<Mood>,
    /// How long it thinks at most, in milliseconds.
    pause_max: u64,
    chance: Mutex<StdRng>,
    /// The documents by their ids, and how often each was created.
    taken: Mutex<BTreeMap<u64, u32>>,
    under_way: Mutex<(usize, usize)>,
}

/// A document that is refused for good.
fn is_refused(number: u64) -> bool {
    number % 7 == 3
}

impl Server {
    fn chance<T>(&self, of: impl FnOnce(&mut StdRng) -> T) -> T {
        of(&mut self.chance.lock().unwrap())
    }

    /// What becomes of each document when `takes` says whether it is looked at now.
    fn judge(&self, numbers: &[u64], mut takes: impl FnMut() -> bool) -> Json {
        let mut taken = self.taken.lock().unwrap();
        let error = json!({ "type": "because", "reason": "told so" });
        let mut judge = |number: u64| match takes() {
            false => json!({ "create": { "status": 429, "error": error } }),
            true if is_refused(number) => json!({ "create": { "status": 400, "error": error } }),
            true if taken.contains_key(&number) => json!({ "create": { "status": 409, "error": error } }),
            true => {
                *taken.entry(number).or_default() += 1;
                json!({ "create": { "status": 201 } })
            }
        };
        let items: Vec<Json> = numbers.iter().map(|number| judge(*number)).collect();
        json!({ "errors": true, "items": items })
    }

    /// The answer to a request, or none, and whether the connection stays.
    async fn answer(&self, numbers: &[u64]) -> Option<(u16, String)> {
        let mood = self.chance(|chance| self.moods[chance.random_range(0..self.moods.len())]);
        let pause = self.chance(|chance| chance.random_range(0..=self.pause_max));
        crate::trial::passes(Duration::from_millis(pause)).await;
        match mood {
            Mood::Answers => Some((200, self.judge(numbers, || true).to_string())),
            Mood::TakesSome => {
                let takes = || self.chance(|chance| chance.random_bool(0.7));
                Some((200, self.judge(numbers, takes).to_string()))
            }
            Mood::Says(status) => Some((status, json!({ "error": "not now" }).to_string())),
            Mood::Babbles => Some((200, "<html>".to_owned())),
            Mood::Cuts => None,
            Mood::TakesAndCuts => {
                self.judge(numbers, || true);
                None
            }
            Mood::Hangs | Mood::TakesAndHangs => {
                if mood == Mood::TakesAndHangs {
                    self.judge(numbers, || true);
                }
                crate::trial::passes(Duration::from_secs(60)).await;
                None
            }
            Mood::IsSmall if numbers.len() > 5 => Some((413, String::new())),
            Mood::IsSmall => Some((200, self.judge(numbers, || true).to_string())),
        }
    }

    async fn speak(self: Arc<Self>, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while let Some(body) = request(&mut stream, &mut bytes).await {
            let lines: Vec<Json> =
                body.lines().skip(1).step_by(2).map(|line| serde_json::from_str(line).unwrap()).collect();
            let number = |document: &Json| document["message"].as_str().unwrap().parse().unwrap();
            let numbers: Vec<u64> = lines.iter().map(number).collect();
            self.count(1);
            let answer = self.answer(&numbers).await;
            self.count(-1);
            let Some((status, text)) = answer else { return };
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", text.len());
            if stream.write_all([head, text].concat().as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn count(&self, by: isize) {
        let mut under_way = self.under_way.lock().unwrap();
        under_way.0 = under_way.0.saturating_add_signed(by);
        under_way.1 = under_way.1.max(under_way.0);
    }
}

/// The body of the next request.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                let body = body.get(..length)?.to_owned();
                bytes.drain(..head.len() + 4 + length);
                return Some(body);
            }
        }
        if !matches!(stream.read_buf(bytes).await, Ok(1..)) {
            return None;
        }
    }
}

async fn serve(server: Arc<Server>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        tasks.spawn(server.clone().speak(stream));
    }
}

/// The numbers of the dead letters that there are.
fn dead(dir: &Path) -> Vec<u64> {
    let number = |letter: crate::DeadLetter| letter.event.fields().get("message").unwrap().to_text().parse();
    crate::dead_letters(dir, "test").map(|letter| number(letter.unwrap()).unwrap()).collect()
}

/// Sends numbers, three in a chunk; looks at each acknowledgement whether it may be.
async fn play(server: &Arc<Server>, dir: &Path, chunks: u64, options: &str) {
    // Another test of this process may have been first.
    let _again = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(server.clone(), listener));
    let text = format!(
        "input {{ file {{ docker-path => '/a' }} }}
         output {{ elasticsearch {{ hosts => ['{address}'] manage_template => false action => create {options}
           retry_initial_interval => 0.001 retry_max_interval => 0.004 timeout => 0.05 }} }}"
    );
    let plan = compile(Scope::Docker, &text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"));
    let (sender, receiver) = mpsc::channel(4);
    let mut ends = Vec::new();
    let mut end = 0;
    let chunks: Vec<Chunk> = (0..chunks)
        .map(|nth| {
            let text: String = (nth * 3..nth * 3 + 3).map(|number| format!("{number}\n")).collect();
            end += text.len() as u64;
            ends.push(end);
            Chunk { bytes: Bytes::from(text), end }
        })
        .collect();
    let (watched, data) = (server.clone(), dir.to_owned());
    let acked = Arc::new(move |position| {
        let through = ends.iter().filter(|end| **end <= position).count() as u64 * 3;
        let dead: BTreeSet<u64> = dead(&data).into_iter().collect();
        let taken = watched.taken.lock().unwrap();
        for number in 0..through {
            let is_there =
                if is_refused(number) { dead.contains(&number) } else { taken.contains_key(&number) };
            assert!(is_there, "{number} was acknowledged, but is nowhere");
        }
    });
    let mut around = Surroundings::new(dir, "h", "test");
    around.feeds.push(Feed { input: 0, path: "/a".into(), chunks: receiver, acked });
    tasks.spawn(async move {
        for chunk in chunks {
            sender.send(chunk).await.unwrap();
        }
    });
    let patience = Duration::from_secs(60);
    let ended = run_to_end(plan, around, CancellationToken::new(), patience);
    tokio::time::timeout(patience, ended).await.expect("it ends").unwrap();
}

fn server(moods: Vec<Mood>, seed: u64, pause_max: u64) -> Arc<Server> {
    Arc::new(Server {
        moods,
        pause_max,
        chance: Mutex::new(StdRng::seed_from_u64(seed)),
        taken: Mutex::default(),
        under_way: Mutex::default(),
    })
}

fn check(server: &Server, dir: &Path, chunks: u64) -> Result<(), TestCaseError> {
    let taken = server.taken.lock().unwrap();
    let expected: Vec<u64> = (0..chunks * 3).filter(|number| !is_refused(*number)).collect();
    prop_assert_eq!(taken.keys().copied().collect::<Vec<_>>(), expected);
    let mut dead = dead(dir);
    dead.sort_unstable();
    let expected: Vec<u64> = (0..chunks * 3).filter(|number| is_refused(*number)).collect();
    prop_assert_eq!(dead, expected, "each refused one is a dead letter once");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_a_server_does_each_event_is_a_document_or_a_dead_letter_before_it_is_acknowledged(
        moods in proptest::sample::subsequence(MOODS.to_vec(), 0..=8),
        chunks in 1_u64..60,
        seed in any::<u64>(),
        own_ids in any::<bool>(),
    ) {
        // One that takes something at last is always there.
        let moods = moods.into_iter().chain([Mood::Answers]).collect();
        let server = server(moods, seed, 3);
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = if own_ids { "document_id => '%{message}'" } else { "" };
        runtime.block_on(play(&server, dir.path(), chunks, options));
        check(&server, dir.path(), chunks)?;
    }
}

#[tokio::test]
async fn requests_are_under_way_together_while_more_waits_than_one_takes() {
    let server = server(vec![Mood::Answers], 1, 40);
    let dir = tempfile::tempdir().unwrap();
    play(&server, dir.path(), 300, "document_id => '%{message}'").await;
    check(&server, dir.path(), 300).unwrap();
    assert!(server.under_way.lock().unwrap().1 > 1);
}
