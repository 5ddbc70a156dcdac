//! Lets frameworks in, hands them over to a newer subscription, and removes them.

use super::state::{COMPLETED_FRAMEWORKS, Core, Framework, Holder, Subscription};
use super::{Answer, ConnectionId, Effect, describe, statuses};
use crate::faults::Fault;
use crate::ids::{FrameworkId, OfferId, TaskId};
use crate::link::ToAgent;
use proto::mesos::v1::{self as mesos, scheduler};
use std::collections::BTreeSet;
use std::time::Duration;

impl Core {
    /// Answers SUBSCRIBE: always with a stream, which holds just an ERROR when the framework is refused.
    pub(super) fn on_subscribe(&mut self, subscribe: scheduler::call::Subscribe) {
        let connection = self.new_connection();
        let stream_id = self.chance.uuid().to_string();
        self.answer(Answer::Stream { connection, stream_id: Some(stream_id.clone()) });
        if let Some(problem) = self.subscribe_error(&subscribe) {
            self.out.push(Effect::Send(connection, Box::new(statuses::error(problem))));
            self.out.push(Effect::Close(connection));
            return;
        }
        let mut info = subscribe.framework_info;
        let id = match info.id.as_ref().map(FrameworkId::from) {
            Some(id) if !id.as_str().is_empty() => id,
            _ => self.new_framework_id(),
        };
        info.id = Some(id.wire());
        let known = self.frameworks.contains_key(&id);
        if known {
            self.end_old_subscription(&id);
        } else {
            self.frameworks.insert(id.clone(), Framework::new(info.clone(), self.now));
        }
        self.start_subscription(&id, connection, stream_id);
        let suppressed = subscribe.suppressed_roles.into_iter().collect();
        self.apply_info(&id, info, suppressed, subscribe.offer_constraints);
        self.publish_framework(&id, known);
        self.tell_agents_of_framework(&id);
        self.allocate();
    }

    fn new_framework_id(&mut self) -> FrameworkId {
        let number = self.counters.framework;
        self.counters.framework += 1;
        FrameworkId(format!("{}-{number:04}", self.info.id))
    }

    fn subscribe_error(&self, subscribe: &scheduler::call::Subscribe) -> Option<String> {
        let info = &subscribe.framework_info;
        if let Some(problem) = self.framework_info_error(info) {
            return Some(problem);
        }
        if let Some(problem) =
            roles_named_error(info, &subscribe.suppressed_roles, subscribe.offer_constraints.as_ref())
        {
            return Some(problem);
        }
        let id = info.id.as_ref().map(FrameworkId::from)?;
        if self.completed.iter().any(|gone| gone.info.id.as_ref().map(FrameworkId::from) == Some(id.clone()))
        {
            return Some("Framework has been removed".into());
        }
        let known = self.frameworks.get(&id).filter(|framework| !framework.recovered)?;
        (known.info.principal != info.principal)
            .then(|| "Changing framework's principal is not allowed.".into())
    }

    /// The newer subscription wins; offers of the older one are discarded without a word.
    fn end_old_subscription(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if let Some(old) = framework.subscription.take() {
            let error = Box::new(statuses::error("Framework failed over"));
            self.out.push(Effect::Send(old.connection, error));
            self.out.push(Effect::Close(old.connection));
        }
        self.discard_offers(id);
    }

    fn discard_offers(&mut self, id: &FrameworkId) {
        self.maintenance.inverse.discard(id);
        let offers: Vec<OfferId> = self
            .offers
            .values()
            .filter(|offer| offer.framework == *id)
            .map(|offer| offer.id.clone())
            .collect();
        for offer in offers {
            self.take_offer(&offer);
        }
    }

    fn start_subscription(&mut self, id: &FrameworkId, connection: ConnectionId, stream_id: String) {
        let now = self.now;
        let next_heartbeat = now + self.timings.heartbeat;
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.subscription = Some(Subscription { connection, stream_id, next_heartbeat });
            framework.expires = None;
            framework.reregistered = Some(now);
        }
        let subscribed = scheduler::event::Subscribed {
            framework_id: id.wire(),
            heartbeat_interval_seconds: Some(self.timings.heartbeat.as_secs_f64()),
            master_info: Some(self.info.clone()),
        };
        self.send(id, statuses::subscribed(subscribed));
        if !self.failing(&Fault::HeldHeartbeats) {
            self.send(id, statuses::heartbeat());
        }
    }

    /// Takes a new description over; user, checkpoint and id never change.
    fn apply_info(
        &mut self,
        id: &FrameworkId,
        mut info: mesos::FrameworkInfo,
        suppressed: BTreeSet<String>,
        constraints: Option<scheduler::OfferConstraints>,
    ) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        info.id = Some(id.wire());
        info.user.clone_from(&framework.info.user);
        info.checkpoint = framework.info.checkpoint;
        framework.info = info;
        framework.recovered = false;
        let left: Vec<String> = framework.suppressed.difference(&suppressed).cloned().collect();
        framework.filters.forget(|role| left.contains(role));
        framework.suppressed = suppressed;
        framework.constraints = constraints;
        let own = framework.roles();
        self.rescind(|offer| offer.framework == *id && !own.contains(&offer.role));
    }

    /// Agents send this framework's unacknowledged updates again.
    fn tell_agents_of_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let info = framework.info.clone();
        let links: Vec<_> = self.agents.values().filter_map(|agent| agent.link).collect();
        for link in links {
            let framework = Box::new(info.clone());
            self.out.push(Effect::Tell(link, ToAgent::UpdateFramework { framework }));
        }
    }

    fn publish_framework(&mut self, id: &FrameworkId, known: bool) {
        if let Some(framework) = self.frameworks.get(id) {
            let described = self.describe_framework(framework);
            self.publish(&describe::framework_event(described, known));
        }
    }

    /// Answers UPDATE_FRAMEWORK: all of it or nothing.
    pub(super) fn on_update_framework(&mut self, id: &FrameworkId, update: scheduler::call::UpdateFramework) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let (old, new) = (&framework.info, &update.framework_info);
        let problem = unsupported_change(old, new)
            .or_else(|| {
                self.framework_info_error(new)
                    .map(|problem| format!("Supplied FrameworkInfo is not valid: {problem}"))
            })
            .or_else(|| roles_named_error(new, &update.suppressed_roles, update.offer_constraints.as_ref()));
        if let Some(problem) = problem {
            return self.refuse(400, problem);
        }
        self.answer(Answer::Done);
        let suppressed = update.suppressed_roles.into_iter().collect();
        self.apply_info(id, update.framework_info, suppressed, update.offer_constraints);
        self.publish_framework(id, true);
        self.tell_agents_of_framework(id);
        self.allocate();
    }

    /// A stream has lost its reader.
    pub(super) fn on_disconnected(&mut self, connection: ConnectionId) {
        self.watchers.remove(&connection);
        let found = self.frameworks.iter_mut().find(|(_, framework)| {
            framework.subscription.as_ref().is_some_and(|s| s.connection == connection)
        });
        let Some((id, framework)) = found else { return };
        let id = id.clone();
        framework.subscription = None;
        framework.filters.clear();
        self.maintenance.inverse.revive(&id);
        let timeout = Duration::try_from_secs_f64(framework.info.failover_timeout()).unwrap_or_default();
        framework.expires = Some(self.now + timeout);
        self.discard_offers(&id);
        self.publish_framework(&id, true);
    }

    /// A framework ends: its tasks count as killed, its executors are told to stop, its id never comes back.
    pub(super) fn remove_framework(&mut self, id: &FrameworkId, message: &str) {
        let Some(mut framework) = self.frameworks.remove(id) else { return };
        if let Some(subscription) = framework.subscription.take() {
            self.out.push(Effect::Close(subscription.connection));
        }
        self.discard_offers(id);
        self.discard_late_accepts(id);
        self.operations.retain(|(framework, _), _| framework != id);
        for agent in self.agents.values_mut() {
            agent.held.retain(|(holder, _), _| holder != id);
            agent.kills.retain(|(framework, _, _)| framework != id);
            if let Some(link) = agent.link {
                self.out.push(Effect::Tell(link, ToAgent::ShutdownFramework { framework_id: id.clone() }));
            }
        }
        let tasks: Vec<mesos::Task> = std::mem::take(&mut framework.tasks).into_values().collect();
        for mut task in tasks.into_iter().chain(std::mem::take(&mut framework.unreachable).into_values()) {
            if !super::state::is_terminal(task.state()) {
                task.state = mesos::TaskState::TaskKilled.into();
                let (task_id, agent_id) =
                    (TaskId::from(&task.task_id), crate::ids::AgentId::from(&task.agent_id));
                let status = self.status(&statuses::MasterStatus {
                    task: &task_id,
                    agent: Some(&agent_id),
                    executor: None,
                    state: mesos::TaskState::TaskKilled,
                    reason: mesos::task_status::Reason::FrameworkRemoved,
                    message,
                });
                self.publish_task_updated(id, &status, mesos::TaskState::TaskKilled);
            }
            framework.retire(task);
        }
        framework.executors.clear();
        framework.unregistered = Some(self.now);
        framework.expires = None;
        self.publish(&describe::framework_removed(framework.info.clone()));
        if self.completed.len() >= COMPLETED_FRAMEWORKS {
            self.completed.pop_front();
        }
        self.completed.push_back(framework);
    }

    /// Frees what a task held and lets the agent's other users have it.
    pub(super) fn release_task(&mut self, id: &FrameworkId, task: &mesos::Task) {
        let agent = crate::ids::AgentId::from(&task.agent_id);
        self.release(&agent, id, Holder::Task(TaskId::from(&task.task_id)));
    }
}

fn roles_named_error(
    info: &mesos::FrameworkInfo,
    suppressed: &[String],
    constraints: Option<&scheduler::OfferConstraints>,
) -> Option<String> {
    let own = super::state::roles(info);
    let foreign: Vec<&str> =
        suppressed.iter().filter(|role| !own.contains(role)).map(String::as_str).collect();
    if !foreign.is_empty() {
        return Some(format!(
            "Suppressed roles {{ {} }} are not contained in the set of roles",
            foreign.join(", ")
        ));
    }
    constraints.and_then(|constraints| super::constraints::error(constraints, &own))
}

fn unsupported_change(old: &mesos::FrameworkInfo, new: &mesos::FrameworkInfo) -> Option<String> {
    let changed = |name: &str, from: &str, to: &str| {
        (from != to).then(|| {
            format!(
                "FrameworkInfo update is not valid: Updating 'FrameworkInfo.{name}' is unsupported; attempted to \
                 update from '{from}' to '{to}'"
            )
        })
    };
    let flag = |on: bool| if on { "true" } else { "false" };
    changed("user", &old.user, &new.user)
        .or_else(|| changed("checkpoint", flag(old.checkpoint()), flag(new.checkpoint())))
        .or_else(|| changed("principal", old.principal(), new.principal()))
}
