//! Frameworks, agents and tasks that leave, return and end, as schedulers hear of it.

use super::client::framework_info;
use super::guest::{Guest, MASTER};
use super::world::World;
use crate::Timings;
use crate::master::core::Answer;
use mesos::framework_info::capability::Type as Can;
use mesos::task_status::Reason;
use mesos::{TaskState, TaskStatus};
use operator_api::call::{self, Type as Operator};
use proto::mesos::v1::{self as mesos, executor, master as operator_api, scheduler};
use scheduler::call::Type;
use std::time::Duration;

fn rescinded(guest: &mut Guest) -> usize {
    guest.news().iter().filter(|event| event.rescind.is_some()).count()
}

fn operate_on_agent(guest: &mut Guest, kind: Operator, index: usize) {
    let agent_id = guest.agent_id(index);
    let call = match kind {
        Operator::DeactivateAgent => operator_api::Call {
            deactivate_agent: Some(call::DeactivateAgent { agent_id }),
            ..Default::default()
        },
        Operator::ReactivateAgent => operator_api::Call {
            reactivate_agent: Some(call::ReactivateAgent { agent_id }),
            ..Default::default()
        },
        _ => operator_api::Call {
            mark_agent_gone: Some(call::MarkAgentGone { agent_id }),
            ..Default::default()
        },
    };
    assert!(matches!(guest.operate(kind, call), Answer::Done));
}

fn drain(guest: &mut Guest, mark_gone: bool) {
    let drain = call::DrainAgent {
        agent_id: guest.agent_id(0),
        max_grace_period: Some(mesos::WellKnownDuration { seconds: Some(7), nanos: None }),
        mark_gone: Some(mark_gone),
    };
    let call = operator_api::Call { drain_agent: Some(drain), ..Default::default() };
    assert!(matches!(guest.operate(Operator::DrainAgent, call), Answer::Done));
}

fn kills(guest: &Guest) -> Vec<executor::event::Kill> {
    let heard = guest.world.agents[0].executors.values().flat_map(|heard| &heard.events);
    heard.filter_map(|event| event.kill.clone()).collect()
}

#[test]
fn offers_are_withdrawn_when_their_agent_leaves_is_switched_off_or_drained_and_after_their_time() {
    let mut guest = Guest::new(1);
    guest.news();
    guest.world.kill_agent(0);
    assert_eq!(rescinded(&mut guest), 1, "disconnected");
    guest.world.start_agent(0);
    guest.news();
    operate_on_agent(&mut guest, Operator::DeactivateAgent, 0);
    assert_eq!(rescinded(&mut guest), 1, "deactivated");
    guest.world.advance(Duration::from_secs(5));
    assert!(guest.new_offers().is_empty());
    operate_on_agent(&mut guest, Operator::ReactivateAgent, 0);
    assert_eq!(guest.new_offers().len(), 1);
    drain(&mut guest, false);
    assert_eq!(rescinded(&mut guest), 1, "drained");
    operate_on_agent(&mut guest, Operator::ReactivateAgent, 0);
    assert_eq!(guest.new_offers().len(), 1);
    operate_on_agent(&mut guest, Operator::MarkAgentGone, 0);
    assert_eq!(rescinded(&mut guest), 1, "gone");
    let timings = Timings { offer_timeout: Some(Duration::from_secs(30)), ..Timings::default() };
    let mut guest = Guest::with(World::new(MASTER, 1, timings, &[]), framework_info());
    guest.news();
    guest.world.advance(Duration::from_secs(29));
    assert_eq!(rescinded(&mut guest), 0);
    guest.world.advance(Duration::from_secs(2));
    assert_eq!(rescinded(&mut guest), 1, "not answered in time");
}

#[test]
fn a_drained_agent_kills_its_tasks_within_its_grace_and_says_why() {
    for (mark_gone, state) in [(false, TaskState::TaskKilled), (true, TaskState::TaskGoneByOperator)] {
        let mut guest = Guest::new(1);
        guest.run(0, "a");
        drain(&mut guest, mark_gone);
        let kill = kills(&guest).remove(0);
        let grace = kill.kill_policy.unwrap().grace_period.unwrap();
        assert_eq!(grace.nanoseconds, 7_000_000_000);
        guest.update(0, "a", TaskState::TaskKilled);
        let status = guest.new_statuses().remove(0);
        assert_eq!((status.state(), status.reason()), (state, Reason::AgentDraining));
        let drained = |guest: &mut Guest| {
            let agents = guest.ask(Operator::GetAgents).get_agents.unwrap().agents;
            agents.first().map(|agent| agent.drain_info.unwrap().state())
        };
        assert_eq!(drained(&mut guest), Some(mesos::DrainState::Draining), "not acknowledged yet");
        acknowledge(&mut guest, &status);
        guest.world.advance(Duration::from_secs(1));
        let expected = (!mark_gone).then_some(mesos::DrainState::Drained);
        assert_eq!(drained(&mut guest), expected, "one that is to be marked gone is gone");
    }
}

fn acknowledge(guest: &mut Guest, status: &TaskStatus) {
    let acknowledge = scheduler::call::Acknowledge {
        agent_id: status.agent_id.clone().unwrap(),
        task_id: status.task_id.clone(),
        uuid: status.uuid.clone().unwrap(),
    };
    guest.call(Type::Acknowledge, scheduler::Call { acknowledge: Some(acknowledge), ..Default::default() });
}

#[test]
fn who_knows_no_partitions_hears_of_lost_tasks_and_who_keeps_no_checkpoints_loses_them_at_once() {
    let aware = framework_info();
    let mut unaware = framework_info();
    unaware.capabilities.retain(|can| can.r#type() != Can::PartitionAware);
    let fleeting = mesos::FrameworkInfo { checkpoint: Some(false), ..framework_info() };
    let cases = [
        (aware, 601, TaskState::TaskUnreachable, Reason::AgentRemoved),
        (unaware, 601, TaskState::TaskLost, Reason::AgentRemoved),
        (fleeting, 0, TaskState::TaskLost, Reason::AgentDisconnected),
    ];
    for (info, seconds, state, reason) in cases {
        let mut guest = Guest::with(World::new(MASTER, 1, Timings::default(), &[]), info);
        guest.run(0, "a");
        guest.world.kill_agent(0);
        guest.world.advance(Duration::from_secs(seconds));
        let status = guest.new_statuses().remove(0);
        assert_eq!((status.state(), status.reason()), (state, reason));
        assert_eq!(status.unreachable_time.is_some(), seconds > 0);
        assert!(status.uuid.is_none());
    }
}

#[test]
fn what_the_master_says_to_nobody_is_lost_and_found_by_reconciliation() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    let connection = guest.connection;
    guest.world.disconnect(connection);
    guest.world.kill_agent(0);
    guest.world.advance(Duration::from_secs(601));
    guest.subscribe_again();
    guest.world.advance(Duration::from_secs(60));
    assert!(guest.new_statuses().is_empty());
    let task = scheduler::call::reconcile::Task {
        task_id: mesos::TaskId { value: "task-a".into() },
        agent_id: Some(guest.agent_id(0)),
    };
    let reconcile = Some(scheduler::call::Reconcile { tasks: vec![task] });
    guest.call(Type::Reconcile, scheduler::Call { reconcile, ..Default::default() });
    let status = guest.new_statuses().remove(0);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskUnreachable, Reason::Reconciliation));
    guest.call(
        Type::Reconcile,
        scheduler::Call { reconcile: Some(scheduler::call::Reconcile::default()), ..Default::default() },
    );
    assert!(guest.new_statuses().is_empty(), "unreachable tasks are not among all tasks");
}

#[test]
fn updates_that_nobody_heard_come_again_after_the_next_subscription() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    let connection = guest.connection;
    guest.world.disconnect(connection);
    guest.update(0, "a", TaskState::TaskFinished);
    guest.subscribe_again();
    let status = guest.new_statuses().remove(0);
    assert_eq!(status.state(), TaskState::TaskFinished);
    assert!(status.uuid.is_some());
}

#[test]
fn a_kill_waits_for_an_agent_that_is_away() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    guest.world.kill_agent(0);
    let kill =
        scheduler::call::Kill { task_id: mesos::TaskId { value: "task-a".into() }, ..Default::default() };
    guest.call(Type::Kill, scheduler::Call { kill: Some(kill), ..Default::default() });
    assert!(kills(&guest).is_empty());
    guest.world.start_agent(0);
    let subscribe = Some(executor::call::Subscribe::default());
    let call = executor::Call { subscribe, ..Default::default() };
    guest.executor(0, "a", executor::call::Type::Subscribe, call);
    guest.world.advance(Duration::from_secs(5));
    assert_eq!(kills(&guest).len(), 1);
}

#[test]
fn what_is_sent_to_an_executor_without_a_connection_is_lost() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    let connection = *guest.world.agents[0].executors.keys().next().unwrap();
    guest.world.agent(0, crate::agent::core::Input::Disconnected(connection));
    let kill =
        scheduler::call::Kill { task_id: mesos::TaskId { value: "task-a".into() }, ..Default::default() };
    let call = scheduler::Call { kill: Some(kill), ..Default::default() };
    guest.call(Type::Kill, call.clone());
    guest.world.advance(Duration::from_secs(60));
    assert!(guest.new_statuses().is_empty(), "the agent notices nothing");
    let subscribe = Some(executor::call::Subscribe::default());
    let again = executor::Call { subscribe, ..Default::default() };
    guest.executor(0, "a", executor::call::Type::Subscribe, again);
    assert!(kills(&guest).is_empty(), "it does not come later");
    guest.call(Type::Kill, call);
    assert_eq!(kills(&guest).len(), 1);
}

#[test]
fn executors_of_a_framework_that_is_torn_down_are_told_to_end_and_not_heard_any_more() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    guest.call(Type::Teardown, scheduler::Call::default());
    assert!(guest.world.schedulers[&guest.connection].ended, "without an ERROR");
    assert!(guest.news().iter().all(|event| event.error.is_none()));
    guest.update(0, "a", TaskState::TaskKilled);
    let heard: Vec<_> = guest.world.agents[0].executors.values().flat_map(|heard| &heard.events).collect();
    assert!(heard.iter().any(|event| event.r#type() == executor::event::Type::Shutdown));
    let acknowledged = heard.iter().filter(|event| event.acknowledged.is_some()).count();
    assert_eq!(acknowledged, 1, "the first update only");
}

#[test]
fn a_framework_without_a_failover_timeout_ends_with_its_connection_and_its_id_is_remembered_for_a_while() {
    let fleeting = mesos::FrameworkInfo { failover_timeout: None, ..framework_info() };
    let mut guest = Guest::with(World::new(MASTER, 1, Timings::default(), &[]), fleeting.clone());
    let connection = guest.connection;
    guest.world.disconnect(connection);
    guest.world.advance(Duration::from_millis(20));
    let refused = |guest: &mut Guest| {
        let info = mesos::FrameworkInfo { id: Some(guest.id.clone()), ..framework_info() };
        let call = scheduler::Call {
            framework_id: info.id.clone(),
            r#type: Some(Type::Subscribe.into()),
            subscribe: Some(scheduler::call::Subscribe { framework_info: info, ..Default::default() }),
            ..Default::default()
        };
        let Answer::Stream { connection, .. } = guest.world.call(call, None) else { panic!("a stream") };
        let heard = &guest.world.schedulers[&connection];
        let error = heard.events.first().and_then(|event| event.error.clone());
        assert_eq!(error.is_some(), heard.ended);
        error.map(|error| error.message)
    };
    assert_eq!(refused(&mut guest).as_deref(), Some("Framework has been removed"));
    for _ in 0..50 {
        let world = std::mem::replace(&mut guest.world, World::new(MASTER, 0, Timings::default(), &[]));
        let other = Guest::with(world, fleeting.clone());
        guest.world = other.world;
        guest.world.disconnect(other.connection);
        guest.world.advance(Duration::from_millis(20));
    }
    assert_eq!(refused(&mut guest), None, "the list of removed ones holds fifty");
}
