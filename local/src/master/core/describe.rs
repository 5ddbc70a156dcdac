//! Describes what the master knows to operators: the answers to GET_ calls and the events of their stream.

use super::Effect;
use super::amounts::{self, Amounts};
use super::reconcile::time_info;
use super::state::{Agent, Core, Framework};
use crate::clock::Moment;
use crate::ids::{AgentId, FrameworkId};
use crate::resources::Style;
use mesos::{Task, TaskState, TaskStatus};
use operator_api::event::Type;
use operator_api::response::{
    GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks, get_agents, get_executors, get_frameworks,
};
use proto::mesos::v1::{self as mesos, master as operator_api};

impl Core {
    /// Sends an event to every operator's stream.
    pub(super) fn publish(&mut self, event: &operator_api::Event) {
        let events = self.watchers.keys().map(|watcher| Effect::Publish(*watcher, Box::new(event.clone())));
        self.out.extend(events);
    }

    pub(super) fn describe_state(&self) -> GetState {
        GetState {
            get_tasks: Some(self.describe_tasks()),
            get_executors: Some(self.describe_executors()),
            get_frameworks: Some(self.describe_frameworks()),
            get_agents: Some(self.describe_agents()),
        }
    }

    pub(super) fn describe_tasks(&self) -> GetTasks {
        let all = || self.frameworks.values();
        let kept = self.completed.iter().chain(all()).flat_map(|framework| &framework.finished);
        GetTasks {
            tasks: all().flat_map(|framework| framework.tasks.values()).cloned().collect(),
            completed_tasks: kept.cloned().collect(),
            unreachable_tasks: all().flat_map(|framework| framework.unreachable.values()).cloned().collect(),
            ..Default::default()
        }
    }

    pub(super) fn describe_executors(&self) -> GetExecutors {
        let executors = self.frameworks.values().flat_map(|framework| &framework.executors);
        let described = executors.map(|((agent, _), info)| get_executors::Executor {
            executor_info: info.clone(),
            agent_id: agent.wire(),
        });
        GetExecutors { executors: described.collect(), ..Default::default() }
    }

    pub(super) fn describe_frameworks(&self) -> GetFrameworks {
        GetFrameworks {
            frameworks: self
                .frameworks
                .values()
                .map(|framework| self.describe_framework(framework))
                .collect(),
            completed_frameworks: self
                .completed
                .iter()
                .map(|framework| self.describe_framework(framework))
                .collect(),
            ..Default::default()
        }
    }

    pub(super) fn describe_framework(&self, framework: &Framework) -> get_frameworks::Framework {
        let id = framework.info.id.as_ref().map_or_else(|| FrameworkId(String::new()), FrameworkId::from);
        let offers = self.offers.values().filter(|offer| offer.framework == id);
        let mut offered = Amounts::default();
        offers.clone().for_each(|offer| offered.add(Some(&offer.role), &offer.resources));
        let mut allocated = Amounts::default();
        self.agents.values().for_each(|agent| self.sum_held(agent, Some(&id), &mut allocated));
        get_frameworks::Framework {
            framework_info: framework.info.clone(),
            active: framework.subscription.is_some(),
            connected: framework.subscription.is_some(),
            recovered: framework.recovered,
            registered_time: Some(time_info(framework.registered)),
            reregistered_time: framework.reregistered.map(time_info),
            unregistered_time: framework.unregistered.map(time_info),
            offers: offers
                .map(|offer| mesos::Offer {
                    id: offer.id.wire(),
                    framework_id: id.wire(),
                    agent_id: offer.agent.wire(),
                    hostname: self.hostname(&offer.agent),
                    resources: offer
                        .resources
                        .write(Style { allocated_to: Some(&offer.role), refined: true }),
                    ..Default::default()
                })
                .collect(),
            allocated_resources: allocated.write(),
            offered_resources: offered.write(),
            inverse_offers: self.maintenance.inverse.of(&id).cloned().collect(),
            offer_constraints: framework.constraints.clone(),
        }
    }

    fn hostname(&self, agent: &AgentId) -> String {
        self.agents.get(agent).map(|agent| agent.described.info.hostname.clone()).unwrap_or_default()
    }

    pub(super) fn describe_agents(&self) -> GetAgents {
        GetAgents {
            agents: self.agents.values().map(|agent| self.describe_agent(agent)).collect(),
            recovered_agents: self.recovered.values().map(|(info, _)| info.clone()).collect(),
        }
    }

    pub(super) fn describe_agent(&self, agent: &Agent) -> get_agents::Agent {
        let mut allocated = Amounts::default();
        self.sum_held(agent, None, &mut allocated);
        let mut offered = Amounts::default();
        let id = agent.id();
        self.offers.on(&id).for_each(|offer| offered.add(Some(&offer.role), &offer.resources));
        get_agents::Agent {
            agent_info: agent.described.info.clone(),
            active: agent.link.is_some(),
            version: agent.described.version.clone(),
            pid: Some(agent.described.pid.clone()),
            registered_time: Some(time_info(agent.registered)),
            reregistered_time: agent.reregistered.map(time_info),
            total_resources: amounts::shown(&agent.total, None),
            allocated_resources: allocated.write(),
            offered_resources: offered.write(),
            capabilities: agent.described.capabilities.iter().map(capability).collect(),
            deactivated: Some(agent.deactivated || agent.drain.is_some()),
            drain_info: agent.drain,
            ..Default::default()
        }
    }

    pub(super) fn describe_roles(&self) -> operator_api::response::GetRoles {
        let mut roles: std::collections::BTreeMap<String, Vec<FrameworkId>> =
            std::collections::BTreeMap::new();
        for (id, framework) in &self.frameworks {
            for role in framework.roles() {
                roles.entry(role).or_default().push(id.clone());
            }
        }
        let roles = roles.into_iter().map(|(name, frameworks)| mesos::Role {
            name,
            weight: 1.0,
            frameworks: frameworks.iter().map(FrameworkId::wire).collect(),
            ..Default::default()
        });
        operator_api::response::GetRoles { roles: roles.collect() }
    }

    /// The gauges that tests and people look at most.
    pub(super) fn describe_metrics(&self) -> Vec<mesos::Metric> {
        let connected = self.frameworks.values().filter(|f| f.subscription.is_some()).count();
        let tasks = |state: TaskState| {
            self.frameworks
                .values()
                .flat_map(|f| f.tasks.values())
                .filter(|task| task.state() == state)
                .count()
        };
        let unreachable: usize = self.frameworks.values().map(|f| f.unreachable.len()).sum();
        let linked = self.agents.values().filter(|agent| agent.link.is_some()).count();
        let since = |then: Moment| self.now.saturating_sub(then).as_secs_f64();
        [
            ("master/elected", 1.0),
            ("master/uptime_secs", since(self.started)),
            ("master/frameworks_connected", connected as f64),
            ("master/frameworks_active", connected as f64),
            ("master/frameworks_disconnected", (self.frameworks.len() - connected) as f64),
            ("master/slaves_connected", linked as f64),
            ("master/slaves_active", self.agents.values().filter(|a| a.takes_tasks()).count() as f64),
            ("master/slaves_disconnected", (self.agents.len() - linked) as f64),
            ("master/slaves_unreachable", self.unreachable.len() as f64),
            ("master/outstanding_offers", self.offers.len() as f64),
            ("master/tasks_staging", tasks(TaskState::TaskStaging) as f64),
            ("master/tasks_starting", tasks(TaskState::TaskStarting) as f64),
            ("master/tasks_running", tasks(TaskState::TaskRunning) as f64),
            ("master/tasks_killing", tasks(TaskState::TaskKilling) as f64),
            ("master/tasks_unreachable", unreachable as f64),
        ]
        .into_iter()
        .map(|(name, value)| mesos::Metric { name: name.to_owned(), value: Some(value) })
        .collect()
    }
}

fn capability(kind: &mesos::agent_info::capability::Type) -> mesos::agent_info::Capability {
    mesos::agent_info::Capability { r#type: Some((*kind).into()) }
}

fn event(kind: Type) -> operator_api::Event {
    operator_api::Event { r#type: Some(kind.into()), ..Default::default() }
}

pub(super) fn subscribed(state: GetState, heartbeat_seconds: f64) -> operator_api::Event {
    let subscribed = operator_api::event::Subscribed {
        get_state: Some(state),
        heartbeat_interval_seconds: Some(heartbeat_seconds),
    };
    operator_api::Event { subscribed: Some(subscribed), ..event(Type::Subscribed) }
}

pub(super) fn heartbeat() -> operator_api::Event {
    event(Type::Heartbeat)
}

pub(super) fn task_added(task: Task) -> operator_api::Event {
    operator_api::Event {
        task_added: Some(operator_api::event::TaskAdded { task }),
        ..event(Type::TaskAdded)
    }
}

pub(super) fn task_updated(
    framework: &FrameworkId,
    status: &TaskStatus,
    state: TaskState,
) -> operator_api::Event {
    let updated = operator_api::event::TaskUpdated {
        framework_id: framework.wire(),
        status: status.clone(),
        state: state.into(),
    };
    operator_api::Event { task_updated: Some(updated), ..event(Type::TaskUpdated) }
}

pub(super) fn agent_added(agent: get_agents::Agent) -> operator_api::Event {
    operator_api::Event {
        agent_added: Some(operator_api::event::AgentAdded { agent }),
        ..event(Type::AgentAdded)
    }
}

pub(super) fn agent_removed(agent: &AgentId) -> operator_api::Event {
    let removed = operator_api::event::AgentRemoved { agent_id: agent.wire() };
    operator_api::Event { agent_removed: Some(removed), ..event(Type::AgentRemoved) }
}

/// A framework that is new, or one that changed.
pub(super) fn framework_event(framework: get_frameworks::Framework, known: bool) -> operator_api::Event {
    if known {
        let updated = operator_api::event::FrameworkUpdated { framework };
        operator_api::Event { framework_updated: Some(updated), ..event(Type::FrameworkUpdated) }
    } else {
        let added = operator_api::event::FrameworkAdded { framework };
        operator_api::Event { framework_added: Some(added), ..event(Type::FrameworkAdded) }
    }
}

pub(super) fn framework_removed(framework_info: mesos::FrameworkInfo) -> operator_api::Event {
    let removed = operator_api::event::FrameworkRemoved { framework_info };
    operator_api::Event { framework_removed: Some(removed), ..event(Type::FrameworkRemoved) }
}
