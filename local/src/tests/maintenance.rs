//! Maintenance as schedulers and operators see it: schedules, inverse offers, machines that are down and up again.

use super::guest::Guest;
use crate::master::core::Answer;
use mesos::{MachineId, TaskState};
use operator_api::call::{self, Type};
use proto::mesos::v1::{self as mesos, maintenance, master as operator_api, scheduler};
use std::time::Duration;

fn machine(number: usize) -> MachineId {
    MachineId { hostname: Some(format!("agent{number}.example")), ip: Some("127.0.0.1".into()) }
}

fn schedule(guest: &mut Guest, machines: Vec<MachineId>) -> Answer {
    let window = maintenance::Window {
        machine_ids: machines,
        unavailability: mesos::Unavailability {
            start: mesos::TimeInfo { nanoseconds: 1_800_000_000_000_000_000 },
            duration: None,
        },
    };
    let schedule = maintenance::Schedule { windows: vec![window] };
    let call = operator_api::Call {
        update_maintenance_schedule: Some(call::UpdateMaintenanceSchedule { schedule }),
        ..Default::default()
    };
    guest.operate(Type::UpdateMaintenanceSchedule, call)
}

fn down(guest: &mut Guest, machines: Vec<MachineId>) -> Answer {
    let call = operator_api::Call {
        start_maintenance: Some(call::StartMaintenance { machines }),
        ..Default::default()
    };
    guest.operate(Type::StartMaintenance, call)
}

fn up(guest: &mut Guest, machines: Vec<MachineId>) -> Answer {
    let call = operator_api::Call {
        stop_maintenance: Some(call::StopMaintenance { machines }),
        ..Default::default()
    };
    guest.operate(Type::StopMaintenance, call)
}

fn inverse(events: Vec<scheduler::Event>) -> Vec<mesos::InverseOffer> {
    events
        .into_iter()
        .filter_map(|event| event.inverse_offers)
        .flat_map(|event| event.inverse_offers)
        .collect()
}

#[test]
fn a_schedule_withdraws_offers_sends_them_again_with_the_time_and_asks_for_what_is_used() {
    let mut guest = Guest::new(2);
    guest.run(1, "a");
    let events = {
        assert!(matches!(schedule(&mut guest, vec![machine(2)]), Answer::Done));
        guest.news()
    };
    assert!(events.iter().any(|event| event.rescind.is_some()));
    let offers: Vec<_> =
        events.iter().filter_map(|event| event.offers.as_ref()).flat_map(|offers| &offers.offers).collect();
    for offer in &offers {
        let planned = offer.unavailability.map(|away| away.start.nanoseconds);
        let expected = (offer.agent_id == guest.agent_id(1)).then_some(1_800_000_000_000_000_000);
        assert_eq!(planned, expected, "{}", offer.hostname);
    }
    let asked = inverse(events);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].agent_id, Some(guest.agent_id(1)));
    assert!(asked[0].resources.is_empty());
}

#[test]
fn a_framework_without_anything_on_a_machine_is_not_asked_about_it() {
    let mut guest = Guest::new(2);
    guest.call(scheduler::call::Type::Suppress, scheduler::Call::default());
    let offers = guest.new_offers();
    for offer in offers {
        guest.accept(&offer, Vec::new());
    }
    schedule(&mut guest, vec![machine(1), machine(2)]);
    guest.world.advance(Duration::from_secs(5));
    assert!(inverse(guest.news()).is_empty());
}

#[test]
fn an_inverse_offer_comes_again_after_its_filter_whatever_the_answer_was() {
    use scheduler::call::Type as Call;
    for (kind, accepted) in [(Call::AcceptInverseOffers, true), (Call::DeclineInverseOffers, false)] {
        let mut guest = Guest::new(1);
        guest.run(0, "a");
        schedule(&mut guest, vec![machine(1)]);
        let asked = inverse(guest.news()).remove(0);
        let (inverse_offer_ids, filters) =
            (vec![asked.id], Some(mesos::Filters { refuse_seconds: Some(20.0) }));
        let call = if accepted {
            let accept = scheduler::call::AcceptInverseOffers { inverse_offer_ids, filters };
            scheduler::Call { accept_inverse_offers: Some(accept), ..Default::default() }
        } else {
            let decline = scheduler::call::DeclineInverseOffers { inverse_offer_ids, filters };
            scheduler::Call { decline_inverse_offers: Some(decline), ..Default::default() }
        };
        guest.call(kind, call);
        let status = guest.ask(Type::GetMaintenanceStatus).get_maintenance_status.unwrap().status;
        let answered: Vec<_> =
            status.draining_machines[0].statuses.iter().map(|answer| answer.status()).collect();
        use maintenance::inverse_offer_status::Status;
        assert_eq!(answered, [if accepted { Status::Accept } else { Status::Decline }]);
        guest.world.advance(Duration::from_secs(19));
        assert!(inverse(guest.news()).is_empty());
        guest.world.advance(Duration::from_secs(2));
        assert_eq!(inverse(guest.news()).len(), 1);
        guest.world.advance(Duration::from_secs(60));
        assert!(inverse(guest.news()).is_empty(), "one that is not answered stays");
    }
}

#[test]
fn a_changed_schedule_takes_inverse_offers_back() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    schedule(&mut guest, vec![machine(1)]);
    let asked = inverse(guest.news()).remove(0);
    let empty = operator_api::Call {
        update_maintenance_schedule: Some(call::UpdateMaintenanceSchedule::default()),
        ..Default::default()
    };
    guest.operate(Type::UpdateMaintenanceSchedule, empty);
    let events = guest.news();
    let taken: Vec<_> = events.iter().filter_map(|event| event.rescind_inverse_offer.clone()).collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].inverse_offer_id, asked.id);
    let offers = events.into_iter().filter_map(|event| event.offers).flat_map(|offers| offers.offers);
    assert!(offers.into_iter().all(|offer| offer.unavailability.is_none()));
}

#[test]
fn an_agent_of_a_machine_that_is_down_is_lost_and_is_let_in_when_it_is_up() {
    let mut guest = Guest::new(2);
    guest.run(1, "a");
    schedule(&mut guest, vec![machine(2)]);
    guest.news();
    assert!(matches!(down(&mut guest, vec![machine(2)]), Answer::Done));
    let events = guest.news();
    let status = events.iter().find_map(|event| event.update.as_ref()).unwrap().status.clone();
    assert_eq!(status.state(), TaskState::TaskLost, "also for one that knows of partitions");
    assert_eq!(status.reason(), mesos::task_status::Reason::AgentRemoved);
    let failure = events.iter().find_map(|event| event.failure.clone()).unwrap();
    assert_eq!((failure.agent_id, failure.executor_id), (Some(guest.agent_id(1)), None));
    assert!(events.iter().any(|event| event.rescind_inverse_offer.is_some()));
    let agents = |guest: &mut Guest| guest.ask(Type::GetAgents).get_agents.unwrap().agents.len();
    guest.world.kill_agent(1);
    guest.world.start_agent(1);
    guest.world.advance(Duration::from_secs(5));
    assert_eq!(agents(&mut guest), 1, "not while its machine is down");
    assert!(matches!(up(&mut guest, vec![machine(2)]), Answer::Done));
    guest.world.kill_agent(1);
    guest.world.start_agent(1);
    guest.world.advance(Duration::from_secs(5));
    assert_eq!(agents(&mut guest), 2);
    let offer = guest.new_offers().into_iter().find(|offer| offer.agent_id == guest.agent_id(1));
    assert_eq!(offer.unwrap().unavailability, None, "it keeps its id, and the schedule is over");
}

#[test]
fn a_schedule_that_makes_no_sense_is_refused() {
    let mut guest = Guest::new(1);
    let refused = |answer: Answer| matches!(answer, Answer::Refused(400, _));
    assert!(refused(schedule(&mut guest, vec![])));
    assert!(refused(schedule(&mut guest, vec![MachineId::default()])));
    assert!(refused(schedule(&mut guest, vec![machine(1), machine(1)])));
    assert!(refused(down(&mut guest, vec![machine(1)])), "it is not scheduled");
    assert!(refused(down(&mut guest, vec![])));
    assert!(refused(up(&mut guest, vec![machine(1)])), "it is not down");
    schedule(&mut guest, vec![machine(1)]);
    down(&mut guest, vec![machine(1)]);
    assert!(refused(down(&mut guest, vec![machine(1)])), "it is down already");
    assert!(refused(schedule(&mut guest, vec![machine(2)])), "one that is down stays in the schedule");
}

#[test]
fn a_new_master_knows_the_schedule_and_which_machines_are_down() {
    let mut guest = Guest::new(2);
    schedule(&mut guest, vec![machine(1), machine(2)]);
    down(&mut guest, vec![machine(2)]);
    guest.world.kill_agent(1);
    guest.world.advance(Duration::from_secs(1));
    guest.world.replace_master(super::guest::MASTER);
    guest.world.link_all();
    guest.world.start_agent(1);
    let status = guest.ask(Type::GetMaintenanceStatus).get_maintenance_status.unwrap().status;
    assert_eq!(status.down_machines, [machine(2)]);
    assert_eq!(status.draining_machines.len(), 1);
    guest.subscribe_again();
    guest.world.advance(Duration::from_secs(2));
    let offers = guest.new_offers();
    assert_eq!(offers.len(), 1);
    assert!(offers[0].unavailability.is_some());
}
