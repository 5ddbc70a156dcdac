//! Translates between the scheduler API's messages and our own words.
use super::launch::Template;
use super::outline;
use super::place::{place, unavailability};
use super::resource::{piece, resource, whole};
use super::{MesosEvent, Registration};
use crate::core::cluster::{InverseOffer, Offer, TaskState, Update};
use crate::core::effects::Call;
use crate::core::resources::{Form, Piece, Taken};
use crate::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::scheduler as wire;
use std::time::Duration;

/// What a record of the subscription said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    /// The first event: who we are and how often to expect a sign of life.
    Subscribed { framework: FrameworkId, master: Option<String>, heartbeat: Option<Duration> },
    /// Something for the decision core.
    Event(MesosEvent),
    /// A sign of life.
    Heartbeat,
    /// The subscription is over, in Mesos' own words.
    Error(String),
    /// Nothing that concerns us, or that this version knows.
    Other,
}

/// Reads one record. What is unknown is skipped; what is garbage is an error.
pub(super) fn read(record: &[u8]) -> Result<Heard, prost::DecodeError> {
    use wire::event::Type;
    let event = outline::event(record)?;
    let heard = match Type::try_from(event.r#type.unwrap_or(0)).unwrap_or(Type::Unknown) {
        Type::Subscribed => event.subscribed.map(|s| Heard::Subscribed {
            framework: FrameworkId(s.framework_id.value),
            master: s.master_info.map(|m| m.id),
            heartbeat: s.heartbeat_interval_seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()),
        }),
        Type::Offers => {
            let offers = event.offers.map(|o| o.offers).unwrap_or_default();
            Some(Heard::Event(MesosEvent::Offers(offers.into_iter().map(offer).collect())))
        }
        Type::Rescind => {
            event.rescind.map(|r| Heard::Event(MesosEvent::Rescinded(OfferId(r.offer_id.value))))
        }
        Type::Update => event.update.map(|u| Heard::Event(MesosEvent::Updated(update(u.status)))),
        Type::Failure => event.failure.and_then(|failure| {
            let agent = AgentId(failure.agent_id?.value);
            Some(Heard::Event(match failure.executor_id {
                Some(executor) => MesosEvent::ExecutorEnded(agent, ExecutorId(executor.value)),
                None => MesosEvent::AgentLost(agent),
            }))
        }),
        Type::Error => event.error.map(|e| Heard::Error(e.message)),
        Type::Heartbeat => Some(Heard::Heartbeat),
        Type::InverseOffers => {
            let offers = event.inverse_offers.map(|o| o.inverse_offers).unwrap_or_default();
            Some(Heard::Event(MesosEvent::InverseOffers(offers.into_iter().map(inverse_offer).collect())))
        }
        Type::RescindInverseOffer => event
            .rescind_inverse_offer
            .map(|r| Heard::Event(MesosEvent::InverseRescinded(OfferId(r.inverse_offer_id.value)))),
        Type::Message | Type::UpdateOperationStatus | Type::Unknown => None,
    };
    Ok(heard.unwrap_or(Heard::Other))
}

fn inverse_offer(offer: v1::InverseOffer) -> InverseOffer {
    InverseOffer {
        id: OfferId(offer.id.value),
        agent: offer.agent_id.map(|id| AgentId(id.value)),
        unavailability: unavailability(&offer.unavailability),
    }
}

fn offer(offer: v1::Offer) -> Offer {
    let role = offer.allocation_info.and_then(|info| info.role).unwrap_or_default();
    Offer {
        id: OfferId(offer.id.value),
        agent: AgentId(offer.agent_id.value),
        place: place(offer.hostname, offer.domain, offer.attributes),
        unavailability: offer.unavailability.as_ref().map(unavailability),
        executors: offer.executor_ids.into_iter().map(|id| ExecutorId(id.value)).collect(),
        pieces: offer.resources.iter().filter_map(|resource| piece(resource, &role)).collect(),
        role,
    }
}

fn update(status: v1::TaskStatus) -> Update {
    let reason = status.reason.map(|number| match v1::task_status::Reason::try_from(number) {
        Ok(reason) => reason.as_str_name().trim_start_matches("REASON_").to_owned(),
        Err(_) => format!("reason {number}"),
    });
    Update {
        task: TaskId(status.task_id.value),
        agent: status.agent_id.map(|id| AgentId(id.value)),
        executor: status.executor_id.map(|id| ExecutorId(id.value)),
        state: task_state(status.state),
        reason: reason.unwrap_or_default(),
        message: status.message.unwrap_or_default(),
        waits: status.data.as_deref() == Some(proto::handover::WAITS),
        uuid: status.uuid.filter(|uuid| !uuid.is_empty()),
    }
}

fn task_state(number: i32) -> TaskState {
    use v1::TaskState as Wire;
    match Wire::try_from(number) {
        Ok(Wire::TaskStaging) => TaskState::Staging,
        Ok(Wire::TaskStarting) => TaskState::Starting,
        Ok(Wire::TaskRunning) => TaskState::Running,
        Ok(Wire::TaskKilling) => TaskState::Killing,
        Ok(Wire::TaskUnreachable) => TaskState::Unreachable,
        Ok(Wire::TaskUnknown) => TaskState::Unknown,
        Ok(Wire::TaskFinished) => TaskState::Finished,
        Ok(Wire::TaskFailed) => TaskState::Failed,
        Ok(Wire::TaskKilled) => TaskState::Killed,
        Ok(Wire::TaskError) => TaskState::Error,
        Ok(Wire::TaskLost) => TaskState::Lost,
        Ok(Wire::TaskDropped) => TaskState::Dropped,
        Ok(Wire::TaskGone) => TaskState::Gone,
        Ok(Wire::TaskGoneByOperator) => TaskState::GoneByOperator,
        Err(_) => TaskState::Unheard(number),
    }
}

/// The SUBSCRIBE call; the framework id stands in both places or in none.
pub(super) fn subscribe(registration: &Registration, framework: Option<&FrameworkId>) -> Vec<u8> {
    use v1::framework_info::capability::Type;
    let id = framework.map(|id| v1::FrameworkId { value: id.0.clone() });
    let capabilities = [
        Type::MultiRole,
        Type::ReservationRefinement,
        Type::PartitionAware,
        Type::TaskKillingState,
        Type::GpuResources,
        Type::RegionAware,
    ];
    // No `offer_filters`: what is too small to run an executor on may hold a reservation that is to be given up, and says
    // on the page what a node lacks.
    let info = v1::FrameworkInfo {
        user: registration.user.clone(),
        name: registration.name.clone(),
        id: id.clone(),
        failover_timeout: Some(registration.failover_timeout.as_secs_f64()),
        checkpoint: Some(true),
        roles: registration.roles.clone(),
        principal: registration.principal.clone(),
        hostname: registration.hostname.clone(),
        webui_url: Some(registration.webui_url.clone()),
        capabilities: capabilities
            .map(|c| v1::framework_info::Capability { r#type: Some(c as i32) })
            .to_vec(),
        ..v1::FrameworkInfo::default()
    };
    let subscribe = wire::call::Subscribe { framework_info: info, ..wire::call::Subscribe::default() };
    let call = wire::Call {
        framework_id: id,
        r#type: Some(wire::call::Type::Subscribe as i32),
        subscribe: Some(subscribe),
        ..wire::Call::default()
    };
    call.encode_to_vec()
}

/// Any other call.
pub(super) fn write(framework: &FrameworkId, template: &Template, call: Call) -> Vec<u8> {
    use wire::call::{self as part, Type};
    let mut out = wire::Call {
        framework_id: Some(v1::FrameworkId { value: framework.0.clone() }),
        ..wire::Call::default()
    };
    let kind = match call {
        Call::Accept { offers, launch, spec, taken, token, refuse } => {
            let info = template.for_launch(&spec).task(&launch, &token, &taken);
            let mut operations = Vec::new();
            operations.extend(unreserve_operation(&taken.unreserve));
            operations.extend(reserve_operation(&taken));
            operations.push(launch_operation(info));
            out.accept = accept(offers, operations, refuse);
            Type::Accept
        }
        Call::Decline { offers, refuse } => {
            out.decline = Some(part::Decline { offer_ids: offer_ids(offers), filters: filters(refuse) });
            Type::Decline
        }
        Call::Unreserve { offers, pieces, refuse } => {
            let operations = unreserve_operation(&pieces).into_iter().collect();
            out.accept = accept(offers, operations, refuse);
            Type::Accept
        }
        Call::AcceptInverse { offers, refuse } => {
            let accept =
                part::AcceptInverseOffers { inverse_offer_ids: offer_ids(offers), filters: filters(refuse) };
            out.accept_inverse_offers = Some(accept);
            Type::AcceptInverseOffers
        }
        Call::DeclineInverse { offers, refuse } => {
            let decline =
                part::DeclineInverseOffers { inverse_offer_ids: offer_ids(offers), filters: filters(refuse) };
            out.decline_inverse_offers = Some(decline);
            Type::DeclineInverseOffers
        }
        Call::Teardown => Type::Teardown,
        Call::Revive => Type::Revive,
        Call::Kill(task, agent) => {
            let (task_id, agent_id) = (task_id(task), Some(agent_id(agent)));
            out.kill = Some(part::Kill { task_id, agent_id, kill_policy: None });
            Type::Kill
        }
        Call::Shutdown(executor, agent) => {
            out.shutdown =
                Some(part::Shutdown { executor_id: executor_id(executor), agent_id: agent_id(agent) });
            Type::Shutdown
        }
        Call::Acknowledge { task, agent, uuid } => {
            let (agent_id, task_id) = (agent_id(agent), task_id(task));
            out.acknowledge = Some(part::Acknowledge { agent_id, task_id, uuid });
            Type::Acknowledge
        }
        Call::Reconcile(tasks) => {
            let named = |(task, agent)| part::reconcile::Task {
                task_id: task_id(task),
                agent_id: Some(agent_id(agent)),
            };
            out.reconcile = Some(part::Reconcile { tasks: tasks.into_iter().map(named).collect() });
            Type::Reconcile
        }
        Call::Message { agent, executor, data } => {
            let (agent_id, executor_id) = (agent_id(agent), executor_id(executor));
            out.message = Some(part::Message { agent_id, executor_id, data });
            Type::Message
        }
    };
    out.r#type = Some(kind as i32);
    out.encode_to_vec()
}

fn accept(
    offers: Vec<OfferId>,
    operations: Vec<v1::offer::Operation>,
    refuse: Duration,
) -> Option<wire::call::Accept> {
    Some(wire::call::Accept { offer_ids: offer_ids(offers), operations, filters: filters(refuse) })
}

fn unreserve_operation(pieces: &[Piece]) -> Option<v1::offer::Operation> {
    let resources: Vec<v1::Resource> = pieces.iter().filter_map(whole).collect();
    (!resources.is_empty()).then(|| v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Unreserve as i32),
        unreserve: Some(v1::offer::operation::Unreserve { resources }),
        ..v1::offer::Operation::default()
    })
}

fn reserve_operation(taken: &Taken) -> Option<v1::offer::Operation> {
    let reserved = taken.portions().filter(|portion| portion.form == Form::Reserved);
    let resources: Vec<v1::Resource> =
        reserved.filter_map(|portion| resource(portion, taken.reservation.as_ref())).collect();
    (!resources.is_empty()).then(|| v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Reserve as i32),
        reserve: Some(v1::offer::operation::Reserve {
            resources,
            ..v1::offer::operation::Reserve::default()
        }),
        ..v1::offer::Operation::default()
    })
}

fn launch_operation(task: v1::TaskInfo) -> v1::offer::Operation {
    v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Launch as i32),
        launch: Some(v1::offer::operation::Launch { task_infos: vec![task] }),
        ..v1::offer::Operation::default()
    }
}

fn filters(refuse: Duration) -> Option<v1::Filters> {
    Some(v1::Filters { refuse_seconds: Some(refuse.as_secs_f64()) })
}

fn offer_ids(offers: Vec<OfferId>) -> Vec<v1::OfferId> {
    offers.into_iter().map(|id| v1::OfferId { value: id.0 }).collect()
}

fn task_id(id: TaskId) -> v1::TaskId {
    v1::TaskId { value: id.0 }
}

fn agent_id(id: AgentId) -> v1::AgentId {
    v1::AgentId { value: id.0 }
}

fn executor_id(id: ExecutorId) -> v1::ExecutorId {
    v1::ExecutorId { value: id.0 }
}
