//! Story: a real StatsD counts what events tell it, over UDP and over TCP; over TCP what came while it was down as well.

use crate::eventually::eventually;
use crate::service::{Peer, accepts, parts, program};
use crate::world::{SOON, START, World, free_port};
use serde_json::json;
use std::process::Command;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

struct Statsd {
    udp: u16,
    tcp: u16,
    admin: u16,
    service: Peer,
}

impl Statsd {
    async fn here(world: &World) -> Option<Self> {
        let node = program("node", "nodejs")?;
        let modules = parts("StatsD", "LOGHERD_TEST_STATSD")?;
        let (udp, tcp, admin) = (free_port(), free_port(), free_port());
        let servers = json!([
            {"server": "./servers/udp", "address": "127.0.0.1", "port": udp},
            {"server": "./servers/tcp", "address": "127.0.0.1", "port": tcp},
        ]);
        // It forgets what it counted when it flushes: not within a story.
        let settings = json!({
            "servers": servers, "mgmt_address": "127.0.0.1", "mgmt_port": admin,
            "flushInterval": 3_600_000, "backends": [],
        });
        let file = world.path("statsd.js");
        std::fs::write(&file, settings.to_string()).unwrap();
        let mut command = Command::new(node);
        command.arg(modules.join("node_modules/statsd/stats.js")).arg(file);
        let statsd = Self { udp, tcp, admin, service: Peer::start(world, "statsd", command) };
        statsd.up().await;
        Some(statsd)
    }

    async fn up(&self) {
        for port in [self.tcp, self.admin] {
            accepts("StatsD listens", port).await;
        }
    }

    /// What its administration prints for a word: `counters`, `gauges`, `timers`.
    async fn ask(&self, word: &str) -> Result<String, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).await.map_err(told)?;
        stream.write_all(format!("{word}\n").as_bytes()).await.map_err(told)?;
        let (mut lines, mut text) = (BufReader::new(stream).lines(), String::new());
        while let Some(line) = lines.next_line().await.map_err(told)? {
            if line == "END" {
                return Ok(text);
            }
            text.push_str(&line);
            text.push('\n');
        }
        Err(format!("it ends after: {text}"))
    }

    /// Whether its administration prints that text for a word.
    async fn tells(&self, word: &str, wanted: &str) -> Result<(), String> {
        let text = self.ask(word).await?;
        if text.contains(wanted) { Ok(()) } else { Err(format!("no `{wanted}` in: {text}")) }
    }
}

fn config(world: &World, protocol: &str, port: u16) -> String {
    format!(
        r#"{} filter {{ grok {{ match => {{ message => "line %{{INT:n:int}}" }} }} }}
        output {{ statsd {{ host => "127.0.0.1" port => {port} protocol => {protocol} namespace => "story" sender => "a.b"
            increment => ["seen"] count => {{ "sum" => "%{{n}}" }} gauge => {{ "last" => "%{{n}}" }}
            timing => {{ "took" => "%{{n}}" }} set => {{ "kinds" => "%{{n}}" }} }} }}"#,
        world.follows("in.txt")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn statsd_counts_what_events_tell_it_over_udp() {
    let world = World::new().await;
    let Some(statsd) = Statsd::here(&world).await else { return };
    world.append("in.txt", 1..=20);
    let _run = world.run(&config(&world, "udp", statsd.udp), &[]).await;
    eventually("all are counted", SOON, async || statsd.tells("counters", "'story.a_b.seen': 20").await)
        .await;
    statsd.tells("counters", "'story.a_b.sum': 210").await.unwrap();
    statsd.tells("counters", "'statsd.bad_lines_seen': 0").await.unwrap();
    statsd.tells("gauges", "'story.a_b.last': 20").await.unwrap();
    let timers = statsd.ask("timers").await.unwrap();
    let times: Vec<u32> = timers
        .split(['[', ']'])
        .nth(1)
        .unwrap()
        .split(',')
        .filter_map(|time| time.trim().parse().ok())
        .collect();
    assert_eq!(times, (1..=20).collect::<Vec<_>>(), "{timers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_events_wait_while_statsd_is_down_and_are_counted_after_it_is_up_again() {
    let world = World::new().await;
    let Some(mut statsd) = Statsd::here(&world).await else { return };
    world.append("in.txt", 1..=1_000);
    let run = world.run(&config(&world, "tcp", statsd.tcp), &[]).await;
    let first = async || statsd.tells("counters", "'story.a_b.seen': 1000").await;
    eventually("the first ones are counted", START, first).await;
    statsd.service.kill();
    world.append("in.txt", 1_001..=3_000);
    let told = async || match run.printed() {
        printed if printed.contains("send to 127.0.0.1") => Ok(()),
        printed => Err(printed),
    };
    eventually("it is said that StatsD cannot be reached", SOON, told).await;
    statsd.service.start_again();
    statsd.up().await;
    // It remembers nothing itself.
    let all = async || statsd.tells("counters", "'story.a_b.seen': 2000").await;
    eventually("what came meanwhile is counted", START, all).await;
    statsd.tells("counters", &format!("'story.a_b.sum': {}", (1_001..=3_000).sum::<u64>())).await.unwrap();
    statsd.tells("counters", "'statsd.bad_lines_seen': 0").await.unwrap();
}
