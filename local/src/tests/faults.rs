//! The faults that can be switched on, in the cores and over real HTTP.

use super::client::{Scheduler, framework_info, http, request};
use super::guest::Guest;
use crate::faults::Fault;
use crate::master::core::Input;
use crate::{Chunking, Cluster, Mode, Settings, Timings};
use http::Method;
use mesos::TaskState;
use mesos::task_status::Reason;
use proto::mesos::v1::{self as mesos, executor, master as operator_api, scheduler};
use scheduler::call::Type;
use std::time::{Duration, Instant};

fn fail(guest: &mut Guest, faults: &[Fault]) {
    guest.world.master_step(Input::Faults(faults.to_vec()));
}

#[test]
fn held_heartbeats_stop_and_go_on_with_the_stream_open() {
    let mut guest = Guest::new(1);
    let heartbeats = |guest: &Guest| {
        let events = &guest.world.schedulers[&guest.connection].events;
        events.iter().filter(|event| event.r#type() == scheduler::event::Type::Heartbeat).count()
    };
    assert_eq!(heartbeats(&guest), 1, "one at once");
    guest.world.advance(Duration::from_secs(45));
    assert_eq!(heartbeats(&guest), 4, "then every fifteen seconds");
    fail(&mut guest, &[Fault::HeldHeartbeats]);
    guest.world.advance(Duration::from_secs(300));
    assert_eq!(heartbeats(&guest), 4);
    assert!(!guest.world.schedulers[&guest.connection].ended);
    fail(&mut guest, &[]);
    guest.world.advance(Duration::from_secs(15));
    assert_eq!(heartbeats(&guest), 5);
}

#[test]
fn messages_get_lost_both_ways() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    for lost in [false, true] {
        fail(&mut guest, if lost { &[Fault::LostMessages] } else { &[] });
        let data = executor::call::Message { data: b"up".to_vec() };
        let call = executor::Call { message: Some(data), ..Default::default() };
        guest.executor(0, "a", executor::call::Type::Message, call);
        let heard = guest.news().iter().any(|event| event.message.is_some());
        assert_eq!(heard, !lost);
        let message = scheduler::call::Message {
            agent_id: guest.agent_id(0),
            executor_id: mesos::ExecutorId { value: "executor-a".into() },
            data: b"down".to_vec(),
        };
        guest.call(Type::Message, scheduler::Call { message: Some(message), ..Default::default() });
    }
    let to_executors = guest.world.agents[0].executors.values().flat_map(|heard| &heard.events);
    assert_eq!(to_executors.filter(|event| event.message.is_some()).count(), 1);
}

#[test]
fn failures_and_the_master_s_own_updates_get_lost_and_others_do_not() {
    let mut guest = Guest::new(2);
    guest.run(0, "a");
    fail(&mut guest, &[Fault::LostFailures, Fault::LostStatuses]);
    guest.world.exit(0, "executor-a", 256);
    let events = guest.news();
    assert!(events.iter().all(|event| event.failure.is_none()));
    let ended = events.into_iter().find_map(|event| event.update).unwrap().status;
    assert_eq!(ended.state(), TaskState::TaskFailed, "the agent's own update comes");
    let kill =
        scheduler::call::Kill { task_id: mesos::TaskId { value: "none".into() }, ..Default::default() };
    guest.call(Type::Kill, scheduler::Call { kill: Some(kill.clone()), ..Default::default() });
    assert!(guest.new_statuses().is_empty());
    fail(&mut guest, &[]);
    guest.call(Type::Kill, scheduler::Call { kill: Some(kill), ..Default::default() });
    assert_eq!(guest.new_statuses().remove(0).state(), TaskState::TaskUnknown);
}

#[test]
fn events_and_numbers_that_nobody_knows_come_before_the_real_ones() {
    let mut guest = Guest::new(1);
    fail(&mut guest, &[Fault::UnknownEvents, Fault::UnknownNumbers]);
    guest.world.advance(Duration::from_secs(1));
    guest.run(0, "a");
    let events = guest.world.schedulers[&guest.connection].events.clone();
    let known = |event: &scheduler::Event| {
        event.r#type.is_some_and(|kind| scheduler::event::Type::try_from(kind).is_ok())
    };
    assert!(events.iter().any(|event| !known(event)));
    let statuses: Vec<_> = events.iter().filter_map(|event| event.update.as_ref()).collect();
    let strange =
        statuses.iter().position(|update| TaskState::try_from(update.status.state).is_err()).unwrap();
    let real = statuses.iter().position(|update| update.status.state() == TaskState::TaskRunning).unwrap();
    assert!(strange < real);
    assert!(statuses[strange].status.uuid.is_none(), "nobody waits for its acknowledgement");
}

#[tokio::test]
async fn an_answer_gets_lost_after_the_call_took_effect() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    scheduler.offer().await;
    cluster.master_handle().set_faults(&[Fault::Http(Mode::LostAnswers)]);
    let teardown = format!("frameworkId={}", scheduler.framework_id.value);
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/teardown", cluster.master()))
        .body(http_body_util::Full::new(bytes::Bytes::from(teardown)))
        .unwrap();
    assert!(http().request(request).await.is_err(), "the connection breaks");
    while scheduler.events.next().await.is_some() {}
    cluster.master_handle().set_faults(&[]);
    let frameworks = super::client::operator(cluster.master(), operator_api::call::Type::GetFrameworks).await;
    let frameworks = frameworks.get_frameworks.unwrap();
    assert_eq!((frameworks.frameworks.len(), frameworks.completed_frameworks.len()), (0, 1));
    cluster.stop().await;
}

#[tokio::test]
async fn every_answer_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 1)).await.unwrap();
    let late = Duration::from_millis(30);
    cluster.master_handle().set_faults(&[Fault::Http(Mode::Slow(late))]);
    let agent = cluster.agent(0).unwrap();
    agent.set_faults(&[Fault::Http(Mode::Slow(late))]);
    for address in [cluster.master(), agent.address().unwrap()] {
        let begun = Instant::now();
        assert_eq!(request(&http(), (Method::GET, address, "/health"), &[], vec![]).await.status(), 200);
        assert!(begun.elapsed() >= late);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn large_records_cut_and_joined_at_random_are_still_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings { chunking: Chunking::Random(7), ..Settings::new(dir.path(), 2) };
    for node in &mut settings.nodes {
        node.attributes = vec![("long".into(), "x".repeat(1 << 20))];
    }
    let cluster = Cluster::start(settings).await.unwrap();
    for _ in 0..3 {
        let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
        let offer = scheduler.offer().await;
        assert_eq!(offer.attributes[0].text.as_ref().unwrap().value.len(), 1 << 20);
        assert_eq!(scheduler.call(Type::Teardown, scheduler::Call::default()).await, 202);
        while scheduler.events.next().await.is_some() {}
    }
    cluster.stop().await;
}

#[tokio::test]
async fn agents_return_to_a_new_master_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Settings::new(dir.path(), 2)).await.unwrap();
    let agents = async || {
        let answer = super::client::operator(cluster.master(), operator_api::call::Type::GetAgents).await;
        let agents = answer.get_agents.unwrap();
        (agents.agents.len(), agents.recovered_agents.len())
    };
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let all = async |wanted| {
        let counted = tokio::time::timeout(super::client::LONGEST, async {
            while agents().await != wanted {
                tokio::task::yield_now().await;
            }
        });
        counted.await.expect("the agents in time");
    };
    all((2, 0)).await;
    cluster.spread_returns(Duration::from_secs(3600));
    cluster.master_handle().restart().await.unwrap();
    let info = mesos::FrameworkInfo { id: Some(scheduler.framework_id.clone()), ..framework_info() };
    while scheduler.events.next().await.is_some() {}
    let mut again = Scheduler::subscribe(cluster.master(), info).await;
    assert_eq!(again.framework_id, scheduler.framework_id);
    again.offer().await;
    assert_eq!(agents().await, (1, 1), "one is back, the other is still known");
    cluster.agent(1).unwrap().set_faults(&[]);
    cluster.agent(1).unwrap().restart().await.unwrap();
    all((2, 0)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn fetching_fails_or_takes_longer_than_an_executor_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(dir.path(), 1);
    settings.timings = Timings {
        allocation: Duration::from_millis(30),
        executor_registration: Duration::from_millis(200),
        ..Timings::default()
    };
    let cluster = Cluster::start(settings).await.unwrap();
    let mut scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let cases = [
        (Fault::FailedFetches, Reason::ContainerLaunchFailed),
        (Fault::SlowFetches(Duration::from_secs(3600)), Reason::ExecutorRegistrationTimeout),
    ];
    for (number, (fault, reason)) in cases.into_iter().enumerate() {
        cluster.agent(0).unwrap().set_faults(&[fault]);
        let offer = scheduler.offer().await;
        let command = mesos::CommandInfo { value: Some("sleep 600".into()), ..Default::default() };
        scheduler.launch(&offer, &number.to_string(), command).await;
        let status = scheduler.update().await;
        assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, reason));
        assert!(status.uuid.is_some());
    }
    cluster.stop().await;
}
