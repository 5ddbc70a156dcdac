//! Remembers where executors keep their data, so that the next one on a node can go on with it.
use super::Core;
use crate::ids::{AgentId, ExecutorId};

impl Core {
    /// An executor said where it keeps positions and spools.
    pub fn keeps_data_at(&mut self, executor: &ExecutorId, data: &str, in_sandbox: bool) {
        let Some(task) = self.executors.get(executor).cloned() else { return };
        let Some(launch) = self.launches.get_mut(&task) else { return };
        let known = launch.record.lineage.data.as_deref();
        if data.is_empty() || known == Some(data) {
            return;
        }
        launch.record.lineage.data = Some(data.to_owned());
        self.data_on.insert(launch.record.agent.clone(), data.to_owned());
        // The next executor finds any other place by the settings.
        if in_sandbox {
            self.save_launch(&task, Vec::new());
        }
    }

    /// Where the last executor of an agent kept its data, as far as that is known.
    pub(super) fn data_on(&self, agent: &AgentId) -> Option<String> {
        self.data_on.get(agent).cloned()
    }
}
