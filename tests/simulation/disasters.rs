//! Lets things go wrong, again and again, until calm.
use crate::faults::Fault;
use crate::machines::Machine;
use crate::wire::Caller;
use crate::world::{BEGAN, Event, World, note};
use prost::Message;
use proto::mesos::v1::{self as mesos, maintenance, master};
use std::time::Duration;

impl World {
    /// A fault strikes, and will again.
    pub(crate) fn disaster(&mut self, fault: Fault) {
        if self.calm {
            return;
        }
        let again = self.now + self.chance.seconds(5..120);
        self.queue.add(again, Event::Disaster(fault));
        match fault {
            Fault::MasterFailover => self.kill_master(),
            Fault::MasterUnreachable => self.lose_master(),
            Fault::StalledHeartbeats => {
                self.hold_heartbeats(true);
                let at = self.now + self.chance.seconds(1..200);
                self.queue.add(at, Event::HeartbeatsGoOn);
            }
            Fault::HalfOpen => self.with_connection(|world, id| {
                note!(world, "connection {id} goes silent");
                if let Some(connection) = world.connections.get_mut(&id) {
                    connection.silent = true;
                }
            }),
            Fault::ConnectionBreak => self.with_connection(Self::break_connection),
            Fault::FrameworkRemoved if self.chance.hits(0.3) => self.remove_framework(),
            Fault::SchedulerCrash => {
                let process = self.chance.number(0..self.processes.len());
                self.crash(process);
            }
            Fault::SchedulerFrozen => self.freeze(),
            Fault::TwoSchedulers => self.depose(),
            Fault::ClockJump => {
                self.wall_ahead = self.chance.seconds(0..100_000);
                note!(self, "the wall clock is {:?} ahead", self.wall_ahead);
            }
            Fault::ControlBreak => self.with_executor(Self::detach),
            Fault::DeniedReservations => {
                self.master.denies = !self.master.denies;
                self.fail_master();
            }
            Fault::Upgrades => self.order_something(),
            Fault::Teardown if self.chance.hits(0.1) => self.order_teardown(),
            _ => self.disaster_on_machine(fault),
        }
    }

    fn disaster_on_machine(&mut self, fault: Fault) {
        let machine = self.chance.number(0..self.machines.len());
        let back = self.now + self.chance.seconds(0..120);
        match fault {
            Fault::AgentRestart => {
                self.kill_agent(machine);
                self.queue.add(back, Event::AgentStarts(machine));
            }
            Fault::AgentVanishes => {
                self.kill_agent(machine);
                self.kill_executors(machine);
                self.queue.add(back, Event::AgentStarts(machine));
            }
            Fault::AgentPartition => {
                let long = self.chance.hits(0.5);
                let lasts = if long { self.chance.seconds(60..300) } else { self.chance.seconds(1..60) };
                note!(self, "agent {machine} is cut off for {lasts:?}");
                self.machines[machine].cut_off_until = self.now + lasts;
                if self.chance.hits(0.5) {
                    self.break_link(machine);
                }
            }
            Fault::LinkBreak => self.break_link(machine),
            Fault::AgentGone if self.chance.hits(0.5) => self.operate(machine, gone),
            Fault::AgentDrain => {
                self.operate(machine, drain);
                self.queue.add(back, Event::Reactivate(machine));
            }
            Fault::AgentDeactivated => {
                self.operate(machine, deactivate);
                self.queue.add(back, Event::Reactivate(machine));
            }
            Fault::Maintenance => {
                let from = self.now + self.chance.seconds(10..300);
                let to = from + self.chance.seconds(10..300);
                self.machines[machine].maintenance = Some((from, to));
                self.schedule_maintenance();
                self.queue.add(to + Duration::from_millis(1), Event::Schedule);
            }
            Fault::AgentWiped if self.chance.hits(0.5) => {
                self.kill_agent(machine);
                if self.chance.hits(0.7) {
                    self.kill_executors(machine);
                }
                self.machines[machine].to_be_wiped = true;
                self.queue.add(back, Event::AgentStarts(machine));
            }
            // The others strike by the way.
            _ => {}
        }
    }

    fn lose_master(&mut self) {
        let lasts = self.chance.seconds(1..200);
        note!(self, "schedulers cannot reach the master for {lasts:?}");
        self.master.away_until = self.now + lasts;
        self.connections.values_mut().for_each(|connection| connection.silent = true);
        self.queue.add(self.master.away_until, Event::MasterReached);
    }

    fn with_connection(&mut self, what: impl FnOnce(&mut Self, u64)) {
        let open: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.client_open).map(|(id, _)| *id).collect();
        if let Some(id) = self.chance.pick(&open) {
            what(self, id);
        }
    }

    fn with_executor(&mut self, what: impl FnOnce(&mut Self, usize, &str)) {
        let machine = self.chance.number(0..self.machines.len());
        let all: Vec<String> = self.machines[machine].executors.keys().cloned().collect();
        if let Some(container) = self.chance.pick(&all) {
            what(self, machine, &container);
        }
    }

    fn remove_framework(&mut self) {
        let Some(id) = self.store.framework.clone() else { return };
        if self.master.core.is_none() {
            return;
        }
        note!(self, "an operator removes framework {id}");
        self.removed_frameworks.insert(id.0.clone());
        let framework_id = mesos::FrameworkId { value: id.0 };
        let teardown = Some(master::call::Teardown { framework_id });
        let kind = Some(master::call::Type::Teardown.into());
        let body = master::Call { teardown, r#type: kind, ..Default::default() }.encode_to_vec();
        self.master_step(Caller::Nobody, |master, now| master.operated(&body, now));
    }

    fn freeze(&mut self) {
        let process = self.chance.number(0..self.processes.len());
        let lasts = self.chance.seconds(1..60);
        let until = self.now + lasts;
        self.processes[process].frozen_until = until;
        self.queue.add(until, Event::Thaw(process));
        note!(self, "s{process} is frozen for {lasts:?}");
        if lasts > Duration::from_secs(10) {
            self.depose_one(process);
        }
    }

    fn depose(&mut self) {
        if let Some((process, _)) = self.elected {
            self.depose_one(process);
        }
    }

    /// The election holds a leader for dead, who does not know that yet.
    fn depose_one(&mut self, process: usize) {
        let Some(run) = self.elected.filter(|(elected, _)| *elected == process) else { return };
        if self.processes.len() < 2 {
            return;
        }
        note!(self, "the election gives s{process} up");
        self.elected = None;
        self.queue.add(self.now, Event::Elect);
        let told = self.now + self.chance.seconds(0..60);
        self.queue.add(told, Event::Deposed(run));
    }

    fn break_link(&mut self, machine: usize) {
        if let Some(link) = self.machines[machine].link {
            self.cut_link(link);
        }
    }

    fn kill_executors(&mut self, machine: usize) {
        let all: Vec<String> = self.machines[machine].executors.keys().cloned().collect();
        for container in all {
            self.exits(machine, &container, 9);
        }
    }

    /// An operator does something to an agent.
    fn operate(&mut self, machine: usize, call: fn(mesos::AgentId) -> master::Call) {
        let Some(id) = self.machines[machine].agent_id() else { return };
        let call = call(mesos::AgentId { value: id });
        note!(self, "an operator asks for {:?} of agent {machine}", call.r#type());
        let body = call.encode_to_vec();
        self.master_step(Caller::Nobody, |master, now| master.operated(&body, now));
    }

    /// An operator writes down which machines are planned to be away.
    pub(crate) fn schedule_maintenance(&mut self) {
        let (now, calm) = (self.now, self.calm);
        let planned = self.machines.iter().filter_map(|machine| Some((machine, machine.maintenance?)));
        let window = |(machine, (from, to)): (&Machine, (Duration, Duration))| maintenance::Window {
            machine_ids: vec![machine.machine_id()],
            unavailability: mesos::Unavailability {
                start: mesos::TimeInfo { nanoseconds: nanoseconds(from) },
                duration: Some(mesos::DurationInfo { nanoseconds: nanoseconds(to - from) }),
            },
        };
        let windows: Vec<_> = planned.filter(|(_, (_, to))| !calm && *to > now).map(window).collect();
        note!(self, "{} machines are planned to be away", windows.len());
        let schedule = maintenance::Schedule { windows };
        let update = master::call::UpdateMaintenanceSchedule { schedule };
        let call = call_of(master::call::Type::UpdateMaintenanceSchedule);
        let body = master::Call { update_maintenance_schedule: Some(update), ..call }.encode_to_vec();
        self.master_step(Caller::Nobody, |master, now| master.operated(&body, now));
    }

    pub(crate) fn reactivate(&mut self, machine: usize) {
        self.operate(machine, reactivate);
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn on_calm(&mut self) {
        note!(self, "calm");
        self.calm = true;
        self.master.away_until = self.now;
        if self.master.core.is_none() {
            self.on_master_up();
        }
        (self.master.holds_heartbeats, self.master.denies) = (false, false);
        self.fail_master();
        self.schedule_maintenance();
        for process in 0..self.processes.len() {
            self.processes[process].frozen_until = Duration::ZERO;
            self.thaw(process);
            self.restart(process);
        }
        for machine in 0..self.machines.len() {
            let until = self.machines[machine].cut_off_until;
            self.machines[machine].cut_off_until = until.min(self.now);
            self.start_agent(machine);
            self.queue.add(self.now + Duration::from_secs(60), Event::Reactivate(machine));
        }
        self.queue.add(self.now + Duration::from_secs(1), Event::Look);
        note!(self, "{:?} of trouble are over", self.now - BEGAN);
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn call_of(kind: master::call::Type) -> master::Call {
    master::Call { r#type: Some(kind.into()), ..Default::default() }
}

fn gone(agent_id: mesos::AgentId) -> master::Call {
    let gone = master::call::MarkAgentGone { agent_id };
    master::Call { mark_agent_gone: Some(gone), ..call_of(master::call::Type::MarkAgentGone) }
}

fn drain(agent_id: mesos::AgentId) -> master::Call {
    let drain = master::call::DrainAgent { agent_id, ..Default::default() };
    master::Call { drain_agent: Some(drain), ..call_of(master::call::Type::DrainAgent) }
}

fn deactivate(agent_id: mesos::AgentId) -> master::Call {
    let deactivate = master::call::DeactivateAgent { agent_id };
    master::Call { deactivate_agent: Some(deactivate), ..call_of(master::call::Type::DeactivateAgent) }
}

fn reactivate(agent_id: mesos::AgentId) -> master::Call {
    let reactivate = master::call::ReactivateAgent { agent_id };
    master::Call { reactivate_agent: Some(reactivate), ..call_of(master::call::Type::ReactivateAgent) }
}
