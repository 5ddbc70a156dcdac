//! Story: events reach a real search server; it crashes and none is lost; what it refuses for good is counted.

use crate::docker::{Docker, skip};
use crate::eventually::eventually;
use crate::world::{START, World, free_port};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An OpenSearch node as a process of its own.
struct SearchServer {
    port: u16,
    command: Command,
    child: Child,
    client: reqwest::Client,
}

impl SearchServer {
    /// Starts one, or returns `None` after saying loudly that there is none: `tests/run` fetches it from Maven Central.
    async fn here(world: &World) -> Option<SearchServer> {
        let Some(classes) = config::settings::environment("LOGHERD_TEST_OPENSEARCH") else {
            skip("OpenSearch", "LOGHERD_TEST_OPENSEARCH does not name a directory with its jars");
            return None;
        };
        let port = free_port();
        let log = std::fs::File::create(world.path("opensearch.log")).unwrap();
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-cp", &format!("{classes}:{classes}/*"), "SearchServer"])
            .arg(world.path("opensearch"));
        command.arg(port.to_string()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let server = SearchServer { port, command, child, client };
        server.up().await;
        Some(server)
    }

    async fn up(&self) {
        let health = "_cluster/health?wait_for_status=yellow";
        eventually("OpenSearch answers", 2 * START, async || self.get(health).await).await;
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let response = self.client.get(format!("http://127.0.0.1:{}/{path}", self.port)).send().await;
        let text =
            response.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn start_again(&mut self) {
        self.child = self.command.spawn().unwrap();
        self.up().await;
    }

    /// The field `n` of every document.
    async fn numbers(&self) -> Result<Vec<u64>, String> {
        self.get("story-*/_refresh").await.ok();
        let found = self.get("story-*/_search?size=10000&_source=n").await?;
        let hits = found["hits"]["hits"].as_array().ok_or_else(|| found.to_string())?;
        Ok(hits.iter().filter_map(|hit| hit["_source"]["n"].as_u64()).collect())
    }
}

impl Drop for SearchServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
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
    server.kill();
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
