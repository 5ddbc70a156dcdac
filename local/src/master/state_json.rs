//! Prints the state of a master as its `/state` page does (the older JSON names: `slaves`, `slave_id`).

use operator_api::response::{GetState, get_agents, get_frameworks};
use proto::mesos::v1::{self as mesos, master as operator_api};
use serde_json::{Value, json};

/// The whole page.
pub(super) fn state(info: &mesos::MasterInfo, state: &GetState) -> Value {
    let agents = state.get_agents.clone().unwrap_or_default();
    let frameworks = state.get_frameworks.clone().unwrap_or_default();
    let active = agents.agents.iter().filter(|agent| agent.active).count();
    json!({
        "version": info.version(),
        "id": info.id,
        "pid": info.pid(),
        "hostname": info.hostname(),
        "leader": info.pid(),
        "activated_slaves": active,
        "deactivated_slaves": agents.agents.len() - active,
        "flags": {},
        "slaves": agents.agents.iter().map(agent).collect::<Vec<_>>(),
        "recovered_slaves": agents.recovered_agents.iter().map(|info| json!({
            "id": info.id.as_ref().map(|id| &id.value), "hostname": info.hostname,
        })).collect::<Vec<_>>(),
        "frameworks": frameworks.frameworks.iter().map(|one| framework(one, state)).collect::<Vec<_>>(),
        "completed_frameworks":
            frameworks.completed_frameworks.iter().map(|one| framework(one, state)).collect::<Vec<_>>(),
    })
}

/// All tasks, live and finished.
pub(super) fn tasks(state: &GetState) -> Vec<Value> {
    let tasks = state.get_tasks.clone().unwrap_or_default();
    tasks.tasks.iter().chain(&tasks.unreachable_tasks).chain(&tasks.completed_tasks).map(task).collect()
}

fn agent(agent: &get_agents::Agent) -> Value {
    let info = &agent.agent_info;
    let attributes: serde_json::Map<String, Value> = info
        .attributes
        .iter()
        .filter_map(|attribute| Some((attribute.name.clone(), attribute.text.as_ref()?.value.clone().into())))
        .collect();
    json!({
        "id": info.id.as_ref().map(|id| &id.value),
        "hostname": info.hostname,
        "port": info.port(),
        "pid": agent.pid(),
        "attributes": attributes,
        "resources": resources(&agent.total_resources),
        "used_resources": resources(&agent.allocated_resources),
        "offered_resources": resources(&agent.offered_resources),
        "registered_time": seconds(agent.registered_time.as_ref()),
        "reregistered_time": seconds(agent.reregistered_time.as_ref()),
        "active": agent.active,
        "deactivated": agent.deactivated(),
        "version": agent.version,
    })
}

fn framework(framework: &get_frameworks::Framework, state: &GetState) -> Value {
    let info = &framework.framework_info;
    let all = state.get_tasks.clone().unwrap_or_default();
    let own = |tasks: &[mesos::Task]| -> Vec<Value> {
        tasks.iter().filter(|one| Some(&one.framework_id) == info.id.as_ref()).map(task).collect()
    };
    let executors = state.get_executors.clone().unwrap_or_default().executors;
    json!({
        "id": info.id.as_ref().map(|id| &id.value),
        "name": info.name,
        "user": info.user,
        "principal": info.principal,
        "roles": info.roles,
        "checkpoint": info.checkpoint(),
        "failover_timeout": info.failover_timeout(),
        "hostname": info.hostname(),
        "webui_url": info.webui_url(),
        "active": framework.active,
        "connected": framework.connected,
        "recovered": framework.recovered,
        "registered_time": seconds(framework.registered_time.as_ref()),
        "reregistered_time": seconds(framework.reregistered_time.as_ref()),
        "capabilities": info.capabilities.iter().map(|has| has.r#type().as_str_name()).collect::<Vec<_>>(),
        "used_resources": resources(&framework.allocated_resources),
        "offered_resources": resources(&framework.offered_resources),
        "offers": framework.offers.iter().map(|offer| json!({
            "id": offer.id.value, "slave_id": offer.agent_id.value, "resources": resources(&offer.resources),
        })).collect::<Vec<_>>(),
        "executors": executors.iter().filter(|one| one.executor_info.framework_id == info.id).map(|one| json!({
            "executor_id": one.executor_info.executor_id.value,
            "name": one.executor_info.name(),
            "slave_id": one.agent_id.value,
            "resources": resources(&one.executor_info.resources),
        })).collect::<Vec<_>>(),
        "tasks": own(&all.tasks),
        "unreachable_tasks": own(&all.unreachable_tasks),
        "completed_tasks": own(&all.completed_tasks),
    })
}

fn task(task: &mesos::Task) -> Value {
    json!({
        "id": task.task_id.value,
        "name": task.name,
        "framework_id": task.framework_id.value,
        "executor_id": task.executor_id.as_ref().map_or("", |id| &id.value),
        "slave_id": task.agent_id.value,
        "state": task.state().as_str_name(),
        "resources": resources(&task.resources),
        "statuses": task.statuses.iter().map(|status| json!({
            "state": status.state().as_str_name(), "timestamp": status.timestamp(), "healthy": status.healthy,
        })).collect::<Vec<_>>(),
        "labels": task.labels.as_ref().map(|labels| labels.labels.iter().map(|label| json!({
            "key": label.key, "value": label.value(),
        })).collect::<Vec<_>>()),
    })
}

fn resources(resources: &[mesos::Resource]) -> Value {
    let mut map = serde_json::Map::new();
    for name in ["cpus", "mem", "disk", "gpus"] {
        let sum: f64 =
            resources.iter().filter(|r| r.name == name).filter_map(|r| r.scalar).map(|s| s.value).sum();
        map.insert(name.to_owned(), sum.into());
    }
    for resource in resources.iter().filter(|resource| resource.ranges.is_some()) {
        let ranges = resource.ranges.iter().flat_map(|ranges| &ranges.range);
        let text: Vec<String> = ranges.map(|range| format!("{}-{}", range.begin, range.end)).collect();
        map.insert(resource.name.clone(), format!("[{}]", text.join(", ")).into());
    }
    map.into()
}

fn seconds(time: Option<&mesos::TimeInfo>) -> Option<f64> {
    time.map(|time| time.nanoseconds as f64 / 1e9)
}
