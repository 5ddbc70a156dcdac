//! Models what masters and agents do, as the core can see it: offers, tasks, updates, reconciliation, loss.
#[cfg(test)]
mod fates;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod reserved;

use super::super::cluster::{
    Agent as Listed, InverseOffer, Machine, Offer, Standing as Stands, TaskState, Unavailability, Update,
    Window,
};
use super::super::effects::Call;
use super::super::tests;
use super::{How, Size};
use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment, OfferId, TaskId};
use reserved::portion;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The machines. An agent that is gone for good comes back under another id.
pub(super) const MACHINES: usize = 3;
/// The roles that the framework has.
pub(super) const ROLES: [&str; 2] = ["logherd", "spare"];

/// From now on, until an operator says otherwise.
const AWAY: Unavailability = Unavailability { start: Moment(0), duration: None };

/// What a subscription brings.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Offers(Vec<Offer>),
    Rescind(OfferId),
    Update(Update),
    InverseOffers(Vec<InverseOffer>),
    InverseRescinded(OfferId),
    ExecutorEnded(AgentId, ExecutorId),
    AgentLost(AgentId),
}

/// How an agent stands with the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Registered,
    Unreachable,
    /// Unreachable, and the registry has forgotten it.
    Collected,
    /// The master led after it registered and has not heard of it yet.
    Recovered,
    /// Marked gone: it never comes back, but another agent may on this machine.
    Gone,
    /// It unregistered, with the same effect; the master does not remember it.
    Left,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) standing: Standing,
    pub(super) draining: bool,
    /// Its machine is planned to be away.
    pub(super) away: bool,
    /// How many agents there were on this machine.
    generation: u32,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) agent: AgentId,
    pub(super) executor: ExecutorId,
    pub(super) token: String,
    /// Where its executor believes the scheduler to be.
    pub(super) control: String,
    pub(super) state: TaskState,
    /// Whether its executor has the data of the node: one at a time can.
    pub(super) works: bool,
    /// Whether it has said that it waits for them.
    waits: bool,
    /// How much longer than a moment its executor takes to end once it was told to.
    flushes: u64,
    /// What its executor is of.
    pub(super) version: u8,
    /// In which role what it uses is reserved, if it is.
    reserved: Option<&'static str>,
    /// Unacknowledged updates, oldest first: only the first one is under way.
    updates: VecDeque<(TaskState, bool, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Mesos {
    /// Whom the scheduler that is subscribed says to be.
    pub(super) subscribed: Option<FrameworkId>,
    removed: BTreeSet<FrameworkId>,
    frameworks: u32,
    pub(super) agents: Vec<Agent>,
    pub(super) offers: BTreeMap<OfferId, (AgentId, &'static str)>,
    /// Until when nothing of an agent is offered in a role.
    filters: BTreeMap<(AgentId, &'static str), Moment>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Agents whose machine was planned to be away at some time.
    pub(super) planned: BTreeSet<AgentId>,
    /// How many portions, each of what an executor needs, are reserved for us on an agent and used by nobody.
    pub(super) reserved: BTreeMap<(AgentId, &'static str), usize>,
    /// How many of the roles the framework has.
    pub(super) roles: usize,
    /// The roles for which nobody may reserve or unreserve, and whether there were any.
    pub(super) denied: BTreeSet<&'static str>,
    pub(super) ever_denied: bool,
    /// Where what is reserved is not offered for a while, as giving it up was denied, or not tried.
    pub(super) put_off: BTreeSet<(AgentId, &'static str)>,
    /// Launches that were refused as they used what was not there.
    pub(super) invalid: usize,
    /// Executors that waited for the data of another one, were unreachable, and are back.
    pub(super) waits_again: usize,
    /// Whether there is another framework of our name.
    pub(super) namesake: bool,
    /// Versions whose executors fail.
    pub(super) spoilt: BTreeSet<u8>,
    /// Whether the scheduler's own teardown has just removed its framework.
    pub(super) torn_down: bool,
    /// Executors that outlive their task, and where.
    pub(super) lingering: BTreeMap<ExecutorId, AgentId>,
    pub(super) to_scheduler: VecDeque<Event>,
    counter: u64,
}

impl Mesos {
    pub(super) fn new() -> Self {
        let agents = (0..MACHINES).map(|n| Agent {
            id: AgentId(format!("m-S{n}")),
            standing: Standing::Registered,
            draining: false,
            away: false,
            generation: 0,
        });
        Self { agents: agents.collect(), roles: ROLES.len(), ..Self::default() }
    }

    /// Who subscribes is told who it is, or that it was removed. Agents send again what nobody acknowledged.
    pub(super) fn subscribe(
        &mut self,
        framework: Option<&FrameworkId>,
        roles: usize,
    ) -> Result<FrameworkId, ()> {
        if framework.is_some_and(|id| self.removed.contains(id)) {
            return Err(());
        }
        self.roles = roles;
        let id = framework.cloned().unwrap_or_else(|| {
            self.frameworks += 1;
            FrameworkId(format!("f-{}", self.frameworks))
        });
        // A takeover discards the offers of the one before and keeps its filters.
        self.offers.clear();
        self.to_scheduler.clear();
        self.subscribed = Some(id.clone());
        let tasks: Vec<TaskId> = self.tasks.keys().cloned().collect();
        tasks.iter().for_each(|task| self.send(task));
        Ok(id)
    }

    /// The master notices that nobody is subscribed any more.
    pub(super) fn disconnect(&mut self) {
        self.subscribed = None;
        self.offers.clear();
        self.filters.clear();
        self.put_off.clear();
        self.to_scheduler.clear();
    }

    pub(super) fn teardown(&mut self) {
        self.removed.extend(self.subscribed.take());
        self.disconnect();
        for mut task in std::mem::take(&mut self.tasks).into_values() {
            self.give_back(&mut task);
        }
        self.lingering.clear();
    }

    pub(super) fn is_removed(&self, framework: &FrameworkId) -> bool {
        self.removed.contains(framework)
    }

    pub(super) fn failover(&mut self) {
        self.disconnect();
        for agent in self.agents.iter_mut().filter(|agent| agent.standing == Standing::Registered) {
            agent.standing = Standing::Recovered;
        }
    }

    /// Whether an agent would run an executor.
    pub(super) fn is_eligible(&self, agent: &AgentId) -> bool {
        self.agents
            .iter()
            .any(|a| a.id == *agent && a.standing == Standing::Registered && !a.draining && !a.away)
    }

    fn standing(&self, agent: &AgentId) -> Option<Standing> {
        self.agents.iter().find(|known| known.id == *agent).map(|known| known.standing)
    }

    fn is_up(&self, agent: &AgentId) -> bool {
        self.standing(agent) == Some(Standing::Registered)
    }

    /// The agents that the operator API lists: those that are registered, and those that may come back.
    pub(super) fn listed(&self) -> Vec<Listed> {
        let standing = |agent: &Agent| match agent.standing {
            Standing::Registered if agent.draining => Some(Stands::Draining),
            Standing::Registered => Some(Stands::Active),
            Standing::Recovered => Some(Stands::NotBack),
            Standing::Unreachable | Standing::Collected | Standing::Gone | Standing::Left => None,
        };
        let listed = |agent: &Agent| {
            let used = self.tasks.values().any(|task| task.agent == agent.id && task.reserved.is_some());
            let free = self.reserved.iter().any(|((of, _), count)| *of == agent.id && *count > 0);
            let by = (used || free).then(|| "logherd".to_owned());
            let listed = tests::agent(&agent.id.0, Some(standing(agent)?));
            Some(Listed { reserved_by: by.into_iter().collect(), ..listed })
        };
        self.agents.iter().filter_map(listed).collect()
    }

    /// The schedule of maintenance.
    pub(super) fn schedule(&self) -> Vec<Window> {
        let host = |agent: &Agent| Machine { host: format!("host-of-{}", agent.id), ip: String::new() };
        let machines: Vec<Machine> = self.agents.iter().filter(|agent| agent.away).map(host).collect();
        vec![Window { machines, unavailability: AWAY }]
    }

    /// Executors that may be running on an agent.
    pub(super) fn alive(&self, agent: &AgentId) -> Vec<ExecutorId> {
        let tasks = self.tasks.values().filter(|task| task.agent == *agent && !task.state.is_terminal());
        let lingering =
            self.lingering.iter().filter(|(_, of)| *of == agent).map(|(executor, _)| executor.clone());
        tasks.map(|task| task.executor.clone()).chain(lingering).collect()
    }

    /// Offers what an agent has, if the master can and, with `at`, if the scheduler did not refuse it until later.
    pub(super) fn offer(&mut self, machine: usize, size: Size, at: Option<Moment>) {
        self.counter += 1;
        let role = ROLES[usize::from(self.counter.is_multiple_of(5)).min(self.roles - 1)];
        let agent = self.agents[machine].id.clone();
        let taken = self.offers.values().any(|held| *held == (agent.clone(), role));
        let refused =
            self.filters.get(&(agent.clone(), role)).is_some_and(|until| at.is_some_and(|at| at < *until));
        let away = self.agents[machine].away.then_some(AWAY);
        let offers = self.is_up(&agent) && !self.agents[machine].draining;
        if self.subscribed.is_none() || taken || refused || !offers {
            return;
        }
        let pieces: &[f64] = match size {
            Size::Enough => &[4.0],
            Size::InTwoPieces => &[0.15, 0.15],
            Size::TooSmall => &[0.1],
        };
        let executors = self.alive(&agent);
        let new: Vec<Offer> = pieces
            .iter()
            .enumerate()
            .map(|(n, cpus)| Offer {
                executors: executors.clone(),
                role: role.into(),
                unavailability: away,
                ..tests::offer(&format!("o{}-{n}", self.counter), &agent.0, *cpus)
            })
            .collect();
        let portions = self.reserved.get(&(agent.clone(), role)).copied().unwrap_or_default();
        let ours = (0..portions).flat_map(|_| portion());
        let new: Vec<Offer> = match new.split_first() {
            Some((first, rest)) => {
                let pieces = first.pieces.iter().cloned().chain(ours).collect();
                [&[Offer { pieces, ..first.clone() }], rest].concat()
            }
            None => new,
        };
        self.offers.extend(new.iter().map(|offer| (offer.id.clone(), (agent.clone(), role))));
        self.say(Event::Offers(new));
    }

    pub(super) fn rescind(&mut self, which: impl Fn(&OfferId, &AgentId) -> bool) {
        let gone: Vec<OfferId> = self
            .offers
            .iter()
            .filter(|(id, (agent, _))| which(id, agent))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.offers.remove(&id);
            self.say(Event::Rescind(id));
        }
    }

    /// One call is processed. The error says which law it breaks.
    pub(super) fn receive(&mut self, call: Call, now: Moment) -> Result<(), String> {
        match call {
            call @ Call::Accept { .. } => return self.accept(call, now),
            Call::Decline { offers, refuse } => {
                let held: Vec<_> = offers.iter().filter_map(|id| self.offers.remove(id)).collect();
                self.refuse(held.into_iter(), refuse, now);
            }
            Call::Unreserve { offers, refuse, pieces } => {
                let held: Vec<_> = offers.iter().filter_map(|id| self.offers.remove(id)).collect();
                if let Some((agent, role)) = held.first() {
                    self.unreserve(agent, role, &pieces)?;
                }
                self.refuse(held.into_iter(), refuse, now);
            }
            Call::Revive => {
                self.filters.clear();
                self.put_off.clear();
            }
            Call::AcceptInverse { .. } | Call::DeclineInverse { .. } => {}
            Call::Teardown => {
                self.teardown();
                self.torn_down = true;
            }
            Call::Kill(task, agent) => self.kill(&task, &agent),
            Call::Shutdown(executor, agent) => self.shutdown(&executor, &agent),
            Call::Acknowledge { task, uuid, .. } => self.acknowledged(&task, &uuid),
            Call::Reconcile(tasks) => self.reconcile(tasks),
            Call::Message { executor, data, .. } => {
                if let Some(task) = self.tasks.values_mut().find(|task| task.executor == executor)
                    && let Ok(said) = proto::announcement::read(&data, &task.token, &executor.0)
                {
                    task.control = said.control;
                }
            }
        }
        Ok(())
    }

    fn refuse(
        &mut self,
        offers: impl Iterator<Item = (AgentId, &'static str)>,
        pause: Duration,
        now: Moment,
    ) {
        for offer in offers.filter(|_| !pause.is_zero()) {
            self.filters.insert(offer, now.after(pause));
        }
    }

    fn kill(&mut self, task: &TaskId, agent: &AgentId) {
        match self.tasks.get(task).map(|known| (known.state, known.agent.clone())) {
            Some((_, on)) if on != *agent => {}
            // Without the task in its memory the master takes it as a question.
            None => self.reconcile(vec![(task.clone(), agent.clone())]),
            Some(_) if !self.is_up(agent) => self.reconcile(vec![(task.clone(), agent.clone())]),
            Some((state, _)) if state.is_terminal() => {}
            Some((TaskState::Starting | TaskState::Running, _)) if self.counter.is_multiple_of(2) => {
                let flushes = self.counter % 5;
                self.tasks.entry(task.clone()).and_modify(|task| task.flushes = flushes);
                self.update(task, TaskState::Killing);
            }
            // It was told already.
            Some((TaskState::Killing, _)) => {}
            Some(_) => self.end(task, TaskState::Killed, false),
        }
    }

    fn shutdown(&mut self, executor: &ExecutorId, agent: &AgentId) {
        if !self.is_up(agent) {
            return;
        }
        if self.lingering.remove(executor).is_some() {
            self.say(Event::ExecutorEnded(agent.clone(), executor.clone()));
        }
        let doomed =
            self.tasks.iter().find(|(_, task)| task.executor == *executor && !task.state.is_terminal());
        if let Some(task) = doomed.map(|(task, _)| task.clone()) {
            self.end(&task, TaskState::Failed, false);
        }
    }

    fn acknowledged(&mut self, task: &TaskId, uuid: &[u8]) {
        let Some(known) = self.tasks.get(task) else { return };
        if !self.is_up(&known.agent) || known.updates.front().is_none_or(|(.., of)| bytes(*of) != uuid) {
            return;
        }
        let (agent, known) = (known.agent.clone(), self.tasks.get_mut(task).unwrap());
        known.updates.pop_front();
        if known.updates.is_empty() && known.state.is_terminal() {
            self.tasks.remove(task);
            self.filters.retain(|(of, _), _| *of != agent);
        } else {
            self.send(task);
        }
    }

    fn reconcile(&mut self, tasks: Vec<(TaskId, AgentId)>) {
        let implicit = tasks.is_empty();
        let asked = if implicit {
            self.tasks.iter().map(|(id, task)| (id.clone(), task.agent.clone())).collect()
        } else {
            tasks
        };
        for (task, agent) in asked {
            let known =
                self.tasks.get(&task).map(|known| known.updates.front().map_or(known.state, |of| of.0));
            let state = match self.standing(&agent) {
                Some(Standing::Recovered) => continue,
                Some(Standing::Registered) => known.unwrap_or(TaskState::Gone),
                _ if implicit => continue,
                Some(Standing::Unreachable) => TaskState::Unreachable,
                Some(Standing::Gone) => TaskState::GoneByOperator,
                Some(Standing::Collected | Standing::Left) | None => TaskState::Unknown,
            };
            self.tell(&task, &agent, state, None);
        }
    }

    /// A task goes on. Its executor works when no other one has the data of the node.
    pub(super) fn progress(&mut self, task: &TaskId) {
        let Some(known) = self.tasks.get(task) else { return };
        let on_it = |of: &AgentId| *of == known.agent;
        let occupied = self.tasks.values().any(|other| other.works && on_it(&other.agent))
            || self.lingering.values().any(on_it);
        let spoilt = self.spoilt.contains(&known.version);
        match Some(known.state) {
            Some(TaskState::Staging | TaskState::Starting | TaskState::Running) if spoilt => {
                self.end(task, TaskState::Failed, false)
            }
            Some(TaskState::Staging) => self.update(task, TaskState::Starting),
            Some(TaskState::Starting) if occupied => self.wait(task),
            Some(TaskState::Starting) => {
                self.update(task, TaskState::Running);
                self.tasks.entry(task.clone()).and_modify(|task| task.works = true);
            }
            Some(TaskState::Killing) if known.flushes > 0 => {
                self.tasks.entry(task.clone()).and_modify(|task| task.flushes -= 1);
            }
            Some(TaskState::Killing) => self.end(task, TaskState::Killed, false),
            _ => {}
        }
    }

    pub(super) fn end_somehow(&mut self, task: &TaskId, how: How) {
        match (how, self.tasks.get(task).map(|task| task.state)) {
            (How::Failed, Some(_)) => self.end(task, TaskState::Failed, false),
            (How::Lingering, Some(TaskState::Running)) => self.end(task, TaskState::Finished, true),
            (How::Dropped, Some(TaskState::Staging)) => self.end(task, TaskState::Dropped, false),
            _ => {}
        }
    }

    fn end(&mut self, task: &TaskId, state: TaskState, lingers: bool) {
        let Some(known) = self.tasks.get(task).filter(|known| !known.state.is_terminal()) else { return };
        let (agent, executor) = (known.agent.clone(), known.executor.clone());
        if lingers {
            self.lingering.insert(executor, agent.clone());
        } else if self.is_up(&agent) {
            self.say(Event::ExecutorEnded(agent.clone(), executor));
        }
        self.filters.retain(|(of, _), _| *of != agent);
        self.update(task, state);
    }

    fn update(&mut self, task: &TaskId, state: TaskState) {
        self.counter += 1;
        let Some(mut known) = self.tasks.remove(task) else { return };
        if state.is_terminal() {
            self.give_back(&mut known);
            known.works = false;
        }
        known.state = state;
        known.updates.push_back((state, false, self.counter));
        let known = self.tasks.entry(task.clone()).or_insert(known);
        if known.updates.len() == 1 {
            self.send(task);
        }
    }

    /// The agent sends its oldest unacknowledged update of a task.
    pub(super) fn send(&mut self, task: &TaskId) {
        let Some(known) = self.tasks.get(task) else { return };
        if let Some((state, waits, uuid)) = known.updates.front().copied()
            && self.is_up(&known.agent)
        {
            let update = tests::update(task, &known.agent.0, state, None);
            self.say(Event::Update(Update { uuid: Some(bytes(uuid)), waits, ..update }));
        }
    }

    /// Nobody hears what is said without a subscription.
    fn say(&mut self, event: Event) {
        if self.subscribed.is_some() {
            self.to_scheduler.push_back(event);
        }
    }

    fn tell(&mut self, task: &TaskId, agent: &AgentId, state: TaskState, uuid: Option<u64>) {
        let update = tests::update(task, &agent.0, state, None);
        self.say(Event::Update(Update { uuid: uuid.map(bytes), ..update }));
    }

    /// Whether every task runs and has nothing to say.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet = |task: &Task| task.updates.is_empty() && task.state == TaskState::Running;
        self.to_scheduler.is_empty() && self.lingering.is_empty() && self.tasks.values().all(quiet)
    }
}

/// A uuid of sixteen bytes.
fn bytes(uuid: u64) -> Vec<u8> {
    [uuid.to_be_bytes(), uuid.to_be_bytes()].concat()
}
