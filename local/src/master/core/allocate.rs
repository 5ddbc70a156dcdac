//! Makes offers: what is free on an agent goes, whole, to the framework and role that have least so far.

use super::constraints;
use super::state::{Agent, Core, Framework, Offer};
use super::statuses;
use crate::ids::{AgentId, ExecutorId, FrameworkId};
use crate::resources::{Resources, Style};
use mesos::framework_info::capability::Type as Capability;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Below this, in thousandths, nothing is offered: 0.01 processors or 32 MB.
const LEAST_CPUS: i64 = 10;
const LEAST_MEM: i64 = 32_000;

impl Core {
    /// One round of allocation over all agents.
    pub(super) fn allocate(&mut self) {
        let now = self.now;
        for framework in self.frameworks.values_mut() {
            framework.filters.expire(now);
        }
        self.allocate_on(self.agents.keys().cloned().collect());
    }

    /// A round over some agents. What it costs does not grow with the number of the others, unless there are several to
    /// choose from: then it has to be known how much each has.
    pub(super) fn allocate_on(&mut self, agents: Vec<AgentId>) {
        let mut made: BTreeMap<FrameworkId, Vec<mesos::Offer>> = BTreeMap::new();
        let mut candidates = self.candidates();
        let mut shares = if candidates.len() > 1 { Some(self.shares()) } else { None };
        for agent_id in &agents {
            if !self.agents.get(agent_id).is_some_and(Agent::takes_tasks) {
                continue;
            }
            if let Some(shares) = &shares {
                // Those with equal shares stay in the order in which they stand.
                candidates.sort_by(|a, b| shares.of(&a.0).total_cmp(&shares.of(&b.0)).then(a.2.cmp(&b.2)));
            }
            for (framework_id, role, _) in &candidates {
                let Some(resources) = self.allocatable(agent_id, framework_id, role) else { continue };
                if let Some(shares) = &mut shares {
                    shares.add(framework_id, &resources);
                }
                if let Some(offer) = self.make_offer(agent_id, framework_id, role.clone(), resources) {
                    made.entry(framework_id.clone()).or_default().push(offer);
                }
            }
        }
        for (framework, offers) in made {
            self.send(&framework, statuses::offers(offers));
        }
        self.make_inverse_offers(&agents);
    }

    /// Connected frameworks with the roles in which they want offers, numbered.
    fn candidates(&self) -> Vec<(FrameworkId, String, usize)> {
        self.frameworks
            .iter()
            .filter(|(_, framework)| framework.subscription.is_some())
            .flat_map(|(id, framework)| {
                let wanted =
                    framework.roles().into_iter().filter(|role| !framework.suppressed.contains(role));
                wanted.map(|role| (id.clone(), role)).collect::<Vec<_>>()
            })
            .enumerate()
            .map(|(number, (id, role))| (id, role, number))
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
        let filtered = framework.filters.refuse(agent_id, role, &resources, self.now);
        (worth_offering(&resources, framework.info.offer_filters.get(role)) && !filtered).then_some(resources)
    }

    /// Agents with graphics processors, or in another region, are only for frameworks that know of such; those that know
    /// of one role only are not for frameworks with several.
    fn may_see(&self, framework: &Framework, agent: &Agent) -> bool {
        let region = |domain: Option<&mesos::DomainInfo>| {
            domain.and_then(|domain| domain.fault_domain.as_ref()).map(|fault| fault.region.name.clone())
        };
        let (ours, theirs) =
            (region(self.info.domain.as_ref()), region(agent.described.info.domain.as_ref()));
        let remote = theirs.is_some() && theirs != ours && ours.is_some();
        (agent.total.thousandths("gpus") == 0 || framework.can(Capability::GpuResources))
            && (!remote || framework.can(Capability::RegionAware))
            && (!framework.can(Capability::MultiRole)
                || agent.described.capabilities.contains(&mesos::agent_info::capability::Type::MultiRole))
    }

    fn make_offer(
        &mut self,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        role: String,
        resources: Resources,
    ) -> Option<mesos::Offer> {
        let id = self.new_offer_id();
        let agent = self.agents.get(agent_id)?;
        let framework = self.frameworks.get(framework_id)?;
        let allocation = framework
            .can(Capability::MultiRole)
            .then(|| mesos::resource::AllocationInfo { role: Some(role.clone()) });
        let refined = framework.can(Capability::ReservationRefinement);
        let style = Style { allocated_to: allocation.as_ref().map(|_| role.as_str()), refined };
        let from = (agent_id.clone(), ExecutorId(String::new()));
        let executors = framework.executors.range(from..).map(|(key, _)| key);
        let executors = executors.take_while(|(on, _)| on == agent_id);
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
            unavailability: self.unavailability(agent_id),
        };
        let expires = self.timings.offer_timeout.map(|timeout| self.now + timeout);
        let (framework, agent) = (framework_id.clone(), agent_id.clone());
        self.offers.insert(Offer { id, framework, agent, role, resources, expires });
        Some(wire)
    }

    /// How much of the cluster each framework has.
    fn shares(&self) -> Shares {
        let total = |name: &str| self.agents.values().map(|agent| agent.total.thousandths(name)).sum();
        let mut shares = Shares { cpus: total("cpus"), mem: total("mem"), held: BTreeMap::new() };
        for agent in self.agents.values() {
            for ((framework, _), held) in &agent.held {
                shares.add(framework, held);
            }
        }
        for offer in self.offers.values() {
            shares.add(&offer.framework, &offer.resources);
        }
        shares
    }
}

/// How much of the cluster each framework has: the larger of its shares of processors and memory, summed over what it has.
struct Shares {
    /// All there is, in thousandths.
    cpus: i64,
    mem: i64,
    held: BTreeMap<FrameworkId, f64>,
}

impl Shares {
    fn add(&mut self, framework: &FrameworkId, part: &Resources) {
        let of = |name: &str, total: i64| {
            if total == 0 { 0.0 } else { part.thousandths(name) as f64 / total as f64 }
        };
        *self.held.entry(framework.clone()).or_default() += of("cpus", self.cpus).max(of("mem", self.mem));
    }

    fn of(&self, framework: &FrameworkId) -> f64 {
        self.held.get(framework).copied().unwrap_or(0.0)
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
pub(super) fn url(pid: &str, hostname: &str) -> mesos::Url {
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
