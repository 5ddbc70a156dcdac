//! Rolls out where agents have room for two executors: the next one comes up beside the old one, and takes over.
use super::*;
use web::order::Way;

/// One whose agents have room for two, under a scheduler that rolls out another version.
fn roomy(agents: usize) -> Cluster {
    let mut cluster = Cluster::of(agents, "1");
    cluster.overlap("2");
    cluster.roomy = true;
    cluster.most_uncovered = 0;
    cluster
}

impl Cluster {
    /// A scheduler takes over whose executors overlap. They keep their data in one place on each node.
    fn overlap(&mut self, version: &str) {
        self.overlap_by(with(version));
    }

    fn overlap_by(&mut self, rules: Rules) {
        self.lead(Rules { overlap: Duration::from_secs(30), ..rules });
        let executors: Vec<ExecutorId> = self.tasks.values().map(|task| task.executor.clone()).collect();
        for executor in executors {
            self.core.keeps_data_at(&executor, "/sandbox/data", true);
        }
        self.carry_out();
    }

    /// Passes seconds until that holds, at most a minute.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..60 {
            if holds(self) {
                return;
            }
            self.pass(1);
        }
        panic!("{what}: {:?}", self.core.nodes(self.now));
    }

    fn waiting(&self) -> usize {
        self.tasks.values().filter(|task| task.waits && task.state == TaskState::Starting).count()
    }

    fn reason(&self, agent: usize) -> String {
        self.core.nodes(self.now)[agent].reason.clone()
    }
}

#[test]
fn with_room_the_next_executor_is_up_before_the_old_one_ends() {
    for limit in [1, 3] {
        let mut cluster = roomy(6);
        cluster.order(upgrade(limit)).unwrap();
        cluster.until("one waits", |cluster| cluster.waiting() == limit);
        assert_eq!(cluster.running("1"), 6, "nothing has ended yet");
        let nodes = cluster.core.nodes(cluster.now);
        assert!(nodes[0].reason.ends_with("waits beside it to take over"), "{}", nodes[0].reason);
        assert_eq!((nodes[0].coverage, nodes[0].successor.is_some()), (Coverage::Running, true));
        cluster.pass(300);
        assert_eq!((cluster.running("2"), cluster.state().0.as_str()), (6, "done"));
        assert_eq!((cluster.most_uncovered, cluster.tasks.len()), (limit, 6));
        assert_eq!(cluster.launched.iter().filter(|(_, version)| version == "2").count(), 6);
    }
}

#[test]
fn without_room_the_old_one_ends_first_after_a_while_and_a_plan_says_which_way_each_node_goes() {
    let mut cluster = roomy(2);
    cluster.roomy = false;
    let Ok(OrderDone::Planned(plan)) =
        cluster.order(Order::Upgrade(Upgrade { dry_run: true, ..Upgrade::default() }))
    else {
        panic!("a plan")
    };
    assert!(
        plan.nodes.iter().all(|node| node.way == Some(Way::Overlap)),
        "nobody says that there is no room"
    );
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(29);
    assert_eq!(cluster.running("1"), 2);
    cluster.pass(100);
    assert_eq!((cluster.running("2"), cluster.most_uncovered), (2, 1));
    let said = |cluster: &Cluster, text: &str| cluster.core.decisions().any(|of| of.text.contains(text));
    assert!(said(&cluster, "nothing was offered in 30 s for a second one beside it"));
    cluster.fail_over("3");
    let Ok(OrderDone::Planned(plan)) =
        cluster.order(Order::Upgrade(Upgrade { dry_run: true, ..Upgrade::default() }))
    else {
        panic!("a plan")
    };
    assert_eq!(plan.nodes[0].way, Some(Way::EndFirst("--rollout-overlap is 0".into())));
}

#[test]
fn a_next_one_that_fails_harms_nothing_and_failures_everywhere_hold_launches_back() {
    let mut cluster = roomy(10);
    cluster.broken.insert("2".to_owned());
    cluster.order(upgrade(5)).unwrap();
    cluster.launched.clear();
    cluster.pass(3600);
    assert_eq!((cluster.running("1"), cluster.most_uncovered), (10, 0));
    assert!(cluster.core.rollouts(cluster.now).held.is_some());
    assert!(cluster.launched.len() < 40, "{} launches in an hour", cluster.launched.len());
    cluster.overlap("2");
    assert!(cluster.core.rollouts(cluster.now).held.is_some(), "the next leader knows it");
    cluster.launched.clear();
    cluster.pass(300);
    assert!(cluster.launched.len() < 4, "{} launches by the next leader", cluster.launched.len());
    cluster.broken.clear();
    cluster.pass(900);
    assert_eq!((cluster.running("2"), cluster.tasks.len()), (10, 10));
}

#[test]
fn when_the_old_one_dies_first_the_next_one_just_takes_over() {
    let mut cluster = roomy(2);
    cluster.order(upgrade(1)).unwrap();
    cluster.until("one comes up", |cluster| cluster.tasks.len() == 3);
    let old = cluster.tasks.values_mut().find(|task| task.agent.0 == "S00" && task.version == "1").unwrap();
    old.changes_at = Some((cluster.now, TaskState::Failed));
    cluster.pass(4);
    assert_eq!((cluster.running("2"), cluster.running("1")), (1, 1));
    assert_eq!(cluster.launched.len(), 3, "nothing else was launched for it");
    cluster.pass(120);
    assert_eq!(cluster.running("2"), 2);
}

#[test]
fn what_waits_is_ended_and_the_old_one_works_on_when_the_rollout_pauses_is_aborted_or_rolled_back() {
    for order in [Order::Pause, Order::Abort, Order::RollBack] {
        let mut cluster = roomy(3);
        cluster.order(upgrade(1)).unwrap();
        // The scheduler that has to end it is another one.
        cluster.until("one comes up", |cluster| cluster.tasks.len() == 4);
        cluster.order(order.clone()).unwrap();
        cluster.overlap("2");
        cluster.pass(60);
        assert_eq!((cluster.running("1"), cluster.tasks.len()), (3, 3), "{order:?}");
        assert_eq!(cluster.most_uncovered, 0);
        if order == Order::Pause {
            cluster.order(Order::Resume).unwrap();
            cluster.pass(200);
            assert_eq!(cluster.running("2"), 3);
        }
    }
}

#[test]
fn the_next_leader_goes_on_in_the_middle_of_an_overlap() {
    for seconds in 0..12 {
        let mut cluster = roomy(3);
        cluster.order(upgrade(1)).unwrap();
        cluster.pass(seconds);
        cluster.overlap("2");
        cluster.pass(200);
        assert_eq!((cluster.running("2"), cluster.tasks.len(), cluster.most_uncovered), (3, 3, 1));
        assert_eq!(cluster.launched.len(), 6, "nothing was launched twice, after {seconds} s");
    }
}

#[test]
fn an_agent_that_is_lost_in_the_middle_wedges_nothing_and_changes_over_when_it_is_back() {
    let mut cluster = roomy(3);
    cluster.order(upgrade(1)).unwrap();
    cluster.until("one waits", |cluster| cluster.tasks.len() == 4);
    cluster.lose("S00");
    cluster.pass(200);
    assert_eq!((cluster.running("2"), cluster.state().0.as_str()), (2, "done"));
    cluster.regain("S00");
    cluster.pass(60);
    assert_eq!((cluster.running("2"), cluster.tasks.len()), (3, 3));
}

#[test]
fn while_another_node_is_uncovered_the_next_one_waits_and_the_old_one_works() {
    let mut cluster = roomy(3);
    cluster.order(upgrade(1)).unwrap();
    cluster.until("one comes up", |cluster| cluster.tasks.len() == 4);
    cluster.broken_agents.insert("S02".to_owned());
    cluster.end_on_broken_agents();
    cluster.pass(60);
    assert_eq!((cluster.waiting(), cluster.running("1"), cluster.most_uncovered), (1, 2, 1));
    assert!(cluster.state().1.contains("host-of-S02"), "{}", cluster.state().1);
    cluster.broken_agents.clear();
    cluster.pass(600);
    assert_eq!((cluster.running("2"), cluster.most_uncovered), (3, 1));
}

#[test]
fn that_the_next_one_works_may_be_heard_before_the_end_of_the_old_one() {
    let mut cluster = roomy(1);
    cluster.ends_in = Duration::from_secs(20);
    cluster.order(upgrade(1)).unwrap();
    cluster.until("one waits", |cluster| cluster.waiting() == 1);
    let (new, _) = cluster.tasks.iter().find(|(_, task)| task.waits).unwrap();
    let (new, old) = (new.clone(), cluster.core.nodes(cluster.now)[0].task.clone().unwrap());
    cluster.core.updated(cluster.now, &update(&new, "S00", TaskState::Running, None));
    cluster.carry_out();
    assert_eq!(cluster.core.nodes(cluster.now)[0].task, Some(new.clone()));
    assert!(cluster.reason(0).ends_with(" runs"), "{}", cluster.reason(0));
    cluster.pass(1);
    assert_eq!(cluster.tasks[&old].changes_at.as_ref().map(|(_, to)| *to), Some(TaskState::Killed));
    cluster.core.updated(cluster.now, &update(&old, "S00", TaskState::Killed, None));
    cluster.carry_out();
    assert_eq!(cluster.core.nodes(cluster.now)[0].task, Some(new));
    assert_eq!(cluster.launches.len(), 1);
}

#[test]
fn no_third_one_is_launched_by_an_offer_that_comes_right_after_the_next_one_took_over() {
    let mut cluster = roomy(1);
    cluster.ends_in = Duration::from_secs(20);
    cluster.order(upgrade(1)).unwrap();
    let is_told = |task: &Task| matches!(task.changes_at, Some((_, TaskState::Killed)));
    cluster.until("the old one is told to end", |cluster| cluster.tasks.values().any(is_told));
    let (new, _) = cluster.tasks.iter().find(|(_, task)| task.waits).unwrap();
    let (old, _) = cluster.tasks.iter().find(|(_, task)| is_told(task)).unwrap();
    let (new, old) = (new.clone(), old.clone());
    // All within a moment: nothing else is looked at in between.
    cluster.core.updated(cluster.now, &update(&old, "S00", TaskState::Killed, None));
    cluster.tasks.remove(&old);
    cluster.carry_out();
    cluster.core.updated(cluster.now, &update(&new, "S00", TaskState::Running, None));
    cluster.carry_out();
    let launched = cluster.launched.len();
    let executors = vec![cluster.tasks[&new].executor.clone()];
    cluster.core.offered(cluster.now, vec![Offer { executors, ..offer("o-soon", "S00", 4.0) }]);
    cluster.carry_out();
    assert_eq!(cluster.launched.len(), launched);
}

#[test]
fn one_that_has_not_said_where_its_data_are_ends_first() {
    let mut cluster = Cluster::of(1, "1");
    cluster.lead(Rules { overlap: Duration::from_secs(30), ..with("2") });
    cluster.roomy = true;
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(3);
    assert_eq!(cluster.running("1"), 0);
    assert!(
        cluster.core.decisions().any(|of| of.text.contains("not known where its executor keeps its data"))
    );
}

#[test]
fn who_was_told_to_end_by_the_leader_before_counts_as_uncovered_from_the_first_moment() {
    let mut cluster = Cluster::of(2, "1");
    cluster.fail_over("2");
    cluster.lose("S00");
    cluster.ends_in = Duration::from_secs(20);
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(2);
    cluster.regain("S00");
    cluster.most_uncovered = 0;
    cluster.fail_over("2");
    cluster.pass(120);
    assert_eq!((cluster.running("2"), cluster.most_uncovered), (2, 1));
}

#[test]
fn an_executor_is_told_to_end_only_when_that_is_stored() {
    let mut cluster = Cluster::of(2, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.store_works = false;
    cluster.pass(30);
    assert_eq!(cluster.running("1"), 2);
    cluster.store_works = true;
    cluster.pass(60);
    assert_eq!(cluster.running("2"), 2);
}

#[test]
fn an_executor_that_does_not_listen_is_shut_down_whether_it_is_old_or_waits() {
    let mut cluster = roomy(2);
    cluster.deaf = true;
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(200);
    assert_eq!((cluster.running("2"), cluster.tasks.len()), (2, 2));
    cluster.overlap("3");
    cluster.order(upgrade(1)).unwrap();
    cluster.until("one comes up", |cluster| cluster.tasks.len() == 3);
    cluster.order(Order::Abort).unwrap();
    cluster.pass(100);
    assert_eq!((cluster.running("2"), cluster.tasks.len()), (2, 2));
}

#[test]
fn an_executor_that_was_told_to_end_and_was_lost_is_decided_about_anew_when_it_is_back() {
    let mut cluster = Cluster::of(2, "1");
    cluster.fail_over("2");
    cluster.deaf = true;
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(2);
    // It did not hear that it was to end, and another one is replaced while it is away.
    cluster.lose("S00");
    cluster.deaf = false;
    cluster.ends_in = Duration::from_secs(44);
    cluster.pass(2);
    cluster.ends_in = ENDS_IN;
    cluster.regain("S00");
    cluster.most_uncovered = 0;
    cluster.pass(200);
    assert_eq!((cluster.running("2"), cluster.most_uncovered), (2, 1));
}

#[test]
fn a_next_one_that_is_denied_its_reservation_is_launched_again_without_and_says_nothing_about_its_version() {
    let mut cluster = Cluster::of(10, "1");
    (cluster.roomy, cluster.denies) = (true, true);
    let claim = crate::core::Claim { reserve: true, ..rules().claim };
    cluster.overlap_by(Rules { claim, ..with("2") });
    cluster.launched.clear();
    cluster.order(upgrade(5)).unwrap();
    cluster.pass(20);
    assert_eq!(cluster.core.rollouts(cluster.now).held, None);
    cluster.pass(100);
    assert_eq!((cluster.running("2"), cluster.core.rollouts(cluster.now).held), (10, None));
    assert!(cluster.launched.len() <= 15, "{} launches for ten nodes", cluster.launched.len());
}

#[test]
fn after_a_roll_back_a_plan_says_which_way_the_settings_would_go_and_not_what_was_gone_back_to() {
    let mut cluster = Cluster::of(1, "1");
    cluster.roomy = true;
    let program = Program::InImage { image: "logherd:2".into(), mounts: Vec::new() };
    let spec = Arc::new(Spec { program, ..Spec::clone(&spec("2")) });
    cluster.overlap_by(Rules { spec, ..rules() });
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(60);
    assert_eq!(cluster.running("2"), 1);
    cluster.order(Order::RollBack).unwrap();
    cluster.pass(60);
    assert_eq!(cluster.running("1"), 1);
    let executor = cluster.tasks.values().next().unwrap().executor.clone();
    cluster.core.keeps_data_at(&executor, "/sandbox/data", true);
    cluster.carry_out();
    let dry_run = Order::Upgrade(Upgrade { dry_run: true, ..Upgrade::default() });
    let Ok(OrderDone::Planned(plan)) = cluster.order(dry_run) else { panic!("a plan") };
    let Some(Way::EndFirst(why)) = &plan.nodes[0].way else { panic!("{:?}", plan.nodes[0]) };
    assert!(why.contains("an executor in an image"), "{why}");
}
