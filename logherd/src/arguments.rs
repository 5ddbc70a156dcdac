//! Declares the command line: the commands, and which settings each one takes.
use crate::client::ClientCommand;
use crate::run::dlq::DlqCommand;
use clap::{Parser, Subcommand};
use config::settings::{
    CheckSettings, ExecutorSettings, LocalSettings, PluginsSettings, ProcessSettings, RunSettings,
    SchedulerSettings,
};
use std::path::Path;

/// One log agent on every node of a cluster, configured from one place, losing nothing.
///
/// Every flag may also be set in the environment (`--zk-session-timeout` as LOGHERD_ZK_SESSION_TIMEOUT) and in the
/// settings file (`zk-session-timeout = "10s"`); the command line wins over the environment, the environment over the
/// file.
#[derive(Debug, Parser)]
#[command(name = "logherd", version, propagate_version = true, max_term_width = 120)]
pub(crate) struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) process: ProcessSettings,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: a Mesos-compatible master and agents, the scheduler, executors, the page.
    Local(Box<LocalSettings>),
    /// Run the framework scheduler against a real Mesos.
    Scheduler(Box<SchedulerSettings>),
    /// Run as the executor of a node; Mesos starts this.
    Executor(Box<ExecutorSettings>),
    /// Run just a pipeline on this machine.
    Run(RunSettings),
    /// Say what is wrong with configurations.
    Check(CheckSettings),
    /// Say what plugins there are and what they take.
    Plugins(PluginsSettings),
    /// Look at the events that outputs were refused for good, and send them again.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Ask a running scheduler.
    #[command(flatten)]
    Client(ClientCommand),
}

impl Command {
    /// The sandbox that Mesos has given this process, if it has.
    pub(crate) fn sandbox(&self) -> Option<&Path> {
        let Self::Executor(settings) = self else { return None };
        let mesos = &settings.mesos;
        Some(mesos.mesos_sandbox.as_ref().unwrap_or(&mesos.mesos_directory))
    }
}

#[cfg(test)]
mod tests;
