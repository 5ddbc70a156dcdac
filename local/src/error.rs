//! Names what can go wrong when a cluster starts, stops or is told to fail.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the cluster could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process uses the data directory.
    #[error("data directory `{}` is in use by process {}; stop it, or choose another directory", path.display(), pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string()))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that holds the lock, when it says so.
        pid: Option<u32>,
    },
    /// A file could not be read or written.
    #[error("{doing} `{}`", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of ours does not hold what it should.
    #[error("`{}` is damaged: {problem}; move it away to start without it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An address could not be listened on.
    #[error("listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The settings do not make sense.
    #[error("{0}")]
    Settings(String),
    /// A part of the cluster has ended, so that it can be told nothing.
    #[error("the {0} does not run")]
    NotRunning(String),
}
