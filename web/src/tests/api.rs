//! The REST API, request by request.
use super::*;
use futures_util::StreamExt as _;
use proptest::prelude::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_config_is_created_read_changed_and_deleted() {
    let world = World::new();
    assert_eq!(world.get("/configs").await.json(), json!([]));
    let created = world.with(Method::POST, "/configs", json!({"name": "web/nginx:1.27", "input": "a"})).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header(header::LOCATION), "/configs/web%2Fnginx%3A1.27");
    assert_eq!(created.header(header::ETAG), "\"1\"");
    assert_eq!(created.json(), json!({"name": "web/nginx:1.27", "input": "a"}));
    assert_eq!(world.get("/configs").await.json(), json!([{"name": "web/nginx:1.27", "input": "a"}]));
    assert_eq!(world.get("/host-configs").await.json(), json!([]));

    for path in [
        "/configs/web%2Fnginx%3A1.27",
        "/configs/web/nginx:1.27",
        "/configs?name=web%2Fnginx:1.27",
        "/configs?name=web/nginx:1.27",
        "/api/configs/web%2Fnginx:1.27",
        "/api/configs?name=web/nginx:1.27",
        "/api/v1/configs/web/nginx:1.27",
    ] {
        let read = world.get(path).await;
        assert_eq!((read.status.as_u16(), read.json()["input"].as_str()), (200, Some("a")), "{path}");
        assert_eq!(read.header(header::ETAG), "\"1\"");
    }
    let changed = world.with(Method::PUT, "/configs/web%2Fnginx:1.27", json!({"input": "b"})).await;
    assert_eq!((changed.status.as_u16(), changed.header(header::ETAG)), (200, "\"2\""));
    let same = world.with(Method::PUT, "/api/configs?name=web/nginx:1.27", json!({"input": "b"})).await;
    assert_eq!((same.status.as_u16(), same.header(header::ETAG)), (200, "\"2\""));
    let new = world.with(Method::PUT, "/api/host-configs/out", json!({"name": "out", "input": "c"})).await;
    assert_eq!((new.status.as_u16(), new.header(header::LOCATION)), (201, "/api/host-configs/out"));
    assert_eq!(world.get("/api/host-configs").await.json()[0]["name"], "out");

    let deleted = world.with(Method::DELETE, "/configs/web/nginx:1.27", Value::Null).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    world.get("/configs/web/nginx:1.27").await.problem(404);
    world.with(Method::DELETE, "/configs/web/nginx:1.27", Value::Null).await.problem(404);
}

#[tokio::test]
async fn every_error_is_a_problem_that_says_what_is_wrong() {
    let world = World::new();
    world.with(Method::PUT, "/configs/a", json!({"input": "a"})).await;
    let raw = |method: Method, path: &str, media: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        world.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    let json_media = "application/json";
    assert!(raw(Method::PUT, "/configs/a", json_media, "{").await.problem(400).contains("EOF"));
    assert!(raw(Method::PUT, "/configs/a", json_media, "{}").await.problem(400).contains("input"));
    assert!(
        raw(Method::POST, "/configs", json_media, "{\"input\":\"\"}").await.problem(400).contains("`name`")
    );
    raw(Method::PUT, "/configs", json_media, "{\"input\":\"\"}").await.problem(400);
    raw(Method::PUT, "/configs/a", json_media, "{\"name\":\"b\",\"input\":\"\"}").await.problem(400);
    raw(Method::DELETE, "/configs", json_media, "").await.problem(400);
    world.get("/configs/%ff").await.problem(400);
    world.get("/configs/50%off").await.problem(400);
    assert!(world.get("/nothing/here").await.problem(404).contains("/nothing/here"));
    world.get("/configs/b").await.problem(404);
    let refused = world.with(Method::PATCH, "/configs/a", Value::Null).await;
    refused.problem(405);
    assert!(refused.header(header::ALLOW).contains("PUT"), "{:?}", refused.headers);
    world.with(Method::POST, "/configs/a", json!({"input": "a"})).await.problem(405);
    world.with(Method::DELETE, "/ready", Value::Null).await.problem(405);
    assert!(
        world
            .with(Method::POST, "/configs", json!({"name":"a","input":"b"}))
            .await
            .problem(409)
            .contains("PUT")
    );
    raw(Method::PUT, "/configs/a", "text/plain", "{}").await.problem(415);
    raw(Method::POST, "/configs", "", "{}").await.problem(415);
    let invalid =
        world.with(Method::PUT, "/configs/a", json!({"input": "filter {\n  oops {}\n oops }"})).await;
    assert!(invalid.problem(422).contains("2 problems"));
    let expected = json!({
        "severity": "error", "message": "there is no plugin `oops`", "hint": "use grok",
        "line": 2, "column": 3, "start": 11, "end": 15
    });
    assert_eq!(invalid.json()["diagnostics"][0], expected);
    for name in ["", " ", "a b", "Nginx", "x\u{7}"] {
        let body = json!({"name": name, "input": "a"});
        world.with(Method::POST, "/configs", body).await.problem(422);
    }
    let unstored = world.with(Method::PUT, "/configs/a", json!({"input": "unstorable"})).await;
    assert!(unstored.problem(503).contains("the disk is full"));
}

#[tokio::test]
async fn bodies_and_texts_beyond_the_limit_are_refused() {
    let world = World::new();
    for length in [1_000_001, (1 << 20) + 1, 9 << 20] {
        world.with(Method::PUT, "/configs/a", json!({"input": "x".repeat(length)})).await.problem(413);
    }
    let fits = world.with(Method::PUT, "/configs/a", json!({"input": "x".repeat(1_000_000)})).await;
    assert_eq!(fits.status, 201);
}

#[tokio::test]
async fn conditions_keep_writers_from_overwriting_each_other() {
    let world = World::new();
    let put = |headers: Vec<(&'static str, &'static str)>, text: &'static str| {
        world.send(request(Method::PUT, "/configs/a", json!({"input": text}), &headers))
    };
    put(vec![("if-match", "*")], "a").await.problem(412);
    put(vec![("if-match", "\"1\"")], "a").await.problem(412);
    assert_eq!(put(vec![("if-none-match", "*")], "a").await.status, 201);
    put(vec![("if-none-match", "*")], "b").await.problem(412);
    assert_eq!(put(vec![("if-match", "\"1\"")], "b").await.status, 200);
    let late = put(vec![("if-match", "\"1\"")], "c").await;
    late.problem(412);
    assert_eq!(late.header(header::ETAG), "\"2\"");
    put(vec![("if-match", "2")], "c").await.problem(400);

    let get = |path: &'static str, tag: String| {
        world.send(Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap())
    };
    assert_eq!(get("/configs/a", "\"2\"".into()).await.status, 304);
    assert_eq!(get("/configs/a", "\"1\"".into()).await.status, 200);
    for path in [
        "/configs",
        "/host-configs",
        "/api/v1/nodes",
        "/api/v1/status",
        "/api/v1/documents",
        "/assets/page.js",
    ] {
        let tag = world.get(path).await.header(header::ETAG).to_owned();
        assert!(tag.starts_with('"'), "{path}");
        let again = get(path, tag.clone()).await;
        assert_eq!(
            (again.status.as_u16(), again.text.as_str(), again.header(header::ETAG)),
            (304, "", tag.as_str())
        );
    }
    world
        .send(request(Method::DELETE, "/configs/a", Value::Null, &[("if-match", "\"1\"")]))
        .await
        .problem(412);
    let deleted =
        world.send(request(Method::DELETE, "/configs/a", Value::Null, &[("if-match", "\"2\"")])).await;
    assert_eq!(deleted.status, 204);
}

#[tokio::test]
async fn the_addresses_of_the_prior_system_go_on_working() {
    let world = World::new();
    assert_eq!(world.get("/api/host-config").await.json(), json!({"name": "ui", "input": ""}));
    for method in [Method::PUT, Method::POST] {
        let form = Request::builder()
            .method(method)
            .uri("/api/host-config")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("_method=PUT&name=ui&input=output+%7B+stdout+%7B%7D+%7D"))
            .unwrap();
        assert_eq!(world.send(form).await.status, 200);
    }
    let json_body = world.with(Method::PUT, "/api/host-config", json!({"input": "x"})).await;
    assert_eq!(json_body.json(), json!({"name": "ui", "input": "x"}));
    assert_eq!(world.get("/api/host-config").await.json()["input"], "x");
}

#[tokio::test]
async fn a_text_is_checked_without_being_saved() {
    let world = World::new();
    world.change(|view| {
        let mut node = node("n1", Coverage::Running);
        node.containers = [container("c", "web/nginx:1.27", ContainerState::NotMatched)].into();
        view.nodes.push(node.into());
    });
    let check = |body| world.with(Method::POST, "/api/v1/check", body);
    let good = check(json!({"kind": "docker", "name": "web/*", "input": "fine"})).await.json();
    assert_eq!(
        (&good["errors"], &good["containers"], &good["exists"]),
        (&json!(0), &json!(1), &json!(false))
    );
    let bad = check(json!({"kind": "host", "name": "", "input": "oops"})).await;
    assert_eq!(bad.status, 200);
    assert_eq!(bad.json()["diagnostics"][0]["column"], 1);
    assert_eq!(bad.json()["name_problem"], "the name is empty");
    check(json!({"kind": "node", "name": "", "input": ""})).await.problem(400);
    assert_eq!(world.get("/configs").await.json(), json!([]));
}

#[tokio::test]
async fn ready_means_that_every_known_node_is_covered() {
    let world = World::new();
    assert!(world.get("/ready").await.problem(503).contains("no node is known yet"));
    world.change(|view| {
        view.nodes = vec![node("a", Coverage::Running).into(), node("b", Coverage::BackingOff).into()];
        view.status.nodes_known = 2;
        view.status.nodes_covered = 1;
    });
    let missing = world.get("/ready").await;
    assert_eq!(missing.problem(503), "1 of 2 nodes are covered");
    assert_eq!(missing.json()["missing"][0]["host"], "b");
    assert_eq!(missing.json()["missing"][0]["coverage"], "backing_off");
    world.change(|view| {
        Arc::make_mut(&mut view.nodes[1]).coverage = Coverage::Running;
        view.status.nodes_covered = 2;
    });
    assert_eq!(world.get("/ready").await.status, 200);
    world.change(|view| view.nodes.push(node("c", Coverage::Excluded).into()));
    assert_eq!(world.get("/ready").await.status, 200);
    assert_eq!(world.get("/api/v1/nodes").await.json()["nodes"][0]["coverage"], "running");
    assert_eq!(world.get("/api/v1/status").await.json()["nodes_known"], 2);
    for path in ["/health", "/live", "/version"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
    world.change(|view| view.status.phase = "failed".into());
    world.get("/health").await.problem(503);
}

#[tokio::test]
async fn nodes_are_chosen_by_state_and_by_cause() {
    let world = World::new();
    world.change(|view| {
        view.nodes = vec![
            node("a", Coverage::Running).into(),
            Node { cause: Cause::Drained, ..node("b", Coverage::Draining) }.into(),
            Node { cause: Cause::Draining, ..node("c", Coverage::Draining) }.into(),
        ];
    });
    for (query, hosts) in [
        ("", vec!["a", "b", "c"]),
        ("?state=draining", vec!["b", "c"]),
        ("?state=running,draining&cause=draining", vec!["c"]),
        ("?cause=gpus", vec![]),
    ] {
        let answer = world.get(&format!("/api/v1/nodes{query}")).await.json();
        let found: Vec<&str> =
            answer["nodes"].as_array().unwrap().iter().map(|node| node["host"].as_str().unwrap()).collect();
        assert_eq!(found, hosts, "{query}");
    }
    let page = world.get("/api/v1/nodes?state=draining&limit=1").await;
    let next = "/api/v1/nodes?state=draining&limit=1&after=agent-b";
    assert_eq!(page.header(header::LINK), format!("<{next}>; rel=\"next\""));
    assert_eq!((&page.json()["next"], &page.json()["matching"]), (&json!(next), &json!(2)));
    assert_eq!(world.get(next).await.json()["nodes"][0]["host"], "c");
    assert_eq!(world.get(next).await.json()["next"], Value::Null);
    let refused = world.get("/api/v1/nodes?cause=moon").await.problem(400);
    assert!(refused.contains("no cause `moon`") && refused.contains("one_per_host"), "{refused}");
}

#[tokio::test]
async fn a_node_is_explained_by_its_agent_id_or_its_host() {
    let world = World::new();
    let mut drained = Node { cause: Cause::Drained, ..node("b", Coverage::Draining) };
    drained.trail.known_ms = 7;
    drained.trail.add(9, "an operator drains it");
    world.change(|view| view.nodes.push(drained.into()));
    for id in ["agent-b", "b"] {
        let why = world.get(&format!("/api/v1/nodes/{id}/why")).await.json();
        assert_eq!((&why["covered"], &why["cause"]), (&json!(false), &json!("drained")));
        let broken = json!({"link": "agent", "at_ms": 7, "holds": false, "text": "because"});
        assert_eq!(why["chain"][0], broken);
        assert_eq!(why["steps"], json!([{"at_ms": 9, "text": "an operator drains it"}]));
    }
    assert!(world.get("/api/v1/nodes/moon/why").await.problem(404).contains("no node `moon`"));
}

#[tokio::test]
async fn metrics_are_one_exposition_with_bounded_labels() {
    let world = World::new();
    world.change(|view| {
        view.nodes = vec![node("a", Coverage::Running).into()];
        view.status.calls.insert("revive", 3);
        view.status.offers_declined = 5;
    });
    world.get("/configs/some/name").await;
    let plain = world.get("/metrics").await;
    assert_eq!(plain.header(header::CONTENT_TYPE), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "logherd_nodes{coverage=\"running\"} 1",
        "logherd_nodes{coverage=\"launching\"} 0",
        "logherd_nodes_by_cause{coverage=\"draining\",cause=\"drained\"} 0",
        "logherd_nodes_listed -1",
        "logherd_seconds_since_all_covered 0",
        "logherd_events_out_total 0",
        "logherd_offers_declined_total 5",
        "logherd_mesos_calls_total{call=\"revive\"} 3",
        "logherd_http_requests_total{method=\"GET\",route=\"/configs/{*name}\",status=\"404\"} 1",
        "process_resident_memory_bytes ",
    ] {
        assert!(plain.text.contains(line), "{line} in\n{}", plain.text);
    }
    assert_eq!(plain.text.matches("# EOF").count(), 1);
    assert!(plain.text.ends_with("# EOF\n") && !plain.text.contains("some/name"));
    let accept =
        Request::get("/metrics").header("accept", "application/openmetrics-text;version=1.0.0,*/*;q=0.1");
    let open = world.send(accept.body(Body::empty()).unwrap()).await;
    assert_eq!(
        open.header(header::CONTENT_TYPE),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
}

#[tokio::test(start_paused = true)]
async fn changes_are_streamed_and_the_stream_ends_with_the_server() {
    let world = World::new();
    let response = world
        .router
        .clone()
        .oneshot(Request::get("/api/v1/events").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut stream = response.into_body().into_data_stream();
    let mut next =
        async || stream.next().await.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap());
    let first = next().await.unwrap();
    assert!(
        first.contains("event: view\n") && first.contains("id: ") && first.contains("retry: 2000\n"),
        "{first}"
    );
    assert!(first.contains("\"nodes_covered\":0"), "{first}");
    world.change(|view| view.status.nodes_covered = 1);
    world.change(|view| view.status.nodes_covered = 2);
    let second = next().await.unwrap();
    assert!(second.contains("\"nodes_covered\":2"), "{second}");
    let comment = tokio::time::timeout(Duration::from_secs(16), next()).await.unwrap().unwrap();
    assert!(comment.starts_with(": still here"), "{comment:?}");
    world.stop.cancel();
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_stop_ends_open_streams_and_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = watch::Sender::new(Arc::new(View::default()));
    let (edits, _edits) = mpsc::channel(1);
    let (orders, _orders) = mpsc::channel(1);
    let keeper = Requests { edits, orders };
    let stop = CancellationToken::new();
    let mut server = JoinSet::new();
    server.spawn(crate::serve(listener, view.subscribe(), keeper, None, stop.clone()));
    let mut reader = TcpStream::connect(address).await.unwrap();
    reader.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("event: view") {
        assert_ne!(reader.read_buf(&mut seen).await.unwrap(), 0);
    }
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(4), server.join_next()).await;
    ended.expect("the stream does not hold the server").unwrap().unwrap().unwrap();
    reader.read_to_end(&mut seen).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_nobody_answers_is_an_error() {
    let (view, mut requests) = (watch::Sender::new(Arc::new(View::default())), mpsc::channel(1));
    let keeper = Requests { edits: requests.0.clone(), orders: mpsc::channel(1).0 };
    let app = App::new(view.subscribe(), keeper, CancellationToken::new());
    let router = router(app, Reach::Loopback);
    let put = || router.clone().oneshot(request(Method::PUT, "/configs/a", json!({"input": "a"}), &[]));
    assert_eq!(put().await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(put().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "the queue is full");
    requests.1.close();
    while requests.1.recv().await.is_some() {}
    assert_eq!(put().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE, "the keeper is gone");
}

#[tokio::test]
async fn an_order_is_answered_with_what_became_of_it_and_given_by_post_only() {
    let world = World::new();
    let answer = world.with(Method::POST, "/api/v1/rollout/resume", Value::Null).await;
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (StatusCode::OK, Some("Resume")));
    world.with(Method::DELETE, "/api/v1/rollout/resume", Value::Null).await.problem(405);
}

#[tokio::test]
async fn an_upgrade_is_asked_for_with_limits_that_make_sense() {
    let world = World::new();
    let asked = |body: Value| world.with(Method::POST, "/api/v1/rollout", body);
    let answer =
        asked(json!({"max_unavailable": "10%", "canary": "rack=r1", "pause_after_canary": true})).await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for part in ["Percent(10)", r#"Attribute("rack", "r1")"#, "pause_after_canary: true", "dry_run: false"] {
        assert!(detail.contains(part), "{part} in {detail}");
    }
    assert!(asked(json!({"max_unavailable": 3})).await.text.contains("Nodes(3)"));
    assert_eq!(asked(Value::Null).await.status, StatusCode::OK);
    for wrong in [
        json!({"max_unavailable": 0}),
        json!({"max_unavailable": "110%"}),
        json!({"canary": "rack"}),
        json!({"canary": "a=b", "canary_count": 1}),
        json!({"canary_count": 0}),
        json!({"pause_after_canary": true}),
        json!({"max_unavailible": 3}),
    ] {
        asked(wrong).await.problem(400);
    }
}

#[tokio::test]
async fn strangers_are_refused_and_answers_carry_strict_headers() {
    let world = World::new();
    let foreign = Request::get("/configs").header("host", "evil.example").body(Body::empty()).unwrap();
    world.send(foreign).await.problem(403);
    let headers = [("host", "localhost:9092"), ("origin", "https://evil.example")];
    world.send(request(Method::PUT, "/configs/a", json!({"input": "a"}), &headers)).await.problem(403);
    for path in ["/", "/configs", "/nothing", "/api/v1/events"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_proper_name_makes_the_round_trip(name in "[!#-&(-;=?-\\[\\]-_a-z|~äß€/:%]{1,30}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let created = world.with(Method::POST, "/host-configs", json!({"name": name, "input": "a"})).await;
            assert_eq!(created.status, 201, "{name}: {}", created.text);
            let read = world.get(created.header(header::LOCATION)).await;
            assert_eq!(read.json()["name"], name);
            let page = world.get(&format!("/edit?kind=host&name={}", crate::names::encode(&name))).await;
            assert_eq!(page.status, 200);
            assert!(page.text.contains("revision 1"), "{name}");
        });
    }
}
