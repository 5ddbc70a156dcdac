//! Declares the command line: the commands, and which settings each one takes.
use crate::client::ClientCommand;
use clap::{Parser, Subcommand};
use config::settings::{
    CheckSettings, ExecutorSettings, LocalSettings, ProcessSettings, RunSettings, SchedulerSettings,
};

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
    /// Ask a running scheduler.
    #[command(flatten)]
    Client(ClientCommand),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound_and_every_flag_is_documented() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        let mut open = vec![&command];
        while let Some(command) = open.pop() {
            assert!(command.get_about().is_some() || command.get_name() == "help", "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some() || arg.get_long_help().is_some(), "{}", arg.get_id());
            }
            open.extend(command.get_subcommands().filter(|c| c.get_name() != "help"));
        }
    }

    #[test]
    fn commands_read_as_documented() {
        for argv in [
            "logherd local --nodes 5 --log-format json",
            "logherd local --mesos-only",
            "logherd scheduler --master zk://a:2181/mesos --state zk://a:2181/logherd",
            "logherd run -f a.conf -f b.conf",
            "logherd run -e filter{}",
            "logherd check docker host --scope guess",
            "logherd configs list --api http://h:1",
            "logherd configs put web/nginx nginx.conf",
            "logherd configs delete --host out",
            "logherd nodes --json",
            "logherd status",
            "logherd why node-1",
        ] {
            Arguments::try_parse_from(argv.split(' ')).unwrap_or_else(|e| panic!("{argv}: {e}"));
        }
        Arguments::try_parse_from(["logherd"]).unwrap_err();
    }
}
