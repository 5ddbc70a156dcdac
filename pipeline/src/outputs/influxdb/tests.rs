//! The output against a server in this process that answers as InfluxDB does; the real one is in the stories.
use super::*;
use crate::runtime::{Surroundings, run_to_end};
use crate::{Plan, Scope, compile};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Taken = Arc<Mutex<Vec<(String, String)>>>;

/// Takes points unless one of them says `bad`.
async fn take(State(taken): State<Taken>, uri: Uri, body: String) -> (StatusCode, String) {
    if body.contains("bad") {
        return (StatusCode::BAD_REQUEST, "{\"error\":\"unable to parse\"}".to_owned());
    }
    taken.lock().unwrap().push((uri.to_string(), body));
    (StatusCode::NO_CONTENT, String::new())
}

async fn serve() -> (Taken, SocketAddr, JoinSet<()>) {
    // Another test of this process may have been first.
    let _again = rustls::crypto::ring::default_provider().install_default();
    let taken = Taken::default();
    let router = Router::new().fallback(take).with_state(taken.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (taken, address, tasks)
}

fn plan(address: SocketAddr, filters: &str, options: &str) -> Plan {
    let text = format!(
        "input {{ generator {{ count => 1 lines => ['a=1 b', 'bad', 'c'] }} }}
         filter {{ date {{ match => ['stamp', 'UNIX'] }} {filters} }}
         output {{ influxdb {{ host => '{}' port => {} {options} }} }}",
        address.ip(),
        address.port()
    );
    compile(Scope::Run, &text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

async fn run(plan: Plan) -> (crate::Counters, Vec<crate::DeadLetter>) {
    let dir = tempfile::tempdir().unwrap();
    let around = Surroundings::new(dir.path(), "h", "test");
    let limit = Duration::from_secs(20);
    let counters = run_to_end(plan, around, CancellationToken::new(), limit).await.unwrap();
    (counters, crate::dead_letters(dir.path(), "test").map(Result::unwrap).collect())
}

#[tokio::test]
async fn points_are_written_together_and_what_is_refused_is_found_and_becomes_a_dead_letter() {
    let (taken, address, _tasks) = serve().await;
    let options = "db => 'd b' measurement => 'm,1' send_as_tags => ['t x'] time_precision => s allow_time_override => true
        data_points => { 'text' => '%{message}' 'n' => '%{sequence}7' 'f' => '2.5x' 't x' => 'a=1' 'time' => '12' 'empty' => '' }
        coerce_values => { 'n' => integer 'f' => float }";
    let (counters, letters) = run(plan(address, "", options)).await;
    let taken: Vec<(String, String)> = taken.lock().unwrap().clone();
    let lines: Vec<&str> = taken.iter().flat_map(|(_, body)| body.lines()).collect();
    let point = |text: &str| format!("m\\,1,t\\ x=a\\=1 f=2.5,text=\"{text}\",n=7i 12");
    assert_eq!(lines, [point("a=1 b"), point("c")]);
    assert_eq!(taken[0].0, "/write?db=d+b&rp=autogen&precision=s");
    assert_eq!((counters.dead_letters, letters[0].reason.as_str()), (1, "unable to parse (400)"));
}

#[tokio::test]
async fn the_fields_of_events_can_be_their_values_and_events_without_any_are_dead_letters() {
    let (taken, address, _tasks) = serve().await;
    let filters =
        "mutate { add_field => { 'x' => '\"q\" \\ z' } add_tag => ['t1'] remove_field => ['@timestamp'] }
        if [message] == 'c' { mutate { remove_field => ['x', 'sequence'] } }";
    let (counters, letters) = run(plan(address, filters, "use_event_fields_for_data_points => true")).await;
    let body: String = taken.lock().unwrap().iter().map(|(_, body)| body.as_str()).collect();
    let first = body.lines().next().unwrap();
    assert!(first.starts_with("logstash,t1=true,host=h x=\"\\\"q\\\" \\\\ z\" "), "{first}");
    assert_eq!(
        (counters.dead_letters, letters[0].reason.as_str()),
        (1, "the event has no values for a point")
    );
}

#[test]
fn texts_become_numbers_as_far_as_they_are_some() {
    let int = |text: &str| coerced(&text.into(), ValueType::Integer);
    assert_eq!([int("12abc"), int("-3.9"), int("x")], [12, -3, 0].map(Value::Int));
    let float = |text: &str| coerced(&text.into(), ValueType::Float);
    assert_eq!([float("1e3"), float("2.5x"), float("")], [1000.0, 2.5, 0.0].map(Value::Float));
    assert_eq!(escaped("a b\n\\", &[' ']), "a\\ b \\ ");
}
