//! Starts the log: to standard error, as text for people or as JSON; that of an executor into its sandbox.
use anyhow::Context as _;
use config::settings::{LogFormat, ProcessSettings};
use std::io::IsTerminal as _;
use std::path::Path;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Starts it; with a sandbox, in a room of fixed size there. Fails only when the level makes no sense.
pub(crate) fn start(settings: &ProcessSettings, sandbox: Option<&Path>) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&settings.log_level)
        .with_context(|| format!("understand `--log-level {}`", settings.log_level))?;
    let terminal = std::io::stderr().is_terminal();
    let text = match settings.log_format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let writer = match sandbox.filter(|_| !terminal) {
        Some(sandbox) => {
            let log = ::executor::OwnLog::open(sandbox);
            BoxMakeWriter::new(move || log.clone())
        }
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let log = fmt().with_env_filter(filter).with_writer(writer);
    let started = match text {
        true => log.with_ansi(terminal).with_target(true).compact().try_init(),
        false => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("start the log: {error}"))
}
