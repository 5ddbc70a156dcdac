//! Decides everything that a master decides: a state and one function, `step`, that takes an input and the time and
//! returns what is to be done. No input or output, no clock, no randomness but a seeded generator.
//!
//! `state` holds what is known; `calls`, `subscribe`, `accept`, `launch`, `reserve`, `tasks` and `reconcile` answer
//! schedulers; `agents`, `reregister` and `updates` answer agents; `allocate` makes offers, `outstanding` holds them;
//! `maintenance` keeps the schedule and `inverse` asks frameworks to leave; `operations` keeps what wants feedback;
//! `faults` does wrong on demand; `operator`, `describe` and `amounts` answer people; `timers`
//! does what is due.

mod accept;
mod agents;
mod allocate;
mod amounts;
mod calls;
mod constraints;
mod describe;
mod faults;
mod framework_info;
mod inverse;
mod launch;
mod maintenance;
mod operations;
mod operator;
mod outstanding;
mod reconcile;
mod reregister;
mod reserve;
mod state;
mod statuses;
mod subscribe;
mod tasks;
mod timers;
mod updates;
mod validate;

use calls::claim;

use crate::clock::Moment;
use crate::faults::Fault;
use crate::ids::AgentId;
use crate::link::{LinkId, ToAgent, ToMaster};
use crate::master::registry::Registry;
use crate::settings::Timings;
use proto::mesos::v1::{self as mesos, master as operator_api, scheduler};

pub(crate) use calls::validate_call;
pub(crate) use launch::new_task;
pub(crate) use state::{Core, is_terminal};

/// One event stream, of a scheduler or of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// What a master is born with.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    /// Its id, address and name.
    pub(crate) info: mesos::MasterInfo,
    pub(crate) timings: Timings,
    /// The roles that frameworks may use; empty means all.
    pub(crate) roles: Vec<String>,
    /// What earlier masters wrote down.
    pub(crate) registry: Registry,
    /// For stream ids.
    pub(crate) seed: u64,
}

/// Something that happened to the master.
#[derive(Debug)]
pub(crate) enum Input {
    /// A scheduler's call, already well-formed.
    Call { call: Box<scheduler::Call>, stream_id: Option<String>, principal: Option<String> },
    /// An operator's call.
    Operator(Box<operator_api::Call>),
    /// The reader of a stream has gone.
    Disconnected(ConnectionId),
    /// An agent has connected.
    Linked(LinkId),
    /// An agent said something.
    Agent(LinkId, ToMaster),
    /// An agent's connection broke.
    Unlinked(LinkId),
    /// A timer may be due.
    Tick,
    /// What goes wrong from now on.
    Faults(Vec<Fault>),
    /// Break the streams of all schedulers.
    DropSchedulers,
}

/// Something that is to be done, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The answer to the call that was the input; comes first.
    Answer(Answer),
    /// One event for a scheduler.
    Send(ConnectionId, Box<scheduler::Event>),
    /// One event for an operator.
    Publish(ConnectionId, Box<operator_api::Event>),
    /// End a stream in order.
    Close(ConnectionId),
    /// Break a stream.
    Abort(ConnectionId),
    /// Tell an agent.
    Tell(LinkId, ToAgent),
    /// Break an agent's connection.
    Unlink(LinkId),
    /// Write the registry down.
    Remember(Box<Registry>),
}

/// What a caller hears.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A status code with a text for people.
    Refused(u16, String),
    /// 202, no body.
    Accepted,
    /// 200, no body.
    Done,
    /// 200 and a stream of events; schedulers get a stream id.
    Stream { connection: ConnectionId, stream_id: Option<String> },
    /// 200 and this.
    Response(Box<operator_api::Response>),
}

impl Core {
    /// Takes one input in and says what is to be done.
    pub(crate) fn step(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        self.now = self.now.max(now);
        match input {
            Input::Call { mut call, stream_id, principal } => match claim(&mut call, principal) {
                Ok(()) => self.on_call(*call, stream_id),
                Err(problem) => self.refuse(400, problem),
            },
            Input::Operator(call) => self.on_operator(&call),
            Input::Disconnected(connection) => self.on_disconnected(connection),
            Input::Linked(link) => {
                self.links.insert(link, None);
            }
            Input::Agent(link, message) => self.on_agent(link, message),
            Input::Unlinked(link) => self.on_unlinked(link),
            Input::Tick => self.look_at = self.now,
            Input::Faults(faults) => self.faults = faults,
            Input::DropSchedulers => {
                let connections: Vec<_> = self
                    .frameworks
                    .values()
                    .filter_map(|f| f.subscription.as_ref())
                    .map(|s| s.connection)
                    .collect();
                for connection in connections {
                    self.out.push(Effect::Abort(connection));
                    self.on_disconnected(connection);
                }
            }
        }
        self.look_at_timers();
        std::mem::take(&mut self.out)
    }

    fn answer(&mut self, answer: Answer) {
        self.out.push(Effect::Answer(answer));
    }

    fn refuse(&mut self, status: u16, text: impl Into<String>) {
        self.answer(Answer::Refused(status, text.into()));
    }

    fn tell_agent(&mut self, agent: &AgentId, message: ToAgent) -> bool {
        let link = self.agents.get(agent).and_then(|agent| agent.link);
        if let Some(link) = link {
            self.out.push(Effect::Tell(link, message));
        }
        link.is_some()
    }
}
