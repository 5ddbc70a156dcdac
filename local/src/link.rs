//! What the master and an agent say to each other; a real Mesos says it over its internal protocol.
//!
//! Agent to master waits when the master is busy; master to agent never waits: a full queue breaks the link, and the
//! agent registers again. So neither can block the other for good.

use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use proto::mesos::v1 as mesos;

/// One connection between an agent and the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// From the master to an agent.
#[derive(Clone, Debug)]
pub(crate) enum ToAgent {
    /// The agent is known now, under this id.
    Registered { agent_id: AgentId },
    /// These tasks, which the master had and the agent did not name, are asked for.
    Reconcile { framework_id: FrameworkId, tasks: Vec<(TaskId, Option<ExecutorId>)> },
    /// Start a task, and its executor when it does not run.
    Launch { framework: Box<mesos::FrameworkInfo>, task: Box<mesos::TaskInfo> },
    /// Start tasks together on one executor.
    LaunchGroup {
        framework: Box<mesos::FrameworkInfo>,
        executor: Box<mesos::ExecutorInfo>,
        tasks: Vec<mesos::TaskInfo>,
    },
    /// Stop a task.
    Kill { framework_id: FrameworkId, task_id: TaskId, policy: Option<mesos::KillPolicy> },
    /// Stop an executor.
    ShutdownExecutor { framework_id: FrameworkId, executor_id: ExecutorId },
    /// Stop all executors of a framework that is no more.
    ShutdownFramework { framework_id: FrameworkId },
    /// A message of the scheduler.
    Message { framework_id: FrameworkId, executor_id: ExecutorId, data: Vec<u8> },
    /// The scheduler has an update.
    Acknowledge { framework_id: FrameworkId, task_id: TaskId, uuid: Vec<u8> },
    /// An operation was applied that its scheduler wants to hear of.
    Operation { framework_id: FrameworkId, operation_id: mesos::OperationId },
    /// The scheduler has the status of an operation.
    AcknowledgeOperation { uuid: Vec<u8> },
    /// A framework (re)subscribed or changed: its updates are to be sent again.
    UpdateFramework { framework: Box<mesos::FrameworkInfo> },
    /// What the agent has, after reservations were made or ended; to be kept.
    Resources { total: Vec<mesos::Resource> },
    /// Are you there?
    Ping,
    /// Stop every task, as a drain does.
    Drain { max_grace: Option<std::time::Duration>, mark_gone: bool },
    /// The agent may take tasks again.
    EndDrain,
    /// This agent was marked gone and must end.
    Shutdown { message: String },
}

/// From an agent to the master.
#[derive(Clone, Debug)]
pub(crate) enum ToMaster {
    /// An agent without an id.
    Register(Box<Described>),
    /// An agent that was known before, with all that runs on it.
    Reregister(Box<Described>, Box<Running>),
    /// A status update that wants an acknowledgement.
    Update { framework_id: FrameworkId, status: Box<mesos::TaskStatus>, latest: mesos::TaskState },
    /// How an operation ended; wants an acknowledgement.
    OperationStatus { framework_id: FrameworkId, status: Box<mesos::OperationStatus> },
    /// An executor ended (raw wait status, -1 when unknown).
    ExecutorExited { framework_id: FrameworkId, executor_id: ExecutorId, status: i32 },
    /// A message of an executor.
    Message { framework_id: FrameworkId, executor_id: ExecutorId, data: Vec<u8> },
    /// Yes, I am.
    Pong,
    /// The agent leaves for good.
    Unregister,
}

/// An agent as it describes itself.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) info: mesos::AgentInfo,
    /// `slave(1)@ip:port`.
    pub(crate) pid: String,
    pub(crate) version: String,
    pub(crate) capabilities: Vec<mesos::agent_info::capability::Type>,
}

/// What runs on an agent when it registers again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running {
    pub(crate) frameworks: Vec<mesos::FrameworkInfo>,
    pub(crate) executors: Vec<mesos::ExecutorInfo>,
    /// Live tasks, and terminal ones whose last update is not acknowledged.
    pub(crate) tasks: Vec<mesos::Task>,
}
