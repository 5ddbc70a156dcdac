//! Requests over real sockets.
use super::names::domain_and_port;
use super::*;
use crate::trial::inputs::{Trial, free_port};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value as Json;
use std::io::Write;

struct World {
    trial: Trial,
    url: String,
    client: reqwest::Client,
}

impl World {
    async fn of(options: &str) -> Self {
        // Another test of this process may have been first.
        let _again = rustls::crypto::ring::default_provider().install_default();
        let port = free_port();
        let mut trial = Trial::start(&format!("http {{ host => '127.0.0.1' port => {port} {options} }}"));
        let connect = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        trial.until("somebody listens", connect).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { trial, url: format!("http://127.0.0.1:{port}/path?q=1"), client }
    }

    async fn post(&self, kind: &str, body: impl Into<reqwest::Body>) -> u16 {
        let request = self.client.post(&self.url).header("Content-Type", kind).body(body);
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn bodies_are_read_by_their_type() {
    let mut world =
        World::of("additional_codecs => { 'application/json' => json 'text/x-lines' => line }").await;
    assert_eq!(world.post("text/plain", "a\nb").await, 200);
    assert_eq!(world.trial.events(1).await[0]["message"], "a\nb");
    world.post("application/json; charset=utf-8", "[{\"n\":1},{\"n\":2}]").await;
    assert_eq!(world.trial.events(3).await[2]["n"], 2);
    world.post("text/x-lines", "c\nd").await;
    assert_eq!(world.trial.events(5).await[4]["message"], "d");
    world.post("text/plain;charset=ISO-8859-1", &b"gr\xfcn"[..]).await;
    assert_eq!(world.trial.events(6).await[5]["message"], "grün");
    world.post("application/json", "{").await;
    assert_eq!(world.trial.events(7).await[6]["tags"], serde_json::json!(["_jsonparsefailure"]));
}

#[tokio::test]
async fn lines_of_json_are_read_without_being_asked_for() {
    let mut world = World::of("").await;
    world.post("application/x-ndjson", "{\"n\":1}\n{\"n\":2}\n").await;
    assert_eq!(world.trial.events(2).await[1]["n"], 2);
}

#[tokio::test]
async fn events_tell_of_their_request_and_not_of_its_password() {
    let mut world =
        World::of("user => u password => p response_headers => { 'X-Own' => 'yes' } response_code => 202")
            .await;
    assert_eq!(world.post("text/plain", "no").await, 401);
    let wrong = world.client.post(&world.url).basic_auth("u", Some("q")).send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), wrong.headers().get("www-authenticate")), (401, None));
    let request = world.client.put(&world.url).basic_auth("u", Some("p")).header("X-A-b", "c").body("yes");
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-own"].to_str().unwrap()), (202, "yes"));
    assert_eq!(answer.text().await.unwrap(), "ok");
    let events = world.trial.events(1).await;
    let headers = &events[0]["headers"];
    assert_eq!((&headers["request_method"], &headers["x_a_b"]), (&"PUT".into(), &"c".into()));
    assert_eq!(
        (&headers["request_path"], &headers["http_version"]),
        (&"/path?q=1".into(), &"HTTP/1.1".into())
    );
    assert_eq!((&headers["http_user_agent"], headers.get("authorization")), (&Json::Null, None));
    assert_eq!(events[0]["host"], "127.0.0.1");
}

#[tokio::test]
async fn the_fields_may_be_those_of_the_common_schema() {
    let mut world = World::of("ecs_compatibility => v8 response_code => 204").await;
    assert_eq!(world.post("text/plain", "x").await, 204);
    let events = world.trial.events(1).await;
    assert_eq!(
        (&events[0]["url"]["domain"], &events[0]["url"]["path"]),
        (&"127.0.0.1".into(), &"/path?q=1".into())
    );
    assert_eq!(
        (&events[0]["http"]["method"], &events[0]["host"]["ip"]),
        (&"POST".into(), &"127.0.0.1".into())
    );
    assert_eq!(domain_and_port("[::1]:80"), ("::1", Some(80)));
    assert_eq!(domain_and_port("example.com"), ("example.com", None));
}

#[tokio::test]
async fn packed_bodies_are_unpacked_up_to_the_limit() {
    let mut world = World::of("max_content_length => 1000").await;
    let packed = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let send = async |world: &World, body: Vec<u8>| {
        let request = world.client.post(&world.url).header("Content-Encoding", "gzip").body(body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send(&world, packed(b"hello")).await, 200);
    assert_eq!(world.trial.events(1).await[0]["message"], "hello");
    assert_eq!(send(&world, packed(&[b'x'; 100_000])).await, 413);
    assert_eq!(send(&world, b"no gzip".to_vec()).await, 400);
    assert_eq!(world.post("text/plain", vec![b'x'; 2000]).await, 413);
    world.trial.events(1).await;
    world.trial.stop().await;
}

#[tokio::test]
async fn with_tls_those_without_a_certificate_are_refused_where_one_is_required_and_served_where_it_is_optional()
 {
    use crate::trial::certificates::certificates;
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = dir.path().display();
    let pem = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let authority = reqwest::Certificate::from_pem(&pem("ca.pem")).unwrap();
    let builder = || reqwest::Client::builder().no_proxy().tls_certs_only([authority.clone()]);
    let identity = [pem("client.pem"), pem("client.key")].concat();
    for (wanted, served) in [("required", false), ("optional", true)] {
        let mut world = World::of(&format!(
            "ssl_enabled => true ssl_certificate => '{at}/localhost.pem' ssl_key => '{at}/localhost.key'
             ssl_certificate_authorities => ['{at}/ca.pem'] ssl_client_authentication => {wanted}"
        ))
        .await;
        world.url = world.url.replace("http://127.0.0.1", "https://localhost");
        let known = builder().identity(reqwest::Identity::from_pem(&identity).unwrap()).build().unwrap();
        assert_eq!(known.post(&world.url).body("known").send().await.unwrap().status().as_u16(), 200);
        let nobody = builder().build().unwrap();
        assert_eq!(nobody.post(&world.url).body("nobody").send().await.is_ok(), served, "{wanted}");
        let events = world.trial.events(1 + usize::from(served)).await;
        assert_eq!(events[0]["message"], "known");
        world.trial.stop().await;
    }
}

#[tokio::test]
async fn a_request_may_not_become_too_many_events() {
    let mut world =
        World::of("additional_codecs => { 'application/json' => json 'application/x-ndjson' => json_lines }")
            .await;
    let many = |item: &str| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(item.repeat(EVENTS_MAX + 1).as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let send = async |kind: &str, body: Vec<u8>| {
        let request = world.client.post(&world.url).header("Content-Type", kind);
        let request = request.header("Content-Encoding", "gzip").body(body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("application/x-ndjson", many("{}\n")).await, 413);
    let mut array = GzEncoder::new(Vec::new(), Compression::best());
    array.write_all(format!("[{}{{}}]", "{},".repeat(EVENTS_MAX)).as_bytes()).unwrap();
    assert_eq!(send("application/json", array.finish().unwrap()).await, 413);
    assert_eq!(world.post("text/plain", "one").await, 200);
    world.trial.events(1).await;
}

/// A request whose body does not come.
async fn half_a_request(world: &World) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt;
    let place = world.url.trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = tokio::net::TcpStream::connect(place).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab").await.unwrap();
    stream
}

#[tokio::test]
async fn bodies_that_do_not_come_take_no_place_and_hold_up_no_stop() {
    let mut world = World::of("max_pending_requests => 1").await;
    let _half = [half_a_request(&world).await, half_a_request(&world).await];
    for count in 1..4 {
        assert_eq!(world.post("text/plain", "whole").await, 200);
        world.trial.events(count).await;
    }
    world.trial.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_called_off_while_it_waits_is_forgotten() {
    let waits = Waits::default();
    let called_off = async {
        let _wait = waits.begin();
        std::future::pending::<()>().await;
    };
    assert!(tokio::time::timeout(PATIENCE * 2, called_off).await.is_err());
    assert!(!waits.is_too_long());
    let _wait = waits.begin();
    assert!(!waits.is_too_long());
    tokio::time::advance(PATIENCE * 2).await;
    assert!(waits.is_too_long());
}

#[tokio::test]
async fn bodies_have_only_so_much_room_together() {
    let bodies = Bodies { room: Semaphore::new(100) };
    let (mut one, mut other) = (bodies.begin(), bodies.begin());
    assert!(one.grow(60 << 10).is_ok() && other.grow(1).is_ok() && one.grow(39 << 10).is_ok());
    assert!(matches!(other.grow(1024), Err(Refusal::Busy)));
    drop(one);
    assert!(other.grow(99 << 10).is_ok());
    drop(other);
    assert_eq!(bodies.room.available_permits(), 100);
}

#[test]
fn options_that_do_not_fit_together_are_told_at_their_place() {
    let text =
        "input { http { user => 'u' response_code => 500 ssl_enabled => true } http { password => 'p' } }";
    let problems = crate::check(crate::Scope::Run, text, &|_| None);
    let places: Vec<usize> = problems.iter().map(|problem| problem.column).collect();
    assert_eq!(places, [24, 45, 64, 90], "{problems:?}");
    assert!(problems.iter().any(|problem| problem.message == "`password` is given without `user`"));
}
