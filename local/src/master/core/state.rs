//! Holds what a master knows: frameworks, agents, offers, tasks.

use super::faults::LateAccept;
use super::maintenance::Maintenance;
use super::operations::Operations;
use super::outstanding::{Filters, Offers};
use super::{Birth, ConnectionId, Effect};
use crate::chance::Chance;
use crate::clock::Moment;
use crate::faults::Fault;
use crate::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use crate::link::{Described, LinkId};
use crate::master::registry::Registry;
use crate::resources::Resources;
use crate::settings::Timings;
use mesos::framework_info::capability::Type as Capability;
use proto::mesos::v1::{self as mesos, scheduler};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// So many removed frameworks are remembered.
pub(super) const COMPLETED_FRAMEWORKS: usize = 50;
/// So many finished tasks are remembered of each framework.
pub(super) const COMPLETED_TASKS: usize = 200;
/// A registry of fewer agents is written down at once.
const FEW_AGENTS: u32 = 100;
/// How long a larger one waits before it is written again, for each agent in it.
const WRITE_PER_AGENT: Duration = Duration::from_micros(50);

/// A master.
pub(crate) struct Core {
    pub(super) info: mesos::MasterInfo,
    pub(super) timings: Timings,
    pub(super) roles: Vec<String>,
    pub(super) started: Moment,
    pub(super) chance: Chance,
    pub(super) counters: Counters,

    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(super) completed: VecDeque<Framework>,
    pub(super) agents: BTreeMap<AgentId, Agent>,
    /// Agents that an earlier master knew and that have until then to come back.
    pub(super) recovered: BTreeMap<AgentId, (mesos::AgentInfo, Moment)>,
    pub(super) unreachable: BTreeMap<AgentId, Moment>,
    pub(super) gone: BTreeSet<AgentId>,
    pub(super) offers: Offers,
    pub(super) maintenance: Maintenance,
    pub(super) links: BTreeMap<LinkId, Option<AgentId>>,
    /// Operators' streams, with their next heartbeat.
    pub(super) watchers: BTreeMap<ConnectionId, Moment>,
    pub(super) next_allocation: Moment,
    /// When the registry is written down, if it has changed.
    pub(super) remember_at: Option<Moment>,
    pub(super) remembered_at: Moment,
    /// When timers are looked at next, at the latest, and when they were last.
    pub(super) look_at: Moment,
    pub(super) looked_at: Moment,
    pub(super) operations: Operations,
    pub(super) faults: Vec<Fault>,
    pub(super) late_accepts: Vec<LateAccept>,

    /// The time of this step.
    pub(super) now: Moment,
    /// What this step has decided so far.
    pub(super) out: Vec<Effect>,
}

/// The next number of each kind of id.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) framework: u64,
    pub(super) agent: u64,
    pub(super) offer: u64,
    pub(super) connection: u64,
}

/// A framework.
pub(super) struct Framework {
    pub(super) info: mesos::FrameworkInfo,
    pub(super) subscription: Option<Subscription>,
    /// Known only through its tasks so far.
    pub(super) recovered: bool,
    /// When it is removed unless it comes back.
    pub(super) expires: Option<Moment>,
    pub(super) registered: Moment,
    pub(super) reregistered: Option<Moment>,
    pub(super) unregistered: Option<Moment>,
    pub(super) suppressed: BTreeSet<String>,
    pub(super) constraints: Option<scheduler::OfferConstraints>,
    pub(super) filters: Filters,
    pub(super) tasks: BTreeMap<TaskId, mesos::Task>,
    pub(super) unreachable: BTreeMap<TaskId, mesos::Task>,
    pub(super) finished: VecDeque<mesos::Task>,
    pub(super) executors: BTreeMap<(AgentId, ExecutorId), mesos::ExecutorInfo>,
}

/// The stream of a connected scheduler.
pub(super) struct Subscription {
    pub(super) connection: ConnectionId,
    pub(super) stream_id: String,
    pub(super) next_heartbeat: Moment,
}

/// A registered agent.
pub(super) struct Agent {
    pub(super) described: Described,
    pub(super) total: Resources,
    /// Everything that tasks and executors hold; what is not in here and not offered is free.
    pub(super) held: BTreeMap<(FrameworkId, Holder), Resources>,
    pub(super) link: Option<LinkId>,
    /// When it is marked unreachable unless it registers again (while not linked).
    pub(super) reregister_by: Option<Moment>,
    pub(super) next_ping: Moment,
    pub(super) unanswered_pings: u32,
    pub(super) deactivated: bool,
    pub(super) drain: Option<mesos::DrainInfo>,
    /// Kills that wait for the agent to come back.
    pub(super) kills: Vec<(FrameworkId, TaskId, Option<mesos::KillPolicy>)>,
    pub(super) registered: Moment,
    pub(super) reregistered: Option<Moment>,
}

/// Who holds resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Task(TaskId),
    Executor(ExecutorId),
    /// An ACCEPT that is not applied yet.
    Accept(OfferId),
}

/// Resources of one agent, promised to one role of one framework.
pub(super) struct Offer {
    pub(super) id: OfferId,
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentId,
    pub(super) role: String,
    pub(super) resources: Resources,
    pub(super) expires: Option<Moment>,
}

impl Core {
    /// A master that has just been elected.
    pub(crate) fn new(birth: Birth, now: Moment) -> Self {
        let reregister_by = now + birth.timings.agent_reregister;
        let maintenance = Maintenance::recovered(&birth.registry);
        let Registry { admitted, unreachable, gone, .. } = birth.registry;
        let recovered = admitted
            .into_iter()
            .filter_map(|info| Some((AgentId::from(info.id.as_ref()?), (info, reregister_by))))
            .collect();
        Self {
            info: birth.info,
            next_allocation: now + birth.timings.allocation,
            remember_at: None,
            remembered_at: Moment::ZERO,
            look_at: now,
            looked_at: Moment::ZERO,
            timings: birth.timings,
            roles: birth.roles,
            started: now,
            chance: Chance::new(birth.seed),
            counters: Counters::default(),
            frameworks: BTreeMap::new(),
            completed: VecDeque::new(),
            agents: BTreeMap::new(),
            recovered,
            unreachable: unreachable.into_iter().collect(),
            gone: gone.into_iter().collect(),
            offers: Offers::default(),
            maintenance,
            links: BTreeMap::new(),
            watchers: BTreeMap::new(),
            operations: Operations::new(),
            faults: Vec::new(),
            late_accepts: Vec::new(),
            now,
            out: Vec::new(),
        }
    }

    /// Has it written down which agents exist. One of many agents is not written for each of them that comes: how long it
    /// may wait grows with how long it takes to write.
    pub(super) fn remember(&mut self) {
        let pause = match u32::try_from(self.agents.len()) {
            Ok(agents) if agents < FEW_AGENTS => Duration::ZERO,
            agents => WRITE_PER_AGENT * agents.unwrap_or(u32::MAX),
        };
        self.remember_at.get_or_insert(self.now.max(self.remembered_at + pause));
    }

    /// Writes the registry down if that is due.
    pub(super) fn remember_if_due(&mut self) {
        if self.remember_at.is_none_or(|at| at > self.now) {
            return;
        }
        (self.remember_at, self.remembered_at) = (None, self.now);
        let admitted = self.agents.values().map(|agent| agent.described.info.clone());
        let admitted = admitted.chain(self.recovered.values().map(|(info, _)| info.clone())).collect();
        let registry = Registry {
            admitted,
            unreachable: self.unreachable.iter().map(|(id, since)| (id.clone(), *since)).collect(),
            gone: self.gone.iter().cloned().collect(),
            schedule: self.maintenance.schedule.clone(),
            down: self.maintenance.down.clone(),
        };
        self.out.push(Effect::Remember(Box::new(registry)));
    }

    pub(super) fn new_connection(&mut self) -> ConnectionId {
        self.counters.connection += 1;
        ConnectionId(self.counters.connection)
    }

    /// The id of the next offer or inverse offer.
    pub(super) fn new_offer_id(&mut self) -> OfferId {
        let number = self.counters.offer;
        self.counters.offer += 1;
        OfferId(format!("{}-O{number}", self.info.id))
    }

    /// Gives an offer's resources back, without a word to the framework.
    pub(super) fn take_offer(&mut self, id: &OfferId) -> Option<Offer> {
        self.offers.remove(id)
    }

    /// Withdraws offers and says so.
    pub(super) fn rescind(&mut self, which: impl Fn(&Offer) -> bool) {
        let ids: Vec<OfferId> =
            self.offers.values().filter(|offer| which(offer)).map(|offer| offer.id.clone()).collect();
        for id in ids {
            if let Some(offer) = self.offers.remove(&id) {
                self.send(&offer.framework, super::statuses::rescind(&id));
            }
        }
    }

    /// Withdraws the offers of one agent and says so.
    pub(super) fn rescind_on(&mut self, agent: &AgentId) {
        let ids: Vec<OfferId> = self.offers.on(agent).map(|offer| offer.id.clone()).collect();
        for id in ids {
            if let Some(offer) = self.offers.remove(&id) {
                self.send(&offer.framework, super::statuses::rescind(&id));
            }
        }
    }

    /// What is neither held nor offered on an agent.
    pub(super) fn free(&self, agent_id: &AgentId) -> Resources {
        let Some(agent) = self.agents.get(agent_id) else { return Resources::default() };
        let mut free = agent.total.clone();
        for held in agent.held.values() {
            free.subtract(held);
        }
        for offer in self.offers.on(agent_id) {
            free.subtract(&offer.resources);
        }
        free
    }

    /// Frees what a task or an executor held.
    pub(super) fn release(&mut self, agent: &AgentId, framework: &FrameworkId, holder: Holder) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.held.remove(&(framework.clone(), holder));
        }
    }

    /// Sends an event to a framework; without a subscription it is lost, as in a real Mesos.
    pub(super) fn send(&mut self, framework: &FrameworkId, event: scheduler::Event) {
        let connection =
            self.frameworks.get(framework).and_then(|f| f.subscription.as_ref()).map(|s| s.connection);
        let Some(connection) = connection.filter(|_| !self.loses(&event)) else { return };
        for strange in self.strange_events(&event) {
            self.out.push(Effect::Send(connection, Box::new(strange)));
        }
        self.out.push(Effect::Send(connection, Box::new(event)));
    }
}

impl Framework {
    pub(super) fn new(info: mesos::FrameworkInfo, now: Moment) -> Self {
        Self {
            info,
            subscription: None,
            recovered: false,
            expires: None,
            registered: now,
            reregistered: None,
            unregistered: None,
            suppressed: BTreeSet::new(),
            constraints: None,
            filters: Filters::default(),
            tasks: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            finished: VecDeque::new(),
            executors: BTreeMap::new(),
        }
    }

    pub(super) fn can(&self, capability: Capability) -> bool {
        can(&self.info, capability)
    }

    pub(super) fn roles(&self) -> Vec<String> {
        roles(&self.info)
    }

    /// Keeps a finished task for people to look at.
    pub(super) fn retire(&mut self, task: mesos::Task) {
        if self.finished.len() >= COMPLETED_TASKS {
            self.finished.pop_front();
        }
        self.finished.push_back(task);
    }
}

impl Agent {
    pub(super) fn id(&self) -> AgentId {
        self.described.info.id.as_ref().map_or_else(|| AgentId(String::new()), AgentId::from)
    }

    /// Whether it may be offered.
    pub(super) fn takes_tasks(&self) -> bool {
        self.link.is_some() && !self.deactivated && self.drain.is_none()
    }
}

/// Whether a framework has a capability.
pub(super) fn can(info: &mesos::FrameworkInfo, capability: Capability) -> bool {
    info.capabilities.iter().any(|has| has.r#type() == capability)
}

/// The roles of a framework, whichever way it names them.
pub(super) fn roles(info: &mesos::FrameworkInfo) -> Vec<String> {
    if can(info, Capability::MultiRole) { info.roles.clone() } else { vec![info.role().to_owned()] }
}

/// Whether nothing more comes after this state.
pub(crate) fn is_terminal(state: mesos::TaskState) -> bool {
    use mesos::TaskState as S;
    matches!(
        state,
        S::TaskFinished
            | S::TaskFailed
            | S::TaskKilled
            | S::TaskError
            | S::TaskLost
            | S::TaskDropped
            | S::TaskGone
            | S::TaskGoneByOperator
    )
}
