//! Tasks that are wrong are refused one by one, with TASK_ERROR, while the others of the same ACCEPT start.

use super::guest::{Guest, launch, scalar, task};
use mesos::offer::{Operation, operation};
use mesos::task_status::Reason;
use mesos::{TaskInfo, TaskState};
use proto::mesos::v1::{self as mesos, master as operator_api};

type Spoil = fn(&mut TaskInfo);

fn executor(task: &mut TaskInfo) -> &mut mesos::ExecutorInfo {
    task.executor.as_mut().unwrap()
}

fn variable(task: &mut TaskInfo, variable: mesos::environment::Variable) {
    let environment = mesos::Environment { variables: vec![variable] };
    executor(task).command =
        Some(mesos::CommandInfo { environment: Some(environment), ..Default::default() });
}

fn container(task: &mut TaskInfo, kind: mesos::container_info::Type) -> &mut mesos::ContainerInfo {
    let container = mesos::ContainerInfo { r#type: kind.into(), ..Default::default() };
    executor(task).container.insert(container)
}

const NEGATIVE: Option<mesos::DurationInfo> = Some(mesos::DurationInfo { nanoseconds: -1 });

/// What is wrong and how it is made so.
const WRONG: &[(&str, Spoil)] = &[
    ("a task id that is no file name", |task| task.task_id.value = "a/b".into()),
    ("another agent", |task| task.agent_id.value = "other".into()),
    ("a negative grace period", |task| task.kill_policy = Some(mesos::KillPolicy { grace_period: NEGATIVE })),
    ("a negative time to complete", |task| task.max_completion_time = NEGATIVE),
    ("a check without a type", |task| task.check = Some(mesos::CheckInfo::default())),
    ("a check without its member", |task| {
        let kind = Some(mesos::check_info::Type::Http.into());
        task.check = Some(mesos::CheckInfo { r#type: kind, ..Default::default() });
    }),
    ("a health check without its member", |task| {
        let kind = Some(mesos::health_check::Type::Tcp.into());
        task.health_check = Some(mesos::HealthCheck { r#type: kind, ..Default::default() });
    }),
    ("no resources", |task| task.resources.clear()),
    ("resources of two roles", |task| {
        for (resource, role) in task.resources.iter_mut().zip(["logherd", "other"]) {
            resource.allocation_info = Some(mesos::resource::AllocationInfo { role: Some(role.into()) });
        }
    }),
    ("more than is offered", |task| task.resources = vec![scalar("cpus", 4000.0)]),
    ("a limit of disk", |task| {
        task.limits.insert("disk".into(), mesos::value::Scalar { value: 1.0 });
    }),
    ("a limit on an agent that knows none", |task| {
        task.limits.insert("cpus".into(), mesos::value::Scalar { value: 1.0 });
    }),
    ("executor and command", |task| task.command = Some(mesos::CommandInfo::default())),
    ("neither executor nor command", |task| task.executor = None),
    ("an executor id that is no file name", |task| executor(task).executor_id.value = "..".into()),
    ("a default executor", |task| {
        executor(task).r#type = Some(mesos::executor_info::Type::Default.into());
    }),
    ("an executor without a command", |task| executor(task).command = None),
    ("a negative shutdown grace period", |task| executor(task).shutdown_grace_period = NEGATIVE),
    ("an executor of another framework", |task| {
        executor(task).framework_id = Some(mesos::FrameworkId { value: "other".into() });
    }),
    ("a variable without a value", |task| {
        variable(task, mesos::environment::Variable { name: "A".into(), ..Default::default() });
    }),
    ("a volume without a source", |task| {
        let volume = mesos::Volume {
            container_path: "x".into(),
            mode: mesos::volume::Mode::Ro.into(),
            ..Default::default()
        };
        container(task, mesos::container_info::Type::Mesos).volumes = vec![volume];
    }),
    ("a Docker container without an image", |task| {
        container(task, mesos::container_info::Type::Docker);
    }),
    ("a Docker container that names itself", |task| {
        let name = mesos::Parameter { key: "name".into(), value: "x".into() };
        container(task, mesos::container_info::Type::Docker).docker =
            Some(mesos::container_info::DockerInfo {
                image: "x".into(),
                parameters: vec![name],
                ..Default::default()
            });
    }),
];

#[test]
fn each_wrong_task_is_refused_and_its_neighbour_starts() {
    let mut guest = Guest::new(1);
    let mut offer = guest.new_offers().remove(0);
    for (number, (what, spoil)) in WRONG.iter().enumerate() {
        let good = task(&offer.agent_id, &format!("good-{number}"));
        let mut bad = task(&offer.agent_id, &format!("bad-{number}"));
        spoil(&mut bad);
        guest.accept(&offer, vec![launch(vec![bad.clone(), good.clone()])]);
        let statuses = guest.new_statuses();
        assert_eq!(statuses.len(), 1, "{what}: {statuses:?}");
        let status = &statuses[0];
        assert_eq!(status.task_id, bad.task_id, "{what}");
        assert_eq!((status.state(), status.reason()), (TaskState::TaskError, Reason::TaskInvalid), "{what}");
        assert_eq!(status.source(), mesos::task_status::Source::Master, "{what}");
        assert!(status.uuid.is_none() && !status.message().is_empty(), "{what}");
        assert!(
            guest.world.agents[0]
                .containers
                .values()
                .any(|(_, id)| id.0 == format!("executor-good-{number}"))
        );
        guest.world.advance(std::time::Duration::from_secs(2));
        offer = guest.new_offers().remove(0);
    }
}

#[test]
fn malformed_resources_anywhere_refuse_the_whole_launch() {
    let malformed = [
        mesos::Resource { scalar: None, ..scalar("cpus", 1.0) },
        scalar("cpus", 0.0004),
        scalar("cpus", -1.0),
        mesos::Resource { reservations: vec![Default::default()], ..scalar("cpus", 1.0) },
    ];
    for wrong in malformed {
        let mut guest = Guest::new(1);
        let offer = guest.new_offers().remove(0);
        let bad = TaskInfo { resources: vec![wrong], ..task(&offer.agent_id, "bad") };
        guest.accept(&offer, vec![launch(vec![task(&offer.agent_id, "good"), bad])]);
        let statuses = guest.new_statuses();
        assert_eq!(statuses.len(), 2);
        assert!(statuses.iter().all(|status| status.state() == TaskState::TaskError));
    }
}

#[test]
fn ids_of_live_unacknowledged_and_unreachable_tasks_are_taken() {
    let mut guest = Guest::new(2);
    guest.run(0, "a");
    let refused = |guest: &mut Guest| {
        guest.world.advance(std::time::Duration::from_secs(2));
        let frameworks = guest.ask(operator_api::call::Type::GetFrameworks).get_frameworks.unwrap();
        let offer = frameworks.frameworks[0].offers[0].clone();
        guest.news();
        let other = executor(&mut task(&offer.agent_id, "other")).clone();
        let twin = TaskInfo { executor: Some(other), ..task(&offer.agent_id, "a") };
        guest.accept(&offer, vec![launch(vec![twin])]);
        let statuses = guest.new_statuses();
        statuses.iter().any(|status| status.state() == TaskState::TaskError)
    };
    assert!(refused(&mut guest), "it runs");
    guest.update(0, "a", TaskState::TaskFinished);
    assert!(refused(&mut guest), "its end is not acknowledged");
    let mut guest = Guest::new(2);
    guest.run(0, "a");
    guest.world.kill_agent(0);
    guest.world.advance(std::time::Duration::from_secs(601));
    assert!(refused(&mut guest), "it is unreachable");
}

#[test]
fn a_group_starts_as_a_whole_or_not_at_all() {
    let group = |guest: &Guest, spoil: fn(&mut Operation)| {
        let agent = guest.agent_id(0);
        let plain = |name: &str| TaskInfo { executor: None, ..task(&agent, name) };
        let executor = mesos::ExecutorInfo {
            r#type: Some(mesos::executor_info::Type::Custom.into()),
            framework_id: Some(guest.id.clone()),
            resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 1.0)],
            ..task(&agent, "group").executor.unwrap()
        };
        let tasks = vec![plain("a"), plain("b")];
        let mut operation = Operation {
            r#type: Some(operation::Type::LaunchGroup.into()),
            launch_group: Some(operation::LaunchGroup {
                executor,
                task_group: mesos::TaskGroupInfo { tasks },
            }),
            ..Default::default()
        };
        spoil(&mut operation);
        operation
    };
    type SpoilGroup = fn(&mut Operation);
    let wrong: [(SpoilGroup, Reason); 5] = [
        (
            |o| o.launch_group.as_mut().unwrap().task_group.tasks[1].resources.clear(),
            Reason::TaskGroupInvalid,
        ),
        (|o| o.launch_group.as_mut().unwrap().executor.r#type = None, Reason::TaskGroupInvalid),
        (|o| o.launch_group.as_mut().unwrap().executor.framework_id = None, Reason::TaskGroupInvalid),
        (
            |o| o.launch_group.as_mut().unwrap().executor.resources = vec![scalar("cpus", 0.1)],
            Reason::TaskGroupInvalid,
        ),
        (|o| o.id = Some(mesos::OperationId { value: "g".into() }), Reason::TaskInvalid),
    ];
    for (spoil, reason) in wrong {
        let mut guest = Guest::new(1);
        let offer = guest.new_offers().remove(0);
        let operation = group(&guest, spoil);
        guest.accept(&offer, vec![operation]);
        let statuses = guest.new_statuses();
        assert_eq!(statuses.len(), 2);
        for status in statuses {
            assert_eq!((status.state(), status.reason()), (TaskState::TaskError, reason));
        }
    }
    let mut guest = Guest::new(1);
    let offer = guest.new_offers().remove(0);
    let operation = group(&guest, |_| {});
    guest.accept(&offer, vec![operation]);
    assert!(guest.new_statuses().is_empty());
    assert_eq!(guest.world.agents[0].containers.len(), 1, "one executor for both");
}
