//! Lets a new executor come up beside the one that it replaces: it fetches, starts, and waits for the data; only then the
//! old one is told to end.
//!
//! - A second executor is launched only beside one that a rollout is to replace now, and its intent says beside which.
//! - Nothing of it is in the way of the old one: that works on until the new one waits and there is room under
//!   `max_unavailable`, or for ever if no rollout wants the new one any more.
//! - Where no offer has room for both within [`crate::core::Rules::overlap`], the old one ends first.
use super::Rollout;
use super::plan::{Count, How, Standing, next};
use crate::core::cluster::Update;
use crate::core::effects::{Call, Change, Phase};
use crate::core::generation::{Generation, Program, Spec};
use crate::core::nodes::Seat;
use crate::core::{Core, Launch, Stage, Then};
use crate::ids::{AgentId, Moment, TaskId};
use std::collections::BTreeSet;
use web::order::{Limit, Way};

/// A node that waits for an offer with room for a second executor.
#[derive(Debug)]
pub(super) struct Overlap {
    /// Since when it waits.
    since: Moment,
    /// What the last offer lacked.
    short: String,
}

/// What is next where executors overlap.
enum Next {
    /// Nothing yet.
    Wait,
    /// The old one ends: the new one waits.
    HandOver,
    /// The old one ends, though there is no new one, and why.
    EndFirst(String),
}

impl Core {
    /// The executor of an agent beside which another one is to be launched now.
    pub(in crate::core) fn to_be_succeeded(&self, agent: &AgentId) -> Option<TaskId> {
        self.rollouts.overlaps.get(agent)?;
        let tasks = self.nodes.tasks_on(agent);
        let [task] = tasks.as_slice() else { return None };
        let next = self.launches_now().1;
        let works = |launch: &&Launch| {
            matches!(launch.stage, Stage::Asked)
                && launch.record.phase == Phase::Running
                && !launch.record.lineage.replaced
                // The one that was launched for it may have taken over since the rollout was looked at.
                && launch.record.lineage.generation.as_ref() != Some(&next)
        };
        self.launches.get(task).filter(works).map(|_| task.clone())
    }

    /// An offer has no room for a second executor.
    pub(in crate::core) fn no_room_beside(&mut self, now: Moment, agent: &AgentId, short: &str) {
        let Some(overlap) = self.rollouts.overlaps.get_mut(agent).filter(|overlap| overlap.short != short)
        else {
            return;
        };
        short.clone_into(&mut overlap.short);
        self.decide(now, Some(agent.clone()), format!("no room for a second executor yet: {short}"));
    }

    /// The nodes that wait for an offer with room for a second executor.
    pub(in crate::core) fn wait_for_room(&self) -> BTreeSet<AgentId> {
        let waits = |agent: &&AgentId| self.to_be_succeeded(agent).is_some();
        self.rollouts.overlaps.keys().filter(waits).cloned().collect()
    }

    /// An executor works now: if it came up beside another one, the node is its own.
    pub(in crate::core) fn takes_over(&mut self, now: Moment, agent: &AgentId, task: &TaskId) {
        if self.nodes.seat(agent, task) == Seat::Successor {
            self.nodes.take_over(agent, now);
        }
    }

    /// The old one ended: the one beside it takes over.
    pub(in crate::core) fn predecessor_ended(
        &mut self,
        now: Moment,
        update: &Update,
        updates: Vec<(AgentId, Vec<u8>)>,
    ) {
        let Some(launch) = self.launches.get(&update.task) else { return };
        let (agent, executor) = (launch.record.agent.clone(), launch.record.executor.clone());
        if !self.was_replaced(&update.task) {
            self.note_failure(now, update);
        }
        self.rollouts.taken.insert(agent.clone());
        let text = format!("executor {executor} ended: {}; the one beside it takes over", update.words());
        self.decide(now, Some(agent), text);
        self.drop_launch(&update.task, updates);
    }

    /// The new one ended before it took over: the old one works on.
    pub(in crate::core) fn successor_ended(
        &mut self,
        now: Moment,
        update: &Update,
        updates: Vec<(AgentId, Vec<u8>)>,
    ) {
        let Some(launch) = self.launches.get(&update.task) else { return };
        let (agent, executor) = (launch.record.agent.clone(), launch.record.executor.clone());
        let pause = self.note_end(now, update);
        self.note_failure(now, update);
        let text = format!(
            "executor {executor} ended before it took over: {}; the one before it works on, the next launch waits {} ms",
            update.words(),
            pause.as_millis()
        );
        self.decide(now, Some(agent.clone()), text);
        self.drop_launch(&update.task, updates);
        self.waits_for_room_again(&agent, now.after(pause));
        // An offer is needed for the next one, and shows whether this one is really gone.
        self.revive_soon(now.after(pause));
    }

    /// The next executor beside the one that works there is launched then at the earliest.
    pub(in crate::core) fn waits_for_room_again(&mut self, agent: &AgentId, from: Moment) {
        if let Some(overlap) = self.rollouts.overlaps.get_mut(agent) {
            overlap.since = from;
        }
    }

    /// Which way an executor would be replaced by one that is made of `next`.
    pub(in crate::core) fn way_of(&self, agent: &AgentId, next: &Spec) -> Way {
        match self.against_overlap(agent, next) {
            Some(why) => Way::EndFirst(why),
            None => Way::Overlap,
        }
    }

    /// Why the next executor of an agent cannot come up beside the one that runs there.
    fn against_overlap(&self, agent: &AgentId, next: &Spec) -> Option<String> {
        if self.rules.overlap.is_zero() {
            return Some("--rollout-overlap is 0".to_owned());
        }
        let launch = self.nodes.task_on(agent).and_then(|task| self.launches.get(&task))?;
        let lineage = &launch.record.lineage;
        let before = lineage.generation.as_ref().and_then(|generation| self.spec_of(generation));
        let dir = next.data_dir();
        let Some(data) = self.data_of(launch) else {
            return Some("it is not known where its executor keeps its data".to_owned());
        };
        if dir != Some(data) {
            let in_image = |spec: &Spec| matches!(spec.program, Program::InImage { .. });
            if in_image(next) || before.is_none_or(|spec| in_image(spec)) {
                let why = "an executor in an image cannot see when another one lets go of its data; set --executor-data-dir";
                return Some(why.to_owned());
            }
            if next.user != "root" && before.is_some_and(|spec| spec.user != next.user) {
                return Some(format!("user {} may not see the data of the executor before", next.user));
            }
        }
        self.nodes.no_room_beside(agent, &next.resources, &self.rules.needs.task)
    }

    /// An executor is to be replaced: its successor comes up beside it, or it ends first.
    pub(super) fn begin_to_replace(&mut self, now: Moment, agent: &AgentId) -> Way {
        let way = self.way_of(agent, &self.launches_now().0);
        match &way {
            Way::EndFirst(why) => self.replace(now, agent, why),
            Way::Overlap => {
                self.rollouts.overlaps.insert(agent.clone(), Overlap { since: now, short: String::new() });
                let patience = self.rules.overlap.as_secs();
                let text = format!(
                    "its executor is to be replaced: waiting up to {patience} s for an offer with room for the next one beside it"
                );
                self.decide(now, Some(agent.clone()), text);
                self.revive_soon(now);
            }
        }
        way
    }

    /// Launches are held back, so nothing ends. If no node waits for a launch that could be tried, one is tried beside an
    /// executor that works; that nothing is launched meanwhile says nothing about room.
    pub(super) fn try_beside(&mut self, now: Moment, rollout: &Rollout) {
        self.rollouts.overlaps.values_mut().for_each(|overlap| overlap.since = overlap.since.max(now));
        if !self.wait_for_room().is_empty() {
            return;
        }
        let standings = self.standings(now, &rollout.to);
        let canaries = rollout.canaries.as_ref().filter(|_| rollout.is_under_way());
        let candidates = next(&standings, canaries, rollout.max_unavailable);
        let (spec, _) = self.launches_now();
        let found = candidates.into_iter().find(|agent| self.way_of(agent, &spec) == Way::Overlap);
        if let Some(agent) = found.filter(|_| Count::of(&standings).unavailable == 0) {
            self.begin_to_replace(now, &agent);
        }
    }

    /// Goes on where executors overlap. `ended`: how many were ended just now.
    pub(super) fn hand_over(&mut self, now: Moment, standings: &[Standing], limit: Limit, ended: usize) {
        let count = Count::of(standings);
        let mut room = limit.of(count.all()).saturating_sub(count.unavailable + ended);
        for node in standings.iter().filter(|node| matches!(node.how, How::Overlaps(_))) {
            let why = match self.next_of(now, &node.agent) {
                Next::Wait => continue,
                Next::HandOver => "the next one waits beside it".to_owned(),
                Next::EndFirst(why) => why,
            };
            if room > 0 {
                room -= 1;
                self.replace(now, &node.agent, &why);
            }
        }
    }

    fn next_of(&self, now: Moment, agent: &AgentId) -> Next {
        let successor = self.nodes.successor_on(agent).and_then(|task| self.launches.get(&task));
        match (successor, self.rollouts.overlaps.get(agent)) {
            (Some(launch), _) if launch.record.phase == Phase::Waiting => Next::HandOver,
            (None, Some(overlap)) if now.since(overlap.since) >= self.rules.overlap => {
                let patience = self.rules.overlap.as_secs();
                Next::EndFirst(match overlap.short.as_str() {
                    "" => format!("nothing was offered in {patience} s for a second one beside it"),
                    short => format!("there was no room for a second one beside it in {patience} s: {short}"),
                })
            }
            _ => Next::Wait,
        }
    }

    /// Ends executors that came up beside others and that no rollout wants there any more.
    pub(super) fn end_unwanted(&mut self, now: Moment, to: Option<&Generation>) {
        for (_, old, new) in self.nodes.successions() {
            let (Some(before), Some(after)) = (self.launches.get(&old), self.launches.get(&new)) else {
                continue;
            };
            let works = before.record.phase == Phase::Running && !before.record.lineage.replaced;
            let can_end = after.record.phase != Phase::Unreachable;
            let wanted = to.is_some_and(|to| {
                after.record.lineage.generation.as_ref() == Some(to)
                    && before.record.lineage.generation.as_ref() != Some(to)
            });
            if works && can_end && !wanted {
                self.end_launch(now, &new, "it is not to take over any more");
            }
        }
    }

    /// Ends executors whose successor works already: they have let go of their data, or never had them.
    pub(super) fn end_predecessors(&mut self, now: Moment) {
        for (worker, old) in self.nodes.taken_over() {
            let works = self.launches.get(&worker).is_some_and(|launch| {
                launch.record.phase == Phase::Running && launch.record.lineage.beside.as_ref() == Some(&old)
            });
            let lives = self.launches.get(&old).is_some_and(|old| old.record.phase != Phase::Unreachable);
            if works && lives && !self.rollouts.told.contains_key(&old) {
                self.end_launch(now, &old, "its successor works");
            }
        }
    }

    /// Has it stored that the executor of an agent is told to end; it is told when that is done.
    pub(super) fn replace(&mut self, now: Moment, agent: &AgentId, why: &str) {
        let Some(task) = self.nodes.task_on(agent).filter(|_| self.connected) else { return };
        let Some(launch) = self.launches.get_mut(&task) else { return };
        if !matches!(launch.stage, Stage::Asked) || launch.record.lineage.replaced {
            return;
        }
        launch.record.lineage.replaced = true;
        let record = launch.record.clone();
        let (executor, to) = (record.executor.clone(), self.launches_now().1);
        self.rollouts.told.insert(task.clone(), None);
        self.rollouts.taken.insert(agent.clone());
        let ticket = self.save(Change::Launch(record), Then::Replace(task.clone()));
        if let Some(launch) = self.launches.get_mut(&task) {
            (launch.pending, launch.stored) = (Some(ticket), false);
        }
        let text = format!("ending executor {executor}, as generation {to} follows; {why}");
        self.decide(now, Some(agent.clone()), text);
    }

    /// It is stored that an executor is told to end.
    pub(in crate::core) fn replacement_stored(&mut self, now: Moment, task: &TaskId) {
        let launch = self.launches.get(task).filter(|launch| matches!(launch.stage, Stage::Asked));
        let Some(record) = launch.map(|launch| &launch.record) else { return };
        let (agent, reached) = (record.agent.clone(), self.connected && record.phase != Phase::Unreachable);
        let Some(told) = self.rollouts.told.get_mut(task) else { return };
        // It is told when it can be reached again.
        *told = Some(if reached { now } else { Moment(0) });
        if reached {
            self.call(Call::Kill(task.clone(), agent));
        }
    }

    /// It could not be stored, as far as is known: the executor works on.
    pub(in crate::core) fn replacement_not_stored(&mut self, task: &TaskId) {
        let Some(launch) = self.launches.get_mut(task).filter(|launch| matches!(launch.stage, Stage::Asked))
        else {
            return;
        };
        launch.record.lineage.replaced = false;
        self.rollouts.taken.remove(&launch.record.agent);
        self.rollouts.told.remove(task);
        self.save_launch(task, Vec::new());
    }

    /// An earlier leader told this executor to end.
    pub(in crate::core) fn was_told(&mut self, task: &TaskId, agent: &AgentId) {
        self.rollouts.told.insert(task.clone(), Some(Moment(0)));
        self.rollouts.taken.insert(agent.clone());
    }
}
