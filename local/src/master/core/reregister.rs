//! Takes an agent back in, with all that runs on it: after its restart, after a broken connection, after being
//! unreachable, and after a change of masters.

use super::state::{Core, Framework, Holder, is_terminal};
use super::statuses::{self, MasterStatus};
use super::{Effect, describe};
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use crate::link::{Described, LinkId, Running, ToAgent};
use crate::resources::Resources;
use mesos::task_status::Reason;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

impl Core {
    pub(super) fn reregister(&mut self, link: LinkId, described: Described, running: Running) {
        let Some(id) = described.info.id.as_ref().map(AgentId::from) else { return };
        if self.refuse_machine_down(link, &described) {
            return;
        }
        if self.gone.contains(&id) {
            let message = "Agent has been marked gone".to_owned();
            self.out.push(Effect::Tell(link, ToAgent::Shutdown { message }));
            return;
        }
        let was_unreachable = self.unreachable.remove(&id).is_some();
        let was_recovered = self.recovered.remove(&id).is_some();
        let known = self.agents.contains_key(&id);
        let missing = if known { self.missing(&id, &running) } else { Vec::new() };
        if let Some(old) = self.agents.get(&id).and_then(|agent| agent.link).filter(|old| *old != link) {
            self.links.insert(old, None);
            self.out.push(Effect::Unlink(old));
            self.withdraw(&id);
        }
        self.adopt_frameworks(&running);
        let kills =
            self.agents.get_mut(&id).map(|agent| std::mem::take(&mut agent.kills)).unwrap_or_default();
        let held = held_by(&running);
        self.admit(&id, link, described, held);
        self.adopt_executors(&id, &running);
        self.adopt_tasks(&id, &running, !known);
        self.out.push(Effect::Tell(link, ToAgent::Registered { agent_id: id.clone() }));
        self.catch_up(&id, link, &running, missing);
        for (framework_id, task_id, policy) in kills {
            self.out.push(Effect::Tell(link, ToAgent::Kill { framework_id, task_id, policy }));
        }
        if !known {
            self.publish_agent_added(&id);
        }
        if was_unreachable || was_recovered || !known {
            self.remember();
        }
        self.allocate_on(vec![id]);
    }

    /// Tasks that the master believes to be on the agent and that the agent did not name.
    fn missing(&self, agent: &AgentId, running: &Running) -> Vec<(FrameworkId, TaskId, Option<ExecutorId>)> {
        let named = |framework: &FrameworkId, task: &TaskId| {
            running.tasks.iter().any(|t| t.task_id.value == task.0 && t.framework_id.value == framework.0)
        };
        self.frameworks
            .iter()
            .flat_map(|(id, framework)| framework.tasks.values().map(move |task| (id, task)))
            .filter(|(_, task)| task.agent_id.value == agent.0)
            .map(|(id, task)| {
                (id.clone(), TaskId::from(&task.task_id), task.executor_id.as_ref().map(ExecutorId::from))
            })
            .filter(|(framework, task, _)| !named(framework, task))
            .collect()
    }

    /// Frameworks that are known only through an agent wait, recovered, for their schedulers.
    fn adopt_frameworks(&mut self, running: &Running) {
        for info in &running.frameworks {
            let Some(id) = info.id.as_ref().map(FrameworkId::from) else { continue };
            let removed = self.completed.iter().any(|gone| gone.info.id == info.id);
            if !removed && !self.frameworks.contains_key(&id) {
                let mut framework = Framework::new(info.clone(), self.now);
                framework.recovered = true;
                self.frameworks.insert(id, framework);
            }
        }
    }

    fn adopt_executors(&mut self, agent: &AgentId, running: &Running) {
        for framework in self.frameworks.values_mut() {
            framework.executors.retain(|(on, _), _| on != agent);
        }
        for executor in &running.executors {
            let id = executor.framework_id.as_ref().map(FrameworkId::from);
            if let Some(framework) = id.and_then(|id| self.frameworks.get_mut(&id)) {
                let key = (agent.clone(), ExecutorId::from(&executor.executor_id));
                framework.executors.insert(key, executor.clone());
            }
        }
    }

    /// Tasks come (back) as the agent describes them; frameworks hear of those that were unreachable.
    fn adopt_tasks(&mut self, agent: &AgentId, running: &Running, agent_was_away: bool) {
        for task in &running.tasks {
            let (id, task_id) = (FrameworkId::from(&task.framework_id), TaskId::from(&task.task_id));
            let Some(framework) = self.frameworks.get_mut(&id) else { continue };
            let before = framework.tasks.insert(task_id.clone(), task.clone());
            let was_unreachable = framework.unreachable.remove(&task_id).is_some();
            framework.finished.retain(|finished| finished.task_id != task.task_id);
            if before.is_none() {
                self.publish(&describe::task_added(task.clone()));
            }
            if !agent_was_away || is_terminal(task.state()) || !(was_unreachable || before.is_none()) {
                continue;
            }
            let executor = task.executor_id.as_ref().map(ExecutorId::from);
            let mut status = self.status(&MasterStatus {
                task: &task_id,
                agent: Some(agent),
                executor: executor.as_ref(),
                state: task.state(),
                reason: Reason::AgentReregistered,
                message: "Unreachable agent re-reregistered",
            });
            if let Some(last) = task.statuses.last() {
                status.healthy = last.healthy;
                status.container_status.clone_from(&last.container_status);
            }
            if was_unreachable {
                self.send(&id, statuses::update(status));
            }
        }
    }

    /// Tells the agent what it missed.
    fn catch_up(
        &mut self,
        agent: &AgentId,
        link: LinkId,
        running: &Running,
        missing: Vec<(FrameworkId, TaskId, Option<ExecutorId>)>,
    ) {
        let mut by_framework: BTreeMap<FrameworkId, Vec<(TaskId, Option<ExecutorId>)>> = BTreeMap::new();
        for (framework, task, executor) in missing {
            by_framework.entry(framework).or_default().push((task, executor));
        }
        for (framework_id, tasks) in by_framework {
            self.out.push(Effect::Tell(link, ToAgent::Reconcile { framework_id, tasks }));
        }
        for info in &running.frameworks {
            let Some(framework_id) = info.id.as_ref().map(FrameworkId::from) else { continue };
            match self.frameworks.get(&framework_id) {
                None => self.out.push(Effect::Tell(link, ToAgent::ShutdownFramework { framework_id })),
                Some(framework) if framework.subscription.is_some() => {
                    let framework = Box::new(framework.info.clone());
                    self.out.push(Effect::Tell(link, ToAgent::UpdateFramework { framework }));
                }
                Some(_) => {}
            }
        }
        let drain = self.agents.get(agent).and_then(|agent| agent.drain);
        // Reactivated while it was away, or drained under an earlier master: it would drop every task for ever.
        let Some(drain) = drain else { return self.out.push(Effect::Tell(link, ToAgent::EndDrain)) };
        let max_grace = drain.config.max_grace_period.map(|grace| super::operator::duration(&grace));
        let mark_gone = drain.config.mark_gone();
        self.out.push(Effect::Tell(link, ToAgent::Drain { max_grace, mark_gone }));
    }
}

/// What the live tasks and the executors of an agent hold.
fn held_by(running: &Running) -> BTreeMap<(FrameworkId, Holder), Resources> {
    let tasks = running.tasks.iter().filter(|task| !is_terminal(task.state())).map(|task| {
        let holder = Holder::Task(TaskId::from(&task.task_id));
        ((FrameworkId::from(&task.framework_id), holder), &task.resources)
    });
    let executors = running.executors.iter().filter_map(|executor| {
        let id = executor.framework_id.as_ref().map(FrameworkId::from)?;
        Some(((id, Holder::Executor(ExecutorId::from(&executor.executor_id))), &executor.resources))
    });
    tasks.chain(executors).map(|(key, wire)| (key, Resources::read(wire).unwrap_or_default())).collect()
}
