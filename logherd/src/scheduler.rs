//! `logherd scheduler`: the framework scheduler against a real Mesos, with the page.
use crate::exit::Exit;
use crate::framework;
use crate::terminal::complain;
use config::settings::SchedulerSettings;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use web::view::View;

/// Runs the scheduler until a signal ends it. Its executors run on.
pub(crate) async fn scheduler(settings: SchedulerSettings, stop: CancellationToken) -> anyhow::Result<Exit> {
    keep_pages_small();
    let listener = framework::listen(settings.listen).await?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(url = %format!("http://{address}"), "serving the page");
    }
    let view = watch::Sender::new(Arc::new(View::default()));
    match framework::run(settings, listener, stop, async {}, view).await {
        Ok(()) => Ok(Exit::Fine),
        // Started again by a supervisor it would end the same way: the settings have to say something else first.
        Err(error) if was_torn_down(&error) => {
            complain(&format!("error: failed to {error:#}"));
            Ok(Exit::BadConfiguration)
        }
        Err(error) => Err(error),
    }
}

/// Thousands of connections have buffers of which they use a small part: a page of two megabytes around them would be resident
/// as a whole. What this process starts later would inherit it, but it starts nothing.
fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on: more memory may be resident than is used");
    }
}

fn was_torn_down(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(::scheduler::Error::WasTornDown(_))))
}
