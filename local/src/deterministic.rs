//! A master and agents without any input or output: their decision cores, driven by hand and told the time.
//!
//! Calls go in as bytes, through the same checks as behind HTTP; events and messages come out. Whoever owns a [`Master`]
//! and some [`Agent`]s plays the network, the disks, the processes of executors and the clock; with the same inputs they
//! always do the same. `tests/simulation` does. Moments are counted from the Unix epoch.
mod agent;
mod disk;

pub use agent::{Agent, AgentDid, Launch};
pub use disk::Disk;

use crate::faults::Fault;
use crate::link::{self, LinkId};
use crate::master::core::{self, Birth, ConnectionId, Core, Effect, Input};
use crate::master::registry;
use crate::settings::Timings;
use prost::Message;
use proto::mesos::v1::{self as mesos, master as operator_api, scheduler};
use std::time::Duration;

/// A message of a master to an agent.
#[derive(Clone, Debug)]
pub struct ToAgent(pub(crate) link::ToAgent);

/// A message of an agent to a master.
#[derive(Clone, Debug)]
pub struct ToMaster(pub(crate) link::ToMaster);

impl ToMaster {
    /// Whether it carries a status update, which agents may send more than once.
    pub fn is_update(&self) -> bool {
        matches!(self.0, link::ToMaster::Update { .. })
    }

    /// Whether it tells that an executor ended, which a real Mesos may lose.
    pub fn is_exit(&self) -> bool {
        matches!(self.0, link::ToMaster::ExecutorExited { .. })
    }
}

/// What masters remember of agents, from one to the next.
#[derive(Clone, Debug, Default)]
pub struct Registry(registry::Registry);

/// What the caller of a master or an agent hears.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An HTTP status with a text for people.
    Refused(u16, String),
    /// 200 or 202, no body.
    Accepted,
    /// 200 and a stream of events; `id` is the `Mesos-Stream-Id` that schedulers get.
    Stream {
        /// Names the stream in what follows.
        stream: u64,
        /// Goes with every further call.
        id: Option<String>,
    },
    /// 200 and this body.
    Response(Vec<u8>),
}

/// What a master did, in this order.
#[derive(Clone, Debug)]
pub enum MasterDid {
    /// It answered the call that it was given.
    Answered(Answer),
    /// It sent one event to a scheduler.
    Sent(u64, Box<scheduler::Event>),
    /// It ended a stream after what was sent before.
    Closed(u64),
    /// It broke a stream.
    Broke(u64),
    /// It told the agent at the end of this link something.
    Told(u64, ToAgent),
    /// It broke a link.
    Unlinked(u64),
}

/// A master that leads.
pub struct Master {
    core: Core,
    registry: Registry,
}

impl Master {
    /// A master that was just elected, with an id of its own.
    pub fn elected(id: &str, timings: &Timings, registry: Registry, seed: u64, now: Duration) -> Self {
        let info =
            mesos::MasterInfo { id: id.to_owned(), version: Some("1.12.0".into()), ..Default::default() };
        let remembered = registry.0.clone();
        let birth = Birth { info, timings: timings.clone(), roles: Vec::new(), registry: remembered, seed };
        Self { core: Core::new(birth, now), registry }
    }

    /// What it has written down by now.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The body of a POST to `/api/v1/scheduler`, with its `Mesos-Stream-Id`.
    pub fn called(&mut self, body: &[u8], stream_id: Option<&str>, now: Duration) -> Vec<MasterDid> {
        let call = match scheduler::Call::decode(body) {
            Ok(call) => call,
            Err(problem) => return refused(problem.to_string()),
        };
        if let Err(problem) = core::validate_call(&call) {
            return refused(problem);
        }
        let stream_id = stream_id.map(str::to_owned);
        self.step(Input::Call { call: Box::new(call), stream_id, principal: None }, now)
    }

    /// The body of a POST to `/api/v1`.
    pub fn operated(&mut self, body: &[u8], now: Duration) -> Vec<MasterDid> {
        match operator_api::Call::decode(body) {
            Ok(call) => self.step(Input::Operator(Box::new(call)), now),
            Err(problem) => refused(problem.to_string()),
        }
    }

    /// The reader of a stream has gone.
    pub fn disconnected(&mut self, stream: u64, now: Duration) -> Vec<MasterDid> {
        self.step(Input::Disconnected(ConnectionId(stream)), now)
    }

    /// An agent has connected.
    pub fn linked(&mut self, link: u64, now: Duration) -> Vec<MasterDid> {
        self.step(Input::Linked(LinkId(link)), now)
    }

    /// An agent's connection broke.
    pub fn unlinked(&mut self, link: u64, now: Duration) -> Vec<MasterDid> {
        self.step(Input::Unlinked(LinkId(link)), now)
    }

    /// An agent said something.
    pub fn heard(&mut self, link: u64, message: ToMaster, now: Duration) -> Vec<MasterDid> {
        self.step(Input::Agent(LinkId(link), message.0), now)
    }

    /// Replaces what goes wrong; those of HTTP and of agents do nothing here.
    pub fn set_faults(&mut self, faults: &[Fault], now: Duration) -> Vec<MasterDid> {
        self.step(Input::Faults(faults.to_vec()), now)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) -> Vec<MasterDid> {
        self.step(Input::Tick, now)
    }

    /// When it next wants to be told that time passed.
    pub fn next_wake(&self) -> Duration {
        self.core.next_wake()
    }

    fn step(&mut self, input: Input, now: Duration) -> Vec<MasterDid> {
        let effects = self.core.step(input, now);
        effects.into_iter().filter_map(|effect| self.did(effect)).collect()
    }

    fn did(&mut self, effect: Effect) -> Option<MasterDid> {
        Some(match effect {
            Effect::Answer(answer) => MasterDid::Answered(match answer {
                core::Answer::Refused(status, text) => Answer::Refused(status, text),
                core::Answer::Accepted | core::Answer::Done => Answer::Accepted,
                core::Answer::Stream { connection, stream_id } => {
                    Answer::Stream { stream: connection.0, id: stream_id }
                }
                core::Answer::Response(response) => Answer::Response(response.encode_to_vec()),
            }),
            Effect::Send(connection, event) => MasterDid::Sent(connection.0, event),
            Effect::Close(connection) => MasterDid::Closed(connection.0),
            Effect::Abort(connection) => MasterDid::Broke(connection.0),
            Effect::Tell(link, message) => MasterDid::Told(link.0, ToAgent(message)),
            Effect::Unlink(link) => MasterDid::Unlinked(link.0),
            Effect::Remember(registry) => {
                self.registry = Registry(*registry);
                return None;
            }
            // The streams of operators are not simulated.
            Effect::Publish(..) => return None,
        })
    }
}

fn refused(problem: String) -> Vec<MasterDid> {
    vec![MasterDid::Answered(Answer::Refused(400, problem))]
}
