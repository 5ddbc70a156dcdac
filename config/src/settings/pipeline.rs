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
}

impl RunSettings {
    /// Where positions are kept.
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
