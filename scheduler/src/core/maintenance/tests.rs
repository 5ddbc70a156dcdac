//! Maintenance in virtual time: what is answered, who ends when, and what is launched when it is over.
use super::*;
use crate::core::cluster::{Machine, Standing, TaskState};
use crate::core::tests::{agent, calls, launch, offer, ready, ready_with, rules, run, saves, update};
use web::view::{Cause, Coverage};

const NOW: Moment = Moment(10_000_000);

fn at(seconds: u64) -> Moment {
    NOW.after(Duration::from_secs(seconds))
}

fn window(from: u64, seconds: u64) -> Unavailability {
    Unavailability { start: at(from), duration: Some(Duration::from_secs(seconds)) }
}

fn inverse(id: &str, window: Unavailability) -> Vec<InverseOffer> {
    vec![InverseOffer { id: id.into(), agent: Some("a".into()), unavailability: window }]
}

fn cause_of(core: &Core, now: Moment) -> Cause {
    core.nodes(now).remove(0).cause
}

/// Ticks twice a second up to a moment; gives the kills by second.
fn kills_until(core: &mut Core, from: u64, to: u64) -> Vec<u64> {
    let mut kills = Vec::new();
    for half in from * 2..to * 2 {
        core.tick(NOW.after(Duration::from_millis(half * 500)));
        let killed = calls(&core.take_effects()).iter().filter(|c| matches!(c, Call::Kill(..))).count();
        kills.extend(std::iter::repeat_n(half / 2, killed));
    }
    kills
}

#[test]
fn an_inverse_offer_is_accepted_for_long_and_its_window_is_known() {
    let mut core = ready();
    core.inverse_offered(NOW, inverse("i1", window(3600, 600)));
    let Call::AcceptInverse { offers, refuse } = calls(&core.take_effects()).remove(0) else { panic!() };
    assert_eq!((offers, refuse), (vec!["i1".into()], Duration::from_secs(3600)));
    assert_eq!(cause_of(&core, NOW), Cause::AwaitingFirstOffer);
    core.tick(at(3301));
    assert_eq!(cause_of(&core, at(3301)), Cause::MaintenanceSoon);
    assert_eq!(core.nodes(at(3301))[0].since, at(3301));
}

#[test]
fn where_executors_stay_an_inverse_offer_is_declined_for_long_and_nothing_is_ended_for_it() {
    let mut core = ready_with(Rules { stays: true, ..rules() });
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    core.inverse_offered(NOW, inverse("i1", window(600, 300)));
    let Call::DeclineInverse { offers, refuse } = calls(&core.take_effects()).remove(0) else { panic!() };
    assert_eq!((offers, refuse), (vec!["i1".into()], Duration::from_secs(3600)));
    assert_eq!(kills_until(&mut core, 1, 605), [] as [u64; 0]);
    assert_eq!(cause_of(&core, at(605)), Cause::Runs);
}

#[test]
fn an_executor_ends_with_time_to_flush_before_its_machine_goes_and_comes_back_after_it() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    core.inverse_offered(NOW, inverse("i1", window(600, 300)));
    core.take_effects();
    assert_eq!(kills_until(&mut core, 1, 605), [540, 570, 600]);
    core.updated(at(605), &update(&task, "a", TaskState::Killing, Some(2)));
    assert_eq!(core.nodes(at(605))[0].coverage, Coverage::Maintenance);
    core.updated(at(606), &update(&task, "a", TaskState::Killed, Some(3)));
    saves(&core.take_effects()).into_iter().for_each(|(ticket, _)| core.saved(at(606), ticket, Ok(())));
    core.take_effects();
    assert_eq!(cause_of(&core, at(610)), Cause::InMaintenance);
    let again =
        crate::core::cluster::Offer { unavailability: Some(window(600, 300)), ..offer("o2", "a", 4.0) };
    core.offered(at(610), vec![again]);
    let answer = calls(&core.take_effects());
    let [Call::Decline { refuse, .. }] = &answer[..] else { panic!("{answer:?}") };
    assert_eq!(refuse.as_secs(), 290, "until the machine is back; then Mesos offers by itself");
    core.tick(at(901));
    launch(&mut core, "a", at(904));
}

#[test]
fn nothing_is_launched_on_a_machine_that_soon_goes_away() {
    for (from, launched) in [(299, false), (301, true)] {
        let mut core = ready();
        let soon =
            crate::core::cluster::Offer { unavailability: Some(window(from, 60)), ..offer("o1", "a", 4.0) };
        core.offered(NOW, vec![soon]);
        assert_eq!(!saves(&core.take_effects()).is_empty(), launched, "{from}");
    }
}

#[test]
fn nothing_is_launched_that_would_be_ended_at_once_however_short_the_lead() {
    let mut core = ready_with(Rules { maintenance_lead: Duration::ZERO, ..rules() });
    let soon = crate::core::cluster::Offer { unavailability: Some(window(59, 60)), ..offer("o1", "a", 4.0) };
    core.offered(NOW, vec![soon]);
    assert!(saves(&core.take_effects()).is_empty());
}

#[test]
fn a_window_that_is_withdrawn_is_forgotten() {
    let mut core = ready();
    core.agents_listed(NOW, vec![agent("a", None)]);
    core.inverse_offered(NOW, inverse("i1", window(100, 60)));
    assert_eq!(cause_of(&core, NOW), Cause::MaintenanceSoon);
    core.inverse_rescinded(NOW, &"i1".into());
    assert_eq!(cause_of(&core, NOW), Cause::AwaitingFirstOffer);
}

#[test]
fn the_schedule_of_the_master_names_machines_by_host_or_address_and_is_the_last_word() {
    let machine = |host: &str, ip: &str| Machine { host: host.into(), ip: ip.into() };
    for (of, found) in [
        (machine("HOST-of-a", ""), true),
        (machine("host-of-a", "10.0.0.7"), true),
        (machine("", "10.0.0.7"), true),
        (machine("host-of-a", "10.0.0.8"), false),
        (machine("host-of-b", ""), false),
    ] {
        let mut core = ready();
        let mut listed = agent("a", None);
        listed.ip = "10.0.0.7".into();
        core.agents_listed(NOW, vec![listed]);
        core.maintenance_planned(
            NOW,
            &[Window { machines: vec![of.clone()], unavailability: window(60, 60) }],
        );
        assert_eq!(cause_of(&core, NOW) == Cause::MaintenanceSoon, found, "{of:?}");
        core.maintenance_planned(NOW, &[]);
        assert_eq!(cause_of(&core, NOW), Cause::AwaitingFirstOffer);
    }
}

#[test]
fn a_machine_that_is_down_is_shown_until_its_window_ends_or_it_is_back() {
    let mut core = ready();
    core.agents_listed(NOW, vec![agent("a", None), agent("b", None)]);
    core.inverse_offered(NOW, inverse("i1", window(0, 60)));
    core.agents_listed(at(1), vec![agent("b", None)]);
    assert_eq!(cause_of(&core, at(1)), Cause::MachineDown);
    assert_eq!(core.listing(at(1)).listed, 1);
    core.tick(at(61));
    core.agents_listed(at(61), vec![agent("b", None)]);
    assert_eq!(core.nodes(at(61)).len(), 1);
}

#[test]
fn an_agent_that_is_drained_and_reactivated_gets_its_executor_at_once() {
    let mut core = ready();
    core.agents_listed(NOW, vec![agent("a", None)]);
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    for round in 0..8 {
        let now = at(round * 10);
        let (task, agent_id) = core.nodes(now).into_iter().find_map(|n| Some((n.task?, n.agent))).unwrap();
        for state in [TaskState::Killing, TaskState::Killed] {
            let mut draining = update(&task, &agent_id.0, state, Some(9));
            draining.reason = "AGENT_DRAINING".into();
            core.updated(now, &draining);
            let expected = if state == TaskState::Killing { Cause::Draining } else { Cause::ToldToEnd };
            assert_eq!(cause_of(&core, now), expected);
            saves(&core.take_effects()).into_iter().for_each(|(ticket, _)| core.saved(now, ticket, Ok(())));
        }
        core.agents_listed(now, vec![agent("a", Some(Standing::Drained))]);
        assert_eq!(cause_of(&core, now), Cause::Drained);
        core.agents_listed(now.after(Duration::from_secs(3)), vec![agent("a", None)]);
        core.take_effects();
        core.tick(now.after(Duration::from_secs(3)));
        core.tick(now.after(Duration::from_millis(6500)));
        assert!(calls(&core.take_effects()).contains(&Call::Revive), "round {round}");
        let (task, ..) = launch(&mut core, "a", now.after(Duration::from_secs(7)));
        run(&mut core, &task, "a", now.after(Duration::from_secs(7)));
    }
}
