//! Runs a command until it ends or a signal asks it to stop; the second signal ends the process at once.
use crate::exit::Exit;
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a shell shows for a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Runs a command on a new runtime. Its token is cancelled by the first TERM or INT.
pub(crate) fn until_stopped(
    command: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut watcher = JoinSet::new();
        let mut terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
        let asked = stop.clone();
        watcher.spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if asked.is_cancelled() {
                    tracing::warn!(signal = name, "ending at once");
                    std::process::exit(INTERRUPTED);
                }
                tracing::info!(signal = name, "stopping; once more ends at once");
                asked.cancel();
            }
        });
        Box::pin(command(stop)).await
    });
    // Blocking reads of standard input cannot be ended: do not wait for them.
    runtime.shutdown_background();
    ended
}
