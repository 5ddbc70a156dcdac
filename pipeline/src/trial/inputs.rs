//! Runs an input in a pipeline and reads the events that come out; for tests.
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Running, Scope, Surroundings, compile, run_to_end, start};
use tokio_util::sync::CancellationToken;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An input at work.
pub(crate) struct Trial {
    running: Option<Running>,
    output: PathBuf,
    _dir: TempDir,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    match std::net::UdpSocket::bind(("127.0.0.1", port)) {
        Ok(_) => port,
        Err(_) => free_port(),
    }
}

fn plan(input: &str, output: &std::path::Path) -> crate::Plan {
    let text = format!(
        "input {{ {input} }}
         output {{ file {{ path => '{}' codec => json_lines }} }}",
        output.display()
    );
    compile(Scope::Run, &text, &|_| None).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|p| p.render("trial", &text)).collect::<String>())
    })
}

impl Trial {
    /// Starts an input.
    pub(crate) fn start(input: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("events");
        let around = Surroundings::new(dir.path().join("data"), "host-1", "trial");
        let running = start(plan(input, &output), around).unwrap();
        Self { running: Some(running), output, _dir: dir }
    }

    /// All events of an input that comes to an end.
    pub(crate) async fn to_end(input: &str) -> Vec<serde_json::Value> {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("events");
        let around = Surroundings::new(dir.path().join("data"), "host-1", "trial");
        run_to_end(plan(input, &output), around, CancellationToken::new(), PATIENCE).await.unwrap();
        read(&output)
    }

    /// Waits until `holds`.
    pub(crate) async fn until(&mut self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds().await {
                if let Some(running) = &self.running
                    && running.state().is_over()
                {
                    panic!("{what}: {:?}", running.state());
                }
                tick.tick().await;
            }
        });
        assert!(waited.await.is_ok(), "never: {what}");
    }

    /// Waits for so many events; there are no others.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<serde_json::Value> {
        let output = self.output.clone();
        self.until(&format!("{count} events"), async || read(&output).len() >= count).await;
        let events = read(&self.output);
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    /// Stops it in order.
    pub(crate) async fn stop(&mut self) {
        self.running.take().unwrap().stop(PATIENCE).await.unwrap();
    }
}

fn read(output: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(output).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| text.split_at(end + 1).0);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
