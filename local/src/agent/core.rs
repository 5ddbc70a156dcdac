//! Decides everything that an agent decides: a state and one function, `step`, that takes an input and the time and
//! returns what is to be done. No input or output, no clock, no randomness but a seeded generator.
//!
//! `state` holds what is known; `calls` and `subscribe` answer executors; `launch` and `master` obey the master;
//! `updates` and `streams` carry status updates, `operations` those of operations; `exits` notices ended executors; `recovery` takes over what an earlier
//! run left; `timers` does what is due; `describe` answers people.

mod calls;
mod describe;
mod events;
mod exits;
mod launch;
mod master;
mod operations;
mod recovery;
mod state;
mod streams;
mod subscribe;
mod timers;
mod updates;

use super::process::Process;
use crate::clock::Moment;
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use crate::link::{Described, ToAgent, ToMaster};
use crate::settings::Timings;
use proto::mesos::v1::{self as mesos, agent as operator_api, executor};
use serde::{Deserialize, Serialize};

pub(crate) use calls::validate_call;
pub(crate) use recovery::{RecoveredExecutor, RecoveredFramework, RecoveredTask};
pub(crate) use state::Core;

/// One event stream of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A container, by the uuid that names its sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContainerId(pub(crate) String);

/// What an agent is born with.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    /// Itself; with an id when it was registered before.
    pub(crate) described: Described,
    pub(crate) timings: Timings,
    /// What the last run left.
    pub(crate) recovered: Vec<RecoveredFramework>,
    pub(crate) seed: u64,
}

/// Where an executor's run is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunKey {
    pub(crate) framework: FrameworkId,
    pub(crate) executor: ExecutorId,
    pub(crate) container: ContainerId,
}

/// Something that happened to the agent.
#[derive(Debug)]
pub(crate) enum Input {
    /// An executor's call, already well-formed, and what its token says, where tokens are asked for.
    Call(Box<executor::Call>, Option<Claims>),
    /// An operator's call.
    Operator(Box<operator_api::Call>),
    /// The reader of a stream has gone.
    Disconnected(ConnectionId),
    /// The master is there.
    Linked,
    /// The master, or the link to it, is gone.
    Unlinked,
    /// The master said something.
    Master(ToAgent),
    /// A container's main process runs.
    Started(ContainerId, Process),
    /// A container could not be started.
    LaunchFailed { container: ContainerId, message: String, status: i32 },
    /// A container's main process ended (raw wait status, -1 when unknown).
    Exited { container: ContainerId, status: i32 },
    /// A timer may be due.
    Tick,
    /// End every executor, then say so.
    Stop,
    /// Leave the cluster for good, with every executor.
    Unregister,
}

/// Something that is to be done, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The answer to the call that was the input.
    Answer(Answer),
    /// One event for an executor.
    Send(ConnectionId, Box<executor::Event>),
    /// End a stream in order.
    Close(ConnectionId),
    /// Tell the master.
    Tell(ToMaster),
    /// Recovery is over: find the master.
    Join,
    /// Write something down before going on.
    Keep(Keep),
    /// Start a container.
    Launch(Box<Launch>),
    /// Kill everything in a container.
    Destroy(ContainerId),
    /// Every executor has ended, as `Stop` (or the master) wanted.
    Stopped,
}

/// What is written down, so that a later run of the agent knows it.
#[derive(Clone, Debug)]
pub(crate) enum Keep {
    Agent(Box<mesos::AgentInfo>),
    Framework(Box<mesos::FrameworkInfo>),
    Executor(RunKey, Box<mesos::ExecutorInfo>),
    Process(RunKey, Process),
    Task(RunKey, Box<mesos::TaskInfo>),
    Update(RunKey, TaskId, Box<mesos::TaskStatus>),
    Acknowledged(RunKey, TaskId, Vec<u8>),
    /// The run is over and everything about it has been told.
    Completed(RunKey),
    /// The framework has nothing left here.
    ForgetFramework(FrameworkId),
}

/// Who an executor is, as its token says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Claims {
    /// The framework.
    pub(crate) fid: String,
    /// The executor.
    pub(crate) eid: String,
    /// The container.
    pub(crate) cid: String,
}

/// A container to start.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) agent_id: AgentId,
    pub(crate) run: RunKey,
    pub(crate) framework: mesos::FrameworkInfo,
    pub(crate) executor: mesos::ExecutorInfo,
}

/// What a caller hears.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A status code with a text for people.
    Refused(u16, String),
    /// 202, no body.
    Accepted,
    /// 200 and a stream of events.
    Stream(ConnectionId),
    /// 200 and this.
    Response(Box<operator_api::Response>),
}

impl Core {
    /// Takes one input in and says what is to be done.
    pub(crate) fn step(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        self.now = self.now.max(now);
        match input {
            Input::Call(call, claims) => self.on_call(*call, claims.as_ref()),
            Input::Operator(call) => self.on_operator(&call),
            Input::Disconnected(connection) => self.on_disconnected(connection),
            Input::Linked => self.on_linked(),
            Input::Unlinked => (self.linked, self.registered) = (false, false),
            Input::Master(message) => self.on_master(message),
            Input::Started(container, process) => self.on_started(&container, process),
            Input::LaunchFailed { container, message, status } => {
                self.on_launch_failed(&container, message, status)
            }
            Input::Exited { container, status } => self.on_exited(&container, status),
            Input::Tick => {}
            Input::Stop => self.on_stop(),
            Input::Unregister => {
                self.tell(ToMaster::Unregister);
                self.on_stop();
            }
        }
        self.on_time();
        std::mem::take(&mut self.out)
    }

    fn answer(&mut self, answer: Answer) {
        self.out.push(Effect::Answer(answer));
    }

    fn refuse(&mut self, status: u16, text: impl Into<String>) {
        self.answer(Answer::Refused(status, text.into()));
    }

    /// Writes something down, unless its framework does not want to be remembered.
    fn keep(&mut self, keep: Keep) {
        let checkpoints = |run: &RunKey| {
            self.frameworks.get(&run.framework).is_some_and(|framework| framework.info.checkpoint())
        };
        let wanted = match &keep {
            Keep::Framework(info) => info.checkpoint(),
            Keep::Executor(run, _)
            | Keep::Task(run, _)
            | Keep::Update(run, ..)
            | Keep::Acknowledged(run, ..) => checkpoints(run),
            Keep::Agent(_) | Keep::Process(..) | Keep::Completed(_) | Keep::ForgetFramework(_) => true,
        };
        if wanted {
            self.out.push(Effect::Keep(keep));
        }
    }
}
