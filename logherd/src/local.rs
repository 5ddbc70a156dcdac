//! `logherd local`: everything on this machine, talking over loopback exactly as with a real cluster.
mod retire;
mod secret;

use crate::exit::Exit;
use crate::framework;
use crate::terminal::say;
use anyhow::Context as _;
use config::settings::{LocalSettings, SchedulerSettings};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use web::view::View;

/// After this long without being ready, the terminal says what is being waited for.
const IMPATIENCE: Duration = Duration::from_secs(20);

/// Runs everything until a signal ends it. Then executors are shut down by their agents, and nothing is left running.
pub(crate) async fn local(settings: LocalSettings, stop: CancellationToken) -> anyhow::Result<Exit> {
    let data_dir = settings.data_dir();
    // Configs, which may hold passwords, log lines and the tokens of executors are for nobody else.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&data_dir)
        .with_context(|| format!("make the data directory `{}`", data_dir.display()))?;
    let data_dir = data_dir
        .canonicalize()
        .with_context(|| format!("find the data directory `{}`", data_dir.display()))?;
    let listener = match settings.mesos_only {
        true => None,
        false => Some(framework::listen(settings.listen).await?),
    };
    let before = retire::remembered(&data_dir);
    let shared = match settings.mesos_only {
        true => None,
        false => Some(secret::shared(&data_dir)?),
    };
    let cluster = ::local::Cluster::start(cluster_settings(&settings, &data_dir, before, shared.as_ref()))
        .await
        .context("start the embedded Mesos")?;
    if before > settings.nodes {
        retire::retire(&cluster, settings.nodes, shared.as_ref()).await?;
    }
    retire::remember(&data_dir, settings.nodes)?;
    let master = cluster.master();
    let ended = match listener {
        None => {
            say(&mesos_only_text(master, &data_dir));
            stop.cancelled().await;
            Ok(())
        }
        Some(listener) => {
            let url = format!("http://{}", listener.local_addr().context("read the address of the page")?);
            let mut scheduler = scheduler_settings(&settings, master, &data_dir)?;
            if let Some(shared) = &shared {
                scheduler.credentials.principal = Some(secret::PRINCIPAL.to_owned());
                scheduler.credentials.secret_file = Some(shared.file.clone());
            }
            let view = watch::Sender::new(Arc::new(View::default()));
            let onlooker = announce(view.subscribe(), url);
            framework::run(scheduler, listener, stop, onlooker, view).await
        }
    };
    cluster.stop().await;
    ended.map(|()| Exit::Fine)
}

fn cluster_settings(
    settings: &LocalSettings,
    data_dir: &Path,
    before: usize,
    shared: Option<&secret::Shared>,
) -> ::local::Settings {
    let mut wanted = ::local::Settings::new(data_dir, settings.nodes.max(before));
    wanted.master_listen = settings.mesos_listen;
    // Nobody else on this machine can pose as an executor.
    wanted.executor_tokens = true;
    wanted.credentials = shared.map(|s| (secret::PRINCIPAL.to_owned(), s.text.clone())).into_iter().collect();
    for (node, number) in wanted.nodes.iter_mut().zip(1..) {
        let own = data_dir.join("nodes").join(format!("{number}"));
        node.executor_env.push(("LOGHERD_DATA_DIR".into(), own.display().to_string()));
        // All nodes are this one machine: each takes its share of the containers, so that no line is shipped twice.
        node.executor_env
            .push(("LOGHERD_CONTAINER_SHARE".into(), format!("{number}/{}", settings.nodes.max(number))));
    }
    wanted
}

fn scheduler_settings(
    settings: &LocalSettings,
    master: SocketAddr,
    data_dir: &Path,
) -> anyhow::Result<SchedulerSettings> {
    let state = data_dir.join("state").display().to_string();
    let mut wanted =
        SchedulerSettings::for_master(&master.to_string(), &state).context("settle the scheduler")?;
    wanted.listen = settings.listen;
    wanted.control_listen = (Ipv4Addr::LOCALHOST, control_port(data_dir)?).into();
    wanted.control_advertise = None;
    wanted.config_dir = settings.config_dir.clone();
    wanted.executor_image = None;
    wanted.executor = settings.executor.clone();
    if wanted.executor.executor_binary.is_none() {
        let own =
            std::env::current_exe().context("find the path of this program, to start executors with it")?;
        wanted.executor.executor_binary = Some(own);
    }
    wanted.collecting = settings.collecting.clone();
    // Executors that outlived a crash are replaced by what this start asks for.
    wanted.upgrade_by_itself = true;
    Ok(wanted)
}

/// The port of the control plane: the same as last time if it is free, so that executors that outlived a crash come
/// back to it; else any free one.
fn control_port(data_dir: &Path) -> anyhow::Result<u16> {
    let path = data_dir.join("control.port");
    let remembered = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match remembered.map(bind) {
        Some(Ok(listener)) => listener,
        _ => bind(0).context("find a free port for the control plane")?,
    };
    let port = listener.local_addr().context("read the port of the control plane")?.port();
    std::fs::write(&path, port.to_string())
        .with_context(|| format!("remember the port in `{}`", path.display()))?;
    Ok(port)
}

fn mesos_only_text(master: SocketAddr, data_dir: &Path) -> String {
    format!(
        "ready: the embedded Mesos master listens on {master}\n\
         next:  logherd scheduler --master {master} --state {}\n\
         note:  it asks nobody for credentials: any user of this machine can start programs through it.\n\
         Ctrl-C stops it and every executor.",
        data_dir.join("state").display()
    )
}

/// Says when every node is covered, and what to do next; or, after a while, what is being waited for.
async fn announce(mut view: watch::Receiver<Arc<View>>, url: String) {
    say(&format!("logherd {} · starting · {url}", env!("CARGO_PKG_VERSION")));
    let covered = |view: &Arc<View>| {
        view.status.nodes_known > 0 && view.status.nodes_covered >= view.status.nodes_known
    };
    loop {
        let ready = async { Some(ready_text(&*view.wait_for(covered).await.ok()?, &url)) };
        match tokio::time::timeout(IMPATIENCE, ready).await {
            Ok(Some(text)) => return say(&text),
            Ok(None) => return,
            Err(_) => {}
        }
        let text = waiting_text(&view.borrow());
        say(&format!("not ready yet: {text}"));
    }
}

fn ready_text(view: &View, url: &str) -> String {
    let nodes = view.status.nodes_known;
    let s = if nodes == 1 { "" } else { "s" };
    let shared = match nodes {
        0 | 1 => "",
        _ => "\nnote:  these nodes share one Docker daemon: each of them streams its share of the containers",
    };
    let next = match view.documents.len() {
        0 => format!(
            "next:  open {url}/config and write a config, or\n       \
             logherd configs put nginx FILE --api {url}"
        ),
        1 => format!("next:  open {url}; 1 config is in force"),
        n => format!("next:  open {url}; {n} configs are in force"),
    };
    format!(
        "ready: {url} · {nodes} node{s} covered{shared}\n{next}\nCtrl-C stops everything; a second start goes on where this one stopped."
    )
}

fn waiting_text(view: &View) -> String {
    let status = &view.status;
    let uncovered = view.nodes.iter().find(|node| node.coverage.is_missing());
    match uncovered {
        Some(node) => format!("{} is {}: {}", node.host, node.coverage.word().replace('_', " "), node.reason),
        None if status.detail.is_empty() => format!("the scheduler is {}", status.phase),
        None => format!("the scheduler is {}: {}", status.phase, status.detail),
    }
}
