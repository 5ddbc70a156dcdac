//! Reserving, using and giving back, with feedback.

use crate::framework::{Framework, fresh, scalar};
use crate::place::{Place, everywhere};
use mesos::offer::{Operation, operation};
use mesos::resource::{ReservationInfo, reservation_info};
use mesos::{OperationState, OperationStatus, Resource};
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::call::Type;

/// A hundredth of a processor, reserved under a label that nobody else uses.
fn reserved(place: &Place, label: &str) -> Resource {
    let label = mesos::Label { key: label.into(), value: None };
    let entry = ReservationInfo {
        role: Some(place.role.clone()),
        r#type: Some(reservation_info::Type::Dynamic.into()),
        principal: place.credentials.as_ref().map(|(principal, _)| principal.clone()),
        labels: Some(mesos::Labels { labels: vec![label] }),
    };
    Resource { reservations: vec![entry], ..scalar("cpus", 0.01) }
}

fn reserve(id: &str, resources: Vec<Resource>, source: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(operation::Type::Reserve.into()),
        reserve: Some(operation::Reserve { resources, source }),
        id: Some(mesos::OperationId { value: id.into() }),
        ..Default::default()
    }
}

fn unreserve(id: &str, resources: Vec<Resource>) -> Operation {
    Operation {
        r#type: Some(operation::Type::Unreserve.into()),
        unreserve: Some(operation::Unreserve { resources }),
        id: Some(mesos::OperationId { value: id.into() }),
        ..Default::default()
    }
}

/// The feedback of one operation, acknowledged.
async fn finished(framework: &mut Framework, id: &str, agent: &mesos::AgentId) {
    let of_this = |status: OperationStatus| {
        let own = status.operation_id.as_ref().is_some_and(|operation| operation.value == id);
        own.then_some(status)
    };
    let status = framework
        .find("UPDATE_OPERATION_STATUS", |event| {
            event.update_operation_status.and_then(|update| of_this(update.status))
        })
        .await;
    assert_eq!(status.state(), OperationState::OperationFinished, "{}", status.message());
    assert_eq!(status.agent_id.as_ref(), Some(agent));
    let acknowledge = scheduler::call::AcknowledgeOperationStatus {
        agent_id: Some(agent.clone()),
        uuid: status.uuid.expect("feedback of an agent is to be acknowledged").value,
        operation_id: mesos::OperationId { value: id.into() },
        ..Default::default()
    };
    let call = scheduler::Call { acknowledge_operation_status: Some(acknowledge), ..Default::default() };
    framework.tell(Type::AcknowledgeOperationStatus, call).await;
}

#[tokio::test]
async fn what_was_reserved_is_offered_so_until_it_is_given_back() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let offer = framework.offer().await;
        let label = fresh("conformance");
        let (first, second) = (fresh("reserve"), fresh("unreserve"));
        let wanted = reserved(place, &label);
        framework.accept(vec![offer.id], vec![reserve(&first, vec![wanted.clone()], vec![])]).await;
        finished(&mut framework, &first, &offer.agent_id).await;
        let is_ours = |resource: &Resource| resource.reservations == wanted.reservations;
        let ours = |offer: &mesos::Offer| offer.resources.iter().any(is_ours);
        let again = framework.offer_that("what was reserved", ours).await;
        assert_eq!(again.agent_id, offer.agent_id);
        let ours: Vec<Resource> =
            again.resources.iter().filter(|resource| is_ours(resource)).cloned().collect();
        assert_eq!(ours[0].scalar.unwrap().value, 0.01);
        framework.accept(vec![again.id], vec![unreserve(&second, ours)]).await;
        finished(&mut framework, &second, &offer.agent_id).await;
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn an_operation_that_cannot_be_fails_with_its_id_and_without_a_uuid() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let id = fresh("reserve");
        // As recorded in 10-reserve-unreserve: 09; here the role is one that the framework does not have.
        let mut foreign = reserved(place, "conformance");
        foreign.reservations[0].role = Some("another-role".into());
        let offer = framework.offer().await;
        framework.accept(vec![offer.id], vec![reserve(&id, vec![foreign], vec![])]).await;
        let failed = framework.find("its failure", |event| event.update_operation_status).await.status;
        assert_eq!(failed.operation_id.unwrap().value, id);
        assert_eq!(failed.state, i32::from(OperationState::OperationError));
        assert_eq!(failed.uuid, None);
        framework.tear_down().await;
    })
    .await;
}
