//! Starts the node API of `logherd run`, and says what the process uses.
use config::settings::ApiSettings;
use pipeline::{NodeAbout, ProcessFigures, View};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many ticks the system's clocks of processor time have in a second; on Linux it is always this.
const TICKS: u64 = 100;
/// The bytes of a page of memory where the system does not say.
const PAGE: u64 = 4096;

/// Serves what is seen of a pipeline on the first port that is free. Without a free one the pipeline runs all the same.
pub(crate) async fn start(
    settings: &ApiSettings,
    view: View,
    host: String,
    workers: usize,
    stop: CancellationToken,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    if !settings.api_enabled {
        return tasks;
    }
    let listener = match bind(settings).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(host = %settings.api_http_host, ports = %settings.api_http_port, %error, "the node API cannot listen; the pipeline runs without");
            return tasks;
        }
    };
    let address = listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
    tracing::info!(%address, "the node API listens");
    let name = settings.node_name.clone().unwrap_or_else(|| host.clone());
    let id = format!("{host}-{}", std::process::id());
    let about = NodeAbout { host, name, address, id, started: Instant::now(), workers };
    let answers: web::NodeAnswers =
        Arc::new(move |path| pipeline::node_answer(&about, used(), std::slice::from_ref(&view), path));
    tasks.spawn(async move {
        if let Err(error) = web::serve_node_api(listener, answers, stop).await {
            tracing::warn!(%error, "the node API ended");
        }
    });
    tasks
}

async fn bind(settings: &ApiSettings) -> std::io::Result<TcpListener> {
    let mut last = std::io::Error::other("there is no port to try");
    for port in settings.api_http_port.0..=settings.api_http_port.1 {
        match TcpListener::bind(SocketAddr::new(settings.api_http_host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What this process uses, as far as the system tells.
fn used() -> ProcessFigures {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may hold anything; what follows its bracket are numbers.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |nth: usize| fields.get(nth).copied().unwrap_or(0);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let max_files =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    ProcessFigures {
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        max_files: max_files.and_then(|text| text.parse().ok()).unwrap_or(0),
        virtual_bytes: field(20),
        resident_bytes: field(21) * PAGE,
        cpu_ms: (field(11) + field(12)) * 1000 / TICKS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_uses_files_memory_and_time() {
        let used = used();
        assert!(used.open_files > 2 && used.max_files >= used.open_files, "{used:?}");
        assert!(used.virtual_bytes > used.resident_bytes && used.resident_bytes > 1 << 20, "{used:?}");
    }
}
