//! Story: events reach a real search server; it crashes and none is lost; what it refuses for good is counted.

use crate::api::http_client;
use crate::docker::Docker;
use crate::eventually::eventually;
use crate::service::{Peer, parts};
use crate::world::{START, World, free_port};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

/// An OpenSearch node as a process of its own.
pub(crate) struct SearchServer {
    pub(crate) port: u16,
    client: reqwest::Client,
    service: Peer,
}

impl SearchServer {
    /// Starts one, or returns `None` after saying loudly that there is none: `tests/run` fetches it from Maven Central.
    pub(crate) async fn here(world: &World) -> Option<SearchServer> {
        let classes = parts("OpenSearch", "LOGHERD_TEST_OPENSEARCH")?;
        let classes = classes.display();
        let port = free_port();
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-cp", &format!("{classes}:{classes}/*"), "SearchServer"])
            .arg(world.path("opensearch"));
        command.arg(port.to_string());
        let service = Peer::start(world, "opensearch", command);
        let client = http_client().timeout(START).build().unwrap();
        let server = SearchServer { port, client, service };
        server.up().await;
        Some(server)
    }

    async fn up(&self) {
        let health = "_cluster/health?wait_for_status=yellow";
        eventually("OpenSearch answers", 2 * START, async || self.get(health).await).await;
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        self.send(Method::GET, path, &Value::Null).await
    }

    /// What it answers to a request; `Err` unless it did what was asked.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let mut request = self.client.request(method, format!("http://127.0.0.1:{}/{path}", self.port));
        if body.is_object() {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    async fn start_again(&mut self) {
        self.service.start_again();
        self.up().await;
    }

    /// Every document of an index.
    pub(crate) async fn documents(&self, index: &str) -> Result<Vec<Value>, String> {
        self.get(&format!("{index}/_refresh")).await.ok();
        let found = self.get(&format!("{index}/_search?size=10000")).await?;
        let hits = found["hits"]["hits"].as_array().ok_or_else(|| found.to_string())?;
        Ok(hits.iter().map(|hit| hit["_source"].clone()).collect())
    }

    /// The field `n` of every document.
    async fn numbers(&self) -> Result<Vec<u64>, String> {
        let documents = self.documents("story-*").await?;
        Ok(documents.iter().filter_map(|document| document["n"].as_u64()).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_a_search_server_that_crashes_and_what_it_refuses_is_counted() {
    let Some(docker) = Docker::here().await else { return };
    const LINES: u64 = 5000;
    let world = World::alone().await;
    let logherd = world.local(&[]).await;
    let Some(mut server) = SearchServer::here(&world).await else { return };
    docker.tag(&world.image()).await;
    let output = format!(
        r#"output {{ elasticsearch {{ hosts => ["http://127.0.0.1:{}"] index => "story-%{{+YYYY.MM}}" }} }}"#,
        server.port
    );
    logherd.api.put("host-configs", "out", &output).await;
    let input =
        r#"input { file { docker-path => "/var/log/app.log" start_position => "beginning" codec => json } }"#;
    logherd.api.put("configs", &world.image_name(), input).await;
    let container = docker.run(&world.id, &world.image(), "sleep 1000000").await;
    container.log("/var/log/app.log", &json!({"n": 0}).to_string()).await;
    let has = async |server: &SearchServer, count: u64| {
        let distinct: BTreeSet<u64> = server.numbers().await?.into_iter().collect();
        if distinct.len() as u64 >= count {
            Ok(distinct)
        } else {
            Err(format!("{} of {count} documents", distinct.len()))
        }
    };
    eventually("the first document", START, async || has(&server, 1).await).await;

    container.log("/var/log/app.log", &json!({"n": "this is no number"}).to_string()).await;
    container
        .sh(&format!("for i in $(seq 1 {}); do echo '{{\"n\":'$i'}}'; done >>/var/log/app.log", LINES / 2))
        .await;
    eventually("some documents", START, async || has(&server, 100).await).await;
    server.service.kill();
    container
        .sh(&format!(
            "for i in $(seq {} {LINES}); do echo '{{\"n\":'$i'}}'; done >>/var/log/app.log",
            LINES / 2 + 1
        ))
        .await;
    server.start_again().await;
    let (distinct, took) =
        eventually("every document", Duration::from_secs(120), async || has(&server, LINES + 1).await).await;
    assert_eq!((distinct.first(), distinct.last()), (Some(&0), Some(&LINES)));
    let stored = server.numbers().await.unwrap().len() as u64;
    println!(
        "{LINES} documents across a crash of the server, {took:?} after its restart: {} duplicates",
        stored - LINES - 1
    );

    let refused = async || match logherd.api.nodes().await?[0]["counters"]["dead_letters"].as_u64() {
        Some(1) => Ok(()),
        other => Err(format!("{other:?} dead letters")),
    };
    eventually("the refused event is counted", START, refused).await;
}
