//! Answers ACCEPT: uses offers up, and applies the operations in order, each to what the one before has left.

use super::calls::refuse_duration;
use super::operations::feedback_error;
use super::state::{Core, Offer};
use super::statuses::{self, MasterStatus, or_lost};
use crate::ids::{AgentId, FrameworkId, OfferId, TaskId};
use crate::resources::Resources;
use mesos::offer::Operation;
use mesos::offer::operation::Type;
use mesos::task_status::Reason;
use mesos::{TaskInfo, TaskState};
use proto::mesos::v1::{self as mesos, scheduler};
use std::collections::BTreeSet;
use std::time::Duration;

/// The offers of one ACCEPT while its operations are applied.
pub(super) struct Accepting {
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentId,
    pub(super) role: String,
    /// What is left.
    pub(super) remaining: Resources,
    /// What operations have made of offered resources; given back without a filter when unused.
    pub(super) converted: Resources,
}

/// An ACCEPT whose offers were good.
pub(super) struct Accepted {
    pub(super) accepting: Accepting,
    operations: Vec<Operation>,
    /// How long what is left over is not offered again.
    refuse: Duration,
}

impl Core {
    pub(super) fn on_accept(&mut self, id: &FrameworkId, accept: scheduler::call::Accept) {
        let refuse = refuse_duration(accept.filters.as_ref());
        let problem = self.offers_error(id, &accept.offer_ids);
        let offers: Vec<Offer> = self.use_up(id, &accept.offer_ids);
        if let Some(problem) = problem {
            return self.fail_accept(id, accept.operations, &problem);
        }
        let Some(first) = offers.first() else { return };
        let (agent, role) = (first.agent.clone(), first.role.clone());
        let mut remaining = Resources::default();
        for offer in &offers {
            remaining.add(&offer.resources);
        }
        let accepting =
            Accepting { framework: id.clone(), agent, role, remaining, converted: Resources::default() };
        self.accept_in_time(Accepted { accepting, operations: accept.operations, refuse });
    }

    /// Applies operations, unless their agent has left since.
    pub(super) fn apply_accepted(&mut self, accepted: Accepted) {
        let Accepted { mut accepting, operations, refuse } = accepted;
        let left = match self.agents.get(&accepting.agent) {
            None => Some((Reason::AgentRemoved, "Agent removed")),
            Some(agent) if agent.link.is_none() => Some((Reason::AgentDisconnected, "Agent disconnected")),
            Some(_) => None,
        };
        if let Some((reason, message)) = left {
            return self.drop_operations(&accepting.framework, operations, reason, message);
        }
        let id = &accepting.framework.clone();
        for operation in operations {
            self.apply_operation(&mut accepting, operation);
        }
        let mut refused = accepting.remaining;
        refused.subtract(&accepting.converted);
        self.refuse_resources(id, &accepting.agent, &accepting.role, (refused, refuse));
    }

    /// What is wrong with the offers of an ACCEPT.
    fn offers_error(&self, id: &FrameworkId, offer_ids: &[mesos::OfferId]) -> Option<String> {
        if offer_ids.is_empty() {
            return Some("No offers specified".into());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = offer_ids.iter().find(|id| !seen.insert(id.value.as_str())) {
            return Some(format!("Duplicate offer {} in offer list", twice.value));
        }
        let mut first: Option<&Offer> = None;
        for offer_id in offer_ids {
            let offer = self.offers.get(&OfferId::from(offer_id)).filter(|offer| offer.framework == *id);
            let Some(offer) = offer else {
                return Some(format!("Offer {} is no longer valid", offer_id.value));
            };
            let first = *first.get_or_insert(offer);
            if first.agent != offer.agent {
                return Some(format!(
                    "Aggregated offers must belong to one single agent. Offer {} uses agent {} and offer {} uses agent {}",
                    offer.id, offer.agent, first.id, first.agent
                ));
            }
            if first.role != offer.role {
                return Some(format!(
                    "Aggregated offers must be allocated to the same role. Offer {} uses role {} but another is \
                     using role {}",
                    offer.id, offer.role, first.role
                ));
            }
        }
        None
    }

    fn use_up(&mut self, id: &FrameworkId, offer_ids: &[mesos::OfferId]) -> Vec<Offer> {
        let own =
            |core: &Self, offer: &OfferId| core.offers.get(offer).is_some_and(|offer| offer.framework == *id);
        offer_ids
            .iter()
            .map(OfferId::from)
            .filter_map(|offer| if own(self, &offer) { self.take_offer(&offer) } else { None })
            .collect()
    }

    /// The whole ACCEPT fails: its tasks are dropped, its operations with an id fail.
    fn fail_accept(&mut self, id: &FrameworkId, operations: Vec<Operation>, problem: &str) {
        let message = format!("Task launched with invalid offers: {problem}");
        self.drop_operations(id, operations, Reason::InvalidOffers, &message);
    }

    /// Tasks of operations that are not applied are dropped; other operations fail.
    fn drop_operations(
        &mut self,
        id: &FrameworkId,
        operations: Vec<Operation>,
        reason: Reason,
        message: &str,
    ) {
        for operation in operations {
            match operation.r#type() {
                Type::Launch | Type::LaunchGroup => {
                    let Some(framework) = self.frameworks.get(id) else { return };
                    let state = or_lost(framework, TaskState::TaskDropped);
                    for task in tasks_of(operation) {
                        self.refuse_task(id, &task, (state, reason), message);
                    }
                }
                _ => self.operation_error(id, &operation, message),
            }
        }
    }

    /// Tells that a task of an ACCEPT does not start.
    pub(super) fn refuse_task(
        &mut self,
        id: &FrameworkId,
        task: &TaskInfo,
        (state, reason): (TaskState, Reason),
        message: &str,
    ) {
        let (task_id, agent) = (TaskId::from(&task.task_id), AgentId::from(&task.agent_id));
        let status =
            MasterStatus { task: &task_id, agent: Some(&agent), executor: None, state, reason, message };
        self.send_status(id, &status);
    }

    fn apply_operation(&mut self, accepting: &mut Accepting, operation: Operation) {
        let launches = matches!(operation.r#type(), Type::Launch | Type::LaunchGroup);
        if operation.id.is_some()
            && !launches
            && let Some(problem) = self.agents.get(&accepting.agent).and_then(feedback_error)
        {
            return self.operation_error(&accepting.framework.clone(), &operation, &problem);
        }
        match operation.r#type() {
            Type::Launch => self.launch(accepting, operation),
            Type::LaunchGroup => self.launch_group(accepting, operation),
            Type::Reserve => self.reserve(accepting, &operation),
            Type::Unreserve => self.unreserve(accepting, &operation),
            Type::Unknown
            | Type::Create
            | Type::Destroy
            | Type::GrowVolume
            | Type::ShrinkVolume
            | Type::CreateDisk
            | Type::DestroyDisk => {
                let framework = accepting.framework.clone();
                self.operation_error(&framework, &operation, "this cluster has no volumes");
            }
        }
    }

    /// Feedback for an operation that has an id; without one it is silently dropped.
    pub(super) fn operation_error(&mut self, id: &FrameworkId, operation: &Operation, message: &str) {
        let Some(operation_id) = operation.id.clone() else { return };
        let status = mesos::OperationStatus {
            operation_id: Some(operation_id),
            state: mesos::OperationState::OperationError.into(),
            message: Some(message.to_owned()),
            ..Default::default()
        };
        self.send(id, statuses::operation_status(status));
    }
}

/// The tasks that an operation would launch.
fn tasks_of(operation: Operation) -> Vec<TaskInfo> {
    let single = operation.launch.map(|launch| launch.task_infos).unwrap_or_default();
    let group = operation.launch_group.map(|group| group.task_group.tasks).unwrap_or_default();
    single.into_iter().chain(group).collect()
}
