//! Holds the settings of the commands that talk to a running scheduler.
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
    /// Print what the API answers, as JSON, instead of a table.
    #[arg(long, env = "LOGHERD_JSON")]
    pub json: bool,
}
