//! Keeps the maintenance schedule: which machines are to be away and when, and which are away now.

use super::agents::Leaving;
use super::inverse::InverseOffers;
use super::state::Core;
use super::{Answer, operator};
use crate::ids::AgentId;
use crate::master::registry::Registry;
use maintenance::cluster_status::DrainingMachine;
use maintenance::{ClusterStatus, Schedule, Window};
use mesos::{AgentInfo, MachineId, Unavailability};
use proto::mesos::v1::{self as mesos, maintenance, master as operator_api};
use std::collections::{BTreeMap, BTreeSet};

/// Machines by what names them, with the time when they are to be away.
type Planned = BTreeMap<String, Unavailability>;

/// The schedule, the machines that are down, and what frameworks were asked and said about it.
#[derive(Default)]
pub(super) struct Maintenance {
    pub(super) schedule: Schedule,
    planned: Planned,
    pub(super) down: Vec<MachineId>,
    pub(super) inverse: InverseOffers,
}

impl Maintenance {
    /// What earlier masters wrote down.
    pub(super) fn recovered(registry: &Registry) -> Self {
        let (schedule, down) = (registry.schedule.clone(), registry.down.clone());
        let planned = planned(&schedule);
        Self { schedule, planned, down, inverse: InverseOffers::default() }
    }

    /// When a machine is to be away.
    fn unavailability(&self, machine: &MachineId) -> Option<Unavailability> {
        self.planned.get(&named(machine)).copied()
    }

    pub(super) fn is_down(&self, machine: &MachineId) -> bool {
        self.down.contains(machine)
    }
}

fn planned(schedule: &Schedule) -> Planned {
    let windows = schedule.windows.iter();
    let machines = windows.flat_map(|window| window.machine_ids.iter().map(move |machine| (machine, window)));
    machines.map(|(machine, window)| (named(machine), window.unavailability)).collect()
}

/// A machine as it is compared: host names in lower case.
fn normal(machine: &MachineId) -> MachineId {
    MachineId { hostname: machine.hostname.as_ref().map(|name| name.to_lowercase()), ip: machine.ip.clone() }
}

/// The machine of an agent: its host name and the address in its `pid`.
pub(super) fn machine(info: &AgentInfo, pid: &str) -> MachineId {
    let ip = pid.split_once('@').and_then(|(_, at)| at.rsplit_once(':')).map(|(ip, _)| ip.to_owned());
    MachineId { hostname: Some(info.hostname.to_lowercase()), ip }
}

fn named(machine: &MachineId) -> String {
    format!("{} ({})", machine.hostname(), machine.ip())
}

impl Core {
    fn machine_of(&self, agent: &AgentId) -> Option<MachineId> {
        let described = &self.agents.get(agent)?.described;
        Some(machine(&described.info, &described.pid))
    }

    /// When the machine of an agent is to be away, if it is.
    pub(super) fn unavailability(&self, agent: &AgentId) -> Option<Unavailability> {
        if self.maintenance.schedule.windows.is_empty() {
            return None;
        }
        self.maintenance.unavailability(&self.machine_of(agent)?)
    }

    /// Replaces the schedule. Every offer is withdrawn, so that frameworks hear of the change with the next ones.
    pub(super) fn on_schedule(&mut self, call: Option<&operator_api::call::UpdateMaintenanceSchedule>) {
        let Some(call) = call else {
            return self.refuse(400, operator::missing("update_maintenance_schedule"));
        };
        let windows = call.schedule.windows.iter().map(|window| Window {
            machine_ids: window.machine_ids.iter().map(normal).collect(),
            unavailability: window.unavailability,
        });
        let schedule = Schedule { windows: windows.collect() };
        if let Some(problem) = self.schedule_error(&schedule) {
            return self.refuse(400, problem);
        }
        self.answer(Answer::Done);
        self.maintenance.planned = planned(&schedule);
        self.maintenance.schedule = schedule;
        self.remember();
        self.rescind(|_| true);
        self.rescind_inverse(|_| true);
        self.maintenance.inverse = InverseOffers::default();
        self.allocate();
    }

    fn schedule_error(&self, schedule: &Schedule) -> Option<String> {
        let mut seen = BTreeSet::new();
        for window in &schedule.windows {
            if window.machine_ids.is_empty() {
                return Some("List of machines in the maintenance window is empty".into());
            }
            if window.unavailability.duration.is_some_and(|duration| duration.nanoseconds < 0) {
                return Some("Unavailability 'duration' is negative".into());
            }
            for machine in &window.machine_ids {
                if machine.hostname().is_empty() && machine.ip().is_empty() {
                    return Some("Both 'hostname' and 'ip' for a machine are empty".into());
                }
                if !seen.insert(named(machine)) {
                    return Some(format!(
                        "Machine '{}' appears more than once in the schedule",
                        named(machine)
                    ));
                }
            }
        }
        let missing = self.maintenance.down.iter().find(|machine| !seen.contains(&named(machine)));
        missing.map(|machine| {
            format!("Machine '{}' is deactivated and cannot be removed from the schedule", named(machine))
        })
    }

    /// Machines go down: their agents are removed, and none of them is let in until they are up.
    pub(super) fn on_machines_down(&mut self, call: Option<&operator_api::call::StartMaintenance>) {
        let Some(call) = call else { return self.refuse(400, operator::missing("start_maintenance")) };
        let machines: Vec<MachineId> = call.machines.iter().map(normal).collect();
        let problem = machines_error(&machines, |machine| {
            let scheduled = self.maintenance.unavailability(machine).is_some();
            (!scheduled).then_some("is not part of a maintenance schedule").or_else(|| {
                let down = self.maintenance.is_down(machine);
                down.then_some("is not in DRAINING mode and cannot be brought down")
            })
        });
        if let Some(problem) = problem {
            return self.refuse(400, problem);
        }
        self.answer(Answer::Done);
        self.maintenance.down.extend(machines);
        self.remember();
        let there =
            |id: &&AgentId| self.machine_of(id).is_some_and(|machine| self.maintenance.is_down(&machine));
        let agents: Vec<AgentId> = self.agents.keys().filter(there).cloned().collect();
        for agent in agents {
            self.remove_agent(&agent, Leaving::MachineDown);
        }
    }

    /// Machines are up again: they leave the schedule, and their agents may come back.
    pub(super) fn on_machines_up(&mut self, call: Option<&operator_api::call::StopMaintenance>) {
        let Some(call) = call else { return self.refuse(400, operator::missing("stop_maintenance")) };
        let machines: Vec<MachineId> = call.machines.iter().map(normal).collect();
        let problem = machines_error(&machines, |machine| {
            let down = self.maintenance.is_down(machine);
            (!down).then_some("is not in DOWN mode and cannot be brought up")
        });
        if let Some(problem) = problem {
            return self.refuse(400, problem);
        }
        self.answer(Answer::Done);
        self.maintenance.down.retain(|machine| !machines.contains(machine));
        for window in &mut self.maintenance.schedule.windows {
            window.machine_ids.retain(|machine| !machines.contains(machine));
        }
        self.maintenance.schedule.windows.retain(|window| !window.machine_ids.is_empty());
        self.maintenance.planned = planned(&self.maintenance.schedule);
        self.remember();
    }

    pub(super) fn describe_maintenance(&self) -> ClusterStatus {
        let planned = self.maintenance.schedule.windows.iter().flat_map(|window| &window.machine_ids);
        let draining = planned.filter(|machine| !self.maintenance.is_down(machine)).map(|machine| {
            let here = |agent: &AgentId| self.machine_of(agent).as_ref() == Some(machine);
            DrainingMachine { id: machine.clone(), statuses: self.maintenance.inverse.answers(here) }
        });
        ClusterStatus { draining_machines: draining.collect(), down_machines: self.maintenance.down.clone() }
    }
}

fn machines_error(
    machines: &[MachineId],
    problem: impl Fn(&MachineId) -> Option<&'static str>,
) -> Option<String> {
    if machines.is_empty() {
        return Some("List of machines is empty".into());
    }
    machines
        .iter()
        .find_map(|machine| problem(machine).map(|problem| format!("Machine '{}' {problem}", named(machine))))
}
