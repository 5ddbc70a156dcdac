//! Takes in what the master says about its cluster: which agents there are, and what it has on record of this framework.
use super::Core;
use super::cluster::{Agent, Cluster, Registered};
use crate::ids::{AgentId, Moment};
use std::time::Duration;

/// How long a list of the agents proves which ones there are.
const LISTING_HOLDS: Duration = Duration::from_secs(60);

/// How far it is proven which agents there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Whether the master listed its agents lately.
    pub proven: bool,
    /// How many it lists.
    pub listed: usize,
}

impl Core {
    /// The master told which agents are registered.
    pub fn agents_listed(&mut self, now: Moment, agents: Vec<Agent>) {
        let new = self.nodes.list(agents, now);
        for agent in new {
            self.agent_is_new(now, agent);
        }
        self.sort_all_out(now);
    }

    /// An agent registered, or registered again.
    pub fn agent_added(&mut self, now: Moment, agent: Agent) {
        let id = agent.id.clone();
        if self.nodes.add(agent, now) {
            self.agent_is_new(now, id.clone());
        }
        self.sort_out(now, &id);
    }

    /// The master removed an agent for good.
    pub fn agent_removed(&mut self, now: Moment, agent: &AgentId) {
        self.nodes.unlist(agent, now);
        self.agent_lost(now, agent);
    }

    /// The master told about its cluster.
    pub fn cluster_described(&mut self, now: Moment, cluster: &Cluster) {
        self.look_for_orphans(now, cluster);
        self.look_for_leftovers(now, cluster);
        let ours = cluster.frameworks.iter().find(|known| Some(&known.id) == self.framework.as_ref());
        let registered = ours.map(|known| Registered {
            active: known.active,
            roles: known.roles.clone(),
            gpus: known.gpus,
            region_aware: known.region_aware,
            region: cluster.region.clone(),
        });
        if self.nodes.framework.registered != registered {
            self.nodes.framework.registered = registered;
            self.nodes.settle_all(now);
        }
    }

    /// The master does not say which agents there are: nodes are known by their offers only.
    pub fn agents_not_listed(&mut self) {
        self.nodes.listed_at = None;
        self.nodes.framework.lists = false;
    }

    /// Whether it is proven which agents there are.
    pub fn listing(&self, now: Moment) -> Listing {
        let fresh = self.nodes.listed_at.is_some_and(|at| now.since(at) < LISTING_HOLDS);
        let listed = self.nodes.by_agent.values().filter(|node| node.agent.is_some()).count();
        Listing { proven: fresh && self.connected, listed }
    }

    fn agent_is_new(&mut self, now: Moment, agent: AgentId) {
        let host = self.nodes.host_of(&agent);
        self.decide(now, Some(agent), format!("agent on {host} is known; waiting for an offer of it"));
    }
}
