//! Rolls out over a small cluster in virtual time: what is ended when, what launches, and what a failure stops.
#[cfg(test)]
mod overlap;

use super::*;
use crate::core::cluster::{Agent, Offer, TaskState};
use crate::core::effects::{Change, Effect, LeftData};
use crate::core::generation::Program;
use crate::core::tests::{agent, offer, rules, spec, update};
use crate::core::{LaunchRecord, Rules};
use crate::ids::ExecutorId;
use std::collections::VecDeque;
use web::order::{Action, Canary, Limit, Order, OrderDone, OrderRefused, Upgrade};

/// How long an executor takes from launch to RUNNING, and from KILL to its end.
const STARTS_IN: Duration = Duration::from_secs(2);
const ENDS_IN: Duration = Duration::from_secs(1);

/// A task in the cluster.
struct Task {
    agent: AgentId,
    executor: ExecutorId,
    version: String,
    state: TaskState,
    changes_at: Option<(Moment, TaskState)>,
    /// It is up, and waits until the one before it has ended.
    waits: bool,
}

/// A cluster that does what it is told, a little later.
struct Cluster {
    now: Moment,
    core: Core,
    agents: Vec<String>,
    tasks: BTreeMap<TaskId, Task>,
    /// Versions whose executors fail at once.
    broken: BTreeSet<String>,
    /// Agents where every launch fails.
    broken_agents: BTreeSet<String>,
    /// Agents of which nothing is offered.
    silent: BTreeSet<String>,
    /// Whether agents have room for two executors.
    roomy: bool,
    /// Whether the master does not let launches reserve.
    denies: bool,
    /// Whether the master lists its agents.
    lists: bool,
    /// How often declined offers were asked for.
    revives: usize,
    /// Whether executors do not listen when they are told to end.
    deaf: bool,
    /// How long executors take to end.
    ends_in: Duration,
    /// Agents that cannot be reached.
    away: BTreeSet<String>,
    stored: RolloutRecord,
    launches: BTreeMap<TaskId, LaunchRecord>,
    left: BTreeMap<AgentId, LeftData>,
    store_works: bool,
    answers: BTreeMap<OrderId, Result<OrderDone, OrderRefused>>,
    orders: u64,
    launched: Vec<(Moment, String)>,
    /// The most nodes that were uncovered at once since this was reset.
    most_uncovered: usize,
}

fn with(version: &str) -> Rules {
    Rules { spec: spec(version), ..rules() }
}

/// The same, where agents fetch the program from the scheduler.
fn serving(version: &str) -> Rules {
    let program = Program::Fetched(format!("http://s:9092/artifacts/logherd-{version}"));
    Rules { spec: Arc::new(Spec { program, ..Spec::clone(&spec(version)) }), ..rules() }
}

impl Cluster {
    /// One in which executors of a version run on so many agents.
    fn of(agents: usize, version: &str) -> Self {
        let now = Moment(1_000_000);
        let mut cluster = Self {
            now,
            core: Core::new(with(version), Some("f".into()), vec![], now),
            agents: (0..agents).map(|n| format!("S{n:02}")).collect(),
            tasks: BTreeMap::new(),
            broken: BTreeSet::new(),
            broken_agents: BTreeSet::new(),
            silent: BTreeSet::new(),
            roomy: false,
            denies: false,
            lists: true,
            revives: 0,
            deaf: false,
            ends_in: ENDS_IN,
            away: BTreeSet::new(),
            stored: RolloutRecord::default(),
            launches: BTreeMap::new(),
            left: BTreeMap::new(),
            store_works: true,
            answers: BTreeMap::new(),
            orders: 0,
            launched: vec![],
            most_uncovered: 0,
        };
        cluster.subscribe();
        cluster.pass(20);
        assert_eq!(cluster.running(version), agents);
        cluster
    }

    fn subscribe(&mut self) {
        self.core.subscribed(self.now, "f".into());
        let place = |id: &String| Agent { ..agent(id, None) };
        if self.lists {
            self.core.agents_listed(self.now, self.agents.iter().map(place).collect());
        }
        self.carry_out();
    }

    /// Another scheduler takes over, with the settings of that version.
    fn fail_over(&mut self, version: &str) {
        self.lead(with(version));
    }

    fn lead(&mut self, mut rules: Rules) {
        rules.seed = [u8::try_from(self.now.0 % 251).unwrap(); 32];
        let launches = self.launches.values().cloned().collect();
        let core = Core::new(rules, Some("f".into()), launches, self.now);
        let left = self.left.values().cloned().collect();
        self.core = core.going_on(self.stored.clone(), self.now).with_left(left);
        self.subscribe();
        for (id, task) in &self.tasks {
            // Mesos does not repeat that one waits.
            self.core.updated(self.now, &update(id, &task.agent.0, task.state, None));
            self.core.attached(&task.executor, task.state == TaskState::Running);
        }
        self.carry_out();
    }

    fn order(&mut self, order: Order) -> Result<OrderDone, OrderRefused> {
        let id = self.ask(order);
        self.answers.remove(&id).expect("an order that is stored or refused is answered at once")
    }

    fn ask(&mut self, order: Order) -> OrderId {
        self.orders += 1;
        let id = OrderId(self.orders);
        self.core.ordered(self.now, id, order);
        self.carry_out();
        id
    }

    fn carry_out(&mut self) {
        let mut effects: VecDeque<Effect> = self.core.take_effects().into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Save(ticket, change) => {
                    let result = if self.store_works { Ok(()) } else { Err("the disk is full".to_owned()) };
                    if self.store_works {
                        self.store(change);
                    }
                    self.core.saved(self.now, ticket, result);
                }
                Effect::Call(call) => self.receive(call),
                Effect::GiveUp(_) => {}
                Effect::Answer(id, answer) => drop(self.answers.insert(id, answer)),
                Effect::RegisterAnew | Effect::TornDown => panic!("nobody removed the framework"),
            }
            effects.extend(self.core.take_effects());
        }
    }

    fn store(&mut self, change: Change) {
        match change {
            Change::Rollout(record) => {
                assert!(record.number > self.stored.number, "the record never goes back");
                self.stored = *record;
            }
            Change::Launch(record) => drop(self.launches.insert(record.task.clone(), record)),
            Change::Ended(task) => drop(self.launches.remove(&task)),
            Change::Left(left) => drop(self.left.insert(left.agent.clone(), left)),
            Change::Forgotten(agent) => drop(self.left.remove(&agent)),
            Change::Framework(_) | Change::TearDown { .. } | Change::Authority(_) => {}
        }
    }

    fn receive(&mut self, call: Call) {
        match call {
            Call::Accept { launch, spec, taken, .. } => {
                let others: Vec<&TaskId> = self
                    .tasks
                    .iter()
                    .filter(|(_, task)| task.agent == launch.agent)
                    .map(|(id, _)| id)
                    .collect();
                let beside = self.launches[&launch.task].lineage.beside.as_ref();
                let stored = others.iter().all(|other| Some(*other) == beside);
                assert!(stored && others.len() < 2, "on {} beside {others:?}", launch.agent);
                let fails =
                    self.broken.contains(&spec.version) || self.broken_agents.contains(&launch.agent.0);
                let next = match self.denies && taken.converts() {
                    true => TaskState::Error,
                    false if fails => TaskState::Failed,
                    false => TaskState::Running,
                };
                self.launched.push((self.now, spec.version.clone()));
                let task = Task {
                    agent: launch.agent,
                    executor: launch.executor,
                    version: spec.version.clone(),
                    state: TaskState::Staging,
                    changes_at: Some((self.now.after(STARTS_IN), next)),
                    waits: false,
                };
                self.tasks.insert(launch.task, task);
            }
            Call::Kill(task, _) if self.deaf => drop(task),
            Call::Revive => self.revives += 1,
            Call::Shutdown(executor, _) => {
                for task in self.tasks.values_mut().filter(|task| task.executor == executor) {
                    task.changes_at = Some((self.now.after(self.ends_in), TaskState::Failed));
                }
            }
            Call::Kill(task, _) => {
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.changes_at = Some((self.now.after(self.ends_in), TaskState::Killed));
                }
            }
            _ => {}
        }
    }

    /// Lets seconds pass, one by one.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.after(Duration::from_secs(1));
            self.tasks_change();
            let covered: BTreeSet<String> = self.tasks.values().map(|task| task.agent.0.clone()).collect();
            for agent in self.agents.clone() {
                let offers = !self.away.contains(&agent) && !self.silent.contains(&agent);
                if (!covered.contains(&agent) || self.roomy) && offers {
                    let id = format!("o-{agent}-{}", self.now.0);
                    let alive = self.tasks.values().filter(|task| task.agent.0 == agent);
                    let executors = alive.map(|task| task.executor.clone()).collect();
                    self.core.offered(self.now, vec![Offer { executors, ..offer(&id, &agent, 4.0) }]);
                    self.carry_out();
                }
            }
            self.core.tick(self.now);
            self.carry_out();
            let away = |agent: &String| self.away.contains(agent);
            let runs =
                self.tasks.values().filter(|t| t.state == TaskState::Running && !away(&t.agent.0)).count();
            let uncovered = self.agents.iter().filter(|agent| !away(agent)).count() - runs;
            self.most_uncovered = self.most_uncovered.max(uncovered);
        }
    }

    fn tasks_change(&mut self) {
        let due: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.changes_at.as_ref().is_some_and(|(at, _)| *at <= self.now))
            .filter(|(_, task)| !self.away.contains(&task.agent.0))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let agent = self.tasks[&id].agent.clone();
            let alone = self.tasks.values().filter(|task| task.agent == agent).count() == 1;
            let task = self.tasks.get_mut(&id).unwrap();
            let (_, mut state) = task.changes_at.take().unwrap();
            task.waits = state == TaskState::Running && !alone;
            if task.waits {
                state = TaskState::Starting;
            }
            task.state = state;
            let waits = task.waits;
            let (agent, executor) = (task.agent.0.clone(), task.executor.clone());
            let mut told = update(&id, &agent, state, None);
            told.message =
                if state == TaskState::Failed { format!("cannot fetch for {agent}") } else { String::new() };
            told.waits = waits;
            told.reason = if state == TaskState::Error { "TASK_INVALID".to_owned() } else { String::new() };
            if state.is_terminal() {
                self.tasks.remove(&id);
                let soon = self.now.after(Duration::from_secs(1));
                let next = self.tasks.values_mut().filter(|task| task.waits && task.agent.0 == agent);
                next.for_each(|task| task.changes_at = Some((soon, TaskState::Running)));
            }
            self.core.updated(self.now, &told);
            self.core.attached(&executor, state == TaskState::Running);
            self.carry_out();
        }
    }

    fn end_on_broken_agents(&mut self) {
        for task in self.tasks.values_mut().filter(|task| self.broken_agents.contains(&task.agent.0)) {
            task.changes_at = Some((self.now, TaskState::Failed));
        }
    }

    fn running(&self, version: &str) -> usize {
        self.tasks.values().filter(|t| t.version == version && t.state == TaskState::Running).count()
    }

    fn lose(&mut self, agent: &str) {
        self.away.insert(agent.to_owned());
        self.tell_all(agent, |_| TaskState::Unreachable);
    }

    fn regain(&mut self, agent: &str) {
        self.away.remove(agent);
        self.tell_all(agent, |task| task.state);
    }

    fn tell_all(&mut self, agent: &str, state: impl Fn(&Task) -> TaskState) {
        let on = self.tasks.iter().filter(|(_, task)| task.agent.0 == agent);
        let told: Vec<_> = on.map(|(id, task)| update(id, agent, state(task), None)).collect();
        for update in told {
            self.core.updated(self.now, &update);
            self.carry_out();
        }
    }

    fn state(&self) -> (String, String) {
        let rollout = self.core.rollouts(self.now).rollout.unwrap();
        (rollout.state, rollout.detail)
    }
}

fn upgrade(nodes: usize) -> Order {
    Order::Upgrade(Upgrade { max_unavailable: Limit::Nodes(nodes), ..Upgrade::default() })
}

fn refusal(result: Result<OrderDone, OrderRefused>) -> String {
    match result {
        Err(OrderRefused::NotNow(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn executors_of_other_settings_go_on_until_an_upgrade_is_ordered_and_people_are_told() {
    let mut cluster = Cluster::of(3, "1");
    cluster.fail_over("2");
    cluster.pass(600);
    assert_eq!(cluster.running("1"), 3);
    let rollouts = cluster.core.rollouts(cluster.now);
    assert_eq!((rollouts.up_to_date, rollouts.older), (0, 3));
    assert_eq!(rollouts.advice, "3 executors run an older generation: `logherd upgrade` replaces them");
    assert!(cluster.core.nodes(cluster.now).iter().all(|node| node.generation.is_some() && !node.up_to_date));
}

#[test]
fn an_upgrade_replaces_every_executor_and_never_has_more_uncovered_than_may_be() {
    for limit in [1, 3] {
        let mut cluster = Cluster::of(10, "1");
        cluster.fail_over("2");
        cluster.most_uncovered = 0;
        cluster.order(upgrade(limit)).unwrap();
        cluster.pass(300);
        assert_eq!((cluster.running("2"), cluster.most_uncovered), (10, limit));
        assert_eq!(cluster.state().0, "done");
        let before = cluster.launched.len();
        cluster.pass(100);
        assert_eq!(cluster.launched.len(), before, "nothing is replaced twice");
        assert!(
            cluster.order(upgrade(1)).is_ok_and(
                |done| matches!(done, OrderDone::Done(text) if text.contains("nothing to replace"))
            )
        );
    }
}

#[test]
fn an_executor_has_to_run_and_be_attached_for_a_while_before_the_next_one_ends() {
    let mut cluster = Cluster::of(2, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(8);
    assert_eq!(
        (cluster.running("2"), cluster.running("1")),
        (1, 1),
        "the first one runs, but has not proven"
    );
    assert_eq!(cluster.state().1, "1 nodes are uncovered or have to prove: host-of-S00 has to prove");
    let new = cluster.tasks.values().find(|task| task.version == "2").unwrap().executor.clone();
    cluster.core.attached(&new, false);
    cluster.pass(60);
    assert_eq!(cluster.running("1"), 1, "what is not attached does not prove");
    cluster.core.attached(&new, true);
    cluster.pass(30);
    assert_eq!(cluster.running("2"), 2);
}

#[test]
fn a_rollout_goes_on_under_the_next_leader_and_keeps_to_its_pause() {
    let mut cluster = Cluster::of(6, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(40);
    cluster.order(Order::Pause).unwrap();
    cluster.pass(30);
    let before = cluster.running("2");
    cluster.fail_over("2");
    cluster.pass(120);
    assert!(before > 0 && before < 6);
    assert_eq!((cluster.running("2"), cluster.state().0.as_str()), (before, "paused"));
    cluster.most_uncovered = 0;
    cluster.order(Order::Resume).unwrap();
    cluster.pass(10);
    cluster.fail_over("2");
    cluster.pass(200);
    assert_eq!((cluster.running("2"), cluster.most_uncovered), (6, 1));
}

#[test]
fn a_leader_with_other_settings_does_not_go_on_with_what_it_cannot_launch() {
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(20);
    cluster.fail_over("3");
    let before = cluster.launched.len();
    cluster.pass(200);
    assert_eq!((cluster.launched.len(), cluster.state().0.as_str()), (before, "out_of_date"));
    cluster.order(upgrade(2)).unwrap();
    cluster.pass(200);
    assert_eq!(cluster.running("3"), 4);
}

#[test]
fn canaries_go_first_and_the_others_wait_until_they_have_proven_and_it_is_resumed() {
    let mut cluster = Cluster::of(5, "1");
    cluster.fail_over("2");
    let canary = Some("hostname=host-of-S03".parse().unwrap());
    let order = Upgrade { canary, pause_after_canary: true, ..Upgrade::default() };
    cluster.order(Order::Upgrade(order)).unwrap();
    cluster.pass(60);
    let new: Vec<&str> =
        cluster.tasks.values().filter(|t| t.version == "2").map(|t| t.agent.0.as_str()).collect();
    assert_eq!((new, cluster.state().0.as_str()), (vec!["S03"], "paused"));
    cluster.order(Order::Resume).unwrap();
    cluster.pass(100);
    assert_eq!(cluster.running("2"), 5);
    cluster.fail_over("3");
    let nobody = Upgrade { canary: Some("rack=r9".parse().unwrap()), ..Upgrade::default() };
    assert!(refusal(cluster.order(Order::Upgrade(nobody))).contains("rack=r9"));
}

#[test]
fn a_node_that_cannot_be_reached_wedges_nothing_and_is_done_when_it_is_back() {
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    cluster.lose("S01");
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(120);
    assert_eq!((cluster.running("2"), cluster.state().0.as_str()), (3, "done"));
    assert_eq!(cluster.core.rollouts(cluster.now).rollout.unwrap().skipped[0].0, "host-of-S01");
    cluster.regain("S01");
    cluster.pass(30);
    assert_eq!(cluster.running("2"), 4);
}

#[test]
fn an_aborted_rollout_leaves_everything_as_it_is() {
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(20);
    cluster.order(Order::Abort).unwrap();
    cluster.pass(60);
    let new = cluster.running("2");
    assert!((1..4).contains(&new));
    assert_eq!(cluster.running("1"), 4 - new);
    assert_eq!(refusal(cluster.order(Order::Pause)), "no rollout is under way");
}

#[test]
fn a_roll_back_launches_what_ran_before_and_stays_with_it_until_the_next_upgrade() {
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(2)).unwrap();
    cluster.pass(15);
    cluster.order(Order::RollBack).unwrap();
    cluster.pass(120);
    assert_eq!((cluster.running("1"), cluster.state().0.as_str()), (4, "done"));
    cluster.fail_over("2");
    let executor = cluster.tasks.iter().next().map(|(id, task)| (id.clone(), task.agent.0.clone())).unwrap();
    cluster.tasks.remove(&executor.0);
    cluster.core.updated(cluster.now, &update(&executor.0, &executor.1, TaskState::Failed, None));
    cluster.carry_out();
    cluster.pass(20);
    assert_eq!(cluster.running("1"), 4, "a launch stays with what it was rolled back to");
    assert!(cluster.core.rollouts(cluster.now).advice.contains("`logherd upgrade` takes the settings"));
    assert!(refusal(cluster.order(Order::RollBack)).contains("already"));
    cluster.order(upgrade(4)).unwrap();
    cluster.pass(60);
    assert_eq!(cluster.running("2"), 4);
}

#[test]
fn a_dry_run_says_what_would_happen_with_every_node_and_changes_nothing() {
    let mut cluster = Cluster::of(5, "1");
    cluster.fail_over("2");
    cluster.lose("S04");
    cluster.pass(1);
    let order = Upgrade { max_unavailable: Limit::Nodes(2), dry_run: true, ..Upgrade::default() };
    let Ok(OrderDone::Planned(plan)) = cluster.order(Order::Upgrade(order)) else { panic!("a plan") };
    let of = |action: Action| plan.nodes.iter().filter(|node| node.action == action).count();
    assert_eq!((of(Action::Replace), of(Action::Skip), plan.batches), (4, 1, 2));
    let number = cluster.stored.number;
    cluster.pass(60);
    assert_eq!((cluster.running("1"), cluster.stored.number), (5, number));
}

#[test]
fn an_order_that_cannot_be_stored_is_refused_and_not_carried_out() {
    let mut cluster = Cluster::of(3, "1");
    cluster.fail_over("2");
    cluster.pass(1);
    cluster.store_works = false;
    let order = cluster.ask(upgrade(1));
    cluster.pass(60);
    assert_eq!(
        cluster.answers.get(&order),
        None,
        "the store may hold it, and another scheduler carry it out"
    );
    cluster.store_works = true;
    cluster.pass(60);
    let refused = cluster.answers.remove(&order);
    assert_eq!(refused, Some(Err(OrderRefused::NotStored("the disk is full".to_owned()))));
    assert_eq!(cluster.running("1"), 3);
    cluster.order(upgrade(3)).unwrap();
    cluster.pass(60);
    assert_eq!(cluster.running("2"), 3);
}

#[test]
fn an_order_that_counts_as_not_stored_is_taken_back_from_the_store() {
    let mut cluster = Cluster::of(3, "1");
    cluster.fail_over("2");
    cluster.pass(1);
    let before = cluster.stored.clone();
    cluster.store_works = false;
    let order = cluster.ask(upgrade(1));
    // The store holds it all the same.
    let rollout = ordered_rollout(&cluster);
    cluster.stored = RolloutRecord { number: before.number + 1, rollout: Some(rollout), ..before.clone() };
    cluster.store_works = true;
    cluster.pass(10);
    assert_eq!(cluster.stored.rollout, before.rollout);
    assert!(matches!(cluster.answers[&order], Err(OrderRefused::NotStored(_))));
    assert!(cluster.stored.number > before.number + 1, "{}", cluster.stored.number);
    cluster.fail_over("2");
    cluster.pass(60);
    assert_eq!(cluster.running("1"), 3, "the next scheduler does not carry it out");
}

/// A rollout to what the scheduler's settings make.
fn ordered_rollout(cluster: &Cluster) -> Rollout {
    Rollout {
        from: None,
        to: cluster.core.rollouts.own().clone(),
        rolls_back: false,
        max_unavailable: Limit::Nodes(1),
        canary: None,
        canaries: None,
        pause_after_canary: false,
        paused: false,
        ended: None,
        began_at: cluster.now,
    }
}

#[test]
fn a_generation_that_fails_everywhere_stops_its_rollout_and_goes_on_once_a_try_proves() {
    let mut cluster = Cluster::of(10, "1");
    cluster.fail_over("2");
    cluster.broken.insert("2".to_owned());
    cluster.launched.clear();
    cluster.order(upgrade(5)).unwrap();
    cluster.pass(3600);
    assert_eq!(cluster.running("1"), 5, "no more were ended than may be uncovered");
    assert!(cluster.launched.len() < 40, "{} launches in an hour", cluster.launched.len());
    assert!(cluster.revives < 200, "declined offers were asked for {} times in an hour", cluster.revives);
    let held = cluster.core.rollouts(cluster.now).held.unwrap();
    assert!(held.agents >= 3 && held.failure.contains("cannot fetch"), "{held:?}");
    assert!(cluster.state().1.contains("launches fail on many nodes"), "{}", cluster.state().1);
    cluster.broken.clear();
    cluster.pass(900);
    assert_eq!((cluster.running("2"), cluster.core.rollouts(cluster.now).held), (10, None));
}

#[test]
fn what_fails_everywhere_can_be_rolled_back_at_once() {
    let mut cluster = Cluster::of(10, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(4)).unwrap();
    cluster.pass(8);
    let survive = cluster.running("2");
    cluster.broken.insert("2".to_owned());
    cluster.pass(120);
    assert!(survive > 0 && cluster.core.rollouts(cluster.now).held.is_some());
    cluster.order(Order::RollBack).unwrap();
    cluster.pass(400);
    assert_eq!((cluster.running("1"), cluster.running("2")), (10, 0));
    assert_eq!(cluster.state().0, "done");
}

#[test]
fn a_few_nodes_that_always_fail_do_not_stop_a_rollout_before_it_begins() {
    let mut cluster = Cluster::of(20, "1");
    cluster.fail_over("2");
    cluster.broken_agents = ["S00", "S01", "S02"].map(str::to_owned).into();
    cluster.end_on_broken_agents();
    cluster.pass(60);
    cluster.order(upgrade(5)).unwrap();
    cluster.pass(600);
    assert_eq!((cluster.running("2"), cluster.core.rollouts(cluster.now).held), (17, None));
}

#[test]
fn a_scheduler_that_serves_at_another_port_each_time_remembers_one_generation_once() {
    let mut cluster = Cluster::of(1, "1");
    for port in 1..20 {
        let mut rules = serving("2");
        let program = Program::Fetched(format!("http://s:{port}/artifacts/logherd-2"));
        rules.spec = Arc::new(Spec { program, ..Spec::clone(&rules.spec) });
        cluster.lead(rules);
        cluster.pass(5);
    }
    assert_eq!((cluster.stored.known.len(), cluster.stored.number), (2, 2));
}

#[test]
fn of_many_generations_the_newest_is_always_remembered() {
    let mut cluster = Cluster::of(2, "0");
    for version in 1..12 {
        cluster.fail_over(&version.to_string());
        cluster.pass(3);
        assert_eq!(cluster.stored.known.last().unwrap().version, version.to_string());
    }
    assert_eq!(cluster.stored.known.len(), 8);
    assert_eq!(cluster.stored.known[0].version, "0", "what runs is remembered");
}

#[test]
fn executors_that_know_another_authority_are_replaced_by_an_upgrade_and_not_rolled_back_to() {
    let mut cluster = Cluster::of(2, "1");
    let authority = Some("0123".to_owned());
    cluster.lead(Rules { spec: Arc::new(Spec { authority, ..Spec::clone(&spec("1")) }), ..rules() });
    assert_eq!(cluster.core.rollouts(cluster.now).older, 2);
    cluster.order(upgrade(2)).unwrap();
    cluster.pass(60);
    assert_eq!((cluster.state().0.as_str(), cluster.core.rollouts(cluster.now).up_to_date), ("done", 2));
    assert!(refusal(cluster.order(Order::RollBack)).contains("another authority"));
}

#[test]
fn canaries_that_are_gone_are_chosen_anew_and_without_any_the_rollout_pauses_and_says_what_to_do() {
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    let order = Upgrade { canary: Some(Canary::Count(1)), ..Upgrade::default() };
    cluster.order(Order::Upgrade(order)).unwrap();
    cluster.lose("S00");
    cluster.pass(120);
    assert_eq!(cluster.running("2"), 3);
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    let canary = Some("hostname=host-of-S03".parse().unwrap());
    cluster.order(Order::Upgrade(Upgrade { canary, ..Upgrade::default() })).unwrap();
    cluster.lose("S03");
    cluster.pass(60);
    let (state, detail) = cluster.state();
    assert!(state == "paused" && detail.contains("`logherd upgrade abort`"), "{state}: {detail}");
    cluster.regain("S03");
    cluster.order(Order::Resume).unwrap();
    cluster.pass(200);
    assert_eq!(cluster.running("2"), 4);
}

#[test]
fn a_node_that_the_leader_before_has_ended_counts_as_uncovered_for_a_while_and_not_for_ever() {
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.silent.insert("S00".to_owned());
    cluster.pass(5);
    cluster.fail_over("2");
    cluster.most_uncovered = 0;
    cluster.pass(50);
    assert_eq!((cluster.running("1"), cluster.most_uncovered), (3, 1));
    cluster.pass(200);
    assert_eq!(cluster.running("2"), 3);
}

#[test]
fn a_leader_ends_nothing_before_it_knows_which_nodes_there_are_or_could_not_find_out() {
    let mut cluster = Cluster::of(4, "1");
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.silent.insert("S00".to_owned());
    cluster.pass(5);
    assert_eq!(cluster.running("1"), 3, "one was ended");
    cluster.lists = false;
    cluster.fail_over("2");
    cluster.most_uncovered = 0;
    cluster.pass(50);
    assert_eq!((cluster.running("1"), cluster.most_uncovered), (3, 1), "it knows nothing of the fourth node");
    cluster.pass(100);
    assert_eq!(
        cluster.running("2"),
        3,
        "the master does not list its agents: that holds up nothing for ever"
    );
}

#[test]
fn a_bad_program_on_a_thousand_nodes_makes_no_storm_of_launches() {
    let now = Moment(1_000_000);
    let mut cluster = Cluster::of(0, "1");
    cluster.agents = (0..1000).map(|n| format!("S{n:03}")).collect();
    cluster.core = Core::new(with("1"), Some("f".into()), vec![], now);
    cluster.stored = RolloutRecord::default();
    cluster.broken.insert("1".to_owned());
    cluster.subscribe();
    cluster.pass(10);
    let first = cluster.launched.len();
    cluster.launched.clear();
    cluster.pass(300);
    assert!(cluster.launched.len() < 12, "{first}, then {} launches in five minutes", cluster.launched.len());
    cluster.broken.clear();
    cluster.order(Order::Resume).unwrap();
    cluster.pass(30);
    assert_eq!(cluster.running("1"), 1000);
}

#[test]
fn where_a_restart_is_an_order_executors_of_before_are_replaced_by_themselves() {
    let mut cluster = Cluster::of(3, "1");
    let rules = Rules { upgrade_by_itself: true, ..with("2") };
    let launches = cluster.launches.values().cloned().collect();
    cluster.core = Core::new(rules, Some("f".into()), launches, cluster.now)
        .going_on(cluster.stored.clone(), cluster.now);
    cluster.subscribe();
    for (id, task) in &cluster.tasks {
        cluster.core.updated(cluster.now, &update(id, &task.agent.0, task.state, None));
    }
    cluster.pass(30);
    assert_eq!(cluster.running("2"), 3);
}

#[test]
fn a_program_that_this_scheduler_does_not_serve_is_not_rolled_back_to_and_it_is_said_what_to_do() {
    let mut cluster = Cluster::of(2, "0");
    for version in ["1", "2"] {
        cluster.lead(serving(version));
        cluster.order(upgrade(2)).unwrap();
        cluster.pass(60);
    }
    assert_eq!(cluster.running("2"), 2);
    let why = refusal(cluster.order(Order::RollBack));
    assert!(why.contains("logherd-1 (version 1), which this scheduler does not serve"), "{why}");
    cluster.pass(60);
    assert_eq!(cluster.running("2"), 2);
}

#[test]
fn a_new_executor_is_told_where_the_one_before_it_kept_its_data_also_by_another_leader() {
    let mut cluster = Cluster::of(1, "1");
    let executor = cluster.tasks.values().next().unwrap().executor.clone();
    cluster.core.keeps_data_at(&executor, "/sandboxes/1/data", true);
    cluster.carry_out();
    cluster.fail_over("2");
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(30);
    let launch = cluster.launches.values().next().unwrap();
    assert_eq!(launch.lineage.predecessor_data.as_deref(), Some("/sandboxes/1/data"));
}

#[test]
fn an_order_to_resume_that_cannot_be_stored_frees_no_launch() {
    let mut cluster = Cluster::of(10, "1");
    cluster.fail_over("2");
    cluster.broken.insert("2".to_owned());
    cluster.order(upgrade(5)).unwrap();
    cluster.pass(120);
    cluster.order(Order::Pause).unwrap();
    let held = |cluster: &Cluster| cluster.core.rollouts(cluster.now).held.is_some();
    assert!(held(&cluster));
    cluster.store_works = false;
    let order = cluster.ask(Order::Resume);
    assert!(held(&cluster), "nothing is done before it is stored");
    cluster.pass(3);
    cluster.store_works = true;
    cluster.launched.clear();
    cluster.pass(8);
    assert!(matches!(cluster.answers[&order], Err(OrderRefused::NotStored(_))));
    assert!(held(&cluster) && cluster.stored.held.is_some());
    assert!(cluster.launched.len() < 2, "{} launches", cluster.launched.len());
    cluster.order(Order::Resume).unwrap();
    assert!(!held(&cluster) && cluster.stored.held.is_none());
}

/// What the settings of that version make where executors keep their data in that directory.
fn keeping(version: &str, data: &str) -> Rules {
    let arguments = vec!["--data-dir".to_owned(), data.to_owned()];
    Rules { spec: Arc::new(Spec { arguments, ..Spec::clone(&spec(version)) }), ..rules() }
}

#[test]
fn where_an_executor_left_its_data_is_known_to_the_next_leader_after_its_launch_was_forgotten() {
    let mut cluster = Cluster::of(1, "1");
    let task = cluster.tasks.keys().next().unwrap().clone();
    let executor = cluster.tasks[&task].executor.clone();
    cluster.core.keeps_data_at(&executor, "/sandboxes/1/data", true);
    cluster.silent.insert("S00".to_owned());
    cluster.tasks.get_mut(&task).unwrap().changes_at = Some((cluster.now, TaskState::Killed));
    cluster.pass(30);
    assert_eq!((cluster.launches.len(), cluster.left.len()), (0, 1));
    cluster.fail_over("1");
    cluster.silent.clear();
    cluster.pass(30);
    let data = |cluster: &Cluster| cluster.launches.values().next().unwrap().lineage.predecessor_data.clone();
    assert_eq!(data(&cluster).as_deref(), Some("/sandboxes/1/data"));

    // One that comes to nothing before it has said where it keeps its own leaves them where they are.
    cluster.silent.insert("S00".to_owned());
    let failed = cluster.tasks.values_mut().next().unwrap();
    (failed.state, failed.changes_at) = (TaskState::Staging, Some((cluster.now, TaskState::Failed)));
    cluster.fail_over("1");
    cluster.pass(30);
    assert_eq!(cluster.left.values().next().unwrap().data, "/sandboxes/1/data");
}

#[test]
fn an_executor_that_has_not_attached_to_this_leader_keeps_its_data_where_its_settings_said() {
    let mut cluster = Cluster::of(1, "1");
    cluster.lead(keeping("2", "/a"));
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(60);
    assert_eq!(cluster.running("2"), 1);
    cluster.roomy = true;
    cluster.lead(Rules { overlap: Duration::from_secs(30), ..keeping("3", "/b") });
    cluster.order(upgrade(1)).unwrap();
    cluster.pass(60);
    assert_eq!(cluster.running("3"), 1);
    let launch = cluster.launches.values().next().unwrap();
    assert!(launch.lineage.beside.is_some(), "they overlapped");
    assert_eq!(launch.lineage.predecessor_data.as_deref(), Some("/a"));
}

#[test]
fn what_is_left_on_an_agent_that_never_comes_back_is_forgotten() {
    let mut cluster = Cluster::of(2, "1");
    for executor in cluster.tasks.values().map(|task| task.executor.clone()).collect::<Vec<_>>() {
        cluster.core.keeps_data_at(&executor, "/sandboxes/1/data", true);
    }
    cluster.silent = ["S00", "S01"].map(str::to_owned).into();
    cluster.store_works = false;
    let (gone, killed) = (TaskState::GoneByOperator, TaskState::Killed);
    for (task, state) in cluster.tasks.values_mut().zip([gone, killed]) {
        task.changes_at = Some((cluster.now, state));
    }
    cluster.pass(3);
    cluster.store_works = true;
    cluster.pass(30);
    assert_eq!(cluster.left.keys().map(|agent| agent.0.as_str()).collect::<Vec<_>>(), ["S01"]);
}
