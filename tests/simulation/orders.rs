//! People who order rollouts and teardowns, and what must hold of them.
use crate::world::{Run, World, note};
use scheduler::core::effects::{LaunchRecord, Phase};
use scheduler::ids::{AgentId, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;
use web::order::{Limit, Order, Upgrade};
use web::view::Coverage;

/// So long a leader holds nodes without an executor for taken by the one before it.
const TAKEN_BEFORE: Duration = Duration::from_secs(60);

/// What became of orders.
pub(crate) struct Orders {
    /// How often the settings changed.
    settings: u64,
    pub(crate) leads_since: Duration,
    /// Under which master the framework was torn down.
    pub(crate) ended_under: u64,
    /// Agents whose executor was told to end for a rollout: which task, and under which leader.
    taken: BTreeMap<AgentId, (TaskId, Run)>,
}

impl Orders {
    pub(crate) fn new() -> Self {
        Self { settings: 0, leads_since: Duration::ZERO, ended_under: 0, taken: BTreeMap::new() }
    }
}

impl World {
    /// Somebody orders something of the leader, maybe after all schedulers were set otherwise.
    pub(crate) fn order_something(&mut self) {
        let Some(run) = self.elected else { return };
        if self.chance.hits(0.3) {
            self.orders.settings += 1;
            let socket = format!("unix:///run/docker-{}.sock", self.orders.settings % 3);
            self.settings.collecting.docker_host = socket;
            note!(self, "executors are set otherwise now");
            return self.crash(run.0);
        }
        let limit = Limit::Nodes(self.chance.number(1..4));
        let upgrade = Upgrade { max_unavailable: limit, ..Upgrade::default() };
        let often = Order::Upgrade(upgrade);
        let orders = [
            often.clone(),
            often.clone(),
            often,
            Order::Resume,
            Order::Resume,
            Order::Pause,
            Order::Abort,
            Order::RollBack,
        ];
        if let Some(order) = self.chance.pick(&orders) {
            self.give(run, order);
        }
    }

    pub(crate) fn order_teardown(&mut self) {
        let (Some(run), Some(framework)) = (self.elected, self.store.framework.clone()) else { return };
        self.give(run, Order::TearDown { framework: framework.0 });
    }

    fn give(&mut self, run: Run, order: Order) {
        let now = self.now;
        note!(self, "s{} is ordered {order:?}", run.0);
        let Some(office) = self.office(run) else { return };
        let moment = office.moment(now);
        office.scheduler.ordered(moment, order);
        self.after(run);
    }

    /// A task is told to end. If that is for a rollout, no more nodes may be uncovered by it than was ordered.
    pub(crate) fn check_replacement(&mut self, run: Run, task: &TaskId) -> Result<(), String> {
        let Some(record) = self.store.launches.get(task).filter(|record| record.lineage.replaced) else {
            return Ok(());
        };
        let agent = record.agent.clone();
        if !self.is_in_office(run) || self.store.torn_down.is_some() {
            return Ok(());
        }
        self.orders.taken.insert(agent, (task.clone(), run));
        let fresh = self.now - self.orders.leads_since < TAKEN_BEFORE;
        // One that could not be reached and is back may not have heard of it: that is decided anew.
        let launches = &self.store.launches;
        self.orders
            .taken
            .retain(|_, (told, _)| launches.get(told).is_none_or(|record| record.lineage.replaced));
        let (now, limit) = (self.now, self.store.limit);
        let Some(office) = self.office(run) else { return Ok(()) };
        let nodes = office.scheduler.nodes(office.moment(now));
        let taken = &mut self.orders.taken;
        let mut count = 0;
        for node in nodes {
            let Some((told, leader)) = taken.get(&node.agent) else { continue };
            let own = node.task.as_ref() == Some(told);
            match node.coverage {
                Coverage::Running if !own => drop(taken.remove(&node.agent)),
                Coverage::Running => count += 1,
                Coverage::Launching | Coverage::BackingOff | Coverage::NotOffered
                    if *leader == run || fresh || node.task.is_some() =>
                {
                    count += 1;
                }
                _ => {}
            }
        }
        if count > limit {
            return Err(format!(
                "{count} nodes are uncovered by a rollout, {limit} may be: {:?}",
                self.orders.taken
            ));
        }
        Ok(())
    }

    /// Whether what was launched may be told to end although Mesos did not call it over.
    pub(crate) fn is_ended_on_purpose(&self, task: &TaskId) -> bool {
        let known = self.store.launches.get(task);
        let told = known.is_some_and(|record| record.lineage.replaced);
        let before = known.and_then(|record| record.lineage.beside.as_ref());
        // What Mesos said is not always heard: as far as the scheduler knows the one before works on.
        let works_on =
            |task: &TaskId| self.store.launches.contains_key(task) || !self.called_over.contains(&task.0);
        let beside = before.is_some_and(works_on);
        let works = |record: &&LaunchRecord| {
            record.lineage.beside.as_ref() == Some(task) && record.phase == Phase::Running
        };
        told || beside
            || self.store.torn_down.is_some()
            || self.store.launches.values().any(|record| works(&record))
    }

    /// Nothing of the framework is left, but on machines that Mesos has lost.
    pub(crate) fn is_torn_down(&self) -> Result<(), String> {
        if let Some(record) = self.store.launches.values().next() {
            return Err(format!("torn down, and the store holds {record:?}"));
        }
        // A later master does not know what was removed: what agents that it did not reach run is an orphan that nobody can
        // end. The same holds of frameworks that were removed before.
        if self.orders.ended_under != self.master.generation {
            return Ok(());
        }
        let framework = self.store.tearing_down.as_ref().map(|id| &id.0);
        for (n, machine) in self.machines.iter().enumerate() {
            let id = machine.agent_id();
            let here = machine.executors.values().filter(|executor| Some(&executor.framework) == framework);
            let left = here.into_iter().find(|executor| Some(&executor.agent_id) == id.as_ref());
            if let Some(executor) = left {
                return Err(format!("torn down, and {} lives on agent {n}", executor.id));
            }
        }
        Ok(())
    }
}
