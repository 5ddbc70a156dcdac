//! Drives the core against a model of Mesos in which anything may be lost, repeated, late, or crash.
use super::Core;
use super::cluster::{Offer, TaskState, Update};
use super::effects::{Call, Change, Effect, LaunchRecord, Phase, Ticket};
use super::tests::{offer, rules, update};
use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment, OfferId, TaskId};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use web::view::Coverage;

const AGENTS: [&str; 3] = ["m-S0", "m-S1", "m-S2"];

/// What may happen next; the numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The master offers an agent that has no offer outstanding.
    Offer(usize),
    Rescind(usize),
    /// One event reaches the scheduler.
    Deliver,
    /// One call reaches the master.
    Receive,
    /// One call is taken and comes to nothing: 202 promises no more.
    Ignore,
    /// The oldest change is stored, or cannot be.
    Store(bool),
    /// A task goes on to the next state, or fails.
    Progress(usize, bool),
    /// The agent sends its oldest unacknowledged update again.
    Resend(usize),
    Unreachable(usize),
    Reachable(usize),
    Disconnect,
    Connect,
    Crash,
    /// The process dies and a launch is missing in the store that it finds.
    LoseRecord(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize).prop_map(Step::Offer),
        1 => any::<usize>().prop_map(Step::Rescind),
        10 => Just(Step::Deliver),
        10 => Just(Step::Receive),
        1 => Just(Step::Ignore),
        8 => prop::bool::weighted(0.85).prop_map(Step::Store),
        6 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(n, fails)| Step::Progress(n, fails)),
        2 => any::<usize>().prop_map(Step::Resend),
        1 => (0..3usize).prop_map(Step::Unreachable),
        2 => (0..3usize).prop_map(Step::Reachable),
        1 => Just(Step::Disconnect),
        2 => Just(Step::Connect),
        1 => Just(Step::Crash),
        1 => any::<usize>().prop_map(Step::LoseRecord),
        4 => (0..120u64).prop_map(Step::Pass),
    ]
}

enum Event {
    Offers(Vec<Offer>),
    Rescind(OfferId),
    Update(Update),
}

struct Task {
    agent: String,
    state: TaskState,
    /// Unacknowledged updates, oldest first: only the first one is sent.
    updates: VecDeque<(TaskState, u8)>,
}

struct World {
    now: Moment,
    core: Core,
    connected: bool,
    to_scheduler: VecDeque<Event>,
    to_master: VecDeque<Call>,
    to_store: VecDeque<(Ticket, Change)>,
    store: BTreeMap<TaskId, LaunchRecord>,
    framework: Option<FrameworkId>,
    offers: BTreeMap<OfferId, String>,
    /// Offers that the scheduler may answer: delivered, not answered, not rescinded.
    answerable: Vec<OfferId>,
    tasks: BTreeMap<TaskId, Task>,
    unreachable: Vec<String>,
    /// Receipts of updates with a uuid that have to be acknowledged still.
    receipts: BTreeMap<(TaskId, u8), usize>,
    /// Those of earlier subscriptions, or that could not be stored: they may be acknowledged.
    old_receipts: BTreeMap<(TaskId, u8), usize>,
    counter: u8,
    offer_counter: u64,
}

impl World {
    fn new() -> Self {
        let now = Moment(1_000_000);
        let mut world = Self {
            now,
            core: Core::new(rules(), None, vec![], now),
            connected: false,
            to_scheduler: VecDeque::new(),
            to_master: VecDeque::new(),
            to_store: VecDeque::new(),
            store: BTreeMap::new(),
            framework: None,
            offers: BTreeMap::new(),
            answerable: vec![],
            tasks: BTreeMap::new(),
            unreachable: vec![],
            receipts: BTreeMap::new(),
            old_receipts: BTreeMap::new(),
            counter: 0,
            offer_counter: 0,
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            let id = self.core.framework().cloned().unwrap_or_else(|| "f-1".into());
            self.core.subscribed(self.now, id);
            for (task, known) in &self.tasks {
                if let Some((state, uuid)) =
                    known.updates.front().filter(|_| !self.unreachable.contains(&known.agent))
                {
                    self.to_scheduler.push_back(Event::Update(update(
                        task,
                        &known.agent,
                        *state,
                        Some(*uuid),
                    )));
                }
            }
        }
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.to_scheduler.clear();
        self.to_master.clear();
        self.offers.clear();
        self.answerable.clear();
        self.release_receipts(|_| true);
        self.core.disconnected(self.now);
    }

    /// Receipts that need not be acknowledged any more: the agent will send those updates again.
    fn release_receipts(&mut self, which: impl Fn(&TaskId) -> bool) {
        for ((task, uuid), count) in &mut self.receipts {
            if which(task) {
                *self.old_receipts.entry((task.clone(), *uuid)).or_default() += std::mem::take(count);
            }
        }
    }

    /// The process dies: what was on its way to the store may or may not get there.
    fn crash(&mut self) {
        self.disconnect();
        let survives = self.to_store.len() / 2;
        for (_, change) in self.to_store.drain(..).take(survives).collect::<Vec<_>>() {
            apply(&mut self.store, &mut self.framework, change);
        }
        self.to_store.clear();
        let mut rules = rules();
        self.counter = self.counter.wrapping_add(1);
        // The first core's seed is of equal bytes: no later one draws the same ids.
        rules.seed = [self.counter; 32];
        rules.seed[0] = !self.counter;
        self.core =
            Core::new(rules, self.framework.clone(), self.store.values().cloned().collect(), self.now);
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Offer(n) => self.offer(AGENTS[n]),
            Step::Rescind(n) => {
                if let Some(id) = pick(self.offers.keys(), n) {
                    self.offers.remove(&id);
                    self.to_scheduler.push_back(Event::Rescind(id));
                }
            }
            Step::Deliver => self.deliver(),
            Step::Receive => {
                if let Some(call) = self.to_master.pop_front() {
                    self.receive(call);
                }
            }
            Step::Ignore => self.ignore(),
            Step::Store(works) => self.store_one(works),
            Step::Progress(n, fails) => self.progress(n, fails),
            Step::Resend(n) => {
                if let Some(task) = pick(self.tasks.keys(), n) {
                    self.send(&task);
                }
            }
            Step::Unreachable(n) => self.lose(AGENTS[n]),
            Step::Reachable(n) => self.regain(AGENTS[n]),
            Step::Disconnect => self.disconnect(),
            Step::Connect => self.connect(),
            Step::Crash => self.crash(),
            Step::LoseRecord(n) => {
                if let Some(task) = pick(self.store.keys(), n) {
                    self.to_store.clear();
                    self.store.remove(&task);
                    self.crash();
                }
            }
            Step::Pass(seconds) => {
                self.now = self.now.after(Duration::from_secs(seconds));
                self.core.tick(self.now);
            }
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::Save(ticket, change) => self.to_store.push_back((ticket, change)),
                Effect::Call(call) => {
                    assert!(self.connected, "a call without a subscription: {call:?}");
                    self.check(&call);
                    self.to_master.push_back(call);
                }
                Effect::RegisterAnew => panic!("nobody removed the framework"),
                Effect::Answer(..) => {}
            }
        }
    }

    /// What must be true of each call when it is decided.
    fn check(&mut self, call: &Call) {
        match call {
            Call::Accept { offers, launch, .. } => {
                assert!(self.store.contains_key(&launch.task), "ACCEPT before its intent was stored");
                assert!(self.framework.is_some(), "ACCEPT before the framework id was stored");
                self.answer(offers);
            }
            Call::Decline { offers, .. } | Call::Unreserve { offers, .. } => self.answer(offers),
            Call::Acknowledge { task, uuid, .. } => {
                let key = (task.clone(), uuid[0]);
                let mut open =
                    [self.receipts.get_mut(&key), self.old_receipts.get_mut(&key)].into_iter().flatten();
                let receipt = open.find(|count| **count > 0);
                *receipt.expect("acknowledged more often than received") -= 1;
                if let Some(record) = self.store.get(task) {
                    assert_ne!(record.phase, Phase::Intended, "acknowledged before it was stored");
                    let over = self
                        .tasks
                        .get(task)
                        .and_then(|t| t.updates.front())
                        .is_some_and(|(s, u)| s.is_terminal() && *u == uuid[0]);
                    assert!(!over, "the end of a launch was acknowledged before it was stored");
                }
            }
            Call::Kill(task, _) => self.is_no_launch_of_ours(task),
            Call::Shutdown(executor, _) => {
                let task = self.tasks.keys().find(|task| executor_of(task) == executor.0).cloned();
                task.iter().for_each(|task| self.is_no_launch_of_ours(task));
            }
            Call::Revive | Call::Reconcile(_) | Call::Message { .. } | Call::AcceptInverse { .. } => {}
        }
    }

    /// Only what the store does not know is ended: everything else does its work.
    fn is_no_launch_of_ours(&self, task: &TaskId) {
        let lives = self.tasks.get(task).is_some_and(|known| !known.state.is_terminal());
        assert!(!(lives && self.store.contains_key(task)), "{task} is ours and should live");
    }

    fn answer(&mut self, offers: &[OfferId]) {
        for id in offers {
            let at = self.answerable.iter().position(|known| known == id);
            self.answerable.remove(at.expect("answered an offer that is gone"));
        }
    }

    fn offer(&mut self, agent: &str) {
        let taken = self.offers.values().any(|of| of == agent);
        if !self.connected || taken || self.unreachable.iter().any(|a| a == agent) {
            return;
        }
        // Now and then in two pieces, each too small alone.
        self.offer_counter += 1;
        let pieces = if self.offer_counter.is_multiple_of(3) { vec![0.15, 0.15] } else { vec![4.0] };
        let alive: Vec<ExecutorId> =
            self.alive(agent).map(|task| executor_of(task).as_str().into()).collect();
        let new = pieces.into_iter().enumerate().map(|(n, cpus)| {
            let id = format!("o{}-{n}", self.offer_counter);
            Offer { executors: alive.clone(), ..offer(&id, agent, cpus) }
        });
        let new: Vec<Offer> = new.collect();
        self.offers.extend(new.iter().map(|offer| (offer.id.clone(), agent.to_owned())));
        self.to_scheduler.push_back(Event::Offers(new));
    }

    /// What the master does with a call that comes to nothing: it takes the offers back.
    fn ignore(&mut self) {
        if let Some(
            Call::Accept { offers, .. } | Call::Decline { offers, .. } | Call::Unreserve { offers, .. },
        ) = self.to_master.pop_front()
        {
            offers.iter().for_each(|id| drop(self.offers.remove(id)));
        }
    }

    fn alive<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a TaskId> {
        self.tasks.iter().filter(move |(_, t)| t.agent == agent && !t.state.is_terminal()).map(|(id, _)| id)
    }

    fn deliver(&mut self) {
        if !self.connected {
            return;
        }
        match self.to_scheduler.pop_front() {
            Some(Event::Offers(offers)) => {
                self.answerable.extend(offers.iter().map(|o| o.id.clone()));
                self.core.offered(self.now, offers);
            }
            Some(Event::Rescind(id)) => {
                self.answerable.retain(|known| *known != id);
                self.core.rescinded(&id);
            }
            Some(Event::Update(update)) => {
                if let Some(uuid) = &update.uuid {
                    *self.receipts.entry((update.task.clone(), uuid[0])).or_default() += 1;
                }
                self.core.updated(self.now, &update);
            }
            None => {}
        }
    }

    fn receive(&mut self, call: Call) {
        match call {
            Call::Accept { offers, launch, .. } => {
                let valid = offers.iter().all(|id| self.offers.contains_key(id));
                offers.iter().for_each(|id| drop(self.offers.remove(id)));
                if !valid {
                    let lost = update(&launch.task, &launch.agent.0, TaskState::Dropped, None);
                    return self.to_scheduler.push_back(Event::Update(lost));
                }
                assert_eq!(self.alive(&launch.agent.0).count(), 0, "two live executors on {}", launch.agent);
                let task =
                    Task { agent: launch.agent.0, state: TaskState::Staging, updates: VecDeque::new() };
                self.tasks.insert(launch.task, task);
            }
            Call::Decline { offers, .. } | Call::Unreserve { offers, .. } => {
                offers.iter().for_each(|id| drop(self.offers.remove(id)))
            }
            Call::Kill(task, _) => self.end(&task, TaskState::Killed),
            Call::Shutdown(executor, agent) => {
                let doomed = self.alive(&agent.0).find(|t| executor_of(t) == executor.0).cloned();
                doomed.into_iter().for_each(|task| self.end(&task, TaskState::Failed));
            }
            Call::Acknowledge { task, uuid, .. } => {
                if let Some(known) = self.tasks.get_mut(&task)
                    && known.updates.front().is_some_and(|(_, u)| *u == uuid[0])
                {
                    known.updates.pop_front();
                    if known.updates.is_empty() && known.state.is_terminal() {
                        self.tasks.remove(&task);
                    } else {
                        self.send(&task);
                    }
                }
            }
            Call::Reconcile(tasks) => self.reconcile(tasks),
            Call::Revive | Call::Message { .. } | Call::AcceptInverse { .. } => {}
        }
    }

    fn reconcile(&mut self, tasks: Vec<(TaskId, AgentId)>) {
        let asked: Vec<(TaskId, String)> = if tasks.is_empty() {
            self.tasks.iter().map(|(id, t)| (id.clone(), t.agent.clone())).collect()
        } else {
            tasks.into_iter().map(|(task, agent)| (task, agent.0)).collect()
        };
        for (task, agent) in asked {
            let state = match self.tasks.get(&task) {
                _ if self.unreachable.contains(&agent) => TaskState::Unreachable,
                Some(known) => known.state,
                None => TaskState::Gone,
            };
            self.to_scheduler.push_back(Event::Update(update(&task, &agent, state, None)));
        }
    }

    fn progress(&mut self, n: usize, fails: bool) {
        let living: Vec<TaskId> =
            self.tasks.iter().filter(|(_, t)| !t.state.is_terminal()).map(|(id, _)| id.clone()).collect();
        let Some(task) = pick(living.iter(), n) else { return };
        if fails {
            return self.end(&task, TaskState::Failed);
        }
        let next = match self.tasks[&task].state {
            TaskState::Staging => TaskState::Starting,
            TaskState::Starting => TaskState::Running,
            _ => return,
        };
        self.update_task(&task, next);
    }

    fn end(&mut self, task: &TaskId, state: TaskState) {
        if self
            .tasks
            .get(task)
            .is_some_and(|t| !t.state.is_terminal() && !self.unreachable.contains(&t.agent))
        {
            self.update_task(task, state);
        }
    }

    fn update_task(&mut self, task: &TaskId, state: TaskState) {
        self.counter = self.counter.wrapping_add(1);
        let uuid = self.counter;
        let known = self.tasks.get_mut(task).unwrap();
        known.state = state;
        known.updates.push_back((state, uuid));
        if known.updates.len() == 1 {
            self.send(task);
        }
    }

    fn send(&mut self, task: &TaskId) {
        let Some(known) = self.tasks.get(task) else { return };
        if let Some((state, uuid)) = known.updates.front()
            && self.connected
            && !self.unreachable.contains(&known.agent)
        {
            self.to_scheduler.push_back(Event::Update(update(task, &known.agent, *state, Some(*uuid))));
        }
    }

    fn lose(&mut self, agent: &str) {
        if self.unreachable.iter().any(|a| a == agent) {
            return;
        }
        self.unreachable.push(agent.to_owned());
        let rescinded: Vec<OfferId> =
            self.offers.iter().filter(|(_, of)| *of == agent).map(|(id, _)| id.clone()).collect();
        for id in rescinded {
            self.offers.remove(&id);
            self.to_scheduler.push_back(Event::Rescind(id));
        }
        for task in self.alive(agent).cloned().collect::<Vec<_>>() {
            self.to_scheduler.push_back(Event::Update(update(&task, agent, TaskState::Unreachable, None)));
        }
    }

    fn regain(&mut self, agent: &str) {
        self.unreachable.retain(|a| a != agent);
        for task in self.alive(agent).cloned().collect::<Vec<_>>() {
            let state = self.tasks[&task].state;
            self.to_scheduler.push_back(Event::Update(update(&task, agent, state, None)));
        }
        let on_it = self.tasks.iter().filter(|(_, t)| t.agent == agent).map(|(id, _)| id.clone());
        on_it.collect::<Vec<_>>().iter().for_each(|task| self.send(task));
    }

    fn store_one(&mut self, works: bool) {
        let Some((ticket, change)) = self.to_store.pop_front() else { return };
        if works {
            apply(&mut self.store, &mut self.framework, change);
        } else if let Change::Ended(task) | Change::Launch(LaunchRecord { task, .. }) = &change {
            self.release_receipts(|released| released == task);
        }
        self.core.saved(self.now, ticket, if works { Ok(()) } else { Err("the disk is full".into()) });
    }

    /// Everything works from here on.
    fn settle(&mut self) {
        self.connect();
        AGENTS.iter().for_each(|agent| self.regain(agent));
        for _ in 0..1500 {
            for agent in AGENTS {
                self.perform(Step::Offer(AGENTS.iter().position(|a| *a == agent).unwrap()));
            }
            while !(self.to_scheduler.is_empty() && self.to_master.is_empty() && self.to_store.is_empty()) {
                self.perform(Step::Deliver);
                self.perform(Step::Receive);
                self.perform(Step::Store(true));
            }
            (0..self.tasks.len()).for_each(|n| self.perform(Step::Progress(n, false)));
            (0..self.tasks.len()).for_each(|n| self.perform(Step::Resend(n)));
            self.perform(Step::Pass(1));
            let running = |node: &super::NodeState| node.coverage == Coverage::Running;
            let nodes = self.core.nodes(self.now);
            if nodes.len() == AGENTS.len() && nodes.iter().all(running) && self.is_quiet() {
                break;
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.to_scheduler.is_empty()
            && self.to_master.is_empty()
            && self.to_store.is_empty()
            && self.store.keys().eq(self.tasks.keys())
            && self.tasks.values().all(|t| t.updates.is_empty() && t.state == TaskState::Running)
    }
}

fn apply(store: &mut BTreeMap<TaskId, LaunchRecord>, framework: &mut Option<FrameworkId>, change: Change) {
    match change {
        Change::Framework(id) => *framework = id,
        Change::Launch(record) => drop(store.insert(record.task.clone(), record)),
        Change::Ended(task) => drop(store.remove(&task)),
    }
}

/// The executor of a task, as the core names them.
fn executor_of(task: &TaskId) -> String {
    task.0.replace('.', "-")
}

fn pick<'a, T: Clone + 'a>(from: impl Iterator<Item = &'a T> + Clone, n: usize) -> Option<T> {
    let count = from.clone().count();
    from.clone().nth(n.checked_rem(count)?).cloned()
}

fn holds_after(steps: Vec<Step>) {
    let mut world = World::new();
    world.carry_out();
    steps.into_iter().for_each(|step| world.perform(step));
    world.settle();
    for agent in AGENTS {
        let running =
            world.alive(agent).filter(|task| world.tasks[*task].state == TaskState::Running).count();
        assert_eq!(
            (running, world.alive(agent).count()),
            (1, 1),
            "{agent} should have one executor, running"
        );
    }
    for node in world.core.nodes(world.now) {
        assert_eq!(node.coverage, Coverage::Running, "{node:?}");
    }
    assert!(world.receipts.values().all(|open| *open == 0), "not acknowledged: {:?}", world.receipts);
    let live: Vec<&TaskId> = world.tasks.keys().collect();
    assert_eq!(world.store.keys().collect::<Vec<_>>(), live, "the store holds what runs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_there_is_never_more_than_one_executor_on_an_agent_and_in_the_end_exactly_one(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        holds_after(steps);
    }
}
