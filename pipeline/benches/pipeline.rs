//! Measures whole pipelines in lines per second: `cargo bench -p pipeline --bench pipeline [-- LINES [NAME]]`.
#![allow(clippy::print_stdout, reason = "a benchmark tells its figures to who started it")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use pipeline::{Scope, Surroundings, compile, run_to_end};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const GROK: &str = r#"grok { match => { "message" => "%{COMBINEDAPACHELOG}" } }"#;
const DATE: &str = r#"date { match => [ "timestamp", "dd/MMM/yyyy:HH:mm:ss Z" ] }"#;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let lines = given.first().and_then(|a| a.parse().ok()).unwrap_or(1_000_000);
    let name = given.get(1).cloned().unwrap_or_default();
    let _only = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(lines, &name));
}

async fn measure(lines: usize, wanted: &str) {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("access.log");
    let bytes = write_lines(&input, lines);
    println!("{lines} lines of {} bytes, {} processors", bytes / lines, processors());
    let mut tasks = JoinSet::new();
    let sink = sink(&mut tasks).await;
    let elasticsearch = format!("elasticsearch {{ hosts => 'http://{sink}' }}");
    let file = format!("file {{ path => '{}/out.log' }}", dir.path().display());
    for (name, filters, output) in [
        ("file -> null", String::new(), "null { }".to_owned()),
        ("file -> grok -> null", GROK.to_owned(), "null { }".to_owned()),
        ("file -> grok, date -> null", format!("{GROK} {DATE}"), "null { }".to_owned()),
        ("file -> file (json_lines)", String::new(), file),
        ("file -> elasticsearch", String::new(), elasticsearch.clone()),
        ("file -> grok -> elasticsearch", GROK.to_owned(), elasticsearch),
    ] {
        if !name.contains(wanted) {
            continue;
        }
        let config = format!(
            "input {{ file {{ path => '{}' mode => read sincedb_path => '/dev/null' }} }}
             filter {{ {filters} }} output {{ {output} }}",
            input.display()
        );
        for workers in [1, processors()] {
            let rate = run(&config, dir.path(), lines, workers).await;
            println!("{name:32} {workers} worker(s): {rate:>10.0} lines/s, peak RSS {} MiB", peak_rss_mib());
        }
    }
}

async fn run(config: &str, dir: &Path, lines: usize, workers: usize) -> f64 {
    let plan = compile(Scope::Run, config, &|_| None).expect("the configuration is good");
    let mut around = Surroundings::new(dir.join("data"), "host-1", "bench");
    around.workers = workers;
    let begin = Instant::now();
    let counters = run_to_end(plan, around, CancellationToken::new(), Duration::from_secs(60)).await.unwrap();
    let taken = begin.elapsed();
    assert_eq!(counters.events_out, lines as u64);
    lines as f64 / taken.as_secs_f64()
}

/// Takes bulk requests and says yes to everything.
async fn sink(tasks: &mut JoinSet<()>) -> std::net::SocketAddr {
    async fn yes(body: Bytes) -> &'static str {
        assert!(body.ends_with(b"\n"));
        r#"{"errors":false}"#
    }
    let router = Router::new().route("/_bulk", post(yes)).layer(axum::extract::DefaultBodyLimit::disable());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Writes an access log; returns its size.
fn write_lines(path: &Path, lines: usize) -> usize {
    let mut text = String::new();
    for i in 0..lines {
        writeln!(
            text,
            r#"10.{}.{}.{} - user{} [10/Oct/2025:13:{:02}:{:02} +0000] "GET /articles/{}/index.html?page={} HTTP/1.1" {} {} "https://example.org/start/{}" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0""#,
            i % 250, i / 250 % 250, i % 199, i % 977, i / 60 % 60, i % 60, i % 4999, i % 13, 200 + i % 5,
            100 + i % 50_000, i % 31
        )
        .unwrap();
    }
    std::fs::write(path, &text).unwrap();
    text.len()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn peak_rss_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok()).map_or(0, |kib: usize| kib / 1024)
}
