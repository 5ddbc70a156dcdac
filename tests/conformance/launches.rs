//! Launches that are refused: invalid offers, invalid tasks.

use crate::framework::{Framework, fresh, launch, scalar, task};
use crate::place::{Place, everywhere};
use mesos::task_status::{Reason, Source};
use mesos::{TaskInfo, TaskState};
use proto::mesos::v1 as mesos;

/// A task that is refused.
pub(crate) struct Invalid {
    /// The recorded exchange of `08-invalid-task-or-offer` that shows it.
    pub(crate) recorded: &'static str,
    /// A part of the message.
    pub(crate) message: &'static str,
    spoil: fn(&mut TaskInfo),
}

fn executor(task: &mut TaskInfo) -> &mut mesos::ExecutorInfo {
    task.executor.as_mut().unwrap()
}

/// Tasks that are refused by themselves.
pub(crate) const INVALID: &[Invalid] = &[
    Invalid {
        recorded: "03-task-with-executor-and-command",
        message: "at least one (but not both) of CommandInfo or ExecutorInfo",
        spoil: |task| task.command = task.executor.as_ref().unwrap().command.clone(),
    },
    Invalid {
        recorded: "04-task-with-neither",
        message: "at least one (but not both) of CommandInfo or ExecutorInfo",
        spoil: |task| task.executor = None,
    },
    Invalid {
        recorded: "05-task-id-with-slash",
        message: "contains invalid characters",
        spoil: |task| task.task_id.value.push_str("/3"),
    },
    Invalid {
        recorded: "06-task-agent-differs-from-offer",
        message: "Task uses invalid agent",
        spoil: |task| task.agent_id.value.push('9'),
    },
    Invalid {
        recorded: "07-task-without-resources",
        message: "Task uses no resources",
        spoil: |task| task.resources.clear(),
    },
    Invalid {
        recorded: "08-task-needs-more-than-offered",
        message: "more than available",
        spoil: |task| task.resources = vec![scalar("cpus", 1e6), scalar("mem", 1.0)],
    },
    Invalid {
        recorded: "09-executor-type-default",
        message: "must not be set for 'DEFAULT' executor",
        spoil: |task| executor(task).r#type = Some(mesos::executor_info::Type::Default.into()),
    },
    Invalid {
        recorded: "10-executor-of-other-framework",
        message: "ExecutorInfo has an invalid FrameworkID",
        spoil: |task| {
            executor(task).framework_id = Some(mesos::FrameworkId { value: "other-0007".into() });
        },
    },
    Invalid {
        recorded: "11-executor-without-command",
        message: "must be set for 'CUSTOM' executor",
        spoil: |task| executor(task).command = None,
    },
];

fn check(status: &mesos::TaskStatus, (state, reason): (TaskState, Reason), what: &str) {
    assert_eq!((status.state(), status.reason(), status.source()), (state, reason, Source::Master), "{what}");
    assert!(status.uuid.is_none(), "{what}: the master's own updates are not acknowledged");
}

#[tokio::test]
async fn invalid_tasks_are_refused_with_their_reason() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        for case in INVALID {
            let offer = framework.offer().await;
            let mut invalid = task(&offer, &["sleep", "600"]);
            (case.spoil)(&mut invalid);
            framework.accept(vec![offer.id], vec![launch(vec![invalid.clone()])]).await;
            let status = framework.status().await;
            assert_eq!(status.task_id, invalid.task_id, "{}", case.recorded);
            check(&status, (TaskState::TaskError, Reason::TaskInvalid), case.recorded);
            assert!(status.message().contains(case.message), "{}: {}", case.recorded, status.message());
        }
        let offer = framework.offer().await;
        let with_id = mesos::offer::Operation {
            id: Some(mesos::OperationId { value: fresh("operation") }),
            ..launch(vec![task(&offer, &["sleep", "600"])])
        };
        framework.accept(vec![offer.id], vec![with_id]).await;
        let status = framework.status().await;
        check(&status, (TaskState::TaskError, Reason::TaskInvalid), "12-launch-with-operation-id");
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn tasks_on_invalid_offers_are_dropped() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let offer = framework.offer().await;
        let unknown = mesos::OfferId { value: format!("{}-O199999", fresh("none")) };
        let dropped = (TaskState::TaskDropped, Reason::InvalidOffers);
        let one = || launch(vec![task(&offer, &["sleep", "600"])]);
        framework.accept(vec![unknown.clone()], vec![one()]).await;
        check(&framework.status().await, dropped, "13-offer-id-unknown");
        framework.accept(vec![], vec![one()]).await;
        check(&framework.status().await, dropped, "16-no-offer-ids");
        framework.accept(vec![offer.id.clone(), offer.id.clone()], vec![one()]).await;
        check(&framework.status().await, dropped, "15-offer-id-twice");
        framework.accept(vec![offer.id.clone()], vec![one()]).await;
        check(&framework.status().await, dropped, "14-offer-id-used-before");
        let offer = framework.offer().await;
        framework.accept(vec![offer.id.clone(), unknown], vec![one()]).await;
        check(&framework.status().await, dropped, "17-one-valid-one-unknown-offer");
        framework.accept(vec![offer.id], vec![one()]).await;
        check(&framework.status().await, dropped, "the valid one was given back");
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_framework_that_knows_no_partitions_hears_of_lost_tasks() {
    everywhere(async |place: &Place| {
        let mut unaware = crate::framework::info(place);
        let aware = mesos::framework_info::capability::Type::PartitionAware;
        unaware.capabilities.retain(|can| can.r#type() != aware);
        let mut framework = Framework::with(place, unaware).await;
        let offer = framework.offer().await;
        framework.accept(vec![], vec![launch(vec![task(&offer, &["sleep", "600"])])]).await;
        check(&framework.status().await, (TaskState::TaskLost, Reason::InvalidOffers), "LOST for DROPPED");
        framework.tear_down().await;
    })
    .await;
}
