//! Shows which nodes are left out, why, and what becomes of their executors.
use super::super::cluster::{Agent, Offer, TaskState};
use super::super::effects::Call;
use super::super::tests::{NOW, agent, calls, launch, offer, ready_with, rules, run, saves, update};
use super::super::{NodeState, Rules};
use super::*;
use std::time::Duration;
use web::view::Coverage;

fn placed(placement: Placement) -> Core {
    ready_with(Rules { placement, ..rules() })
}

fn constrained(constraints: &[&str]) -> Core {
    let constraints = constraints.iter().map(|text| text.parse().unwrap()).collect();
    placed(Placement { constraints, ..Placement::default() })
}

fn one_per_host() -> Core {
    placed(Placement { one_per_host: true, ..Placement::default() })
}

fn rack(name: &str) -> Place {
    let attributes = vec![("rack".to_owned(), name.to_owned())];
    Place { host: "h".into(), zone: Some("z1".into()), attributes, ..Place::default() }
}

fn offered_at(id: &str, agent: &str, place: Place) -> Offer {
    Offer { place, ..offer(id, agent, 4.0) }
}

fn at(id: &str, place: Place) -> Agent {
    Agent { place, ..agent(id, None) }
}

fn store(core: &mut Core, now: Moment) -> Vec<Call> {
    let mut called = Vec::new();
    loop {
        let effects = core.take_effects();
        called.extend(calls(&effects));
        let stored = saves(&effects);
        if stored.is_empty() {
            return called;
        }
        stored.into_iter().for_each(|(ticket, _)| core.saved(now, ticket, Ok(())));
    }
}

fn node(core: &Core, id: &str) -> NodeState {
    core.nodes(NOW).into_iter().find(|node| node.agent.0 == id).unwrap()
}

#[test]
fn a_node_that_a_constraint_leaves_out_is_declined_for_long_and_names_the_constraint() {
    let mut core = constrained(&["zone=z1", "attribute:rack!=r1"]);
    core.offered(NOW, vec![offered_at("o1", "a", rack("r1")), offered_at("o2", "b", rack("r2"))]);
    let called = store(&mut core, NOW);
    assert!(
        matches!(&called[..], [Call::Decline { offers, refuse }, Call::Accept { .. }]
        if offers == &["o1".into()] && refuse.as_secs() == 3600),
        "{called:?}"
    );
    let node = node(&core, "a");
    assert_eq!((node.coverage, node.cause), (Coverage::Excluded, Cause::Constraint));
    assert_eq!(
        node.reason,
        "its attribute `rack` is `r1`, and the constraint `attribute:rack!=r1` leaves it out"
    );
}

#[test]
fn a_node_is_left_out_as_soon_as_it_is_listed_and_no_offer_is_waited_for() {
    let mut core = constrained(&["region"]);
    core.agents_listed(NOW, vec![at("a", rack("r1"))]);
    core.take_effects();
    assert_eq!(node(&core, "a").reason, "it has no region, and the constraint `region` leaves it out");
    core.tick(NOW.after(Duration::from_secs(60)));
    assert!(!calls(&core.take_effects()).contains(&Call::Revive));
    core.agents_listed(NOW, vec![at("a", Place { region: Some("eu".into()), ..rack("r1") })]);
    assert_eq!(node(&core, "a").coverage, Coverage::NotOffered);
}

#[test]
fn an_executor_on_a_node_that_a_changed_constraint_leaves_out_is_ended_and_not_replaced() {
    let mut before = constrained(&[]);
    let (task, ..) = launch(&mut before, "a", NOW);
    let record = before.launches.get(&task).unwrap().record.clone();
    let placement =
        Placement { constraints: vec!["hostname!~^host-of".parse().unwrap()], ..Placement::default() };
    let mut core = Core::new(Rules { placement, ..rules() }, Some("f-0000".into()), vec![record], NOW);
    core.subscribed(NOW, "f-0000".into());
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    store(&mut core, NOW);
    let listed = |core: &mut Core, now| {
        core.agents_listed(now, vec![agent("a", None)]);
        store(core, now)
    };
    assert_eq!(listed(&mut core, NOW), [Call::Kill(task.clone(), "a".into())]);
    assert!(listed(&mut core, NOW.after(Duration::from_secs(3))).is_empty(), "it was told a moment ago");
    let later = NOW.after(Duration::from_secs(11));
    assert_eq!(listed(&mut core, later), [Call::Kill(task.clone(), "a".into())], "the call may be lost");
    core.updated(later, &update(&task, "a", TaskState::Killed, Some(9)));
    store(&mut core, later);
    core.offered(later, vec![offer("o9", "a", 4.0)]);
    assert!(matches!(&store(&mut core, later)[..], [Call::Decline { .. }]));
    assert_eq!(node(&core, "a").coverage, Coverage::Excluded);
}

#[test]
fn of_two_agents_of_a_host_one_has_the_executor_and_the_other_one_takes_over_when_it_ends() {
    let mut core = one_per_host();
    core.agents_listed(NOW, vec![at("a", rack("r1")), at("b", rack("r1"))]);
    core.offered(NOW, vec![offered_at("o1", "a", rack("r1")), offered_at("o2", "b", rack("r1"))]);
    let called = store(&mut core, NOW);
    let [Call::Decline { offers, .. }, Call::Accept { launch, .. }] = &called[..] else {
        panic!("{called:?}")
    };
    assert_eq!((offers.as_slice(), launch.agent.0.as_str()), (&["o2".into()][..], "a"));
    let left = node(&core, "b");
    assert_eq!((left.coverage, left.cause), (Coverage::Excluded, Cause::OnePerHost));
    assert!(left.reason.starts_with("agent a of the same host h has its executor"), "{}", left.reason);

    core.updated(NOW, &update(&launch.task, "a", TaskState::Gone, None));
    store(&mut core, NOW);
    core.tick(NOW.after(Duration::from_millis(500)));
    core.tick(NOW.after(Duration::from_millis(2500)));
    assert!(store(&mut core, NOW).contains(&Call::Revive));
    core.offered(NOW, vec![offered_at("o3", "b", rack("r1"))]);
    assert!(matches!(&store(&mut core, NOW)[..], [Call::Accept { launch, .. }] if launch.agent.0 == "b"));
}

#[test]
fn a_host_whose_agent_is_lost_gets_its_executor_on_another_agent_of_it() {
    let mut core = one_per_host();
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Unreachable, None));
    store(&mut core, NOW);
    let host = Place { host: "host-of-a".into(), ..Place::default() };
    core.offered(NOW, vec![offered_at("o2", "b", host)]);
    assert!(matches!(&store(&mut core, NOW)[..], [Call::Accept { .. }]));
}

#[test]
fn of_two_executors_on_a_host_the_newer_one_is_ended() {
    let mut before = placed(Placement::default());
    before.offered(NOW, vec![offered_at("o1", "a", rack("r1"))]);
    store(&mut before, NOW);
    before.offered(NOW.after(Duration::from_secs(5)), vec![offered_at("o2", "b", rack("r1"))]);
    store(&mut before, NOW);
    let records: Vec<LaunchRecord> = before.launches.values().map(|launch| launch.record.clone()).collect();
    let newer = records.iter().find(|record| record.agent.0 == "b").unwrap().task.clone();
    let placement = Placement { one_per_host: true, ..Placement::default() };
    let mut core = Core::new(Rules { placement, ..rules() }, Some("f-0000".into()), records, NOW);
    core.subscribed(NOW, "f-0000".into());
    store(&mut core, NOW);
    core.agents_listed(NOW, vec![at("a", rack("r1")), at("b", rack("r1"))]);
    assert_eq!(store(&mut core, NOW), [Call::Kill(newer, "b".into())]);
}
