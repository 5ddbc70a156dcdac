//! Holds the settings of each process: command line over environment over file over built-in.
//!
//! A setting has one name: `--zk-session-timeout` on the command line, `LOGHERD_ZK_SESSION_TIMEOUT` in the environment,
//! `zk-session-timeout` in the settings file ([`file`]). Nothing outside this module reads the environment.
//! Secrets come from the environment or from files of their own, and are never printed ([`Secret`]).
use clap::{Args, FromArgMatches};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod client;
mod file;
mod libprocess;
mod log;
mod marathon;
mod masters;
mod pipeline;
mod placement;
mod secret;
mod share;

pub use client::ClientSettings;
pub use file::{FileError, Unusable, parse};
pub use libprocess::LibprocessTls;
pub use log::{LogFormat, ProcessSettings};
pub use marathon::host as marathon_host;
pub use masters::{MasterAccess, MasterCredentials, MasterTls};
pub use pipeline::{
    ApiSettings, CheckScope, CheckSettings, DeadLetterPolicy, DeadLetterSettings, DialectSettings, DlqFormat,
    DlqSettings, EcsCompatibility, PluginsSettings, PortRange, PrintFormat, QueueSettings, QueueType,
    RunSettings, Sources,
};
pub use placement::Placement;
pub use secret::Secret;
pub use share::{Share, ShareError};

/// Where a tail's spool stands when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SpoolFull {
    /// Stop reading the file in the container until there is room.
    #[default]
    Wait,
    /// Drop the oldest whole lines and count them.
    DropOldest,
}

/// What is answered when Mesos asks for a machine back for planned maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MaintenanceAnswer {
    /// Yes: the executor flushes and ends before the maintenance begins.
    #[default]
    Accept,
    /// No: the executor stays until its agent ends it.
    Decline,
}

/// What an executor asks of its node, and how it is started.
#[derive(Clone, Debug, Args)]
pub struct ExecutorNeeds {
    /// CPUs that each executor gets.
    #[arg(long, env = "LOGHERD_EXECUTOR_CPUS", default_value = "0.2")]
    pub executor_cpus: f64,
    /// Memory that each executor gets, in MiB.
    #[arg(long, env = "LOGHERD_EXECUTOR_MEM", default_value = "384")]
    pub executor_mem: f64,
    /// Disk that each executor gets, in MiB (spools).
    #[arg(long, env = "LOGHERD_EXECUTOR_DISK", default_value = "256")]
    pub executor_disk: f64,
    /// How many ports of its node each executor gets; inputs find them as `${PORT0}`, `${PORT1}`, ….
    #[arg(long, env = "LOGHERD_EXECUTOR_PORTS", default_value = "0")]
    pub executor_ports: u16,
    /// How long an executor may take to flush when it is told to stop.
    #[arg(long, env = "LOGHERD_EXECUTOR_GRACE", default_value = "30s", value_parser = humantime::parse_duration)]
    pub executor_grace: Duration,
    /// The path of the logherd binary on the nodes. Default: agents fetch it from the scheduler; `local` uses its own.
    #[arg(long, env = "LOGHERD_EXECUTOR_BINARY")]
    pub executor_binary: Option<PathBuf>,
    /// A directory on the nodes where positions and spools survive a new executor. Default: the sandbox.
    #[arg(long, env = "LOGHERD_EXECUTOR_DATA_DIR")]
    pub executor_data_dir: Option<PathBuf>,
}

/// How an executor reads its containers.
#[derive(Clone, Debug, Args)]
pub struct Collecting {
    /// The Docker daemon: `unix:///path` or `tcp://host:port`.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub docker_host: String,
    /// A directory with `ca.pem`, `cert.pem`, `key.pem`, for `tcp://` with TLS.
    #[arg(long, env = "DOCKER_CERT_PATH")]
    pub docker_cert_path: Option<PathBuf>,
    /// The most bytes that the spool of one tail may hold.
    #[arg(long, env = "LOGHERD_SPOOL_MAX", default_value = "5MB")]
    pub spool_max: bytesize::ByteSize,
    /// What happens when a spool is full.
    #[arg(long, env = "LOGHERD_SPOOL_FULL", default_value = "wait")]
    pub spool_full: SpoolFull,
}

/// TLS between the scheduler and its executors.
#[derive(Clone, Debug, Args)]
pub struct ControlTls {
    /// Talk TLS with executors, both sides with certificates of an authority of their own.
    #[arg(long, env = "LOGHERD_CONTROL_TLS")]
    pub control_tls: bool,
    /// The directory with that authority: `ca.pem` and `ca-key.pem`. With the state in a directory it is made if it is not
    /// there.
    #[arg(long, env = "LOGHERD_CONTROL_CA_DIR")]
    pub control_ca_dir: Option<PathBuf>,
}

/// `logherd scheduler`: the framework scheduler.
#[derive(Clone, Debug, Args)]
pub struct SchedulerSettings {
    /// The Mesos master: `host:port` or `https://host:port`, a comma-separated list of them, or `zk://…/mesos`.
    #[arg(long, env = "LOGHERD_MASTER")]
    pub master: String,
    /// Where the framework's state is kept: `zk://…/logherd` or a directory.
    #[arg(long, env = "LOGHERD_STATE")]
    pub state: String,
    /// Where the page and the REST API listen. As an app of Marathon: its `PORT0` on all addresses.
    #[arg(long, env = "LOGHERD_LISTEN", default_value = marathon::listen("PORT0", "127.0.0.1:9092"))]
    pub listen: SocketAddr,
    /// Where people, other schedulers and agents reach the page and the REST API: `host:port` or a URL. Default: `listen`,
    /// with this machine's name in place of `0.0.0.0`.
    #[arg(long, env = "LOGHERD_ADVERTISE")]
    pub advertise: Option<String>,
    /// Where executors attach (gRPC). As an app of Marathon: its `PORT1` on all addresses.
    #[arg(long, env = "LOGHERD_CONTROL_LISTEN", default_value = marathon::listen("PORT1", "127.0.0.1:9094"))]
    pub control_listen: SocketAddr,
    /// The address that executors are told to attach to. Default: `control_listen`, with the address that the masters see
    /// in place of `0.0.0.0`, or this machine's name where there is none.
    #[arg(long, env = "LOGHERD_CONTROL_ADVERTISE")]
    pub control_advertise: Option<String>,
    /// TLS to executors.
    #[command(flatten)]
    pub control_tls: ControlTls,
    /// The framework's name.
    #[arg(long, env = "LOGHERD_FRAMEWORK_NAME", default_value = "logherd")]
    pub framework_name: String,
    /// Where executors run, and on whose resources.
    #[command(flatten)]
    pub placement: Placement,
    /// Register a new framework although that of this state was torn down.
    #[arg(long, env = "LOGHERD_REGISTER_ANEW")]
    pub register_anew: bool,
    /// The user that executors run as on the nodes.
    #[arg(long, env = "LOGHERD_USER", default_value = "root")]
    pub user: String,
    /// Who the framework is to the masters.
    #[command(flatten)]
    pub credentials: MasterCredentials,
    /// TLS to the masters.
    #[command(flatten)]
    pub master_tls: MasterTls,
    /// How long the framework's executors outlive a scheduler that is gone.
    #[arg(long, env = "LOGHERD_FAILOVER_TIMEOUT", default_value = "7days", value_parser = masters::failover_timeout)]
    pub failover_timeout: Duration,
    /// How long before the planned maintenance of a machine nothing is launched there any more.
    #[arg(long, env = "LOGHERD_MAINTENANCE_LEAD", default_value = "5m", value_parser = humantime::parse_duration)]
    pub maintenance_lead: Duration,
    /// What is answered when Mesos asks for a machine back for planned maintenance (an inverse offer). `decline`: the executor
    /// there works on until its agent ends it.
    #[arg(long, env = "LOGHERD_MAINTENANCE_ANSWER", default_value = "accept")]
    pub maintenance_answer: MaintenanceAnswer,
    /// The ZooKeeper session timeout.
    #[arg(long, env = "LOGHERD_ZK_SESSION_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub zk_session_timeout: Duration,
    /// A directory with `docker/**/*.conf` and `host/*.conf` that is watched; its changes are edits.
    #[arg(long, env = "LOGHERD_CONFIG_DIR")]
    pub config_dir: Option<PathBuf>,
    /// A Docker image to run executors in, by the agents' Docker containerizer. Its entrypoint is the logherd binary.
    #[arg(long, env = "LOGHERD_EXECUTOR_IMAGE", conflicts_with = "executor_binary")]
    pub executor_image: Option<String>,
    /// Directories of the nodes that executors in an image may read.
    #[arg(long, env = "LOGHERD_EXECUTOR_MOUNTS", value_delimiter = ',', default_value = "/var/log")]
    pub executor_mounts: Vec<PathBuf>,
    /// What executors need.
    #[command(flatten)]
    pub executor: ExecutorNeeds,
    /// How executors read their containers.
    #[command(flatten)]
    pub collecting: Collecting,
    /// How long a new executor has to run and be attached before a rollout goes on to the next nodes.
    #[arg(long, env = "LOGHERD_ROLLOUT_SETTLE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub rollout_settle: Duration,
    /// How long a node that is to be upgraded waits for an offer with room for the new executor beside the old one; `0s`: the
    /// old one always ends first.
    #[arg(long, env = "LOGHERD_ROLLOUT_OVERLAP", default_value = "30s", value_parser = humantime::parse_duration)]
    pub rollout_overlap: Duration,
    /// Whether executors of other settings are replaced without an order. No setting: it is so where a restart is an order.
    #[arg(skip)]
    pub upgrade_by_itself: bool,
    /// Where this program is served below `advertise`, for agents to fetch it. No setting: the process finds it out.
    #[arg(skip)]
    pub artifact: Option<String>,
}

/// `logherd executor`: one per node, started by Mesos, which sets the `MESOS_*` variables.
#[derive(Clone, Debug, Args)]
pub struct ExecutorSettings {
    /// Where the scheduler's control plane listens: `host:port`.
    #[arg(long, env = "LOGHERD_CONTROL")]
    pub control: String,
    /// The token that came with the launch. Only from the environment: a command line can be read by others.
    #[arg(long, env = "LOGHERD_CONTROL_TOKEN", hide_env_values = true)]
    pub control_token: Option<Secret>,
    /// What came with the launch for TLS with the scheduler. Only from the environment: a command line can be read by others.
    #[arg(long, env = "LOGHERD_CONTROL_IDENTITY", hide_env_values = true)]
    pub control_identity: Option<Secret>,
    /// Where positions and spools are kept. Default: the sandbox.
    #[arg(long, env = "LOGHERD_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the executor before on this node kept its data: gone on with when there are none yet. Comes with the launch.
    #[arg(long, env = "LOGHERD_PREDECESSOR_DATA")]
    pub predecessor_data: Option<PathBuf>,
    /// Whether that executor works on until this one is up: then its data are waited for, however long that takes. Comes with
    /// the launch.
    #[arg(long, env = "LOGHERD_BESIDE_PREDECESSOR")]
    pub beside_predecessor: bool,
    /// Which part of the Docker daemon's containers is this node's, e.g. `2/5`, when several nodes share one daemon.
    #[arg(long, env = "LOGHERD_CONTAINER_SHARE", default_value_t = Share::ALL)]
    pub container_share: Share,
    /// How containers are read.
    #[command(flatten)]
    pub collecting: Collecting,
    /// What Mesos says in the environment.
    #[command(flatten)]
    pub mesos: MesosEnvironment,
}

/// The environment that a Mesos agent gives an executor.
#[derive(Clone, Debug, Args)]
pub struct MesosEnvironment {
    /// The framework.
    #[arg(long, env = "MESOS_FRAMEWORK_ID")]
    pub mesos_framework_id: String,
    /// This executor.
    #[arg(long, env = "MESOS_EXECUTOR_ID")]
    pub mesos_executor_id: String,
    /// The agent ("slave" in older names).
    #[arg(long, env = "MESOS_SLAVE_ID")]
    pub mesos_slave_id: String,
    /// `ip:port` of the agent.
    #[arg(long, env = "MESOS_AGENT_ENDPOINT")]
    pub mesos_agent_endpoint: String,
    /// The sandbox.
    #[arg(long, env = "MESOS_DIRECTORY")]
    pub mesos_directory: PathBuf,
    /// The sandbox as this process sees it.
    #[arg(long, env = "MESOS_SANDBOX")]
    pub mesos_sandbox: Option<PathBuf>,
    /// `1` when this executor survives a restart of its agent.
    #[arg(long, env = "MESOS_CHECKPOINT", default_value = "0")]
    pub mesos_checkpoint: String,
    /// How long to wait for an agent that is gone, in Mesos' duration text.
    #[arg(long, env = "MESOS_RECOVERY_TIMEOUT", default_value = "15mins")]
    pub mesos_recovery_timeout: String,
    /// The longest pause between two attempts to subscribe, in Mesos' duration text.
    #[arg(long, env = "MESOS_SUBSCRIPTION_BACKOFF_MAX", default_value = "2secs")]
    pub mesos_subscription_backoff_max: String,
    /// How long a shutdown may take, in Mesos' duration text.
    #[arg(long, env = "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", default_value = "5secs")]
    pub mesos_executor_shutdown_grace_period: String,
    /// The bearer token for the agent, if it wants one.
    #[arg(long, env = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN", hide_env_values = true)]
    pub mesos_executor_authentication_token: Option<Secret>,
    /// The agent as libprocess calls it: its name, `@`, and its address.
    #[arg(long, env = "MESOS_SLAVE_PID")]
    pub mesos_slave_pid: Option<String>,
    /// The name of the Docker container that this executor runs in, if it does.
    #[arg(long, env = "MESOS_CONTAINER_NAME")]
    pub mesos_container_name: Option<String>,
    /// The Unix socket on which the agent listens for executors, if it does.
    #[arg(long, env = "MESOS_DOMAIN_SOCKET")]
    pub mesos_domain_socket: Option<PathBuf>,
    /// TLS to the agent.
    #[command(flatten)]
    pub libprocess_tls: LibprocessTls,
}

/// `logherd local`: everything on this machine.
#[derive(Clone, Debug, Args)]
pub struct LocalSettings {
    /// How many nodes to run.
    #[arg(long, env = "LOGHERD_NODES", default_value = "1")]
    pub nodes: usize,
    /// Where state and logs are kept. Default: `logherd` in the user's state directory (`$XDG_STATE_HOME` or
    /// `~/.local/state`).
    #[arg(long, env = "LOGHERD_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the page and the REST API listen.
    #[arg(long, env = "LOGHERD_LISTEN", default_value = "127.0.0.1:9092")]
    pub listen: SocketAddr,
    /// A directory with `docker/**/*.conf` and `host/*.conf` that is watched; its changes are edits.
    #[arg(long, env = "LOGHERD_CONFIG_DIR")]
    pub config_dir: Option<PathBuf>,
    /// Where the embedded master listens. Default: a free loopback port, kept over restarts.
    #[arg(long, env = "LOGHERD_MESOS_LISTEN")]
    pub mesos_listen: Option<SocketAddr>,
    /// Run only the embedded Mesos, for a `logherd scheduler` beside it.
    #[arg(long, env = "LOGHERD_MESOS_ONLY")]
    pub mesos_only: bool,
    /// What executors need.
    #[command(flatten)]
    pub executor: ExecutorNeeds,
    /// How executors read their containers.
    #[command(flatten)]
    pub collecting: Collecting,
}

impl LocalSettings {
    /// Where state and logs are kept.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(state_dir)
    }
}

impl SchedulerSettings {
    /// Whether agents are to fetch the program from this scheduler: it is nowhere else.
    pub fn executors_fetch(&self) -> bool {
        self.executor_image.is_none() && self.executor.executor_binary.is_none()
    }

    /// The settings of a scheduler for `master` that keeps its state in `state`; everything else as the environment
    /// says, or built-in.
    pub fn for_master(master: &str, state: &str) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("scheduler"));
        Self::from_arg_matches(&command.try_get_matches_from([
            "scheduler",
            "--master",
            master,
            "--state",
            state,
        ])?)
    }
}

/// The directory for what a user's programs keep: `$XDG_STATE_HOME/logherd` or `~/.local/state/logherd`; without a home,
/// `/var/lib/logherd`.
pub fn state_dir() -> PathBuf {
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(state) = absolute("XDG_STATE_HOME") {
        return state.join("logherd");
    }
    match absolute("HOME") {
        Some(home) => home.join(".local/state/logherd"),
        None => PathBuf::from("/var/lib/logherd"),
    }
}

/// Reads a variable of the environment, for `${NAME}` in pipeline configurations; `None` when it is unset or no UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    // A name with `=` or NUL would make std panic in older versions, and can never be set.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests;
