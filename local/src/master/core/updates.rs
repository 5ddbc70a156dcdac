//! Passes the status updates of agents on to their schedulers.

use super::state::{Core, is_terminal};
use super::statuses;
use crate::ids::{FrameworkId, TaskId};
use mesos::{TaskState, TaskStatus};
use proto::mesos::v1 as mesos;

impl Core {
    /// An update of an agent: `latest` is the newest state that the agent knows, `status` the one to be acknowledged.
    pub(super) fn on_update(&mut self, id: &FrameworkId, status: TaskStatus, latest: TaskState) {
        let task_id = TaskId::from(&status.task_id);
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if let Some(task) = framework.tasks.get_mut(&task_id) {
            let changed = task.state() != latest;
            if !is_terminal(task.state()) {
                task.state = latest.into();
            }
            task.status_update_state = Some(status.state);
            task.status_update_uuid.clone_from(&status.uuid);
            let kept = TaskStatus { data: None, ..status.clone() };
            task.statuses.retain(|old| old.state != kept.state);
            task.statuses.push(kept.clone());
            let task = task.clone();
            if is_terminal(latest) {
                self.release_task(id, &task);
            }
            if changed {
                self.publish_task_updated(id, &kept, latest);
            }
        }
        self.send(id, statuses::update(status));
    }
}
