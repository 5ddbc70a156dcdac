//! Ends executors by KILL, again and again until Mesos says that they ended: a call may be lost.
use super::effects::Call;
use super::{Core, Stage};
use crate::ids::{Moment, TaskId};
use std::time::Duration;

/// How long after a KILL it is sent again.
const KILL_AGAIN: Duration = Duration::from_secs(10);

impl Core {
    /// Tells an executor to flush and end, unless it was told a moment ago.
    pub(super) fn end_launch(&mut self, now: Moment, task: &TaskId, why: &str) {
        if !self.connected {
            return;
        }
        let Some(launch) = self.launches.get_mut(task) else { return };
        if !matches!(launch.stage, Stage::Asked) || launch.kill_at.is_some_and(|at| at > now) {
            return;
        }
        let first = launch.kill_at.replace(now.after(KILL_AGAIN)).is_none();
        let (agent, executor) = (launch.record.agent.clone(), launch.record.executor.clone());
        self.call(Call::Kill(task.clone(), agent.clone()));
        if first {
            self.decide(now, Some(agent), format!("ending executor {executor}: {why}"));
        }
    }
}
