//! Finds what is reserved under our name for roles that are not ours any more, and writes the call that gives it up.
use super::super::items::{Garbled, each};
use super::super::outline::{self, AGENT, readable};
use super::super::resource::labelled;
use super::{AGENTS, GET_AGENTS, Us};
use crate::core::cluster::Leftover;
use crate::ids::AgentId;
use bytes::Bytes;
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::master::{self, call::Type};
use std::collections::{BTreeMap, BTreeSet};
use v1::resource::ReservationInfo;

/// What the agents in an answer to `GET_AGENTS` have of it, by agent and role.
pub(super) fn find(answer: Bytes, us: &Us) -> Result<Vec<Leftover>, Garbled> {
    let mut found = Vec::new();
    each(answer, &[GET_AGENTS], &mut |field, encoded| {
        if field == AGENTS
            && let Some(agent) = readable(AGENT, &encoded, outline::agent)
        {
            found.extend(on(&agent, us));
        }
        Ok(())
    })?;
    Ok(found)
}

fn on(agent: &master::response::get_agents::Agent, us: &Us) -> Vec<Leftover> {
    let role = |resource: &v1::Resource| {
        let info = resource.reservations.last()?;
        let is_left = is_ours(info, us) && !us.roles.iter().any(|role| role == info.role());
        is_left.then(|| info.role().to_owned())
    };
    let used: BTreeSet<String> = agent.allocated_resources.iter().filter_map(role).collect();
    let Some(id) = &agent.agent_info.id else { return Vec::new() };
    let mut by_role: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    for resource in &agent.total_resources {
        if let Some(role) = role(resource) {
            by_role.entry(role).or_default().push(Bytes::from(resource.encode_to_vec()));
        }
    }
    let leftover = |(role, entries): (String, Vec<Bytes>)| Leftover {
        agent: AgentId(id.value.clone()),
        host: agent.agent_info.hostname.clone(),
        in_use: used.contains(&role),
        role,
        entries,
    };
    by_role.into_iter().map(leftover).collect()
}

fn is_ours(info: &ReservationInfo, us: &Us) -> bool {
    labelled(info) == Some(us.name.as_str()) && info.principal == us.principal
}

/// The call that gives it up. A resource says whose it is either by its reservations or in the older way, not by both.
pub(super) fn unreserve(left: &Leftover) -> Vec<u8> {
    let entries = left.entries.iter().filter_map(|entry| v1::Resource::decode(entry.clone()).ok());
    let resources = entries.map(|resource| v1::Resource {
        role: None,
        reservation: None,
        allocation_info: None,
        ..resource
    });
    let unreserve = master::call::UnreserveResources {
        agent_id: v1::AgentId { value: left.agent.0.clone() },
        resources: resources.collect(),
    };
    let call = master::Call {
        r#type: Some(Type::UnreserveResources as i32),
        unreserve_resources: Some(unreserve),
        ..master::Call::default()
    };
    call.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(role: &str, framework: Option<&str>, principal: &str) -> v1::Resource {
        let label = |value: &str| v1::Label { key: "logherd".into(), value: Some(value.into()) };
        let info = ReservationInfo {
            role: Some(role.into()),
            principal: Some(principal.into()),
            labels: framework.map(|name| v1::Labels { labels: vec![label(name)] }),
            ..ReservationInfo::default()
        };
        v1::Resource {
            name: "cpus".into(),
            scalar: Some(v1::value::Scalar { value: 0.2 }),
            role: Some(role.into()),
            reservations: vec![info],
            ..v1::Resource::default()
        }
    }

    fn listed(total: Vec<v1::Resource>, used: Vec<v1::Resource>) -> Bytes {
        let agent_info = v1::AgentInfo {
            hostname: "node-1".into(),
            id: Some(v1::AgentId { value: "S1".into() }),
            ..v1::AgentInfo::default()
        };
        let agent = master::response::get_agents::Agent {
            agent_info,
            total_resources: total,
            allocated_resources: used,
            ..Default::default()
        };
        let get_agents = Some(master::response::GetAgents { agents: vec![agent], recovered_agents: vec![] });
        master::Response { get_agents, ..Default::default() }.encode_to_vec().into()
    }

    fn us() -> Us {
        Us { name: "logs".into(), roles: vec!["new".into()], principal: Some("p".into()) }
    }

    #[test]
    fn only_what_is_ours_and_for_no_role_of_ours_is_left_over() {
        let total = vec![
            cpus("old", Some("logs"), "p"),
            cpus("new", Some("logs"), "p"),
            cpus("old", Some("other"), "p"),
            cpus("old", Some("logs"), "somebody"),
            cpus("old", None, "p"),
        ];
        let found = find(listed(total.clone(), vec![]), &us()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].role.as_str(), found[0].entries.len(), found[0].in_use), ("old", 1, false));
        assert!(find(listed(total.clone(), total), &us()).unwrap()[0].in_use);
    }

    #[test]
    fn it_is_given_up_by_the_entry_as_listed_in_the_newer_form_only() {
        let left = find(listed(vec![cpus("old", Some("logs"), "p")], vec![]), &us()).unwrap().remove(0);
        let call = master::Call::decode(&unreserve(&left)[..]).unwrap();
        assert_eq!(call.r#type, Some(Type::UnreserveResources as i32));
        let asked = call.unreserve_resources.unwrap();
        assert_eq!(asked.agent_id.value, "S1");
        let [resource] = &asked.resources[..] else { panic!("{:?}", asked.resources) };
        assert_eq!((resource.role.as_deref(), resource.reservations.len()), (None, 1));
        assert_eq!(resource.scalar, Some(v1::value::Scalar { value: 0.2 }));
    }
}
