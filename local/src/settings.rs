//! Says what cluster is wanted: its nodes, addresses and times.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The cluster to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept: the master under `mesos/master`, each agent under `mesos/agent-<n>`.
    pub data_dir: PathBuf,
    /// The agents, in order; agent `n` of an earlier start is agent `n` of this one.
    pub nodes: Vec<Node>,
    /// Where the master listens; `None` takes the port of the last start, or any free one, on 127.0.0.1.
    pub master_listen: Option<SocketAddr>,
    /// Intervals and timeouts.
    pub timings: Timings,
    /// The roles that frameworks may use; empty means all.
    pub roles: Vec<String>,
    /// Principals and secrets that schedulers and operators must show; none means that nobody is asked.
    pub credentials: Vec<(String, String)>,
    /// Executors must show the token that their agent gave them (`--authenticate_http_executors` of a real agent).
    pub executor_tokens: bool,
    /// Agents listen for executors on a Unix socket too (`--http_executor_domain_sockets` of a real agent).
    pub domain_sockets: bool,
    /// How many bytes of a stream travel together.
    pub chunking: Chunking,
    /// Region and zone of the master; agents of other regions are offered only to frameworks that know of regions.
    pub domain: Option<(String, String)>,
}

impl Settings {
    /// A cluster of `nodes` equal nodes with the times of a real Mesos.
    pub fn new(data_dir: impl Into<PathBuf>, nodes: usize) -> Self {
        Self {
            data_dir: data_dir.into(),
            nodes: (1..=nodes).map(|n| Node::new(format!("node-{n}"))).collect(),
            master_listen: None,
            timings: Timings::default(),
            roles: Vec::new(),
            credentials: Vec::new(),
            executor_tokens: false,
            domain_sockets: false,
            chunking: Chunking::Records,
            domain: None,
        }
    }
}

/// One agent.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name that the agent advertises.
    pub hostname: String,
    /// Processors.
    pub cpus: f64,
    /// Memory, in megabytes.
    pub mem: f64,
    /// Disk, in megabytes.
    pub disk: f64,
    /// Graphics processors; agents that have some are offered only to frameworks that can use them.
    pub gpus: f64,
    /// First and last port that tasks may use.
    pub ports: (u64, u64),
    /// Attributes, in the notation of `mesos-agent --attributes`: a number is a scalar, `[1-2, 5-6]` are ranges, anything
    /// else is text.
    pub attributes: Vec<(String, String)>,
    /// Region and zone.
    pub domain: Option<(String, String)>,
    /// Variables that every executor of this agent gets (`--executor_environment_variables` of a real agent).
    pub executor_env: Vec<(String, String)>,
    /// What an older agent cannot do.
    pub lacks: Vec<Ability>,
    /// Where the agent listens; `None` takes the port of the last start, or any free one, on 127.0.0.1.
    pub listen: Option<SocketAddr>,
}

impl Node {
    /// A node with 4 processors, 4 GB of memory, 10 GB of disk and a thousand ports.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            cpus: 4.0,
            mem: 4096.0,
            disk: 10_000.0,
            gpus: 0.0,
            ports: (31_000, 32_000),
            attributes: Vec::new(),
            domain: None,
            executor_env: Vec::new(),
            lacks: Vec::new(),
            listen: None,
        }
    }
}

/// What agents of newer versions can do, and masters take into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Resources allocated to several roles; without it frameworks with MULTI_ROLE are not offered the agent.
    MultiRole,
    /// Feedback of operations.
    OperationFeedback,
    /// Limits of tasks above their requests.
    TaskLimits,
}

/// Intervals and timeouts; the default is what a real Mesos has.
#[derive(Clone, Debug)]
pub struct Timings {
    /// Between two HEARTBEATs on a scheduler's or operator's stream.
    pub heartbeat: Duration,
    /// Between two HEARTBEATs on an executor's stream.
    pub executor_heartbeat: Duration,
    /// Between two rounds of allocation.
    pub allocation: Duration,
    /// How long an offer stays good; `None` for ever.
    pub offer_timeout: Option<Duration>,
    /// Between two pings of an agent.
    pub agent_ping: Duration,
    /// So many unanswered pings make an agent unreachable.
    pub agent_ping_misses: u32,
    /// How long agents have to come back after a restart of the master or a broken connection.
    pub agent_reregister: Duration,
    /// How long a new executor has to subscribe, fetching included.
    pub executor_registration: Duration,
    /// How long executors have to subscribe again after an agent restart.
    pub executor_reregistration: Duration,
    /// The grace period of executors that name none.
    pub executor_shutdown_grace: Duration,
    /// How long executors go on without their agent.
    pub executor_recovery: Duration,
    /// The first pause before an unacknowledged update is sent again; doubles up to `update_retry_max`.
    pub update_retry: Duration,
    /// The longest pause between two sendings of one update.
    pub update_retry_max: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            executor_heartbeat: Duration::from_secs(30 * 60),
            allocation: Duration::from_secs(1),
            offer_timeout: None,
            agent_ping: Duration::from_secs(15),
            agent_ping_misses: 5,
            agent_reregister: Duration::from_secs(600),
            executor_registration: Duration::from_secs(60),
            executor_reregistration: Duration::from_secs(2),
            executor_shutdown_grace: Duration::from_secs(5),
            executor_recovery: Duration::from_secs(15 * 60),
            update_retry: Duration::from_secs(10),
            update_retry_max: Duration::from_secs(600),
        }
    }
}

/// How streams are cut into HTTP chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunking {
    /// One record per chunk, as a real Mesos mostly does.
    Records,
    /// At most so many bytes per chunk, so that records are cut anywhere, also within their length.
    Bytes(usize),
    /// Chunks of any size, made from this seed: several records in one, records cut anywhere.
    Random(u64),
}
