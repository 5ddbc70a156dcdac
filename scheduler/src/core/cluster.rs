//! Holds what Mesos says about the cluster, in our own words.
use super::resources::{Piece, Thousandths};
use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment, OfferId, TaskId};
use bytes::Bytes;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

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

impl Unavailability {
    /// Whether the machine should be back.
    pub fn is_over(&self, now: Moment) -> bool {
        self.duration.is_some_and(|duration| self.start.after(duration) <= now)
    }

    /// The window for people: "from 2026-11-20T10:00:00Z to 2026-11-20T10:30:00Z".
    pub fn words(&self) -> String {
        let at = |moment: Moment| {
            let time = UNIX_EPOCH.checked_add(Duration::from_millis(moment.0));
            time.map_or_else(|| "ever".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
        };
        match self.duration {
            Some(duration) => format!("from {} to {}", at(self.start), at(self.start.after(duration))),
            None => format!("from {} on", at(self.start)),
        }
    }
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
    /// Whether its executor says that it is up, and waits for the data of the one before it on its node.
    pub waits: bool,
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

/// What a master says when it wants an agent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseOffer {
    /// Its id.
    pub id: OfferId,
    /// Which agent; `None`: the master did not say.
    pub agent: Option<AgentId>,
    /// When its machine will be away.
    pub unavailability: Unavailability,
}

/// A machine as operators name it; what is empty is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The host name of its agents.
    pub host: String,
    /// Their address.
    pub ip: String,
}

/// A window of the schedule of maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which machines are away.
    pub machines: Vec<Machine>,
    /// When.
    pub unavailability: Unavailability,
}

/// How an agent stands with the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is registered and connected.
    #[default]
    Active,
    /// It is registered, but its connection is broken.
    Disconnected,
    /// The master remembers it from before it was elected, and it has not come back.
    NotBack,
    /// An operator took it out of use.
    Deactivated,
    /// An operator drains it.
    Draining,
    /// It is drained.
    Drained,
}

/// A resource of an agent, a scalar or the count of ranges, as far as it is reserved to one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The role; `*`: reserved to nobody.
    pub role: String,
    /// `cpus`, `mem`, …
    pub name: String,
    /// How much of it the agent has.
    pub total: Thousandths,
    /// How much of that is in use, by us or by others.
    pub used: Thousandths,
}

/// An agent, as the operator API describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Where it is.
    pub place: Place,
    /// The address that it listens at; empty: not told.
    pub ip: String,
    /// How it stands with the master.
    pub standing: Standing,
    /// The version of Mesos that it runs; empty: not told.
    pub version: String,
    /// Whether it can serve frameworks of several roles.
    pub multi_role: bool,
    /// Its scalar resources.
    pub shares: Vec<Share>,
    /// The names of frameworks of this kind that have reserved some of its resources.
    pub reserved_by: Vec<String>,
}

/// What the master has on record of this framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Whether it offers anything to it.
    pub active: bool,
    /// The roles it is offered resources for.
    pub roles: Vec<String>,
    /// Whether agents with GPUs are offered to it.
    pub gpus: bool,
    /// Whether agents of other regions are offered to it.
    pub region_aware: bool,
    /// The region of the masters, if they have one.
    pub region: Option<String>,
}

/// A framework that a master knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: FrameworkId,
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Whether it is offered anything.
    pub active: bool,
    /// Whether a scheduler of it is connected.
    pub connected: bool,
    /// Whether agents with GPUs are offered to it.
    pub gpus: bool,
    /// Whether agents of other regions are offered to it.
    pub region_aware: bool,
}

/// What a master says about its cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The region of the masters, if they have one.
    pub region: Option<String>,
    /// The frameworks.
    pub frameworks: Vec<Known>,
    /// Those that have our name, also those that the master only remembers.
    pub namesakes: Vec<Namesake>,
    /// The executors of those.
    pub executors: Vec<Stray>,
    /// What is reserved under our name for roles that are not ours any more.
    pub leftovers: Vec<Leftover>,
}

/// What is reserved on an agent under our name, for a role that is not ours any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Which agent.
    pub agent: AgentId,
    /// Its host name.
    pub host: String,
    /// For which role.
    pub role: String,
    /// Whether something uses it.
    pub in_use: bool,
    /// The entries as Mesos told them, opaque here.
    pub entries: Vec<Bytes>,
}

impl Cluster {
    /// The executors of a framework that has our name.
    pub fn executors_of<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = &'a Stray> {
        self.executors.iter().filter(move |stray| stray.framework == *framework)
    }
}

/// A framework that has our name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namesake {
    /// Its id.
    pub id: FrameworkId,
    /// Whether a scheduler of it is connected.
    pub connected: bool,
}

/// An executor as the master knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Its framework.
    pub framework: FrameworkId,
    /// Where it runs.
    pub agent: AgentId,
    /// Its id.
    pub executor: ExecutorId,
}
