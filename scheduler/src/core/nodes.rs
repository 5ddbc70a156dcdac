//! Keeps what is known of each agent: its slot, why it is covered or not and since when, and how long it backs off.
mod needs;
mod places;
mod replaced;
mod slots;

use super::Core;
use super::cause::{Framework, Ours, cause, is_away, needs, reason};
use super::cluster::{Agent, Machine, Place, TaskState, Unavailability, Update, Window};
use super::generation::Generation;
use super::resources::Needs;
use crate::ids::{AgentId, ExecutorId, Moment, TaskId};
use needs::Need;
pub(super) use slots::Seat;
use slots::Successor;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use web::view::{Cause, Coverage, Trail};

/// The first pause after a launch ended.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The first pause after Mesos found the launch itself wrong: the same again will be as wrong.
const FIRST_BACKOFF_INVALID: Duration = Duration::from_secs(60);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// An executor that ran this long was no failure to launch.
pub(super) const PROVEN: Duration = Duration::from_secs(60);
/// How long an offer of a machine that is away is refused at most.
const AWAY_MAX: Duration = Duration::from_secs(3600);
/// Mesos' reason for what a drain does.
const AGENT_DRAINING: &str = "AGENT_DRAINING";
const AWAITING: &str = "waiting for Mesos to offer resources of this agent";

/// What is known of one agent, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Which agent.
    pub agent: AgentId,
    /// Its host name.
    pub host: String,
    /// Whether the master lists it.
    pub listed: bool,
    /// Whether an executor runs there.
    pub coverage: Coverage,
    /// Why, in one word.
    pub cause: Cause,
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: Moment,
    /// How it came to that.
    pub trail: Trail,
    /// The executor in its slot.
    pub executor: Option<ExecutorId>,
    /// Its task.
    pub task: Option<TaskId>,
    /// The executor that comes up or waits beside it, to take over from it.
    pub successor: Option<ExecutorId>,
    /// What that was launched with, if it is known.
    pub generation: Option<Generation>,
    /// Whether launches are of that generation now.
    pub up_to_date: bool,
}

/// Whether an offer of a node can be used.
pub(super) enum Verdict {
    /// Its slot is taken.
    Covered,
    /// The next launch has to wait this long.
    BackingOff(Duration),
    /// Its machine is away or soon will be, so nothing is launched there for so long.
    Away(Duration),
    /// It waits for an executor.
    Free,
}

/// How a launch ended.
pub(super) struct End<'a> {
    /// What Mesos said.
    pub(super) update: &'a Update,
    /// How long it had been running.
    pub(super) ran_for: Duration,
    /// What the pause is multiplied with, so that many nodes do not come back at once.
    pub(super) jitter: f64,
}

#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) by_agent: BTreeMap<AgentId, Node>,
    pub(super) framework: Framework,
    /// When the master listed its agents last; `None`: never, or it does not want to.
    pub(super) listed_at: Option<Moment>,
    /// The newest moment that was told.
    latest: Moment,
}

/// A launch on an agent.
pub(super) type Slot = (TaskId, ExecutorId);

#[derive(Debug, Default)]
pub(super) struct Node {
    place: Place,
    /// Whether Mesos said where it is; else only its host is known, from a launch.
    placed: bool,
    /// Whose node it is: the one that works there, or will.
    slot: Option<Slot>,
    /// Who takes over from it, and is there already.
    successor: Option<Successor>,
    /// Launches that may be alive too: they were taken over from, or are of earlier schedulers, that could not store the
    /// end of one before the next.
    behind: Vec<Slot>,
    launches: u64,
    failures: u32,
    not_before: Moment,
    /// What the master says of it; `None`: it is not listed.
    pub(super) agent: Option<Agent>,
    /// When its machine is planned to be away.
    away: Option<Unavailability>,
    /// What happened there last.
    own: Cause,
    /// The same for people.
    text: String,
    /// The cause that is shown, since when its coverage is.
    cause: Cause,
    since: Moment,
    trail: Trail,
    need: Need,
}

impl Core {
    /// Every agent that is known, each with one state and its reason.
    pub fn nodes(&self, now: Moment) -> Vec<NodeState> {
        let (nodes, current) = (&self.nodes, self.launches_now().1);
        let states = nodes.by_agent.iter().map(|(agent, node)| node.state(&nodes.framework, agent, now));
        let with_generation = |mut state: NodeState| {
            state.generation = state.task.as_ref().and_then(|task| self.generation_of(task)).cloned();
            state.up_to_date = state.generation.as_ref() == Some(&current);
            state
        };
        states.map(with_generation).collect()
    }
}

impl Nodes {
    /// None yet, for executors that need this.
    pub(super) fn new(needs: Needs, lead: Duration) -> Self {
        let framework = Framework { subscribed: false, lists: false, registered: None, needs, lead };
        Self { by_agent: BTreeMap::new(), framework, listed_at: None, latest: Moment(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.by_agent.len()
    }

    /// `beside`: whether a successor of the executor in its slot is wanted there.
    pub(super) fn verdict(&mut self, agent: &AgentId, place: &Place, beside: bool, now: Moment) -> Verdict {
        let (node, framework) = self.node(agent, now);
        node.place.clone_from(place);
        node.placed = true;
        node.trail.offered_ms = Some(now.0);
        if node.slot.is_some() && !beside {
            Verdict::Covered
        } else if let Some(rest) = node.away.filter(|_| is_away(&node.ours(framework, now))) {
            let rest = rest.duration.map_or(AWAY_MAX, |duration| rest.start.after(duration).since(now));
            Verdict::Away(rest.min(AWAY_MAX))
        } else if node.not_before > now {
            Verdict::BackingOff(node.not_before.since(now))
        } else {
            Verdict::Free
        }
    }

    /// Why nothing is launched there; says whether that is news.
    pub(super) fn not_offered(&mut self, agent: &AgentId, cause: Cause, reason: &str, now: Moment) -> bool {
        let news = self.by_agent.get(agent).is_none_or(|node| node.text != reason);
        self.show(agent, cause, reason.to_owned(), now);
        news
    }

    /// A launch ended; gives how long the next one waits, and what happened there. An executor that was told to end has not failed: its node does
    /// not wait longer for it.
    pub(super) fn failed(&mut self, agent: &AgentId, end: &End<'_>, now: Moment) -> Duration {
        let (node, _) = self.node(agent, now);
        let (pause, cause, text) = node.next_waits(end, now);
        if node.slot.as_ref().is_some_and(|(task, _)| *task == end.update.task) {
            self.show(agent, cause, text, now);
        }
        pause
    }

    /// The master does not let the launch there reserve; the next one comes at that moment, and is no repetition.
    pub(super) fn denied(&mut self, agent: &AgentId, text: &str, again: Moment, now: Moment) {
        let (node, _) = self.node(agent, now);
        node.not_before = again;
        self.show(agent, Cause::ReservationDenied, text.to_owned(), now);
    }

    /// The next launch there comes at that moment at the earliest.
    pub(super) fn wait_until(&mut self, agent: &AgentId, moment: Moment) {
        if let Some(node) = self.by_agent.get_mut(agent) {
            node.not_before = moment;
        }
    }

    pub(super) fn gone(&mut self, agent: &AgentId) {
        self.by_agent.remove(agent);
    }

    pub(super) fn count_launch(&mut self, agent: &AgentId) -> u64 {
        let Some(node) = self.by_agent.get_mut(agent) else { return 1 };
        node.launches += 1;
        node.launches
    }

    /// A subscription stands now, or no longer.
    pub(super) fn subscribed(&mut self, subscribed: bool, now: Moment) {
        self.framework.subscribed = subscribed;
        self.framework.registered = None;
        self.settle_all(now);
    }

    /// Time passed: maintenance begins and ends by itself.
    pub(super) fn pass(&mut self, now: Moment) {
        for node in self.by_agent.values_mut().filter(|node| node.away.is_some()) {
            node.settle(&self.framework, now);
        }
    }

    pub(super) fn settle_all(&mut self, now: Moment) {
        for node in self.by_agent.values_mut() {
            node.settle(&self.framework, now);
        }
    }

    pub(super) fn window_of(&self, agent: &AgentId) -> Option<Unavailability> {
        self.by_agent.get(agent)?.away
    }

    /// Takes in when a machine is planned to be away; says whether that is news.
    pub(super) fn plan(&mut self, agent: &AgentId, window: Option<Unavailability>, now: Moment) -> bool {
        let (node, framework) = self.node(agent, now);
        let news = node.away != window;
        node.away = window;
        node.settle(framework, now);
        let keep = node.agent.is_some() || node.slot.is_some() || window.is_some() || !framework.lists;
        if news && !keep {
            self.by_agent.remove(agent);
        }
        news
    }

    /// Which windows change by the master's schedule: those of its machines, and no others.
    pub(super) fn planned(&self, schedule: &[Window]) -> Vec<(AgentId, Option<Unavailability>)> {
        let mut by_host: BTreeMap<String, Vec<(&str, Unavailability)>> = BTreeMap::new();
        for window in schedule {
            for Machine { host, ip } in &window.machines {
                let entry = by_host.entry(host.to_ascii_lowercase()).or_default();
                entry.push((ip, window.unavailability));
            }
        }
        let window_of = |node: &Node| {
            let ip = node.agent.as_ref().map_or("", |agent| agent.ip.as_str());
            let fits = |of: &&(&str, Unavailability)| of.0.is_empty() || ip.is_empty() || of.0 == ip;
            let host = by_host.get(&node.place.host.to_ascii_lowercase());
            let by_ip = by_host.get("").into_iter().flatten().find(|of| !ip.is_empty() && of.0 == ip);
            host.into_iter().flatten().find(fits).or(by_ip).map(|of| of.1)
        };
        let nodes = self.by_agent.iter().map(|(agent, node)| (agent, node.away, window_of(node)));
        nodes.filter(|(_, is, will)| is != will).map(|(agent, _, will)| (agent.clone(), will)).collect()
    }

    /// Takes in which agents are registered; gives those that are new.
    pub(super) fn list(&mut self, agents: Vec<Agent>, now: Moment) -> Vec<AgentId> {
        self.listed_at = Some(now);
        self.framework.lists = true;
        let listed: BTreeSet<AgentId> = agents.iter().map(|agent| agent.id.clone()).collect();
        let mut new = Vec::new();
        for agent in agents {
            let id = agent.id.clone();
            if self.add(agent, now) {
                new.push(id);
            }
        }
        let away: Vec<AgentId> = self.by_agent.keys().filter(|id| !listed.contains(id)).cloned().collect();
        away.iter().for_each(|id| self.unlist(id, now));
        new
    }

    /// Takes in an agent; says whether it was not known.
    pub(super) fn add(&mut self, agent: Agent, now: Moment) -> bool {
        let new = !self.by_agent.contains_key(&agent.id);
        let (node, framework) = self.node(&agent.id, now);
        node.place.clone_from(&agent.place);
        node.placed = true;
        node.agent = Some(agent);
        node.settle(framework, now);
        new
    }

    /// An agent is not listed any more. It is kept while an executor may run there, and through its maintenance.
    pub(super) fn unlist(&mut self, agent: &AgentId, now: Moment) {
        let Some(node) = self.by_agent.get_mut(agent) else { return };
        node.agent = None;
        let away = node.away.is_some_and(|window| window.start <= now && !window.is_over(now));
        if node.slot.is_some() || away {
            node.settle(&self.framework, now);
        } else {
            self.by_agent.remove(agent);
        }
    }

    fn node(&mut self, agent: &AgentId, now: Moment) -> (&mut Node, &Framework) {
        self.latest = now;
        let node = self.by_agent.entry(agent.clone()).or_insert_with(|| Node {
            since: now,
            text: AWAITING.to_owned(),
            trail: Trail { known_ms: now.0, ..Trail::default() },
            ..Node::default()
        });
        (node, &self.framework)
    }

    /// Something was decided about a node.
    pub(super) fn tell(&mut self, agent: &AgentId, text: &str, now: Moment) {
        if let Some(node) = self.by_agent.get_mut(agent) {
            node.trail.add(now.0, text);
        }
    }

    /// Something happened on a node.
    fn show(&mut self, agent: &AgentId, own: Cause, text: String, now: Moment) {
        let (node, framework) = self.node(agent, now);
        (node.own, node.text) = (own, text);
        node.settle(framework, now);
    }
}

impl Node {
    /// How long the next launch waits after that end, and what happened for people.
    fn next_waits(&mut self, end: &End<'_>, now: Moment) -> (Duration, Cause, String) {
        let words = end.update.words();
        let no_failure = match (end.update.state, end.update.reason.as_str()) {
            (TaskState::Killed, _) | (_, AGENT_DRAINING) => Some("was told to end"),
            (TaskState::Lost, "AGENT_REMOVED") => Some("was lost with its agent"),
            _ => None,
        };
        if let Some(what) = no_failure {
            self.not_before = now.after(FIRST_BACKOFF);
            return (FIRST_BACKOFF, Cause::ToldToEnd, format!("the last executor {what}: {words}"));
        }
        if end.ran_for >= PROVEN {
            self.failures = 0;
        }
        let (first, cause) = match end.update.state {
            TaskState::Error => (FIRST_BACKOFF_INVALID, Cause::LaunchRefused),
            _ => (FIRST_BACKOFF, Cause::LaunchFailed),
        };
        let pause = (first * (1 << self.failures.min(16))).min(BACKOFF_MAX).mul_f64(end.jitter);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.after(pause);
        (pause, cause, format!("the last executor ended ({} in a row): {words}", self.failures))
    }

    fn ours<'a>(&'a self, framework: &'a Framework, now: Moment) -> Ours<'a> {
        Ours {
            framework,
            own: self.own,
            text: &self.text,
            held: self.slot.is_some(),
            beside: self.successor.as_ref().map(|successor| successor.beside.as_str()),
            not_before: self.not_before,
            away: self.away,
            unlisted: framework.lists && self.agent.is_none(),
            now,
        }
    }

    /// Finds the cause anew.
    fn settle(&mut self, framework: &Framework, now: Moment) {
        let cause = cause(self.agent.as_ref(), &self.ours(framework, now));
        let after = cause.coverage();
        if self.cause.coverage() != after {
            self.since = now;
        }
        if self.cause != cause {
            self.trail.add(now.0, &format!("{}: {}", after.word(), cause.word()));
        }
        self.cause = cause;
    }

    fn state(&self, framework: &Framework, agent: &AgentId, now: Moment) -> NodeState {
        let needs = match (&self.agent, &self.slot) {
            (Some(agent), None) => needs(agent, framework),
            _ => String::new(),
        };
        NodeState {
            agent: agent.clone(),
            host: self.place.host.clone(),
            listed: self.agent.is_some(),
            coverage: self.cause.coverage(),
            cause: self.cause,
            reason: reason(self.cause, self.agent.as_ref(), &self.ours(framework, now)),
            since: self.since,
            trail: Trail { needs, ..self.trail.clone() },
            executor: self.slot.as_ref().map(|(_, executor)| executor.clone()),
            task: self.slot.as_ref().map(|(task, _)| task.clone()),
            successor: self.successor.as_ref().map(|successor| successor.slot.1.clone()),
            generation: None,
            up_to_date: false,
        }
    }
}
