//! The one state store of all schedulers: writes take a while, fail, happen all the same, and are fenced by epochs.
use crate::faults::Fault;
use crate::world::{Event, Run, World, note};
use scheduler::core::effects::{Change, LaunchRecord, LeftData, Phase, Ticket};
use scheduler::core::rollout::RolloutRecord;
use scheduler::ids::{AgentId, FrameworkId, Moment, TaskId};
use std::collections::BTreeMap;

/// What is stored.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Raised by each leader that takes office; a write of an earlier one changes nothing.
    pub(crate) epoch: u64,
    pub(crate) framework: Option<FrameworkId>,
    /// Since when it is torn down; without a framework: it is.
    pub(crate) torn_down: Option<Moment>,
    /// Which framework that was or is.
    pub(crate) tearing_down: Option<FrameworkId>,
    pub(crate) rollouts: RolloutRecord,
    /// How many nodes a rollout may leave uncovered.
    pub(crate) limit: usize,
    /// Beside which task each executor was ever stored to be launched.
    pub(crate) beside: BTreeMap<String, TaskId>,
    pub(crate) launches: BTreeMap<TaskId, LaunchRecord>,
    /// What executors left on agents.
    pub(crate) left: BTreeMap<AgentId, LeftData>,
    /// Every phase in which each launch was ever stored.
    pub(crate) phases: BTreeMap<TaskId, Vec<Phase>>,
}

/// A batch of changes on its way.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) run: Run,
    epoch: u64,
    changes: Vec<(Ticket, Change)>,
    fate: Fate,
    result: Option<Result<(), &'static str>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Works,
    Fails,
    /// So many changes are made, then it fails.
    Half(usize),
    /// It is done, and reported as failed.
    Unknown,
}

const DEPOSED: &str = "another scheduler leads";

/// More nodes than there are machines.
const LIMIT_MAX: usize = 10;

impl Store {
    /// Whether the framework is torn down, and that is all there is to know.
    pub(crate) fn is_over(&self) -> bool {
        self.framework.is_none() && self.torn_down.is_some()
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Framework(id) => (self.framework, self.torn_down) = (id.clone(), None),
            Change::TearDown { framework, since } => {
                self.tearing_down = framework.clone().or(self.tearing_down.take());
                (self.framework, self.torn_down) = (framework.clone(), Some(*since));
            }
            Change::Launch(record) => {
                if let Some(task) = &record.lineage.beside {
                    self.beside.insert(record.executor.0.clone(), task.clone());
                }
                self.phases.entry(record.task.clone()).or_default().push(record.phase);
                self.launches.insert(record.task.clone(), record.clone());
            }
            Change::Ended(task) => drop(self.launches.remove(task)),
            // Simulated executors talk no TLS.
            Change::Authority(_) => {}
            Change::Left(left) => drop(self.left.insert(left.agent.clone(), left.clone())),
            Change::Forgotten(agent) => drop(self.left.remove(agent)),
            Change::Rollout(record) => {
                let limit = |record: &RolloutRecord| {
                    record.rollout.as_ref().map_or(0, |rollout| rollout.max_unavailable.of(LIMIT_MAX))
                };
                // What was decided just before is stored just after.
                self.limit = limit(record).max(limit(&self.rollouts));
                self.rollouts = RolloutRecord::clone(record);
            }
        }
    }
}

impl World {
    /// Begins the next write of a scheduler, which awaits one before the next one.
    pub(crate) fn pump_saves(&mut self, run: Run) {
        let Some(office) = self.office(run) else { return };
        if office.writing || office.saves.is_empty() {
            return;
        }
        office.writing = true;
        let count = office.saves.len().min(512);
        let (epoch, changes): (u64, Vec<_>) = (office.epoch, office.saves.drain(..count).collect());
        let fate = if self.strikes(Fault::SaveFails, 0.2) {
            Fate::Fails
        } else if self.strikes(Fault::SaveHalf, 0.2) {
            Fate::Half(self.chance.number(0..changes.len() + 1))
        } else if self.strikes(Fault::SaveReportedFailed, 0.2) {
            Fate::Unknown
        } else {
            Fate::Works
        };
        let slow = self.strikes(Fault::SlowSaves, 0.2);
        let way = if slow { self.chance.seconds(1..40) } else { self.delay() };
        let id = self.id();
        let (applies, back) = (self.now + way, self.delay());
        self.queue.add(applies, Event::WriteApplies(id));
        self.queue.add(applies + back, Event::WriteDone(id));
        self.writes.insert(id, Write { run, epoch, changes, fate, result: None });
    }

    /// A write reaches the store, whether who sent it lives or not.
    pub(crate) fn write_applies(&mut self, id: u64) {
        let Some(write) = self.writes.get_mut(&id) else { return };
        let (count, result) = match write.fate {
            _ if write.epoch < self.store.epoch => (0, Err(DEPOSED)),
            Fate::Works => (write.changes.len(), Ok(())),
            Fate::Fails => (0, Err("the disk is full")),
            Fate::Half(count) => (count, Err("the connection was lost half-way")),
            Fate::Unknown => (write.changes.len(), Err("nobody knows whether it happened")),
        };
        for (_, change) in write.changes.iter().take(count) {
            self.store.apply(change);
        }
        write.result = Some(result);
        let (run, what) = (write.run, format!("{:?}", names(&write.changes)));
        note!(self, "store: {count} of {what} of s{}: {result:?}", run.0);
    }

    /// A scheduler hears what became of its write.
    pub(crate) fn write_done(&mut self, id: u64) {
        let Some(write) = self.writes.remove(&id) else { return };
        let Some(result) = write.result else { return };
        let now = self.now;
        let Some(office) = self.office(write.run) else { return };
        office.writing = false;
        let moment = office.moment(now);
        for (ticket, change) in write.changes {
            if result.is_err() {
                office.ledger.not_stored(&change);
            }
            office.scheduler.saved(moment, ticket, result.map_err(str::to_owned));
        }
        self.after(write.run);
        if result == Err(DEPOSED) {
            self.on_deposed(write.run, "its write was refused");
        }
    }

    /// A scheduler dies: what it has under way may happen or not.
    pub(crate) fn cut_writes_short(&mut self, run: Run) {
        let under_way: Vec<u64> = self
            .writes
            .iter()
            .filter(|(_, w)| w.run == run && w.result.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in under_way {
            if self.chance.hits(0.5) {
                self.writes.remove(&id);
            } else if self.plan.schedulers == 1 {
                // A directory is locked: nothing happens to it after its owner has gone.
                self.write_applies(id);
                self.writes.remove(&id);
            }
        }
    }
}

fn names(changes: &[(Ticket, Change)]) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Framework(Some(id)) => format!("framework {id}"),
        Change::Framework(None) => "no framework".to_owned(),
        Change::TearDown { framework, .. } => format!("teardown of {framework:?}"),
        Change::Launch(record) => format!("{} {:?}", record.task, record.phase),
        Change::Ended(task) => format!("{task} ended"),
        Change::Left(left) => format!("{} keeps {}", left.agent, left.data),
        Change::Forgotten(agent) => format!("{agent} keeps nothing"),
        Change::Authority(fingerprint) => format!("authority {fingerprint}"),
        Change::Rollout(record) => format!("rollout {}", record.number),
    };
    changes.iter().map(|(_, change)| name(change)).collect()
}
