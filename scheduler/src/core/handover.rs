//! Remembers where executors keep their data, so that the next one on a node can go on with it.
//!
//! While a launch is known its record says so. When the last one of an agent ends, what it left is stored apart, before the
//! launch is forgotten: hours may pass until the next one, and other settings may name another directory then.
use super::effects::{Change, LeftData, Phase, Ticket};
use super::{Core, Launch, Stage, Then};
use crate::ids::{AgentId, ExecutorId, TaskId};

/// So many agents are remembered beyond twice as many as there are.
const LEFT_SPARE: usize = 1000;

/// What an executor left.
#[derive(Debug)]
pub(super) struct Left {
    data: String,
    stored: bool,
    /// The change that is on its way to the store.
    pending: Option<Ticket>,
}

impl Core {
    /// Goes on with what executors left on agents.
    #[must_use]
    pub fn with_left(mut self, left: Vec<LeftData>) -> Self {
        let stored = |data| Left { data, stored: true, pending: None };
        self.left.extend(left.into_iter().map(|left| (left.agent, stored(left.data))));
        self
    }

    /// An executor said where it keeps positions and spools.
    pub fn keeps_data_at(&mut self, executor: &ExecutorId, data: &str, in_sandbox: bool) {
        let Some(task) = self.executors.get(executor).cloned() else { return };
        let Some(launch) = self.launches.get_mut(&task) else { return };
        let known = launch.record.lineage.data.as_deref();
        if data.is_empty() || known == Some(data) {
            return;
        }
        launch.record.lineage.data = Some(data.to_owned());
        // Outside of the sandbox it is soon enough with the word that it runs: until then it has taken in nothing.
        if in_sandbox || launch.record.phase == Phase::Running {
            self.save_launch(&task, Vec::new());
        } else {
            launch.stored = false;
        }
    }

    /// Where the next executor of an agent finds data: those of the one that is there, or of the last one. `None`: nowhere, as
    /// far as is known.
    pub(super) fn data_on(&self, agent: &AgentId) -> Option<String> {
        match self.nodes.task_on(agent).and_then(|task| self.launches.get(&task)) {
            Some(launch) => self.leaves(launch),
            None => self.left.get(agent).map(|left| left.data.clone()),
        }
    }

    /// Where an executor keeps its data: as it said, or as its settings say.
    pub(super) fn data_of<'a>(&'a self, launch: &'a Launch) -> Option<&'a str> {
        let lineage = &launch.record.lineage;
        let spec = lineage.generation.as_ref().and_then(|generation| self.spec_of(generation));
        lineage.data.as_deref().or_else(|| spec?.data_dir())
    }

    /// Where the data are once a launch has ended. One that never worked has left them where they were.
    fn leaves(&self, launch: &Launch) -> Option<String> {
        let lineage = &launch.record.lineage;
        let phase = launch.record.phase;
        let worked = matches!(phase, Phase::Running | Phase::Killing | Phase::Unreachable);
        let own = match worked {
            true => self.data_of(launch),
            false => lineage.data.as_deref(),
        };
        own.or(lineage.predecessor_data.as_deref()).map(str::to_owned)
    }

    /// A launch is about to be forgotten: what it leaves is stored first, unless another one of its agent takes over.
    pub(super) fn leave_data(&mut self, task: &TaskId) {
        let launch = self.launches.get(task).filter(|launch| !matches!(launch.stage, Stage::Over));
        let Some(launch) = launch else { return };
        let agent = launch.record.agent.clone();
        let others = self.nodes.tasks_on(&agent).iter().any(|other| other != task);
        let Some(data) = self.leaves(launch).filter(|_| !others && !self.is_tearing_down()) else { return };
        if self
            .left
            .get(&agent)
            .is_some_and(|left| left.data == data && (left.stored || left.pending.is_some()))
        {
            return;
        }
        self.left.insert(agent.clone(), Left { data, stored: false, pending: None });
        self.store_left(&agent);
        self.forget_spare_left(&agent);
    }

    fn store_left(&mut self, agent: &AgentId) {
        let Some(data) = self.left.get(agent).map(|left| left.data.clone()) else { return };
        let change = Change::Left(LeftData { agent: agent.clone(), data });
        let ticket = self.save(change, Then::Left(agent.clone()));
        if let Some(left) = self.left.get_mut(agent) {
            left.pending = Some(ticket);
        }
    }

    pub(super) fn left_stored(&mut self, agent: &AgentId, ticket: Ticket, stored: bool) {
        if let Some(left) = self.left.get_mut(agent).filter(|left| left.pending == Some(ticket)) {
            (left.stored, left.pending) = (stored, None);
        }
    }

    /// Stores again what could not be stored.
    pub(super) fn store_left_again(&mut self) {
        let waits = |(_, left): &(&AgentId, &Left)| !left.stored && left.pending.is_none();
        let agents: Vec<AgentId> = self.left.iter().filter(waits).map(|(agent, _)| agent.clone()).collect();
        for agent in agents {
            self.store_left(&agent);
        }
    }

    /// An agent never comes back, or has been away for so long that others are remembered instead.
    pub(super) fn forget_left(&mut self, agent: &AgentId) {
        if self.left.remove(agent).is_some() {
            self.save(Change::Forgotten(agent.clone()), Then::Left(agent.clone()));
        }
    }

    /// Agents that the master does not know may come back, but there is no end to new ones.
    fn forget_spare_left(&mut self, but: &AgentId) {
        if self.nodes.listed_at.is_none() || self.left.len() <= self.nodes.len() * 2 + LEFT_SPARE {
            return;
        }
        let spare = self.left.keys().find(|agent| *agent != but && !self.nodes.by_agent.contains_key(*agent));
        if let Some(spare) = spare.cloned() {
            self.forget_left(&spare);
        }
    }
}
