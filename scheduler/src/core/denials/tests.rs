//! Reservations that the master does not allow: what the next launch does, when one tries again, and what people read.
use super::super::effects::{Call, Phase};
use super::super::resources::Form;
use super::super::tests::{NOW, offer, ready_with, rules, run, saves, update};
use super::super::{Claim, Core, Rules};
use super::*;
use web::view::Cause;

fn reserving() -> Core {
    let claim = Claim { reserve: true, ..rules().claim };
    ready_with(Rules { claim, ..rules() })
}

/// Offers four processors of an agent; gives the task that is launched and whether it reserves.
fn launched(core: &mut Core, agent: &str, now: Moment) -> Option<(TaskId, bool)> {
    core.offered(now, vec![offer(&format!("o-{agent}-{}", now.0), agent, 4.0)]);
    for (ticket, _) in saves(&core.take_effects()) {
        core.saved(now, ticket, Ok(()));
    }
    core.take_effects().into_iter().find_map(|effect| match effect {
        super::super::effects::Effect::Call(Call::Accept { launch, taken, .. }) => {
            Some((launch.task, taken.portions().any(|portion| portion.form == Form::Reserved)))
        }
        _ => None,
    })
}

fn refuse(core: &mut Core, task: &TaskId, agent: &str, now: Moment) {
    let said = Update {
        reason: "TASK_INVALID".into(),
        message: "Task uses more resources cpus:0.01 than available".into(),
        ..update(task, agent, TaskState::Error, None)
    };
    core.updated(now, &said);
    for (ticket, _) in saves(&core.take_effects()) {
        core.saved(now, ticket, Ok(()));
    }
    core.take_effects();
}

fn at(seconds: u64) -> Moment {
    NOW.after(Duration::from_secs(seconds))
}

#[test]
fn a_launch_whose_reservation_is_denied_says_so_and_the_next_one_does_without() {
    let mut core = reserving();
    let (task, reserves) = launched(&mut core, "a", NOW).unwrap();
    assert!(reserves);
    refuse(&mut core, &task, "a", NOW);
    let node = core.nodes(NOW).remove(0);
    assert_eq!(node.cause, Cause::ReservationDenied);
    assert!(node.reason.starts_with("reservation denied: "), "{}", node.reason);
    assert!(node.cause.advice().contains("ACLs"));
    let problems = core.reservation_problems(NOW);
    assert!(matches!(&problems[..], [one] if one.contains("more resources") && one.contains("--reserve")));

    let (task, reserves) = launched(&mut core, "a", at(2)).unwrap();
    assert!(!reserves, "soon after, and without");
    run(&mut core, &task, "a", at(3));
    assert_eq!(core.nodes(at(3))[0].cause, Cause::Runs);
    assert_eq!(core.reservation_problems(at(3)).len(), 1, "people still read of it");
}

#[test]
fn it_is_tried_again_by_one_launch_less_and_less_often_and_forgotten_once_it_works() {
    let mut core = reserving();
    let (task, _) = launched(&mut core, "a", NOW).unwrap();
    refuse(&mut core, &task, "a", NOW);
    assert!(!launched(&mut core, "b", at(599)).unwrap().1);
    let (trying, reserves) = launched(&mut core, "c", at(601)).unwrap();
    assert!(reserves);
    assert!(!launched(&mut core, "d", at(601)).unwrap().1, "one tries, the others do not wait for it");
    refuse(&mut core, &trying, "c", at(602));
    assert!(!launched(&mut core, "e", at(602 + 1199)).unwrap().1);
    let (trying, reserves) = launched(&mut core, "f", at(602 + 1201)).unwrap();
    assert!(reserves);
    run(&mut core, &trying, "f", at(602 + 1202));
    assert!(core.reservation_problems(at(602 + 1202)).is_empty());
    assert!(launched(&mut core, "g", at(602 + 1203)).unwrap().1);
}

#[test]
fn a_launch_that_is_refused_without_a_reservation_too_is_wrong_itself_and_backs_off() {
    let mut core = reserving();
    let (task, _) = launched(&mut core, "a", NOW).unwrap();
    refuse(&mut core, &task, "a", NOW);
    let (task, _) = launched(&mut core, "a", at(2)).unwrap();
    refuse(&mut core, &task, "a", at(3));
    let node = core.nodes(at(3)).remove(0);
    assert_eq!(node.cause, Cause::LaunchRefused);
    assert!(core.reservation_problems(at(3)).is_empty());
    assert_eq!(launched(&mut core, "a", at(20)), None, "no storm of launches that are all wrong");
}

#[test]
fn a_thousand_launches_that_are_denied_hold_nothing_back() {
    let mut core = reserving();
    let tasks: Vec<(String, TaskId)> = (0..1000)
        .map(|n| {
            let agent = format!("a{n}");
            let task = launched(&mut core, &agent, NOW).unwrap().0;
            (agent, task)
        })
        .collect();
    for (agent, task) in &tasks {
        refuse(&mut core, task, agent, at(1));
    }
    for (agent, _) in &tasks {
        assert!(!launched(&mut core, agent, at(3)).unwrap().1, "{agent}");
    }
    assert!(core.launches.values().all(|launch| launch.record.phase == Phase::Launching));
}

#[test]
fn launches_that_were_on_their_way_when_the_first_of_them_was_denied_are_one_denial() {
    let mut core = reserving();
    let tasks: Vec<(String, TaskId)> =
        (0..10).map(|n| (format!("a{n}"), launched(&mut core, &format!("a{n}"), NOW).unwrap().0)).collect();
    for (n, (agent, task)) in tasks.iter().enumerate() {
        refuse(&mut core, task, agent, at(1 + u64::try_from(n).unwrap()));
    }
    let problems = core.reservation_problems(at(10));
    assert!(matches!(&problems[..], [one] if one.contains("for 10 min")), "{problems:?}");
    assert!(launched(&mut core, "b", at(602)).unwrap().1, "it is tried again when it was said");
}
