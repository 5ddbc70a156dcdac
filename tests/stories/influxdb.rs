//! Story: a real InfluxDB gets points; it is killed and none is lost, and what it refuses becomes a dead letter.

use crate::api::http_client;
use crate::eventually::eventually;
use crate::service::{Peer, program};
use crate::world::{START, World, free_port};
use serde_json::{Value, json};
use std::process::Command;

struct Influx {
    port: u16,
    client: reqwest::Client,
    service: Peer,
}

impl Influx {
    async fn here(world: &World) -> Option<Self> {
        let server = program("influxd", "influxdb")?;
        let (port, other, dir) = (free_port(), free_port(), world.path("influxdb"));
        let dir = dir.display();
        let text = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{other}\"\n[meta]\ndir = \"{dir}/meta\"\n\
            [data]\ndir = \"{dir}/data\"\nwal-dir = \"{dir}/wal\"\n[http]\nbind-address = \"127.0.0.1:{port}\"\n"
        );
        let settings = world.path("influxdb.conf");
        std::fs::write(&settings, text).unwrap();
        let mut command = Command::new(server);
        command.args(["run", "-config"]).arg(settings);
        let client = http_client().build().unwrap();
        let influx = Self { port, client, service: Peer::start(world, "influxdb", command) };
        influx.up().await;
        Some(influx)
    }

    async fn up(&self) {
        eventually("InfluxDB answers", START, async || self.ask("SHOW DATABASES").await).await;
    }

    /// What InfluxDB answers to a statement.
    async fn ask(&self, statement: &str) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}/query?db=story&epoch=s", self.port);
        let sent = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer = sent.body(format!("q={}", statement.replace(' ', "+"))).send().await;
        let text = answer.map_err(|error| error.to_string())?.text().await;
        let text = text.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        match &answer["results"][0] {
            result if result["error"].is_null() && answer["error"].is_null() => Ok(result.clone()),
            _ => Err(text),
        }
    }

    /// The first value of the first row of an answer, behind its time.
    async fn value(&self, statement: &str) -> Result<Value, String> {
        Ok(self.ask(statement).await?["series"][0]["values"][0][1].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn points_reach_influxdb_which_is_killed_in_the_middle() {
    const LINES: u64 = 20_000;
    let world = World::new().await;
    let Some(mut influx) = Influx::here(&world).await else { return };
    influx.ask("CREATE DATABASE story").await.unwrap();
    // Each line is a second of its own.
    let config = format!(
        r#"{} filter {{ grok {{ match => {{ message => "line %{{INT:n:int}}" }} }} }}
        output {{ influxdb {{ host => "127.0.0.1" port => {} db => "story" measurement => "lines"
            data_points => {{ "n" => "%{{n}}" "kind" => "k%{{n}}" "time" => "%{{n}}" }}
            coerce_values => {{ "n" => "integer" }} send_as_tags => ["kind"]
            allow_time_override => true time_precision => "s" }} }}"#,
        world.follows("in.txt"),
        influx.port
    );
    world.append("in.txt", 1..=10_000);
    let _run = world.run(&config, &[]).await;
    let count = async |influx: &Influx, wanted: u64| match influx.value("SELECT count(n) FROM lines").await? {
        count if count.as_u64() >= Some(wanted) => Ok(()),
        count => Err(format!("{count} points")),
    };
    eventually("some points", START, async || count(&influx, 100).await).await;
    influx.service.kill();
    world.append("in.txt", 10_001..=20_000);
    influx.service.start_again();
    influx.up().await;
    let (_, took) = eventually("every point", START, async || count(&influx, LINES).await).await;
    println!("{LINES} points into InfluxDB across its kill, {took:?}");
    let sum = influx.value("SELECT sum(n) FROM lines").await.unwrap();
    assert_eq!(sum, json!(LINES * (LINES + 1) / 2), "points of the same time and tags are one");
    let last = influx.ask("SELECT last(n), kind FROM lines").await.unwrap();
    assert_eq!(last["series"][0]["values"][0], json!([LINES, LINES, format!("k{LINES}")]), "{last:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_that_influxdb_refuses_becomes_a_dead_letter_and_its_neighbours_are_written() {
    let world = World::new().await;
    let Some(influx) = Influx::here(&world).await else { return };
    influx.ask("CREATE DATABASE story").await.unwrap();
    let path = world.path("in.txt").display().to_string();
    let config = format!(
        r#"input {{ file {{ path => "{path}" start_position => beginning codec => json }} }}
        output {{ influxdb {{ host => "127.0.0.1" port => {} db => "story" measurement => "%{{of}}"
            use_event_fields_for_data_points => true allow_time_override => true time_precision => "s"
            exclude_fields => ["@timestamp", "@version", "message", "type", "of", "host", "path"] }} }}"#,
        influx.port
    );
    let event = |time: u32, n: Value| format!("{}\n", json!({"of": "typed", "time": time, "n": n}));
    world.write("in.txt", &event(1, json!(1.5)));
    let run = world.run(&config, &[]).await;
    let count = async |wanted: u64| match influx.value("SELECT count(n) FROM typed").await? {
        count if count == wanted => Ok(()),
        count => Err(format!("{count} points")),
    };
    eventually("the first point", START, async || count(1).await).await;
    // A field keeps the type that it got first.
    let refused = event(3, json!("three"));
    world.write("in.txt", &(event(2, json!(2.5)) + &refused + &event(4, json!(4.5))));
    eventually("the points beside the refused one", START, async || count(3).await).await;
    let one = async || {
        let stats = run.api.get("/_node/stats").await?;
        match &stats["pipelines"]["main"]["dead_letter_queue"] {
            queue if queue["events"] == 1 => Ok(()),
            queue => Err(queue.to_string()),
        }
    };
    eventually("one dead letter", START, one).await;
}
