//! Starts a master with its virtual agents and executors, and schedulers beside it.

use crate::Wanted;
use crate::executors::{Seen, play};
use crate::zookeeper::Zookeeper;
use local::{Crowd, Settings};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many things that happened to executors wait to be played.
const HAPPENED: usize = 1024;

/// Everything but the schedulers.
pub(crate) struct Nodes {
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) zookeeper: Option<Zookeeper>,
    dir: tempfile::TempDir,
    keep: Option<std::path::PathBuf>,
    _playing: JoinSet<()>,
}

impl Nodes {
    pub(crate) async fn start(size: usize, wanted: &Wanted) -> Self {
        let dir = tempfile::Builder::new().prefix("logherd-scale.").tempdir().unwrap();
        let (happened_out, happened) = mpsc::channel(HAPPENED);
        let crowd = Crowd::start(Settings::new(dir.path().join("mesos"), size), happened_out).await.unwrap();
        let (crowd, seen) = (Arc::new(crowd), Arc::new(Seen::default()));
        let (running_out, mut running) = mpsc::channel(HAPPENED);
        let mut playing = JoinSet::new();
        playing.spawn(play(happened, running_out, wanted.load, Arc::clone(&seen)));
        let agents = Arc::clone(&crowd);
        playing.spawn(async move {
            while let Some(agent) = running.recv().await {
                agents.runs(agent).await;
            }
        });
        let zookeeper = Zookeeper::start(dir.path()).await;
        Self { crowd, seen, zookeeper, dir, keep: wanted.keep.clone(), _playing: playing }
    }

    /// Starts a scheduler.
    pub(crate) fn scheduler(&self, wanted: &Wanted, name: &str) -> Scheduler {
        let port = free_port();
        let state = match &self.zookeeper {
            Some(zookeeper) => zookeeper.address(),
            None => self.dir.path().join("state").display().to_string(),
        };
        let logs = self.keep.as_deref().unwrap_or(self.dir.path());
        std::fs::create_dir_all(logs).unwrap();
        let log = std::fs::File::create(logs.join(format!("{name}.log"))).unwrap();
        let child = Command::new(&wanted.logherd)
            .args(["scheduler", "--master", &self.crowd.master().to_string(), "--state", &state])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--control-listen", "127.0.0.1:0"])
            // Nothing runs it: the executors are virtual.
            .args(["--executor-binary", "/usr/bin/logherd", "--zk-session-timeout", "4s"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .current_dir(self.dir.path())
            .spawn()
            .unwrap();
        Scheduler { child, api: Api::new(port) }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A scheduler's process; it is killed when this is dropped.
pub(crate) struct Scheduler {
    child: Child,
    pub(crate) api: Api,
}

impl Scheduler {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A client of a scheduler's API.
pub(crate) struct Api {
    url: String,
    client: reqwest::Client,
}

impl Api {
    fn new(port: u16) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { url: format!("http://127.0.0.1:{port}"), client }
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let text = self.text(path).await?;
        serde_json::from_str(&text).ok()
    }

    pub(crate) async fn text(&self, path: &str) -> Option<String> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.ok()?;
        response.text().await.ok()
    }

    /// Writes a host config; gives its revision.
    pub(crate) async fn put(&self, name: &str, text: &str) -> u64 {
        let url = format!("{}/api/v1/host-configs/{name}", self.url);
        let body = serde_json::json!({ "input": text });
        let response = self.client.put(url).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        let tag = response.headers().get("etag").unwrap().to_str().unwrap().to_owned();
        tag.trim_matches('"').parse().unwrap()
    }

    pub(crate) async fn number(&self, path: &str, member: &str) -> Option<u64> {
        self.get(path).await?.get(member)?.as_u64()
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
