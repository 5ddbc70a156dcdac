//! Describes what the agent knows to operators.

use super::Answer;
use super::state::{Core, Stage, Task};
use mesos::{ContainerStatus, Task as WireTask};
use operator_api::call::Type;
use operator_api::response::Type as Answered;
use operator_api::response::{
    GetAgent, GetContainers, GetExecutors, GetFrameworks, GetHealth, GetState, GetTasks, GetVersion,
    get_containers, get_executors, get_frameworks,
};
use operator_api::{Call, Response};
use proto::mesos::v1::{self as mesos, agent as operator_api};

impl Core {
    pub(super) fn on_operator(&mut self, call: &Call) {
        let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else {
            return self.refuse(400, "Failed to validate agent::Call: Expecting 'type' to be present");
        };
        let response = |kind: Answered| Response { r#type: Some(kind.into()), ..Default::default() };
        let response = match kind {
            Type::GetHealth => {
                Response { get_health: Some(GetHealth { healthy: true }), ..response(Answered::GetHealth) }
            }
            Type::GetVersion => {
                let version_info =
                    mesos::VersionInfo { version: self.described.version.clone(), ..Default::default() };
                Response { get_version: Some(GetVersion { version_info }), ..response(Answered::GetVersion) }
            }
            Type::GetState => {
                let state = GetState {
                    get_tasks: Some(self.describe_tasks()),
                    get_executors: Some(self.describe_executors()),
                    get_frameworks: Some(self.describe_frameworks()),
                };
                Response { get_state: Some(state), ..response(Answered::GetState) }
            }
            Type::GetContainers => Response {
                get_containers: Some(self.describe_containers()),
                ..response(Answered::GetContainers)
            },
            Type::GetFrameworks => Response {
                get_frameworks: Some(self.describe_frameworks()),
                ..response(Answered::GetFrameworks)
            },
            Type::GetExecutors => Response {
                get_executors: Some(self.describe_executors()),
                ..response(Answered::GetExecutors)
            },
            Type::GetTasks => {
                Response { get_tasks: Some(self.describe_tasks()), ..response(Answered::GetTasks) }
            }
            Type::GetAgent => {
                let agent = GetAgent { agent_info: Some(self.described.info.clone()), ..Default::default() };
                Response { get_agent: Some(agent), ..response(Answered::GetAgent) }
            }
            Type::GetFlags | Type::GetMetrics | Type::ListFiles | Type::ReadFile => {
                return self.refuse(501, format!("{} is not implemented here", kind.as_str_name()));
            }
        };
        self.answer(Answer::Response(Box::new(response)));
    }

    fn describe_tasks(&self) -> GetTasks {
        let mut tasks = GetTasks::default();
        for executor in self.frameworks.values().flat_map(|framework| framework.executors.values()) {
            for (id, task) in &executor.tasks {
                let wire: WireTask = task.wire.clone();
                if !Task::is_live(task) {
                    tasks.terminated_tasks.push(wire);
                } else if executor.is_queued(id) {
                    tasks.queued_tasks.push(wire);
                } else {
                    tasks.launched_tasks.push(wire);
                }
            }
        }
        tasks
    }

    fn describe_executors(&self) -> GetExecutors {
        let executors = self.frameworks.values().flat_map(|framework| framework.executors.values());
        let live = executors.filter(|executor| executor.stage != Stage::Terminated);
        GetExecutors {
            executors: live.map(|e| get_executors::Executor { executor_info: e.info.clone() }).collect(),
            ..Default::default()
        }
    }

    fn describe_frameworks(&self) -> GetFrameworks {
        let frameworks = self.frameworks.values();
        GetFrameworks {
            frameworks: frameworks
                .map(|f| get_frameworks::Framework { framework_info: f.info.clone() })
                .collect(),
            ..Default::default()
        }
    }

    fn describe_containers(&self) -> GetContainers {
        let mut containers = Vec::new();
        for (id, framework) in &self.frameworks {
            let live = framework.executors.iter().filter(|(_, executor)| executor.stage != Stage::Terminated);
            for (executor_id, executor) in live {
                containers.push(get_containers::Container {
                    framework_id: Some(id.wire()),
                    executor_id: Some(executor_id.wire()),
                    executor_name: executor.info.name.clone(),
                    container_id: mesos::ContainerId { value: executor.container.0.clone(), parent: None },
                    container_status: Some(ContainerStatus {
                        executor_pid: executor.process.map(|process| process.pid),
                        ..Default::default()
                    }),
                });
            }
        }
        GetContainers { containers }
    }
}
