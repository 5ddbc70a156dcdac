//! Takes status updates in, the executors' and the agent's own, and puts them on their way to the scheduler.

use super::state::Core;
use super::streams::{Offered, Stream};
use super::{Keep, events};
use crate::ids::{ExecutorId, FrameworkId, TaskId};
use crate::link::ToMaster;
use crate::master::core::is_terminal;
use mesos::task_status::{Reason, Source};
use mesos::{ContainerStatus, TaskState, TaskStatus};
use proto::mesos::v1 as mesos;

/// A status that the agent itself makes.
pub(super) struct AgentStatus {
    pub(super) state: TaskState,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Core {
    /// An executor says how a task is. It is acknowledged when it is written down, not when the scheduler has it.
    pub(super) fn on_executor_update(
        &mut self,
        id: &FrameworkId,
        executor_id: &ExecutorId,
        mut status: TaskStatus,
    ) {
        let own = self.described.info.id.clone();
        if status.agent_id.is_some() && status.agent_id != own {
            return;
        }
        if self.frameworks.get(id).is_none_or(|framework| framework.terminating) {
            return;
        }
        status.agent_id = own;
        status.executor_id = Some(executor_id.wire());
        let now = self.now.as_secs_f64();
        status.timestamp.get_or_insert(now);
        self.fill_container_status(id, executor_id, &mut status);
        self.rewrite_when_draining(id, &mut status);
        let task = TaskId::from(&status.task_id);
        let uuid = status.uuid.clone().unwrap_or_default();
        let known = self.executor(id, executor_id).is_some_and(|executor| executor.tasks.contains_key(&task));
        self.take(id, known.then_some(executor_id), status);
        if known {
            self.send(id, executor_id, events::acknowledged(&task, uuid));
        }
    }

    /// The agent says how a task is.
    pub(super) fn agent_update(
        &mut self,
        id: &FrameworkId,
        executor_id: Option<&ExecutorId>,
        task: &TaskId,
        what: AgentStatus,
    ) {
        let status = TaskStatus {
            task_id: task.wire(),
            state: what.state.into(),
            message: Some(what.message),
            agent_id: self.described.info.id.clone(),
            timestamp: Some(self.now.as_secs_f64()),
            executor_id: executor_id.map(ExecutorId::wire),
            source: Some(Source::Agent.into()),
            reason: Some(what.reason.into()),
            uuid: Some(self.chance.uuid().into_bytes().to_vec()),
            ..Default::default()
        };
        let known = executor_id.filter(|e| self.executor(id, e).is_some_and(|e| e.tasks.contains_key(task)));
        self.take(id, known, status);
    }

    /// Changes the task's state, writes the update down and forwards it when it is the first in its line.
    fn take(&mut self, id: &FrameworkId, executor_id: Option<&ExecutorId>, status: TaskStatus) {
        let task_id = TaskId::from(&status.task_id);
        if let Some(executor_id) = executor_id
            && let Some(executor) = self.executor_mut(id, executor_id)
            && let Some(task) = executor.tasks.get_mut(&task_id)
        {
            let repeated = task.wire.statuses.iter().any(|old| old.uuid == status.uuid);
            if !task.is_live() && !repeated {
                return;
            }
            if task.is_live() {
                task.wire.state = status.state;
                let kept = TaskStatus { data: None, ..status.clone() };
                task.wire.statuses.retain(|old| old.state != kept.state);
                task.wire.statuses.push(kept);
            }
            executor.unqueue(&task_id);
        }
        let kept = executor_id.and_then(|executor| self.run_key(id, executor));
        let key = (id.clone(), task_id.clone());
        let stream = self.streams.entry(key).or_insert_with(|| Stream::new(self.timings.update_retry));
        let offered = stream.offer(status.clone());
        if offered == Offered::Duplicate {
            return;
        }
        if let Some(run) = kept {
            self.keep(Keep::Update(run, task_id.clone(), Box::new(status)));
        }
        if offered == Offered::First {
            self.forward(id, &task_id);
        }
    }

    /// Sends the first update of a task's line to the master, and will do so again until it is acknowledged.
    pub(super) fn forward(&mut self, id: &FrameworkId, task: &TaskId) {
        if !self.registered {
            return;
        }
        let latest = self
            .executor_of(id, task)
            .and_then(|executor| self.executor(id, &executor)?.tasks.get(task).map(|task| task.wire.state()));
        let (now, most) = (self.now, self.timings.update_retry_max);
        let Some(stream) = self.streams.get_mut(&(id.clone(), task.clone())) else { return };
        let Some(status) = stream.send(now, most) else { return };
        if let Some(executor) = self.executor_of(id, task)
            && let Some(task) =
                self.executor_mut(id, &executor).and_then(|executor| executor.tasks.get_mut(task))
        {
            task.wire.status_update_state = Some(status.state);
            task.wire.status_update_uuid.clone_from(&status.uuid);
        }
        let latest = latest.unwrap_or_else(|| status.state());
        self.tell(ToMaster::Update { framework_id: id.clone(), status: Box::new(status), latest });
    }

    pub(super) fn tell(&mut self, message: ToMaster) {
        self.out.push(super::Effect::Tell(message));
    }

    /// The scheduler has an update: the next one goes; after the last one the task is over.
    pub(super) fn on_acknowledged(&mut self, id: &FrameworkId, task: &TaskId, uuid: &[u8]) {
        let (key, retry) = ((id.clone(), task.clone()), self.timings.update_retry);
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let Some(acknowledged) = stream.acknowledge(uuid, retry) else { return };
        let executor = self.executor_of(id, task);
        if let Some(run) = executor.as_ref().and_then(|executor| self.run_key(id, executor)) {
            self.keep(Keep::Acknowledged(run, task.clone(), uuid.to_vec()));
        }
        if is_terminal(acknowledged.state()) {
            self.streams.remove(&key);
            if let Some(executor_id) = executor {
                if let Some(executor) = self.executor_mut(id, &executor_id) {
                    executor.tasks.remove(task);
                }
                self.complete_if_over(id, &executor_id);
            }
        } else if executor.is_none() && self.streams.get(&key).is_some_and(Stream::is_empty) {
            self.streams.remove(&key);
        } else {
            self.forward(id, task);
        }
    }

    fn fill_container_status(&self, id: &FrameworkId, executor_id: &ExecutorId, status: &mut TaskStatus) {
        let Some(executor) = self.executor(id, executor_id) else { return };
        let given = status.container_status.get_or_insert_with(ContainerStatus::default);
        given.container_id = Some(mesos::ContainerId { value: executor.container.0.clone(), parent: None });
        given.executor_pid = executor.process.map(|process| process.pid);
        if given.network_infos.is_empty() {
            let ip =
                self.described.pid.split_once('@').and_then(|(_, at)| at.rsplit_once(':')).map(|(ip, _)| ip);
            let address =
                mesos::network_info::IpAddress { ip_address: ip.map(str::to_owned), ..Default::default() };
            given
                .network_infos
                .push(mesos::NetworkInfo { ip_addresses: vec![address], ..Default::default() });
        }
    }

    /// A task killed by a drain says so.
    fn rewrite_when_draining(&self, id: &FrameworkId, status: &mut TaskStatus) {
        let Some(drain) = self.drain else { return };
        if !matches!(status.state(), TaskState::TaskKilling | TaskState::TaskKilled) {
            return;
        }
        status.reason = Some(Reason::AgentDraining.into());
        let aware = self.frameworks.get(id).is_some_and(|framework| {
            super::state::or_lost(&framework.info, TaskState::TaskGoneByOperator)
                == TaskState::TaskGoneByOperator
        });
        if drain.mark_gone && aware && status.state() == TaskState::TaskKilled {
            status.state = TaskState::TaskGoneByOperator.into();
        }
    }
}
