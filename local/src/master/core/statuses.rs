//! Makes the events that schedulers get.

use super::Core;
use super::state::Framework;
use crate::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use mesos::framework_info::capability::Type as Capability;
use mesos::task_status::{Reason, Source};
use mesos::{TaskState, TaskStatus};
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::event::Type;

/// A status that the master itself makes: no uuid, sent once.
pub(super) struct MasterStatus<'a> {
    pub(super) task: &'a TaskId,
    pub(super) agent: Option<&'a AgentId>,
    pub(super) executor: Option<&'a ExecutorId>,
    pub(super) state: TaskState,
    pub(super) reason: Reason,
    pub(super) message: &'a str,
}

impl Core {
    /// A status with the time of now.
    pub(super) fn status(&self, what: &MasterStatus<'_>) -> TaskStatus {
        TaskStatus {
            task_id: what.task.wire(),
            state: what.state.into(),
            message: Some(what.message.to_owned()),
            agent_id: what.agent.map(AgentId::wire),
            executor_id: what.executor.map(ExecutorId::wire),
            timestamp: Some(self.now.as_secs_f64()),
            source: Some(Source::Master.into()),
            reason: Some(what.reason.into()),
            ..Default::default()
        }
    }

    /// Sends a status of the master's own.
    pub(super) fn send_status(&mut self, framework: &FrameworkId, what: &MasterStatus<'_>) {
        let status = self.status(what);
        self.send(framework, update(status));
    }

    /// Tells operators of a new state of a task.
    pub(super) fn publish_task_updated(
        &mut self,
        framework: &FrameworkId,
        status: &TaskStatus,
        state: TaskState,
    ) {
        self.publish(&super::describe::task_updated(framework, status, state));
    }
}

/// The state itself for frameworks that know of partitions, LOST for others.
pub(super) fn or_lost(framework: &Framework, state: TaskState) -> TaskState {
    if framework.can(Capability::PartitionAware) { state } else { TaskState::TaskLost }
}

fn event(kind: Type) -> scheduler::Event {
    scheduler::Event { r#type: Some(kind.into()), ..Default::default() }
}

pub(super) fn update(status: TaskStatus) -> scheduler::Event {
    scheduler::Event { update: Some(scheduler::event::Update { status }), ..event(Type::Update) }
}

pub(super) fn rescind(offer: &OfferId) -> scheduler::Event {
    scheduler::Event {
        rescind: Some(scheduler::event::Rescind { offer_id: offer.wire() }),
        ..event(Type::Rescind)
    }
}

pub(super) fn offers(offers: Vec<mesos::Offer>) -> scheduler::Event {
    scheduler::Event { offers: Some(scheduler::event::Offers { offers }), ..event(Type::Offers) }
}

pub(super) fn inverse_offers(inverse_offers: Vec<mesos::InverseOffer>) -> scheduler::Event {
    scheduler::Event {
        inverse_offers: Some(scheduler::event::InverseOffers { inverse_offers }),
        ..event(Type::InverseOffers)
    }
}

pub(super) fn rescind_inverse_offer(offer: &OfferId) -> scheduler::Event {
    scheduler::Event {
        rescind_inverse_offer: Some(scheduler::event::RescindInverseOffer { inverse_offer_id: offer.wire() }),
        ..event(Type::RescindInverseOffer)
    }
}

pub(super) fn error(message: impl Into<String>) -> scheduler::Event {
    let message = message.into();
    scheduler::Event { error: Some(scheduler::event::Error { message }), ..event(Type::Error) }
}

pub(super) fn heartbeat() -> scheduler::Event {
    event(Type::Heartbeat)
}

pub(super) fn subscribed(subscribed: scheduler::event::Subscribed) -> scheduler::Event {
    scheduler::Event { subscribed: Some(subscribed), ..event(Type::Subscribed) }
}

pub(super) fn message(agent: &AgentId, executor: &ExecutorId, data: Vec<u8>) -> scheduler::Event {
    let message = scheduler::event::Message { agent_id: agent.wire(), executor_id: executor.wire(), data };
    scheduler::Event { message: Some(message), ..event(Type::Message) }
}

/// An executor that ended, or, without one, an agent that left.
pub(super) fn failure(agent: &AgentId, executor: Option<(&ExecutorId, i32)>) -> scheduler::Event {
    let failure = scheduler::event::Failure {
        agent_id: Some(agent.wire()),
        executor_id: executor.map(|(id, _)| id.wire()),
        status: executor.map(|(_, status)| status),
    };
    scheduler::Event { failure: Some(failure), ..event(Type::Failure) }
}

pub(super) fn operation_status(status: mesos::OperationStatus) -> scheduler::Event {
    scheduler::Event {
        update_operation_status: Some(scheduler::event::UpdateOperationStatus { status }),
        ..event(Type::UpdateOperationStatus)
    }
}
