//! Answers what a rollout asks of nodes, and lets waiting ones have their next launch.
use super::{Node, NodeState, Nodes};
use crate::core::cause::{Ours, cause, reason, shortage};
use crate::core::resources::{Needs, Thousandths};
use crate::ids::{AgentId, Moment};
use std::collections::BTreeSet;
use std::time::Duration;
use web::view::{Cause, Coverage};

impl Nodes {
    /// Lets a node have its next launch at once; gives how long it waits then.
    pub(in crate::core) fn end_backoff(&mut self, agent: &AgentId, now: Moment) -> Duration {
        if let Some(node) = self.by_agent.get_mut(agent) {
            node.not_before = now;
        }
        Duration::ZERO
    }

    /// The state of one agent; the generation of its executor is not in it.
    pub(in crate::core) fn state_of(&self, agent: &AgentId, now: Moment) -> Option<NodeState> {
        Some(self.by_agent.get(agent)?.state(&self.framework, agent, now))
    }

    /// The agents where the last launch failed and nothing runs.
    pub(in crate::core) fn failing(&self) -> BTreeSet<AgentId> {
        let fails = |node: &Node| node.failures > 0 && node.cause.coverage() != Coverage::Running;
        self.by_agent.iter().filter(|(_, node)| fails(node)).map(|(agent, _)| agent.clone()).collect()
    }

    /// Why nothing could be launched on an agent if its executor ended.
    pub(in crate::core) fn withheld(&self, agent: &AgentId, now: Moment) -> Option<String> {
        let node = self.by_agent.get(agent)?;
        let free = Ours { held: false, ..node.ours(&self.framework, now) };
        let cause = cause(node.agent.as_ref(), &free);
        let withheld = match cause.coverage() {
            Coverage::Unreachable | Coverage::Draining | Coverage::Maintenance | Coverage::Excluded => true,
            Coverage::Running | Coverage::Launching | Coverage::BackingOff => false,
            Coverage::NotOffered => matches!(cause, Cause::NotSubscribed | Cause::Suppressed),
        };
        withheld.then(|| reason(cause, node.agent.as_ref(), &free))
    }

    /// Why a second executor of these resources does not fit beside what runs on an agent, as far as the master says.
    pub(in crate::core) fn no_room_beside(
        &self,
        agent: &AgentId,
        executor: &[(String, Thousandths)],
        task: &[(String, Thousandths)],
    ) -> Option<String> {
        let agent = self.by_agent.get(agent)?.agent.as_ref()?;
        let needs = Needs { executor: executor.to_vec(), task: task.to_vec() };
        shortage(agent, self.framework.registered.as_ref()?, &needs).map(|short| short.words)
    }

    /// Whether an agent has that attribute; its host name, region and zone count as such.
    pub(in crate::core) fn has_attribute(&self, agent: &AgentId, name: &str, value: &str) -> bool {
        let Some(Node { place, .. }) = self.by_agent.get(agent) else { return false };
        match name {
            "hostname" => place.host == value,
            "region" if place.region.as_deref() == Some(value) => true,
            "zone" if place.zone.as_deref() == Some(value) => true,
            _ => place.attributes.iter().any(|(of, is)| of == name && is == value),
        }
    }

    /// How many nodes wait for their next launch.
    pub(in crate::core) fn backing_off(&self, now: Moment) -> usize {
        self.by_agent.values().filter(|node| node.slot.is_none() && node.not_before > now).count()
    }

    /// Lets every node that waits for its next launch have it now; says how many those are.
    pub(in crate::core) fn end_backoffs(&mut self, now: Moment) -> usize {
        let waiting = self.by_agent.values_mut().filter(|node| node.slot.is_none() && node.not_before > now);
        waiting.map(|node| node.not_before = now).count()
    }
}
