//! Runs a ZooKeeper ensemble of three real servers from Debian's `zookeeper` package; kills, freezes and parts them.

use crate::eventually::eventually;
use crate::links::Links;
use crate::proxy::{Network, Proxy};
use crate::world::{START, World, free_port};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const JAR: &str = "/usr/share/java/zookeeper.jar";
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Three servers.
pub(crate) struct Ensemble {
    pub(crate) servers: Vec<Server>,
}

/// One server, with data and links to the others of its own.
pub(crate) struct Server {
    links: Links,
    settings: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Ensemble {
    /// Starts three servers. `None`, said loudly, when there is no ZooKeeper or no Java here; in CI that is a failure.
    pub(crate) async fn start(world: &World) -> Option<Self> {
        let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
        if !Path::new(JAR).exists() || !java.is_ok_and(|status| status.success()) {
            let ci = config::settings::environment("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "ZooKeeper is missing: install Debian's `zookeeper` and a Java runtime");
            eprintln!("SKIPPED: no ZooKeeper here; install Debian's `zookeeper` and a Java runtime");
            return None;
        }
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let members: Vec<String> = ports
            .iter()
            .zip(1..)
            .map(|((quorum, election), n)| format!("server.{n}=127.0.0.1:{quorum}:{election}\n"))
            .collect();
        let by_port: BTreeMap<u16, usize> =
            ports.iter().enumerate().flat_map(|(n, (one, other))| [(*one, n), (*other, n)]).collect();
        let mut servers = Vec::new();
        for n in 1..=3 {
            let dir = world.path(&format!("zookeeper-{n}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("myid"), n.to_string()).unwrap();
            let port = free_port();
            let text = format!(
                "tickTime=500\ninitLimit=20\nsyncLimit=8\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
                 admin.enableServer=false\n4lw.commands.whitelist=*\nsnapshot.trust.empty=true\n{}",
                dir.display(),
                members.concat(),
            );
            let settings = dir.join("zoo.cfg");
            std::fs::write(&settings, text).unwrap();
            let mut server = Server { links: Links::to(&by_port).await, settings, port, child: None };
            server.start();
            servers.push(server);
        }
        let ensemble = Self { servers };
        ensemble.serve().await;
        Some(ensemble)
    }

    /// A `zk://` address on all of them.
    pub(crate) fn address(&self, path: &str) -> String {
        let servers: Vec<String> = self.servers.iter().map(|s| format!("127.0.0.1:{}", s.port)).collect();
        format!("zk://{}/{path}", servers.join(","))
    }

    /// A network of one client's own to all of them, and the `zk://` address at its end.
    pub(crate) async fn network(&self, path: &str) -> (Vec<Proxy>, String) {
        let mut proxies = Vec::new();
        for server in &self.servers {
            proxies.push(Proxy::to(server.port).await);
        }
        let servers: Vec<String> = proxies.iter().map(|proxy| proxy.address.to_string()).collect();
        (proxies, format!("zk://{}/{path}", servers.join(",")))
    }

    /// The server that leads the others, as ZooKeeper says.
    pub(crate) fn leader(&self) -> Result<usize, String> {
        let leads = |server: &Server| server.ask().is_ok_and(|answer| answer.contains("Mode: leader"));
        self.servers.iter().position(leads).ok_or_else(|| "no server leads".to_owned())
    }

    /// Cuts the links between two servers, both ways and silently, or mends them.
    pub(crate) fn link(&self, one: usize, other: usize, network: Network) {
        self.servers[one].links.set(other, network);
        self.servers[other].links.set(one, network);
    }

    /// Cuts one server off from the others, or mends that; clients reach all of them.
    pub(crate) fn isolate(&self, server: usize, network: Network) {
        (0..self.servers.len()).filter(|n| *n != server).for_each(|other| self.link(server, other, network));
    }

    /// Waits until all serve.
    pub(crate) async fn serve(&self) {
        for server in &self.servers {
            eventually("a ZooKeeper server serves", START, async || server.serves()).await;
        }
    }
}

impl Server {
    /// Starts it, or starts it again with the same data.
    pub(crate) fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.settings.with_file_name("server.out"))
            .unwrap();
        let child = Command::new("java")
            // The others are reached through the links, though they are on this machine.
            .arg("-DsocksProxyHost=127.0.0.1")
            .arg(format!("-DsocksProxyPort={}", self.links.address.port()))
            .args(["-DsocksNonProxyHosts=", "-Dreadonlymode.enabled=true"])
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", JAR])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&self.settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// `kill -STOP` or `kill -CONT`.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Whether it is part of a quorum.
    pub(crate) fn serves(&self) -> Result<(), String> {
        match self.ask() {
            Ok(answer) if answer.contains("Mode: leader") || answer.contains("Mode: follower") => Ok(()),
            Ok(answer) => Err(answer),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What it says of itself.
    fn ask(&self) -> std::io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        socket.write_all(b"srvr")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
