//! Real child processes under a real cluster: launches, exits, kills, restarts, stops.

use super::client::{Executor, LONGEST, Scheduler, framework_info, operator};
use crate::agent::process::Process;
use crate::{Cluster, Settings, Timings};
use mesos::TaskState;
use mesos::task_status::Reason;
use operator_api::call::Type;
use proto::mesos::v1::{self as mesos, executor, master as operator_api, scheduler};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::new(dir, 1);
    settings.timings = Timings {
        allocation: Duration::from_millis(30),
        executor_reregistration: Duration::from_millis(400),
        update_retry: Duration::from_millis(200),
        ..Timings::default()
    };
    settings.nodes[0].executor_env = vec![("LOGHERD_DATA_DIR".into(), "/the/data".into())];
    settings
}

fn shell(script: &str) -> mesos::CommandInfo {
    mesos::CommandInfo { value: Some(script.into()), ..Default::default() }
}

/// The sandbox of the newest run of an executor.
fn sandbox(cluster: &Cluster, scheduler: &Scheduler, offer: &mesos::Offer, name: &str) -> PathBuf {
    let (agent, framework) = (&offer.agent_id.value, &scheduler.framework_id.value);
    let work_dir = cluster.agent(0).unwrap().work_dir();
    work_dir.join(format!("slaves/{agent}/frameworks/{framework}/executors/executor-{name}/runs/latest"))
}

/// Waits until something is as it should be.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(LONGEST, async {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            again.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

fn pid_in(path: &Path) -> Option<Process> {
    let pid = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some(Process::with_pid(pid))
}

#[tokio::test]
async fn an_executor_runs_in_its_sandbox_with_its_environment_and_its_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    let command = mesos::CommandInfo {
        shell: Some(false),
        value: Some("/bin/sh".into()),
        arguments: [
            "my-name",
            "-c",
            "echo $0 in $(pwd) of $MESOS_EXECUTOR_ID; env > env; echo oops >&2; exit 3",
        ]
        .map(str::to_owned)
        .into(),
        ..Default::default()
    };
    scheduler.launch(&offer, "a", command).await;
    let status = scheduler.update().await;
    assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, Reason::ExecutorTerminated));
    let sandbox = std::fs::canonicalize(sandbox(&cluster, &scheduler, &offer, "a")).unwrap();
    let stdout = std::fs::read_to_string(sandbox.join("stdout")).unwrap();
    assert_eq!(stdout, format!("my-name in {} of executor-a\n", sandbox.display()));
    assert_eq!(std::fs::read_to_string(sandbox.join("stderr")).unwrap(), "oops\n");
    let env = std::fs::read_to_string(sandbox.join("env")).unwrap();
    assert!(env.contains("LOGHERD_DATA_DIR=/the/data\n") && !env.contains("CARGO"), "{env}");
    let failure = scheduler.events.find(|event| event.failure).await;
    assert_eq!(failure.status, Some(3 << 8));
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_fails_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    let uri = mesos::command_info::Uri { value: "/no/such/file".into(), ..Default::default() };
    scheduler.launch(&offer, "fetch", mesos::CommandInfo { uris: vec![uri], ..shell("true") }).await;
    let status = scheduler.update().await;
    assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, Reason::ContainerLaunchFailed));
    assert!(status.message().contains("/no/such/file"), "{}", status.message());
    let offer = scheduler.offer().await;
    let missing = mesos::CommandInfo {
        shell: Some(false),
        value: Some("/no/such/program".into()),
        ..Default::default()
    };
    scheduler.launch(&offer, "exec", missing).await;
    let status = scheduler.update().await;
    assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, Reason::ExecutorTerminated));
    let failure = scheduler.events.find(|event| event.failure.filter(|f| f.status() != 256)).await;
    assert_eq!(failure.status, Some(256_256));
    cluster.stop().await;
}

#[tokio::test]
async fn shutdown_kills_the_whole_group_when_the_grace_period_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    scheduler
        .launch(&offer, "a", shell("trap '' TERM; sleep 600 & echo $! > child; echo $$ > self; wait"))
        .await;
    let agent = cluster.agent(0).unwrap().address().unwrap();
    let mut executor =
        Executor::subscribe(agent, &scheduler.framework_id, "a", executor::call::Subscribe::default()).await;
    let task = executor.events.find(|event| event.launch).await.task;
    executor.update(&task.task_id, TaskState::TaskRunning).await;
    assert_eq!(scheduler.update().await.state(), TaskState::TaskRunning);
    let sandbox = sandbox(&cluster, &scheduler, &offer, "a");
    until("the processes run", || pid_in(&sandbox.join("self")).is_some_and(Process::is_alive)).await;
    let child = pid_in(&sandbox.join("child")).unwrap();
    let shutdown = scheduler::call::Shutdown {
        executor_id: task.executor.unwrap().executor_id,
        agent_id: offer.agent_id.clone(),
    };
    let call = scheduler::Call { shutdown: Some(shutdown), ..Default::default() };
    scheduler.call(scheduler::call::Type::Shutdown, call).await;
    executor.events.find(|event| (event.r#type() == executor::event::Type::Shutdown).then_some(())).await;
    let status = scheduler.update().await;
    assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, Reason::ExecutorTerminated));
    until("the executor's child is dead too", || !child.is_alive()).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_that_restarts_takes_its_executors_over() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "a", shell("exec sleep 600")).await;
    let agent = cluster.agent(0).unwrap();
    let address = agent.address().unwrap();
    let first =
        Executor::subscribe(address, &scheduler.framework_id, "a", executor::call::Subscribe::default());
    let mut first = first.await;
    let task = first.events.find(|event| event.launch).await.task;
    first.update(&task.task_id, TaskState::TaskRunning).await;
    let running = scheduler.update().await;
    agent.kill().await;
    while first.events.next().await.is_some() {}
    agent.start().await.unwrap();
    assert_eq!(agent.address(), Some(address));
    // What was sent and not acknowledged before the agent died is listed.
    let mut unacknowledged = running.clone();
    unacknowledged.uuid = Some(uuid::Uuid::new_v4().into_bytes().to_vec());
    unacknowledged.message = Some("sent while the agent was away".into());
    let subscribe = executor::call::Subscribe {
        unacknowledged_updates: vec![executor::call::Update { status: unacknowledged.clone() }],
        ..Default::default()
    };
    let mut again = Executor::subscribe(address, &scheduler.framework_id, "a", subscribe).await;
    let acknowledged = again.events.find(|event| event.acknowledged).await;
    assert_eq!(Some(acknowledged.uuid), unacknowledged.uuid);
    let status = scheduler.update().await;
    assert_eq!(status.message(), "sent while the agent was away");
    let agents = operator(cluster.master(), Type::GetAgents).await.get_agents.unwrap().agents;
    assert_eq!(agents.len(), 1);
    assert_eq!(agents[0].agent_info.id.as_ref(), Some(&offer.agent_id));
    cluster.stop().await;
}

#[tokio::test]
async fn an_executor_that_does_not_come_back_after_an_agent_restart_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "a", shell("echo $$ > self; exec sleep 600")).await;
    let agent = cluster.agent(0).unwrap();
    let mut executor = Executor::subscribe(
        agent.address().unwrap(),
        &scheduler.framework_id,
        "a",
        executor::call::Subscribe::default(),
    )
    .await;
    let task = executor.events.find(|event| event.launch).await.task;
    executor.update(&task.task_id, TaskState::TaskRunning).await;
    scheduler.update().await;
    let process = pid_in(&sandbox(&cluster, &scheduler, &offer, "a").join("self")).unwrap();
    agent.restart().await.unwrap();
    let status = scheduler.update().await;
    assert_eq!(
        (status.state(), status.reason()),
        (TaskState::TaskGone, Reason::ExecutorReregistrationTimeout)
    );
    assert!(!process.is_alive());
    cluster.stop().await;
}

#[tokio::test]
async fn a_machine_that_vanishes_becomes_unreachable_and_returns_without_its_executors() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    (settings.timings.agent_ping, settings.timings.agent_ping_misses) = (Duration::from_millis(100), 3);
    let cluster = Cluster::start(settings).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "a", shell("exec sleep 600")).await;
    let agent = cluster.agent(0).unwrap();
    let mut executor = Executor::subscribe(
        agent.address().unwrap(),
        &scheduler.framework_id,
        "a",
        executor::call::Subscribe::default(),
    )
    .await;
    let task = executor.events.find(|event| event.launch).await.task;
    executor.update(&task.task_id, TaskState::TaskRunning).await;
    scheduler.update().await;
    agent.vanish().await.unwrap();
    assert_eq!(scheduler.update().await.state(), TaskState::TaskUnreachable);
    agent.come_back().await.unwrap();
    let back = scheduler.update().await;
    let failed = if back.state() == TaskState::TaskFailed { back } else { scheduler.update().await };
    assert_eq!((failed.state(), failed.reason()), (TaskState::TaskFailed, Reason::ExecutorTerminated));
    let agents = operator(cluster.master(), Type::GetAgents).await.get_agents.unwrap().agents;
    assert_eq!(agents[0].agent_info.id, Some(offer.agent_id));
    assert!(agents[0].active);
    cluster.stop().await;
}

/// Starts a cluster where one has just ended: a process that another test is starting may still hold its lock, until it
/// becomes its own program.
async fn start_when_free(dir: &Path) -> Cluster {
    let started = tokio::time::timeout(LONGEST, async {
        loop {
            match Cluster::start(settings(dir)).await {
                Err(crate::Error::InUse { .. }) => tokio::task::yield_now().await,
                started => return started.unwrap(),
            }
        }
    });
    started.await.expect("the directory is free in time")
}

#[tokio::test]
async fn a_second_start_goes_on_with_what_the_first_left() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let master = cluster.master();
    let mut scheduler = Scheduler::subscribe(master, framework_info()).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "a", shell("echo $$ > self; exec sleep 600")).await;
    let address = cluster.agent(0).unwrap().address().unwrap();
    let start =
        Executor::subscribe(address, &scheduler.framework_id, "a", executor::call::Subscribe::default());
    let mut executor = start.await;
    let task = executor.events.find(|event| event.launch).await.task;
    executor.update(&task.task_id, TaskState::TaskRunning).await;
    scheduler.update().await;
    let process = pid_in(&sandbox(&cluster, &scheduler, &offer, "a").join("self")).unwrap();
    let problem = Cluster::start(settings(dir.path())).await.unwrap_err();
    assert!(problem.to_string().contains(&std::process::id().to_string()), "{problem}");
    cluster.kill().await;
    assert!(process.is_alive());
    let cluster = start_when_free(dir.path()).await;
    assert_eq!(cluster.master(), master);
    let task_info =
        executor::call::Subscribe { unacknowledged_tasks: vec![task.clone()], ..Default::default() };
    let _again = Executor::subscribe(address, &scheduler.framework_id, "a", task_info).await;
    let mut info = framework_info();
    info.id = Some(scheduler.framework_id.clone());
    let mut scheduler = Scheduler::subscribe(master, info).await;
    let offer = scheduler.offer().await;
    assert_eq!(offer.executor_ids.len(), 1);
    let tasks = operator(master, Type::GetTasks).await.get_tasks.unwrap().tasks;
    assert_eq!(tasks.len(), 1);
    assert_eq!((tasks[0].task_id.clone(), tasks[0].state()), (task.task_id, TaskState::TaskRunning));
    assert!(process.is_alive());
    cluster.stop().await;
    until("nothing is left running", || !process.is_alive()).await;
}

#[tokio::test]
async fn a_reservation_outlives_a_restart_of_its_agent() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    let reservation = mesos::resource::ReservationInfo {
        r#type: Some(mesos::resource::reservation_info::Type::Dynamic.into()),
        role: Some("logherd".into()),
        ..Default::default()
    };
    let cpus = mesos::Resource {
        name: "cpus".into(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value: 0.5 }),
        reservations: vec![reservation.clone()],
        ..Default::default()
    };
    let operation = mesos::offer::Operation {
        r#type: Some(mesos::offer::operation::Type::Reserve.into()),
        reserve: Some(mesos::offer::operation::Reserve { resources: vec![cpus], source: vec![] }),
        ..Default::default()
    };
    let accept = scheduler::call::Accept {
        offer_ids: vec![offer.id],
        operations: vec![operation],
        filters: Some(mesos::Filters { refuse_seconds: Some(0.0) }),
    };
    let call = scheduler::Call { accept: Some(accept), ..Default::default() };
    scheduler.call(scheduler::call::Type::Accept, call).await;
    let reserved = |offer: &mesos::Offer| -> f64 {
        let own = offer.resources.iter().filter(|resource| resource.reservations == [reservation.clone()]);
        own.map(|resource| resource.scalar.unwrap().value).sum()
    };
    assert_eq!(reserved(&scheduler.offer().await), 0.5);
    cluster.agent(0).unwrap().restart().await.unwrap();
    assert_eq!(reserved(&scheduler.offer().await), 0.5);
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_that_stalls_becomes_unreachable_and_resumes_with_its_task() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    (settings.timings.agent_ping, settings.timings.agent_ping_misses) = (Duration::from_millis(100), 3);
    let cluster = Cluster::start(settings).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "a", shell("exec sleep 600")).await;
    let agent = cluster.agent(0).unwrap();
    let address = agent.address().unwrap();
    let start =
        Executor::subscribe(address, &scheduler.framework_id, "a", executor::call::Subscribe::default());
    let mut executor = start.await;
    let task = executor.events.find(|event| event.launch).await.task;
    executor.update(&task.task_id, TaskState::TaskRunning).await;
    scheduler.update().await;
    agent.stall().await.unwrap();
    assert_eq!(scheduler.update().await.state(), TaskState::TaskUnreachable);
    agent.resume();
    let back = scheduler.update().await;
    assert_eq!((back.state(), back.reason()), (TaskState::TaskRunning, Reason::AgentReregistered));
    assert_eq!(back.uuid, None);
    executor.update(&task.task_id, TaskState::TaskFinished).await;
    assert_eq!(scheduler.update().await.state(), TaskState::TaskFinished);
    cluster.stop().await;
}

#[tokio::test]
async fn a_cluster_that_stops_leaves_no_executor_of_an_agent_that_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(settings(dir.path())).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "a", shell("echo $$ > self; exec sleep 600")).await;
    let file = sandbox(&cluster, &scheduler, &offer, "a").join("self");
    until("the executor runs", || pid_in(&file).is_some_and(Process::is_alive)).await;
    let process = pid_in(&file).unwrap();
    let kept = cluster.agent(0).unwrap().work_dir();
    until("its process is written down", || {
        let (agent, framework) = (&offer.agent_id.value, &scheduler.framework_id.value);
        let runs = kept.join(format!("meta/slaves/{agent}/frameworks/{framework}/executors/executor-a/runs"));
        std::fs::read_dir(runs)
            .is_ok_and(|mut all| all.any(|run| run.unwrap().path().join("pids/forked.pid").exists()))
    })
    .await;
    cluster.agent(0).unwrap().kill().await;
    assert!(process.is_alive());
    cluster.stop().await;
    until("nothing is left running", || !process.is_alive()).await;
}
