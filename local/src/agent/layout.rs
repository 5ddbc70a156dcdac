//! Says where things lie under an agent's work directory, as in a real Mesos.

use super::core::RunKey;
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use std::path::{Path, PathBuf};

/// The places of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    work_dir: PathBuf,
    agent: AgentId,
}

impl Layout {
    pub(crate) fn new(work_dir: &Path, agent: &AgentId) -> Self {
        Self { work_dir: work_dir.to_owned(), agent: agent.clone() }
    }

    /// The directory in which an executor runs.
    pub(crate) fn sandbox(&self, run: &RunKey) -> PathBuf {
        below(&self.work_dir.join("slaves").join(self.agent.as_str()), &run.framework, &run.executor)
            .join("runs")
            .join(&run.container.0)
    }

    /// All that is written down about this agent.
    pub(crate) fn meta(&self) -> PathBuf {
        meta_slaves(&self.work_dir).join(self.agent.as_str())
    }

    pub(crate) fn agent_info(&self) -> PathBuf {
        self.meta().join("slave.info")
    }

    pub(crate) fn meta_frameworks(&self) -> PathBuf {
        self.meta().join("frameworks")
    }

    pub(crate) fn meta_framework(&self, framework: &FrameworkId) -> PathBuf {
        self.meta_frameworks().join(framework.as_str())
    }

    pub(crate) fn meta_executor(&self, framework: &FrameworkId, executor: &ExecutorId) -> PathBuf {
        below(&self.meta(), framework, executor)
    }

    pub(crate) fn meta_run(&self, run: &RunKey) -> PathBuf {
        self.meta_executor(&run.framework, &run.executor).join("runs").join(&run.container.0)
    }

    pub(crate) fn meta_task(&self, run: &RunKey, task: &TaskId) -> PathBuf {
        self.meta_run(run).join("tasks").join(task.as_str())
    }
}

/// Where agents are written down.
pub(crate) fn meta_slaves(work_dir: &Path) -> PathBuf {
    work_dir.join("meta").join("slaves")
}

/// The link to the newest agent.
pub(crate) fn latest(work_dir: &Path) -> PathBuf {
    meta_slaves(work_dir).join("latest")
}

/// The machine's boot, during which the written process numbers mean something.
pub(crate) fn boot_id(work_dir: &Path) -> PathBuf {
    work_dir.join("meta").join("boot_id")
}

fn below(root: &Path, framework: &FrameworkId, executor: &ExecutorId) -> PathBuf {
    root.join("frameworks").join(framework.as_str()).join("executors").join(executor.as_str())
}
