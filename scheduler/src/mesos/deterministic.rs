//! The scheduler without any input or output: the decision core inside the real translation of Mesos' messages.
//!
//! Bytes of a master's stream go in, bytes of calls come out, and what is to be stored. Whoever owns a [`Scheduler`]
//! plays the network, the store and the clock; with the same inputs it always does the same. `tests/simulation` does.
//! Two orders are the owner's to keep, as `main_loop` and the client of this module keep them: calls of one subscription
//! go over one connection one after the other, and changes are stored one after the other.
use super::launch::Template;
use super::wire::{self, Heard};
use super::{Ended, MesosEvent, Registration, end_of, operator};
use crate::core::effects::{Call, Change, Effect, LaunchRecord, LeftData, Ticket};
use crate::core::rollout::RolloutRecord;
use crate::core::{Core, NodeState, NotAdmitted, OrderId, Size};
use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment};
use crate::{Error, running};
use bytes::Bytes;
use config::settings::SchedulerSettings;
use prost::Message;
use proto::mesos::v1::master;
use proto::recordio::{Decoder, Limits};
use web::order::Order;

/// One time in office.
#[derive(Clone, Debug)]
pub struct Office {
    /// Which leadership it is; 0 where there are no elections.
    pub epoch: u64,
    /// The start of all random numbers.
    pub seed: [u8; 32],
    /// Where executors are told to attach.
    pub control: String,
}

/// What the scheduler wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Send this call (`mesos.v1.scheduler.Call`) within the subscription that stands.
    Call(Vec<u8>),
    /// Store this, then say so with the ticket.
    Save(Ticket, Change),
    /// Subscribe anew: [`Scheduler::subscribe`] names no framework any more.
    Register,
    /// End: the framework is torn down.
    End,
}

/// Why a subscription is over, as the master's stream told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Mesos removed the framework; [`Wanted::Register`] follows when that is stored.
    Removed,
    /// Another scheduler has the framework: step down.
    Superseded,
    /// The master refuses; trying again soon will not help.
    Refused(String),
    /// What came is not what a master sends.
    Garbled(String),
}

/// An executor as it presents itself at the control plane.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its framework.
    pub framework: &'a str,
    /// Its id.
    pub executor: &'a ExecutorId,
    /// Its agent.
    pub agent: &'a AgentId,
    /// The secret of its launch.
    pub token: &'a str,
}

/// A scheduler that only decides and translates.
#[derive(Debug)]
pub struct Scheduler {
    core: Core,
    registration: Registration,
    template: Template,
    framework: Option<FrameworkId>,
    stream: Option<Stream>,
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
struct Stream {
    decoder: Decoder,
    subscribed: bool,
}

impl Scheduler {
    /// A scheduler that goes on where what was stored ended.
    pub fn new(
        settings: &SchedulerSettings,
        office: Office,
        (framework, launches): (Option<FrameworkId>, Vec<LaunchRecord>),
        now: Moment,
    ) -> Result<Self, Error> {
        let template = running::template(settings)?;
        let rules = running::rules(settings, &template, office);
        Ok(Self {
            core: Core::new(rules, framework.clone(), launches, now),
            registration: running::registration(settings),
            template,
            framework,
            stream: None,
            wanted: Vec::new(),
        })
    }

    /// The same, where generations, rollouts or a teardown were stored as well.
    #[must_use]
    pub fn going_on(mut self, rollouts: RolloutRecord, torn_down: Option<Moment>, now: Moment) -> Self {
        self.core = self.core.tearing_down(torn_down, now).going_on(rollouts, now);
        self.carry_out();
        self
    }

    /// The same, where executors left data on agents.
    #[must_use]
    pub fn with_left(mut self, left: Vec<LeftData>) -> Self {
        self.core = self.core.with_left(left);
        self
    }

    /// The SUBSCRIBE call to begin with.
    pub fn subscribe(&self) -> Vec<u8> {
        wire::subscribe(&self.registration, self.framework.as_ref())
    }

    /// The master has answered SUBSCRIBE with a stream.
    pub fn opened(&mut self) {
        self.stream = Some(Stream { decoder: Decoder::new(Limits::default()), subscribed: false });
    }

    /// Some bytes of the stream came. After `Some` the subscription is over and its connections are to be closed.
    pub fn received(&mut self, now: Moment, bytes: &[u8]) -> Option<Over> {
        let Some(stream) = &mut self.stream else { return None };
        stream.decoder.push(bytes);
        loop {
            let record = match self.stream.as_mut()?.decoder.next() {
                Ok(Some(record)) if record.is_empty() => continue,
                Ok(Some(record)) => record,
                Ok(None) => return None,
                Err(error) => return Some(self.over(now, Over::Garbled(error.to_string()))),
            };
            let heard = match wire::read(&record) {
                Ok(heard) => heard,
                Err(error) => return Some(self.over(now, Over::Garbled(error.to_string()))),
            };
            if let Some(over) = self.heard(now, heard) {
                return Some(self.over(now, over));
            }
        }
    }

    fn heard(&mut self, now: Moment, heard: Heard) -> Option<Over> {
        let stream = self.stream.as_mut()?;
        match heard {
            Heard::Subscribed { framework, .. } if !stream.subscribed => {
                stream.subscribed = true;
                self.framework = Some(framework.clone());
                self.core.subscribed(now, framework);
            }
            Heard::Event(event) if stream.subscribed => self.happened(now, event),
            Heard::Error(message) => {
                return Some(match end_of(message) {
                    Ended::Removed => Over::Removed,
                    Ended::Superseded => Over::Superseded,
                    Ended::Refused(why) | Ended::Lost(why) | Ended::Elsewhere(why) => Over::Refused(why),
                    Ended::Abandoned => Over::Refused("abandoned".to_owned()),
                });
            }
            Heard::Subscribed { .. } | Heard::Event(_) | Heard::Heartbeat | Heard::Other => {}
        }
        self.carry_out();
        None
    }

    /// As `main_loop` hands events to the core.
    fn happened(&mut self, now: Moment, event: MesosEvent) {
        match event {
            MesosEvent::Offers(offers) => self.core.offered(now, offers),
            MesosEvent::Rescinded(offer) => self.core.rescinded(&offer),
            MesosEvent::InverseOffers(offers) => self.core.inverse_offered(now, offers),
            MesosEvent::InverseRescinded(offer) => self.core.inverse_rescinded(now, &offer),
            MesosEvent::Updated(update) => self.core.updated(now, &update),
            MesosEvent::ExecutorEnded(agent, executor) => self.core.executor_ended(now, &agent, &executor),
            MesosEvent::AgentLost(agent) => self.core.agent_lost(now, &agent),
            // These are the client's own: a stream never yields them.
            MesosEvent::Subscribed { .. }
            | MesosEvent::Disconnected { .. }
            | MesosEvent::Removed
            | MesosEvent::Superseded => {}
        }
    }

    fn over(&mut self, now: Moment, over: Over) -> Over {
        self.stream = None;
        match over {
            Over::Removed => {
                self.framework = None;
                self.core.removed(now);
            }
            Over::Superseded | Over::Refused(_) | Over::Garbled(_) => self.core.disconnected(now),
        }
        self.carry_out();
        over
    }

    /// The subscription is lost: its stream ended, or a call of it failed.
    pub fn disconnected(&mut self, now: Moment) {
        self.stream = None;
        self.core.disconnected(now);
        self.carry_out();
    }

    /// Whether a subscription stands.
    pub fn is_subscribed(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.subscribed)
    }

    /// Time passed; the real one is told twice a second.
    pub fn tick(&mut self, now: Moment) {
        self.core.tick(now);
        self.carry_out();
    }

    /// A change is stored, or could not be.
    pub fn saved(&mut self, now: Moment, ticket: Ticket, result: Result<(), String>) {
        self.core.saved(now, ticket, result);
        self.carry_out();
    }

    /// The calls that ask a master about its cluster (`mesos.v1.master.Call`), every few seconds.
    pub fn questions() -> [Vec<u8>; 2] {
        [master::call::Type::GetAgents, master::call::Type::GetMaintenanceSchedule]
            .map(|kind| master::Call { r#type: Some(kind as i32), ..master::Call::default() }.encode_to_vec())
    }

    /// The master's answer to one of them (`mesos.v1.master.Response`).
    pub fn told(&mut self, now: Moment, response: &[u8]) -> Result<(), prost::DecodeError> {
        let answer = Bytes::copy_from_slice(response);
        let response = master::Response::decode(response)?;
        if response.get_agents.is_some() {
            // Whole it was read already, so its items can be read as well.
            self.core.agents_listed(now, operator::agents_of(answer).unwrap_or_default());
        }
        if response.get_maintenance_schedule.is_some() {
            self.core.maintenance_planned(now, &operator::schedule(response));
        }
        self.carry_out();
        Ok(())
    }

    /// An executor wants to attach; it is attached when the answer is `Ok`.
    pub fn presented(&mut self, executor: &Presented<'_>) -> Result<(), NotAdmitted> {
        let Presented { framework, executor, agent, token } = *executor;
        self.core.admit(framework, executor, &agent.0, token)?;
        self.core.attached(executor, true);
        self.carry_out();
        Ok(())
    }

    /// A person gave an order.
    pub fn ordered(&mut self, now: Moment, order: Order) {
        self.core.ordered(now, OrderId(0), order);
        self.carry_out();
    }

    /// An attached executor says where in its sandbox it keeps its data.
    pub fn keeps_data_at(&mut self, executor: &ExecutorId, data: &str) {
        self.core.keeps_data_at(executor, data, true);
        self.carry_out();
    }

    /// How the newest rollout stands: its state, and what it waits for.
    pub fn rollout(&self, now: Moment) -> Option<(String, String)> {
        self.core.rollouts(now).rollout.map(|rollout| (rollout.state, rollout.detail))
    }

    /// An attached executor is gone.
    pub fn detached(&mut self, executor: &ExecutorId) {
        self.core.attached(executor, false);
        self.carry_out();
    }

    /// What is to be done; each is handed out once.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.wanted)
    }

    /// The framework that the next subscription names.
    pub fn framework(&self) -> Option<&FrameworkId> {
        self.framework.as_ref()
    }

    /// Every agent with its state and the reason.
    pub fn nodes(&self, now: Moment) -> Vec<NodeState> {
        self.core.nodes(now)
    }

    /// How much the core keeps in memory.
    pub fn size(&self) -> Size {
        self.core.size()
    }

    /// The newest decisions in words, oldest first.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.core.decisions().map(|decision| decision.text.as_str())
    }

    fn carry_out(&mut self) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::Save(ticket, change) => self.wanted.push(Wanted::Save(ticket, change)),
                Effect::Call(call) => self.call(call),
                Effect::RegisterAnew => self.wanted.push(Wanted::Register),
                Effect::TornDown => self.wanted.push(Wanted::End),
                // What an order did is seen in what it wants done, and nobody plays an operator here.
                Effect::Answer(..) | Effect::GiveUp(_) => {}
            }
        }
    }

    fn call(&mut self, call: Call) {
        if let (true, Some(framework)) = (self.is_subscribed(), &self.framework) {
            self.wanted.push(Wanted::Call(wire::write(framework, &self.template, call)));
        }
    }
}
