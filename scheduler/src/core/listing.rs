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
        self.revive_soon(now);
    }
}

#[cfg(test)]
mod tests {
    use crate::core::effects::Call;
    use crate::core::tests::{NOW, agent, calls, offer, ready, saves};
    use std::time::Duration;

    #[test]
    fn a_new_agent_is_asked_for_within_two_seconds_however_long_others_were_in_vain() {
        let mut core = ready();
        core.agents_listed(NOW, vec![agent("full", None)]);
        let mut revives = Vec::new();
        for half in 0..4 * 3600 * 2 {
            let now = NOW.after(Duration::from_millis(half * 500));
            core.tick(now);
            if calls(&core.take_effects()).contains(&Call::Revive) {
                revives.push(now);
                core.offered(now, vec![offer(&format!("o{half}"), "full", 0.1)]);
                core.take_effects();
            }
        }
        let last = *revives.last().unwrap();
        let pause = last.since(revives[revives.len() - 2]);
        assert!(pause >= Duration::from_secs(600), "the pauses have grown: {pause:?}");
        let appears = last.after(Duration::from_secs(3));
        core.agent_added(appears, agent("new", None));
        let asked = (0..20u64).map(|half| appears.after(Duration::from_millis(half * 500))).find(|now| {
            core.tick(*now);
            calls(&core.take_effects()).contains(&Call::Revive)
        });
        let asked = asked.expect("offers are asked for");
        assert!(asked.since(appears) <= Duration::from_secs(2), "{:?}", asked.since(appears));
        core.offered(asked, vec![offer("usable", "new", 4.0)]);
        let (ticket, _) = saves(&core.take_effects()).remove(0);
        core.saved(asked, ticket, Ok(()));
        assert!(matches!(&calls(&core.take_effects())[..], [Call::Accept { .. }]));
    }

    #[test]
    fn the_larger_the_cluster_the_rarer_all_of_it_is_offered_again_however_often_agents_appear() {
        let mut core = ready();
        core.agents_listed(NOW, (0..5000).map(|n| agent(&format!("s{n}"), None)).collect());
        core.take_effects();
        let revives = (0..120u64).filter(|half| {
            let now = NOW.after(Duration::from_millis(half * 500));
            core.agent_added(now, agent(&format!("new{half}"), None));
            core.tick(now);
            calls(&core.take_effects()).contains(&Call::Revive)
        });
        assert!((10..=12).contains(&revives.count()), "one in five seconds");
    }
}
