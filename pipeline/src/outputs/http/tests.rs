//! The output against a server in this process that takes, refuses and fails as it is told.
use super::*;
use crate::runtime::{Surroundings, run_to_end};
use crate::{Plan, Scope, compile};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap as Headers, StatusCode};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a server has been sent, and what it answers, one after the other; 200 when there is no more.
#[derive(Default)]
struct Server {
    answers: Mutex<Vec<u16>>,
    taken: Mutex<Vec<(Headers, Vec<u8>)>>,
}

async fn take(State(server): State<Arc<Server>>, headers: Headers, body: Bytes) -> StatusCode {
    let answer = {
        let mut answers = server.answers.lock().unwrap();
        if answers.is_empty() { 200 } else { answers.remove(0) }
    };
    if answer == 200 {
        server.taken.lock().unwrap().push((headers, body.to_vec()));
    }
    StatusCode::from_u16(answer).unwrap()
}

/// Sends two messages with these options to a server that answers so; what it took, and the dead letters.
async fn sent(options: &str, answers: &[u16]) -> (Vec<(Headers, Vec<u8>)>, String) {
    // Another test of this process may have been first.
    let _again = rustls::crypto::ring::default_provider().install_default();
    let server = Arc::new(Server { answers: Mutex::new(answers.to_vec()), ..Server::default() });
    let router = Router::new().fallback(take).with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let data = tempfile::tempdir().unwrap();
    let around = Surroundings::new(data.path(), "host-1", "test");
    let limit = Duration::from_secs(20);
    run_to_end(plan(address, options), around, CancellationToken::new(), limit).await.unwrap();
    let letters = crate::dead_letters(data.path(), "test").map(|letter| letter.unwrap().to_json()).collect();
    (std::mem::take(&mut *server.taken.lock().unwrap()), letters)
}

fn plan(address: SocketAddr, options: &str) -> Plan {
    let text = format!(
        "input {{ generator {{ count => 1 lines => [\"one\", \"two\"] }} }}
         output {{ http {{ url => \"http://{address}/x\" http_method => post {options} }} }}"
    );
    compile(Scope::Run, &text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn bodies(taken: &[(Headers, Vec<u8>)]) -> Vec<String> {
    taken.iter().map(|(_, body)| String::from_utf8(body.clone()).unwrap()).collect()
}

#[tokio::test]
async fn events_are_sent_one_by_one_as_they_are_to_be_written() {
    let (taken, _) = sent("mapping => { \"m\" => \"%{message}\" \"n\" => [1, \"%{sequence}\"] }", &[]).await;
    assert_eq!(
        bodies(&taken),
        ["{\"m\":\"one\",\"n\":[\"1\",\"0\"]}", "{\"m\":\"two\",\"n\":[\"1\",\"0\"]}"]
    );
    assert_eq!(taken[0].0[CONTENT_TYPE], "application/json");
    let (taken, _) =
        sent("format => message message => \"<%{message}>\" headers => { \"X-M\" => \"%{message}\" }", &[])
            .await;
    assert_eq!(bodies(&taken), ["<one>", "<two>"]);
    assert_eq!(taken[1].0["x-m"], "two");
    let (taken, _) = sent("format => form mapping => { \"a b\" => \"%{message}&\" }", &[]).await;
    assert_eq!(bodies(&taken)[0], "a+b=one%26");
}

#[tokio::test]
async fn a_batch_is_an_array_and_may_be_compressed() {
    let options = "format => json_batch mapping => { \"m\" => \"%{message}\" } http_compression => true user => u password => p";
    let (taken, _) = sent(options, &[]).await;
    let mut text = String::new();
    flate2::read::GzDecoder::new(taken[0].1.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "[{\"m\":\"one\"},{\"m\":\"two\"}]");
    assert_eq!(taken[0].0[AUTHORIZATION], "Basic dTpw");
}

#[tokio::test]
async fn what_is_refused_for_now_is_sent_again_and_what_is_refused_for_good_is_a_dead_letter() {
    let (taken, letters) = sent("format => message message => \"%{message}\"", &[503, 200, 429, 400]).await;
    assert_eq!(bodies(&taken), ["one"]);
    assert!(letters.contains("the server answered 400") && letters.contains("two"), "{letters}");
    let (taken, letters) =
        sent("format => message message => \"%{message}\" ignorable_codes => [404]", &[404]).await;
    assert_eq!((bodies(&taken), letters.as_str()), (vec!["two".to_owned()], ""));
}

/// Answers after a while, so that several wait at once; refuses every seventh for good and every fifth at first.
async fn slow(State(seen): State<Arc<Mutex<BTreeMap<String, u32>>>>, body: String) -> StatusCode {
    crate::trial::passes(Duration::from_millis(5)).await;
    let mut seen = seen.lock().unwrap();
    let times = seen.entry(body.clone()).or_default();
    *times += 1;
    match body.parse::<u32>().unwrap() {
        n if n % 7 == 3 => StatusCode::BAD_REQUEST,
        n if n % 5 == 2 && *times == 1 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}

#[tokio::test]
async fn requests_for_several_events_are_under_way_at_once_and_each_is_answered_for_itself() {
    // Another test of this process may have been first.
    let _again = rustls::crypto::ring::default_provider().install_default();
    const COUNT: u32 = 300;
    let seen: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let router = Router::new().fallback(slow).with_state(seen.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let text = format!(
        "input {{ generator {{ count => {COUNT} }} }}
         output {{ http {{ url => 'http://{address}/' http_method => post format => message message => '%{{sequence}}' }} }}"
    );
    let plan = compile(Scope::Run, &text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"));
    let data = tempfile::tempdir().unwrap();
    let around = Surroundings::new(data.path(), "host-1", "test");
    let limit = Duration::from_secs(60);
    let counters = run_to_end(plan, around, CancellationToken::new(), limit).await.unwrap();
    let expected: BTreeMap<String, u32> =
        (0..COUNT).map(|n| (n.to_string(), if n % 7 != 3 && n % 5 == 2 { 2 } else { 1 })).collect();
    assert!(*seen.lock().unwrap() == expected, "each once, those refused for now twice");
    assert_eq!(counters.dead_letters, u64::from((0..COUNT).filter(|n| n % 7 == 3).count() as u32));
}
