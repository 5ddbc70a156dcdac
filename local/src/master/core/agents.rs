//! Lets agents in, notices when they are away, and removes them.

use super::state::{Agent, Core, Holder};
use super::statuses::{self, MasterStatus, or_lost};
use super::{Effect, describe};
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use crate::link::{Described, LinkId, ToAgent, ToMaster};
use crate::resources::Resources;
use mesos::task_status::Reason;
use mesos::{OperationState, TaskState};
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

/// What agents and frameworks hear when an operator takes a machine down.
const MACHINE_DOWN: &str = "Operator initiated 'Machine DOWN'";

/// Why an agent is taken out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It did not answer, or did not come back in time: it may return.
    Unreachable(&'static str),
    /// It said good-bye.
    Unregistered,
    /// A new agent is where it was.
    Replaced,
    /// An operator marked it gone: it never returns.
    Gone,
    /// An operator took its machine down: it returns when that is up.
    MachineDown,
}

impl Leaving {
    /// What became of the operations of an agent that leaves like this.
    const fn operation_state(self) -> OperationState {
        match self {
            Self::Unreachable(_) => OperationState::OperationUnreachable,
            Self::Gone => OperationState::OperationGoneByOperator,
            Self::Unregistered | Self::Replaced | Self::MachineDown => OperationState::OperationUnknown,
        }
    }
}

impl Core {
    pub(super) fn on_agent(&mut self, link: LinkId, message: ToMaster) {
        match message {
            ToMaster::Register(described) => return self.register(link, *described),
            ToMaster::Reregister(described, running) => return self.reregister(link, *described, *running),
            _ => {}
        }
        let Some(Some(id)) = self.links.get(&link).cloned() else { return };
        match message {
            ToMaster::Update { framework_id, status, latest } => {
                self.on_update(&framework_id, *status, latest)
            }
            ToMaster::ExecutorExited { framework_id, executor_id, status } => {
                self.on_executor_exited(&id, &framework_id, &executor_id, status);
            }
            ToMaster::Message { framework_id, executor_id, data } => {
                self.send(&framework_id, statuses::message(&id, &executor_id, data));
            }
            ToMaster::OperationStatus { framework_id, status } => {
                self.on_operation_status(&framework_id, *status);
            }
            ToMaster::Pong => {
                if let Some(agent) = self.agents.get_mut(&id) {
                    agent.unanswered_pings = 0;
                }
            }
            ToMaster::Unregister => self.remove_agent(&id, Leaving::Unregistered),
            ToMaster::Register(_) | ToMaster::Reregister(..) => {}
        }
    }

    /// A new agent.
    fn register(&mut self, link: LinkId, mut described: Described) {
        if self.refuse_machine_down(link, &described) {
            return;
        }
        let same_address = |(_, agent): &(&AgentId, &Agent)| agent.described.pid == described.pid;
        if let Some(old) = self.agents.iter().find(same_address).map(|(id, _)| id.clone()) {
            self.remove_agent(&old, Leaving::Replaced);
        }
        let id = AgentId(format!("{}-S{}", self.info.id, self.counters.agent));
        self.counters.agent += 1;
        described.info.id = Some(id.wire());
        self.admit(&id, link, described, BTreeMap::new());
        self.remember();
        self.out.push(Effect::Tell(link, ToAgent::Registered { agent_id: id.clone() }));
        self.publish_agent_added(&id);
        self.allocate_on(vec![id]);
    }

    /// Agents of machines that are down must end.
    pub(super) fn refuse_machine_down(&mut self, link: LinkId, described: &Described) -> bool {
        let machine = super::maintenance::machine(&described.info, &described.pid);
        let down = self.maintenance.is_down(&machine);
        if down {
            let message = "Machine is `DOWN`".to_owned();
            self.out.push(Effect::Tell(link, ToAgent::Shutdown { message }));
        }
        down
    }

    /// Puts an agent among the registered ones.
    pub(super) fn admit(
        &mut self,
        id: &AgentId,
        link: LinkId,
        described: Described,
        held: BTreeMap<(FrameworkId, Holder), Resources>,
    ) {
        let old = self.agents.remove(id);
        let now = self.now;
        let agent = Agent {
            total: Resources::read(&described.info.resources).unwrap_or_default(),
            described,
            held,
            link: Some(link),
            reregister_by: None,
            next_ping: now + self.timings.agent_ping,
            unanswered_pings: 0,
            deactivated: old.as_ref().is_some_and(|old| old.deactivated),
            drain: old.as_ref().and_then(|old| old.drain),
            kills: Vec::new(),
            registered: old.as_ref().map_or(now, |old| old.registered),
            reregistered: old.is_some().then_some(now),
        };
        self.agents.insert(id.clone(), agent);
        self.links.insert(link, Some(id.clone()));
    }

    pub(super) fn publish_agent_added(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.get(id) {
            let described = self.describe_agent(agent);
            self.publish(&describe::agent_added(described));
        }
    }

    /// An agent's connection broke: its offers are void, its tasks go on when their framework checkpoints.
    pub(super) fn on_unlinked(&mut self, link: LinkId) {
        let Some(Some(id)) = self.links.remove(&link) else { return };
        let now = self.now;
        let Some(agent) = self.agents.get_mut(&id).filter(|agent| agent.link == Some(link)) else { return };
        agent.link = None;
        agent.reregister_by = Some(now + self.timings.agent_reregister);
        let hostname = agent.described.info.hostname.clone();
        self.withdraw(&id);
        let frameworks: Vec<FrameworkId> = self
            .frameworks
            .iter()
            .filter(|(_, framework)| !framework.info.checkpoint())
            .map(|(framework, _)| framework.clone())
            .collect();
        for framework in frameworks {
            let message = format!("Agent {hostname} disconnected");
            self.lose_tasks(&framework, &id, (TaskState::TaskLost, Reason::AgentDisconnected), &message);
            self.drop_executors(&framework, &id);
        }
    }

    /// Takes an agent out, with all that ran on it.
    pub(super) fn remove_agent(&mut self, id: &AgentId, why: Leaving) {
        self.rescind_on(id);
        let Some(agent) = self.agents.remove(id) else { return };
        let frameworks: Vec<FrameworkId> = self.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.lose_tasks_of_leaving(&framework, &agent, why);
            self.drop_executors(&framework, id);
        }
        match why {
            Leaving::Unreachable(_) => {
                self.unreachable.insert(id.clone(), self.now);
            }
            Leaving::Unregistered | Leaving::Replaced | Leaving::MachineDown => {}
            Leaving::Gone => {
                self.gone.insert(id.clone());
            }
        }
        self.remember();
        if !matches!(why, Leaving::Unreachable(_)) {
            self.publish(&describe::agent_removed(id));
        }
        self.rescind_inverse(|about| about == id);
        self.lose_operations(id, why.operation_state());
        self.broadcast_failure(id);
        if let (Some(link), Leaving::Gone | Leaving::MachineDown) = (agent.link, why) {
            // What it still says is not heard.
            self.links.insert(link, None);
        }
        match (agent.link, why) {
            (Some(link), Leaving::Gone) => {
                let message = "Agent has been marked gone".to_owned();
                self.out.push(Effect::Tell(link, ToAgent::Shutdown { message }));
            }
            (Some(link), Leaving::MachineDown) => {
                let message = MACHINE_DOWN.to_owned();
                self.out.push(Effect::Tell(link, ToAgent::Shutdown { message }));
            }
            // One that only was slow finds its link broken and registers again.
            (Some(link), Leaving::Unreachable(_)) => self.out.push(Effect::Unlink(link)),
            (_, Leaving::Unregistered | Leaving::Replaced) | (None, _) => {}
        }
    }

    fn lose_tasks_of_leaving(&mut self, framework: &FrameworkId, agent: &Agent, why: Leaving) {
        let Some(known) = self.frameworks.get(framework) else { return };
        let id = agent.id();
        match why {
            Leaving::Unreachable(message) => self.make_unreachable(framework, &id, message),
            Leaving::Unregistered | Leaving::Replaced | Leaving::MachineDown => {
                let cause = match why {
                    Leaving::Replaced => "a new agent registered at the same address",
                    Leaving::MachineDown => MACHINE_DOWN,
                    _ => "the agent unregistered",
                };
                let message = format!("Agent {} removed: {cause}", agent.described.info.hostname);
                self.lose_tasks(framework, &id, (TaskState::TaskLost, Reason::AgentRemoved), &message);
            }
            Leaving::Gone => {
                let state = or_lost(known, TaskState::TaskGoneByOperator);
                let reason = match state {
                    TaskState::TaskLost => Reason::AgentRemoved,
                    _ => Reason::AgentRemovedByOperator,
                };
                self.lose_tasks(framework, &id, (state, reason), "Agent has been marked gone");
            }
        }
    }

    /// The live tasks of one framework on one agent.
    fn tasks_on(&self, framework: &FrameworkId, agent: &AgentId) -> Vec<mesos::Task> {
        let tasks = self.frameworks.get(framework).map(|f| &f.tasks);
        let on_agent = |task: &&mesos::Task| AgentId::from(&task.agent_id) == *agent;
        tasks.into_iter().flat_map(BTreeMap::values).filter(on_agent).cloned().collect()
    }

    /// Ends the tasks of a framework on an agent for good.
    fn lose_tasks(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        (state, reason): (TaskState, Reason),
        message: &str,
    ) {
        for mut task in self.tasks_on(framework, agent) {
            self.release_task(framework, &task);
            let task_id = TaskId::from(&task.task_id);
            if let Some(framework) = self.frameworks.get_mut(framework) {
                framework.tasks.remove(&task_id);
            }
            if !super::state::is_terminal(task.state()) {
                let executor = task.executor_id.as_ref().map(ExecutorId::from);
                let status = self.status(&MasterStatus {
                    task: &task_id,
                    agent: Some(agent),
                    executor: executor.as_ref(),
                    state,
                    reason,
                    message,
                });
                task.state = state.into();
                task.statuses = vec![status.clone()];
                self.publish_task_updated(framework, &status, state);
                self.send(framework, statuses::update(status));
            }
            if let Some(framework) = self.frameworks.get_mut(framework) {
                framework.retire(task);
            }
        }
    }

    /// Sets the tasks of a framework on an agent aside until the agent returns.
    fn make_unreachable(&mut self, id: &FrameworkId, agent: &AgentId, message: &str) {
        for mut task in self.tasks_on(id, agent) {
            self.release_task(id, &task);
            let task_id = TaskId::from(&task.task_id);
            let Some(framework) = self.frameworks.get_mut(id) else { return };
            framework.tasks.remove(&task_id);
            if super::state::is_terminal(task.state()) {
                framework.retire(task);
                continue;
            }
            let state = or_lost(framework, TaskState::TaskUnreachable);
            let executor = task.executor_id.as_ref().map(ExecutorId::from);
            let mut status = self.status(&MasterStatus {
                task: &task_id,
                agent: Some(agent),
                executor: executor.as_ref(),
                state,
                reason: Reason::AgentRemoved,
                message,
            });
            status.unreachable_time = Some(super::reconcile::time_info(self.now));
            task.state = state.into();
            task.statuses = vec![status.clone()];
            if let Some(framework) = self.frameworks.get_mut(id) {
                framework.unreachable.insert(task_id, task);
            }
            self.publish_task_updated(id, &status, state);
            self.send(id, statuses::update(status));
        }
    }

    fn drop_executors(&mut self, framework: &FrameworkId, agent: &AgentId) {
        if let Some(framework) = self.frameworks.get_mut(framework) {
            framework.executors.retain(|(on, _), _| on != agent);
        }
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.held.retain(|(holder, _), _| holder != framework);
        }
    }

    /// FAILURE of an agent goes to every connected framework.
    pub(super) fn broadcast_failure(&mut self, agent: &AgentId) {
        let all: Vec<FrameworkId> = self.frameworks.keys().cloned().collect();
        for framework in all {
            self.send(&framework, statuses::failure(agent, None));
        }
    }

    fn on_executor_exited(&mut self, agent: &AgentId, id: &FrameworkId, executor: &ExecutorId, status: i32) {
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.executors.remove(&(agent.clone(), executor.clone()));
        }
        self.release(agent, id, Holder::Executor(executor.clone()));
        self.send(id, statuses::failure(agent, Some((executor, status))));
    }
}
