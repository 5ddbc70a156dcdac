//! Checks that a scheduler's call is well-formed and allowed, and hands it to whoever answers it.

use super::Answer;
use super::state::Core;
use crate::faults::Fault;
use crate::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId, is_uuid};
use crate::link::ToAgent;
use crate::resources::Resources;
use proto::mesos::v1::maintenance::inverse_offer_status::Status;
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::Call;
use scheduler::call::Type;
use std::time::Duration;

/// What is wrong with the form of a call, in Mesos' words; otherwise its type.
pub(crate) fn validate_call(call: &Call) -> Result<Type, String> {
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or_else(|| missing("type"))?;
    if kind == Type::Subscribe {
        let subscribe = call.subscribe.as_ref().ok_or_else(|| missing("subscribe"))?;
        let text = |id: Option<&mesos::FrameworkId>| id.map(|id| id.value.clone()).unwrap_or_default();
        if text(call.framework_id.as_ref()) != text(subscribe.framework_info.id.as_ref()) {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".into());
        }
        return Ok(kind);
    }
    if call.framework_id.is_none() {
        return Err(missing("framework_id"));
    }
    let member = match kind {
        Type::Accept => ("accept", call.accept.is_some()),
        Type::Decline => ("decline", call.decline.is_some()),
        Type::AcceptInverseOffers => ("accept_inverse_offers", call.accept_inverse_offers.is_some()),
        Type::DeclineInverseOffers => ("decline_inverse_offers", call.decline_inverse_offers.is_some()),
        Type::Kill => ("kill", call.kill.is_some()),
        Type::Shutdown => ("shutdown", call.shutdown.is_some()),
        Type::Acknowledge => ("acknowledge", call.acknowledge.is_some()),
        Type::AcknowledgeOperationStatus => {
            ("acknowledge_operation_status", call.acknowledge_operation_status.is_some())
        }
        Type::Reconcile => ("reconcile", call.reconcile.is_some()),
        Type::ReconcileOperations => ("reconcile_operations", call.reconcile_operations.is_some()),
        Type::Message => ("message", call.message.is_some()),
        Type::Request => ("request", call.request.is_some()),
        Type::UpdateFramework => ("update_framework", call.update_framework.is_some()),
        Type::Unknown | Type::Subscribe | Type::Teardown | Type::Revive | Type::Suppress => ("", true),
    };
    if let (name, false) = member {
        return Err(missing(name));
    }
    let uuid = match kind {
        Type::Acknowledge => call.acknowledge.as_ref().map(|a| &a.uuid),
        Type::AcknowledgeOperationStatus => call.acknowledge_operation_status.as_ref().map(|a| &a.uuid),
        _ => None,
    };
    match uuid {
        Some(uuid) if !is_uuid(uuid) => Err("Not a valid UUID".into()),
        _ => Ok(kind),
    }
}

/// A framework is whom it authenticated as; one that does not say who it is becomes that.
pub(super) fn claim(call: &mut Call, principal: Option<String>) -> Result<(), String> {
    let Some(principal) = principal else { return Ok(()) };
    let info = match (&mut call.subscribe, &mut call.update_framework) {
        (Some(subscribe), _) => &mut subscribe.framework_info,
        (None, Some(update)) => &mut update.framework_info,
        (None, None) => return Ok(()),
    };
    match &info.principal {
        Some(named) if *named != principal => Err(format!(
            "Failed to validate scheduler::Call: Authenticated principal '{principal}' does not match principal \
             '{named}' set in `FrameworkInfo`"
        )),
        _ => {
            info.principal = Some(principal);
            Ok(())
        }
    }
}

fn missing(name: &str) -> String {
    format!("Expecting '{name}' to be present")
}

impl Core {
    /// Answers a call of a scheduler. The form was checked by `validate_call`.
    pub(super) fn on_call(&mut self, call: Call, stream_id: Option<String>) {
        let kind = call.r#type();
        if kind == Type::Subscribe {
            if stream_id.is_some() {
                return self.refuse(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header");
            }
            return match call.subscribe {
                Some(subscribe) => self.on_subscribe(subscribe),
                None => self.refuse(400, missing("subscribe")),
            };
        }
        let id =
            call.framework_id.as_ref().map(FrameworkId::from).unwrap_or_else(|| FrameworkId(String::new()));
        let Some(framework) = self.frameworks.get(&id) else {
            return self.refuse(400, "Framework cannot be found");
        };
        let Some(subscription) = &framework.subscription else {
            return self.refuse(403, "Framework is not subscribed");
        };
        match stream_id {
            None => {
                return self
                    .refuse(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header");
            }
            Some(given) if given != subscription.stream_id => {
                let text = format!(
                    "The stream ID '{given}' included in this request didn't match the stream ID currently \
                     associated with framework ID {id}"
                );
                return self.refuse(400, text);
            }
            Some(_) => {}
        }
        match kind {
            Type::UpdateFramework => {
                if let Some(update) = call.update_framework {
                    self.on_update_framework(&id, update);
                }
            }
            Type::Unknown => {
                self.refuse(501, "Unknown call; a real master of Mesos 1.12 aborts here, never send it");
            }
            _ => {
                self.answer(Answer::Accepted);
                self.on_accepted_call(&id, kind, call);
            }
        }
    }

    fn on_accepted_call(&mut self, id: &FrameworkId, kind: Type, call: Call) {
        match kind {
            Type::Teardown => self.remove_framework(id, "Framework has been torn down"),
            Type::Accept => self.on_accept(id, call.accept.unwrap_or_default()),
            Type::Decline => self.on_decline(id, call.decline.unwrap_or_default()),
            Type::Revive => self.on_revive(id, &call.revive.unwrap_or_default().roles),
            Type::Suppress => self.on_suppress(id, &call.suppress.unwrap_or_default().roles),
            Type::Kill => self.on_kill(id, call.kill.unwrap_or_default()),
            Type::Shutdown => self.on_shutdown(id, &call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.on_acknowledge(id, call.acknowledge.unwrap_or_default()),
            Type::Reconcile => self.on_reconcile(id, &call.reconcile.unwrap_or_default().tasks),
            Type::Message => self.on_message(id, call.message.unwrap_or_default()),
            Type::ReconcileOperations => {
                self.on_reconcile_operations(id, &call.reconcile_operations.unwrap_or_default());
            }
            Type::AcceptInverseOffers => {
                let call = call.accept_inverse_offers.unwrap_or_default();
                self.on_inverse_answer(id, (call.inverse_offer_ids, call.filters, Status::Accept));
            }
            Type::DeclineInverseOffers => {
                let call = call.decline_inverse_offers.unwrap_or_default();
                self.on_inverse_answer(id, (call.inverse_offer_ids, call.filters, Status::Decline));
            }
            Type::AcknowledgeOperationStatus => {
                self.on_acknowledge_operation(id, call.acknowledge_operation_status.unwrap_or_default());
            }
            // Allocation takes no hints, as in a real Mesos.
            Type::Request => {}
            Type::Unknown | Type::Subscribe | Type::UpdateFramework => {}
        }
    }

    fn on_decline(&mut self, id: &FrameworkId, decline: scheduler::call::Decline) {
        let refuse = refuse_duration(decline.filters.as_ref());
        for offer in &decline.offer_ids {
            let offer = OfferId::from(offer);
            if self.offers.get(&offer).is_some_and(|offer| offer.framework == *id)
                && let Some(offer) = self.take_offer(&offer)
            {
                self.refuse_resources(id, &offer.agent, &offer.role, (offer.resources, refuse));
            }
        }
    }

    /// Does not offer these resources to this framework for a while.
    pub(super) fn refuse_resources(
        &mut self,
        id: &FrameworkId,
        agent: &AgentId,
        role: &str,
        (refused, refuse): (Resources, Duration),
    ) {
        if refused.is_empty() || refuse.is_zero() {
            return;
        }
        let until = self.now + refuse.max(self.timings.allocation);
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.filters.add(agent, role, refused, until);
        }
    }

    fn on_revive(&mut self, id: &FrameworkId, roles: &[String]) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let own = framework.roles();
        if roles.iter().any(|role| !own.contains(role)) {
            return;
        }
        let revived = |role: &String| roles.is_empty() || roles.contains(role);
        framework.suppressed.retain(|role| !revived(role));
        framework.filters.forget(revived);
        self.maintenance.inverse.revive(id);
        self.allocate();
    }

    fn on_suppress(&mut self, id: &FrameworkId, roles: &[String]) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let own = framework.roles();
        if roles.iter().any(|role| !own.contains(role)) {
            return;
        }
        let roles = if roles.is_empty() { own } else { roles.to_vec() };
        framework.suppressed.extend(roles);
    }

    fn on_shutdown(&mut self, id: &FrameworkId, shutdown: &scheduler::call::Shutdown) {
        let (agent, executor) = (AgentId::from(&shutdown.agent_id), ExecutorId::from(&shutdown.executor_id));
        let known = self
            .frameworks
            .get(id)
            .is_some_and(|f| f.executors.contains_key(&(agent.clone(), executor.clone())));
        if known {
            self.tell_agent(
                &agent,
                ToAgent::ShutdownExecutor { framework_id: id.clone(), executor_id: executor },
            );
        }
    }

    fn on_message(&mut self, id: &FrameworkId, message: scheduler::call::Message) {
        if self.failing(&Fault::LostMessages) {
            return;
        }
        let agent = AgentId::from(&message.agent_id);
        let executor_id = ExecutorId::from(&message.executor_id);
        self.tell_agent(
            &agent,
            ToAgent::Message { framework_id: id.clone(), executor_id, data: message.data },
        );
    }

    fn on_acknowledge(&mut self, id: &FrameworkId, acknowledge: scheduler::call::Acknowledge) {
        let agent = AgentId::from(&acknowledge.agent_id);
        if self.agents.get(&agent).is_none_or(|agent| agent.link.is_none()) {
            return;
        }
        let task_id = TaskId::from(&acknowledge.task_id);
        self.forget_if_finished(id, &task_id, &acknowledge.uuid);
        let uuid = acknowledge.uuid;
        self.tell_agent(&agent, ToAgent::Acknowledge { framework_id: id.clone(), task_id, uuid });
    }
}

/// How long declined resources are not offered again: 5 s unless said otherwise, at most a year.
pub(super) fn refuse_duration(filters: Option<&mesos::Filters>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(31_536_000);
    let Some(seconds) = filters.map(mesos::Filters::refuse_seconds) else { return DEFAULT };
    if seconds.is_nan() || seconds < 0.0 {
        return DEFAULT;
    }
    Duration::try_from_secs_f64(seconds).map_or(LONGEST, |refuse| refuse.min(LONGEST))
}
