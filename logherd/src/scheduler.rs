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

fn was_torn_down(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(::scheduler::Error::WasTornDown(_))))
}
