//! Launches tasks: queues them for an executor that is starting, delivers them to one that runs, starts one when needed.

use super::state::{Core, Executor, Framework, Phase, Queued, Stage, Task, or_lost};
use super::updates::AgentStatus;
use super::{ContainerId, Effect, Keep, Launch};
use crate::ids::{ExecutorId, FrameworkId, TaskId};
use crate::master::core::new_task;
use mesos::TaskState;
use mesos::task_status::Reason;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

/// How the end of an executor is reported that was never started.
const NEVER_STARTED: i32 = -1;

impl Core {
    /// Launches one task, or several as a group.
    pub(super) fn on_launch(
        &mut self,
        info: mesos::FrameworkInfo,
        executor: Option<mesos::ExecutorInfo>,
        tasks: Vec<mesos::TaskInfo>,
        group: bool,
    ) {
        let (Some(framework_id), Some(executor)) = (info.id.as_ref().map(FrameworkId::from), executor) else {
            return;
        };
        let executor_id = ExecutorId::from(&executor.executor_id);
        if let Some(refusal) = self.launch_refusal(&info, &framework_id, &executor_id) {
            for task in &tasks {
                let status = AgentStatus { message: refusal.message.clone(), ..refusal };
                self.agent_update(&framework_id, Some(&executor_id), &TaskId::from(&task.task_id), status);
            }
            if self.executor(&framework_id, &executor_id).is_none() {
                // The master holds resources for an executor that never was.
                self.tell_exit(&framework_id, &executor_id, NEVER_STARTED);
            }
            return;
        }
        self.know_framework(&framework_id, info.clone());
        if self.executor(&framework_id, &executor_id).is_none() {
            self.start_executor(&framework_id, &executor_id, &info, executor);
        }
        let ids: Vec<TaskId> = tasks.iter().map(|task| TaskId::from(&task.task_id)).collect();
        for task in tasks {
            if let Some(run) = self.run_key(&framework_id, &executor_id) {
                self.keep(Keep::Task(run, Box::new(task.clone())));
            }
            let mut wire = new_task(&task, &info);
            wire.executor_id = Some(executor_id.wire());
            if let Some(executor) = self.executor_mut(&framework_id, &executor_id) {
                executor.tasks.insert(TaskId::from(&task.task_id), Task { info: task, wire });
            }
        }
        let entries: Vec<Queued> =
            if group { vec![Queued::Group(ids)] } else { ids.into_iter().map(Queued::Task).collect() };
        for entry in entries {
            let Some(executor) = self.executor_mut(&framework_id, &executor_id) else { return };
            if executor.stage == Stage::Starting {
                executor.queued.push(entry);
            } else {
                self.deliver(&framework_id, &executor_id, &entry);
            }
        }
    }

    /// Why a task cannot be launched now.
    fn launch_refusal(
        &self,
        info: &mesos::FrameworkInfo,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
    ) -> Option<AgentStatus> {
        let dropped = |reason, message: &str| {
            Some(AgentStatus {
                state: or_lost(info, TaskState::TaskDropped),
                reason,
                message: message.to_owned(),
            })
        };
        if self.drain.is_some() {
            return dropped(Reason::AgentDraining, "Agent is draining");
        }
        if self.phase != Phase::Running {
            return dropped(Reason::AgentRestarted, "Agent is stopping");
        }
        // A real agent ignores such a task without a word, and its master believes for ever that it is staging.
        if self.frameworks.get(framework_id).is_some_and(|framework| framework.terminating) {
            return dropped(Reason::FrameworkRemoved, "Framework is terminating");
        }
        match self.executor(framework_id, executor_id).map(|executor| executor.stage) {
            Some(Stage::Terminating | Stage::Terminated) => {
                dropped(Reason::ExecutorTerminated, "Executor terminating/terminated")
            }
            _ => None,
        }
    }

    fn know_framework(&mut self, id: &FrameworkId, info: mesos::FrameworkInfo) {
        if self.frameworks.get(id).is_some_and(|known| known.info == info) {
            return;
        }
        self.keep(Keep::Framework(Box::new(info.clone())));
        match self.frameworks.get_mut(id) {
            Some(known) => known.info = info,
            None => {
                let framework = Framework { info, executors: BTreeMap::new(), terminating: false };
                self.frameworks.insert(id.clone(), framework);
            }
        }
    }

    fn start_executor(
        &mut self,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        framework: &mesos::FrameworkInfo,
        info: mesos::ExecutorInfo,
    ) {
        let Some(agent_id) = self.id() else { return };
        let container = ContainerId(self.chance.uuid().to_string());
        let mut executor = Executor::new(info.clone(), container);
        executor.deadline = Some(self.now + self.timings.executor_registration);
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            framework.executors.insert(executor_id.clone(), executor);
        }
        if let Some(run) = self.run_key(framework_id, executor_id) {
            self.keep(Keep::Executor(run.clone(), Box::new(info.clone())));
            let launch = Launch { agent_id, run, framework: framework.clone(), executor: info };
            self.out.push(Effect::Launch(Box::new(launch)));
        }
    }
}
