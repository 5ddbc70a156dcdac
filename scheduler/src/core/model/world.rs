//! Stands between the core and the model of Mesos: carries events, calls and changes, and lets them go wrong.
#[cfg(test)]
mod laws;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod settle;
#[cfg(test)]
mod store;

use super::super::effects::{Call, Change, Effect, LaunchRecord, Phase, Ticket};
use super::super::{Core, Rules, tests};
use super::mesos::{Event, Mesos, ROLES};
use super::{Ordered, Settings, Step, Write};
use crate::core::OrderId;
use crate::core::cluster::{Leftover, TaskState, Update};
use crate::core::rollout::RolloutRecord;
use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment, OfferId, TaskId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What the store has held of a launch at some time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Phase(Phase),
    Nothing,
}

/// How often an update was received: so often it has to be acknowledged, and so often it may be.
#[derive(Debug, Default)]
struct Receipt {
    state: Option<TaskState>,
    owed: usize,
    allowed: usize,
}

pub(super) struct World {
    now: Moment,
    core: Core,
    mesos: Mesos,
    /// Whom the client of the masters takes itself for, and whether it waits to be told to register anew.
    client: (Option<FrameworkId>, bool),
    connected: bool,
    to_master: VecDeque<Call>,
    to_store: VecDeque<(Ticket, Change)>,
    store: BTreeMap<TaskId, LaunchRecord>,
    framework: Option<FrameworkId>,
    /// Since when it is torn down, as far as is stored.
    torn_down: Option<Moment>,
    rollouts: RolloutRecord,
    /// How many nodes a rollout may leave uncovered.
    limit: usize,
    /// What the settings of the process are.
    settings: Settings,
    leads_since: Moment,
    /// Orders without an answer yet.
    ordered: BTreeMap<OrderId, Ordered>,
    orders: u64,
    /// Agents whose executor was told to end for a rollout: which one, and under which leader.
    taken: BTreeMap<AgentId, (TaskId, u8)>,
    /// Tasks that were decided to end for a rollout, and the nodes that were away then: one that is back when the task is
    /// told was not counted.
    decided: BTreeMap<TaskId, BTreeSet<AgentId>>,
    /// When a launch that was held back was tried last.
    tried: Option<(TaskId, Moment)>,
    /// What the master is asked to give up, as by an operator, and when it last refused to.
    to_operator: VecDeque<Leftover>,
    refused_at: Option<Moment>,
    /// Which leader has asked Mesos to remove the framework.
    asked_to_remove: Option<u8>,
    /// The process has ended, as the framework is torn down.
    over: bool,
    history: BTreeMap<TaskId, Vec<Held>>,
    /// Offers that the scheduler may answer: delivered, not answered, not rescinded.
    answerable: BTreeMap<OfferId, (AgentId, String)>,
    receipts: BTreeMap<(TaskId, AgentId, Vec<u8>), Receipt>,
    /// Launches that Mesos reported as over, or as unknown to it.
    reported: BTreeSet<TaskId>,
    attached: BTreeSet<ExecutorId>,
    /// Tasks of which the update that is being delivered says that they cannot be reached.
    unreachable: Option<TaskId>,
    epoch: u8,
    transcript: Option<Vec<String>>,
    /// How often each call, and a new registration, was seen.
    pub(super) seen: BTreeMap<&'static str, usize>,
}

impl World {
    pub(super) fn new(transcribe: bool) -> Self {
        let now = Moment(1_000_000);
        Self {
            now,
            core: Core::new(rules(1, FIRST), None, vec![], now),
            mesos: Mesos::new(),
            client: (None, false),
            connected: false,
            to_master: VecDeque::new(),
            to_store: VecDeque::new(),
            store: BTreeMap::new(),
            framework: None,
            torn_down: None,
            rollouts: RolloutRecord::default(),
            limit: 0,
            settings: FIRST,
            leads_since: now,
            ordered: BTreeMap::new(),
            orders: 0,
            taken: BTreeMap::new(),
            decided: BTreeMap::new(),
            tried: None,
            to_operator: VecDeque::new(),
            refused_at: None,
            asked_to_remove: None,
            over: false,
            history: BTreeMap::new(),
            answerable: BTreeMap::new(),
            receipts: BTreeMap::new(),
            reported: BTreeSet::new(),
            attached: BTreeSet::new(),
            unreachable: None,
            epoch: 1,
            transcript: transcribe.then(Vec::new),
            seen: BTreeMap::new(),
        }
    }

    /// One step, and what the core wants done after it.
    pub(super) fn perform(&mut self, step: Step) -> Result<(), String> {
        self.note(|_| format!("{step:?}"));
        if self.over {
            return Ok(());
        }
        let done = self.happen(step).and_then(|()| self.carry_out());
        self.forget_taken();
        self.unreachable = None;
        done.map_err(|law| match &self.transcript {
            Some(told) => format!("{}\n  broken: {law}", told.join("\n")),
            None => law,
        })
    }

    fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.transcript.is_some() {
            let line = line(self);
            self.transcript.get_or_insert_default().push(line);
        }
    }

    fn happen(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Offer(machine, size) => self.mesos.offer(machine, size, None),
            Step::Rescind(n) => {
                if let Some(which) = pick(self.mesos.offers.keys(), n) {
                    self.mesos.rescind(|id, _| *id == which);
                }
            }
            Step::Deliver => self.deliver(),
            Step::Delay | Step::Lose => {
                let unordered =
                    |event: &Event| matches!(event, Event::ExecutorEnded(..) | Event::AgentLost(_));
                if let Some(event) = self.mesos.to_scheduler.pop_front_if(|event| unordered(event))
                    && step == Step::Delay
                {
                    self.mesos.to_scheduler.push_back(event);
                }
            }
            Step::Receive => return self.receive(),
            Step::Flow(n) => {
                for step in [Step::Deliver, Step::Receive, Step::Store(Write::Works)].repeat(n) {
                    self.happen(step)?;
                    self.carry_out()?;
                }
            }
            Step::Ignore => self.ignore(),
            Step::Store(write) => self.store_one(write),
            Step::Progress(n) => {
                let task = pick(self.mesos.tasks.keys(), n);
                task.iter().for_each(|task| self.mesos.progress(task));
            }
            Step::End(n, how) => {
                let task = pick(self.mesos.tasks.keys(), n);
                task.iter().for_each(|task| self.mesos.end_somehow(task, how));
                let lingers = pick(self.mesos.lingering.keys(), n).filter(|_| task.is_none());
                lingers.iter().for_each(|executor| drop(self.mesos.lingering.remove(executor)));
            }
            Step::Resend(n) => {
                let task = pick(self.mesos.tasks.keys(), n);
                task.iter().for_each(|task| self.mesos.send(task));
            }
            Step::Agent(machine, fate) => self.mesos.befall(machine, fate),
            Step::List => self.list(),
            Step::MasterFailover => self.lose(Mesos::failover)?,
            Step::Teardown => self.lose(Mesos::teardown)?,
            Step::Order(_) | Step::Configure(_) | Step::RollOut(..) | Step::Spoil(_) => {
                return self.people(step);
            }
            Step::Deny(n) => self.mesos.deny(ROLES[n]),
            Step::Namesake => self.mesos.namesake = !self.mesos.namesake,
            Step::GiveUp => self.give_up(),
            Step::Disconnect => self.lose(Mesos::disconnect)?,
            Step::Connect => self.connect(),
            Step::Crash => self.crash()?,
            Step::LoseRecord(n) => self.lose_record(n)?,
            Step::Attach(n) => {
                let task = pick(self.mesos.tasks.keys(), n);
                task.iter().for_each(|task| drop(self.attach(task)));
            }
            Step::Detach(n) => {
                if let Some(executor) = pick(self.attached.iter(), n) {
                    self.attached.remove(&executor);
                    self.core.attached(&executor, false);
                }
            }
            Step::Pass(seconds) => {
                self.now = self.now.after(Duration::from_secs(seconds));
                self.core.tick(self.now);
            }
        }
        Ok(())
    }

    fn connect(&mut self) {
        if self.connected || self.client.1 {
            return;
        }
        match self.mesos.subscribe(self.client.0.as_ref(), self.settings.roles) {
            Ok(framework) => {
                self.connected = true;
                self.client.0 = Some(framework.clone());
                self.core.subscribed(self.now, framework);
            }
            Err(()) => {
                self.client.1 = true;
                self.core.removed(self.now);
            }
        }
    }

    /// The subscription ends; half of the calls on their way still arrive.
    fn lose(&mut self, how: impl FnOnce(&mut Mesos)) -> Result<(), String> {
        self.deliver_half()?;
        how(&mut self.mesos);
        self.without_subscription();
        if !self.client.1 {
            self.core.disconnected(self.now);
        }
        Ok(())
    }

    fn deliver_half(&mut self) -> Result<(), String> {
        for _ in 0..self.to_master.len() / 2 {
            self.receive()?;
        }
        self.to_master.clear();
        Ok(())
    }

    fn without_subscription(&mut self) {
        self.connected = false;
        self.answerable.clear();
        self.to_operator.clear();
        self.release(|_| true);
    }

    /// Updates that need not be acknowledged any more: the agent will send them again.
    fn release(&mut self, which: impl Fn(&TaskId) -> bool) {
        for ((task, ..), receipt) in &mut self.receipts {
            if which(task) {
                receipt.allowed += std::mem::take(&mut receipt.owed);
            }
        }
    }

    /// The process dies: half of what was on its way to the store and to the master gets there.
    fn crash(&mut self) -> Result<(), String> {
        self.deliver_half()?;
        let survives = self.to_store.len() / 2;
        let on_their_way = std::mem::take(&mut self.to_store);
        on_their_way.into_iter().take(survives).for_each(|(_, change)| self.write(change));
        self.without_subscription();
        self.start();
        Ok(())
    }

    fn lose_record(&mut self, n: usize) -> Result<(), String> {
        let Some(task) = pick(self.store.keys(), n) else { return Ok(()) };
        self.crash()?;
        self.store.remove(&task);
        self.history.remove(&task);
        self.start();
        Ok(())
    }

    /// Another process begins with what is stored.
    fn start(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.attached.clear();
        self.client = (self.framework.clone(), false);
        self.ordered.clear();
        self.refused_at = None;
        self.leads_since = self.now;
        // What the one before decided is not decided again.
        for record in self.store.values().filter(|record| record.lineage.replaced) {
            self.decided.entry(record.task.clone()).or_default();
        }
        let launches = self.store.values().cloned().collect();
        let rules = rules(self.epoch, self.settings);
        let core = Core::new(rules, self.framework.clone(), launches, self.now);
        self.core = core.tearing_down(self.torn_down, self.now).going_on(self.rollouts.clone(), self.now);
    }

    fn carry_out(&mut self) -> Result<(), String> {
        for effect in self.core.take_effects() {
            self.note(|_| format!("    {effect:?}"));
            match effect {
                Effect::Save(ticket, change) => {
                    self.check_room(&change)?;
                    self.check_forgetting(&change)?;
                    self.to_store.push_back((ticket, change));
                }
                Effect::Call(call) => {
                    self.check(&call)?;
                    self.to_master.push_back(call);
                }
                Effect::GiveUp(left) => {
                    self.check_leftover(&left)?;
                    self.to_operator.push_back(left);
                }
                Effect::Answer(id, answer) => self.answered(id, &answer)?,
                Effect::TornDown => {
                    let stored = self.framework.is_none() && self.torn_down.is_some();
                    self.must(stored, || "ends though it is not stored that it is torn down".to_owned())?;
                    *self.seen.entry("torn down").or_default() += 1;
                    self.over = true;
                }
                Effect::RegisterAnew => {
                    self.must(self.client.1, || "registers anew though nobody removed it".into())?;
                    self.must(self.framework.is_none(), || "registers anew with the old id stored".into())?;
                    *self.seen.entry("anew").or_default() += 1;
                    self.client = (None, false);
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self) {
        let Some(event) = self.mesos.to_scheduler.pop_front().filter(|_| self.connected) else { return };
        self.note(|_| format!("  < {event:?}"));
        match event {
            Event::Offers(offers) => {
                let new =
                    offers.iter().map(|offer| (offer.id.clone(), (offer.agent.clone(), offer.role.clone())));
                self.answerable.extend(new);
                self.core.offered(self.now, offers);
            }
            Event::Rescind(id) => {
                self.answerable.remove(&id);
                self.core.rescinded(&id);
            }
            Event::Update(update) => self.update(&update),
            Event::InverseOffers(offers) => self.core.inverse_offered(self.now, offers),
            Event::InverseRescinded(id) => self.core.inverse_rescinded(self.now, &id),
            Event::ExecutorEnded(agent, executor) => self.core.executor_ended(self.now, &agent, &executor),
            Event::AgentLost(agent) => self.core.agent_lost(self.now, &agent),
        }
    }

    fn update(&mut self, update: &Update) {
        if let (Some(uuid), Some(agent)) = (&update.uuid, &update.agent) {
            let key = (update.task.clone(), agent.clone(), uuid.clone());
            let receipt = self.receipts.entry(key).or_default();
            receipt.state = Some(update.state);
            receipt.owed += 1;
        }
        if update.state.is_terminal() || update.state == TaskState::Unknown {
            self.reported.insert(update.task.clone());
        }
        self.unreachable = (update.state == TaskState::Unreachable).then(|| update.task.clone());
        self.core.updated(self.now, update);
    }

    fn receive(&mut self) -> Result<(), String> {
        let Some(call) = self.to_master.pop_front() else { return Ok(()) };
        self.note(|_| format!("  > {}", crate::main_loop::name(&call)));
        self.mesos.receive(call, self.now)?;
        if std::mem::take(&mut self.mesos.torn_down) {
            self.without_subscription();
            self.to_master.clear();
            self.core.disconnected(self.now);
        }
        Ok(())
    }

    /// What the master does with a call that comes to nothing: it takes the offers back.
    fn ignore(&mut self) {
        if let Some(
            Call::Accept { offers, .. } | Call::Decline { offers, .. } | Call::Unreserve { offers, .. },
        ) = self.to_master.pop_front()
        {
            offers.iter().for_each(|id| drop(self.mesos.offers.remove(id)));
        }
    }

    /// An executor that knows where the scheduler is attaches to it, if it may.
    fn attach(&mut self, task: &TaskId) -> Result<(), String> {
        let Some(known) = self.mesos.tasks.get(task) else { return Err(format!("there is no {task}")) };
        if known.state != TaskState::Running || known.control != rules(self.epoch, self.settings).control {
            return Err(format!("{task} is {} and believes the scheduler at {}", known.state, known.control));
        }
        let framework = self.client.0.as_ref().map_or("", |id| id.0.as_str());
        self.core
            .admit(framework, &known.executor, &known.agent.0, &known.token)
            .map_err(|why| format!("{task} may not attach: {why}"))?;
        self.core.attached(&known.executor, true);
        self.core.keeps_data_at(&known.executor, "/sandbox/data", true);
        self.attached.insert(known.executor.clone());
        Ok(())
    }
}

/// The settings of the first process.
const FIRST: Settings = Settings { version: 1, overlap: true, reserve: false, roles: ROLES.len() };

fn rules(epoch: u8, settings: Settings) -> Rules {
    let mut rules = tests::rules();
    rules.claim.roles = ROLES.iter().take(settings.roles).map(|role| (*role).to_owned()).collect();
    rules.claim.reserve = settings.reserve;
    rules.spec = tests::spec(&settings.version.to_string());
    rules.overlap = Duration::from_secs(if settings.overlap { 30 } else { 0 });
    Rules { seed: [epoch; 32], epoch: epoch.into(), control: format!("10.0.0.{epoch}:9094"), ..rules }
}

fn pick<'a, T: Clone + 'a>(from: impl Iterator<Item = &'a T> + Clone, n: usize) -> Option<T> {
    let count = from.clone().count();
    from.clone().nth(n.checked_rem(count)?).cloned()
}
