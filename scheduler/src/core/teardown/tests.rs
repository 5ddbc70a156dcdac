//! Shows the steps of a teardown, what refuses it, and that another scheduler goes on with it.
use super::super::Claim;
use super::super::Rules;
use super::super::cluster::{Agent, Offer, TaskState};
use super::*;
use crate::core::resources::{Piece, Reserved};
use crate::core::tests::{NOW, agent, calls, launch, offer, ready_with, rules, run, saves, update};
use crate::ids::FrameworkId;
use web::order::Order;

const ORDER: OrderId = OrderId(7);

fn reserving() -> Core {
    let claim =
        Claim { roles: vec!["logherd".into()], framework: "logs".into(), principal: None, reserve: true };
    ready_with(Rules { claim, ..rules() })
}

/// Carries out everything until there is no more to store; gives the calls, the changes and the other effects.
fn settle(core: &mut Core, now: Moment) -> (Vec<Call>, Vec<Change>, Vec<Effect>) {
    let (mut called, mut changed, mut others) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let effects = core.take_effects();
        called.extend(calls(&effects));
        let stored = saves(&effects);
        others.extend(
            effects.into_iter().filter(|effect| !matches!(effect, Effect::Call(_) | Effect::Save(..))),
        );
        if stored.is_empty() {
            return (called, changed, others);
        }
        for (ticket, change) in stored {
            changed.push(change);
            core.saved(now, ticket, Ok(()));
        }
    }
}

fn ordered(core: &mut Core, named: &str) -> (Vec<Call>, Vec<Change>, Vec<Effect>) {
    core.ordered(NOW, ORDER, Order::TearDown { framework: named.to_owned() });
    settle(core, NOW)
}

fn answer(effects: &[Effect]) -> &Result<OrderDone, OrderRefused> {
    match effects {
        [Effect::Answer(ORDER, answer)] => answer,
        other => panic!("{other:?}"),
    }
}

fn begun() -> Change {
    Change::TearDown { framework: Some("f-0000".into()), since: NOW }
}

fn over() -> Change {
    Change::TearDown { framework: None, since: NOW }
}

fn holding(id: &str) -> Agent {
    Agent { reserved_by: vec!["logs".into()], ..agent(id, None) }
}

fn reserved(id: &str, agent: &str) -> Offer {
    let plain = offer(id, agent, 0.21);
    let ours = |piece: Piece| Piece { reserved: Reserved::Labelled("logs".into()), ..piece };
    Offer { pieces: plain.pieces.into_iter().map(ours).collect(), ..plain }
}

#[test]
fn a_teardown_ends_executors_gives_up_reservations_and_removes_the_framework_in_this_order() {
    let mut core = reserving();
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    let (called, changed, others) = ordered(&mut core, "f-0000");
    assert_eq!(changed, [begun()], "stored before anything is done");
    assert!(answer(&others).is_ok());
    assert_eq!(called, [Call::Kill(task.clone(), "a".into())]);
    assert_eq!(core.teardown().unwrap(), "1 executors are ending");

    core.updated(NOW, &update(&task, "a", TaskState::Killed, Some(5)));
    settle(&mut core, NOW);
    let mut now = NOW.after(Duration::from_millis(500));
    core.agents_listed(now, vec![holding("a")]);
    core.tick(now);
    now = now.after(Duration::from_millis(500));
    core.tick(now);
    assert!(settle(&mut core, now).0.contains(&Call::Revive), "the reservation has to be offered");
    core.offered(now, vec![reserved("o5", "a")]);
    let (called, ..) = settle(&mut core, now);
    assert!(matches!(&called[..], [Call::Unreserve { offers, .. }] if offers == &["o5".into()]));
    assert_eq!(core.teardown().unwrap(), "giving up reservations on 1 agents");

    now = now.after(Duration::from_secs(3));
    core.agents_listed(now, vec![agent("a", None)]);
    core.tick(now);
    let (called, changed, _) = settle(&mut core, now);
    assert!(called.contains(&Call::Teardown) && changed.is_empty(), "{called:?}");

    core.disconnected(now);
    core.removed(now);
    let (_, changed, others) = settle(&mut core, now);
    assert_eq!((changed, others), (vec![over()], vec![Effect::TornDown]));
    assert_eq!(core.framework(), None::<&FrameworkId>);
}

#[test]
fn an_executor_that_is_back_while_reservations_are_given_up_is_told_to_end_and_waited_for() {
    let mut core = reserving();
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Unreachable, None));
    settle(&mut core, NOW);
    ordered(&mut core, "f-0000");
    let later = |seconds| NOW.after(Duration::from_secs(seconds));
    core.tick(later(1));
    assert_eq!(core.teardown().unwrap(), "giving up reservations on 0 agents", "it cannot be told");

    core.updated(later(2), &update(&task, "a", TaskState::Running, None));
    core.agents_listed(later(2), vec![agent("a", None)]);
    core.tick(later(2));
    let kill = Call::Kill(task.clone(), "a".into());
    let (called, ..) = settle(&mut core, later(2));
    assert!(called.contains(&kill) && !called.contains(&Call::Teardown), "{called:?}");
    core.tick(later(20));
    assert!(!settle(&mut core, later(20)).0.contains(&Call::Teardown));

    core.updated(later(21), &update(&task, "a", TaskState::Killed, Some(5)));
    core.tick(later(21));
    core.agents_listed(later(22), vec![agent("a", None)]);
    core.tick(later(22));
    assert!(settle(&mut core, later(22)).0.contains(&Call::Teardown));
}

#[test]
fn a_teardown_of_another_framework_is_refused_and_changes_nothing() {
    let mut core = reserving();
    launch(&mut core, "a", NOW);
    let (called, changed, others) = ordered(&mut core, "f-0009");
    assert_eq!((called, changed), (vec![], vec![]));
    let why = answer(&others).clone().unwrap_err().to_string();
    assert_eq!(why, "this is framework f-0000, not `f-0009`; nothing was done");
}

#[test]
fn a_teardown_that_counts_as_not_stored_is_taken_back_from_the_store_until_that_is_stored() {
    let mut core = reserving();
    core.ordered(NOW, ORDER, Order::TearDown { framework: "f-0000".to_owned() });
    let mut held = None;
    let mut store = |core: &mut Core, now, result: Result<(), String>| {
        for (ticket, change) in saves(&core.take_effects()) {
            held = Some(change);
            core.saved(now, ticket, result.clone());
        }
        held.clone().unwrap()
    };
    let lost = || Err("the connection is lost".to_owned());
    assert_eq!(store(&mut core, NOW, lost()), begun(), "the store may hold it all the same");
    let own = Change::Framework(Some("f-0000".into()));
    assert_eq!(store(&mut core, NOW, lost()), own);
    core.ordered(NOW, ORDER, Order::TearDown { framework: "f-0000".to_owned() });
    let effects = core.take_effects();
    let answers = effects.iter().filter(|effect| matches!(effect, Effect::Answer(..))).count();
    assert_eq!(answers, 1, "the first order has no answer before it is taken back");
    assert!(answer(&effects).clone().unwrap_err().to_string().contains("still being stored"));

    core.offered(NOW, vec![offer("o1", "a", 4.0)]);
    core.tick(NOW.after(Duration::from_secs(4)));
    assert_eq!(saves(&core.take_effects()), []);
    let later = NOW.after(Duration::from_secs(5));
    core.tick(later);
    assert_eq!(store(&mut core, later, Ok(())), own);
    let (called, changed, others) = settle(&mut core, later);
    assert!(matches!(answer(&others), Err(OrderRefused::NotStored(_))));
    assert!(matches!(&changed[..], [Change::Launch(_)]), "it goes on as before: {changed:?}");
    assert!(called.iter().any(|call| matches!(call, Call::Accept { .. })));
}

#[test]
fn time_without_mesos_does_not_count_for_the_removal_of_the_framework() {
    let core = Core::new(rules(), Some("f-0000".into()), vec![], NOW);
    let mut core = core.tearing_down(Some(NOW), NOW);
    core.subscribed(NOW, "f-0000".into());
    let mut now = NOW;
    while core.teardown().unwrap() != "asking Mesos to remove the framework" {
        core.agents_listed(now, vec![agent("a", None)]);
        core.tick(now);
        settle(&mut core, now);
        now = now.after(Duration::from_millis(500));
    }
    core.disconnected(now);
    for _ in 0..600 {
        core.tick(now);
        now = now.after(Duration::from_secs(1));
    }
    assert_eq!(settle(&mut core, now), (vec![], vec![], vec![]), "nothing is forgotten meanwhile");
    core.subscribed(now, "f-0000".into());
    core.tick(now);
    assert!(settle(&mut core, now).0.contains(&Call::Teardown));
    core.removed(now);
    assert_eq!(settle(&mut core, now).2, [Effect::TornDown]);
}

#[test]
fn a_teardown_whose_beginning_cannot_be_stored_does_nothing() {
    let mut core = reserving();
    launch(&mut core, "a", NOW);
    core.ordered(NOW, ORDER, Order::TearDown { framework: "f-0000".to_owned() });
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, ticket, Err("no quorum".into()));
    let (called, _, others) = settle(&mut core, NOW);
    assert!(called.is_empty() && matches!(answer(&others), Err(OrderRefused::NotStored(_))));
    assert_eq!(core.teardown(), None);
}

#[test]
fn an_order_that_mesos_was_faster_than_is_answered_when_the_removal_is_stored() {
    let mut core = reserving();
    core.ordered(NOW, ORDER, Order::TearDown { framework: "f-0000".to_owned() });
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.removed(NOW);
    let (removal, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, ticket, Err("no quorum".into()));
    let answered =
        |core: &mut Core| core.take_effects().iter().any(|effect| matches!(effect, Effect::Answer(..)));
    assert!(!answered(&mut core), "nothing is stored yet");
    core.saved(NOW, removal, Ok(()));
    assert!(answered(&mut core));
}

#[test]
fn nothing_is_launched_while_the_framework_is_torn_down_not_even_what_was_intended() {
    let mut core = reserving();
    core.offered(NOW, vec![offer("o1", "a", 4.0)]);
    let (intent, _) = saves(&core.take_effects()).remove(0);
    core.ordered(NOW, ORDER, Order::TearDown { framework: "f-0000".to_owned() });
    let begun = saves(&core.take_effects()).remove(0).0;
    core.saved(NOW, begun, Ok(()));
    core.saved(NOW, intent, Ok(()));
    core.offered(NOW, vec![offer("o2", "b", 4.0)]);
    let (called, ..) = settle(&mut core, NOW);
    let declined: Vec<_> = called.iter().filter(|call| matches!(call, Call::Decline { .. })).collect();
    assert_eq!(declined.len(), 2);
    assert!(!called.iter().any(|call| matches!(call, Call::Accept { .. })), "{called:?}");
}

#[test]
fn another_scheduler_goes_on_with_a_teardown_and_executors_that_do_not_end_hold_it_up_for_a_while_only() {
    let mut before = reserving();
    let (task, ..) = launch(&mut before, "a", NOW);
    let record = before.launches.get(&task).unwrap().record.clone();
    let core = Core::new(rules(), Some("f-0000".into()), vec![record], NOW);
    let mut core = core.tearing_down(Some(NOW), NOW);
    core.subscribed(NOW, "f-0000".into());
    let mut now = NOW;
    let (mut kills, mut teardowns, mut ends) = (0, 0, 0);
    for _ in 0..800 {
        core.tick(now);
        core.agents_listed(now, vec![agent("a", None)]);
        let (called, _, others) = settle(&mut core, now);
        kills += called.iter().filter(|call| matches!(call, Call::Kill(..))).count();
        teardowns += called.iter().filter(|call| **call == Call::Teardown).count();
        ends += others.iter().filter(|effect| **effect == Effect::TornDown).count();
        now = now.after(Duration::from_millis(500));
    }
    assert!(kills > 1 && teardowns > 1, "{kills} {teardowns}");
    assert_eq!(ends, 1, "Mesos never confirmed, but it is over all the same");
}

#[test]
fn the_end_of_a_teardown_is_stored_again_and_again_until_it_is() {
    let mut core = reserving();
    ordered(&mut core, "f-0000");
    core.removed(NOW);
    let (ticket, change) = saves(&core.take_effects()).remove(0);
    assert_eq!(change, over());
    core.saved(NOW, ticket, Err("no quorum".into()));
    let later = NOW.after(Duration::from_secs(6));
    core.tick(later);
    let (_, changed, others) = settle(&mut core, later);
    assert!(changed.contains(&over()) && !changed.iter().any(|c| matches!(c, Change::Framework(_))));
    assert_eq!(others, [Effect::TornDown]);
}

#[test]
fn what_was_intended_before_a_teardown_was_ordered_is_not_launched_any_more() {
    let mut core = reserving();
    core.offered(NOW, vec![offer("o1", "a", 4.0)]);
    core.ordered(NOW, ORDER, Order::TearDown { framework: "f-0000".to_owned() });
    let (intent, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, intent, Ok(()));
    let effects = core.take_effects();
    assert!(matches!(&calls(&effects)[..], [Call::Decline { .. }]), "{effects:?}");
    assert!(matches!(&saves(&effects)[..], [(_, Change::Ended(_))]), "{effects:?}");
}

#[test]
fn during_a_teardown_offers_are_asked_for_only_to_give_up_reservations() {
    let mut before = reserving();
    let (task, ..) = launch(&mut before, "a", NOW);
    let record = before.launches.get(&task).unwrap().record.clone();
    let core = Core::new(rules(), Some("f-0000".into()), vec![record], NOW);
    let mut core = core.tearing_down(Some(NOW), NOW);
    core.subscribed(NOW, "f-0000".into());
    core.agents_listed(NOW, vec![agent("a", None), agent("b", None)]);
    let mut revives = 0;
    for half in 0..80u64 {
        let now = NOW.after(Duration::from_millis(half * 500));
        core.offered(now, vec![offer(&format!("o{half}"), "b", 4.0)]);
        core.tick(now);
        revives += settle(&mut core, now).0.iter().filter(|call| **call == Call::Revive).count();
    }
    assert!(revives < 4, "{revives} in 40 s, while an executor ends");
}
