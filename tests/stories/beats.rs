//! Story: a shipper that speaks Filebeat's protocol sends by TLS what was not acknowledged, until it is.

use crate::certificates;
use crate::eventually::eventually;
use crate::service::accepts;
use crate::world::{START, World, free_port};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The side of a Beat: Lumberjack, version 2.
struct Beat {
    stream: TlsStream<TcpStream>,
}

impl Beat {
    async fn connect(world: &World, port: u16, shows: Option<&str>) -> io::Result<Self> {
        let connector = TlsConnector::from(Arc::new(certificates::client(world, "ours", shows)));
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        Ok(Self { stream: connector.connect("localhost".try_into().unwrap(), stream).await? })
    }

    /// Sends numbered lines in one window and waits until the last of them is acknowledged.
    async fn ship(&mut self, numbers: RangeInclusive<usize>) -> io::Result<()> {
        let number = |value: usize| u32::try_from(value).unwrap().to_be_bytes();
        let count = numbers.clone().count();
        let mut frames = [&b"2W"[..], &number(count)].concat();
        for (nth, line) in numbers.enumerate() {
            let event = serde_json::json!({
                "@timestamp": "2026-11-20T10:00:00.000Z", "@metadata": {"beat": "filebeat", "version": "8.0.0"},
                "message": format!("line {line}."), "log": {"offset": nth}, "host": {"name": "web-1"},
            });
            let event = event.to_string();
            frames.extend([&b"2J"[..], &number(nth + 1), &number(event.len()), event.as_bytes()].concat());
        }
        self.stream.write_all(&frames).await?;
        loop {
            let mut frame = [0; 6];
            self.stream.read_exact(&mut frame).await?;
            // One of none says that the events are in work.
            if frame == *[&b"2A"[..], &number(count)].concat() {
                return Ok(());
            }
            assert_eq!(frame, *b"2A\0\0\0\0", "no window is acknowledged in part");
        }
    }
}

fn input(world: &World, port: u16) -> String {
    let tls = certificates::options(world, "ours");
    format!(r#"input {{ beats {{ host => "127.0.0.1" port => {port} {tls} }} }}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_with_a_certificate_is_served_and_those_without_a_good_one_are_not() {
    let world = World::new().await;
    certificates::make(&world, "ours");
    certificates::make(&world, "others");
    let (port, out) = (free_port(), world.path("out.json").display().to_string());
    let config =
        input(&world, port) + &format!(r#" output {{ file {{ path => "{out}" codec => json_lines }} }}"#);
    let _run = world.run(&config, &[]).await;
    accepts("the input listens", port).await;
    for wrong in [None, Some("others")] {
        // With TLS 1.3 a client hears of it with the first answer.
        let refused = async { Beat::connect(&world, port, wrong).await?.ship(1..=1).await };
        assert!(refused.await.is_err(), "{wrong:?}");
    }
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"2W\0\0\0\x01").await.unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"2A"), "{answer:?}");

    Beat::connect(&world, port, Some("ours")).await.unwrap().ship(7..=8).await.unwrap();
    let events = world.output("out.json").events();
    let parts: Vec<_> = events.iter().map(|event| (&event["message"], &event["host"]["name"])).collect();
    assert_eq!(parts, [(&"line 7.".into(), &"web-1".into()), (&"line 8.".into(), &"web-1".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_beat_sends_again_after_a_kill_is_complete_and_what_was_acknowledged_is_there() {
    const WINDOWS: usize = 200;
    const EACH: usize = 50;
    const KILL_AT: [usize; 3] = [20, 90, 150];
    let world = World::new().await;
    certificates::make(&world, "ours");
    let port = free_port();
    let config = input(&world, port) + &world.writes("out.log");
    let mut run = world.run(&config, &[]).await;
    accepts("the input listens", port).await;
    let output = world.output("out.log");
    let mut beat = Beat::connect(&world, port, Some("ours")).await.unwrap();
    for window in 0..WINDOWS {
        let numbers = window * EACH + 1..=(window + 1) * EACH;
        if KILL_AT.contains(&window) {
            let (killed, shipped) = tokio::join!(async { run.kill() }, beat.ship(numbers.clone()));
            let () = killed;
            let acknowledged = if shipped.is_ok() { window + 1 } else { window } * EACH;
            let there = output.tally("line ", ".");
            assert!(there.distinct >= acknowledged, "{acknowledged} were acknowledged: {there:?}");
            run.start_again();
            let again = async || Beat::connect(&world, port, Some("ours")).await.map_err(|e| e.to_string());
            beat = eventually("it listens again", START, again).await.0;
        }
        beat.ship(numbers).await.unwrap();
    }
    let tally = output.tally("line ", ".");
    println!("{WINDOWS} windows across {} kills: {tally:?}", KILL_AT.len());
    assert_eq!((tally.distinct, tally.first_missing), (WINDOWS * EACH, None));
    assert!(tally.torn <= KILL_AT.len(), "{tally:?}");
}
