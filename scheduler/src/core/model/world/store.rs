//! Plays the store: what is on its way to it arrives, fails, or both.
use super::super::Write;
use super::super::mesos::MACHINES;
use super::{Held, World};
use crate::core::effects::{Change, LaunchRecord};
use crate::core::rollout::RolloutRecord;

impl World {
    pub(super) fn store_one(&mut self, write: Write) {
        let Some((ticket, change)) = self.to_store.pop_front() else { return };
        let works = matches!(write, Write::Works | Write::WorksTwice);
        if let Change::Ended(task) | Change::Launch(LaunchRecord { task, .. }) = &change
            && !works
        {
            self.release(|released| released == task);
        }
        if write != Write::Fails {
            self.write(change);
        }
        self.core.saved(self.now, ticket, if works { Ok(()) } else { Err("the disk is full".into()) });
        if write == Write::WorksTwice {
            self.core.saved(self.now, ticket, Err("late".into()));
        }
    }

    pub(super) fn write(&mut self, change: Change) {
        match change {
            Change::Framework(id) => (self.framework, self.torn_down) = (id, None),
            Change::TearDown { framework, since } => {
                (self.framework, self.torn_down) = (framework, Some(since));
            }
            Change::Launch(record) => {
                self.history.entry(record.task.clone()).or_default().push(Held::Phase(record.phase));
                self.store.insert(record.task.clone(), record);
            }
            // Where data are decides nothing that is judged here.
            Change::Authority(_) | Change::Left(_) | Change::Forgotten(_) => {}
            Change::Rollout(record) => {
                let limit = |record: &RolloutRecord| {
                    record.rollout.as_ref().map_or(0, |rollout| rollout.max_unavailable.of(MACHINES))
                };
                // What was decided just before is stored just after.
                self.limit = limit(&record).max(limit(&self.rollouts));
                self.rollouts = *record;
            }
            Change::Ended(task) => {
                self.history.entry(task.clone()).or_default().push(Held::Nothing);
                self.store.remove(&task);
            }
        }
    }
}
