//! Answers what became of tasks, as far as the master can say.

use super::state::Core;
use super::statuses::{self, MasterStatus, or_lost};
use crate::clock::Moment;
use crate::ids::{AgentId, FrameworkId, TaskId};
use mesos::task_status::Reason;
use mesos::{Task, TaskState};
use proto::mesos::v1::{self as mesos, scheduler};

impl Core {
    /// RECONCILE: the named tasks, or, when none is named, every task in memory (no end marker).
    pub(super) fn on_reconcile(&mut self, id: &FrameworkId, tasks: &[scheduler::call::reconcile::Task]) {
        if tasks.is_empty() {
            let all: Vec<Task> =
                self.frameworks.get(id).map(|f| f.tasks.values().cloned().collect()).unwrap_or_default();
            for task in all {
                self.send_latest(id, &task);
            }
            return;
        }
        for task in tasks {
            let agent = task.agent_id.as_ref().map(AgentId::from);
            self.reconcile_one(id, &TaskId::from(&task.task_id), agent.as_ref());
        }
    }

    /// The answer for one task; none while its agent may still come back and tell.
    pub(super) fn reconcile_one(&mut self, id: &FrameworkId, task_id: &TaskId, agent: Option<&AgentId>) {
        let Some(framework) = self.frameworks.get(id) else { return };
        if let Some(task) = framework.tasks.get(task_id).cloned() {
            return self.send_latest(id, &task);
        }
        let (state, message, since) = match agent {
            Some(agent) if self.recovered.contains_key(agent) => return,
            None if !self.recovered.is_empty() => return,
            Some(agent) if self.agents.contains_key(agent) => {
                (TaskState::TaskGone, "Reconciliation: Task is unknown to the agent", None)
            }
            Some(agent) if self.unreachable.contains_key(agent) => (
                TaskState::TaskUnreachable,
                "Reconciliation: Task is unreachable",
                self.unreachable.get(agent).copied(),
            ),
            Some(agent) if self.gone.contains(agent) => {
                (TaskState::TaskGoneByOperator, "Reconciliation: Task is gone", None)
            }
            _ => (TaskState::TaskUnknown, "Reconciliation: Task is unknown", None),
        };
        let state = or_lost(framework, state);
        let mut status = self.status(&MasterStatus {
            task: task_id,
            agent,
            executor: None,
            state,
            reason: Reason::Reconciliation,
            message,
        });
        status.unreachable_time = since.map(time_info);
        self.send(id, statuses::update(status));
    }

    fn send_latest(&mut self, id: &FrameworkId, task: &Task) {
        let state =
            if task.status_update_state.is_some() { task.status_update_state() } else { task.state() };
        let mut status = self.status(&MasterStatus {
            task: &TaskId::from(&task.task_id),
            agent: Some(&AgentId::from(&task.agent_id)),
            executor: task.executor_id.as_ref().map(crate::ids::ExecutorId::from).as_ref(),
            state,
            reason: Reason::Reconciliation,
            message: "Reconciliation: Latest task state",
        });
        if let Some(last) = task.statuses.last() {
            status.healthy = last.healthy;
            status.check_status.clone_from(&last.check_status);
            status.container_status.clone_from(&last.container_status);
        }
        self.send(id, statuses::update(status));
    }
}

/// A moment as Mesos writes it.
pub(super) fn time_info(moment: Moment) -> mesos::TimeInfo {
    mesos::TimeInfo { nanoseconds: i64::try_from(moment.as_nanos()).unwrap_or(i64::MAX) }
}
