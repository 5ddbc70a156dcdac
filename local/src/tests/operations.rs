//! Reservations and the feedback of operations, as schedulers see them.

use super::guest::{Guest, MASTER, launch, scalar, task};
use crate::faults::Fault;
use crate::master::core::{Answer, Input};
use mesos::offer::{Operation, operation};
use mesos::resource::ReservationInfo;
use mesos::resource::reservation_info::Type as Kind;
use mesos::{OperationState, OperationStatus};
use proto::mesos::v1::{self as mesos, master as operator_api, scheduler};
use scheduler::call::Type;
use std::time::Duration;

fn reserved(value: f64) -> mesos::Resource {
    let entry = ReservationInfo {
        role: Some("logherd".into()),
        r#type: Some(Kind::Dynamic.into()),
        ..Default::default()
    };
    mesos::Resource { reservations: vec![entry], ..scalar("cpus", value) }
}

fn reserve(id: Option<&str>, resources: Vec<mesos::Resource>) -> Operation {
    Operation {
        r#type: Some(operation::Type::Reserve.into()),
        reserve: Some(operation::Reserve { resources, ..Default::default() }),
        id: id.map(|id| mesos::OperationId { value: id.into() }),
        ..Default::default()
    }
}

fn unreserve(id: Option<&str>, resources: Vec<mesos::Resource>) -> Operation {
    Operation {
        r#type: Some(operation::Type::Unreserve.into()),
        unreserve: Some(operation::Unreserve { resources }),
        id: id.map(|id| mesos::OperationId { value: id.into() }),
        ..Default::default()
    }
}

fn feedback(events: Vec<scheduler::Event>) -> Vec<OperationStatus> {
    events.into_iter().filter_map(|event| event.update_operation_status).map(|update| update.status).collect()
}

fn acknowledge(guest: &mut Guest, status: &OperationStatus) {
    let call = scheduler::call::AcknowledgeOperationStatus {
        agent_id: status.agent_id.clone(),
        uuid: status.uuid.clone().unwrap().value,
        operation_id: status.operation_id.clone().unwrap(),
        ..Default::default()
    };
    let call = scheduler::Call { acknowledge_operation_status: Some(call), ..Default::default() };
    guest.call(Type::AcknowledgeOperationStatus, call);
}

fn reconcile(guest: &mut Guest, named: &[(&str, Option<mesos::AgentId>)]) -> Vec<OperationState> {
    let operations = named.iter().map(|(id, agent_id)| scheduler::call::reconcile_operations::Operation {
        operation_id: mesos::OperationId { value: (*id).into() },
        agent_id: agent_id.clone(),
        ..Default::default()
    });
    let call = scheduler::call::ReconcileOperations { operations: operations.collect() };
    guest.news();
    guest.call(
        Type::ReconcileOperations,
        scheduler::Call { reconcile_operations: Some(call), ..Default::default() },
    );
    let statuses = feedback(guest.news());
    assert!(statuses.iter().all(|status| status.uuid.is_none()), "answers are not acknowledged");
    statuses.iter().map(OperationStatus::state).collect()
}

#[test]
fn feedback_comes_from_the_agent_again_and_again_until_it_is_acknowledged() {
    let mut guest = Guest::new(1);
    let offer = guest.new_offers().remove(0);
    guest.accept(&offer, vec![reserve(Some("r1"), vec![reserved(1.0)])]);
    let first = feedback(guest.news()).remove(0);
    assert_eq!(first.state(), OperationState::OperationFinished);
    assert_eq!(first.agent_id, Some(guest.agent_id(0)));
    let uuid = first.uuid.clone().expect("a uuid");
    assert_eq!(reconcile(&mut guest, &[("r1", None)]), [OperationState::OperationFinished]);
    guest.world.advance(Duration::from_secs(11));
    assert_eq!(feedback(guest.news()).remove(0).uuid, Some(uuid.clone()), "after ten seconds");
    guest.world.advance(Duration::from_secs(15));
    assert!(feedback(guest.news()).is_empty(), "the pause has doubled");
    guest.subscribe_again();
    let again = feedback(guest.news()).remove(0);
    assert_eq!(again.uuid, Some(uuid), "at once after a new subscription");
    let listed = guest.ask(operator_api::call::Type::GetOperations).get_operations.unwrap().operations;
    assert_eq!(listed.len(), 1);
    acknowledge(&mut guest, &again);
    guest.world.advance(Duration::from_secs(3600));
    assert!(feedback(guest.news()).is_empty());
    assert_eq!(
        reconcile(&mut guest, &[("r1", Some(again.agent_id.unwrap()))]),
        [OperationState::OperationUnknown]
    );
}

#[test]
fn an_operation_without_an_id_is_silent_and_one_that_cannot_be_fails_with_its_id_only() {
    let mut guest = Guest::new(1);
    let offer = guest.new_offers().remove(0);
    guest.accept(&offer, vec![reserve(None, vec![reserved(1.0)]), reserve(None, vec![reserved(100.0)])]);
    guest.world.advance(Duration::from_secs(2));
    let events = guest.news();
    let offer = events.iter().find_map(|event| event.offers.clone()).unwrap().offers.remove(0);
    assert!(feedback(events).is_empty());
    assert!(offer.resources.iter().any(|resource| !resource.reservations.is_empty()));
    let with_source = Operation {
        reserve: Some(operation::Reserve {
            resources: vec![reserved(1.0)],
            source: vec![scalar("cpus", 1.0)],
        }),
        ..reserve(Some("r2"), vec![])
    };
    guest.accept(&offer, vec![with_source, unreserve(Some("u1"), vec![scalar("cpus", 1.0)])]);
    let failed = feedback(guest.news());
    assert_eq!(failed.len(), 2);
    for status in failed {
        assert_eq!(status.state(), OperationState::OperationError);
        assert!(status.uuid.is_none() && !status.message().is_empty());
    }
}

#[test]
fn what_is_reserved_can_be_used_by_the_next_operation_of_the_same_accept() {
    let mut guest = Guest::new(1);
    let offer = guest.new_offers().remove(0);
    let on_reserved = mesos::TaskInfo { resources: vec![reserved(1.0)], ..task(&offer.agent_id, "a") };
    guest.accept(&offer, vec![reserve(None, vec![reserved(1.0)]), launch(vec![on_reserved])]);
    assert!(guest.new_statuses().is_empty(), "it was launched");
    assert_eq!(guest.ask(operator_api::call::Type::GetTasks).get_tasks.unwrap().tasks.len(), 1);
}

#[test]
fn an_agent_that_cannot_give_feedback_fails_operations_that_want_it() {
    let mut guest = Guest::new(1);
    guest.world.kill_agent(0);
    let lacking = mesos::agent_info::capability::Type::AgentOperationFeedback;
    guest.world.agents[0].described.capabilities.retain(|capability| *capability != lacking);
    guest.world.start_agent(0);
    guest.world.advance(Duration::from_secs(2));
    let offer = guest.new_offers().pop().unwrap();
    guest.accept(&offer, vec![reserve(Some("r1"), vec![reserved(1.0)])]);
    assert_eq!(feedback(guest.news()).remove(0).state(), OperationState::OperationError);
}

#[test]
fn operations_that_nobody_knows_are_told_by_what_is_known_of_their_agent() {
    let mut guest = Guest::new(2);
    let (away, gone) = (guest.agent_id(0), guest.agent_id(1));
    guest.world.kill_agent(0);
    guest.world.advance(Duration::from_secs(601));
    let mark = operator_api::call::MarkAgentGone { agent_id: gone.clone() };
    let mark = operator_api::Call { mark_agent_gone: Some(mark), ..Default::default() };
    guest.operate(operator_api::call::Type::MarkAgentGone, mark);
    let stranger = mesos::AgentId { value: "stranger".into() };
    let states =
        reconcile(&mut guest, &[("a", Some(away)), ("b", Some(gone)), ("c", Some(stranger)), ("d", None)]);
    use OperationState as S;
    let expected =
        [S::OperationUnreachable, S::OperationGoneByOperator, S::OperationUnknown, S::OperationUnknown];
    assert_eq!(states, expected);
}

#[test]
fn operations_of_an_agent_that_becomes_unreachable_are_told_so() {
    let mut guest = Guest::new(1);
    let offer = guest.new_offers().remove(0);
    guest.accept(&offer, vec![reserve(Some("r1"), vec![reserved(1.0)])]);
    guest.news();
    guest.world.kill_agent(0);
    guest.world.advance(Duration::from_secs(601));
    let told: Vec<_> = feedback(guest.news()).iter().map(OperationStatus::state).collect();
    assert_eq!(told, [OperationState::OperationUnreachable]);
}

#[test]
fn an_agent_that_leaves_between_offer_and_launch_drops_the_tasks_with_the_reason() {
    use mesos::task_status::Reason;
    for (seconds, reason) in [(5, Reason::AgentDisconnected), (700, Reason::AgentRemoved)] {
        let mut guest = Guest::new(1);
        let late = Fault::LateAccepts(Duration::from_secs(seconds));
        guest.world.master_step(Input::Faults(vec![late]));
        let offer = guest.new_offers().remove(0);
        guest.launch(&offer, "a");
        guest.accept(&offer, vec![launch(vec![task(&offer.agent_id, "b")])]);
        let refused = guest.new_statuses().remove(0);
        assert_eq!(refused.reason(), Reason::InvalidOffers, "the offer is used up at once");
        guest.world.kill_agent(0);
        guest.world.advance(Duration::from_secs(seconds + 1));
        let dropped = guest.new_statuses().remove(0);
        assert_eq!((dropped.state(), dropped.reason()), (mesos::TaskState::TaskDropped, reason));
        assert_eq!(dropped.task_id.value, "task-a");
        assert!(dropped.uuid.is_none());
    }
}

#[test]
fn what_is_accepted_late_is_held_until_then_and_starts_when_its_agent_is_there() {
    let mut guest = Guest::new(1);
    let late = Fault::LateAccepts(Duration::from_secs(5));
    guest.world.master_step(Input::Faults(vec![late]));
    let offer = guest.new_offers().remove(0);
    guest.launch(&offer, "a");
    guest.world.advance(Duration::from_secs(4));
    assert!(guest.new_offers().is_empty(), "nothing is offered twice");
    guest.world.advance(Duration::from_secs(3));
    assert!(guest.new_statuses().is_empty());
    let tasks = guest.ask(operator_api::call::Type::GetTasks).get_tasks.unwrap().tasks;
    assert_eq!(tasks[0].agent_id.value, format!("{MASTER}-S0"));
}

#[test]
fn where_reserving_is_denied_the_operation_is_dropped_and_its_launch_is_invalid() {
    let mut guest = Guest::new(1);
    guest.world.master_step(Input::Faults(vec![Fault::DeniedReservations]));
    let offer = guest.new_offers().remove(0);
    let agent = guest.agent_id(0);
    let on_reserved = mesos::TaskInfo { resources: vec![reserved(0.1)], ..task(&agent, "t1") };
    guest.accept(&offer, vec![reserve(None, vec![reserved(0.1)]), launch(vec![on_reserved])]);
    let told = guest.new_statuses().remove(0);
    assert_eq!(
        (told.state(), told.reason()),
        (mesos::TaskState::TaskError, mesos::task_status::Reason::TaskInvalid)
    );
    assert_eq!(told.uuid, None);
}

#[test]
fn an_operator_takes_back_what_is_reserved_and_not_in_use() {
    let mut guest = Guest::new(1);
    let offer = guest.new_offers().remove(0);
    let agent = guest.agent_id(0);
    let on_reserved = mesos::TaskInfo { resources: vec![reserved(0.1)], ..task(&agent, "t1") };
    guest.accept(&offer, vec![reserve(None, vec![reserved(0.3)]), launch(vec![on_reserved])]);
    let ask = |guest: &mut Guest, value: f64| {
        let unreserve_resources = Some(operator_api::call::UnreserveResources {
            agent_id: agent.clone(),
            resources: vec![reserved(value)],
        });
        let call = operator_api::Call { unreserve_resources, ..Default::default() };
        guest.operate(operator_api::call::Type::UnreserveResources, call)
    };
    assert!(matches!(ask(&mut guest, 0.3), Answer::Refused(409, _)), "a third of it is in use");
    guest.world.master_step(Input::Faults(vec![Fault::DeniedReservations]));
    assert!(matches!(ask(&mut guest, 0.2), Answer::Refused(403, _)));
    guest.world.master_step(Input::Faults(Vec::new()));
    assert!(matches!(ask(&mut guest, 0.2), Answer::Accepted));
    let agents = guest.ask(operator_api::call::Type::GetAgents).get_agents.unwrap().agents;
    let left: f64 = agents[0]
        .total_resources
        .iter()
        .filter(|resource| !resource.reservations.is_empty())
        .map(|resource| resource.scalar.unwrap().value)
        .sum();
    assert!((left - 0.1).abs() < 1e-9, "{left}");
}
