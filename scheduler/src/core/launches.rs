//! Decides how a launch goes on: intent, ACCEPT, asking about silence, who may attach, and its end.
use super::denials::Converting;
use super::effects::{Call, Change, LaunchRecord, Lineage, Phase, Ticket};
use super::nodes::Seat;
use super::resources::Taken;
use super::{Core, LAUNCH_TIMEOUT, Launch, NotAdmitted, RETRY_SAVE, Stage, Then};
use crate::ids::{AgentId, ExecutorId, Moment, OfferId, TaskId};
use proto::announcement::{self, Announced};
use rand::Rng;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use web::view::Cause;

/// The longest pause between two questions about a launch that stays silent.
const LAUNCH_ASK_MAX: Duration = Duration::from_secs(600);
/// How long what is left of an accepted offer need not be offered again: the node has its executor.
const REFUSE_REST: Duration = Duration::from_secs(3600);
/// The pause between two messages that tell an executor the new control address.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(10);
/// After so long without an executor that should know the address it is told it, again and again.
const STAYS_AWAY: Duration = Duration::from_secs(60);

/// Offers that a launch waits to accept.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) offers: Vec<OfferId>,
    taken: Taken,
    token: String,
}

impl Core {
    /// Takes up a launch of an earlier scheduler.
    pub(super) fn take_up(&mut self, record: LaunchRecord, now: Moment) {
        self.nodes.take_up(&record, now);
        self.hosts.took(&record);
        self.executors.insert(record.executor.clone(), record.task.clone());
        if record.lineage.replaced {
            self.was_told(&record.task, &record.agent);
        }
        let running_since = (record.phase == Phase::Running).then_some(now);
        let launch = Launch { running_since, stage: Stage::Asked, stored: true, ..Launch::new(record) };
        self.launches.insert(launch.record.task.clone(), launch);
    }

    /// Decides to launch on `agent` and has the intent stored; ACCEPT follows when it is. `beside`: the executor that
    /// works there meanwhile.
    pub(super) fn intend(
        &mut self,
        now: Moment,
        agent: &AgentId,
        (offers, taken, converting): (Vec<OfferId>, Taken, Converting),
        beside: Option<TaskId>,
    ) {
        let (task, executor) = self.fresh_ids(agent);
        let token = self.random_hex::<32>();
        let record = LaunchRecord {
            task: task.clone(),
            executor: executor.clone(),
            agent: agent.clone(),
            host: self.nodes.host_of(agent),
            token_hash: hash(&token),
            control: self.rules.control.clone(),
            phase: Phase::Intended,
            launched_at: now,
            lineage: Box::new(Lineage {
                generation: Some(self.launches_now().1),
                data: None,
                predecessor_data: self.data_on(agent),
                beside,
                ..Lineage::default()
            }),
        };
        self.launch_decided(now, agent, &task);
        self.nodes.launching(agent, &record, now);
        self.hosts.took(&record);
        let ticket = self.save(Change::Launch(record.clone()), Then::Accept(task.clone()));
        let stage = Stage::Storing(Some(Held { offers, taken, token }));
        let launch = Launch { stage, pending: Some(ticket), converting, ..Launch::new(record) };
        self.executors.insert(executor, task.clone());
        self.launches.insert(task, launch);
    }

    /// The intent is stored: launch, unless the offers went away meanwhile.
    pub(super) fn accept(&mut self, now: Moment, task: &TaskId, ticket: Ticket) {
        self.mark_stored(task, ticket);
        if self.is_tearing_down() {
            let text = "not launched: the framework is to be torn down";
            return self.give_up_intent(now, task, Cause::OfferWithdrawn, text);
        }
        let connected = self.connected;
        let Some(launch) = self.launches.get_mut(task) else { return };
        let Stage::Storing(held) = &mut launch.stage else { return };
        let Some(Held { offers, taken, token }) = held.take().filter(|_| connected) else {
            let text = "the offer was withdrawn before it could be used";
            self.not_launched(now, task, Cause::OfferWithdrawn, text);
            self.drop_launch(task, Vec::new());
            // Another offer of that node may have been declined for this one's sake.
            return self.revive_soon(now);
        };
        launch.stage = Stage::Asked;
        launch.record.phase = Phase::Launching;
        launch.ask_at = Some(now.after(launch.ask_pause));
        let record = launch.record.clone();
        // If nothing comes of the launch, all that was offered counts as refused.
        self.nodes.refused(&record.agent, now.after(REFUSE_REST));
        if let Converting::For(role) = &launch.converting {
            self.denials.trying(role, now);
        }
        let beside =
            if record.lineage.beside.is_some() { ", beside the one that is to be replaced" } else { "" };
        let text = format!("launching executor {} on {}{beside}", record.executor, record.host);
        let agent = record.agent.clone();
        let generation = record.lineage.generation.as_ref();
        let known = generation.and_then(|generation| self.spec_of(generation));
        let spec = Arc::clone(known.unwrap_or(&self.rules.spec));
        self.call(Call::Accept {
            offers,
            launch: record,
            spec,
            taken: Box::new(taken),
            token,
            refuse: REFUSE_REST,
        });
        self.decide(now, Some(agent), text);
    }

    /// Nothing is launched, and the offers go back.
    pub(super) fn give_up_intent(&mut self, now: Moment, task: &TaskId, cause: Cause, text: &str) {
        let Some(launch) = self.launches.get_mut(task) else { return };
        let Stage::Storing(held) = &mut launch.stage else { return };
        let offers = held.take().map(|held| held.offers);
        let agent = launch.record.agent.clone();
        if let Some(offers) = offers {
            self.call(Call::Decline { offers, refuse: RETRY_SAVE });
        }
        self.not_launched(now, task, cause, text);
        self.decide(now, Some(agent), text.to_owned());
        // The write may have happened all the same.
        self.drop_launch(task, Vec::new());
    }

    /// A launch comes to nothing; that is the node's state, unless another executor works there.
    fn not_launched(&mut self, now: Moment, task: &TaskId, cause: Cause, text: &str) {
        let Some(launch) = self.launches.get(task) else { return };
        let agent = &launch.record.agent;
        if self.nodes.seat(agent, task) != Seat::Successor {
            self.nodes.not_offered(agent, cause, text, now);
        }
    }

    /// Ends a launch: its slot is free, the store forgets it, then `updates` are acknowledged.
    pub(super) fn drop_launch(&mut self, task: &TaskId, updates: Vec<(AgentId, Vec<u8>)>) {
        self.leave_data(task);
        let Some(launch) = self.launches.get_mut(task) else { return };
        launch.stage = Stage::Over;
        launch.ask_at = None;
        self.hosts.freed(&launch.record);
        let (executor, agent) = (launch.record.executor.clone(), launch.record.agent.clone());
        self.executors.remove(&executor);
        self.nodes.free(&agent, task);
        self.rollouts.breaker.dropped(task);
        let ticket = self.save(Change::Ended(task.clone()), Then::Forgotten(task.clone(), updates));
        if let Some(launch) = self.launches.get_mut(task) {
            launch.pending = Some(ticket);
        }
    }

    /// Stores the record of a launch as it is now, then acknowledges `updates`.
    pub(super) fn save_launch(&mut self, task: &TaskId, updates: Vec<(AgentId, Vec<u8>)>) {
        let Some(record) = self.launches.get(task).map(|launch| launch.record.clone()) else { return };
        let ticket = self.save(Change::Launch(record), Then::Acknowledge(task.clone(), updates));
        if let Some(launch) = self.launches.get_mut(task) {
            launch.pending = Some(ticket);
            launch.stored = false;
        }
    }

    pub(super) fn mark_stored(&mut self, task: &TaskId, ticket: Ticket) {
        if let Some(launch) = self.launches.get_mut(task).filter(|launch| launch.pending == Some(ticket)) {
            launch.pending = None;
            launch.stored = true;
        }
    }

    /// Stores again what could not be stored and has no change on its way.
    pub(super) fn retry_launch_saves(&mut self) {
        let idle = self.launches.iter().filter(|(_, launch)| launch.pending.is_none());
        let (over, unstored): (Vec<_>, Vec<_>) = idle
            .filter(|(_, launch)| matches!(launch.stage, Stage::Over) || !launch.stored)
            .map(|(task, launch)| (task.clone(), matches!(launch.stage, Stage::Over)))
            .partition(|(_, over)| *over);
        for (task, _) in over {
            self.drop_launch(&task, Vec::new());
        }
        for (task, _) in unstored {
            self.save_launch(&task, Vec::new());
        }
    }

    /// Asks Mesos about launches that stay silent. They are launched again only on a definite answer.
    pub(super) fn ask_about_launches(&mut self, now: Moment) {
        let mut silent = Vec::new();
        for (task, launch) in &mut self.launches {
            if launch.ask_at.is_some_and(|at| at <= now) {
                launch.ask_pause = (launch.ask_pause * 2).min(LAUNCH_ASK_MAX);
                launch.ask_at = Some(now.after(launch.ask_pause));
                silent.push((task.clone(), launch.record.agent.clone()));
            }
        }
        if silent.is_empty() {
            return;
        }
        for (task, agent) in &silent {
            let text = self.silence_of(now, task);
            self.decide(now, Some(agent.clone()), text);
        }
        self.call_reconcile(silent);
    }

    /// What is strange about a launch that does not go on, for people.
    fn silence_of(&self, now: Moment, task: &TaskId) -> String {
        let starting = self.launches.get(task).filter(|launch| launch.record.phase == Phase::Starting);
        let Some(Launch { record, attached, .. }) = starting else {
            return format!("no word of {task} since its launch; asking Mesos");
        };
        let seconds = now.since(record.launched_at).as_secs();
        let attached = match attached {
            true => "is attached to this scheduler, and its pipelines are not up",
            false => "is not attached to this scheduler, from which its first assignment comes",
        };
        format!(
            "executor {} still starts, {seconds} s after its launch: it {attached}; asking Mesos",
            record.executor
        )
    }

    /// Checks that an executor is one of ours; gives its agent.
    pub fn admit(
        &self,
        framework: &str,
        executor: &ExecutorId,
        agent: &str,
        token: &str,
    ) -> Result<AgentId, NotAdmitted> {
        if self.framework.as_ref().is_some_and(|ours| ours.0 != framework) {
            return Err(NotAdmitted::OtherFramework(framework.to_owned()));
        }
        let launch = self.executors.get(executor).and_then(|task| self.launches.get(task));
        let launch = launch.ok_or_else(|| NotAdmitted::Unknown(executor.clone()))?;
        if !same(hash(token).as_bytes(), launch.record.token_hash.as_bytes())
            || launch.record.agent.0 != agent
        {
            return Err(NotAdmitted::WrongToken(executor.clone()));
        }
        Ok(launch.record.agent.clone())
    }

    /// An executor that was admitted is attached now, or no longer.
    pub fn attached(&mut self, executor: &ExecutorId, attached: bool) {
        let Some(task) = self.executors.get(executor).cloned() else { return };
        let Some(launch) = self.launches.get_mut(&task) else { return };
        launch.attached = attached;
        launch.announced_at = None;
        if attached && launch.record.control != self.rules.control {
            launch.record.control = self.rules.control.clone();
            self.save_launch(&task, Vec::new());
        }
    }

    /// An executor's positions and spools end with its sandbox. Said once: the settings are the same for all.
    pub fn keeps_data_in_sandbox(&mut self, now: Moment, agent: &AgentId) {
        if !std::mem::replace(&mut self.sandbox_told, true) {
            let text = "warning: positions and spools are kept in sandboxes, here first, where Mesos removes them some time after \
                 their executor; name a directory of the nodes with --executor-data-dir";
            self.decide(now, Some(agent.clone()), text.to_owned());
        }
    }

    /// How many more messages to executors may wait to be sent: with many calls waiting they are decided on later.
    pub fn room_for_messages(&mut self, room: usize) {
        self.room_for_messages = room;
    }

    /// Tells executors that know another control address the right one, until they attach; also those that only start: they
    /// run once they have an assignment, which comes from here. Those that should know it are told as well if they stay
    /// away: they may have followed a leader that could not store it any more. Who was told longest ago goes first.
    pub(super) fn announce_control(&mut self, now: Moment) {
        let mut due = Vec::new();
        for (task, launch) in &mut self.launches {
            let hears = matches!(launch.record.phase, Phase::Starting | Phase::Waiting | Phase::Running);
            if !hears || launch.attached {
                continue;
            }
            let should_know = launch.record.control == self.rules.control;
            // One that waits for its data attaches when it has them.
            let seldom = should_know || launch.record.phase == Phase::Waiting;
            let pause = if seldom { STAYS_AWAY } else { ANNOUNCE_PAUSE };
            if should_know && launch.announced_at.is_none() {
                launch.announced_at = Some(now);
            }
            if launch.announced_at.is_none_or(|at| now.since(at) >= pause) {
                due.push((launch.announced_at, task.clone()));
            }
        }
        due.sort();
        for (_, task) in due.into_iter().take(self.room_for_messages) {
            self.announce_control_to(now, &task);
        }
    }

    fn announce_control_to(&mut self, now: Moment, task: &TaskId) {
        let Some(launch) = self.launches.get_mut(task) else { return };
        launch.announced_at = Some(now);
        let (agent, executor) = (launch.record.agent.clone(), launch.record.executor.clone());
        let what = Announced { control: self.rules.control.clone(), epoch: self.rules.epoch };
        let data = announcement::write(&what, &launch.record.token_hash, &executor.0);
        self.call(Call::Message { agent, executor, data });
    }

    fn fresh_ids(&mut self, agent: &AgentId) -> (TaskId, ExecutorId) {
        let n = self.nodes.count_launch(agent);
        let tail: String =
            agent.0.rsplit('-').next().unwrap_or("").chars().filter(char::is_ascii_alphanumeric).collect();
        let short = if tail.is_empty() { "agent" } else { tail.as_str() };
        let random = self.random_hex::<4>();
        (TaskId(format!("logherd.{short}.{n}.{random}")), ExecutorId(format!("logherd-{short}-{n}-{random}")))
    }

    fn random_hex<const N: usize>(&mut self) -> String {
        let bytes: [u8; N] = self.rng.random();
        hex(&bytes)
    }
}

impl Launch {
    fn new(record: LaunchRecord) -> Self {
        Self {
            record,
            stage: Stage::Asked,
            pending: None,
            stored: false,
            ask_at: None,
            ask_pause: LAUNCH_TIMEOUT,
            running_since: None,
            waits_since: None,
            announced_at: None,
            attached: false,
            kill_at: None,
            killed_since: None,
            well_since: None,
            converting: Converting::Nothing,
        }
    }
}

/// Each launch after the one beside which it was decided, whatever their clocks said.
pub(super) fn in_line(launches: Vec<LaunchRecord>) -> Vec<LaunchRecord> {
    let known: BTreeSet<TaskId> = launches.iter().map(|record| record.task.clone()).collect();
    let (mut later, mut line, mut told) = (launches, Vec::new(), BTreeSet::new());
    while !later.is_empty() {
        let waits = |record: &LaunchRecord| {
            record.lineage.beside.as_ref().is_some_and(|task| known.contains(task) && !told.contains(task))
        };
        let (held, mut now): (Vec<_>, Vec<_>) = later.into_iter().partition(waits);
        // Only what was tampered with waits for itself.
        later = if now.is_empty() {
            now = held;
            Vec::new()
        } else {
            held
        };
        told.extend(now.iter().map(|record| record.task.clone()));
        line.extend(now);
    }
    line
}

fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without stopping at the first difference, so that the time taken tells nothing about it.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (x, y)| seen | (x ^ y)) == 0
}
