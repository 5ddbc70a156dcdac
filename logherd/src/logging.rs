//! Starts the log: to standard error, as text for people or as JSON.
use anyhow::Context as _;
use config::settings::{LogFormat, ProcessSettings};
use std::io::IsTerminal as _;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;

/// Starts it. Fails only when the level makes no sense.
pub(crate) fn start(settings: &ProcessSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&settings.log_level)
        .with_context(|| format!("understand `--log-level {}`", settings.log_level))?;
    let terminal = std::io::stderr().is_terminal();
    let text = match settings.log_format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match text {
        true => log.with_ansi(terminal).with_target(true).compact().try_init(),
        false => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("start the log: {error}"))
}
