//! An agent without processes: it says what to start, and is told what became of it.
use super::{Answer, Disk, ToAgent, ToMaster};
use crate::agent::core::{self, Birth, ConnectionId, ContainerId, Core, Effect, Input};
use crate::agent::process::Process;
use crate::cluster::describe;
use crate::settings::{Node, Timings};
use prost::Message;
use proto::mesos::v1::{self as mesos, agent as operator_api, executor};
use std::net::SocketAddr;
use std::time::Duration;

/// A container to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Names it in what follows.
    pub container: String,
    /// The agent's own id.
    pub agent_id: String,
    /// The framework that wants it.
    pub framework_id: String,
    /// What to run.
    pub executor: mesos::ExecutorInfo,
}

/// What an agent did, in this order.
#[derive(Clone, Debug)]
pub enum AgentDid {
    /// It answered the call that it was given.
    Answered(Answer),
    /// It sent one event to an executor.
    Sent(u64, Box<executor::Event>),
    /// It ended a stream.
    Closed(u64),
    /// It told its master something.
    Told(ToMaster),
    /// It looks for a master from now on.
    Joins,
    /// It wants a container started.
    Launches(Box<Launch>),
    /// It wants everything in a container killed.
    Destroys(String),
    /// It was told to end, and every executor has ended.
    Stopped,
}

/// A run of an agent.
pub struct Agent {
    core: Core,
    disk: Disk,
}

impl Agent {
    /// A run of the agent on `node` that goes on where the last one ended, as far as its disk tells. Told
    /// [`Agent::tick`] and what became of its containers, it begins.
    pub fn started(
        (node, address): (&Node, SocketAddr),
        timings: &Timings,
        disk: Disk,
        seed: u64,
        now: Duration,
    ) -> Self {
        let described = describe(node, address, disk.info().cloned());
        let birth = Birth { described, timings: timings.clone(), recovered: disk.recovered(), seed };
        Self { core: Core::new(birth, now), disk }
    }

    /// The run ends as by `kill -9`; what it has written down stays.
    pub fn killed(self) -> Disk {
        self.disk
    }

    /// What it has written down.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The body of a POST to `/api/v1/executor`.
    pub fn called(&mut self, body: &[u8], now: Duration) -> Vec<AgentDid> {
        let call = match executor::Call::decode(body) {
            Ok(call) => call,
            Err(problem) => return refused(problem.to_string()),
        };
        match core::validate_call(&call) {
            Ok(_) => self.step(Input::Call(Box::new(call), None), now),
            Err(problem) => refused(problem),
        }
    }

    /// The body of a POST to `/api/v1`.
    pub fn operated(&mut self, body: &[u8], now: Duration) -> Vec<AgentDid> {
        match operator_api::Call::decode(body) {
            Ok(call) => self.step(Input::Operator(Box::new(call)), now),
            Err(problem) => refused(problem.to_string()),
        }
    }

    /// The reader of a stream has gone.
    pub fn disconnected(&mut self, stream: u64, now: Duration) -> Vec<AgentDid> {
        self.step(Input::Disconnected(ConnectionId(stream)), now)
    }

    /// The master is there.
    pub fn linked(&mut self, now: Duration) -> Vec<AgentDid> {
        self.step(Input::Linked, now)
    }

    /// The master, or the link to it, is gone.
    pub fn unlinked(&mut self, now: Duration) -> Vec<AgentDid> {
        self.step(Input::Unlinked, now)
    }

    /// The master said something.
    pub fn heard(&mut self, message: ToAgent, now: Duration) -> Vec<AgentDid> {
        self.step(Input::Master(message.0), now)
    }

    /// A container's main process runs.
    pub fn container_started(&mut self, container: &str, pid: u32, now: Duration) -> Vec<AgentDid> {
        self.step(Input::Started(id(container), Process { pid, started: 1 }), now)
    }

    /// A container could not be started.
    pub fn container_failed(&mut self, container: &str, message: &str, now: Duration) -> Vec<AgentDid> {
        let (container, message) = (id(container), message.to_owned());
        self.step(Input::LaunchFailed { container, message, status: 256 }, now)
    }

    /// A container's main process ended (raw wait status, -1 when unknown).
    pub fn container_exited(&mut self, container: &str, status: i32, now: Duration) -> Vec<AgentDid> {
        self.step(Input::Exited { container: id(container), status }, now)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) -> Vec<AgentDid> {
        self.step(Input::Tick, now)
    }

    /// When it next wants to be told that time passed.
    pub fn next_wake(&self) -> Option<Duration> {
        self.core.next_wake()
    }

    fn step(&mut self, input: Input, now: Duration) -> Vec<AgentDid> {
        let effects = self.core.step(input, now);
        effects.into_iter().filter_map(|effect| self.did(effect)).collect()
    }

    fn did(&mut self, effect: Effect) -> Option<AgentDid> {
        Some(match effect {
            Effect::Answer(answer) => AgentDid::Answered(match answer {
                core::Answer::Refused(status, text) => Answer::Refused(status, text),
                core::Answer::Accepted => Answer::Accepted,
                core::Answer::Stream(connection) => Answer::Stream { stream: connection.0, id: None },
                core::Answer::Response(response) => Answer::Response(response.encode_to_vec()),
            }),
            Effect::Send(connection, event) => AgentDid::Sent(connection.0, event),
            Effect::Close(connection) => AgentDid::Closed(connection.0),
            Effect::Tell(message) => AgentDid::Told(ToMaster(message)),
            Effect::Join => AgentDid::Joins,
            Effect::Keep(keep) => {
                self.disk.keep(keep);
                return None;
            }
            Effect::Launch(launch) => AgentDid::Launches(Box::new(Launch {
                container: launch.run.container.0,
                agent_id: launch.agent_id.0,
                framework_id: launch.run.framework.0,
                executor: launch.executor,
            })),
            Effect::Destroy(container) => AgentDid::Destroys(container.0),
            Effect::Stopped => AgentDid::Stopped,
        })
    }
}

fn id(container: &str) -> ContainerId {
    ContainerId(container.to_owned())
}

fn refused(problem: String) -> Vec<AgentDid> {
    vec![AgentDid::Answered(Answer::Refused(400, problem))]
}
