//! Holds what Mesos says about the cluster, in our own words.
use super::resources::Piece;
use crate::ids::{AgentId, ExecutorId, Moment, OfferId, TaskId};
use std::fmt;
use std::time::Duration;

/// Where an agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its host name.
    pub host: String,
    /// The region of its fault domain, if it has one.
    pub region: Option<String>,
    /// The zone of its fault domain, if it has one.
    pub zone: Option<String>,
    /// Its attributes by name, in the agent's order; scalars, ranges and sets as the agent prints them.
    pub attributes: Vec<(String, String)>,
}

/// When a machine is planned to be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailability {
    /// From when on.
    pub start: Moment,
    /// For how long; `None`: until an operator says otherwise.
    pub duration: Option<Duration>,
}

/// Resources of one agent that are ours until we answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Whose resources.
    pub agent: AgentId,
    /// Where the agent is.
    pub place: Place,
    /// When its machine is planned to be away, if it is.
    pub unavailability: Option<Unavailability>,
    /// The role they are allocated to; offers of different roles cannot be accepted together.
    pub role: String,
    /// Executors of this framework that the master sees alive there.
    pub executors: Vec<ExecutorId>,
    /// The scalar entries that can be used.
    pub pieces: Vec<Piece>,
}

/// The state of a task, as Mesos reports it to a partition-aware framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are Mesos' own")]
pub enum TaskState {
    Staging,
    Starting,
    Running,
    Killing,
    Unreachable,
    /// Mesos has no information about it.
    Unknown,
    Finished,
    Failed,
    Killed,
    Error,
    Lost,
    Dropped,
    Gone,
    GoneByOperator,
    /// A number that this version does not know; nothing is concluded from it.
    Unheard(i32),
}

impl TaskState {
    /// Whether the task will never run again, as far as Mesos' bookkeeping goes.
    pub fn is_terminal(self) -> bool {
        use TaskState::{Dropped, Error, Failed, Finished, Gone, GoneByOperator, Killed, Lost};
        matches!(self, Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unheard(number) => write!(f, "task state {number}"),
            Self::GoneByOperator => f.write_str("GONE_BY_OPERATOR"),
            other => f.write_str(&format!("{other:?}").to_uppercase()),
        }
    }
}

/// A status update, or an answer to a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which task.
    pub task: TaskId,
    /// Where.
    pub agent: Option<AgentId>,
    /// Its executor.
    pub executor: Option<ExecutorId>,
    /// What it does.
    pub state: TaskState,
    /// Mesos' reason, without the `REASON_` prefix; empty: none.
    pub reason: String,
    /// What the sender adds; empty: nothing.
    pub message: String,
    /// Present iff the update wants to be acknowledged.
    pub uuid: Option<Vec<u8>>,
}

impl Update {
    /// The update in words: "FAILED (EXECUTOR_TERMINATED): exited with status 3".
    pub fn words(&self) -> String {
        let mut words = self.state.to_string();
        if !self.reason.is_empty() {
            words.push_str(&format!(" ({})", self.reason));
        }
        if !self.message.is_empty() {
            words.push_str(&format!(": {}", self.message));
        }
        words
    }
}

/// An agent that is registered with the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Where it is.
    pub place: Place,
    /// Why nothing of it is offered, when it is connected but drained, deactivated or not back yet.
    pub withheld: Option<String>,
}
