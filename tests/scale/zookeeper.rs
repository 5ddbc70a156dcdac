//! Runs one real ZooKeeper server, if Debian's package is there.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const JAR: &str = "/usr/share/java/zookeeper.jar";

/// A server; it ends when it is dropped.
pub(crate) struct Zookeeper {
    child: Child,
    port: u16,
}

impl Zookeeper {
    /// Starts it with its data in `dir`; `None` without the package or Java.
    pub(crate) async fn start(dir: &Path) -> Option<Self> {
        let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
        if !Path::new(JAR).exists() || !java.is_ok_and(|status| status.success()) {
            return None;
        }
        let port = super::crowd::free_port();
        let settings = dir.join("zoo.cfg");
        let data = dir.join("zookeeper");
        let text = format!(
            "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             maxClientCnxns=0\n",
            data.display()
        );
        std::fs::create_dir_all(data).unwrap();
        std::fs::write(&settings, text).unwrap();
        let log = std::fs::File::create(dir.join("zookeeper.log")).unwrap();
        let child = Command::new("java")
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-cp", JAR])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, port };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("ZooKeeper does not start; see {}", dir.join("zookeeper.log").display());
    }

    pub(crate) fn address(&self) -> String {
        format!("zk://127.0.0.1:{}/logherd", self.port)
    }
}

impl Drop for Zookeeper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
