//! Replaces executors of older generations node by node, so that never more nodes are uncovered than may be.
//!
//! Invariants, held by the tests below `core/rollout/`:
//! - an executor is ended only while a rollout goes on, and only as long as there is room under `max_unavailable`;
//! - a node counts as done only once its new executor has run and been attached for the settling time;
//! - what was ordered is stored before it is answered and before it is acted upon: the next leader goes on with it.
//!
//! Without a rollout launches are of the generation that the leading scheduler's settings make, and executors of other
//! generations go on untouched. After a roll back launches stay with the generation of before until the next upgrade.
mod overlap;
mod plan;
mod stored;
#[cfg(test)]
mod tests;
mod view;

use super::breaker::{Breaker, are_few};
use super::effects::{Call, OrderId, Phase};
use super::generation::{Generation, Spec};
use super::{Core, Launch, NodeState, Stage};
use crate::ids::{AgentId, Moment, TaskId};
use overlap::Overlap;
use plan::next;
pub(super) use plan::{Count, How, Standing, plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
pub(super) use stored::{Frees, Ordered};
pub use stored::{Rollout, RolloutEnd, RolloutRecord};
use web::order::Way;
use web::view::Coverage;

/// What to do about canaries that cannot be replaced.
const NO_CANARY: &str = "no node that `--canary` names can be replaced now; bring one back and `logherd upgrade resume`, or \
                         `logherd upgrade abort` and order it with others";
/// How long an executor that was told to end may take beyond its grace before it is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(15);

/// So long a new leader takes a node without an executor for one that the leader before it has ended, if none is offered.
const TAKEN_BEFORE: Duration = Duration::from_secs(60);

/// Everything about generations, in memory.
#[derive(Debug)]
pub(super) struct Rollouts {
    record: RolloutRecord,
    /// What is in `record.known`, by generation.
    known: BTreeMap<Generation, Arc<Spec>>,
    /// The generation that the settings make.
    own: Generation,
    /// Whether a change of the record is on its way to the store.
    storing: bool,
    /// Whether the store may hold a change that counts as not stored.
    doubtful: bool,
    /// Orders that could not be stored, and why: they are answered when the store is known to hold none of them.
    refused: Vec<(OrderId, String)>,
    /// Not before then is a change tried again that nobody waits for.
    again_at: Moment,
    /// Tasks that are told to end for a rollout, and when they were; `None`: when that is stored.
    told: BTreeMap<TaskId, Option<Moment>>,
    /// Agents whose executor was ended for a rollout and that have no new one yet.
    taken: BTreeSet<AgentId>,
    /// Nodes whose next executor is to come up beside the old one.
    overlaps: BTreeMap<AgentId, Overlap>,
    /// When this leader's first rollout decision was due: what was ended before that, it has not seen.
    drives_since: Option<Moment>,
    pub(super) breaker: Breaker,
}

impl Rollouts {
    pub(super) fn new(own: Generation, settle: Duration) -> Self {
        Self {
            record: RolloutRecord::default(),
            known: BTreeMap::new(),
            own,
            storing: false,
            doubtful: false,
            refused: Vec::new(),
            again_at: Moment(0),
            told: BTreeMap::new(),
            taken: BTreeSet::new(),
            overlaps: BTreeMap::new(),
            drives_since: None,
            breaker: Breaker::new(settle),
        }
    }

    /// The generation that the settings make.
    pub(super) fn own(&self) -> &Generation {
        &self.own
    }

    pub(super) fn record(&self) -> &RolloutRecord {
        &self.record
    }

    /// It is not known whether this executor heard that it is to end.
    pub(super) fn not_told(&mut self, task: &TaskId) {
        self.told.remove(task);
    }

    /// The newest rollout, also when it has ended.
    pub(super) fn newest(&self) -> Option<&Rollout> {
        self.record.rollout.as_ref()
    }

    /// Whether a change is on its way to the store.
    pub(super) fn is_storing(&self) -> bool {
        self.storing
    }
}

impl Core {
    /// Goes on with what is persisted of generations and a rollout.
    #[must_use]
    pub fn going_on(mut self, record: RolloutRecord, now: Moment) -> Self {
        self.rollouts.breaker.go_on(record.held.as_ref(), now);
        self.rollouts.record = record;
        self.know_specs();
        self
    }

    /// What a launch is made of now, and its generation.
    pub(super) fn launches_now(&self) -> (Arc<Spec>, Generation) {
        let pinned = self.rollouts.record.rollout.as_ref();
        let pinned = pinned.filter(|r| r.rolls_back && r.ended != Some(RolloutEnd::Aborted));
        let spec = pinned.and_then(|rollout| Some((self.spec_of(&rollout.to)?, &rollout.to)));
        match spec.filter(|(spec, _)| spec.can_be_had_beside(&self.rules.spec)) {
            Some((spec, generation)) => (Arc::clone(spec), generation.clone()),
            None => (Arc::clone(&self.rules.spec), self.rollouts.own.clone()),
        }
    }

    /// What that generation is, if it is still known.
    pub(super) fn spec_of(&self, generation: &Generation) -> Option<&Arc<Spec>> {
        if *generation == self.rollouts.own {
            return Some(&self.rules.spec);
        }
        self.rollouts.known.get(generation)
    }

    /// The generation of an executor, if that is known.
    pub(super) fn generation_of(&self, task: &TaskId) -> Option<&Generation> {
        self.launches.get(task)?.record.lineage.generation.as_ref()
    }

    /// Time passed: remembers what is launched, sees how launches do, and replaces what is next.
    pub(super) fn drive_rollout(&mut self, now: Moment) {
        self.note_how_launches_do(now);
        self.rollouts.drives_since.get_or_insert(now);
        self.tell_again(now);
        self.end_predecessors(now);
        if !self.framework_stored || self.rollouts.storing || now < self.rollouts.again_at {
            return;
        }
        if !self.rollouts.known.contains_key(&self.rollouts.own) {
            return self.remember_spec();
        }
        if self.rollouts.breaker.kept() != self.rollouts.record.held {
            return self.remember_hold();
        }
        if self.rules.upgrade_by_itself {
            self.upgrade_by_itself(now);
            if self.rollouts.storing {
                return;
            }
        }
        let rollout = self.going_on_now(now);
        self.end_unwanted(now, rollout.as_ref().map(|rollout| &rollout.to));
        match rollout {
            None => self.rollouts.overlaps.clear(),
            Some(_) if !self.knows_all_nodes(now) => {}
            Some(rollout) if self.launches_are_held(&rollout) => self.try_beside(now, &rollout),
            Some(rollout) => self.roll_out(now, &rollout),
        }
    }

    /// Whether it is known which nodes there are, or was not to be found out: the leader before may have left one without an
    /// executor that nothing but the master's list tells of.
    fn knows_all_nodes(&self, now: Moment) -> bool {
        let tried = self.rollouts.drives_since.is_some_and(|since| now.since(since) >= TAKEN_BEFORE);
        tried || self.nodes.last_listing().is_some()
    }

    /// The rollout that replaces executors now.
    fn going_on_now(&self, now: Moment) -> Option<Rollout> {
        let rollout = self.rollouts.record.rollout.as_ref()?;
        let idle = match rollout.ended {
            Some(RolloutEnd::Aborted) => true,
            Some(RolloutEnd::Done) => self.nothing_is_left_for_now(now, &rollout.to),
            None => rollout.paused,
        };
        (!idle && self.launches_now().1 == rollout.to).then(|| rollout.clone())
    }

    /// Replaces what is next.
    fn roll_out(&mut self, now: Moment, rollout: &Rollout) {
        let standings = self.standings(now, &rollout.to);
        let overlapping = |agent: &AgentId| {
            standings.iter().any(|node| node.agent == *agent && matches!(node.how, How::Overlaps(_)))
        };
        self.rollouts.overlaps.retain(|agent, _| overlapping(agent));
        if self.canaries_have_proven(now, rollout, &standings) {
            return;
        }
        let canaries = rollout.canaries.as_ref().filter(|_| rollout.is_under_way());
        let mut ended = 0;
        for agent in next(&standings, canaries, rollout.max_unavailable) {
            ended += usize::from(self.begin_to_replace(now, &agent) != Way::Overlap);
        }
        self.hand_over(now, &standings, rollout.max_unavailable, ended);
        let count = Count::of(&standings);
        if rollout.is_under_way() && count.old + count.overlaps + count.unavailable == 0 {
            let text = format!("the rollout of generation {} is done on {} nodes", rollout.to, count.done);
            self.decide(now, None, text);
            self.change_rollout(|record| record.ended = Some(RolloutEnd::Done), None);
        }
    }

    /// Whether launches of what a rollout rolls out are held back.
    fn launches_are_held(&self, rollout: &Rollout) -> bool {
        self.rollouts.breaker.open().is_some_and(|open| open.generation == rollout.to)
    }

    /// Whether nothing that another generation runs on can be replaced now, after a rollout that is done.
    fn nothing_is_left_for_now(&self, now: Moment, to: &Generation) -> bool {
        let told = !self.rollouts.told.is_empty();
        let left = |node: &Standing| matches!(node.how, How::Old | How::Overlaps(_));
        !told && !self.standings_of_others(now, to).iter().any(left)
    }

    /// How nodes stand whose executor is of another generation.
    fn standings_of_others(&self, now: Moment, to: &Generation) -> Vec<Standing> {
        let others = self.launches.values().filter(|launch| {
            launch.record.lineage.generation.as_ref() != Some(to) && !matches!(launch.stage, Stage::Over)
        });
        let agents: BTreeSet<&AgentId> = others.map(|launch| &launch.record.agent).collect();
        let nodes = agents.into_iter().filter_map(|agent| self.nodes.state_of(agent, now));
        nodes.map(|node| self.standing(now, node, to)).collect()
    }

    /// How every node stands towards a generation, in the order of agents.
    pub(super) fn standings(&self, now: Moment, to: &Generation) -> Vec<Standing> {
        self.nodes(now).into_iter().map(|node| self.standing(now, node, to)).collect()
    }

    fn standing(&self, now: Moment, node: NodeState, to: &Generation) -> Standing {
        let launch = node.task.as_ref().and_then(|task| self.launches.get(task));
        let generation = launch.and_then(|launch| launch.record.lineage.generation.clone());
        let runs = launch.is_some_and(|launch| launch.record.phase == Phase::Running);
        let told = node.task.as_ref().is_some_and(|task| self.rollouts.told.contains_key(task));
        let how = if runs && node.coverage == Coverage::Running && !told {
            let well = launch.and_then(|launch| launch.well_since);
            let proven = well.is_some_and(|since| now.since(since) >= self.rules.settle);
            match self.nodes.withheld(&node.agent, now) {
                _ if generation.as_ref() == Some(to) => How::New { proven },
                Some(why) => How::Skipped(format!("nothing could be launched there: {why}")),
                None if node.successor.is_some() => How::Overlaps(node.reason),
                None if self.rollouts.overlaps.contains_key(&node.agent) => {
                    How::Overlaps("waiting for an offer with room for the next executor beside it".to_owned())
                }
                None => How::Old,
            }
        } else {
            let taken = told || self.may_be_taken(now, &node);
            match node.coverage {
                Coverage::Launching | Coverage::BackingOff | Coverage::Running => How::Uncovered(node.reason),
                Coverage::NotOffered if taken => How::Uncovered(node.reason),
                _ => How::Skipped(node.reason),
            }
        };
        Standing { agent: node.agent, host: node.host, generation, how }
    }

    /// Whether a node may wait for an executor because one was ended for a rollout, also by the leader before.
    fn may_be_taken(&self, now: Moment, node: &NodeState) -> bool {
        let news = self.rollouts.drives_since.is_none_or(|since| now.since(since) < TAKEN_BEFORE);
        self.rollouts.taken.contains(&node.agent) || (news && node.listed && node.task.is_none())
    }

    /// Since when launches run and are attached; a launch that was tried and runs for long enough frees the others.
    fn note_how_launches_do(&mut self, now: Moment) {
        for launch in self.launches.values_mut() {
            let well = launch.attached && launch.record.phase == Phase::Running;
            launch.well_since = if well { launch.well_since.or(Some(now)) } else { None };
        }
        let probe = self.rollouts.breaker.probe().and_then(|task| self.launches.get(task));
        let settle = self.rules.settle;
        // One that came up beside another one and waits has done all that it can.
        if probe
            .and_then(|probe| probe.running_since.or(probe.waits_since))
            .is_some_and(|since| now.since(since) >= settle)
        {
            self.rollouts.breaker.close();
            self.decide(now, None, "the launch that was tried has proven; launching goes on".to_owned());
            self.revive_soon(now);
        }
    }

    /// After canaries that have all proven the others follow, or a pause. Says whether that is being stored.
    fn canaries_have_proven(&mut self, now: Moment, rollout: &Rollout, standings: &[Standing]) -> bool {
        let Some(canaries) = &rollout.canaries else { return false };
        let count = Count::of(standings.iter().filter(|node| canaries.contains(&node.agent)));
        if count.all() == 0 {
            return self.choose_canaries_anew(now, rollout, standings);
        }
        if count.done == 0 || count.old + count.overlaps + count.unavailable > 0 {
            return false;
        }
        let pause = rollout.pause_after_canary;
        let what =
            if pause { "pausing as was ordered; `logherd upgrade resume` goes on" } else { "going on" };
        self.decide(
            now,
            None,
            format!("{} canaries of generation {} have proven; {what}", count.done, rollout.to),
        );
        self.change_rollout(|rollout| (rollout.canaries, rollout.paused) = (None, pause), None);
        true
    }

    /// No canary can be done any more: others that were named as well take their place, or a person has to say what next.
    fn choose_canaries_anew(&mut self, now: Moment, rollout: &Rollout, standings: &[Standing]) -> bool {
        let Some(canary) = &rollout.canary else { return false };
        let names = |canaries: &BTreeSet<AgentId>| {
            canaries.iter().map(|agent| agent.0.as_str()).collect::<Vec<_>>().join(", ")
        };
        match self.canaries(canary, standings) {
            Ok(canaries) => {
                let text = format!("no canary can be replaced any more; canaries now: {}", names(&canaries));
                self.decide(now, None, text);
                self.change_rollout(|rollout| rollout.canaries = Some(canaries), None);
            }
            Err(_) => {
                let text = format!("pausing the rollout of generation {}: {NO_CANARY}", rollout.to);
                self.decide(now, None, text);
                self.change_rollout(|rollout| rollout.paused = true, None);
            }
        }
        true
    }

    /// KILL may be lost; and one that heard it and does not end is shut down, which its agent sees to.
    fn tell_again(&mut self, now: Moment) {
        let patience = self.rules.spec.grace + TOLD_AGAIN;
        let told = self.rollouts.told.iter().filter_map(|(task, since)| Some((task.clone(), (*since)?)));
        let due: Vec<_> = told.filter(|(_, since)| now.since(*since) >= patience).collect();
        for (task, since) in due {
            let launch = self.launches.get(&task).filter(|launch| matches!(launch.stage, Stage::Asked));
            let Some(record) = launch.map(|launch| &launch.record) else {
                self.rollouts.told.remove(&task);
                continue;
            };
            if record.phase != Phase::Unreachable {
                let (agent, executor) = (record.agent.clone(), record.executor.clone());
                self.rollouts.told.insert(task.clone(), Some(now));
                self.call(match since {
                    Moment(0) => Call::Kill(task, agent),
                    _ => Call::Shutdown(executor, agent),
                });
            }
        }
    }

    /// A launch was decided.
    pub(super) fn launch_decided(&mut self, now: Moment, agent: &AgentId, task: &TaskId) {
        let generation = self.launches_now().1;
        self.rollouts.breaker.launched(now, agent, &generation, task);
    }

    /// An executor ended; says whether it was ended for a rollout, so that the next one need not wait.
    pub(super) fn was_replaced(&mut self, task: &TaskId) -> bool {
        self.rollouts.told.remove(task).is_some()
    }

    /// A launch failed: if many do, fewer follow.
    pub(super) fn launch_failed(&mut self, now: Moment, agent: &AgentId, task: &TaskId, words: &str) {
        let Some(generation) = self.generation_of(task).cloned() else { return };
        let launches = &self.launches;
        let running = || {
            let of = |launch: &&Launch| launch.record.lineage.generation.as_ref() == Some(&generation);
            let runs =
                |launch: &&Launch| launch.record.phase == Phase::Running && launch.record.task != *task;
            launches.values().filter(runs).filter(of).count()
        };
        if let Some(text) = self.rollouts.breaker.failed(now, (agent, task, &generation), words, running) {
            tracing::error!(%generation, words, "launches fail everywhere");
            self.decide(now, None, text);
        }
    }

    /// An executor runs: its node is not without one any more.
    pub(super) fn launch_runs(&mut self, agent: &AgentId) {
        self.rollouts.taken.remove(agent);
        self.rollouts.breaker.runs(agent);
    }

    /// What begins or goes on now is not judged by the few agents that fail anyway.
    pub(super) fn forgive_few(&mut self) -> bool {
        let failing = self.nodes.failing();
        if !are_few(failing.len(), self.nodes.len()) {
            return false;
        }
        self.rollouts.breaker.leave_out(failing);
        self.rollouts.breaker.close().is_some()
    }

    /// Every launch that waits may begin; gives how many had to wait after a failure.
    pub(super) fn free_launches(&mut self, now: Moment) -> usize {
        let held = self.forgive_few() || self.rollouts.breaker.close().is_some();
        let waited = self.nodes.end_backoffs(now);
        if held || waited > 0 {
            self.revive_soon(now);
        }
        waited
    }
}
