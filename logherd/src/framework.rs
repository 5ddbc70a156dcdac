//! Runs the scheduler and the page beside each other: a view goes one way, edits go the other.
use anyhow::{Context as _, bail};
use config::settings::SchedulerSettings;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use web::view::View;
use web::{Artifact, Requests};

/// How many edits may wait for the scheduler; more are answered with 503.
const EDITS_WAITING_MAX: usize = 64;
/// How many orders may wait for it; more are answered with 503.
const ORDERS_WAITING_MAX: usize = 16;

/// How long an address that is in use is tried: a process that was just killed may still hold it.
const BIND_DEADLINE: Duration = Duration::from_secs(2);
/// How often it is tried.
const BIND_EVERY: Duration = Duration::from_millis(100);

/// Binds an address, and says which setting changes it.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let start = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && start.elapsed() < BIND_DEADLINE => {
                tokio::time::sleep(BIND_EVERY).await;
            }
            bound => {
                return bound.with_context(|| {
                    format!(
                        "listen on {address}, where the page is to be; another one can be set with --listen"
                    )
                });
            }
        }
    }
}

/// Runs both until `stop`; if one ends before, so does the other. `onlooker` sees every view.
pub(crate) async fn run(
    mut settings: SchedulerSettings,
    listener: TcpListener,
    stop: CancellationToken,
    onlooker: impl Future<Output = ()> + Send + 'static,
    view: watch::Sender<Arc<View>>,
) -> anyhow::Result<()> {
    let artifact = own_program(&settings).await?;
    settings.artifact = artifact.as_ref().map(Artifact::path);
    let (edits, edits_asked) = mpsc::channel(EDITS_WAITING_MAX);
    let (orders, orders_given) = mpsc::channel(ORDERS_WAITING_MAX);
    let keeper = Requests { edits, orders };
    let both = stop.child_token();
    // Cancelled when there is nothing left to keep.
    let torn_down = CancellationToken::new();
    let over = torn_down.clone();
    let mut tasks: JoinSet<anyhow::Result<&'static str>> = JoinSet::new();
    let mut onlookers = JoinSet::new();
    onlookers.spawn(onlooker);
    let seen = view.subscribe();
    let token = both.clone();
    tasks.spawn(async move {
        web::serve(listener, seen, keeper, artifact, token).await.context("serve the page")?;
        Ok("page")
    });
    let token = both.clone();
    tasks.spawn(async move {
        let people = ::scheduler::People { edits: edits_asked, orders: orders_given, view };
        let ended = Box::pin(::scheduler::run(settings, people, token)).await.context("run the scheduler")?;
        if ended == ::scheduler::Ended::TornDown {
            over.cancel();
        }
        Ok("scheduler")
    });
    let mut ended = Ok(());
    while let Some(task) = tasks.join_next().await {
        let result = match task.context("go on after a panic").and_then(|result| result) {
            Ok(name) if !stop.is_cancelled() && !torn_down.is_cancelled() => {
                Err(anyhow::anyhow!("keep the {name} running: it ended by itself"))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        both.cancel();
        // The first reason is the cause of the others.
        if ended.is_ok() && !(result.is_err() && stop.is_cancelled() && ended.is_err()) {
            ended = result;
        }
    }
    if let Err(error) = ended {
        bail!(error);
    }
    Ok(())
}

/// This program, if agents are to fetch it from here.
async fn own_program(settings: &SchedulerSettings) -> anyhow::Result<Option<Artifact>> {
    if !settings.executors_fetch() {
        return Ok(None);
    }
    // The program that runs, also when another one has been put in its place meanwhile.
    let read = || Artifact::of(Path::new("/proc/self/exe"), "logherd");
    let artifact = tokio::task::spawn_blocking(read).await.context("go on after a panic")?;
    artifact.map(Some).context(
        "read this program, to serve it to the nodes; it can also be there before (--executor-binary) or in an image (--executor-image)",
    )
}
