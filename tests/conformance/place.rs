//! Where the assertions are asked: the embedded cluster, and a real one when it is named in the environment.

use config::settings::environment as variable;
use local::{Cluster, Settings, Timings};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A real cluster has few agents, and offers are exclusive: one test at a time.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// A cluster under test.
pub(crate) struct Place {
    /// `host:port` of the master.
    pub(crate) master: String,
    /// `host:port` of the agent that stands for all, when offers do not tell a usable one.
    pub(crate) agent: Option<String>,
    /// The role of our frameworks.
    pub(crate) role: String,
    /// The account on the agents that executors run as.
    pub(crate) user: String,
    /// Principal and secret.
    pub(crate) credentials: Option<(String, String)>,
    /// How long something may take that comes by itself.
    pub(crate) patience: Duration,
    /// How long nothing must come before it is believed that nothing comes.
    pub(crate) silence: Duration,
    /// Whether this is the embedded one, which may be treated roughly.
    pub(crate) embedded: Option<Cluster>,
}

/// The real cluster, when there is one.
fn real() -> Option<Place> {
    let principal = variable("MESOS_PRINCIPAL");
    Some(Place {
        master: variable("MESOS_MASTER")?,
        agent: variable("MESOS_AGENT"),
        role: variable("MESOS_ROLE").unwrap_or_else(|| "logherd-conformance".into()),
        user: variable("MESOS_USER").unwrap_or_else(|| "root".into()),
        credentials: principal.map(|principal| (principal, variable("MESOS_SECRET").unwrap_or_default())),
        patience: Duration::from_secs(60),
        silence: Duration::from_secs(4),
        embedded: None,
    })
}

async fn embedded(data_dir: &std::path::Path) -> Place {
    let mut settings = Settings::new(data_dir, 2);
    settings.timings = Timings { allocation: Duration::from_millis(50), ..Timings::default() };
    let cluster = Cluster::start(settings).await.unwrap();
    Place {
        master: cluster.master().to_string(),
        agent: None,
        role: "logherd-conformance".into(),
        user: "root".into(),
        credentials: None,
        patience: Duration::from_secs(20),
        silence: Duration::from_millis(400),
        embedded: Some(cluster),
    }
}

/// Checks something on every cluster that there is.
pub(crate) async fn everywhere(check: impl AsyncFn(&Place)) {
    let dir = tempfile::tempdir().unwrap();
    let mut place = embedded(dir.path()).await;
    Box::pin(check(&place)).await;
    if let Some(cluster) = place.embedded.take() {
        cluster.stop().await;
    }
    if let Some(place) = real() {
        let _alone = ONE_AT_A_TIME.acquire().await.unwrap();
        Box::pin(check(&place)).await;
    }
}
