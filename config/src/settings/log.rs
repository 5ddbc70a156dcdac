//! Holds the settings that every command has: the settings file, and how it logs.
use clap::Args;
use std::path::PathBuf;

/// How log lines are written to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct ProcessSettings {
    /// The settings file. Default: the first of `./logherd.toml`, `$XDG_CONFIG_HOME/logherd/logherd.toml` and
    /// `/etc/logherd/logherd.toml` that exists.
    #[arg(long, global = true, env = "LOGHERD_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or by part: `info,scheduler=debug`.
    #[arg(long, global = true, env = "LOGHERD_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// How it is written.
    #[arg(long, global = true, env = "LOGHERD_LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub log_format: LogFormat,
}
