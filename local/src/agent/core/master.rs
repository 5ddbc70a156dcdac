//! Obeys the master.

use super::state::{Core, Drain, Phase, Stage, or_lost};
use super::updates::AgentStatus;
use super::{Effect, Keep, events};
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use crate::link::{Running, ToAgent, ToMaster};
use mesos::TaskState;
use mesos::task_status::Reason;
use proto::mesos::v1 as mesos;

impl Core {
    /// The master is there: register, or register again with all that runs here.
    pub(super) fn on_linked(&mut self) {
        if matches!(self.phase, Phase::Recovering(_) | Phase::Stopped) {
            return;
        }
        self.linked = true;
        let described = Box::new(self.described.clone());
        if self.described.info.id.is_none() {
            return self.tell(ToMaster::Register(described));
        }
        let frameworks = self.frameworks.values().filter(|framework| !framework.terminating);
        let executors = frameworks.clone().flat_map(|framework| framework.executors.values());
        let live = executors.clone().filter(|executor| executor.stage != Stage::Terminated);
        let running = Running {
            frameworks: frameworks.map(|framework| framework.info.clone()).collect(),
            executors: live.map(|executor| executor.info.clone()).collect(),
            tasks: executors
                .flat_map(|executor| executor.tasks.values())
                .map(|task| task.wire.clone())
                .collect(),
        };
        self.tell(ToMaster::Reregister(described, Box::new(running)));
    }

    pub(super) fn on_master(&mut self, message: ToAgent) {
        match message {
            ToAgent::Registered { agent_id } => self.on_registered(&agent_id),
            ToAgent::Ping => self.tell(ToMaster::Pong),
            ToAgent::Launch { framework, task } => {
                let executor = task.executor.clone();
                self.on_launch(*framework, executor, vec![*task], false);
            }
            ToAgent::LaunchGroup { framework, executor, tasks } => {
                self.on_launch(*framework, Some(*executor), tasks, true);
            }
            ToAgent::Kill { framework_id, task_id, policy } => self.on_kill(&framework_id, &task_id, policy),
            ToAgent::ShutdownExecutor { framework_id, executor_id } => {
                self.shut_down(&framework_id, &executor_id)
            }
            ToAgent::ShutdownFramework { framework_id } => self.on_shutdown_framework(&framework_id),
            ToAgent::Message { framework_id, executor_id, data } => {
                self.send(&framework_id, &executor_id, events::message(data));
            }
            ToAgent::Acknowledge { framework_id, task_id, uuid } => {
                self.on_acknowledged(&framework_id, &task_id, &uuid);
            }
            ToAgent::Operation { framework_id, operation_id } => {
                self.on_operation(framework_id, operation_id)
            }
            ToAgent::AcknowledgeOperation { uuid } => self.on_operation_acknowledged(&uuid),
            ToAgent::UpdateFramework { framework } => self.on_update_framework(*framework),
            ToAgent::Reconcile { framework_id, tasks } => self.on_reconcile(&framework_id, tasks),
            ToAgent::Drain { max_grace, mark_gone } => self.on_drain(Drain { max_grace, mark_gone }),
            ToAgent::Resources { total } => {
                self.described.info.resources = total;
                self.keep(Keep::Agent(Box::new(self.described.info.clone())));
            }
            ToAgent::EndDrain => self.drain = None,
            ToAgent::Shutdown { message } => {
                tracing::warn!(message, "the master tells this agent to end");
                self.on_stop();
            }
        }
    }

    fn on_registered(&mut self, agent_id: &AgentId) {
        self.registered = true;
        if self.id().as_ref() != Some(agent_id) {
            self.described.info.id = Some(agent_id.wire());
            self.keep(Keep::Agent(Box::new(self.described.info.clone())));
        }
        for exited in std::mem::take(&mut self.untold_exits) {
            self.tell(exited);
        }
        let all: Vec<(FrameworkId, TaskId)> = self.streams.keys().cloned().collect();
        self.resend(&all);
        self.repeat_feedback(None);
    }

    fn resend(&mut self, streams: &[(FrameworkId, TaskId)]) {
        let pause = self.timings.update_retry;
        for (framework, task) in streams {
            if let Some(stream) = self.streams.get_mut(&(framework.clone(), task.clone())) {
                stream.reset(pause);
            }
            self.forward(framework, task);
        }
    }

    fn on_update_framework(&mut self, info: mesos::FrameworkInfo) {
        let Some(id) = info.id.as_ref().map(FrameworkId::from) else { return };
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.info = info.clone();
            self.keep(Keep::Framework(Box::new(info)));
        }
        let own: Vec<_> = self.streams.keys().filter(|(framework, _)| *framework == id).cloned().collect();
        self.resend(&own);
        self.repeat_feedback(Some(&id));
    }

    fn on_kill(&mut self, id: &FrameworkId, task: &TaskId, policy: Option<mesos::KillPolicy>) {
        let Some(executor_id) = self.executor_of(id, task) else {
            let Some(framework) = self.frameworks.get(id) else { return };
            let status = AgentStatus {
                state: or_lost(&framework.info, TaskState::TaskDropped),
                reason: Reason::TaskUnknown,
                message: "Cannot find executor".into(),
            };
            return self.agent_update(id, None, task, status);
        };
        if self.executor(id, &executor_id).is_some_and(|executor| executor.is_queued(task)) {
            let status = AgentStatus {
                state: TaskState::TaskKilled,
                reason: Reason::TaskKilledDuringLaunch,
                message: "Killed before delivery to the executor".into(),
            };
            return self.agent_update(id, Some(&executor_id), task, status);
        }
        self.send(id, &executor_id, events::kill(task, policy));
    }

    /// The framework is no more: executors end, updates are not wanted any longer.
    fn on_shutdown_framework(&mut self, id: &FrameworkId) {
        self.streams.retain(|(framework, _), _| framework != id);
        self.forget_feedback(id);
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.terminating = true;
        let executors: Vec<(ExecutorId, Stage)> =
            framework.executors.iter().map(|(id, executor)| (id.clone(), executor.stage)).collect();
        for (executor, stage) in executors {
            if stage == Stage::Terminated {
                if let Some(executor) = self.executor_mut(id, &executor) {
                    executor.tasks.clear();
                }
                self.complete_if_over(id, &executor);
            } else {
                self.shut_down(id, &executor);
            }
        }
        self.forget_framework_if_empty(id);
    }

    /// Tasks that the master believes to be here and that are not.
    fn on_reconcile(&mut self, id: &FrameworkId, tasks: Vec<(TaskId, Option<ExecutorId>)>) {
        for (task, executor) in tasks {
            if self.executor_of(id, &task).is_some() {
                continue;
            }
            let known = self.frameworks.get(id).map(|framework| &framework.info);
            let status = AgentStatus {
                state: known.map_or(TaskState::TaskDropped, |info| or_lost(info, TaskState::TaskDropped)),
                reason: Reason::Reconciliation,
                message: "Reconciliation: task unknown to the agent".into(),
            };
            self.agent_update(id, executor.as_ref(), &task, status);
        }
    }

    fn on_drain(&mut self, drain: Drain) {
        self.drain = Some(drain);
        let policy = drain.max_grace.map(|grace| mesos::KillPolicy {
            grace_period: Some(mesos::DurationInfo {
                nanoseconds: i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX),
            }),
        });
        let tasks: Vec<(FrameworkId, TaskId)> = self
            .frameworks
            .iter()
            .flat_map(|(id, framework)| framework.executors.values().map(move |executor| (id, executor)))
            .flat_map(|(id, executor)| executor.tasks.iter().map(move |(task, kept)| (id, task, kept)))
            .filter(|(_, _, kept)| kept.is_live())
            .map(|(id, task, _)| (id.clone(), task.clone()))
            .collect();
        for (id, task) in tasks {
            self.on_kill(&id, &task, policy);
        }
    }

    /// Ends every executor: those that listen get their grace period, the others are destroyed.
    pub(super) fn on_stop(&mut self) {
        if matches!(self.phase, Phase::Stopping | Phase::Stopped) {
            return;
        }
        self.phase = Phase::Stopping;
        let executors: Vec<(FrameworkId, ExecutorId)> = self
            .frameworks
            .iter()
            .flat_map(|(id, framework)| {
                framework.executors.keys().map(move |executor| (id.clone(), executor.clone()))
            })
            .collect();
        for (id, executor_id) in executors {
            self.shut_down(&id, &executor_id);
            let deaf = self
                .executor(&id, &executor_id)
                .filter(|executor| executor.stage != Stage::Terminated && executor.subscription.is_none())
                .map(|executor| executor.container.clone());
            if let Some(container) = deaf {
                self.out.push(Effect::Destroy(container));
            }
        }
    }
}
