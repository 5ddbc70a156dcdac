//! Runs a command until it ends or a signal asks it to stop; the second signal ends the process at once.
use crate::exit::Exit;
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a shell shows for a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Threads that wait for sockets and timers, for a command whose work is done elsewhere: every further one takes memory.
pub(crate) const FEW_THREADS: usize = 2;

/// How many threads a command has that does much by itself.
pub(crate) fn all_processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs a command on a new runtime with so many threads, or as many as there are processors if that is less. Its token is
/// cancelled by the first TERM or INT.
pub(crate) fn until_stopped(
    threads: usize,
    command: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.clamp(1, all_processors()))
        .enable_all()
        .build()
        .context("start the runtime")?;
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
