//! Answers operators: what there is, and what they want done.

use super::agents::Leaving;
use super::state::Core;
use super::{Answer, Effect, describe};
use crate::ids::{AgentId, FrameworkId};
use crate::link::ToAgent;
use operator_api::call::Type;
use operator_api::response::Type as Answered;
use operator_api::{Call, Response, response};
use proto::mesos::v1::{self as mesos, master as operator_api};
use std::time::Duration;

/// So many operators' streams are served; the oldest goes when there are more.
const WATCHERS: usize = 1000;

impl Core {
    pub(super) fn on_operator(&mut self, call: &Call) {
        let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else {
            return self.refuse(400, missing("type"));
        };
        match kind {
            Type::Subscribe => self.on_watch(),
            Type::Teardown => self.on_operator_teardown(call.teardown.as_ref()),
            Type::MarkAgentGone => self.on_mark_gone(call.mark_agent_gone.as_ref()),
            Type::DrainAgent => self.on_drain(call.drain_agent.as_ref()),
            Type::DeactivateAgent => {
                let id = call.deactivate_agent.as_ref().map(|call| AgentId::from(&call.agent_id));
                self.set_deactivated(id, true);
            }
            Type::ReactivateAgent => {
                let id = call.reactivate_agent.as_ref().map(|call| AgentId::from(&call.agent_id));
                self.set_deactivated(id, false);
            }
            Type::UnreserveResources => self.on_operator_unreserve(call.unreserve_resources.as_ref()),
            Type::UpdateMaintenanceSchedule => self.on_schedule(call.update_maintenance_schedule.as_ref()),
            Type::StartMaintenance => self.on_machines_down(call.start_maintenance.as_ref()),
            Type::StopMaintenance => self.on_machines_up(call.stop_maintenance.as_ref()),
            _ => match self.describe_for(kind) {
                Some(response) => self.answer(Answer::Response(Box::new(response))),
                None => self.refuse(501, format!("{} is not implemented here", kind.as_str_name())),
            },
        }
    }

    fn describe_for(&self, kind: Type) -> Option<Response> {
        let response = |kind: Answered| Response { r#type: Some(kind.into()), ..Default::default() };
        Some(match kind {
            Type::GetHealth => {
                let health = response::GetHealth { healthy: true };
                Response { get_health: Some(health), ..response(Answered::GetHealth) }
            }
            Type::GetVersion => {
                let version_info =
                    mesos::VersionInfo { version: self.info.version().to_owned(), ..Default::default() };
                Response {
                    get_version: Some(response::GetVersion { version_info }),
                    ..response(Answered::GetVersion)
                }
            }
            Type::GetMaster => {
                let started = Some(self.started.as_secs_f64());
                let master = response::GetMaster {
                    master_info: Some(self.info.clone()),
                    start_time: started,
                    elected_time: started,
                };
                Response { get_master: Some(master), ..response(Answered::GetMaster) }
            }
            Type::GetFlags => {
                let flags = response::GetFlags { flags: self.flags() };
                Response { get_flags: Some(flags), ..response(Answered::GetFlags) }
            }
            Type::GetMetrics => {
                let metrics = response::GetMetrics { metrics: self.describe_metrics() };
                Response { get_metrics: Some(metrics), ..response(Answered::GetMetrics) }
            }
            Type::GetState => {
                Response { get_state: Some(self.describe_state()), ..response(Answered::GetState) }
            }
            Type::GetAgents => {
                Response { get_agents: Some(self.describe_agents()), ..response(Answered::GetAgents) }
            }
            Type::GetFrameworks => Response {
                get_frameworks: Some(self.describe_frameworks()),
                ..response(Answered::GetFrameworks)
            },
            Type::GetExecutors => Response {
                get_executors: Some(self.describe_executors()),
                ..response(Answered::GetExecutors)
            },
            Type::GetTasks => {
                Response { get_tasks: Some(self.describe_tasks()), ..response(Answered::GetTasks) }
            }
            Type::GetRoles => {
                Response { get_roles: Some(self.describe_roles()), ..response(Answered::GetRoles) }
            }
            Type::GetMaintenanceStatus => {
                let status = response::GetMaintenanceStatus { status: self.describe_maintenance() };
                Response { get_maintenance_status: Some(status), ..response(Answered::GetMaintenanceStatus) }
            }
            Type::GetMaintenanceSchedule => {
                let schedule =
                    response::GetMaintenanceSchedule { schedule: self.maintenance.schedule.clone() };
                Response {
                    get_maintenance_schedule: Some(schedule),
                    ..response(Answered::GetMaintenanceSchedule)
                }
            }
            Type::GetOperations => {
                let operations = self.describe_operations();
                Response { get_operations: Some(operations), ..response(Answered::GetOperations) }
            }
            _ => return None,
        })
    }

    fn flags(&self) -> Vec<mesos::Flag> {
        let text = crate::clock::duration_text;
        [
            ("allocation_interval", text(self.timings.allocation)),
            ("agent_ping_timeout", text(self.timings.agent_ping)),
            ("max_agent_ping_timeouts", self.timings.agent_ping_misses.to_string()),
            ("agent_reregister_timeout", text(self.timings.agent_reregister)),
            ("roles", self.roles.join(",")),
        ]
        .into_iter()
        .map(|(name, value)| mesos::Flag { name: name.to_owned(), value: Some(value) })
        .collect()
    }

    fn on_watch(&mut self) {
        let connection = self.new_connection();
        self.answer(Answer::Stream { connection, stream_id: None });
        if self.watchers.len() >= WATCHERS
            && let Some((oldest, _)) = self.watchers.pop_first()
        {
            self.out.push(Effect::Close(oldest));
        }
        let interval = self.timings.heartbeat;
        let subscribed = describe::subscribed(self.describe_state(), interval.as_secs_f64());
        self.out.push(Effect::Publish(connection, Box::new(subscribed)));
        self.out.push(Effect::Publish(connection, Box::new(describe::heartbeat())));
        self.watchers.insert(connection, self.now + interval);
    }

    fn on_operator_teardown(&mut self, teardown: Option<&operator_api::call::Teardown>) {
        let Some(teardown) = teardown else {
            return self.refuse(400, missing("teardown"));
        };
        let id = FrameworkId::from(&teardown.framework_id);
        if !self.frameworks.contains_key(&id) {
            return self.refuse(400, format!("No framework found with ID {id}"));
        }
        self.answer(Answer::Done);
        self.remove_framework(&id, "Framework has been torn down");
    }

    fn on_mark_gone(&mut self, call: Option<&operator_api::call::MarkAgentGone>) {
        let Some(call) = call else {
            return self.refuse(400, missing("mark_agent_gone"));
        };
        let id = AgentId::from(&call.agent_id);
        let away = self.recovered.contains_key(&id) || self.unreachable.contains_key(&id);
        if self.agents.contains_key(&id) {
            self.answer(Answer::Done);
            self.remove_agent(&id, Leaving::Gone);
        } else if away {
            self.answer(Answer::Done);
            self.recovered.remove(&id);
            self.unreachable.remove(&id);
            self.gone.insert(id.clone());
            self.remember();
            self.end_unreachable_tasks(&id);
            self.broadcast_failure(&id);
        } else if self.gone.contains(&id) {
            self.answer(Answer::Done);
        } else {
            self.refuse(404, "Agent not found");
        }
    }

    /// Tasks that waited for an agent that now never returns.
    fn end_unreachable_tasks(&mut self, agent: &AgentId) {
        for framework in self.frameworks.values_mut() {
            let ids: Vec<_> = framework
                .unreachable
                .iter()
                .filter(|(_, task)| task.agent_id.value == agent.0)
                .map(|(id, _)| id.clone())
                .collect();
            for id in ids {
                if let Some(mut task) = framework.unreachable.remove(&id) {
                    task.state = mesos::TaskState::TaskGoneByOperator.into();
                    framework.retire(task);
                }
            }
        }
    }

    fn on_drain(&mut self, call: Option<&operator_api::call::DrainAgent>) {
        let Some(call) = call else {
            return self.refuse(400, missing("drain_agent"));
        };
        let id = AgentId::from(&call.agent_id);
        let Some(agent) = self.agents.get_mut(&id) else { return self.refuse(404, "Agent not found") };
        let max_grace = call.max_grace_period.as_ref().map(|grace| {
            Duration::from_secs(grace.seconds().try_into().unwrap_or_default())
                + Duration::from_nanos(grace.nanos().try_into().unwrap_or_default())
        });
        let nanoseconds = max_grace.map(|grace| i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX));
        agent.drain = Some(mesos::DrainInfo {
            state: mesos::DrainState::Draining.into(),
            config: mesos::DrainConfig {
                max_grace_period: nanoseconds.map(|nanoseconds| mesos::DurationInfo { nanoseconds }),
                mark_gone: Some(call.mark_gone()),
            },
        });
        let mark_gone = call.mark_gone();
        self.answer(Answer::Done);
        self.withdraw(&id);
        self.tell_agent(&id, ToAgent::Drain { max_grace, mark_gone });
    }

    fn set_deactivated(&mut self, id: Option<AgentId>, deactivated: bool) {
        let Some(id) = id else {
            return self.refuse(400, "Failed to validate master::Call: Expecting the agent to be named");
        };
        let Some(agent) = self.agents.get_mut(&id) else { return self.refuse(404, "Agent not found") };
        agent.deactivated = deactivated;
        let was_draining = !deactivated && agent.drain.take().is_some();
        self.answer(Answer::Done);
        if deactivated {
            self.withdraw(&id);
        } else {
            if was_draining {
                self.tell_agent(&id, ToAgent::EndDrain);
            }
            self.allocate();
        }
    }
}

pub(super) fn missing(name: &str) -> String {
    format!("Failed to validate master::Call: Expecting '{name}' to be present")
}

/// A duration of the wire; a negative one is none.
pub(super) fn duration(wire: &mesos::DurationInfo) -> Duration {
    Duration::from_nanos(wire.nanoseconds.try_into().unwrap_or_default())
}
