//! Launches tasks: what passes the checks is held, remembered and sent to the agent.

use super::accept::Accepting;
use super::describe;
use super::state::{Core, Holder};
use super::validate::{Launching, group_error, task_error};
use crate::ids::{ExecutorId, TaskId};
use crate::link::ToAgent;
use crate::resources::{Resources, Style};
use mesos::offer::Operation;
use mesos::task_status::Reason;
use mesos::{ExecutorInfo, TaskInfo, TaskState};
use proto::mesos::v1 as mesos;

impl Core {
    /// LAUNCH: every task for itself, except that malformed resources anywhere fail all.
    pub(super) fn launch(&mut self, accepting: &mut Accepting, operation: Operation) {
        let with_id = operation.id.is_some();
        let tasks = operation.launch.unwrap_or_default().task_infos;
        let whole = if with_id {
            Some("The `id` field cannot be set on LAUNCH operations".to_owned())
        } else {
            tasks.iter().find_map(malformed)
        };
        for task in tasks {
            let problem = whole.clone().or_else(|| {
                let framework = self.frameworks.get(&accepting.framework)?;
                let agent = self.agents.get(&accepting.agent)?;
                task_error(&Launching { framework, agent, accepting }, &task)
            });
            match problem {
                Some(problem) => {
                    let invalid = (TaskState::TaskError, Reason::TaskInvalid);
                    self.refuse_task(&accepting.framework.clone(), &task, invalid, &problem);
                }
                None => {
                    if let Some(task) = self.hold_task(accepting, task)
                        && let Some(framework) = self.frameworks.get(&accepting.framework)
                    {
                        let framework = Box::new(framework.info.clone());
                        self.tell_agent(
                            &accepting.agent,
                            ToAgent::Launch { framework, task: Box::new(task) },
                        );
                    }
                }
            }
        }
    }

    /// LAUNCH_GROUP: all of its tasks or none.
    pub(super) fn launch_group(&mut self, accepting: &mut Accepting, operation: Operation) {
        let with_id = operation.id.is_some();
        let Some(group) = operation.launch_group else { return };
        let (executor, tasks) = (group.executor, group.task_group.tasks);
        let problem = if with_id {
            Some("The `id` field cannot be set on LAUNCH_GROUP operations".to_owned())
        } else {
            tasks.iter().find_map(malformed).or_else(|| {
                let framework = self.frameworks.get(&accepting.framework)?;
                let agent = self.agents.get(&accepting.agent)?;
                group_error(&Launching { framework, agent, accepting }, &executor, &tasks)
            })
        };
        if let Some(problem) = problem {
            let reason = if with_id { Reason::TaskInvalid } else { Reason::TaskGroupInvalid };
            for task in &tasks {
                self.refuse_task(
                    &accepting.framework.clone(),
                    task,
                    (TaskState::TaskError, reason),
                    &problem,
                );
            }
            return;
        }
        let grouped = tasks.into_iter().map(|task| TaskInfo { executor: Some(executor.clone()), ..task });
        let held: Vec<TaskInfo> = grouped.filter_map(|task| self.hold_task(accepting, task)).collect();
        let Some(executor) = held.first().and_then(|task| task.executor.clone()) else { return };
        let tasks = held.into_iter().map(|task| TaskInfo { executor: None, ..task }).collect();
        if let Some(framework) = self.frameworks.get(&accepting.framework) {
            let framework = Box::new(framework.info.clone());
            let launch = ToAgent::LaunchGroup { framework, executor: Box::new(executor), tasks };
            self.tell_agent(&accepting.agent, launch);
        }
    }

    /// Takes what a valid task needs out of the offer and remembers the task; returns it as the agent gets it.
    fn hold_task(&mut self, accepting: &mut Accepting, mut task: TaskInfo) -> Option<TaskInfo> {
        let style = Style { allocated_to: Some(&accepting.role), refined: true };
        let (id, task_id) = (accepting.framework.clone(), TaskId::from(&task.task_id));
        let needed = Resources::read(&task.resources).ok()?;
        task.resources = needed.write(style);
        accepting.remaining.subtract(&needed);
        let agent = self.agents.get_mut(&accepting.agent)?;
        let framework = self.frameworks.get_mut(&id)?;
        agent.held.insert((id.clone(), Holder::Task(task_id.clone())), needed);
        if let Some(executor) = &mut task.executor {
            executor.framework_id = Some(id.wire());
            let of_executor = Resources::read(&executor.resources).unwrap_or_default();
            executor.resources = of_executor.write(style);
            let executor_id = ExecutorId::from(&executor.executor_id);
            let key = (accepting.agent.clone(), executor_id.clone());
            framework.executors.entry(key).or_insert_with(|| {
                accepting.remaining.subtract(&of_executor);
                agent.held.insert((id.clone(), Holder::Executor(executor_id)), of_executor);
                executor.clone()
            });
        }
        let remembered = new_task(&task, &framework.info);
        framework.tasks.insert(task_id, remembered.clone());
        self.publish(&describe::task_added(remembered));
        Some(task)
    }
}

/// What is wrong with the resources of a task or its executor by themselves.
fn malformed(task: &TaskInfo) -> Option<String> {
    let of_executor = task.executor.iter().flat_map(|executor: &ExecutorInfo| &executor.resources);
    let all: Vec<mesos::Resource> = task.resources.iter().chain(of_executor).cloned().collect();
    Resources::read(&all).err()
}

/// A task that was just sent to its agent.
pub(crate) fn new_task(info: &TaskInfo, framework: &mesos::FrameworkInfo) -> mesos::Task {
    let command = info.command.as_ref().or_else(|| info.executor.as_ref().and_then(|e| e.command.as_ref()));
    mesos::Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: framework.id.clone().unwrap_or_default(),
        executor_id: info.executor.as_ref().map(|executor| executor.executor_id.clone()),
        agent_id: info.agent_id.clone(),
        state: TaskState::TaskStaging.into(),
        resources: info.resources.clone(),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        user: Some(
            command.and_then(|command| command.user.clone()).unwrap_or_else(|| framework.user.clone()),
        ),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        limits: info.limits.clone(),
        ..Default::default()
    }
}
