//! The output against a server in this process that takes, refuses and fails as it is told.
use super::*;
use crate::runtime::{State as PipelineState, Surroundings, run_to_end, start};
use crate::{Plan, Scope, compile};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DRAIN: Duration = Duration::from_secs(20);

type Document = (Json, Json);
type Rule = Box<dyn Fn(usize, &[Document]) -> (u16, Json) + Send + Sync>;

/// What the server has been sent, and how it answers.
struct Server {
    /// Requests so far.
    requests: Mutex<usize>,
    taken: Mutex<Vec<Document>>,
    headers: Mutex<Option<HeaderMap>>,
    /// Requests that were not bulk requests.
    others: Mutex<Vec<String>>,
    /// The servers that it says the cluster has.
    nodes: Mutex<Vec<SocketAddr>>,
    rule: Rule,
}

impl Server {
    fn messages(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|(_, doc)| doc["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// Starts a server; `rule` answers with a status for the whole, or with `items`, statuses for each.
async fn serve(
    rule: impl Fn(usize, &[Document]) -> (u16, Json) + Send + Sync + 'static,
) -> (Arc<Server>, SocketAddr, JoinSet<()>) {
    let server = Arc::new(Server {
        requests: Mutex::default(),
        taken: Mutex::default(),
        headers: Mutex::default(),
        others: Mutex::default(),
        nodes: Mutex::default(),
        rule: Box::new(rule),
    });
    let router = Router::new().route("/_bulk", post(bulk)).fallback(other).with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (server, address, tasks)
}

/// Everything but bulk requests: a server of version 8 that has no templates yet and takes all there are.
async fn other(State(server): State<Arc<Server>>, request: axum::extract::Request) -> (StatusCode, String) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let asked = format!("{} {} {}", parts.method, parts.uri, String::from_utf8(body.to_vec()).unwrap());
    server.others.lock().unwrap().push(asked);
    match parts.method.as_str() {
        "HEAD" => (StatusCode::NOT_FOUND, String::new()),
        _ if parts.uri.path().ends_with("_nodes/http") => {
            let node = |at: &SocketAddr| (at.to_string(), json!({ "http": { "publish_address": at } }));
            let nodes: serde_json::Map<_, _> = server.nodes.lock().unwrap().iter().map(node).collect();
            (StatusCode::OK, json!({ "nodes": nodes }).to_string())
        }
        _ => (StatusCode::OK, json!({ "version": { "number": "8.15.0" } }).to_string()),
    }
}

async fn bulk(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let body = match headers.get("content-encoding") {
        Some(_) => {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*body), &mut text).unwrap();
            Bytes::from(text)
        }
        None => body,
    };
    let lines: Vec<Json> = body
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let documents: Vec<Document> = lines.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    *server.headers.lock().unwrap() = Some(headers);
    let nth = {
        let mut requests = server.requests.lock().unwrap();
        *requests += 1;
        *requests - 1
    };
    let (status, answer) = (server.rule)(nth, &documents);
    if status != 200 {
        return (StatusCode::from_u16(status).unwrap(), answer.to_string());
    }
    let statuses: Vec<u64> = match answer.as_array() {
        Some(each) => each.iter().map(|s| s.as_u64().unwrap()).collect(),
        None => vec![201; documents.len()],
    };
    let errors = statuses.iter().any(|s| *s >= 300);
    let items: Vec<Json> = documents
        .into_iter()
        .zip(statuses)
        .map(|(document, status)| {
            if status < 300 {
                server.taken.lock().unwrap().push(document);
                json!({ "index": { "status": status } })
            } else {
                json!({ "index": { "status": status, "error": { "type": "because", "reason": "told so" } } })
            }
        })
        .collect();
    (StatusCode::OK, json!({ "errors": errors, "items": items }).to_string())
}

fn plan(hosts: &str, options: &str, count: usize) -> Plan {
    static TLS: LazyLock<()> = LazyLock::new(|| {
        // Another test of this process may have been first.
        let _again = rustls::crypto::ring::default_provider().install_default();
    });
    LazyLock::force(&TLS);
    let messages: Vec<String> = (0..count).map(|i| format!("'m{i}'")).collect();
    let text = format!(
        "input {{ generator {{ count => 1 lines => [{}] }} }}
         output {{ elasticsearch {{ hosts => [{hosts}] {options} }} }}",
        messages.join(", ")
    );
    match compile(Scope::Run, &text, &|_| None) {
        Ok(plan) => plan,
        Err(problems) => panic!("{}", problems.iter().map(|p| p.render("test", &text)).collect::<String>()),
    }
}

fn around(dir: &Path) -> Surroundings {
    Surroundings::new(dir, "host-1", "test")
}

fn all(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("m{i}")).collect()
}

#[tokio::test]
async fn every_event_becomes_a_document_once() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address, _tasks) = serve(|_, _| (200, Json::Null)).await;
    let plan =
        plan(&format!("'{address}'"), "index => 'logs-%{message}' user => 'me' password => 's3cret'", 2500);
    let counters = run_to_end(plan, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!(server.messages(), all(2500));
    assert_eq!(server.taken.lock().unwrap()[7].0, json!({ "index": { "_index": "logs-m7" } }));
    let headers = server.headers.lock().unwrap().take().unwrap();
    assert_eq!(headers["content-type"], "application/x-ndjson");
    assert_eq!(headers["authorization"], "Basic bWU6czNjcmV0");
    assert_eq!((counters.events_out, counters.retries), (2500, 0));
}

#[tokio::test]
async fn documents_refused_for_now_are_sent_again_and_those_refused_for_good_are_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let tries: Mutex<HashMap<String, u32>> = Mutex::default();
    let (server, address, _tasks) = serve(move |_, documents| {
        let mut tries = tries.lock().unwrap();
        let statuses = documents.iter().map(|(_, doc)| {
            let message = doc["message"].as_str().unwrap();
            let tries = tries.entry(message.to_owned()).or_insert(0);
            *tries += 1;
            match message.strip_prefix('m').unwrap().parse::<u32>().unwrap() {
                n if n % 10 == 3 => 400,
                n if n % 10 == 5 && *tries == 1 => 429,
                n if n % 10 == 6 && *tries < 3 => 503,
                _ => 201,
            }
        });
        (200, statuses.collect())
    })
    .await;
    let plan = plan(&format!("'{address}'"), "", 100);
    let counters = run_to_end(plan, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    let mut taken = server.messages();
    taken.sort();
    let mut expected: Vec<String> = all(100).into_iter().filter(|m| !m.ends_with('3')).collect();
    expected.sort();
    assert_eq!(taken, expected, "each once");
    assert_eq!((counters.events_out, counters.dead_letters, counters.retries), (100, 10, 2));
    let letters: Vec<_> = crate::dead_letters(dir.path(), "test").map(Result::unwrap).collect();
    assert_eq!(letters.len(), 10);
    assert_eq!(letters[0].reason, "because: told so (400)");
    assert_eq!(letters[9].event.fields().get("message"), Some(&"m93".into()));
}

#[tokio::test]
async fn a_request_that_is_too_large_is_sent_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address, _tasks) = serve(|_, documents| match documents {
        some if some.iter().any(|(_, doc)| doc["message"] == "m7") => (413, Json::Null),
        few if few.len() <= 3 => (200, Json::Null),
        _ => (413, Json::Null),
    })
    .await;
    let plan = plan(&format!("'{address}'"), "", 20);
    let counters = run_to_end(plan, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    let expected: Vec<String> = all(20).into_iter().filter(|m| m != "m7").collect();
    assert_eq!(server.messages(), expected);
    assert_eq!(counters.dead_letters, 1);
}

#[tokio::test]
async fn the_next_host_is_asked_when_one_refuses_connections() {
    let dir = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let (server, address, _tasks) = serve(|_, _| (200, Json::Null)).await;
    let plan = plan(&format!("'{nobody}', 'http://{address}'"), "", 10);
    let counters = run_to_end(plan, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!(server.messages(), all(10));
    assert_eq!(counters.retries, 0);
}

#[tokio::test]
async fn servers_that_the_cluster_names_get_the_events_and_those_given_do_when_none_of_them_answers() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (given, address, _tasks) = serve(|_, _| (200, Json::Null)).await;
    let (found, found_address, _found_tasks) = serve(|_, _| (200, Json::Null)).await;
    given.nodes.lock().unwrap().push(found_address);
    let options = "sniffing => true manage_template => false";
    let events = plan(&format!("'{address}'"), options, 10);
    run_to_end(events, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!((given.messages().len(), found.messages()), (0, all(10)));

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    *given.nodes.lock().unwrap() = vec![closed.local_addr().unwrap()];
    drop(closed);
    let events = plan(&format!("'{address}'"), options, 10);
    run_to_end(events, around(other_dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!(given.messages(), all(10));
}

#[tokio::test]
async fn a_server_that_is_busy_denies_or_answers_nonsense_loses_nothing_and_the_state_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Mutex::new(401_u16));
    let rule = gate.clone();
    let (server, address, _tasks) = serve(move |_, _| match *rule.lock().unwrap() {
        200 => (200, Json::Null),
        201 => (201, json!("no bulk answer")),
        status => (status, json!({ "error": { "type": "denied", "reason": "not you" } })),
    })
    .await;
    let plan = plan(&format!("'http://me:s3cret@{address}'"), "", 10);
    let mut running = start(plan, around(dir.path())).unwrap();
    let mut state = running.watch();
    for (status, reason) in
        [(401, "access was denied"), (503, "(503)"), (404, "(404)"), (201, "not that of a bulk")]
    {
        *gate.lock().unwrap() = status;
        let says = |state: &PipelineState| format!("{state:?}").contains(reason);
        let waited = tokio::time::timeout(DRAIN, state.wait_for(says)).await;
        let shown = format!("{:?}", waited.unwrap().unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    assert_eq!(server.messages(), [""; 0]);
    *gate.lock().unwrap() = 200;
    running.finished().await.unwrap();
    assert_eq!(server.messages(), all(10));
}

#[tokio::test]
async fn nobody_listening_is_a_state_and_the_events_wait() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let running = start(plan(&format!("'{address}'"), "", 10), around(dir.path())).unwrap();
    let mut state = running.watch();
    let refused = |state: &PipelineState| format!("{state:?}").contains("refused");
    assert!(tokio::time::timeout(DRAIN, state.wait_for(refused)).await.unwrap().is_ok());
    assert_eq!(running.counters().events_out, 0);
    assert!(running.stop(Duration::ZERO).await.is_err());
}

#[tokio::test]
async fn a_template_is_installed_before_the_first_events_and_requests_may_be_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address, _tasks) = serve(|_, _| (200, Json::Null)).await;
    let options = "index => 'a' compression_level => 1 parameters => { 'x' => 'y' }";
    let plan = plan(&format!("'{address}'"), options, 10);
    run_to_end(plan, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!(server.messages(), all(10));
    let others = server.others.lock().unwrap();
    let asked: Vec<&str> = others.iter().map(|asked| asked.split('{').next().unwrap()).collect();
    assert_eq!(
        asked,
        ["GET /?x=y ", "HEAD /_index_template/logstash?x=y ", "PUT /_index_template/logstash?x=y "]
    );
    assert!(others[2].contains("\"index_patterns\":[\"logstash-*\"]"), "{}", others[2]);
}

#[tokio::test]
async fn with_a_rollover_alias_events_go_to_it_and_policy_template_and_first_index_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address, _tasks) = serve(|_, _| (200, Json::Null)).await;
    let plan = plan(&format!("'{address}'"), "ilm_rollover_alias => 'web' template_api => legacy", 2);
    run_to_end(plan, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert!(server.taken.lock().unwrap().iter().all(|(action, _)| action["index"]["_index"] == "web"));
    let others = server.others.lock().unwrap();
    let asked: Vec<&str> = others.iter().map(|asked| asked.split('{').next().unwrap().trim()).collect();
    assert_eq!(
        asked,
        [
            "HEAD /_template/web",
            "PUT /_template/web",
            "GET /_ilm/policy/logstash%2Dpolicy",
            "HEAD /web",
            "PUT /%3Cweb%2D%7Bnow%2Fd%7D%2D000001%3E"
        ]
    );
    assert!(others[1].contains("\"index.lifecycle.rollover_alias\":\"web\""), "{}", others[1]);
}

#[tokio::test]
async fn events_go_to_a_data_stream_and_those_without_an_index_become_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address, _tasks) = serve(|_, _| (200, Json::Null)).await;
    let stream = plan(&format!("'{address}'"), "data_stream => true data_stream_dataset => 'web'", 2);
    run_to_end(stream, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    let taken = std::mem::take(&mut *server.taken.lock().unwrap());
    assert!(taken.iter().all(|(action, document)| {
        action["create"]["_index"] == "logs-web-default" && document["data_stream"]["dataset"] == "web"
    }));
    assert_eq!((taken.len(), server.others.lock().unwrap().len()), (2, 0));
    let unfilled = plan(&format!("'{address}'"), "index => 'a-%{none}' manage_template => false", 2);
    let counters = run_to_end(unfilled, around(dir.path()), CancellationToken::new(), DRAIN).await.unwrap();
    assert_eq!((counters.dead_letters, server.taken.lock().unwrap().len()), (2, 0));
}

#[test]
fn options_that_exclude_each_other_are_told() {
    let told = |options: &str| -> Vec<String> {
        let text = format!("input {{ stdin {{ }} }} output {{ elasticsearch {{ {options} }} }}");
        match compile(Scope::Run, &text, &|_| None) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.message).collect(),
        }
    };
    for (options, expected) in [
        (
            "data_stream => true index => 'a' action => index",
            &["`index` does not go with a data stream", "`action` does not go with a data stream"][..],
        ),
        ("data_stream_type => metrics", &["`data_stream_type` without a data stream"]),
        ("data_stream_type => metrics ecs_compatibility => v8", &[]),
        (
            "data_stream => true data_stream_dataset => 'a b'",
            &["this cannot be part of a data stream's name"],
        ),
        ("action => 'put'", &["there is no such action"]),
        ("action => '%{do}' compression_level => 10", &["the `compression_level` is too high"]),
        ("dlq_custom_codes => [403, 404]", &["what 404 means is fixed"]),
        ("api_key => 'a:b' cloud_auth => 'a:b'", &["both `api_key` and `cloud_auth` are given"]),
        ("cloud_id => 'nothing'", &["the `cloud_id` cannot be read: it is not `name:` and Base64"]),
        ("ssl_certificate => '/c'", &["the `ssl_certificate` has no `ssl_key`"]),
    ] {
        assert_eq!(told(options), expected, "{options}");
    }
}
