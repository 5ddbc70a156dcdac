//! Watches the containers of this node: events first, then a list, then a list every few seconds.
//!
//! What is seen is published as a whole ([`Seen`]); whoever reads it compares it with what is wanted. A daemon that is
//! absent or restarts is a state, not a failure: it is tried again, and until then nothing is known about containers, so
//! those known before stay until a list without them has been seen.
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, EventMessage};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use config::settings::Share;
use futures_util::StreamExt;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

const LIST_EVERY: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A container as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// Its name, without the leading slash.
    pub(crate) name: String,
    /// Its image, as it was named when the container was made.
    pub(crate) image: String,
    /// Whether programs can run in it.
    pub(crate) running: bool,
    /// When it ended, if it did and that is known.
    pub(crate) ended: Option<Timestamp>,
}

/// What is known about Docker on this node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The daemon, while it can be reached.
    pub(crate) docker: Option<Docker>,
    /// The daemon's version, or why it cannot be reached.
    pub(crate) detail: String,
    /// Whether `containers` was ever filled.
    pub(crate) listed: bool,
    /// The containers by full id: all there are, running or not.
    pub(crate) containers: Arc<BTreeMap<String, Container>>,
}

/// Where the daemon is.
#[derive(Clone, Debug)]
pub(crate) struct DockerAddress {
    /// `unix:///path` or `tcp://host:port`.
    pub(crate) host: String,
    /// A directory with `ca.pem`, `cert.pem`, `key.pem`: TLS.
    pub(crate) cert_path: Option<PathBuf>,
}

impl DockerAddress {
    /// Makes a client. Nothing is connected yet; only the address is checked.
    pub(crate) fn client(&self) -> Result<Docker, String> {
        const TIMEOUT_SECONDS: u64 = 60;
        let host = self.host.as_str();
        let made = match (&self.cert_path, host.split_once("://")) {
            (_, Some(("unix", path))) => {
                Docker::connect_with_socket(path, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            }
            (Some(certs), Some(("tcp" | "https", _))) => Docker::connect_with_ssl(
                host,
                &certs.join("key.pem"),
                &certs.join("cert.pem"),
                &certs.join("ca.pem"),
                TIMEOUT_SECONDS,
                API_DEFAULT_VERSION,
            ),
            (None, Some(("tcp" | "http", _))) => {
                Docker::connect_with_http(host, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            }
            _ => {
                return Err(format!(
                    "`{host}` is no address of a Docker daemon: write `unix:///var/run/docker.sock` or `tcp://host:port`"
                ));
            }
        };
        made.map_err(|error| match error {
            DockerError::SocketNotFoundError(path) => format!("there is no socket `{path}`"),
            other => in_words(&other),
        })
    }
}

/// An error with what is at the bottom of it, where the daemon's client says no more than that it failed.
fn in_words(error: &DockerError) -> String {
    let mut bottom: &dyn std::error::Error = error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    let denied =
        bottom.downcast_ref().is_some_and(|e: &io::Error| e.kind() == io::ErrorKind::PermissionDenied);
    match error {
        DockerError::HyperLegacyError { .. } if denied => {
            "permission denied: the user of this executor may not use the daemon; add it to the group `docker`".to_owned()
        }
        DockerError::HyperLegacyError { .. } => format!("the daemon cannot be reached: {bottom}"),
        other => other.to_string(),
    }
}

/// Which containers are this executor's business.
#[derive(Clone, Debug)]
pub(crate) struct Mine {
    /// The part of the daemon's containers that is this node's.
    pub(crate) share: Share,
    /// The container that this executor runs in, by name: what it says itself is not collected.
    pub(crate) own: Option<String>,
}

impl Mine {
    fn takes(&self, id: &str, name: Option<&str>) -> bool {
        self.share.takes(id) && (self.own.is_none() || self.own.as_deref() != name)
    }
}

/// Watches until `stop` the containers that are `mine`.
pub(crate) async fn watch_containers(
    address: DockerAddress,
    mine: Mine,
    seen: watch::Sender<Seen>,
    stop: CancellationToken,
) {
    let mut pause = PAUSE_MIN;
    let mut images = Images { mine, of: HashMap::new() };
    while !stop.is_cancelled() {
        let began = Instant::now();
        let reason = match address.client() {
            Ok(docker) => tokio::select! {
                reason = watch_once(&docker, &seen, &mut images) => reason,
                () = stop.cancelled() => return,
            },
            Err(reason) => reason,
        };
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        seen.send_if_modified(|seen| {
            let news = seen.docker.is_some() || seen.detail != reason;
            if news {
                tracing::warn!(reason, "docker cannot be reached");
                seen.docker = None;
                seen.detail.clone_from(&reason);
            }
            news
        });
        tokio::select! {
            () = sleep_until(Instant::now() + pause) => {}
            () = stop.cancelled() => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Watches until something fails, and says what.
async fn watch_once(docker: &Docker, seen: &watch::Sender<Seen>, images: &mut Images) -> String {
    let version = match timeout(ANSWER_WITHIN, docker.version()).await {
        Ok(Ok(version)) => version.version.unwrap_or_default(),
        Ok(Err(error)) => return in_words(&error),
        Err(_) => return "the daemon does not answer".to_owned(),
    };
    let actions = ["create", "start", "die", "destroy", "rename", "pause", "unpause"];
    let filters = HashMap::from([("type", vec!["container"]), ("event", actions.to_vec())]);
    // What happens before the daemon has got this request is replayed, so nothing falls between stream and list.
    // Not from the whole second on: a container that started and ended just before would look as if it had started now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let options = EventsOptionsBuilder::default().since(&now).filters(&filters).build();
    let mut events = Box::pin(docker.events(Some(options)));
    let mut next_list = Instant::now();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = sleep_until(next_list) => {
                match timeout(ANSWER_WITHIN, list(docker, images)).await {
                    Ok(Ok(containers)) => publish_list(seen, docker, &version, containers),
                    Ok(Err(error)) => return in_words(&error),
                    Err(_) => return "the daemon does not answer".to_owned(),
                }
                next_list = Instant::now() + LIST_EVERY;
                continue;
            }
        };
        match event {
            Some(Ok(event)) => {
                if !apply_event(seen, images, &event) {
                    next_list = Instant::now();
                }
            }
            Some(Err(error)) => return in_words(&error),
            None => return "the daemon closed its event stream".to_owned(),
        }
    }
}

fn publish_list(
    seen: &watch::Sender<Seen>,
    docker: &Docker,
    version: &str,
    containers: BTreeMap<String, Container>,
) {
    seen.send_if_modified(|seen| {
        let news = seen.docker.is_none() || !seen.listed || *seen.containers != containers;
        if seen.docker.is_none() {
            tracing::info!(version, containers = containers.len(), "docker is there");
            seen.docker = Some(docker.clone());
            seen.detail = format!("Docker {version}");
        }
        seen.listed = true;
        seen.containers = Arc::new(containers);
        news
    });
}

async fn list(docker: &Docker, images: &mut Images) -> Result<BTreeMap<String, Container>, DockerError> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let mut containers = BTreeMap::new();
    for summary in docker.list_containers(Some(options)).await? {
        let own_name = name(&summary);
        let mine = |id: &String| images.mine.takes(id, Some(&own_name));
        let Some(id) = summary.id.clone().filter(mine) else { continue };
        let running = is_running(&summary);
        let Image { name: image, ended } = match images.of.get_mut(&id) {
            Some(image) if running => {
                image.ended = None;
                image.clone()
            }
            Some(image) if image.ended.is_some() => image.clone(),
            _ => images.find(docker, &id, &summary).await,
        };
        let ended = ended.filter(|_| !running);
        containers.insert(id, Container { name: own_name, image, running, ended });
    }
    images.of.retain(|id, _| containers.contains_key(id));
    Ok(containers)
}

/// The name that people gave; links show up as further names with more slashes.
fn name(summary: &ContainerSummary) -> String {
    let names = summary.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    names.min_by_key(|name| name.matches('/').count()).unwrap_or_default().to_owned()
}

fn is_running(summary: &ContainerSummary) -> bool {
    matches!(summary.state, Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED))
}

/// The images of this node's containers by container id, as they were named when the containers were made: the list shows a mere
/// digest once the name belongs to a newer image.
#[derive(Debug)]
struct Images {
    /// Other containers are none of this node's business.
    mine: Mine,
    of: HashMap<String, Image>,
}

/// What is asked for once for each container, and once more when it ends.
#[derive(Clone, Debug)]
struct Image {
    name: String,
    /// When the container ended; long ago for one that never ran.
    ended: Option<Timestamp>,
}

impl Images {
    async fn find(&mut self, docker: &Docker, id: &str, summary: &ContainerSummary) -> Image {
        let inspected = docker.inspect_container(id, None).await.ok();
        let (config, state) = inspected.map(|c| (c.config, c.state)).unwrap_or_default();
        let name = config.and_then(|c| c.image).or_else(|| summary.image.clone()).unwrap_or_default();
        let ended = state.and_then(|state| state.finished_at).and_then(|at| at.parse().ok());
        let image = Image { name, ended };
        self.of.insert(id.to_owned(), image.clone());
        image
    }
}

/// Changes what is seen as an event says; `false` when a list is needed to know.
fn apply_event(seen: &watch::Sender<Seen>, images: &mut Images, event: &EventMessage) -> bool {
    let Some(actor) = &event.actor else { return true };
    let (Some(id), Some(action)) = (&actor.id, event.action.as_deref()) else { return true };
    let attribute = |key| actor.attributes.as_ref().and_then(|a| a.get(key)).cloned();
    if !images.mine.takes(id, attribute("name").as_deref()) {
        return true;
    }
    let mut set_running = |running: bool| {
        let known = seen.borrow().containers.get(id).cloned();
        let at = event.time_nano.and_then(|at| Timestamp::from_nanosecond(at.into()).ok());
        let ended = at.filter(|_| !running);
        let container = match (known, attribute("name"), attribute("image")) {
            (Some(known), _, _) => Container { running, ended, ..known },
            (None, Some(name), Some(image)) => Container { name, image, running, ended },
            (None, _, _) => return false,
        };
        let known = images.of.entry(id.clone());
        known.or_insert_with(|| Image { name: container.image.clone(), ended }).ended = ended;
        seen.send_if_modified(|seen| seen.listed && change(seen, id, Some(container)));
        // Before the first list nothing may be said: it would look as if there were no other containers.
        seen.borrow().listed
    };
    match action {
        "start" => set_running(true),
        "die" => set_running(false),
        "destroy" => {
            seen.send_if_modified(|seen| change(seen, id, None));
            true
        }
        _ => false,
    }
}

fn change(seen: &mut Seen, id: &str, to: Option<Container>) -> bool {
    if seen.containers.get(id) == to.as_ref() {
        return false;
    }
    let containers = Arc::make_mut(&mut seen.containers);
    match to {
        Some(container) => containers.insert(id.to_owned(), container),
        None => containers.remove(id),
    };
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;

    fn event(action: &str, id: &str) -> EventMessage {
        let attributes = HashMap::from([("name", "web"), ("image", "nginx:1")]);
        EventMessage {
            action: Some(action.to_owned()),
            time_nano: Some(1_767_225_600_500_000_000),
            actor: Some(EventActor {
                id: Some(id.to_owned()),
                attributes: Some(attributes.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()),
            }),
            ..EventMessage::default()
        }
    }

    fn everything() -> Images {
        Images { mine: Mine { share: Share::ALL, own: None }, of: HashMap::new() }
    }

    fn listed() -> watch::Sender<Seen> {
        watch::Sender::new(Seen { listed: true, ..Seen::default() })
    }

    #[test]
    fn a_container_that_starts_is_seen_without_asking_and_one_that_ends_is_still_known() {
        let (seen, mut images) = (listed(), everything());
        assert!(apply_event(&seen, &mut images, &event("start", "c1")));
        let container = seen.borrow().containers.get("c1").cloned().unwrap();
        assert_eq!(
            container,
            Container { name: "web".into(), image: "nginx:1".into(), running: true, ended: None }
        );
        assert!(apply_event(&seen, &mut images, &event("die", "c1")));
        assert!(!seen.borrow().containers["c1"].running);
        let ended = seen.borrow().containers["c1"].ended.unwrap();
        assert_eq!(ended.to_string(), "2026-01-01T00:00:00.5Z", "to the fraction of a second");
        assert!(apply_event(&seen, &mut images, &event("destroy", "c1")));
        assert!(seen.borrow().containers.is_empty());
    }

    #[test]
    fn what_an_event_does_not_say_is_asked_for() {
        let (seen, mut images) = (listed(), everything());
        assert!(!apply_event(&seen, &mut images, &event("rename", "c1")));
        let seen = watch::Sender::new(Seen::default());
        assert!(!apply_event(&seen, &mut images, &event("start", "c1")), "before the first list");
        assert!(seen.borrow().containers.is_empty());
    }

    #[test]
    fn a_wrong_address_says_what_to_write() {
        let address = |host: &str| DockerAddress { host: host.into(), cert_path: None };
        let reason = address("/var/run/docker.sock").client().unwrap_err();
        assert!(reason.contains("unix:///var/run/docker.sock"), "{reason}");
        let reason = address("unix:///nowhere/docker.sock").client().unwrap_err();
        assert_eq!(reason, "there is no socket `/nowhere/docker.sock`");
    }

    #[tokio::test]
    async fn a_daemon_that_cannot_be_reached_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = DockerAddress { host: format!("unix://{}", path.display()), cert_path: None };
        let reason = in_words(&address.client().unwrap().version().await.unwrap_err());
        assert_eq!(reason, "the daemon cannot be reached: Connection refused (os error 111)");
    }

    #[test]
    fn links_are_not_taken_for_the_name() {
        let summary = ContainerSummary {
            names: Some(vec!["/web/db".into(), "/db".into()]),
            ..ContainerSummary::default()
        };
        assert_eq!(name(&summary), "db");
    }

    #[test]
    fn a_container_of_another_node_that_shares_the_daemon_is_not_seen() {
        let (seen, mut images) = (listed(), everything());
        images.mine.share = Share::new(1, 2).unwrap();
        let (own, other): (Vec<_>, Vec<_>) =
            (0..20).map(|i| format!("c{i}")).partition(|id| images.mine.share.takes(id));
        for id in own.iter().chain(&other) {
            assert!(apply_event(&seen, &mut images, &event("start", id)));
        }
        assert!(seen.borrow().containers.keys().all(|id| own.contains(id)));
        assert_eq!(seen.borrow().containers.len(), own.len());
    }
}
