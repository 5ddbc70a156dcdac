//! Keeps what is known of each agent: its slot, why it is covered or not and since when, and how long it backs off.
use super::Core;
use super::cluster::{Agent, Place, TaskState, Update};
use super::effects::{LaunchRecord, Phase};
use crate::ids::{AgentId, ExecutorId, Moment, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;
use web::view::Coverage;

/// The first pause after a launch ended.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The first pause after Mesos found the launch itself wrong: the same again will be as wrong.
const FIRST_BACKOFF_INVALID: Duration = Duration::from_secs(60);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// An executor that ran this long was no failure to launch.
const PROVEN: Duration = Duration::from_secs(60);

/// What is known of one agent, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Which agent.
    pub agent: AgentId,
    /// Its host name.
    pub host: String,
    /// Whether an executor runs there.
    pub coverage: Coverage,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Moment,
    /// The executor in its slot.
    pub executor: Option<ExecutorId>,
    /// Its task.
    pub task: Option<TaskId>,
}

/// Whether an offer of a node can be used.
pub(super) enum Verdict {
    /// Its slot is taken.
    Covered,
    /// The next launch has to wait this long.
    BackingOff(Duration),
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

#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_agent: BTreeMap<AgentId, Node>,
}

#[derive(Debug, Default)]
struct Node {
    place: Place,
    slot: Option<(TaskId, ExecutorId)>,
    launches: u64,
    failures: u32,
    not_before: Moment,
    /// Whether the master lists it as registered.
    listed: bool,
    withheld: Option<String>,
    coverage: Coverage,
    reason: String,
    since: Moment,
}

impl Core {
    /// The master told which agents are registered.
    pub fn agents_listed(&mut self, now: Moment, agents: Vec<Agent>) {
        let new = self.nodes.list(agents, now);
        for (agent, host) in new {
            self.decide(now, Some(agent), format!("agent on {host} is known; waiting for an offer of it"));
            self.revive_soon(now);
        }
    }

    /// Every agent that should have an executor, each with one state and its reason.
    pub fn nodes(&self, now: Moment) -> Vec<NodeState> {
        self.nodes.by_agent.iter().map(|(agent, node)| node.state(agent, now)).collect()
    }
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.by_agent.len()
    }

    pub(super) fn verdict(&mut self, agent: &AgentId, place: &Place, now: Moment) -> Verdict {
        let node = self.node(agent, now);
        node.place.clone_from(place);
        if node.slot.is_some() {
            Verdict::Covered
        } else if node.not_before > now {
            Verdict::BackingOff(node.not_before.since(now))
        } else {
            Verdict::Free
        }
    }

    pub(super) fn take_up(&mut self, record: &LaunchRecord, now: Moment) {
        let node = self.node(&record.agent, now);
        node.place.host.clone_from(&record.host);
        node.slot = Some((record.task.clone(), record.executor.clone()));
        node.show(Coverage::Launching, "known from before; asking Mesos how it is".to_owned(), now);
    }

    pub(super) fn launching(&mut self, agent: &AgentId, record: &LaunchRecord, now: Moment) {
        let node = self.node(agent, now);
        node.slot = Some((record.task.clone(), record.executor.clone()));
        node.show(Coverage::Launching, "an executor is being launched".to_owned(), now);
    }

    /// Why nothing is launched there; says whether that is news.
    pub(super) fn not_offered(&mut self, agent: &AgentId, reason: &str, now: Moment) -> bool {
        let node = self.node(agent, now);
        let news = node.reason != reason;
        node.show(Coverage::NotOffered, reason.to_owned(), now);
        news
    }

    pub(super) fn progress(&mut self, agent: &AgentId, phase: Phase, words: &str, now: Moment) {
        let node = self.node(agent, now);
        let executor = node.slot.as_ref().map_or("", |(_, executor)| executor.0.as_str());
        let (coverage, reason) = match phase {
            Phase::Running => (Coverage::Running, format!("executor {executor} runs")),
            Phase::Unreachable => (Coverage::Unreachable, format!("Mesos cannot reach the agent: {words}")),
            Phase::Killing => (Coverage::Launching, format!("executor {executor} is being ended: {words}")),
            Phase::Starting => (Coverage::Launching, format!("executor {executor} starts its pipelines")),
            Phase::Intended | Phase::Launching => {
                (Coverage::Launching, format!("executor {executor} is {words}"))
            }
        };
        node.show(coverage, reason, now);
    }

    /// A launch ended; gives how long the next one waits. An executor that was told to end has not failed: its node does
    /// not wait longer for it.
    pub(super) fn failed(&mut self, agent: &AgentId, end: &End<'_>, now: Moment) -> Duration {
        let node = self.node(agent, now);
        if end.update.state == TaskState::Killed {
            let reason = format!("the last executor was told to end: {}", end.update.words());
            node.not_before = now.after(FIRST_BACKOFF);
            node.show(Coverage::BackingOff, reason, now);
            return FIRST_BACKOFF;
        }
        if end.ran_for >= PROVEN {
            node.failures = 0;
        }
        let first = if end.update.state == TaskState::Error { FIRST_BACKOFF_INVALID } else { FIRST_BACKOFF };
        let pause = (first * (1 << node.failures.min(16))).min(BACKOFF_MAX).mul_f64(end.jitter);
        node.failures = node.failures.saturating_add(1);
        node.not_before = now.after(pause);
        let reason = format!("the last executor ended ({} in a row): {}", node.failures, end.update.words());
        node.show(Coverage::BackingOff, reason, now);
        pause
    }

    pub(super) fn free(&mut self, agent: &AgentId, task: &TaskId) {
        if let Some(node) = self.by_agent.get_mut(agent)
            && node.slot.as_ref().is_some_and(|(held, _)| held == task)
        {
            node.slot = None;
        }
    }

    pub(super) fn gone(&mut self, agent: &AgentId) {
        self.by_agent.remove(agent);
    }

    pub(super) fn task_on(&self, agent: &AgentId) -> Option<TaskId> {
        self.by_agent.get(agent)?.slot.as_ref().map(|(task, _)| task.clone())
    }

    pub(super) fn host_of(&self, agent: &AgentId) -> String {
        self.by_agent.get(agent).map(|node| node.place.host.clone()).unwrap_or_default()
    }

    pub(super) fn count_launch(&mut self, agent: &AgentId) -> u64 {
        let Some(node) = self.by_agent.get_mut(agent) else { return 1 };
        node.launches += 1;
        node.launches
    }

    /// Lets every node that waits for its next launch have it now; says how many those are.
    pub(super) fn end_backoffs(&mut self, now: Moment) -> usize {
        let waiting = self.by_agent.values_mut().filter(|node| node.slot.is_none() && node.not_before > now);
        waiting.map(|node| node.not_before = now).count()
    }

    /// Whether a node waits for an offer that may have been declined.
    pub(super) fn someone_waits(&self, now: Moment) -> bool {
        self.by_agent
            .values()
            .any(|node| node.slot.is_none() && node.not_before <= now && node.withheld.is_none())
    }

    /// Takes in which agents are registered; gives those that are new.
    fn list(&mut self, agents: Vec<Agent>, now: Moment) -> Vec<(AgentId, String)> {
        for node in self.by_agent.values_mut() {
            node.listed = false;
        }
        let mut new = Vec::new();
        for agent in agents {
            if !self.by_agent.contains_key(&agent.id) {
                new.push((agent.id.clone(), agent.place.host.clone()));
            }
            let node = self.node(&agent.id, now);
            node.place = agent.place;
            node.listed = true;
            node.withheld = agent.withheld;
        }
        self.by_agent.retain(|_, node| node.listed || node.slot.is_some());
        new
    }

    fn node(&mut self, agent: &AgentId, now: Moment) -> &mut Node {
        self.by_agent.entry(agent.clone()).or_insert_with(|| Node {
            since: now,
            reason: "waiting for Mesos to offer resources of this agent".to_owned(),
            ..Node::default()
        })
    }
}

impl Node {
    fn show(&mut self, coverage: Coverage, reason: String, now: Moment) {
        if self.coverage != coverage {
            self.since = now;
        }
        self.coverage = coverage;
        self.reason = reason;
    }

    fn state(&self, agent: &AgentId, now: Moment) -> NodeState {
        let (coverage, reason) = match (&self.withheld, self.coverage) {
            (Some(why), Coverage::NotOffered | Coverage::BackingOff) => {
                (Coverage::NotOffered, format!("nothing of this agent is offered: {why}"))
            }
            (None, Coverage::BackingOff) if self.not_before > now => {
                let rest = self.not_before.since(now).as_secs() + 1;
                (Coverage::BackingOff, format!("{}; the next launch waits {rest} s", self.reason))
            }
            (None, Coverage::BackingOff) => {
                (Coverage::BackingOff, format!("{}; waiting for an offer of this agent", self.reason))
            }
            (_, coverage) => (coverage, self.reason.clone()),
        };
        NodeState {
            agent: agent.clone(),
            host: self.place.host.clone(),
            coverage,
            reason,
            since: self.since,
            executor: self.slot.as_ref().map(|(_, executor)| executor.clone()),
            task: self.slot.as_ref().map(|(task, _)| task.clone()),
        }
    }
}
