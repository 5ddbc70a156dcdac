//! Holds the settings of the commands that talk to a running scheduler.
use super::PrintFormat;
use clap::Args;
use std::time::Duration;
use url::Url;

/// `logherd configs`, `nodes`, `status`, `why`, `upgrade`, `teardown`: clients of the REST API.
#[derive(Clone, Debug, Args)]
pub struct ClientSettings {
    /// Where the REST API of the scheduler is.
    #[arg(long, env = "LOGHERD_API", default_value = "http://127.0.0.1:9092", value_name = "URL")]
    pub api: Url,
    /// How long to wait for an answer.
    #[arg(long, env = "LOGHERD_API_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub api_timeout: Duration,
    /// For whom answers are printed. As JSON, each is one document on a line.
    #[arg(long, env = "LOGHERD_FORMAT", default_value = "text")]
    pub format: PrintFormat,
    /// The same as `--format json`.
    #[arg(long, env = "LOGHERD_JSON")]
    pub json: bool,
}

impl ClientSettings {
    /// Whether JSON is wanted.
    pub fn json(&self) -> bool {
        self.json || self.format == PrintFormat::Json
    }
}
