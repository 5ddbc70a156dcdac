//! Holds what an agent knows: its frameworks, executors, tasks, and the updates on their way.

use super::operations::Feedback;
use super::streams::Stream;
use super::{Birth, ConnectionId, ContainerId, Effect, RunKey};
use crate::agent::process::Process;
use crate::chance::Chance;
use crate::clock::Moment;
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use crate::link::{Described, ToMaster};
use crate::master::core::is_terminal;
use crate::settings::Timings;
use mesos::framework_info::capability::Type as Capability;
use mesos::task_status::Reason;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;
use std::time::Duration;

/// An agent.
pub(crate) struct Core {
    pub(super) described: Described,
    pub(super) timings: Timings,
    pub(super) chance: Chance,
    pub(super) phase: Phase,
    /// The master can be told something.
    pub(super) linked: bool,
    /// The master has taken this agent in.
    pub(super) registered: bool,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(super) streams: BTreeMap<(FrameworkId, TaskId), Stream>,
    pub(super) drain: Option<Drain>,
    pub(super) connections: u64,
    pub(super) feedback: Vec<Feedback>,
    /// Ends of executors that the master has not heard of yet.
    pub(super) untold_exits: Vec<ToMaster>,
    /// The time of this step.
    pub(super) now: Moment,
    /// What this step has decided so far.
    pub(super) out: Vec<Effect>,
}

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits until then for executors of the last run; calls other than SUBSCRIBE are put off.
    Recovering(Moment),
    Running,
    /// Ends its executors.
    Stopping,
    /// Has none left.
    Stopped,
}

/// How an agent is being drained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) max_grace: Option<Duration>,
    pub(super) mark_gone: bool,
}

/// A framework with executors here.
pub(super) struct Framework {
    pub(super) info: mesos::FrameworkInfo,
    pub(super) executors: BTreeMap<ExecutorId, Executor>,
    /// It is no more: its executors are ended, their updates are not wanted.
    pub(super) terminating: bool,
}

/// An executor, from its launch until all its updates are acknowledged.
pub(super) struct Executor {
    pub(super) info: mesos::ExecutorInfo,
    pub(super) container: ContainerId,
    pub(super) stage: Stage,
    pub(super) process: Option<Process>,
    pub(super) subscription: Option<Subscription>,
    /// What happens when.
    pub(super) deadline: Option<Moment>,
    /// Why its live tasks end, when the agent itself ends it.
    pub(super) ending: Option<Ending>,
    /// Tasks that wait for the executor to subscribe, in order; groups together.
    pub(super) queued: Vec<Queued>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
}

/// Where an executor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Launched, not subscribed; destroyed at the deadline.
    Starting,
    /// Of the last run, not subscribed again; destroyed when recovery ends.
    Awaited,
    Running,
    /// Told to end; destroyed at the deadline.
    Terminating,
    /// Ended; stays for its unacknowledged updates.
    Terminated,
}

pub(super) struct Subscription {
    pub(super) connection: ConnectionId,
    pub(super) next_heartbeat: Moment,
}

/// State, reason and text for the tasks of an executor that the agent ends.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) state: mesos::TaskState,
    pub(super) reason: Reason,
    pub(super) message: String,
}

pub(super) enum Queued {
    Task(TaskId),
    Group(Vec<TaskId>),
}

impl Queued {
    pub(super) fn tasks(&self) -> &[TaskId] {
        match self {
            Self::Task(task) => std::slice::from_ref(task),
            Self::Group(tasks) => tasks,
        }
    }
}

pub(super) struct Task {
    pub(super) info: mesos::TaskInfo,
    pub(super) wire: mesos::Task,
}

impl Task {
    pub(super) fn is_live(&self) -> bool {
        !is_terminal(self.wire.state())
    }
}

impl Core {
    /// An agent that has just started.
    pub(crate) fn new(birth: Birth, now: Moment) -> Self {
        let mut core = Self {
            described: birth.described,
            timings: birth.timings,
            chance: Chance::new(birth.seed),
            phase: Phase::Recovering(now),
            linked: false,
            registered: false,
            frameworks: BTreeMap::new(),
            streams: BTreeMap::new(),
            drain: None,
            connections: 0,
            feedback: Vec::new(),
            untold_exits: Vec::new(),
            now,
            out: Vec::new(),
        };
        core.recover(birth.recovered);
        core
    }

    pub(super) fn id(&self) -> Option<AgentId> {
        self.described.info.id.as_ref().map(AgentId::from)
    }

    pub(super) fn executor(&self, framework: &FrameworkId, executor: &ExecutorId) -> Option<&Executor> {
        self.frameworks.get(framework)?.executors.get(executor)
    }

    pub(super) fn executor_mut(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<&mut Executor> {
        self.frameworks.get_mut(framework)?.executors.get_mut(executor)
    }

    /// The executor in a container.
    pub(super) fn in_container(&self, container: &ContainerId) -> Option<(FrameworkId, ExecutorId)> {
        self.frameworks.iter().find_map(|(id, framework)| {
            let (executor, _) =
                framework.executors.iter().find(|(_, executor)| executor.container == *container)?;
            Some((id.clone(), executor.clone()))
        })
    }

    /// The executor of a task.
    pub(super) fn executor_of(&self, framework: &FrameworkId, task: &TaskId) -> Option<ExecutorId> {
        let framework = self.frameworks.get(framework)?;
        framework
            .executors
            .iter()
            .find(|(_, executor)| executor.tasks.contains_key(task))
            .map(|(id, _)| id.clone())
    }

    pub(super) fn run_key(&self, framework: &FrameworkId, executor: &ExecutorId) -> Option<RunKey> {
        let container = self.executor(framework, executor)?.container.clone();
        Some(RunKey { framework: framework.clone(), executor: executor.clone(), container })
    }
}

impl Executor {
    pub(super) fn new(info: mesos::ExecutorInfo, container: ContainerId) -> Self {
        Self {
            info,
            container,
            stage: Stage::Starting,
            process: None,
            subscription: None,
            deadline: None,
            ending: None,
            queued: Vec::new(),
            tasks: BTreeMap::new(),
        }
    }

    pub(super) fn is_queued(&self, task: &TaskId) -> bool {
        self.queued.iter().any(|queued| queued.tasks().contains(task))
    }

    /// Takes a task out of those that wait.
    pub(super) fn unqueue(&mut self, task: &TaskId) {
        for entry in &mut self.queued {
            if let Queued::Group(tasks) = entry {
                tasks.retain(|queued| queued != task);
            }
        }
        self.queued.retain(|entry| match entry {
            Queued::Task(queued) => queued != task,
            Queued::Group(tasks) => !tasks.is_empty(),
        });
    }

    /// How long it may take to end.
    pub(super) fn grace(&self, default: Duration) -> Duration {
        let own = self.info.shutdown_grace_period.and_then(|grace| u64::try_from(grace.nanoseconds).ok());
        own.map_or(default, Duration::from_nanos)
    }
}

/// The state itself for frameworks that know of partitions, LOST for others.
pub(super) fn or_lost(framework: &mesos::FrameworkInfo, state: mesos::TaskState) -> mesos::TaskState {
    let aware = framework.capabilities.iter().any(|has| has.r#type() == Capability::PartitionAware);
    if aware { state } else { mesos::TaskState::TaskLost }
}
