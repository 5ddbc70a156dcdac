//! Plays people who order rollouts and teardowns, and holds what must be true of them.
use super::super::mesos::{MACHINES, ROLES};
use super::super::{Ordered, Settings, Size, Step};
use super::World;
use crate::core::Stage;
use crate::core::cluster::TaskState;
use crate::core::effects::{Change, LaunchRecord, Phase};
use crate::core::{NodeState, OrderId};
use crate::ids::{AgentId, Moment, TaskId};
use std::time::Duration;
use web::order::{Limit, Order, OrderDone, OrderRefused, Upgrade};
use web::view::Coverage;

/// So long a leader holds nodes without an executor for taken by the one before it.
const TAKEN_BEFORE: Duration = Duration::from_secs(60);
/// How long a teardown gives executors to end, reservations to be given up, and Mesos to remove the framework, at least.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(60);
const REMOVED_WITHIN: Duration = Duration::from_secs(180);
/// The shortest pause between two tries while launches are held back.
const TRIED_AGAIN: Duration = Duration::from_secs(5);

impl World {
    /// What people do.
    pub(super) fn people(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Order(order) => self.order(order),
            Step::Configure(settings) => {
                self.settings = settings;
                self.crash()?;
            }
            Step::RollOut(settings, nodes, fate) => {
                self.roll_out(settings, nodes)?;
                if let Some((machine, fate)) = fate {
                    self.come_up()?;
                    self.perform(Step::Agent(machine, fate))?;
                }
            }
            Step::Spoil(version) if !self.mesos.spoilt.remove(&version) => {
                self.mesos.spoilt.insert(version);
            }
            _ => {}
        }
        Ok(())
    }

    fn order(&mut self, ordered: Ordered) {
        self.orders += 1;
        let id = OrderId(self.orders);
        let order = match ordered {
            Ordered::Upgrade(nodes) => {
                Order::Upgrade(Upgrade { max_unavailable: Limit::Nodes(nodes), ..Upgrade::default() })
            }
            Ordered::Pause => Order::Pause,
            Ordered::Resume => Order::Resume,
            Ordered::Abort => Order::Abort,
            Ordered::RollBack => Order::RollBack,
            Ordered::TearDown => {
                let framework = self.framework.as_ref().map(|id| id.0.clone()).unwrap_or_default();
                Order::TearDown { framework }
            }
        };
        self.ordered.insert(id, ordered);
        self.core.ordered(self.now, id, order);
    }

    /// All is well, and then a rollout begins.
    fn roll_out(&mut self, settings: Settings, nodes: usize) -> Result<(), String> {
        let spoilt = self.mesos.spoilt.clone();
        self.settle()?;
        self.mesos.spoilt = spoilt;
        for step in [Step::Configure(settings), Step::Connect, Step::List, Step::Flow(5)] {
            self.perform(step)?;
        }
        for n in 0..self.mesos.tasks.len() {
            self.perform(Step::Attach(n))?;
        }
        for step in [Step::Pass(1), Step::Flow(5), Step::Order(Ordered::Upgrade(nodes)), Step::Flow(5)] {
            self.perform(step)?;
        }
        Ok(())
    }

    /// What is to be launched comes up, as far as it can.
    fn come_up(&mut self) -> Result<(), String> {
        self.perform(Step::Pass(1))?;
        for machine in 0..MACHINES {
            self.perform(Step::Offer(machine, Size::Enough))?;
        }
        self.perform(Step::Flow(5))?;
        for _ in 0..2 {
            for n in 0..self.mesos.tasks.len() {
                self.perform(Step::Progress(n))?;
            }
            self.perform(Step::Flow(5))?;
        }
        Ok(())
    }

    /// An order has its answer: what is answered as done is stored, what is answered as not stored is not.
    pub(super) fn answered(
        &mut self,
        id: OrderId,
        answer: &Result<OrderDone, OrderRefused>,
    ) -> Result<(), String> {
        let ordered = self.ordered.remove(&id).ok_or_else(|| format!("{id:?} is answered twice"))?;
        let begun = self.torn_down.is_some();
        match (ordered, answer) {
            (Ordered::TearDown, Ok(_)) => {
                self.must(begun, || "a teardown is answered as begun, and is not stored".to_owned())
            }
            (Ordered::TearDown, Err(OrderRefused::NotStored(_))) => {
                self.must(!begun, || "a teardown is answered as not stored, and is".to_owned())
            }
            (_, Err(OrderRefused::NotStored(_))) => {
                let (stored, known) = (&self.rollouts, self.core.rollouts.record());
                let same = stored.rollout == known.rollout || self.core.rollouts.is_storing();
                self.must(same, || format!("answered as not stored: {stored:?}, {known:?} is known"))
            }
            _ => Ok(()),
        }
    }

    /// A task is told to end for a rollout.
    pub(super) fn check_replacement(&mut self, task: &TaskId, agent: &AgentId) -> Result<(), String> {
        self.taken.insert(agent.clone(), (task.clone(), self.epoch));
        let waits = self.store.values().any(|record| record.lineage.beside.as_ref() == Some(task));
        let comes_up = |record: &LaunchRecord| {
            let lives = self.mesos.tasks.get(&record.task).is_some_and(|task| !task.state.is_terminal());
            record.lineage.beside.as_ref() == Some(task) && lives && !record.lineage.waited
        };
        let early = self.store.values().find(|record| comes_up(record));
        self.must(early.is_none(), || format!("{task} is told to end before {early:?} waits"))?;
        *self.seen.entry(if waits { "handover" } else { "end first" }).or_default() += 1;
        let nodes = self.core.nodes(self.now);
        let fresh = self.now.since(self.leads_since) < TAKEN_BEFORE;
        let was_away = self.decided.get(task).cloned().unwrap_or_default();
        let uncovered = |node: &&NodeState| {
            let Some((told, leader)) = self.taken.get(&node.agent) else { return false };
            if was_away.contains(&node.agent) {
                return false;
            }
            let known = *leader == self.epoch || fresh || node.task.is_some();
            match node.coverage {
                Coverage::Running => node.task.as_ref() == Some(told),
                Coverage::Launching | Coverage::BackingOff | Coverage::NotOffered => known,
                _ => false,
            }
        };
        let count = nodes.iter().filter(uncovered).count();
        self.must(count <= self.limit, || {
            format!("{count} nodes are uncovered by a rollout, {} may be: {:?}", self.limit, self.taken)
        })
    }

    /// An executor is decided to end for a rollout: only if there is room for that, whatever else is uncovered.
    pub(super) fn check_room(&mut self, change: &Change) -> Result<(), String> {
        let Change::Launch(record) = change else { return Ok(()) };
        if !record.lineage.replaced {
            self.decided.remove(&record.task);
            return Ok(());
        }
        if self.decided.contains_key(&record.task) {
            return Ok(());
        }
        let here = |node: &NodeState| {
            matches!(
                node.coverage,
                Coverage::Running | Coverage::Launching | Coverage::BackingOff | Coverage::NotOffered
            )
        };
        let away = self.core.nodes(self.now).into_iter().filter(|node| !here(node)).map(|node| node.agent);
        self.decided.insert(record.task.clone(), away.collect());
        let told = |node: &NodeState| {
            let launch = node.task.as_ref().and_then(|task| self.core.launches.get(task));
            launch.is_some_and(|launch| launch.record.lineage.replaced)
        };
        let uncovered = |node: &&NodeState| match node.coverage {
            Coverage::Launching | Coverage::BackingOff => true,
            Coverage::Running => told(node),
            _ => false,
        };
        let count = self.core.nodes(self.now).iter().filter(uncovered).count();
        let rollout = self.core.rollouts.newest();
        let limit = rollout.map_or(0, |rollout| rollout.max_unavailable.of(MACHINES));
        self.must(count <= limit, || {
            format!("{} is to end while {count} of {limit} are uncovered", record.task)
        })
    }

    /// Nodes that run the next executor are covered again.
    pub(super) fn forget_taken(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        for node in self.core.nodes(self.now) {
            let told = self.taken.get(&node.agent).map(|(task, _)| task);
            // One that could not be reached and is back may not have heard of it: that is decided anew.
            let ends = told == node.task.as_ref()
                && told
                    .and_then(|task| self.core.launches.get(task))
                    .is_some_and(|l| l.record.lineage.replaced);
            if node.coverage == Coverage::Running && told.is_some() && !ends {
                self.taken.remove(&node.agent);
            }
        }
    }

    /// While launches of a generation are held back, they are tried one at a time.
    pub(super) fn check_held(&mut self, launch: &LaunchRecord) -> Result<(), String> {
        let held = self.core.rollouts(self.now).held;
        let of = launch.lineage.generation.as_ref().map(|generation| generation.0.as_str());
        let Some(held) = held.filter(|held| Some(held.generation.as_str()) == of) else { return Ok(()) };
        *self.seen.entry("held").or_default() += 1;
        if launch.launched_at <= Moment(held.since_ms) {
            return Ok(());
        }
        let last = self.tried.replace((launch.task.clone(), launch.launched_at));
        // One that Mesos called over without a failure of its own says nothing: another one is tried at once.
        let last = last.filter(|(task, _)| !self.reported.contains(task));
        let pause = last.map_or(TRIED_AGAIN, |(_, at)| launch.launched_at.since(at));
        self.must(pause >= TRIED_AGAIN, || format!("tried again after {pause:?} while launches are held"))
    }

    /// The framework is to be removed: its executors have ended and its reservations are given up, as far as the core can
    /// know, or had their time.
    pub(super) fn check_teardown(&mut self) -> Result<(), String> {
        let Some(since) = self.torn_down else { return Err("TEARDOWN though it is not stored".to_owned()) };
        // Asked again, it is as it was when it was asked first.
        if self.asked_to_remove.replace(self.epoch) == Some(self.epoch) {
            return Ok(());
        }
        let taken = self.now.since(since);
        let lives = self.core.launches.iter().find(|(_, launch)| {
            matches!(launch.stage, Stage::Asked) && launch.record.phase != Phase::Unreachable
        });
        let ended = lives.is_none() || taken >= ENDED_WITHIN;
        self.must(ended, || format!("TEARDOWN after {taken:?}, and {:?} was not waited for", lives))?;
        let reserved = self.core.reserved_on();
        let given_up = reserved.is_empty() || taken >= GIVEN_UP_WITHIN;
        self.must(given_up, || format!("TEARDOWN after {taken:?}, and reserved on {reserved:?}"))
    }

    /// The framework is to be forgotten: it is removed, or had its time.
    pub(super) fn check_forgetting(&self, change: &Change) -> Result<(), String> {
        let Change::TearDown { framework: None, .. } = change else { return Ok(()) };
        let removed = self.client.0.as_ref().is_none_or(|id| self.mesos.is_removed(id));
        let taken = self.torn_down.map(|since| self.now.since(since));
        self.must(removed || taken >= Some(REMOVED_WITHIN), || {
            format!("forgotten after {taken:?}, and not removed")
        })
    }

    /// Whether an executor of ours may be told to end although Mesos did not call it over.
    pub(super) fn is_ended_on_purpose(&self, task: &TaskId) -> bool {
        // What was reported to a process that died before it stored that, the next one does not know.
        let lives = |task: &TaskId| self.store.contains_key(task) || !self.reported.contains(task);
        let known = self.store.get(task);
        let told = known.is_some_and(|record| record.lineage.replaced);
        let beside = known.and_then(|record| record.lineage.beside.as_ref()).is_some_and(&lives);
        let works = |record: &&LaunchRecord| {
            let state = self.mesos.tasks.get(&record.task).map(|task| task.state);
            record.lineage.beside.as_ref() == Some(task) && state == Some(TaskState::Running)
        };
        told || beside || self.torn_down.is_some() || self.store.values().any(|record| works(&record))
    }

    /// The framework is torn down when all is well: nothing is left.
    pub(in crate::core::model) fn tear_down(&mut self) -> Result<(), String> {
        if self.over {
            return Ok(());
        }
        self.perform(Step::Order(Ordered::TearDown))?;
        self.settle()?;
        let eligible = |agent: &AgentId| self.mesos.is_eligible(agent);
        let mut reserved = self.mesos.reserved.iter();
        // What nothing is offered of, or must not be given up, an operator has to give up.
        let offered = |role: &str| {
            let used = ROLES.iter().take(self.settings.roles).any(|of| *of == role);
            used && !self.mesos.denied.contains(role)
        };
        let kept = reserved.find(|((agent, role), count)| **count > 0 && eligible(agent) && offered(role));
        let left = self.mesos.tasks.keys().next();
        self.must(self.over && kept.is_none() && left.is_none(), || {
            format!("not torn down, or left: {kept:?} {left:?}")
        })
    }
}
