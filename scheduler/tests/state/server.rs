//! Starts real ZooKeeper servers from Debian's `zookeeper` package, and kills them.
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{interval, timeout};

/// Where Debian's package puts the server; its manifest names what else it needs.
const JAR: &str = "/usr/share/java/zookeeper.jar";
/// How long a server may take to answer on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How long one look at a server may take.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Ports for servers: below those that the system gives to others. One is tried after the other.
const PORTS: std::ops::Range<u16> = 12_000..20_000;
/// More servers at once than this only slow each other down.
static ROOM: Semaphore = Semaphore::const_new(3);

/// A server of its own, with its own data, which survives a kill.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    _room: SemaphorePermit<'static>,
}

impl Server {
    /// Starts a server. `None`, said loudly, when there is no ZooKeeper or no Java here; in CI that is a failure.
    pub(crate) async fn start() -> Option<Self> {
        let java = Command::new("java").arg("-version").stderr(Stdio::null()).status().await;
        if !Path::new(JAR).exists() || !java.is_ok_and(|status| status.success()) {
            let ci = config::settings::environment("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "ZooKeeper is missing: install Debian's `zookeeper` and a Java runtime");
            eprintln!(
                "SKIPPED: no ZooKeeper here; install Debian's `zookeeper` and a Java runtime to run this test"
            );
            return None;
        }
        let room = ROOM.acquire().await.unwrap();
        let mut server = Self { dir: tempfile::tempdir().unwrap(), port: 0, child: None, _room: room };
        while server.child.is_none() {
            server.port = rand::random_range(PORTS);
            if TcpListener::bind(("127.0.0.1", server.port)).await.is_ok() {
                server.try_start().await;
            }
        }
        Some(server)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A `zk://` address on this server.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("zk://127.0.0.1:{}/{path}", self.port)
    }

    /// An address with credentials.
    pub(crate) fn address_as(&self, who: &str, path: &str) -> String {
        format!("zk://{who}@127.0.0.1:{}/{path}", self.port)
    }

    /// Starts the server again, on the same port with the same data, and waits until it serves.
    pub(crate) async fn restart(&mut self) {
        self.try_start().await;
        assert!(self.child.is_some(), "ZooKeeper should start again on its port");
    }

    /// Starts the server and waits until it serves; there is no child if it ends instead, as when its port is taken.
    async fn try_start(&mut self) {
        let data = self.dir.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let text = format!(
            "tickTime=500\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\nsnapshot.trust.empty=true\n",
            data.display(),
            self.port,
        );
        let settings = self.dir.path().join("zoo.cfg");
        std::fs::write(&settings, text).unwrap();
        let child = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", JAR])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.unwrap();
        let serves = timeout(START_WITHIN, async {
            let mut look = interval(Duration::from_millis(50));
            loop {
                look.tick().await;
                if child.try_wait().unwrap().is_some() {
                    return false;
                }
                if timeout(LOOK_WITHIN, self.ask("ruok"))
                    .await
                    .is_ok_and(|answer| answer.as_deref() == Some("imok"))
                {
                    return true;
                }
            }
        });
        if serves.await.expect("ZooKeeper should answer within a minute") {
            self.child = Some(child);
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// `kill -STOP` or `kill -CONT`.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().and_then(Child::id).unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    async fn ask(&self, word: &str) -> Option<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        socket.write_all(word.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }
}
