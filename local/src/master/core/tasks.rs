//! Kills tasks and forgets those that are finished.

use super::state::{Core, is_terminal};
use crate::ids::{AgentId, FrameworkId, TaskId};
use crate::link::ToAgent;
use proto::mesos::v1::scheduler;

impl Core {
    pub(super) fn on_kill(&mut self, id: &FrameworkId, kill: scheduler::call::Kill) {
        let task_id = TaskId::from(&kill.task_id);
        let named_agent = kill.agent_id.as_ref().map(AgentId::from);
        let Some(task) = self.frameworks.get(id).and_then(|framework| framework.tasks.get(&task_id)) else {
            return self.reconcile_one(id, &task_id, named_agent.as_ref());
        };
        let agent_id = AgentId::from(&task.agent_id);
        if named_agent.is_some_and(|named| named != agent_id) {
            return;
        }
        let policy = kill.kill_policy;
        let message = ToAgent::Kill { framework_id: id.clone(), task_id: task_id.clone(), policy };
        if !self.tell_agent(&agent_id, message)
            && let Some(agent) = self.agents.get_mut(&agent_id)
        {
            agent.kills.retain(|(framework, task, _)| framework != id || *task != task_id);
            agent.kills.push((id.clone(), task_id, policy));
        }
    }

    /// A terminal task goes when its last update is acknowledged.
    pub(super) fn forget_if_finished(&mut self, id: &FrameworkId, task_id: &TaskId, uuid: &[u8]) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let finished = framework.tasks.get(task_id).is_some_and(|task| {
            is_terminal(task.status_update_state()) && task.status_update_uuid.as_deref() == Some(uuid)
        });
        if finished && let Some(task) = framework.tasks.remove(task_id) {
            framework.retire(task);
        }
    }
}
