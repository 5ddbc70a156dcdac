//! Counts how often memory is asked for while lines go through a pipeline: for batches, not for events.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use pipeline::{Scope, Surroundings, compile, run_to_end};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const GROK: &str = r#"grok { match => { "message" => "%{COMBINEDAPACHELOG}" } }"#;
/// What a short log has: as much as can be on its way at once, so that everything that is made once was made; and a long one.
const SHORT: u32 = 30_000;
const LONG: u32 = 90_000;
/// How many times memory may be asked for, for each event: what a batch needs is shared among its events, some six hundred of these
/// lines. If each needed any, it would be one at least.
const PER_EVENT_MAX: f64 = 0.5;

/// Access lines, as `%{COMBINEDAPACHELOG}` knows them.
fn access_log(lines: u32) -> String {
    let mut text = String::new();
    for nth in 0..lines {
        writeln!(
            text,
            "192.0.2.{} - frank [20/Nov/2026:10:{:02}:{:02} +0000] \"GET /a/{nth}?session=00c0ffee00c0ffee HTTP/1.1\" 200 {} \"https://www.example.org/start/{nth}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"",
            nth % 250,
            nth / 60 % 60,
            nth % 60,
            nth * 7,
        )
        .unwrap();
    }
    text
}

/// Says yes to every bulk request; asks for memory for none of them.
fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || serve(connection));
        }
    });
    address
}

fn serve(connection: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let (mut line, mut connection) = (String::with_capacity(1024), connection);
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            line.make_ascii_lowercase();
            if let Some(given) = line.strip_prefix("content-length:") {
                length = given.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        connection.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"errors\":false}",
        )?;
    }
}

/// How often memory was asked for while so many lines went through.
async fn allocations(lines: u32, filters: &str, output: &str) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    std::fs::write(&log, access_log(lines)).unwrap();
    let config = format!(
        "input {{ file {{ path => '{}' mode => read }} }} filter {{ {filters} }} output {{ {output} }}",
        log.display()
    );
    let plan = compile(Scope::Run, &config, &|_| None).unwrap();
    let mut around = Surroundings::new(dir.path().join("data"), "host", "test");
    around.workers = 2;
    let region = Region::new(ALLOCATOR);
    let counters = run_to_end(plan, around, CancellationToken::new(), Duration::from_secs(60)).await.unwrap();
    let change = region.change();
    assert_eq!(counters.events_out, u64::from(lines));
    (change.allocations + change.reallocations) as f64
}

// One test: what others do meanwhile would be counted, too.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_asked_for_by_batches_and_not_by_events() {
    let _only = rustls::crypto::ring::default_provider().install_default();
    let bulk = format!("elasticsearch {{ hosts => 'http://{}' manage_template => false }}", sink());
    for (name, filters, output) in
        [("file -> null", "", "null { }"), ("grok -> null", GROK, "null { }"), ("grok -> bulk", GROK, &bulk)]
    {
        let short = allocations(SHORT, filters, output).await;
        let long = allocations(LONG, filters, output).await;
        let per_event = (long - short) / f64::from(LONG - SHORT);
        assert!(
            per_event < PER_EVENT_MAX,
            "{name}: memory was asked for {per_event:.2} times for each event"
        );
    }
}
