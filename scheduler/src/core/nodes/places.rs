//! Says where agents are and what is reserved on them, and leaves nodes out.
use super::{AWAITING, Nodes};
use crate::core::cluster::{Place, Standing};
use crate::ids::{AgentId, Moment};
use web::view::{Cause, Coverage};

impl Nodes {
    /// Where an agent is, if Mesos said so.
    pub(in crate::core) fn place_of(&self, agent: &AgentId) -> Option<&Place> {
        self.by_agent.get(agent).filter(|node| node.placed).map(|node| &node.place)
    }

    pub(in crate::core) fn host_of(&self, agent: &AgentId) -> String {
        self.by_agent.get(agent).map(|node| node.place.host.clone()).unwrap_or_default()
    }

    pub(in crate::core) fn agents(&self) -> Vec<AgentId> {
        self.by_agent.keys().cloned().collect()
    }

    /// The hosts of agents that offer something and on which a framework of that name has reserved some of it.
    pub(in crate::core) fn reserved_for(&self, framework: &str) -> Vec<String> {
        let listed = self.by_agent.values().filter_map(|node| node.agent.as_ref());
        let reserved = listed.filter(|agent| agent.standing == Standing::Active);
        let reserved = reserved.filter(|agent| agent.reserved_by.iter().any(|by| by == framework));
        reserved.map(|agent| agent.place.host.clone()).collect()
    }

    /// When the master listed its agents last, if it does.
    pub(in crate::core) fn last_listing(&self) -> Option<Moment> {
        self.listed_at.filter(|_| self.framework.lists)
    }

    /// Leaves a node without an executor out, or lets it in again; says whether it is let in.
    pub(in crate::core) fn leave_out(
        &mut self,
        agent: &AgentId,
        why: Option<(Cause, String)>,
        now: Moment,
    ) -> bool {
        let Some(node) = self.by_agent.get(agent) else { return false };
        let was_out = node.own.coverage() == Coverage::Excluded;
        match why {
            Some((cause, text)) if node.own != cause || node.text != text => {
                self.show(agent, cause, text, now);
            }
            None if was_out => self.show(agent, Cause::AwaitingOffer, AWAITING.to_owned(), now),
            _ => return false,
        }
        was_out && self.by_agent.get(agent).is_some_and(|node| node.own.coverage() != Coverage::Excluded)
    }
}
