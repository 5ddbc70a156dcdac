//! Composes what Mesos is asked to start on a node: a custom executor and its token task.
use crate::core::effects::LaunchRecord;
use config::settings::{Collecting, ExecutorNeeds, SpoolFull};
use proto::mesos::v1;
use std::path::Path;
use std::time::Duration;

/// What is the same in every launch.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The binary on the nodes.
    binary: String,
    /// Its arguments after the program's name, but for the control address.
    arguments: Vec<String>,
    user: String,
    grace: Duration,
}

impl Template {
    /// The template that the settings ask for. `binary` is the path of this program on the nodes.
    pub(crate) fn new(binary: &Path, user: &str, needs: &ExecutorNeeds, collecting: &Collecting) -> Self {
        let full = match collecting.spool_full {
            SpoolFull::Wait => "wait",
            SpoolFull::DropOldest => "drop-oldest",
        };
        let mut arguments = vec![
            "--docker-host".to_owned(),
            collecting.docker_host.clone(),
            "--spool-max".to_owned(),
            collecting.spool_max.as_u64().to_string(),
            "--spool-full".to_owned(),
            full.to_owned(),
        ];
        if let Some(certificates) = &collecting.docker_cert_path {
            arguments.extend(["--docker-cert-path".to_owned(), certificates.display().to_string()]);
        }
        if let Some(dir) = &needs.executor_data_dir {
            arguments.extend(["--data-dir".to_owned(), dir.display().to_string()]);
        }
        Self {
            binary: binary.display().to_string(),
            arguments,
            user: user.to_owned(),
            grace: needs.executor_grace,
        }
    }

    /// The task of a launch, with its executor. No shell sees any of it.
    pub(super) fn task(
        &self,
        launch: &LaunchRecord,
        token: &str,
        executor_resources: Vec<v1::Resource>,
        task_resources: Vec<v1::Resource>,
    ) -> v1::TaskInfo {
        let mut arguments = vec!["logherd".to_owned(), "executor".to_owned()];
        arguments.extend(["--control".to_owned(), launch.control.clone()]);
        arguments.extend(self.arguments.iter().cloned());
        let variable = v1::environment::Variable {
            name: "LOGHERD_CONTROL_TOKEN".to_owned(),
            value: Some(token.to_owned()),
            ..v1::environment::Variable::default()
        };
        let command = v1::CommandInfo {
            shell: Some(false),
            value: Some(self.binary.clone()),
            arguments,
            user: Some(self.user.clone()),
            environment: Some(v1::Environment { variables: vec![variable] }),
            ..v1::CommandInfo::default()
        };
        let nanoseconds = i64::try_from(self.grace.as_nanos()).unwrap_or(i64::MAX);
        let executor = v1::ExecutorInfo {
            executor_id: v1::ExecutorId { value: launch.executor.0.clone() },
            name: Some("logherd".to_owned()),
            source: Some("logherd".to_owned()),
            resources: executor_resources,
            command: Some(command),
            shutdown_grace_period: Some(v1::DurationInfo { nanoseconds }),
            r#type: Some(v1::executor_info::Type::Custom as i32),
            ..v1::ExecutorInfo::default()
        };
        v1::TaskInfo {
            name: "logherd.executor".to_owned(),
            task_id: v1::TaskId { value: launch.task.0.clone() },
            agent_id: v1::AgentId { value: launch.agent.0.clone() },
            resources: task_resources,
            executor: Some(executor),
            ..v1::TaskInfo::default()
        }
    }
}
