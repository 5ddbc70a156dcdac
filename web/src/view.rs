//! Holds what the page and the API show: one immutable snapshot, replaced as a whole.
use config::diagnostic::Diagnostic;
use config::document::{Document, Key, Revision};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

mod cause;
pub mod rollout;
mod text;
mod trail;

pub use cause::Cause;
pub use text::Text;
pub use trail::{STEPS, Step, Trail};

/// Everything that can be seen, at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// The framework as a whole.
    pub status: Status,
    /// Generations of executors, and the newest rollout.
    pub rollout: rollout::Rollouts,
    /// The nodes, by agent id. Those that did not change are shared with the view before.
    #[serde(serialize_with = "shared")]
    pub nodes: Vec<Arc<Node>>,
    /// The documents of the fleet (not serialized with the view: the API has resources for them).
    #[serde(skip)]
    pub documents: Arc<BTreeMap<Key, Document>>,
    /// Problems of documents and of files in the config directory, and how far each document is applied.
    #[serde(skip)]
    pub applied: BTreeMap<Key, Applied>,
    /// Files of the config directory that are not in force, with why.
    pub file_problems: Vec<FileProblem>,
}

/// Writes a shared list as any list.
fn all<T: Serialize, S: Serializer>(items: &Arc<[T]>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(items.iter())
}

/// Writes what is shared as if it were not.
fn shared<T: Serialize, S: Serializer>(items: &[Arc<T>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(items.iter().map(Arc::as_ref))
}

/// The framework as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The version of this program.
    pub version: String,
    /// The framework id, once registered.
    pub framework_id: Option<String>,
    /// The framework's name.
    pub framework_name: String,
    /// On how many agents something is reserved for the framework.
    pub agents_reserved: usize,
    /// The leading master, while connected: `host:port`.
    pub master: Option<String>,
    /// Where the scheduler that leads serves its page and API, while this one stands by: `http://host:port`.
    pub leader: Option<String>,
    /// How often leadership was gained so far; 0: this scheduler does not lead, or there are no elections.
    pub epoch: u64,
    /// What the scheduler is doing: `starting`, `connecting`, `subscribed`, `standby`, `waiting for state`, `superseded`, `failed`, …
    pub phase: String,
    /// Why, for people.
    pub detail: String,
    /// Whether edits can be accepted now.
    pub writable: bool,
    /// The newest revision.
    pub revision: Revision,
    /// Nodes that should have an executor.
    pub nodes_known: usize,
    /// Nodes that have a running one.
    pub nodes_covered: usize,
    /// Nodes that shall have none.
    pub nodes_excluded: usize,
    /// Agents that the master lists: covered, not covered and excluded ones add up to them. `None`: it does not list them
    /// (now), so nodes are known by their offers and launches only, and nothing is proven about others.
    pub nodes_listed: Option<usize>,
    /// How the last question for the agents went, for people.
    pub listing: String,
    /// Frameworks of our name that are not this one, and what runs of this one without a launch.
    pub orphans: Vec<Orphan>,
    /// What is wrong with reservations and what to do about it, for people.
    pub reservation_problems: Vec<String>,
    /// When all nodes were covered last, in milliseconds since the Unix epoch; the start of this scheduler if they never were.
    pub all_covered_ms: u64,
    /// Containers with at least one running tail.
    pub containers_streaming: usize,
    /// All containers seen.
    pub containers: usize,
    /// Events acknowledged since the executors started, summed over nodes.
    pub events_out: u64,
    /// Events per second over the last few seconds.
    pub events_per_second: f64,
    /// Lines dropped by policy, summed over nodes.
    pub dropped_lines: u64,
    /// Events that went to a dead-letter queue.
    pub dead_letters: u64,
    /// How often each call was sent to Mesos since this scheduler began.
    pub calls: BTreeMap<&'static str, u64>,
    /// Offers that were used.
    pub offers_accepted: u64,
    /// Offers that were given back.
    pub offers_declined: u64,
    /// What runs in the background: name, what it does, last result.
    pub tasks: Vec<BackgroundTask>,
    /// The newest decisions, newest first.
    pub decisions: Vec<Decision>,
}

/// A framework of our name that is not this one, or what runs of this one without a launch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Orphan {
    /// Its id.
    pub framework_id: String,
    /// Whether a scheduler of it is connected.
    pub connected: bool,
    /// How many executors it has.
    pub executors: usize,
    /// The first of them: (agent id, executor id).
    pub on: Vec<(String, String)>,
    /// What it is and what to do about it.
    pub reason: String,
}

/// Something that runs in the background.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BackgroundTask {
    /// Its name.
    pub name: String,
    /// What it does.
    pub what: String,
    /// Its last result.
    pub last: String,
}

/// Something that the scheduler decided, with its reason.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The node it is about; empty: the framework.
    pub node: String,
    /// What, and why.
    pub text: String,
}

/// Whether a node is covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// An executor runs there.
    Running,
    /// One is being launched.
    Launching,
    /// A launch failed; the next one waits.
    BackingOff,
    /// Its resources were not offered, or not enough of them.
    #[default]
    NotOffered,
    /// Mesos cannot reach it.
    Unreachable,
    /// An operator drains it or took it out of use.
    Draining,
    /// Its machine is away for maintenance, or soon will be.
    Maintenance,
    /// It shall have no executor.
    Excluded,
}

impl Coverage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Launching,
        Self::BackingOff,
        Self::NotOffered,
        Self::Unreachable,
        Self::Draining,
        Self::Maintenance,
        Self::Excluded,
    ];

    /// Its word in the API, in metrics and on the page.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Launching => "launching",
            Self::BackingOff => "backing_off",
            Self::NotOffered => "not_offered",
            Self::Unreachable => "unreachable",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Excluded => "excluded",
        }
    }

    /// Whether the node should have a running executor and has none.
    pub fn is_missing(self) -> bool {
        !matches!(self, Self::Running | Self::Excluded)
    }
}

/// One node: a Mesos agent's machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Node {
    /// The Mesos agent id.
    pub agent_id: String,
    /// The agent's host name.
    pub host: String,
    /// Whether the master lists it as an agent now.
    pub listed: bool,
    /// Whether it is covered.
    pub coverage: Coverage,
    /// Why it is in that state: one word of a closed set.
    pub cause: Cause,
    /// Why it is in that state, for people.
    pub reason: String,
    /// Since when it is in that state, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How it came to that (not serialized with the node: `GET /api/v1/nodes/{id}/why` shows it).
    #[serde(skip)]
    pub trail: Trail,
    /// The executor that runs or is being launched there.
    pub executor_id: Option<String>,
    /// The executor that comes up or waits beside it, to take over from it.
    pub successor_id: Option<String>,
    /// Its task.
    pub task_id: Option<String>,
    /// What its executor was launched with; `None`: it has none, or that was not kept then.
    pub generation: Option<String>,
    /// Whether new executors are of that generation.
    pub up_to_date: bool,
    /// Whether that executor is attached to the control plane now.
    pub attached: bool,
    /// The revision that it runs.
    pub revision: Revision,
    /// What it could not apply.
    pub failures: Vec<Failure>,
    /// Its Docker daemon, as it sees it: `None` before its first report.
    pub docker: Option<Docker>,
    /// Its containers, shared with the report that named them.
    #[serde(serialize_with = "all")]
    pub containers: Arc<[Container]>,
    /// Its pipelines, shared with the report that named them.
    #[serde(serialize_with = "all")]
    pub pipelines: Arc<[Pipeline]>,
    /// Its totals since it started.
    pub counters: Counters,
    /// Its events per second over the last few seconds.
    pub events_per_second: f64,
    /// Its resident memory in bytes.
    pub resident_bytes: u64,
}

/// A document that a node could not apply.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Which one.
    #[serde(flatten)]
    pub key: Key,
    /// Why.
    pub reason: String,
}

/// A node's Docker daemon.
#[derive(Clone, Debug, Serialize)]
pub struct Docker {
    /// Whether the executor can talk to it.
    pub reachable: bool,
    /// Why not, or its version.
    pub detail: Text,
}

/// What happens with a container's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// At least one of its files is being read.
    Streaming,
    /// No image config applies.
    NotMatched,
    /// One applies, but something is wrong.
    Error,
    /// It stopped; what was read of it is being shipped.
    Draining,
}

impl ContainerState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Streaming, Self::NotMatched, Self::Error, Self::Draining];

    /// Its word in the API, in metrics and on the page.
    pub fn word(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::NotMatched => "not_matched",
            Self::Error => "error",
            Self::Draining => "draining",
        }
    }
}

/// A container of a node.
#[derive(Clone, Debug, Serialize)]
pub struct Container {
    /// The container id, full.
    pub id: Text,
    /// Its name, without the leading slash.
    pub name: Text,
    /// Its image as Docker names it.
    pub image: Text,
    /// What happens with its logs.
    pub state: ContainerState,
    /// Why.
    pub reason: Text,
    /// The image config that applies; empty: none.
    pub config: Text,
    /// Its tails.
    pub tails: Box<[Tail]>,
}

/// A file that is read out of a container; positions are byte offsets in it.
#[derive(Clone, Debug, Serialize)]
pub struct Tail {
    /// The file.
    pub path: Text,
    /// What the tail is doing, for people.
    pub state: Text,
    /// Read up to here.
    pub read_position: u64,
    /// Acknowledged by all outputs up to here.
    pub acknowledged_position: u64,
    /// Bytes in the spool.
    pub spool_bytes: u64,
    /// Lines dropped by policy.
    pub dropped_lines: u64,
}

/// A pipeline of a node.
#[derive(Clone, Debug, Serialize)]
pub struct Pipeline {
    /// Its id.
    pub id: Text,
    /// `running`, `draining`, `failed`, …
    pub state: Text,
    /// Why.
    pub reason: Text,
    /// Its totals.
    pub counters: Counters,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Events read.
    pub events_in: u64,
    /// Events acknowledged by all outputs.
    pub events_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Lines dropped by policy.
    pub dropped_lines: u64,
    /// Events refused for good by an output.
    pub dead_letters: u64,
    /// Attempts of outputs that had to be repeated.
    pub retries: u64,
}

/// How far a document is applied.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Applied {
    /// Nodes that run this revision of the document or a newer one.
    pub on: usize,
    /// Nodes that should.
    pub of: usize,
    /// How many nodes could not.
    pub failed: usize,
    /// The first hundred of them, with why: (host, reason).
    pub failures: Vec<(String, String)>,
    /// Warnings about the text in force.
    pub problems: Vec<Diagnostic>,
}

/// A file in the config directory that is not in force.
#[derive(Clone, Debug, Serialize)]
pub struct FileProblem {
    /// The file, relative to the config directory.
    pub path: String,
    /// What is wrong when it is not about a place in the text.
    pub reason: String,
    /// What is wrong with the text.
    pub problems: Vec<Diagnostic>,
}
