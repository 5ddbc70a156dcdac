//! Takes executors in: the first time, again, and after a restart of the agent.

use super::state::{Core, Queued, Stage, Subscription, or_lost};
use super::updates::AgentStatus;
use super::{Answer, ConnectionId, Effect, events};
use crate::ids::{ExecutorId, FrameworkId, TaskId};
use mesos::TaskState;
use mesos::task_status::Reason;
use proto::mesos::v1::{self as mesos, executor};
use std::collections::BTreeSet;

impl Core {
    pub(super) fn on_subscribe(
        &mut self,
        id: &FrameworkId,
        executor_id: &ExecutorId,
        subscribe: executor::call::Subscribe,
    ) {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.answer(Answer::Stream(connection));
        self.close_subscription(id, executor_id);
        let terminating = self.frameworks.get(id).is_some_and(|framework| framework.terminating);
        let next_heartbeat = self.now + self.timings.executor_heartbeat;
        let Some(executor) = self.executor_mut(id, executor_id) else { return };
        let first = executor.stage == Stage::Starting;
        if terminating || executor.stage == Stage::Terminating {
            self.send_to(connection, events::shutdown());
            self.out.push(Effect::Close(connection));
            return;
        }
        executor.subscription = Some(Subscription { connection, next_heartbeat });
        if first && executor.queued.is_empty() {
            // Everything it was started for was killed meanwhile.
            return self.shut_down(id, executor_id);
        }
        executor.stage = Stage::Running;
        executor.deadline = None;
        self.send_subscribed(id, executor_id);
        for update in subscribe.unacknowledged_updates {
            self.on_executor_update(id, executor_id, update.status);
        }
        let known = subscribe.unacknowledged_tasks.iter().map(|task| TaskId::from(&task.task_id)).collect();
        self.drop_unknown_to_executor(id, executor_id, &known);
        self.deliver_queued(id, executor_id);
    }

    fn send_subscribed(&mut self, id: &FrameworkId, executor_id: &ExecutorId) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let subscribed = executor::event::Subscribed {
            executor_info: executor.info.clone(),
            framework_info: framework.info.clone(),
            agent_info: self.described.info.clone(),
            container_id: Some(mesos::ContainerId { value: executor.container.0.clone(), parent: None }),
        };
        self.send(id, executor_id, events::subscribed(subscribed));
    }

    /// Tasks that were sent while the executor did not listen.
    fn drop_unknown_to_executor(
        &mut self,
        id: &FrameworkId,
        executor_id: &ExecutorId,
        known: &BTreeSet<TaskId>,
    ) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let Some(executor) = framework.executors.get(executor_id) else { return };
        let state = or_lost(&framework.info, TaskState::TaskDropped);
        let lost: Vec<TaskId> = executor
            .tasks
            .iter()
            .filter(|(task, kept)| {
                kept.wire.state() == TaskState::TaskStaging
                    && !executor.is_queued(task)
                    && !known.contains(*task)
            })
            .map(|(task, _)| task.clone())
            .collect();
        for task in lost {
            let status = AgentStatus {
                state,
                reason: Reason::AgentRestarted,
                message: "Task launched during agent restart".into(),
            };
            self.agent_update(id, Some(executor_id), &task, status);
        }
    }

    fn deliver_queued(&mut self, id: &FrameworkId, executor_id: &ExecutorId) {
        let Some(executor) = self.executor_mut(id, executor_id) else { return };
        let queued = std::mem::take(&mut executor.queued);
        for entry in queued {
            self.deliver(id, executor_id, &entry);
        }
    }

    /// Sends LAUNCH (or LAUNCH_GROUP) to an executor that is subscribed.
    pub(super) fn deliver(&mut self, id: &FrameworkId, executor_id: &ExecutorId, entry: &Queued) {
        let Some(executor) = self.executor(id, executor_id) else { return };
        let infos: Vec<mesos::TaskInfo> = entry
            .tasks()
            .iter()
            .filter_map(|task| executor.tasks.get(task))
            .map(|task| task.info.clone())
            .collect();
        match entry {
            Queued::Task(_) => {
                for info in infos {
                    self.send(id, executor_id, events::launch(info));
                }
            }
            Queued::Group(_) => self.send(id, executor_id, events::launch_group(infos)),
        }
    }

    pub(super) fn close_subscription(&mut self, id: &FrameworkId, executor_id: &ExecutorId) {
        if let Some(old) =
            self.executor_mut(id, executor_id).and_then(|executor| executor.subscription.take())
        {
            self.out.push(Effect::Close(old.connection));
        }
    }

    /// The reader of a stream has gone; the executor may come back.
    pub(super) fn on_disconnected(&mut self, connection: ConnectionId) {
        let executors = self.frameworks.values_mut().flat_map(|framework| framework.executors.values_mut());
        for executor in executors {
            if executor.subscription.as_ref().is_some_and(|s| s.connection == connection) {
                executor.subscription = None;
            }
        }
    }

    /// Tells an executor to end, and destroys it when it does not within its grace period.
    pub(super) fn shut_down(&mut self, id: &FrameworkId, executor_id: &ExecutorId) {
        let (now, default) = (self.now, self.timings.executor_shutdown_grace);
        let Some(executor) = self.executor_mut(id, executor_id) else { return };
        if matches!(executor.stage, Stage::Terminating | Stage::Terminated) {
            return;
        }
        executor.stage = Stage::Terminating;
        executor.deadline = Some(now + executor.grace(default));
        self.send(id, executor_id, events::shutdown());
    }
}
