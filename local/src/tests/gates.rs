//! Which agents and resources a framework gets to see, by what it can do and by what it asks for.

use super::client::{LONGEST, Scheduler, framework_info};
use super::guest::{Guest, MASTER, scalar};
use super::world::World;
use crate::{Ability, Cluster, Node, Settings, Timings};
use mesos::framework_info::Capability;
use mesos::framework_info::capability::Type as Can;
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::call::Type;
use std::collections::BTreeSet;
use std::time::Duration;

/// A framework with several roles that can do these things besides what all can.
fn with(more: &[Can]) -> mesos::FrameworkInfo {
    let mut info = framework_info();
    info.capabilities.extend(more.iter().map(|can| Capability { r#type: Some((*can).into()) }));
    info
}

/// A framework of the first days: one role, no capabilities.
fn plain() -> mesos::FrameworkInfo {
    mesos::FrameworkInfo { roles: vec![], capabilities: vec![], role: Some("old".into()), ..framework_info() }
}

/// The host names of all offers until `count` different ones were seen.
async fn hosts(cluster: &Cluster, info: mesos::FrameworkInfo, count: usize) -> BTreeSet<String> {
    let mut scheduler = Scheduler::subscribe(cluster.master(), info).await;
    let mut seen = BTreeSet::new();
    let all = tokio::time::timeout(LONGEST, async {
        while seen.len() < count {
            let event = scheduler.events.next().await.expect("the stream goes on");
            seen.extend(
                event.offers.into_iter().flat_map(|offers| offers.offers).map(|offer| offer.hostname),
            );
        }
    });
    all.await.expect("offers in time");
    scheduler.call(Type::Teardown, scheduler::Call::default()).await;
    seen
}

#[tokio::test]
async fn agents_are_shown_to_frameworks_that_know_of_their_kind() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(dir.path(), 0);
    settings.timings.allocation = Duration::from_millis(30);
    settings.domain = Some(("here".into(), "a".into()));
    settings.nodes = vec![
        Node { domain: Some(("here".into(), "b".into())), ..Node::new("near") },
        Node { domain: Some(("there".into(), "a".into())), ..Node::new("far") },
        Node { gpus: 2.0, ..Node::new("gpu") },
        Node { lacks: vec![Ability::MultiRole], ..Node::new("old") },
        Node { cpus: 0.005, mem: 16.0, ..Node::new("small") },
    ];
    let cluster = Cluster::start(settings).await.unwrap();
    let sees = async |info, names: &[&str]| {
        let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(hosts(&cluster, info, expected.len()).await, expected);
    };
    sees(framework_info(), &["near"]).await;
    sees(with(&[Can::GpuResources]), &["near", "gpu"]).await;
    sees(with(&[Can::RegionAware]), &["near", "far"]).await;
    sees(with(&[Can::RegionAware, Can::GpuResources]), &["near", "far", "gpu"]).await;
    sees(plain(), &["near", "old"]).await;
    let least = mesos::offer_filters::ResourceQuantities {
        quantities: [("mem".to_owned(), mesos::value::Scalar { value: 8.0 })].into(),
    };
    let least = mesos::offer_filters::MinAllocatableResources { quantities: vec![least] };
    let filters = mesos::OfferFilters { min_allocatable_resources: Some(least) };
    let modest =
        mesos::FrameworkInfo { offer_filters: [("logherd".to_owned(), filters)].into(), ..framework_info() };
    sees(modest, &["near", "small"]).await;
    cluster.stop().await;
}

#[test]
fn a_framework_of_one_role_gets_resources_in_the_older_form() {
    let mut guest = Guest::with(World::new(MASTER, 1, Timings::default(), &[]), plain());
    let offer = guest.new_offers().remove(0);
    assert_eq!(offer.allocation_info, None);
    for resource in &offer.resources {
        assert_eq!((resource.role(), &resource.allocation_info), ("*", &None), "{}", resource.name);
    }
    let mut guest = Guest::new(1);
    let offer = guest.new_offers().remove(0);
    assert_eq!(offer.allocation_info.unwrap().role(), "logherd");
    for resource in &offer.resources {
        let allocated = resource.allocation_info.as_ref().map(|info| info.role().to_owned());
        assert_eq!((&resource.role, allocated.as_deref()), (&None, Some("logherd")), "{}", resource.name);
    }
}

#[test]
fn resources_reserved_twice_or_for_another_role_are_not_for_everybody() {
    let entry = |role: &str| mesos::resource::ReservationInfo {
        role: Some(role.into()),
        r#type: Some(mesos::resource::reservation_info::Type::Dynamic.into()),
        ..Default::default()
    };
    let amount = |offers: Vec<mesos::Offer>| {
        let cpus = offers[0].resources.iter().filter(|resource| resource.name == "cpus");
        cpus.map(|resource| resource.scalar.unwrap().value).sum::<f64>()
    };
    for (refined, expected) in [(true, 7.0), (false, 6.0)] {
        let mut info = mesos::FrameworkInfo { roles: vec!["a/b".into()], ..framework_info() };
        info.capabilities.retain(|can| refined || can.r#type() != Can::ReservationRefinement);
        let mut world = World::new(MASTER, 1, Timings::default(), &[]);
        world.kill_agent(0);
        let reserved = |value: f64, stack: Vec<mesos::resource::ReservationInfo>| mesos::Resource {
            reservations: stack,
            ..scalar("cpus", value)
        };
        world.agents[0].described.info.resources.extend([
            reserved(2.0, vec![entry("a")]),
            reserved(1.0, vec![entry("a"), entry("a/b")]),
            reserved(50.0, vec![entry("other")]),
        ]);
        world.start_agent(0);
        let mut guest = Guest::with(world, info);
        assert_eq!(amount(guest.new_offers()), expected, "refined: {refined}");
    }
}

#[test]
fn offers_name_the_executors_that_run_there() {
    let mut guest = Guest::new(2);
    guest.run(1, "a");
    guest.world.advance(Duration::from_secs(2));
    let offer = guest.new_offers().remove(0);
    assert_eq!(offer.agent_id, guest.agent_id(1));
    assert_eq!(offer.executor_ids, [mesos::ExecutorId { value: "executor-a".into() }]);
}

#[test]
fn constraints_choose_agents_by_attribute_and_host_name() {
    use scheduler::attribute_constraint::selector::{PseudoattributeType, Selector as By};
    use scheduler::attribute_constraint::{Predicate, Selector, predicate};
    let mut world = World::new(MASTER, 2, Timings::default(), &[]);
    world.kill_agent(0);
    world.agents[0].described.info.attributes = vec![mesos::Attribute {
        name: "rack".into(),
        r#type: mesos::value::Type::Text.into(),
        text: Some(mesos::value::Text { value: "r1".into() }),
        ..Default::default()
    }];
    world.start_agent(0);
    let mut guest = Guest::with(world, framework_info());
    let cases = [
        (
            By::AttributeName("rack".into()),
            predicate::Predicate::TextEquals(predicate::TextEquals { value: "r1".into() }),
            0,
        ),
        (By::AttributeName("rack".into()), predicate::Predicate::NotExists(predicate::NotExists {}), 1),
        (
            By::PseudoattributeType(PseudoattributeType::Hostname.into()),
            predicate::Predicate::TextMatches(predicate::TextMatches { regex: "agent2.*".into() }),
            1,
        ),
    ];
    for (selector, predicate, expected) in cases {
        let constraint = scheduler::AttributeConstraint {
            selector: Selector { selector: Some(selector) },
            predicate: Predicate { predicate: Some(predicate) },
        };
        let group = scheduler::offer_constraints::role_constraints::Group {
            attribute_constraints: vec![constraint.clone()],
        };
        let of_role = scheduler::offer_constraints::RoleConstraints { groups: vec![group] };
        let update = scheduler::call::UpdateFramework {
            framework_info: mesos::FrameworkInfo { id: Some(guest.id.clone()), ..framework_info() },
            offer_constraints: Some(scheduler::OfferConstraints {
                role_constraints: [("logherd".to_owned(), of_role)].into(),
            }),
            ..Default::default()
        };
        let call = scheduler::Call { update_framework: Some(update), ..Default::default() };
        assert!(matches!(guest.call(Type::UpdateFramework, call), crate::master::core::Answer::Done));
        // What is offered already stays; with nothing held, everything is offered anew.
        for offer in guest.new_offers() {
            guest.accept(&offer, vec![]);
        }
        guest.world.advance(Duration::from_secs(2));
        let offered: BTreeSet<_> = guest.new_offers().into_iter().map(|offer| offer.agent_id.value).collect();
        assert_eq!(offered, [guest.agent_id(expected).value].into(), "{constraint:?}");
        guest.call(Type::Revive, scheduler::Call::default());
        decline_all(&mut guest);
    }
}

/// Gives back everything that is offered, without a filter.
fn decline_all(guest: &mut Guest) {
    let events = guest.world.schedulers[&guest.connection].events.clone();
    let ids = events.into_iter().filter_map(|event| event.offers).flat_map(|offers| offers.offers);
    let decline = scheduler::call::Decline {
        offer_ids: ids.map(|offer| offer.id).collect(),
        filters: Some(mesos::Filters { refuse_seconds: Some(0.0) }),
    };
    guest.call(Type::Decline, scheduler::Call { decline: Some(decline), ..Default::default() });
    guest.news();
}

#[test]
fn operators_see_what_is_allocated_by_role_and_reservations_in_both_forms() {
    use proto::mesos::v1::master::call::Type as Operator;
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    let entry = mesos::resource::ReservationInfo {
        role: Some("logherd".into()),
        r#type: Some(mesos::resource::reservation_info::Type::Dynamic.into()),
        ..Default::default()
    };
    let reserve = mesos::offer::Operation {
        r#type: Some(mesos::offer::operation::Type::Reserve.into()),
        reserve: Some(mesos::offer::operation::Reserve {
            resources: vec![mesos::Resource { reservations: vec![entry], ..scalar("cpus", 1.0) }],
            ..Default::default()
        }),
        ..Default::default()
    };
    guest.world.advance(Duration::from_secs(2));
    let offer = guest.new_offers().remove(0);
    guest.accept(&offer, vec![reserve]);
    let agent = guest.ask(Operator::GetAgents).get_agents.unwrap().agents.remove(0);
    for resource in &agent.total_resources {
        let reserved = !resource.reservations.is_empty();
        assert_eq!(resource.role(), if reserved { "logherd" } else { "*" });
        assert_eq!(resource.reservation.is_some(), reserved);
        assert_eq!(resource.allocation_info, None);
    }
    let framework = guest.ask(Operator::GetFrameworks).get_frameworks.unwrap().frameworks.remove(0);
    let allocated = |resources: &[mesos::Resource]| {
        let cpus = resources.iter().find(|resource| resource.name == "cpus").unwrap().clone();
        assert_eq!((cpus.role(), cpus.allocation_info.as_ref().unwrap().role()), ("*", "logherd"));
        cpus.scalar.unwrap().value
    };
    assert_eq!(allocated(&agent.allocated_resources), 0.11);
    assert_eq!(allocated(&framework.allocated_resources), 0.11);
}
