//! Owns the data directory: locks it, and remembers in it which ports were used.
//!
//! `mesos/lock` holds the number of the process that uses the directory; `mesos/ports.json` the ports, so that executors
//! that survived find their agent where it was.

use crate::error::Error;
use crate::files;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;

/// Ports are chosen below those that the system gives to outgoing connections.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 30_000;

/// A data directory that is ours.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    _lock: File,
}

#[derive(Default, Serialize, Deserialize)]
struct Ports {
    /// By the name of who listens: `master`, `agent-1`, …
    ports: BTreeMap<String, u16>,
}

impl Directory {
    /// Takes the directory, or says who has it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, Error> {
        let root = data_dir.join("mesos");
        let failed = |doing: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { doing, path, source }
        };
        fs::create_dir_all(&root).map_err(failed("create", &root))?;
        let path = root.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = lock.read_to_string(&mut pid);
                let pid = read.ok().and_then(|_| pid.trim().parse().ok());
                return Err(Error::InUse { path: data_dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(Error::File { doing: "lock", path, source }),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(failed("write", &path))?;
        let root = fs::canonicalize(&root).map_err(failed("resolve", &root))?;
        Ok(Self { root, _lock: lock })
    }

    pub(crate) fn master(&self) -> PathBuf {
        self.root.join("master")
    }

    /// The work directory of the agent with this number, counted from zero.
    pub(crate) fn agent(&self, index: usize) -> PathBuf {
        self.root.join(agent_name(index))
    }

    /// Listens where it was listened before, or on a new port when that is taken; remembers the port.
    pub(crate) async fn listen(&self, name: &str, wanted: Option<SocketAddr>) -> Result<TcpListener, Error> {
        if let Some(address) = wanted {
            return TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source });
        }
        let mut ports = self.ports();
        let remembered = ports.ports.get(name).copied();
        if let Some(port) = remembered {
            match TcpListener::bind(loopback(port)).await {
                Ok(listener) => return Ok(listener),
                Err(error) => {
                    tracing::warn!(name, port, %error, "the port of the last start is taken: executors and schedulers \
                        that still use it will not find this one");
                }
            }
        }
        let listener = any_port().await?;
        if let Ok(address) = listener.local_addr() {
            ports.ports.insert(name.to_owned(), address.port());
            let json = serde_json::to_vec_pretty(&ports).unwrap_or_default();
            files::replace(&self.root.join("ports.json"), &json)?;
        }
        Ok(listener)
    }

    /// What was remembered; nothing when it cannot be read, since ports can be chosen anew.
    fn ports(&self) -> Ports {
        let path = self.root.join("ports.json");
        let Ok(json) = fs::read(&path) else { return Ports::default() };
        serde_json::from_slice(&json).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot read which ports were used: new ones are chosen");
            Ports::default()
        })
    }
}

/// `agent-1` is the first.
pub(crate) fn agent_name(index: usize) -> String {
    format!("agent-{}", index + 1)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

async fn any_port() -> Result<TcpListener, Error> {
    for _ in 0..50 {
        let port = rand::random_range(FIRST_PORT..LAST_PORT);
        if let Ok(listener) = TcpListener::bind(loopback(port)).await {
            return Ok(listener);
        }
    }
    let address = loopback(0);
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once_and_the_error_names_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let problem = Directory::open(dir.path()).unwrap_err();
        assert!(
            matches!(problem, Error::InUse { pid: Some(pid), .. } if pid == std::process::id()),
            "{problem}"
        );
        drop(first);
        Directory::open(dir.path()).unwrap();
    }

    #[tokio::test]
    async fn ports_stay_the_same_unless_they_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let first = directory.listen("master", None).await.unwrap();
        let port = first.local_addr().unwrap();
        let other = directory.listen("master", None).await.unwrap();
        assert_ne!(other.local_addr().unwrap(), port);
        let remembered = other.local_addr().unwrap();
        drop((first, other));
        assert_eq!(directory.listen("master", None).await.unwrap().local_addr().unwrap(), remembered);
    }
}
