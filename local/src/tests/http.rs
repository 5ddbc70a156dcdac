//! The HTTP edge against the recorded status codes and texts of `08-http-errors` and `15-update-validation`.

use super::client::{Events, framework_info, http, request, text};
use crate::{Chunking, Cluster, Mode, Settings};
use http::{Method, StatusCode};
use prost::Message;
use proto::mesos::v1::{self as mesos, scheduler};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixture(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/fixtures/mesos-1.12").join(scenario)
}

fn subscribe_call() -> Vec<u8> {
    scheduler::Call {
        r#type: Some(scheduler::call::Type::Subscribe.into()),
        subscribe: Some(scheduler::call::Subscribe {
            framework_info: framework_info(),
            ..Default::default()
        }),
        ..Default::default()
    }
    .encode_to_vec()
}

/// The headers with which the recorder sent a request, as far as they matter.
fn headers(name: &str) -> Vec<(&'static str, &'static str)> {
    let content_type = match name {
        _ if name.contains("content-type-missing") => None,
        _ if name.contains("content-type-text") => Some("text/plain"),
        _ if name.contains("content-type-with-parameter") => Some("application/x-protobuf; charset=utf-8"),
        _ => Some("application/x-protobuf"),
    };
    let accept = match name {
        _ if name.contains("accept-text") => Some("text/html"),
        _ if name.contains("without-accept") => None,
        _ if name.contains("accept-any") => Some("*/*"),
        _ if name.contains("accept-both") => Some("application/x-protobuf, application/json"),
        _ => Some("application/x-protobuf"),
    };
    content_type
        .map(|value| ("content-type", value))
        .into_iter()
        .chain(accept.map(|value| ("accept", value)))
        .collect()
}

#[tokio::test]
async fn malformed_requests_get_the_recorded_status_codes() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    for scenario in ["08-http-errors", "15-update-validation"] {
        let json: Value =
            serde_json::from_slice(&std::fs::read(fixture(scenario).join("events.json")).unwrap()).unwrap();
        for exchange in json["exchanges"].as_array().unwrap() {
            let name = exchange["exchange"].as_str().unwrap();
            let recorded = exchange["status"].as_u64().unwrap() as u16;
            let (method, path) = exchange["request"].as_str().unwrap().split_once(' ').unwrap();
            // Those that need a live framework or executor are played in `recorded`.
            let of_the_edge = [400, 405, 406, 415].contains(&recorded) && !name.contains("stream-id");
            if !of_the_edge || name.contains("framework-id-unknown") {
                continue;
            }
            let body =
                std::fs::read(fixture(scenario).join(format!("{name}.request.bin"))).unwrap_or_default();
            let agent = path.ends_with("executor");
            let address = if agent { cluster.agent(0).unwrap().address().unwrap() } else { cluster.master() };
            let method = if method == "GET" { Method::GET } else { Method::POST };
            let answer = request(&http(), (method, address, path), &headers(name), body).await;
            assert_eq!(answer.status().as_u16(), recorded, "{scenario}/{name}");
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_that_forgets_to_accept_protobuf_gets_json() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    for accept in [None, Some("*/*"), Some("application/x-protobuf, application/json")] {
        let mut headers = vec![("content-type", "application/x-protobuf")];
        headers.extend(accept.map(|accept| ("accept", accept)));
        let at = (Method::POST, cluster.master(), "/master/api/v1/scheduler");
        let answer = request(&http(), at, &headers, subscribe_call()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert!(answer.headers().contains_key("mesos-stream-id"));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_master_can_play_one_that_starts_recovers_or_does_not_lead() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let master = cluster.master_handle();
    let at = (Method::POST, cluster.master(), "/api/v1/scheduler");
    let headers = [("content-type", "application/x-protobuf"), ("accept", "application/x-protobuf")];
    let modes = [(Mode::Starting, 404), (Mode::Recovering, 503), (Mode::NoLeader, 503)];
    for (mode, status) in modes {
        master.set_mode(mode.clone());
        let (given, body) = text(request(&http(), at.clone(), &headers, subscribe_call()).await).await;
        assert_eq!(given.as_u16(), status, "{mode:?}: {body}");
    }
    master.set_mode(Mode::NotLeader("other.example:5050".into()));
    let answer = request(&http(), at.clone(), &headers, subscribe_call()).await;
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()["location"], "//other.example:5050/master/api/v1/scheduler");
    for (path, location) in [
        ("/redirect", Some("//other.example:5050")),
        ("/master/redirect", Some("//other.example:5050")),
        ("/master/state", Some("//other.example:5050/master/state")),
        ("/health", None),
        ("/version", None),
    ] {
        let answer = request(&http(), (Method::GET, cluster.master(), path), &[], vec![]).await;
        let given = answer.headers().get("location").map(|value| value.to_str().unwrap());
        assert_eq!(given, location, "{path}");
        assert_eq!(answer.status().as_u16(), if location.is_some() { 307 } else { 200 }, "{path}");
    }
    master.set_mode(Mode::Up);
    assert_eq!(request(&http(), at, &headers, subscribe_call()).await.status(), StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test]
async fn records_cut_anywhere_are_still_records_and_a_dropped_stream_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { chunking: Chunking::Bytes(1), ..Settings::new(dir.path(), 2) };
    let cluster = Cluster::start(settings).await.unwrap();
    let mut scheduler = super::client::Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer: mesos::Offer = scheduler.offer().await;
    assert_eq!(offer.url.unwrap().path(), "/slave(1)");
    cluster.master_handle().drop_schedulers().await.unwrap();
    let events: &mut Events<scheduler::Event> = &mut scheduler.events;
    while events.next().await.is_some() {}
    cluster.stop().await;
}

#[tokio::test]
async fn pages_for_people_are_json() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let scheduler = super::client::Scheduler::subscribe(cluster.master(), framework_info()).await;
    for path in ["/state", "/master/slaves", "/frameworks", "/tasks", "/version", "/metrics/snapshot"] {
        let (status, body) =
            text(request(&http(), (Method::GET, cluster.master(), path), &[], vec![]).await).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let json: Value = serde_json::from_str(&body).unwrap();
        if path == "/state" {
            assert_eq!(json["frameworks"][0]["id"], scheduler.framework_id.value);
        }
    }
    let agent = cluster.agent(0).unwrap().address().unwrap();
    for path in ["/state", "/version"] {
        let (status, _) = text(request(&http(), (Method::GET, agent, path), &[], vec![]).await).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    let (status, _) = text(request(&http(), (Method::GET, agent, "/health"), &[], vec![]).await).await;
    assert_eq!(status, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test]
async fn credentials_are_asked_for_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = vec![("logherd".into(), "secret-1".into()), ("other".into(), "secret-2".into())];
    let cluster = Cluster::start(Settings { credentials, ..Settings::new(dir.path(), 1) }).await.unwrap();
    let scenario = fixture("08-authentication");
    let cases = [
        ("01-subscribe-without-credentials", None, 401),
        ("02-subscribe-wrong-secret", Some("Basic bG9naGVyZDp3cm9uZw=="), 401),
        ("03-subscribe-other-principal", Some("Basic b3RoZXI6c2VjcmV0LTI="), 400),
        ("04-subscribe", Some("Basic bG9naGVyZDpzZWNyZXQtMQ=="), 200),
        ("07-unset-subscribe", Some("Basic b3RoZXI6c2VjcmV0LTI="), 200),
    ];
    let mut streams = Vec::new();
    for (name, authorization, status) in cases {
        let body = std::fs::read(scenario.join(format!("{name}.request.bin"))).unwrap();
        let mut headers = headers(name);
        headers.extend(authorization.map(|value| ("authorization", value)));
        let answer =
            request(&http(), (Method::POST, cluster.master(), "/api/v1/scheduler"), &headers, body).await;
        assert_eq!(answer.status().as_u16(), status, "{name}");
        if status == 401 {
            assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"mesos-master-scheduler\"");
        }
        streams.push(answer);
    }
    let (_, page) =
        text(request(&http(), (Method::GET, cluster.master(), "/frameworks"), &[], vec![]).await).await;
    let page: Value = serde_json::from_str(&page).unwrap();
    let principals: Vec<&str> =
        page["frameworks"].as_array().unwrap().iter().map(|one| one["principal"].as_str().unwrap()).collect();
    assert_eq!(principals, ["logherd", "other"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_scheduler_that_goes_away_is_noticed_and_refused_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let mut watcher = super::client::watch(cluster.master()).await;
    let mut scheduler = super::client::Scheduler::subscribe(cluster.master(), framework_info()).await;
    scheduler.offer().await;
    scheduler.hang_up();
    let disconnected = watcher.find(|event| {
        event.framework_updated.map(|updated| updated.framework).filter(|framework| !framework.connected)
    });
    assert_eq!(disconnected.await.framework_info.id.as_ref(), Some(&scheduler.framework_id));
    let status = scheduler.call(scheduler::call::Type::Revive, scheduler::Call::default()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    cluster.stop().await;
}

#[tokio::test]
async fn unknown_events_can_be_put_into_streams_and_answers_can_be_late() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let mut scheduler = super::client::Scheduler::subscribe(cluster.master(), framework_info()).await;
    let unknown = [0x08, 0x63];
    cluster.master_handle().inject(unknown.to_vec()).await.unwrap();
    scheduler.events.find(|event: scheduler::Event| (event.r#type == Some(99)).then_some(())).await;
    cluster.master_handle().set_mode(Mode::Slow(std::time::Duration::from_millis(20)));
    let begun = std::time::Instant::now();
    assert_eq!(
        scheduler.call(scheduler::call::Type::Revive, scheduler::Call::default()).await,
        StatusCode::ACCEPTED
    );
    assert!(begun.elapsed() >= std::time::Duration::from_millis(20));
    cluster.stop().await;
}

#[tokio::test]
async fn pages_in_browsers_are_refused_whatever_site_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let json = ("content-type", "application/json");
    let call = br#"{"type":"GET_HEALTH"}"#;
    for (more, status) in [
        (None, StatusCode::OK),
        (Some(("origin", "http://rebound.example:29276")), StatusCode::FORBIDDEN),
        (Some(("sec-fetch-site", "same-origin")), StatusCode::FORBIDDEN),
    ] {
        let headers: Vec<_> = [json].into_iter().chain(more).collect();
        for address in [cluster.master(), cluster.agent(0).unwrap().address().unwrap()] {
            let answer = request(&http(), (Method::POST, address, "/api/v1"), &headers, call.to_vec()).await;
            assert_eq!(answer.status(), status, "{more:?}");
        }
    }
    cluster.stop().await;
}

#[tokio::test]
async fn maintenance_can_be_ordered_and_seen_through_its_older_pages() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let master = cluster.master();
    let machines = r#"[{"hostname":"node-1","ip":"127.0.0.1"}]"#;
    let schedule = format!(
        r#"{{"windows":[{{"machine_ids":{machines},"unavailability":{{"start":{{"nanoseconds":1800000000000000000}}}}}}]}}"#
    );
    let posts = [
        ("/machine/down", machines, 400),
        ("/maintenance/schedule", schedule.as_str(), 200),
        ("/maintenance/schedule", "{", 400),
        ("/machine/down", machines, 200),
        ("/machine/up", machines, 200),
    ];
    let pages = |status: &'static str| async move {
        let at = (Method::GET, master, "/master/maintenance/status");
        let (given, page) = text(request(&http(), at, &[], vec![]).await).await;
        assert_eq!(given, StatusCode::OK);
        assert!(page.contains(status), "{page}");
    };
    for (path, body, status) in posts {
        let answer = request(&http(), (Method::POST, master, path), &[], body.as_bytes().to_vec()).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {body}");
        match (path, status) {
            ("/maintenance/schedule", 200) => pages("draining_machines").await,
            ("/machine/down", 200) => pages("down_machines").await,
            _ => {}
        }
    }
    let (status, page) =
        text(request(&http(), (Method::GET, master, "/maintenance/schedule"), &[], vec![]).await).await;
    assert_eq!((status, page.as_str()), (StatusCode::OK, "{}"));
    cluster.stop().await;
}
