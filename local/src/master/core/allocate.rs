//! Makes offers: what is free on an agent goes, whole, to the framework and role that have least so far.

use super::constraints;
use super::state::{Agent, Core, Framework, Offer};
use super::statuses;
use crate::ids::{AgentId, FrameworkId, OfferId};
use crate::resources::{Resources, Style};
use mesos::framework_info::capability::Type as Capability;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

/// Below this, in thousandths, nothing is offered: 0.01 processors or 32 MB.
const LEAST_CPUS: i64 = 10;
const LEAST_MEM: i64 = 32_000;

impl Core {
    /// One round of allocation over all agents.
    pub(super) fn allocate(&mut self) {
        let now = self.now;
        for framework in self.frameworks.values_mut() {
            framework.filters.retain(|filter| filter.until > now);
        }
        let mut shares = self.shares();
        let mut made: BTreeMap<FrameworkId, Vec<mesos::Offer>> = BTreeMap::new();
        let agents: Vec<AgentId> =
            self.agents.iter().filter(|(_, agent)| agent.takes_tasks()).map(|(id, _)| id.clone()).collect();
        for agent_id in agents {
            let mut candidates = self.candidates();
            candidates
                .sort_by(|a, b| shares.get(&a.0).unwrap_or(&0.0).total_cmp(shares.get(&b.0).unwrap_or(&0.0)));
            for (framework_id, role) in candidates {
                let Some(resources) = self.allocatable(&agent_id, &framework_id, &role) else { continue };
                *shares.entry(framework_id.clone()).or_default() += self.share(&resources);
                if let Some(offer) = self.make_offer(&agent_id, &framework_id, role, resources) {
                    made.entry(framework_id).or_default().push(offer);
                }
            }
        }
        for (framework, offers) in made {
            self.send(&framework, statuses::offers(offers));
        }
    }

    /// Connected frameworks with the roles in which they want offers.
    fn candidates(&self) -> Vec<(FrameworkId, String)> {
        self.frameworks
            .iter()
            .filter(|(_, framework)| framework.subscription.is_some())
            .flat_map(|(id, framework)| {
                let wanted =
                    framework.roles().into_iter().filter(|role| !framework.suppressed.contains(role));
                wanted.map(|role| (id.clone(), role)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// What can be offered on an agent to a role now; none when there is nothing, or it is not wanted.
    fn allocatable(&self, agent_id: &AgentId, framework_id: &FrameworkId, role: &str) -> Option<Resources> {
        let agent = self.agents.get(agent_id)?;
        let framework = self.frameworks.get(framework_id)?;
        if !self.may_see(framework, agent)
            || !constraints::satisfied(framework.constraints.as_ref(), role, &agent.described.info)
        {
            return None;
        }
        let resources = self.free(agent_id).usable_by(role).understood(
            framework.can(Capability::ReservationRefinement),
            framework.can(Capability::RevocableResources),
            framework.can(Capability::SharedResources),
        );
        let filtered = framework.filters.iter().any(|filter| {
            filter.agent == *agent_id && filter.role == role && filter.refused.contains(&resources)
        });
        (worth_offering(&resources, framework.info.offer_filters.get(role)) && !filtered).then_some(resources)
    }

    /// Agents with graphics processors, or in another region, are only for frameworks that know of such.
    fn may_see(&self, framework: &Framework, agent: &Agent) -> bool {
        let region = |domain: Option<&mesos::DomainInfo>| {
            domain.and_then(|domain| domain.fault_domain.as_ref()).map(|fault| fault.region.name.clone())
        };
        let (ours, theirs) =
            (region(self.info.domain.as_ref()), region(agent.described.info.domain.as_ref()));
        let remote = theirs.is_some() && theirs != ours && ours.is_some();
        (agent.total.thousandths("gpus") == 0 || framework.can(Capability::GpuResources))
            && (!remote || framework.can(Capability::RegionAware))
    }

    fn make_offer(
        &mut self,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        role: String,
        resources: Resources,
    ) -> Option<mesos::Offer> {
        let agent = self.agents.get(agent_id)?;
        let framework = self.frameworks.get(framework_id)?;
        let id = OfferId(format!("{}-O{}", self.info.id, self.counters.offer));
        self.counters.offer += 1;
        let allocation = framework
            .can(Capability::MultiRole)
            .then(|| mesos::resource::AllocationInfo { role: Some(role.clone()) });
        let refined = framework.can(Capability::ReservationRefinement);
        let style = Style { allocated_to: allocation.as_ref().map(|_| role.as_str()), refined };
        let executors = framework.executors.keys().filter(|(on, _)| on == agent_id);
        let info = &agent.described.info;
        let wire = mesos::Offer {
            id: id.wire(),
            framework_id: framework_id.wire(),
            agent_id: agent_id.wire(),
            hostname: info.hostname.clone(),
            resources: resources.write(style),
            executor_ids: executors.map(|(_, executor)| executor.wire()).collect(),
            attributes: info.attributes.clone(),
            url: Some(url(&agent.described.pid, &info.hostname)),
            allocation_info: allocation,
            domain: info.domain.clone(),
            ..Default::default()
        };
        let expires = self.timings.offer_timeout.map(|timeout| self.now + timeout);
        let (framework, agent) = (framework_id.clone(), agent_id.clone());
        self.offers.insert(id.clone(), Offer { id, framework, agent, role, resources, expires });
        Some(wire)
    }

    /// How much of the cluster each framework has: the larger of its shares of processors and memory.
    fn shares(&self) -> BTreeMap<FrameworkId, f64> {
        let mut shares = BTreeMap::new();
        for agent in self.agents.values() {
            for ((framework, _), held) in &agent.held {
                *shares.entry(framework.clone()).or_default() += self.share(held);
            }
        }
        for offer in self.offers.values() {
            *shares.entry(offer.framework.clone()).or_default() += self.share(&offer.resources);
        }
        shares
    }

    fn share(&self, part: &Resources) -> f64 {
        let of = |name: &str| {
            let total: i64 = self.agents.values().map(|agent| agent.total.thousandths(name)).sum();
            if total == 0 { 0.0 } else { part.thousandths(name) as f64 / total as f64 }
        };
        of("cpus").max(of("mem"))
    }
}

/// Whether resources reach the minimum of the framework, or else of the cluster.
fn worth_offering(resources: &Resources, filters: Option<&mesos::OfferFilters>) -> bool {
    if resources.is_empty() {
        return false;
    }
    match filters.and_then(|filters| filters.min_allocatable_resources.as_ref()) {
        Some(minimum) => minimum.quantities.iter().any(|set| {
            set.quantities
                .iter()
                .all(|(name, least)| resources.thousandths(name) as f64 >= least.value * 1000.0)
        }),
        None => resources.thousandths("cpus") >= LEAST_CPUS || resources.thousandths("mem") >= LEAST_MEM,
    }
}

/// `slave(1)@127.0.0.1:5051` as a URL.
fn url(pid: &str, hostname: &str) -> mesos::Url {
    let (name, address) = pid.split_once('@').unwrap_or(("", pid));
    let (ip, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    mesos::Url {
        scheme: "http".into(),
        address: mesos::Address {
            hostname: Some(hostname.to_owned()),
            ip: Some(ip.to_owned()),
            port: port.parse().unwrap_or_default(),
        },
        path: Some(format!("/{name}")),
        ..Default::default()
    }
}
