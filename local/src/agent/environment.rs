//! Makes the environment of an executor: nothing is inherited.

use super::core::Launch;
use super::tokens::Tokens;
use crate::clock::duration_text;
use crate::settings::Timings;
use mesos::environment::variable::Type;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the agent adds to what the launch says.
#[derive(Clone, Debug)]
pub(crate) struct AgentSide {
    /// `slave(1)@127.0.0.1:5051`.
    pub(crate) pid: String,
    /// `127.0.0.1:5051`.
    pub(crate) endpoint: String,
    /// As `--executor_environment_variables`.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) timings: Timings,
    /// Makes what executors have to show, if they have to.
    pub(crate) tokens: Option<Tokens>,
    /// Where the agent listens for executors beside its address, if it does.
    pub(crate) domain_socket: Option<PathBuf>,
}

/// The variables of one executor. The command's own win.
pub(crate) fn environment(agent: &AgentSide, launch: &Launch, sandbox: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    all.extend(agent.variables.iter().cloned());
    let ip = agent.endpoint.rsplit_once(':').map_or(agent.endpoint.as_str(), |(ip, _)| ip);
    let directory = sandbox.display().to_string();
    let grace = launch
        .executor
        .shutdown_grace_period
        .and_then(|grace| u64::try_from(grace.nanoseconds).ok())
        .map_or(agent.timings.executor_shutdown_grace, Duration::from_nanos);
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value);
    };
    set("LIBPROCESS_IP", ip.to_owned());
    set("LIBPROCESS_PORT", "0".into());
    set("MESOS_FRAMEWORK_ID", launch.run.framework.0.clone());
    set("MESOS_EXECUTOR_ID", launch.run.executor.0.clone());
    set("MESOS_SLAVE_ID", launch.agent_id.0.clone());
    set("MESOS_SLAVE_PID", agent.pid.clone());
    set("MESOS_AGENT_ENDPOINT", agent.endpoint.clone());
    set("MESOS_DIRECTORY", directory.clone());
    set("MESOS_SANDBOX", directory);
    set("MESOS_HTTP_COMMAND_EXECUTOR", "0".into());
    set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration_text(grace));
    if let Some(tokens) = &agent.tokens {
        set("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", tokens.make(&launch.run));
    }
    if let Some(socket) = &agent.domain_socket {
        set("MESOS_DOMAIN_SOCKET", socket.display().to_string());
    }
    if launch.framework.checkpoint() {
        set("MESOS_CHECKPOINT", "1".into());
        set("MESOS_RECOVERY_TIMEOUT", duration_text(agent.timings.executor_recovery));
        set("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration_text(agent.timings.executor_reregistration));
    } else {
        set("MESOS_CHECKPOINT", "0".into());
    }
    let own = launch.executor.command.iter().filter_map(|command| command.environment.as_ref());
    for variable in own.flat_map(|environment| &environment.variables) {
        if variable.r#type() == Type::Value {
            all.insert(variable.name.clone(), variable.value().to_owned());
        } else if let Some(value) = variable.secret.as_ref().and_then(|secret| secret.value.as_ref()) {
            all.insert(variable.name.clone(), String::from_utf8_lossy(&value.data).into_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::core::{ContainerId, RunKey};
    use crate::ids::{AgentId, ExecutorId, FrameworkId};

    fn launch() -> Launch {
        let variable = mesos::environment::Variable {
            name: "LOGHERD_CLUSTER".into(),
            value: Some("example".into()),
            ..Default::default()
        };
        Launch {
            agent_id: AgentId("S0".into()),
            run: RunKey {
                framework: FrameworkId("F".into()),
                executor: ExecutorId("logherd-exec.1".into()),
                container: ContainerId("C".into()),
            },
            framework: mesos::FrameworkInfo { checkpoint: Some(true), ..Default::default() },
            executor: mesos::ExecutorInfo {
                shutdown_grace_period: Some(mesos::DurationInfo { nanoseconds: 3_000_000_000 }),
                command: Some(mesos::CommandInfo {
                    environment: Some(mesos::Environment { variables: vec![variable] }),
                    ..Default::default()
                }),
                ..Default::default()
            },
        }
    }

    fn agent() -> AgentSide {
        AgentSide {
            pid: "slave(1)@127.0.0.1:5051".into(),
            endpoint: "127.0.0.1:5051".into(),
            variables: vec![("LOGHERD_CLUSTER".into(), "agent's".into()), ("EXTRA".into(), "1".into())],
            timings: Timings::default(),
            tokens: None,
            domain_socket: None,
        }
    }

    /// The names and values of a recorded environment (`13-executor/env.txt`).
    #[test]
    fn the_environment_is_that_of_a_real_agent() {
        let env = environment(&agent(), &launch(), Path::new("/w/sandbox"));
        let lines: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines,
            [
                "EXTRA=1",
                "LIBPROCESS_IP=127.0.0.1",
                "LIBPROCESS_PORT=0",
                "LOGHERD_CLUSTER=example",
                "MESOS_AGENT_ENDPOINT=127.0.0.1:5051",
                "MESOS_CHECKPOINT=1",
                "MESOS_DIRECTORY=/w/sandbox",
                "MESOS_EXECUTOR_ID=logherd-exec.1",
                "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=3secs",
                "MESOS_FRAMEWORK_ID=F",
                "MESOS_HTTP_COMMAND_EXECUTOR=0",
                "MESOS_RECOVERY_TIMEOUT=15mins",
                "MESOS_SANDBOX=/w/sandbox",
                "MESOS_SLAVE_ID=S0",
                "MESOS_SLAVE_PID=slave(1)@127.0.0.1:5051",
                "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ]
        );
    }

    #[test]
    fn tokens_and_domain_sockets_are_told_where_they_are_used() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        let expected = tokens.make(&launch().run);
        let agent = AgentSide { tokens: Some(tokens), domain_socket: Some("/run/a.sock".into()), ..agent() };
        let env = environment(&agent, &launch(), Path::new("/w"));
        assert_eq!(env["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"], expected);
        assert_eq!(env["MESOS_DOMAIN_SOCKET"], "/run/a.sock");
    }

    #[test]
    fn without_checkpointing_nothing_is_said_of_recovery() {
        let mut launch = launch();
        launch.framework.checkpoint = None;
        let env = environment(&agent(), &launch, Path::new("/w"));
        assert_eq!(env["MESOS_CHECKPOINT"], "0");
        assert!(!env.contains_key("MESOS_RECOVERY_TIMEOUT"));
    }
}
