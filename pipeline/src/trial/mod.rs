//! Tries plugins as configurations name them; for tests.
pub(crate) mod certificates;
pub(crate) mod codecs;
pub(crate) mod inputs;

/// Plays a server that takes its time; no test waits by it for a state.
pub(crate) async fn passes(time: std::time::Duration) {
    tokio::time::timeout(time, std::future::pending::<()>()).await.ok();
}
