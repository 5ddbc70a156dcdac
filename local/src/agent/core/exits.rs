//! Notices that containers start, fail to start and end, and tells what became of their tasks.

use super::state::{Core, Ending, Stage};
use super::updates::AgentStatus;
use super::{ContainerId, Effect, Keep};
use crate::agent::process::Process;
use crate::ids::{ExecutorId, FrameworkId, TaskId};
use crate::link::ToMaster;
use mesos::TaskState;
use mesos::task_status::Reason;
use proto::mesos::v1 as mesos;

impl Core {
    pub(super) fn on_started(&mut self, container: &ContainerId, process: Process) {
        let Some((id, executor_id)) = self.in_container(container) else {
            // Nobody knows it any more.
            self.out.push(Effect::Destroy(container.clone()));
            return;
        };
        if let Some(executor) = self.executor_mut(&id, &executor_id) {
            executor.process = Some(process);
        }
        if let Some(run) = self.run_key(&id, &executor_id) {
            self.keep(Keep::Process(run, process));
        }
    }

    pub(super) fn on_launch_failed(&mut self, container: &ContainerId, message: String, status: i32) {
        let Some((id, executor_id)) = self.in_container(container) else { return };
        if let Some(executor) = self.executor_mut(&id, &executor_id)
            && executor.ending.is_none()
        {
            executor.ending =
                Some(Ending { state: TaskState::TaskFailed, reason: Reason::ContainerLaunchFailed, message });
        }
        self.on_exited(container, status);
    }

    /// The executor is over: its live tasks fail, the master hears of it.
    pub(super) fn on_exited(&mut self, container: &ContainerId, status: i32) {
        let Some((id, executor_id)) = self.in_container(container) else { return };
        self.close_subscription(&id, &executor_id);
        let terminating = self.frameworks.get(&id).is_some_and(|framework| framework.terminating);
        let Some(executor) = self.executor_mut(&id, &executor_id) else { return };
        if executor.stage == Stage::Terminated {
            return;
        }
        executor.stage = Stage::Terminated;
        executor.deadline = None;
        executor.queued.clear();
        let ending = executor.ending.clone().unwrap_or_else(|| Ending {
            state: TaskState::TaskFailed,
            reason: Reason::ExecutorTerminated,
            message: "Executor terminated".into(),
        });
        if terminating {
            executor.tasks.clear();
        }
        let live: Vec<TaskId> =
            executor.tasks.iter().filter(|(_, task)| task.is_live()).map(|(id, _)| id.clone()).collect();
        for task in live {
            let Ending { state, reason, message } = ending.clone();
            self.agent_update(&id, Some(&executor_id), &task, AgentStatus { state, reason, message });
        }
        if !terminating {
            self.tell_exit(&id, &executor_id, status);
        }
        self.complete_if_over(&id, &executor_id);
    }

    /// Tells the master that an executor is over, or keeps that for when the master is there.
    pub(super) fn tell_exit(&mut self, id: &FrameworkId, executor_id: &ExecutorId, status: i32) {
        let exited =
            ToMaster::ExecutorExited { framework_id: id.clone(), executor_id: executor_id.clone(), status };
        if self.registered {
            self.tell(exited);
        } else {
            self.untold_exits.push(exited);
        }
    }

    /// Forgets an executor that has ended and of which everything is acknowledged.
    pub(super) fn complete_if_over(&mut self, id: &FrameworkId, executor_id: &ExecutorId) {
        let over = self
            .executor(id, executor_id)
            .is_some_and(|executor| executor.stage == Stage::Terminated && executor.tasks.is_empty());
        if !over {
            return;
        }
        if let Some(run) = self.run_key(id, executor_id) {
            self.keep(Keep::Completed(run));
        }
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.executors.remove(executor_id);
        }
        self.forget_framework_if_empty(id);
    }

    pub(super) fn forget_framework_if_empty(&mut self, id: &FrameworkId) {
        if self.frameworks.get(id).is_some_and(|framework| framework.executors.is_empty()) {
            self.frameworks.remove(id);
            self.keep(Keep::ForgetFramework(id.clone()));
        }
    }

    /// Destroys an executor's container, for a reason that its tasks will carry.
    pub(super) fn destroy(&mut self, id: &FrameworkId, executor_id: &ExecutorId, ending: Option<Ending>) {
        let Some(executor) = self.executor_mut(id, executor_id) else { return };
        executor.stage = Stage::Terminating;
        executor.deadline = None;
        if executor.ending.is_none() {
            executor.ending = ending;
        }
        let container = executor.container.clone();
        self.out.push(Effect::Destroy(container));
    }
}

/// The ending of an executor that did not subscribe in time.
pub(super) fn late(framework: &mesos::FrameworkInfo, stage: Stage, within: std::time::Duration) -> Ending {
    let within = crate::clock::duration_text(within);
    if stage == Stage::Starting {
        Ending {
            state: TaskState::TaskFailed,
            reason: Reason::ExecutorRegistrationTimeout,
            message: format!("Executor did not register within {within}"),
        }
    } else {
        Ending {
            state: super::state::or_lost(framework, TaskState::TaskGone),
            reason: Reason::ExecutorReregistrationTimeout,
            message: format!("Executor did not reregister within {within}"),
        }
    }
}
