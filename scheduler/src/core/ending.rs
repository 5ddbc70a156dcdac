//! Ends executors by KILL, again and again until Mesos says that they ended: a call may be lost. One that takes much longer
//! than its grace does not listen: it is shut down, which its agent sees to.
use super::effects::Call;
use super::{Core, Stage};
use crate::ids::{Moment, TaskId};
use std::time::Duration;

/// How long after a KILL it is sent again.
const KILL_AGAIN: Duration = Duration::from_secs(10);
/// How much longer than its grace it may take before it is shut down.
const SLACK: Duration = Duration::from_secs(15);

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
        let patience = self.rules.grace + SLACK;
        let listens = now.since(*launch.killed_since.get_or_insert(now)) < patience;
        let (agent, executor) = (launch.record.agent.clone(), launch.record.executor.clone());
        self.call(match listens {
            true => Call::Kill(task.clone(), agent.clone()),
            false => Call::Shutdown(executor.clone(), agent.clone()),
        });
        if first {
            self.decide(now, Some(agent), format!("ending executor {executor}: {why}"));
        }
    }
}
