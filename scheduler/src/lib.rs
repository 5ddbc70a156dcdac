//! The framework's scheduler: keeps one executor on every node and one configuration on every executor.
//!
//! - `running` opens what is needed, starts the parts, and stops them in order; `main_loop` is the table of contents: one
//!   closed list of events, and what follows from each.
//! - [`core`] decides: offers, launches, updates, reconciliation. It does no IO and is driven by tests in any order.
//! - `mesos` talks to masters (the only module that knows their messages), `control` to executors; [`deterministic`] is the
//!   core with Mesos' messages around it and no IO, for simulations.
//! - [`state`] persists: a directory or ZooKeeper, behind one trait. [`ensemble`] reads `zk://` addresses.
//! - [`leader`] elects one of several schedulers; `terms` leads and stands by in turn, `standby` is what is seen meanwhile.
//! - `revisions` takes edits: checked, compared, persisted, then published. `config_dir` turns files into edits.
//! - `view` puts together what the page shows.
//!
//! An offer: mesos → main_loop → core → intent into state → core → ACCEPT → mesos. An edit: web or config_dir → revisions
//! → state → watch → control → executors, and their answers → main_loop → view.
//!
//! What does not live here: HTML and the REST API (`web`), the language of the texts (`pipeline`), what an executor does
//! with them (`executor`).

mod access;
mod address;
mod config_dir;
mod control;
pub mod core;
pub mod ensemble;
pub mod ids;
pub mod leader;
mod main_loop;
mod mesos;
mod revisions;
mod running;
mod standby;
pub mod state;
mod terms;
mod view;

pub use control::authority::AuthorityError;
pub use mesos::{MasterError, TlsError, deterministic, frameworks};
pub use running::{Ended, People, run};

use ids::Moment;
use state::StateError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Why the scheduler could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The masters are not named rightly.
    #[error("the masters cannot be used")]
    Masters(#[from] MasterError),
    /// TLS to the masters is not set up rightly.
    #[error("the masters cannot be talked to")]
    Tls(#[from] TlsError),
    /// The control plane cannot talk TLS.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The authority of the control plane cannot be remembered.
    #[error("the authority of the control plane could not be stored")]
    AuthorityNotStored(#[source] StateError),
    /// The state's address is wrong.
    #[error("the state cannot be used")]
    StateAddress(#[from] ensemble::AddressError),
    /// The control plane cannot listen.
    #[error("cannot listen for executors on {address}; choose another address with --control-listen")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Nodes are told of an address that leads each of them to itself.
    #[error(
        "{what} listens on {address}, which only this machine reaches, but {masters} is another one: give {listen} \
         0.0.0.0:{port}, or what nodes reach it by with {advertise}", port = address.port()
    )]
    Loopback {
        /// What nodes are to reach.
        what: &'static str,
        /// Where it listens.
        address: SocketAddr,
        /// Where the masters are.
        masters: String,
        /// The setting by which it listens elsewhere.
        listen: &'static str,
        /// The setting that says what to tell.
        advertise: &'static str,
    },
    /// There is no address to tell the nodes.
    #[error(
        "executors cannot be told where to attach: this machine has no name; give --control-advertise HOST:PORT"
    )]
    Nameless,
    /// The secret cannot be read.
    #[error("cannot read the secret file `{path}`", path = path.display())]
    Secret {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A secret without a principal would not be used.
    #[error("there is a secret but no principal; say with --principal whose it is, or leave the secret out")]
    SecretOfNobody,
    /// Mesos splits the pair at every colon.
    #[error(
        "the principal or the secret holds a colon, with which Mesos can never authenticate them; choose others"
    )]
    ColonInCredentials,
    /// Mesos knows no reservation for the role `*`.
    #[error("with --reserve there has to be a role to reserve for, other than `*`: name one with --roles")]
    ReserveForEverybody,
    /// It is not known which binary executors should run.
    #[error("cannot tell the path of this program; give it with --executor-binary")]
    OwnBinary(#[source] std::io::Error),
    /// Another scheduler subscribed with this framework's id.
    #[error(
        "another scheduler has taken over this framework; this one steps down, as two would fight for ever"
    )]
    Superseded,
    /// The framework is torn down, which was ordered: the end.
    #[error("the framework is torn down")]
    TornDown,
    /// It was torn down before, and nobody said that there shall be another one.
    #[error(
        "the framework of this state was torn down, as was ordered at {}; to register a new one start with --register-anew, \
         once", at(.0)
    )]
    WasTornDown(Moment),
    /// A part ended that should not have.
    #[error("{0} has ended unexpectedly; see the log")]
    PartEnded(&'static str),
}

/// A moment for people.
fn at(moment: &Moment) -> String {
    let time = UNIX_EPOCH.checked_add(std::time::Duration::from_millis(moment.0)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Tells moments that never go back, from the wall clock at the start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall_ms: u64,
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX), start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.wall_ms).after(self.start.elapsed())
    }
}
