//! One per node: discovers the containers, streams the files inside them, runs the pipelines that apply to them.
//!
//! The flow, from what is heard to what runs:
//! - [`mesos`]: the agent: subscribes, answers LAUNCH, KILL and SHUTDOWN, survives its restarts.
//! - [`control`]: the scheduler: takes assignments (documents at a revision), sends reports. [`assignment`] keeps the newest
//!   on disk, so that the node works on without a scheduler. [`report`] is what it says about itself.
//! - [`containers`]: Docker: which containers there are.
//! - [`assign`]: decides which pipelines are wanted: documents and containers in, wanted pipelines out.
//! - [`node`]: compares what is wanted with the units that run, and tells them.
//! - [`unit`]: one pipeline with its tails.
//! - [`tail`]: one file of one container, through its [`spool`] into a pipeline. [`leftovers`] finds the spools of
//!   containers that are gone.
//! - [`own_log`]: what this process says about itself, in a room of fixed size.
//! - [`main_loop`]: everything that happens, one event at a time. [`lock`]: one executor per data directory;
//!   [`handover`]: what the executor before left is gone on with.
//!
//! What does not live here: the pipeline language and its plugins, files of the host (`pipeline`); who gets an executor
//! and what it costs (`scheduler`).

mod assign;
mod assignment;
mod containers;
mod control;
mod handover;
mod leftovers;
mod lock;
mod main_loop;
mod mesos;
mod node;
mod own_log;
mod report;
mod sign_of_life;
mod spool;
mod tail;
mod unit;

use config::settings::ExecutorSettings;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub use mesos::AgentTlsError;
pub use own_log::OwnLog;

/// Why an executor cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("use `{}` in the data directory", path.display())]
    DataDir {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another executor does not let go of the data directory.
    #[error(
        "another executor has been using the data directory `{}` for {} s; end it, or give this one another directory with \
         --executor-data-dir", dir.display(), waited.as_secs()
    )]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// How long that was waited for.
        waited: Duration,
    },
    /// The executor before works on, and when it ends cannot be seen.
    #[error(
        "see when the executor before lets go of `{}`, beside which this one was launched; use --executor-data-dir, or \
         `--rollout-overlap 0s`", before.display()
    )]
    Beside {
        /// Where it keeps its data.
        before: PathBuf,
        /// Why that cannot be seen.
        source: Box<Error>,
    },
    /// The executor before works on beside this one, and not with the same data.
    #[error(
        "tell when the executor before, beside which this one was launched, lets go of its data: nobody uses `{}`, and the scheduler \
         did not say where else they are; use `--rollout-overlap 0s`", dir.display()
    )]
    BesideUnknown {
        /// Where this one keeps its data.
        dir: PathBuf,
    },
    /// A duration in the environment is none.
    #[error(
        "`{name}` is `{text}`, which is no duration: a number and `ns`, `us`, `ms`, `secs`, `mins`, `hrs`, `days` or `weeks` are expected"
    )]
    Duration {
        /// The variable.
        name: &'static str,
        /// What it says.
        text: String,
    },
    /// The agent cannot be talked to as its environment says.
    #[error("talk TLS to the agent, as `LIBPROCESS_SSL_ENABLED` says")]
    AgentTls(#[from] AgentTlsError),
    /// What came with the launch for TLS with the scheduler is damaged.
    #[error("talk TLS to the scheduler with what `LOGHERD_CONTROL_IDENTITY` holds")]
    Credentials(#[source] proto::credentials::Garbled),
    /// A task panicked.
    #[error("a task of the executor ended unexpectedly")]
    Task(#[source] tokio::task::JoinError),
}

/// Runs the executor until Mesos ends it, or `stop` is cancelled; then it drains within the grace period.
pub async fn run(settings: ExecutorSettings, stop: CancellationToken) -> Result<(), Error> {
    main_loop::run(settings, stop).await
}
