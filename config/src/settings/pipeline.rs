//! Holds the settings of `logherd run` and `logherd check`.
use super::state_dir;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Where a pipeline configuration comes from. Several sources are read as one text, in order.
#[derive(Clone, Debug, Default, Args)]
pub struct Sources {
    /// A configuration: a file, a directory (all its files, by name), or a pattern such as `conf.d/*.conf`.
    #[arg(
        short = 'f',
        long,
        alias = "path.config",
        env = "LOGHERD_PATH_CONFIG",
        value_name = "FILE|DIR|GLOB"
    )]
    pub path_config: Vec<String>,
    /// A configuration, as text.
    #[arg(
        short = 'e',
        long,
        alias = "config.string",
        env = "LOGHERD_CONFIG_STRING",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    pub config_string: Vec<String>,
}

/// What a configuration means depends on these, as it does in Logstash.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DialectSettings {
    /// Undo `\n`, `\r`, `\t`, `\0`, `\\`, `\"` and `\'` in quoted texts; otherwise a backslash stays what it is.
    #[arg(long, alias = "config.support_escapes", env = "LOGHERD_CONFIG_SUPPORT_ESCAPES")]
    pub config_support_escapes: bool,
    /// What `ecs_compatibility` is for each plugin that has it and does not give it.
    #[arg(
        long,
        alias = "pipeline.ecs_compatibility",
        env = "LOGHERD_PIPELINE_ECS_COMPATIBILITY",
        default_value = "disabled"
    )]
    pub pipeline_ecs_compatibility: EcsCompatibility,
}

/// How plugins name the fields that they set by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EcsCompatibility {
    /// By Logstash's old names.
    #[default]
    Disabled,
    /// By those of the Elastic Common Schema 1.
    V1,
    /// By those of the Elastic Common Schema 8.
    V8,
}

impl EcsCompatibility {
    /// The word for it in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::V1 => "v1",
            Self::V8 => "v8",
        }
    }
}

/// For whom something is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PrintFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// `logherd run`: just the pipeline, on this machine.
#[derive(Clone, Debug, Args)]
pub struct RunSettings {
    /// What to run.
    #[command(flatten)]
    pub sources: Sources,
    /// How it is read.
    #[command(flatten)]
    pub dialect: DialectSettings,
    /// Where positions are kept. Default: `run` in logherd's state directory.
    #[arg(long, alias = "path.data", env = "LOGHERD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How long stopping may take: what was read is filtered, sent and acknowledged meanwhile.
    #[arg(long, env = "LOGHERD_STOP_DEADLINE", default_value = "30s", value_parser = humantime::parse_duration)]
    pub stop_deadline: Duration,
    /// Where others see what it does.
    #[command(flatten)]
    pub api: ApiSettings,
    /// Where events wait.
    #[command(flatten)]
    pub queue: QueueSettings,
    /// What is kept of events that are refused.
    #[command(flatten)]
    pub dead_letters: DeadLetterSettings,
}

impl RunSettings {
    /// Where positions are kept.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| state_dir().join("run"))
    }
}

/// The API that tells what a pipeline does, in the shape of Logstash's node API.
#[derive(Clone, Debug, Args)]
pub struct ApiSettings {
    /// Whether to serve what the pipeline does, as Logstash's node API does (`GET /_node/stats`).
    #[arg(long, alias = "api.enabled", env = "LOGHERD_API_ENABLED", default_value = "true", action = clap::ArgAction::Set)]
    pub api_enabled: bool,
    /// The address that the node API listens on.
    #[arg(long, alias = "api.http.host", env = "LOGHERD_API_HTTP_HOST", default_value = "127.0.0.1")]
    pub api_http_host: std::net::IpAddr,
    /// The port of the node API, or a range of which the first free one is taken.
    #[arg(long, alias = "api.http.port", env = "LOGHERD_API_HTTP_PORT", default_value = "9600-9700")]
    pub api_http_port: PortRange,
    /// The name of this node, as the node API tells it. Default: the name of the machine.
    #[arg(long, alias = "node.name", env = "LOGHERD_NODE_NAME")]
    pub node_name: Option<String>,
}

/// Ports from the first through the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange(pub u16, pub u16);

impl std::str::FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("`{text}` is not a port"));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self(port(first)?, port(last)?);
        if range.0 > range.1 { Err("the last port comes before the first".to_owned()) } else { Ok(range) }
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}-{}", self.0, self.1) }
    }
}

/// Where a pipeline keeps what inputs brought until it is delivered.
#[derive(Clone, Debug, Args)]
pub struct QueueSettings {
    /// Where events wait: in memory, or on disk, so that senders that cannot send again lose nothing by a restart.
    #[arg(long, alias = "queue.type", env = "LOGHERD_QUEUE_TYPE", default_value = "memory")]
    pub queue_type: QueueType,
    /// The most bytes of a disk queue. Full: the inputs wait.
    #[arg(long, alias = "queue.max_bytes", env = "LOGHERD_QUEUE_MAX_BYTES", default_value = "1GiB")]
    pub queue_max_bytes: bytesize::ByteSize,
    /// The most events of a disk queue; 0 is no limit.
    #[arg(long, alias = "queue.max_events", env = "LOGHERD_QUEUE_MAX_EVENTS", default_value = "0")]
    pub queue_max_events: u64,
    /// The size of one file of a disk queue.
    #[arg(long, alias = "queue.page_capacity", env = "LOGHERD_QUEUE_PAGE_CAPACITY", default_value = "64MiB")]
    pub queue_page_capacity: bytesize::ByteSize,
    /// After how many events at most a disk queue is synced and their senders are told; sooner when no more wait. With 0
    /// senders are told at once, and a crash of the machine may lose what came since the last checkpoint.
    #[arg(
        long,
        alias = "queue.checkpoint.writes",
        env = "LOGHERD_QUEUE_CHECKPOINT_WRITES",
        default_value = "1024"
    )]
    pub queue_checkpoint_writes: usize,
    /// How often a disk queue saves what was delivered.
    #[arg(
        long,
        alias = "queue.checkpoint.interval",
        env = "LOGHERD_QUEUE_CHECKPOINT_INTERVAL",
        default_value = "1s",
        value_parser = humantime::parse_duration
    )]
    pub queue_checkpoint_interval: Duration,
    /// Whether stopping delivers everything in the disk queue first, as long as the deadline for stopping allows.
    #[arg(long, alias = "queue.drain", env = "LOGHERD_QUEUE_DRAIN")]
    pub queue_drain: bool,
}

/// Where events wait for the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum QueueType {
    /// In memory.
    Memory,
    /// On disk.
    Persisted,
}

/// How much is kept of the events that outputs are refused for good.
#[derive(Clone, Debug, Args)]
pub struct DeadLetterSettings {
    /// The most bytes of a pipeline's dead letters.
    #[arg(
        long,
        alias = "dead_letter_queue.max_bytes",
        env = "LOGHERD_DEAD_LETTER_QUEUE_MAX_BYTES",
        default_value = "128MiB"
    )]
    pub dead_letter_queue_max_bytes: bytesize::ByteSize,
    /// What goes when there is no room for another dead letter; it is counted as dropped.
    #[arg(
        long,
        alias = "dead_letter_queue.storage_policy",
        env = "LOGHERD_DEAD_LETTER_QUEUE_STORAGE_POLICY",
        default_value = "drop_older"
    )]
    pub dead_letter_queue_storage_policy: DeadLetterPolicy,
    /// How long a dead letter is kept. Default: without end.
    #[arg(
        long,
        alias = "dead_letter_queue.retain.age",
        env = "LOGHERD_DEAD_LETTER_QUEUE_RETAIN_AGE",
        value_parser = humantime::parse_duration
    )]
    pub dead_letter_queue_retain_age: Option<Duration>,
}

/// What goes when there is no room for another dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DeadLetterPolicy {
    /// The new one.
    #[value(name = "drop_newer", alias = "drop-newer")]
    DropNewer,
    /// The oldest ones.
    #[value(name = "drop_older", alias = "drop-older")]
    DropOlder,
}

/// Where the dead letters are that `logherd dlq` works on.
#[derive(Clone, Debug, Args)]
pub struct DlqSettings {
    /// The data directory of `logherd run`, or of a node's pipelines. Default: `run` in logherd's state directory.
    #[arg(long, alias = "path.data", env = "LOGHERD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How to print.
    #[arg(long, env = "LOGHERD_DLQ_FORMAT", default_value = "text")]
    pub format: DlqFormat,
}

/// How dead letters are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DlqFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl DlqSettings {
    /// Where the dead letters are.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| state_dir().join("run"))
    }
}

/// For what a configuration is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckScope {
    /// By its directory: an image config below `docker/`, a host config below `host/`, else a whole pipeline.
    #[default]
    Guess,
    /// A whole pipeline, for `logherd run`.
    Run,
    /// An image config.
    Docker,
    /// A host config.
    Host,
}

/// `logherd check`: says what is wrong with configurations.
#[derive(Clone, Debug, Args)]
pub struct CheckSettings {
    /// What to check.
    #[command(flatten)]
    pub sources: Sources,
    /// How it is read.
    #[command(flatten)]
    pub dialect: DialectSettings,
    /// More files, directories and patterns to check.
    #[arg(value_name = "FILE|DIR|GLOB")]
    pub more: Vec<String>,
    /// What the configurations are for.
    #[arg(long, env = "LOGHERD_SCOPE", default_value = "guess")]
    pub scope: CheckScope,
    /// For whom the problems are printed. As JSON, everything goes to standard output.
    #[arg(long, env = "LOGHERD_FORMAT", default_value = "text")]
    pub format: PrintFormat,
}

/// `logherd plugins`: says what plugins there are and what they take.
#[derive(Clone, Debug, Args)]
pub struct PluginsSettings {
    /// What to tell about: a plugin (`grok`, `codec/json`) or a kind (`input`, `codec`, `filter`, `output`). Without it, all are
    /// listed.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// For whom it is printed.
    #[arg(long, env = "LOGHERD_FORMAT", default_value = "text")]
    pub format: PrintFormat,
}
