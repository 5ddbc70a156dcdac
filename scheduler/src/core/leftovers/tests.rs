//! Reservations of roles that were taken out of the settings: who gives them up, and what people read.
use super::super::cluster::Namesake;
use super::super::tests::{NOW, ready};
use super::*;

fn left(agent: &str, role: &str, in_use: bool) -> Leftover {
    let host = format!("host-of-{agent}");
    Leftover { agent: agent.into(), host, role: role.into(), in_use, entries: Vec::new() }
}

fn cluster(leftovers: Vec<Leftover>) -> Cluster {
    let namesakes = vec![Namesake { id: "f-0000".into(), connected: true }];
    Cluster { namesakes, leftovers, ..Cluster::default() }
}

fn given_up(effects: Vec<Effect>) -> Vec<String> {
    let of = |effect| if let Effect::GiveUp(left) = effect { Some(left.agent.0) } else { None };
    effects.into_iter().filter_map(of).collect()
}

#[test]
fn what_nothing_uses_is_given_up_and_what_runs_is_waited_for() {
    let mut core = ready();
    core.look_for_leftovers(NOW, &cluster(vec![left("a", "old", false), left("b", "old", true)]));
    assert_eq!(given_up(core.take_effects()), ["a"]);
    let problems = core.reservation_problems(NOW);
    assert_eq!(problems.len(), 1);
    for part in
        ["2 agents (host-of-a, host-of-b)", "role old", "on 1 of them", "logherd upgrade", "being given up"]
    {
        assert!(problems[0].contains(part), "{part} in {}", problems[0]);
    }
    core.given_up(NOW, &"a".into(), "old", Ok(()));
    core.look_for_leftovers(NOW, &cluster(vec![]));
    assert!(core.reservation_problems(NOW).is_empty());
    assert!(
        core.decisions().any(|decision| decision.text.contains("gave up what was reserved for role old"))
    );
}

#[test]
fn what_the_master_does_not_take_back_is_said_and_asked_for_an_hour_later() {
    let mut core = ready();
    let seen = || cluster(vec![left("a", "old", false), left("b", "old", false)]);
    core.look_for_leftovers(NOW, &seen());
    core.take_effects();
    for agent in ["a", "b"] {
        core.given_up(NOW, &agent.into(), "old", Err("m:5050 answered 403 Forbidden: ".into()));
    }
    assert!(
        core.reservation_problems(NOW)[0].contains("403")
            && core.reservation_problems(NOW)[0].contains("POST /unreserve")
    );
    assert_eq!(core.decisions().filter(|decision| decision.text.contains("403")).count(), 1);
    core.look_for_leftovers(NOW.after(Duration::from_secs(3599)), &seen());
    assert!(given_up(core.take_effects()).is_empty());
    core.look_for_leftovers(NOW.after(Duration::from_secs(3601)), &seen());
    assert_eq!(given_up(core.take_effects()), ["a", "b"]);
}

#[test]
fn what_may_belong_to_another_framework_of_our_name_is_left_alone() {
    let mut core = ready();
    let mut shared = cluster(vec![left("a", "theirs", false)]);
    shared.namesakes.push(Namesake { id: "f-0001".into(), connected: false });
    core.look_for_leftovers(NOW, &shared);
    assert!(given_up(core.take_effects()).is_empty());
    assert!(core.reservation_problems(NOW)[0].contains("left alone"));
}

#[test]
fn a_role_that_is_ours_again_is_no_leftover() {
    let mut core = ready();
    core.look_for_leftovers(NOW, &cluster(vec![left("a", "logherd", false)]));
    assert!(given_up(core.take_effects()).is_empty());
    assert!(core.reservation_problems(NOW).is_empty());
}
