//! Replaces executors of older generations node by node, so that never more nodes are uncovered than may be.
//!
//! Invariants, held by the tests below `core/rollout/`:
//! - an executor is ended only while a rollout goes on, and only as long as there is room under `max_unavailable`;
//! - a node counts as done only once its new executor has run and been attached for the settling time;
//! - what was ordered is stored before it is answered and before it is acted upon: the next leader goes on with it.
//!
//! Without a rollout launches are of the generation that the leading scheduler's settings make, and executors of other
//! generations go on untouched. After a roll back launches stay with the generation of before until the next upgrade.
mod plan;
#[cfg(test)]
mod tests;
mod view;

use super::breaker::{Breaker, are_few};
use super::effects::{Call, Change, OrderId, Phase};
use super::generation::{Generation, Spec};
use super::{Core, Launch, NodeState, RETRY_SAVE, Stage, Then};
use crate::ids::{AgentId, Moment, TaskId};
use plan::next;
pub(super) use plan::{Count, How, Standing, plan};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use web::order::{Canary, Limit, OrderDone};
use web::view::Coverage;

/// What to do about canaries that cannot be replaced.
const NO_CANARY: &str = "no node that `--canary` names can be replaced now; bring one back and `logherd upgrade resume`, or \
                         `logherd upgrade abort` and order it with others";
/// How many generations are remembered, so that it can be gone back to them.
const KNOWN_MAX: usize = 8;
/// How long an executor that was told to end may take beyond its grace before it is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(15);

/// So long a new leader takes a node without an executor for one that the leader before it has ended, if none is offered.
const TAKEN_BEFORE: Duration = Duration::from_secs(60);

/// What is persisted about generations and the newest rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// How often it was changed: it never goes back.
    pub number: u64,
    /// What was launched lately, newest last.
    pub known: Vec<Spec>,
    /// The newest rollout, also when it has ended.
    pub rollout: Option<Rollout>,
}

/// A rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// What most executors were of before.
    pub from: Option<Generation>,
    /// What they will be of.
    pub to: Generation,
    /// Whether it goes back, so that launches stay with `to` whatever the settings make.
    pub rolls_back: bool,
    /// How many nodes may be uncovered at once.
    pub max_unavailable: Limit,
    /// How the nodes that go first were named.
    pub canary: Option<Canary>,
    /// Which ones those are, until they have proven.
    pub canaries: Option<BTreeSet<AgentId>>,
    /// Whether to pause then.
    pub pause_after_canary: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// How it ended, if it did.
    pub ended: Option<RolloutEnd>,
    /// When it was ordered.
    pub began_at: Moment,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutEnd {
    /// Every node that could be done is; those that come back later are done then.
    Done,
    /// It was aborted.
    Aborted,
}

impl Rollout {
    pub(super) fn is_under_way(&self) -> bool {
        self.ended.is_none()
    }
}

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
    /// Not before then is a change tried again that nobody waits for.
    again_at: Moment,
    /// Tasks that were told to end for a rollout, and when.
    told: BTreeMap<TaskId, Moment>,
    /// Agents whose executor was ended for a rollout and that have no new one yet.
    taken: BTreeSet<AgentId>,
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
            again_at: Moment(0),
            told: BTreeMap::new(),
            taken: BTreeSet::new(),
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
    pub fn going_on(mut self, record: RolloutRecord) -> Self {
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
        if !self.framework_stored || self.rollouts.storing || now < self.rollouts.again_at {
            return;
        }
        if !self.rollouts.known.contains_key(&self.rollouts.own) {
            return self.remember_spec();
        }
        if self.rules.upgrade_by_itself {
            self.upgrade_by_itself(now);
        }
        let Some(rollout) = self.rollouts.record.rollout.clone() else { return };
        let idle = match rollout.ended {
            Some(RolloutEnd::Aborted) => true,
            Some(RolloutEnd::Done) => self.nothing_is_left_for_now(now, &rollout.to),
            None => rollout.paused,
        };
        let (_, launched) = self.launches_now();
        if idle || launched != rollout.to || self.launches_are_held(&rollout) {
            return;
        }
        let standings = self.standings(now, &rollout.to);
        if self.canaries_have_proven(now, &rollout, &standings) {
            return;
        }
        let canaries = rollout.canaries.as_ref().filter(|_| rollout.is_under_way());
        for agent in next(&standings, canaries, rollout.max_unavailable) {
            self.replace(now, &agent);
        }
        self.tell_again(now);
        let count = Count::of(&standings);
        if rollout.is_under_way() && count.old == 0 && count.unavailable == 0 {
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
        !told && self.standings_of_others(now, to).iter().all(|node| node.how != How::Old)
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
        if probe.and_then(|probe| probe.running_since).is_some_and(|since| now.since(since) >= settle) {
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
        if count.done == 0 || count.old + count.unavailable > 0 {
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

    /// Ends the executor of an agent, so that a new one is launched there.
    fn replace(&mut self, now: Moment, agent: &AgentId) {
        let Some(task) = self.nodes.task_on(agent).filter(|_| self.connected) else { return };
        let executor = self.launches.get(&task).map(|launch| launch.record.executor.to_string());
        let (executor, to) = (executor.unwrap_or_default(), self.launches_now().1);
        self.rollouts.told.insert(task.clone(), now);
        self.rollouts.taken.insert(agent.clone());
        self.call(Call::Kill(task, agent.clone()));
        self.decide(now, Some(agent.clone()), format!("ending executor {executor}; generation {to} follows"));
    }

    /// KILL may be lost.
    fn tell_again(&mut self, now: Moment) {
        let patience = self.rules.spec.grace + TOLD_AGAIN;
        let due = self.rollouts.told.iter().filter(|(_, since)| now.since(**since) >= patience);
        let due: Vec<TaskId> = due.map(|(task, _)| task.clone()).collect();
        for task in due {
            let launch = self.launches.get(&task).filter(|launch| matches!(launch.stage, Stage::Asked));
            let Some(agent) = launch.map(|launch| launch.record.agent.clone()) else {
                self.rollouts.told.remove(&task);
                continue;
            };
            self.rollouts.told.insert(task.clone(), now);
            self.call(Call::Kill(task, agent));
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

    fn remember_spec(&mut self) {
        let used: BTreeSet<Generation> =
            self.launches.values().filter_map(|launch| launch.record.lineage.generation.clone()).collect();
        let mut record = self.rollouts.record.clone();
        let named = record.rollout.as_ref().map(|rollout| (rollout.from.clone(), rollout.to.clone()));
        let is_named =
            |of: &Generation| named.as_ref().is_some_and(|(from, to)| from.as_ref() == Some(of) || to == of);
        let mut seen = BTreeSet::from([self.rollouts.own.clone()]);
        record.known.retain(|spec| seen.insert(spec.generation()));
        while record.known.len() >= KNOWN_MAX {
            let spare = record.known.iter().position(|spec| {
                let generation = spec.generation();
                !used.contains(&generation) && !is_named(&generation)
            });
            record.known.remove(spare.unwrap_or(0));
        }
        record.known.push(self.rules.spec.as_ref().clone());
        self.store_rollouts(record, None);
    }

    /// Changes the newest rollout; who ordered it gets its answer once it is stored.
    pub(super) fn change_rollout(
        &mut self,
        change: impl FnOnce(&mut Rollout),
        answer: Option<(OrderId, String)>,
    ) {
        let mut record = self.rollouts.record.clone();
        if let Some(rollout) = &mut record.rollout {
            change(rollout);
        }
        self.store_rollouts(record, answer);
    }

    pub(super) fn store_rollouts(&mut self, mut record: RolloutRecord, answer: Option<(OrderId, String)>) {
        record.number += 1;
        let before = std::mem::replace(&mut self.rollouts.record, record.clone());
        self.rollouts.storing = true;
        self.know_specs();
        self.save(Change::Rollout(Box::new(record)), Then::Rollout(Box::new(before), answer));
    }

    /// The record is stored as it is here.
    pub(super) fn rollout_stored(&mut self, now: Moment, answer: Option<(OrderId, String)>) {
        (self.rollouts.storing, self.rollouts.doubtful) = (false, false);
        if let Some((id, text)) = answer {
            self.decide(now, None, text.clone());
            self.answer_order(id, Ok(OrderDone::Done(text)));
        }
    }

    /// The record could not be stored, as far as is known: it is as it was before, and is stored as that again, as the
    /// next scheduler would go on with what the store may hold all the same.
    pub(super) fn rollout_not_stored(
        &mut self,
        now: Moment,
        (before, answer): (RolloutRecord, Option<(OrderId, String)>),
        why: &str,
    ) {
        let number = self.rollouts.record.number;
        self.rollouts.record = RolloutRecord { number, ..before };
        (self.rollouts.storing, self.rollouts.doubtful) = (false, true);
        self.rollouts.again_at = now.after(RETRY_SAVE);
        self.know_specs();
        if let Some((id, _)) = answer {
            self.take_back_rollout();
            self.answer_order(id, Err(web::order::OrderRefused::NotStored(why.to_owned())));
        }
    }

    /// Stores the record as it is here where the store may hold another one.
    pub(super) fn take_back_rollout(&mut self) {
        if self.rollouts.doubtful && !self.rollouts.storing {
            self.store_rollouts(self.rollouts.record.clone(), None);
        }
    }

    /// Keeps what is known by generation.
    pub(super) fn know_specs(&mut self) {
        let known = self.rollouts.record.known.iter();
        self.rollouts.known = known.map(|spec| (spec.generation(), Arc::new(spec.clone()))).collect();
    }
}
