//! What an agent's runs leave to the next one, in memory: the same that `agent::checkpoint` keeps in files.
use crate::agent::core::{Keep, RecoveredExecutor, RecoveredFramework, RecoveredTask, RunKey};
use crate::ids::{FrameworkId, TaskId};
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

/// The work directory of an agent; empty at first, and after somebody wiped it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    info: Option<mesos::AgentInfo>,
    frameworks: BTreeMap<FrameworkId, RecoveredFramework>,
}

impl Disk {
    /// The agent as it last described itself, with its id.
    pub fn info(&self) -> Option<&mesos::AgentInfo> {
        self.info.as_ref()
    }

    /// The containers of which a next run has to find out whether they still run.
    pub fn containers(&self) -> Vec<String> {
        let executors = self.frameworks.values().flat_map(|framework| &framework.executors);
        executors.map(|executor| executor.container.0.clone()).collect()
    }

    pub(super) fn recovered(&self) -> Vec<RecoveredFramework> {
        self.frameworks.values().filter(|framework| !framework.executors.is_empty()).cloned().collect()
    }

    pub(super) fn keep(&mut self, keep: Keep) {
        match keep {
            Keep::Agent(info) => self.info = Some(*info),
            Keep::Framework(info) => {
                let Some(id) = info.id.as_ref().map(FrameworkId::from) else { return };
                match self.frameworks.get_mut(&id) {
                    Some(known) => known.info = *info,
                    None => {
                        let framework = RecoveredFramework { info: *info, executors: Vec::new() };
                        self.frameworks.insert(id, framework);
                    }
                }
            }
            Keep::Executor(run, info) => {
                if let Some(framework) = self.frameworks.get_mut(&run.framework) {
                    let (container, process, tasks) = (run.container, None, Vec::new());
                    framework.executors.push(RecoveredExecutor { info: *info, container, process, tasks });
                }
            }
            Keep::Process(run, process) => {
                if let Some(executor) = self.executor(&run) {
                    executor.process = Some(process);
                }
            }
            Keep::Task(run, info) => {
                if let Some(executor) = self.executor(&run) {
                    let (updates, acknowledged) = (Vec::new(), Vec::new());
                    executor.tasks.push(RecoveredTask { info: *info, updates, acknowledged });
                }
            }
            Keep::Update(run, task, status) => {
                if let Some(task) = self.task(&run, &task) {
                    task.updates.push(*status);
                }
            }
            Keep::Acknowledged(run, task, uuid) => {
                if let Some(task) = self.task(&run, &task) {
                    task.acknowledged.push(uuid);
                }
            }
            Keep::Completed(run) => {
                if let Some(framework) = self.frameworks.get_mut(&run.framework) {
                    framework.executors.retain(|executor| executor.container != run.container);
                }
            }
            Keep::ForgetFramework(id) => {
                self.frameworks.remove(&id);
            }
        }
    }

    fn executor(&mut self, run: &RunKey) -> Option<&mut RecoveredExecutor> {
        let executors = &mut self.frameworks.get_mut(&run.framework)?.executors;
        executors.iter_mut().find(|executor| executor.container == run.container)
    }

    fn task(&mut self, run: &RunKey, id: &TaskId) -> Option<&mut RecoveredTask> {
        self.executor(run)?.tasks.iter_mut().find(|task| task.info.task_id.value == id.0)
    }
}
