//! Checks what an executor says to its agent, also against exchanges recorded with a real Mesos.
use super::*;
use prost::Message;
use proto::mesos::v1::executor::event::{Acknowledged, Kill, Launch, Subscribed};
use proto::mesos::v1::framework_info::Capability as Capable;
use proto::mesos::v1::{AgentId, AgentInfo, CommandInfo, DurationInfo, ExecutorInfo, TaskId};
use proto::recordio::{Decoder, Limits};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

fn fresh_uuid() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

fn rules() -> Rules {
    Rules {
        executor_id: "e1".into(),
        framework_id: "f1".into(),
        token: Some(Secret::from("launch token".to_owned())),
        checkpoint: true,
        recovery_timeout: Duration::from_secs(900),
        grace: Duration::from_secs(20),
        fresh_uuid,
    }
}

fn event(kind: EventType) -> Event {
    Event { r#type: Some(kind.into()), ..Event::default() }
}

fn subscribed() -> Event {
    let capability = Capable { r#type: Some(Capability::TaskKillingState.into()) };
    Event {
        subscribed: Some(Subscribed {
            executor_info: ExecutorInfo {
                executor_id: ExecutorId { value: "e1".into() },
                ..Default::default()
            },
            framework_info: FrameworkInfo { capabilities: vec![capability], ..Default::default() },
            agent_info: AgentInfo { hostname: "node-7".into(), ..Default::default() },
            container_id: None,
        }),
        ..event(EventType::Subscribed)
    }
}

fn launch(id: &str) -> Event {
    let task = TaskInfo {
        name: "logherd.executor".into(),
        task_id: TaskId { value: id.into() },
        agent_id: AgentId { value: "a1".into() },
        command: Some(CommandInfo::default()),
        ..Default::default()
    };
    Event { launch: Some(Launch { task }), ..event(EventType::Launch) }
}

fn kill(id: &str, grace: Option<Duration>) -> Event {
    let kill_policy = grace.map(|grace| KillPolicy {
        grace_period: Some(DurationInfo { nanoseconds: grace.as_nanos() as i64 }),
    });
    Event { kill: Some(Kill { task_id: TaskId { value: id.into() }, kill_policy }), ..event(EventType::Kill) }
}

fn acknowledge(call: &Call) -> Event {
    let status = &call.update.as_ref().unwrap().status;
    let acknowledged = Acknowledged { task_id: status.task_id.clone(), uuid: status.uuid.clone().unwrap() };
    Event { acknowledged: Some(acknowledged), ..event(EventType::Acknowledged) }
}

/// A session that is subscribed and has a task.
fn launched(now: Instant) -> Session {
    let mut session = Session::new(rules(), now);
    session.subscribe_call();
    let effects = session.event(subscribed(), now);
    assert_eq!(effects, [Effect::Tell(FromMesos::Subscribed { host: "node-7".into() })]);
    assert!(session.event(launch("t1"), now).is_empty());
    session
}

/// Sends everything that is to be sent; answers the states.
fn send_all(session: &mut Session) -> Vec<(TaskState, Call)> {
    let mut sent = Vec::new();
    while let Some(call) = session.next_update() {
        session.update_accepted();
        sent.push((call.update.as_ref().unwrap().status.state(), call));
    }
    sent
}

fn states(sent: &[(TaskState, Call)]) -> Vec<TaskState> {
    sent.iter().map(|(state, _)| *state).collect()
}

#[tokio::test]
async fn nothing_is_said_about_a_task_before_its_launch_and_running_only_once_the_pipelines_are_up() {
    let now = Instant::now();
    let mut session = Session::new(rules(), now);
    session.pipelines_up();
    session.subscribe_call();
    session.event(subscribed(), now);
    assert!(session.next_update().is_none());
    let mut session = launched(now);
    assert_eq!(states(&send_all(&mut session)), [TaskState::TaskStarting]);
    session.pipelines_up();
    assert_eq!(states(&send_all(&mut session)), [TaskState::TaskRunning]);
    session.event(launch("t1"), now);
    assert!(send_all(&mut session).is_empty(), "a duplicate LAUNCH is ignored");
}

#[tokio::test]
async fn one_that_waits_for_the_data_of_another_says_so_once_and_runs_when_it_has_them() {
    let now = Instant::now();
    for launched_first in [true, false] {
        let mut session = Session::new(rules(), now);
        session.event(subscribed(), now);
        if launched_first {
            session.event(launch("t1"), now);
            session.waits();
        } else {
            session.waits();
            session.event(launch("t1"), now);
        }
        session.pipelines_up();
        session.waits();
        let said = session.updates.iter().map(|update| (update.status.state(), update.status.data.clone()));
        let waits = (TaskState::TaskStarting, Some(handover::WAITS.to_vec()));
        let mut expected = vec![waits, (TaskState::TaskRunning, None)];
        expected.splice(0..0, launched_first.then_some((TaskState::TaskStarting, None)));
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn every_update_is_one_that_the_agent_accepts() {
    let mut session = launched(Instant::now());
    session.pipelines_up();
    let sent = send_all(&mut session);
    let mut uuids = std::collections::BTreeSet::new();
    for (_, call) in &sent {
        let status = &call.update.as_ref().unwrap().status;
        assert_eq!(status.source(), Source::Executor);
        assert_eq!(status.executor_id.as_ref().unwrap().value, "e1");
        assert_eq!(status.agent_id, None);
        assert_eq!(status.uuid.as_ref().unwrap().len(), 16);
        uuids.insert(status.uuid.clone());
    }
    assert_eq!(uuids.len(), 2);
}

#[tokio::test]
async fn after_a_loss_unacknowledged_updates_and_tasks_are_listed_with_their_uuids_and_not_sent_twice() {
    let now = Instant::now();
    let mut session = launched(now);
    let sent = send_all(&mut session);
    session.lost(now);
    session.pipelines_up();
    assert!(session.next_update().is_none(), "nothing is sent while not subscribed");
    let subscribe = session.subscribe_call().subscribe.unwrap();
    assert_eq!(subscribe.unacknowledged_tasks.len(), 1);
    let listed: Vec<_> = subscribe.unacknowledged_updates.iter().map(|u| u.status.uuid.clone()).collect();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], sent[0].1.update.as_ref().unwrap().status.uuid);
    session.event(subscribed(), now);
    assert!(session.next_update().is_none(), "what was listed is not sent again");
    session.event(acknowledge(&sent[0].1), now);
    session.lost(now);
    let subscribe = session.subscribe_call().subscribe.unwrap();
    assert_eq!((subscribe.unacknowledged_tasks.len(), subscribe.unacknowledged_updates.len()), (0, 1));
}

#[tokio::test]
async fn an_acknowledgement_that_overtakes_the_answer_costs_no_update() {
    let now = Instant::now();
    let mut session = launched(now);
    session.pipelines_up();
    let starting = session.next_update().unwrap();
    session.event(acknowledge(&starting), now);
    session.update_accepted();
    assert_eq!(states(&send_all(&mut session)), [TaskState::TaskRunning]);
}

#[tokio::test]
async fn a_kill_drains_says_killing_and_killed_and_ends_when_that_is_acknowledged() {
    let now = Instant::now();
    let mut session = launched(now);
    session.pipelines_up();
    for (_, call) in send_all(&mut session) {
        session.event(acknowledge(&call), now);
    }
    let effects = session.event(kill("t1", Some(Duration::from_secs(8))), now);
    let by = now + Duration::from_secs(6);
    assert_eq!(effects, [Effect::Tell(FromMesos::Drain { by, why: "the task was killed" })]);
    assert!(session.event(kill("t1", None), now).is_empty(), "a longer grace changes nothing");
    assert!(session.drained(now).is_empty());
    let sent = send_all(&mut session);
    assert_eq!(states(&sent), [TaskState::TaskKilling, TaskState::TaskKilled]);
    assert!(session.event(acknowledge(&sent[0].1), now).is_empty());
    assert_eq!(session.event(acknowledge(&sent[1].1), now), [Effect::Exit]);
}

#[tokio::test]
async fn killing_is_said_only_to_a_framework_that_knows_it() {
    let now = Instant::now();
    let mut session = Session::new(rules(), now);
    let mut plain = subscribed();
    plain.subscribed.as_mut().unwrap().framework_info.capabilities.clear();
    session.event(plain, now);
    session.event(launch("t1"), now);
    session.pipelines_up();
    send_all(&mut session);
    session.event(kill("t1", None), now);
    session.drained(now);
    assert_eq!(states(&send_all(&mut session)), [TaskState::TaskKilled]);
}

#[tokio::test]
async fn the_policy_of_the_kill_counts_before_that_of_the_task_and_that_before_our_own() {
    let now = Instant::now();
    let task_policy = || {
        let mut event = launch("t1");
        let grace_period = Some(DurationInfo { nanoseconds: 12_000_000_000 });
        event.launch.as_mut().unwrap().task.kill_policy = Some(KillPolicy { grace_period });
        event
    };
    let drain_by = |task: Event, grace: Option<Duration>| {
        let mut session = Session::new(rules(), now);
        session.event(subscribed(), now);
        session.event(task, now);
        session.event(kill("t1", grace), now);
        session.deadline().unwrap() - now
    };
    assert_eq!(drain_by(task_policy(), Some(Duration::from_secs(4))), Duration::from_secs(3));
    assert_eq!(drain_by(task_policy(), None), Duration::from_secs(9));
    assert_eq!(drain_by(launch("t1"), None), Duration::from_secs(15));
}

#[tokio::test]
async fn a_kill_of_an_unknown_task_is_ignored() {
    let now = Instant::now();
    let mut session = launched(now);
    assert!(session.event(kill("other", None), now).is_empty());
}

#[tokio::test]
async fn a_shutdown_keeps_to_the_grace_period_whatever_does_not_come() {
    let now = Instant::now();
    let mut session = launched(now);
    send_all(&mut session);
    assert_eq!(session.event(event(EventType::Shutdown), now).len(), 1);
    let drain_by = session.deadline().unwrap();
    assert_eq!(drain_by, now + Duration::from_secs(15));
    assert!(session.time(drain_by).is_empty());
    assert_eq!(states(&send_all(&mut session)), [TaskState::TaskKilled]);
    assert_eq!(session.deadline(), Some(now + Duration::from_secs(20)));
    assert_eq!(session.time(now + Duration::from_secs(20)), [Effect::Exit]);
}

#[tokio::test]
async fn a_task_that_comes_while_ending_is_killed_at_once() {
    let now = Instant::now();
    let mut session = launched(now);
    session.event(event(EventType::Shutdown), now);
    send_all(&mut session);
    session.event(launch("t2"), now);
    assert_eq!(states(&send_all(&mut session)), [TaskState::TaskKilled]);
}

#[tokio::test]
async fn an_orphan_drains_and_ends_without_a_word() {
    let now = Instant::now();
    let mut session = launched(now);
    session.lost(now);
    let effects = session.subscribe_refused(400, now);
    assert!(matches!(effects.as_slice(), [Effect::Tell(FromMesos::Drain { .. })]));
    assert_eq!(session.drained(now), [Effect::Exit]);
}

#[tokio::test]
async fn an_agent_that_stays_away_is_given_up_after_the_recovery_timeout_and_one_that_returns_is_not() {
    let now = Instant::now();
    let mut session = launched(now);
    assert!(session.lost(now).is_empty());
    assert!(session.subscribe_refused(503, now).is_empty());
    assert!(session.subscribe_refused(404, now).is_empty());
    let later = session.deadline().unwrap();
    assert_eq!(later, now + Duration::from_secs(900));
    session.lost(now + Duration::from_secs(5));
    assert_eq!(session.deadline(), Some(later), "one timer, from the first loss");
    session.event(subscribed(), now);
    assert_eq!(session.deadline(), None);
    session.lost(now);
    assert!(matches!(session.time(later).as_slice(), [Effect::Tell(FromMesos::Drain { .. })]));
}

#[tokio::test]
async fn when_the_recovery_timeout_is_over_everything_is_flushed_before_the_end() {
    let now = Instant::now();
    let mut session = launched(now);
    session.pipelines_up();
    session.lost(now);
    let over = session.deadline().unwrap();
    let effects = session.time(over);
    let by = over + Duration::from_secs(15);
    assert_eq!(effects, [Effect::Tell(FromMesos::Drain { by, why: "the agent did not come back" })]);
    assert!(session.time(over + Duration::from_secs(1)).is_empty(), "it drains");
    assert_eq!(session.drained(over + Duration::from_secs(2)), [Effect::Exit]);
}

#[tokio::test]
async fn an_agent_that_never_sends_a_heartbeat_is_not_given_up() {
    let now = Instant::now();
    let mut session = launched(now);
    assert_eq!(session.deadline(), None);
    assert!(session.time(now + Duration::from_secs(5 * 86_400)).is_empty());
    session.event(event(EventType::Heartbeat), now);
    assert_eq!(session.deadline(), None);
}

#[tokio::test]
async fn without_checkpointing_a_lost_agent_ends_the_executor() {
    let now = Instant::now();
    let mut session = Session::new(Rules { checkpoint: false, ..rules() }, now);
    session.subscribe_call();
    assert!(session.lost(now).is_empty(), "a first connection may fail");
    session.event(subscribed(), now);
    assert!(matches!(session.lost(now).as_slice(), [Effect::Tell(FromMesos::Drain { .. })]));
}

#[tokio::test]
async fn an_update_refused_while_the_agent_recovers_is_sent_again_and_other_refusals_subscribe_again() {
    let mut session = launched(Instant::now());
    let first = session.next_update().unwrap();
    assert!(session.update_refused(503).is_empty());
    assert_eq!(session.next_update().unwrap(), first);
    assert_eq!(session.update_refused(403), [Effect::Reconnect]);
    assert_eq!(session.update_refused(400), [Effect::Reconnect]);
}

#[tokio::test]
async fn a_message_moves_the_control_address_when_its_sender_knows_the_launch_and_is_not_out_of_date() {
    use proto::announcement::{Announced, write};
    // SHA-256 of the launch token above, as schedulers store it.
    let ours = "b6304b28b5eace75809fab0b0f213d054b908b750a49c4e5884ecae7942018ed";
    let mut session = Session::new(rules(), Instant::now());
    let said = |epoch, port: u16, key: &str| {
        write(&Announced { control: format!("10.0.0.1:{port}"), epoch }, key, "e1")
    };
    let moved = |port: u16| [Effect::Tell(FromMesos::ControlAddress(format!("10.0.0.1:{port}")))];
    assert_eq!(session.hear(&said(2, 9094, ours)), moved(9094));
    assert_eq!(session.hear(&said(2, 9095, ours)), moved(9095));
    assert!(session.hear(&said(1, 9096, ours)).is_empty(), "an earlier leader");
    assert!(session.hear(&said(3, 9096, "another launch")).is_empty(), "nobody of ours");
    assert!(session.hear(br#"{"v":1,"control":"10.0.0.9:1"}"#).is_empty(), "no proof");
    assert!(session.hear(b"\x01garbage").is_empty());
    assert_eq!(session.hear(&said(3, 9097, ours)), moved(9097));
}

fn fixture(path: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/fixtures/mesos-1.12");
    std::fs::read(root.join(path)).unwrap()
}

fn recorded_events(path: &str) -> Vec<Event> {
    let mut decoder = Decoder::new(Limits::default());
    let mut events = Vec::new();
    for byte in fixture(path) {
        decoder.push(&[byte]);
        while let Some(record) = decoder.next().unwrap() {
            events.push(Event::decode(record).unwrap());
        }
    }
    events
}

#[tokio::test]
async fn the_recorded_life_of_an_executor_is_gone_through() {
    let now = Instant::now();
    let mut session = Session::new(rules(), now);
    session.pipelines_up();
    session.subscribe_call();
    let mut seen = Vec::new();
    for event in recorded_events("13-executor/02-executor-subscribe.stream.bin") {
        session.event(event, now);
        seen.extend(states(&send_all(&mut session)));
    }
    assert_eq!(seen[..2], [TaskState::TaskStarting, TaskState::TaskRunning]);
    assert!(session.tasks.len() >= 2, "two tasks were launched");
    session.lost(now);
    session.subscribe_call();
    let mut effects = Vec::new();
    for event in recorded_events("13-executor/12-executor-subscribe-again.stream.bin") {
        effects.extend(session.event(event, now));
    }
    let drains = effects
        .iter()
        .any(|e| matches!(e, Effect::Tell(FromMesos::Drain { why, .. }) if why.contains("shuts")));
    assert!(drains, "it ends with SHUTDOWN: {effects:?}");
}

#[tokio::test]
async fn a_recorded_resubscription_lists_what_ours_lists() {
    let now = Instant::now();
    let mut session = Session::new(rules(), now);
    session.subscribe_call();
    for event in recorded_events("14-agent-restart/03-executor-subscribe.stream.bin") {
        session.event(event, now);
    }
    let recorded =
        Call::decode(fixture("14-agent-restart/11-executor-resubscribe-200.request.bin").as_slice()).unwrap();
    let recorded = recorded.subscribe.unwrap();
    assert!(!recorded.unacknowledged_tasks.is_empty() && !recorded.unacknowledged_updates.is_empty());
    session.lost(now);
    let ours = session.subscribe_call().subscribe.unwrap();
    for task in &recorded.unacknowledged_tasks {
        let same = ours.unacknowledged_tasks.iter().find(|ours| ours.task_id == task.task_id);
        assert_eq!(same, Some(task), "a task is listed as it was launched");
    }
    for event in recorded_events("14-agent-restart/11-executor-resubscribe-200.stream.bin") {
        session.event(event, now);
    }
    assert_eq!(session.connection, Connection::Subscribed);
}
