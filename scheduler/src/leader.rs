//! Elects one leader among the schedulers that share a ZooKeeper, and fences what it writes.
//!
//! ```text
//! PATH/election/latch-NNNNNNNNNN   one ephemeral znode per scheduler that stands; the smallest number leads
//! PATH/epoch                       how often leadership was gained, and by whom last
//! ```
//! Invariants:
//! - who gains leadership raises the epoch by one, in a transaction that also checks its own latch;
//! - every write of a leader is a transaction that checks the epoch ([`Fence`]): a leader that was deposed writes nothing,
//!   whatever it believes and however late it wakes up;
//! - a leader reads the state only after it has raised the epoch, so nothing is written behind its back;
//! - a leader that loses its connection stops before its session can have expired ([`standing::Tenure`]).
//!
//! [`standing`] decides, [`election`] talks to ZooKeeper.
pub mod election;
pub mod standing;

use crate::ids::Moment;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use election::{Elector, Leadership};

/// Who stands for election, as the others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where its page and API can be reached: `http://host:port`.
    pub api: String,
}

/// The epoch, as it is persisted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// How often leadership was gained.
    pub epoch: u64,
    /// Who gained it last.
    pub leader: Candidate,
    /// When.
    pub since: Moment,
}

/// How an election stands, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who leads, if somebody does.
    pub leader: Option<Candidate>,
    /// Why this scheduler does not lead.
    pub detail: String,
    /// Whether it could.
    pub chance: Chance,
}

/// Whether a scheduler that does not lead could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chance {
    /// It takes over when the leader ends.
    #[default]
    Next,
    /// ZooKeeper cannot be reached, or the election cannot be read.
    Away,
    /// A scheduler outside of the election has the framework.
    Superseded,
}

/// What every write of one leadership has to check.
#[derive(Clone, Debug)]
pub struct Fence {
    /// The znode of the epoch.
    pub path: String,
    /// The version that it has while this leadership lasts.
    pub version: i32,
    /// Which leadership.
    pub epoch: u64,
    /// Cancelled by whoever finds that the epoch is over.
    pub over: CancellationToken,
}
