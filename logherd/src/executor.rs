//! `logherd executor`: the log agent of one node, started by Mesos.
use crate::exit::Exit;
use anyhow::Context as _;
use config::settings::ExecutorSettings;
use tokio_util::sync::CancellationToken;

/// Runs the executor until Mesos or a signal ends it.
pub(crate) async fn executor(settings: ExecutorSettings, stop: CancellationToken) -> anyhow::Result<Exit> {
    Box::pin(::executor::run(settings, stop)).await.context("run the executor")?;
    Ok(Exit::Fine)
}
