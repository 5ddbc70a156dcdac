//! Shows which offers of several roles are used, and what becomes of reservations.
use super::super::cluster::{Offer, TaskState};
use super::super::effects::Call;
use super::super::resources::{Form, Piece, Reserved};
use super::super::tests::{NOW, calls, launch, offer, ready, ready_with, rules, run, saves, update};
use super::super::{Claim, Core, Rules};
use crate::ids::OfferId;

fn two_roles(reserve: bool) -> Core {
    let claim =
        Claim { roles: vec!["a".into(), "b".into()], framework: "logs".into(), principal: None, reserve };
    ready_with(Rules { claim, ..rules() })
}

fn as_role(role: &str, cpus: f64, reserved: &Reserved) -> Offer {
    let plain = offer(&format!("o-{role}"), "agent", cpus);
    let set_aside = |piece: Piece| Piece { reserved: reserved.clone(), ..piece };
    Offer { role: role.into(), pieces: plain.pieces.into_iter().map(set_aside).collect(), ..plain }
}

fn ours() -> Reserved {
    Reserved::Labelled("logs".into())
}

fn accepted(core: &mut Core) -> (Vec<OfferId>, Vec<Form>) {
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, ticket, Ok(()));
    match calls(&core.take_effects()).remove(0) {
        Call::Accept { offers, taken, .. } => (offers, taken.portions().map(|p| p.form).collect()),
        other => panic!("expected ACCEPT, got {other:?}"),
    }
}

#[test]
fn offers_of_two_roles_are_never_used_together() {
    let mut core = two_roles(false);
    core.offered(NOW, vec![as_role("a", 0.15, &Reserved::No), as_role("b", 0.15, &Reserved::No)]);
    let effects = core.take_effects();
    assert!(saves(&effects).is_empty());
    assert!(matches!(&calls(&effects)[..], [Call::Decline { offers, .. }] if offers.len() == 2));
    let shortage = "offer has 0.15 cpus, the executor needs 0.21";
    assert_eq!(core.nodes(NOW)[0].reason, format!("declined: role a: {shortage}; role b: {shortage}"));
}

#[test]
fn an_offer_of_one_role_that_is_too_small_does_not_spoil_that_of_another() {
    let mut core = two_roles(false);
    core.offered(NOW, vec![as_role("a", 0.1, &Reserved::No), as_role("b", 4.0, &Reserved::No)]);
    let effects = core.take_effects();
    assert!(matches!(&calls(&effects)[..], [Call::Decline { offers, .. }] if offers == &["o-a".into()]));
    core.saved(NOW, saves(&effects)[0].0, Ok(()));
    let called = calls(&core.take_effects());
    assert!(matches!(&called[..], [Call::Accept { offers, .. }] if offers == &["o-b".into()]));
}

#[test]
fn the_role_with_reserved_resources_is_used_before_the_one_named_first() {
    let mut core = two_roles(false);
    core.offered(NOW, vec![as_role("a", 4.0, &Reserved::No), as_role("b", 4.0, &Reserved::Role)]);
    assert_eq!(accepted(&mut core).0, ["o-b".into()]);
}

#[test]
fn a_launch_reserves_and_the_next_one_uses_that() {
    let mut core = two_roles(true);
    core.offered(NOW, vec![as_role("a", 4.0, &Reserved::No)]);
    assert!(accepted(&mut core).1.iter().all(|form| *form == Form::Reserved));

    let mut core = two_roles(true);
    let mut exact = as_role("a", 0.21, &ours());
    exact.pieces[1].amount = super::super::resources::Thousandths(129_000);
    core.offered(NOW, vec![exact]);
    assert!(accepted(&mut core).1.iter().all(|form| *form == Form::AsOffered));
}

#[test]
fn reservations_that_nothing_uses_are_given_up_beside_a_running_executor_only() {
    let mut core = two_roles(true);
    let (task, ..) = launch(&mut core, "agent", NOW);
    core.offered(NOW, vec![as_role("a", 0.1, &ours())]);
    let called = calls(&core.take_effects());
    assert!(matches!(&called[..], [Call::Decline { .. }]), "the launch may come to nothing: {called:?}");
    run(&mut core, &task, "agent", NOW);
    core.offered(NOW, vec![as_role("a", 0.1, &ours()), as_role("b", 4.0, &Reserved::No)]);
    let called = calls(&core.take_effects());
    let [Call::Unreserve { offers, pieces, .. }, Call::Decline { .. }] = &called[..] else {
        panic!("{called:?}")
    };
    assert_eq!((offers.as_slice(), pieces.len()), (&["o-a".into()][..], 2));
}

#[test]
fn a_node_that_backs_off_keeps_its_reservation() {
    let mut core = two_roles(true);
    let (task, ..) = launch(&mut core, "agent", NOW);
    core.updated(NOW, &update(&task, "agent", TaskState::Failed, None));
    for (ticket, _) in saves(&core.take_effects()) {
        core.saved(NOW, ticket, Ok(()));
    }
    core.offered(NOW, vec![as_role("a", 4.0, &ours())]);
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Decline { .. }]));
}

#[test]
fn reservations_are_given_up_when_reserving_is_turned_off() {
    let mut core = two_roles(false);
    core.offered(NOW, vec![as_role("a", 4.0, &ours())]);
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, ticket, Ok(()));
    let called = calls(&core.take_effects());
    let [Call::Accept { taken, .. }] = &called[..] else { panic!("{called:?}") };
    assert_eq!(taken.unreserve.len(), 2);
    assert!(taken.portions().all(|portion| portion.form == Form::Unreserved));
}

#[test]
fn offers_of_many_agents_that_are_refused_for_the_same_time_are_declined_by_one_call() {
    let mut core = ready();
    launch(&mut core, "a", NOW);
    let small = (0..1500).map(|n| offer(&format!("small{n}"), &format!("s{n}"), 0.1));
    let others = [offer("covered", "a", 4.0), offer("usable", "b", 4.0)];
    core.offered(NOW, others.into_iter().chain(small).collect());
    let effects = core.take_effects();
    assert_eq!(saves(&effects).len(), 1);
    let declined: Vec<_> = calls(&effects)
        .into_iter()
        .map(|call| match call {
            Call::Decline { offers, refuse } => (offers.len(), refuse.as_secs()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(declined, [(1000, 600), (500, 600), (1, 3600)]);
}
