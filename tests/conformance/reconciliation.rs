//! What the master answers when it is asked about tasks and operations.

use crate::framework::{Framework, fresh};
use crate::place::{Place, everywhere};
use mesos::task_status::{Reason, Source};
use mesos::{AgentId, TaskState, TaskStatus};
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::call::Type;
use scheduler::call::reconcile::Task;

fn task(name: &str, agent_id: Option<AgentId>) -> Task {
    Task { task_id: mesos::TaskId { value: fresh(name) }, agent_id }
}

fn is_answer(status: &TaskStatus) -> bool {
    status.source() == Source::Master && status.reason() == Reason::Reconciliation && status.uuid.is_none()
}

#[tokio::test]
async fn tasks_that_nobody_knows_are_told_by_what_is_known_of_their_agent() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let here = framework.offer().await.agent_id;
        let nowhere = AgentId { value: "none-S7".into() };
        let cases = [
            // As recorded in 04-reconcile: 06, 07, 08.
            (task("known-agent", Some(here.clone())), TaskState::TaskGone),
            (task("unknown-agent", Some(nowhere.clone())), TaskState::TaskUnknown),
            (task("no-agent", None), TaskState::TaskUnknown),
        ];
        for (task, state) in &cases {
            framework.reconcile(vec![task.clone()]).await;
            let status = framework.status().await;
            assert_eq!((&status.task_id, status.state()), (&task.task_id, *state));
            assert!(is_answer(&status), "{status:?}");
        }
        framework.reconcile(cases.iter().map(|(task, _)| task.clone()).collect()).await;
        for (task, state) in &cases {
            let status = framework.status().await;
            assert_eq!((&status.task_id, status.state()), (&task.task_id, *state), "together");
        }
        // As recorded in 04-reconcile: 12.
        let (unknown, _) = &cases[0];
        let kill = scheduler::call::Kill {
            task_id: unknown.task_id.clone(),
            agent_id: unknown.agent_id.clone(),
            ..Default::default()
        };
        framework.tell(Type::Kill, scheduler::Call { kill: Some(kill), ..Default::default() }).await;
        let status = framework.status().await;
        assert_eq!((&status.task_id, status.state()), (&unknown.task_id, TaskState::TaskGone));
        assert!(is_answer(&status), "a kill of what nobody knows is answered like a question");
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn asking_about_everything_ends_without_a_mark() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        framework.reconcile(vec![]).await;
        let marker = task("marker", None);
        framework.reconcile(vec![marker.clone()]).await;
        assert_eq!(framework.status().await.task_id, marker.task_id, "there is nothing else to tell");
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_framework_that_knows_no_partitions_is_told_of_lost_tasks() {
    everywhere(async |place: &Place| {
        let mut unaware = crate::framework::info(place);
        let aware = mesos::framework_info::capability::Type::PartitionAware;
        unaware.capabilities.retain(|can| can.r#type() != aware);
        let mut framework = Framework::with(place, unaware).await;
        framework.reconcile(vec![task("no-agent", None)]).await;
        let status = framework.status().await;
        assert_eq!(status.state(), TaskState::TaskLost);
        assert!(is_answer(&status));
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn operations_that_nobody_knows_are_unknown() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let agent_id = Some(framework.offer().await.agent_id);
        let operation_id = mesos::OperationId { value: fresh("never-heard-of") };
        let operation = scheduler::call::reconcile_operations::Operation {
            operation_id: operation_id.clone(),
            agent_id,
            ..Default::default()
        };
        let reconcile = scheduler::call::ReconcileOperations { operations: vec![operation] };
        let call = scheduler::Call { reconcile_operations: Some(reconcile), ..Default::default() };
        framework.tell(Type::ReconcileOperations, call).await;
        let told = framework.find("an answer", |event| event.update_operation_status).await.status;
        assert_eq!(told.operation_id, Some(operation_id));
        assert_eq!(told.state(), mesos::OperationState::OperationUnknown);
        assert_eq!(told.uuid, None);
        framework.tear_down().await;
    })
    .await;
}
