//! Takes over what an earlier run of the agent has written down.

use super::ContainerId;
use super::state::{Core, Executor, Framework, Phase, Stage, Task};
use super::streams::Stream;
use crate::agent::process::Process;
use crate::ids::{ExecutorId, FrameworkId, TaskId};
use crate::master::core::{is_terminal, new_task};
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

/// A framework that had executors.
#[derive(Clone, Debug)]
pub(crate) struct RecoveredFramework {
    pub(crate) info: mesos::FrameworkInfo,
    pub(crate) executors: Vec<RecoveredExecutor>,
}

/// An executor whose run was not completed. Whether its process lives is found out by who watches it.
#[derive(Clone, Debug)]
pub(crate) struct RecoveredExecutor {
    pub(crate) info: mesos::ExecutorInfo,
    pub(crate) container: ContainerId,
    pub(crate) process: Option<Process>,
    pub(crate) tasks: Vec<RecoveredTask>,
}

/// A task with its updates in order, and the uuids of those that were acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct RecoveredTask {
    pub(crate) info: mesos::TaskInfo,
    pub(crate) updates: Vec<mesos::TaskStatus>,
    pub(crate) acknowledged: Vec<Vec<u8>>,
}

impl Core {
    pub(super) fn recover(&mut self, recovered: Vec<RecoveredFramework>) {
        let any = recovered.iter().any(|framework| !framework.executors.is_empty());
        let wait = if any { self.timings.executor_reregistration } else { std::time::Duration::ZERO };
        self.phase = Phase::Recovering(self.now + wait);
        for framework in recovered {
            let Some(id) = framework.info.id.as_ref().map(FrameworkId::from) else { continue };
            let mut executors = BTreeMap::new();
            for executor in framework.executors {
                let executor_id = ExecutorId::from(&executor.info.executor_id);
                let mut kept = Executor::new(executor.info, executor.container);
                (kept.stage, kept.process) = (Stage::Awaited, executor.process);
                for task in executor.tasks {
                    self.recover_task(&id, &executor_id, &framework.info, (&mut kept, task));
                }
                executors.insert(executor_id, kept);
            }
            self.frameworks.insert(id, Framework { info: framework.info, executors, terminating: false });
        }
    }

    fn recover_task(
        &mut self,
        id: &FrameworkId,
        executor_id: &ExecutorId,
        framework: &mesos::FrameworkInfo,
        (executor, task): (&mut Executor, RecoveredTask),
    ) {
        let task_id = TaskId::from(&task.info.task_id);
        let mut wire = new_task(&task.info, framework);
        wire.executor_id = Some(executor_id.wire());
        let mut stream = Stream::new(self.timings.update_retry);
        let mut over = false;
        for update in task.updates {
            let uuid = update.uuid.clone().unwrap_or_default();
            if !is_terminal(wire.state()) {
                wire.state = update.state;
            }
            wire.statuses.retain(|old| old.state != update.state);
            wire.statuses.push(mesos::TaskStatus { data: None, ..update.clone() });
            stream.offer(update.clone());
            if task.acknowledged.contains(&uuid)
                && stream.acknowledge(&uuid, self.timings.update_retry).is_some()
            {
                wire.status_update_state = Some(update.state);
                wire.status_update_uuid = Some(uuid);
                over |= is_terminal(update.state());
            }
        }
        if over {
            return;
        }
        self.streams.insert((id.clone(), task_id.clone()), stream);
        executor.tasks.insert(task_id, Task { info: task.info, wire });
    }
}
