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

/// `logherd run`: just the pipeline, on this machine.
#[derive(Clone, Debug, Args)]
pub struct RunSettings {
    /// What to run.
    #[command(flatten)]
    pub sources: Sources,
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
    /// More files, directories and patterns to check.
    #[arg(value_name = "FILE|DIR|GLOB")]
    pub more: Vec<String>,
    /// What the configurations are for.
    #[arg(long, env = "LOGHERD_SCOPE", default_value = "guess")]
    pub scope: CheckScope,
}
