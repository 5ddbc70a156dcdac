//! Machines with their agents, and the links between agents and the master.
use crate::executors::{Act, Executor};
use crate::faults::Fault;
use crate::wire::Caller;
use crate::world::{Event, Run, World, note};
use local::Node;
use local::deterministic::{Agent, AgentDid, Answer, Disk, Launch, ToAgent, ToMaster};
use proto::mesos::v1::MachineId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A machine, whether its agent runs or not.
pub(crate) struct Machine {
    node: Node,
    address: SocketAddr,
    pub(crate) run: u64,
    pub(crate) agent: Option<Agent>,
    pub(crate) disk: Disk,
    pub(crate) link: Option<u64>,
    wake: Duration,
    /// It cannot reach the master until then.
    pub(crate) cut_off_until: Duration,
    /// Its planned maintenance, from and to.
    pub(crate) maintenance: Option<(Duration, Duration)>,
    pub(crate) executors: BTreeMap<String, Executor>,
    pids: u32,
    /// Somebody has to empty its work directory before it comes back.
    pub(crate) to_be_wiped: bool,
}

/// A connection between an agent and the master. What goes over it keeps its order.
#[derive(Debug)]
pub(crate) struct Link {
    run: Run,
    generation: u64,
    up_at: Duration,
    down_at: Duration,
    agent_open: bool,
    master_open: bool,
}

impl Machine {
    pub(crate) fn new(index: usize) -> Self {
        let port = 5051 + u16::try_from(index).unwrap_or_default();
        Self {
            node: Node::new(format!("node-{index}")),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            run: 0,
            agent: None,
            disk: Disk::default(),
            link: None,
            wake: Duration::ZERO,
            cut_off_until: Duration::ZERO,
            maintenance: None,
            executors: BTreeMap::new(),
            pids: 100,
            to_be_wiped: false,
        }
    }

    /// The id of its agent, once it has one.
    pub(crate) fn agent_id(&self) -> Option<String> {
        let disk = self.agent.as_ref().map_or(&self.disk, Agent::disk);
        disk.info().and_then(|info| info.id.as_ref()).map(|id| id.value.clone())
    }

    /// As operators name it.
    pub(crate) fn machine_id(&self) -> MachineId {
        MachineId { hostname: Some(self.node.hostname.clone()), ip: Some(self.address.ip().to_string()) }
    }

    pub(crate) fn next_pid(&mut self) -> u32 {
        self.pids += 1;
        self.pids
    }
}

impl World {
    pub(crate) fn start_agent(&mut self, index: usize) {
        let (now, seed) = (self.now, self.chance.seed());
        let machine = &mut self.machines[index];
        if machine.agent.is_some() {
            return;
        }
        if std::mem::take(&mut machine.to_be_wiped) {
            machine.disk = Disk::default();
        }
        machine.run += 1;
        machine.wake = Duration::ZERO;
        let disk = std::mem::take(&mut machine.disk);
        let gone: Vec<String> =
            disk.containers().into_iter().filter(|c| !machine.executors.contains_key(c)).collect();
        let place = (&machine.node, machine.address);
        machine.agent = Some(Agent::started(place, &self.timings, disk, seed, now));
        note!(self, "agent {index} starts as {:?}", self.machines[index].agent_id());
        for container in gone {
            self.agent_step(index, None, |agent, now| agent.container_exited(&container, -1, now));
        }
        self.agent_step(index, None, |agent, now| agent.tick(now));
    }

    /// The agent's process dies; executors live on.
    pub(crate) fn kill_agent(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let Some(agent) = machine.agent.take() else { return };
        machine.disk = agent.killed();
        machine.run += 1;
        note!(self, "agent {index} dies");
        if let Some(link) = self.machines[index].link.take() {
            let after = self.delay();
            self.close_link_of_agent(link, after);
        }
        let containers: Vec<String> = self.machines[index].executors.keys().cloned().collect();
        for container in containers {
            self.stream_breaks(index, &container);
        }
    }

    /// Lets an agent do something and carries out what it decides. `caller`: the container whose call it is.
    pub(crate) fn agent_step(
        &mut self,
        index: usize,
        caller: Option<&str>,
        what: impl FnOnce(&mut Agent, Duration) -> Vec<AgentDid>,
    ) -> Option<Answer> {
        let now = self.now;
        let agent = self.machines[index].agent.as_mut()?;
        let done = what(agent, now);
        let mut answered = None;
        for did in done {
            match did {
                AgentDid::Answered(answer) => {
                    if let (Answer::Stream { stream, .. }, Some(caller)) = (&answer, caller)
                        && let Some(executor) = self.machines[index].executors.get_mut(caller)
                    {
                        executor.stream = Some(*stream);
                    }
                    answered = Some(answer);
                }
                AgentDid::Sent(stream, event) => self.read_by_executor(index, stream, Act::Hears(event)),
                AgentDid::Closed(stream) => self.read_by_executor(index, stream, Act::StreamEnds(stream)),
                AgentDid::Told(message) => self.tell_master(index, message),
                AgentDid::Joins => {
                    let run = (index, self.machines[index].run);
                    let at = now + self.chance.millis(0..1000);
                    self.queue.add(at, Event::Join(run));
                }
                AgentDid::Launches(launch) => self.launch(index, &launch),
                AgentDid::Destroys(container) => {
                    let at = now + self.chance.millis(5..500);
                    self.queue.add(at, Event::Executor(index, container, Act::Exits(9)));
                }
                AgentDid::Stopped => self.on_stopped(index),
            }
        }
        self.wake_agent(index);
        answered
    }

    fn launch(&mut self, index: usize, launch: &Launch) {
        let executor = self.draw(launch);
        self.check_launch(index, launch);
        self.machines[index].executors.insert(launch.container.clone(), executor);
        self.begin(index, &launch.container);
    }

    fn wake_agent(&mut self, index: usize) {
        let now = self.now;
        let machine = &mut self.machines[index];
        let Some(wake) = machine.agent.as_ref().and_then(Agent::next_wake) else { return };
        if wake < machine.wake || machine.wake <= now {
            machine.wake = wake.max(now + Duration::from_millis(1));
            self.queue.add(machine.wake, Event::AgentWake((index, machine.run)));
        }
    }

    pub(crate) fn on_agent_wake(&mut self, (index, run): Run) {
        if self.machines[index].run == run {
            self.agent_step(index, None, |agent, now| agent.tick(now));
        }
    }

    /// The agent was told to end, and has: the machine comes back when its work directory is emptied.
    fn on_stopped(&mut self, index: usize) {
        note!(self, "agent {index} has stopped");
        self.kill_agent(index);
        self.machines[index].to_be_wiped = true;
        let at = self.now + self.chance.seconds(1..60);
        self.queue.add(at, Event::AgentStarts(index));
    }

    pub(crate) fn on_join(&mut self, (index, run): Run) {
        let machine = &self.machines[index];
        if machine.run != run || machine.link.is_some() || machine.agent.is_none() {
            return;
        }
        if self.master.core.is_none() || machine.cut_off_until > self.now {
            let at = self.now + self.chance.millis(500..2000);
            return self.queue.add(at, Event::Join((index, run)));
        }
        let (id, now, generation) = (self.id(), self.now, self.master.generation);
        let link = Link {
            run: (index, run),
            generation,
            up_at: now,
            down_at: now,
            agent_open: true,
            master_open: true,
        };
        self.links.insert(id, link);
        self.machines[index].link = Some(id);
        note!(self, "agent {index} has link {id}");
        self.master_step(Caller::Nobody, |master, now| master.linked(id, now));
        self.agent_step(index, None, |agent, now| agent.linked(now));
    }

    fn tell_master(&mut self, index: usize, message: ToMaster) {
        let Some(id) = self.machines[index].link else { return };
        if message.is_exit() && self.strikes(Fault::LostExits, 0.5) {
            note!(self, "agent {index} does not get to tell of an exit, as its link breaks");
            return self.cut_link(id);
        }
        let twice = message.is_update() && self.strikes(Fault::DuplicateUpdates, 0.3);
        if twice {
            self.send_up(id, message.clone());
        }
        self.send_up(id, message);
    }

    fn send_up(&mut self, id: u64, message: ToMaster) {
        let delay = self.delay();
        let Some(link) = self.links.get_mut(&id) else { return };
        let reached = self.machines[link.run.0].cut_off_until;
        link.up_at = link.up_at.max(self.now + delay).max(reached);
        self.queue.add(link.up_at, Event::ToMaster(id, message));
    }

    pub(crate) fn tell_agent(&mut self, id: u64, message: ToAgent) {
        let delay = self.delay();
        let Some(link) = self.links.get_mut(&id).filter(|link| link.master_open) else { return };
        let reached = self.machines[link.run.0].cut_off_until;
        link.down_at = link.down_at.max(self.now + delay).max(reached);
        self.queue.add(link.down_at, Event::ToAgent(id, message));
    }

    pub(crate) fn link_to_master(&mut self, id: u64, message: ToMaster) {
        let generation = self.master.generation;
        let Some(link) = self.links.get(&id) else { return };
        if link.master_open && link.generation == generation {
            self.master_step(Caller::Nobody, |master, now| master.heard(id, message, now));
        }
    }

    pub(crate) fn link_to_agent(&mut self, id: u64, message: ToAgent) {
        let Some(link) = self.links.get(&id) else { return };
        let ((index, run), open) = (link.run, link.agent_open);
        if open && self.machines[index].run == run {
            self.agent_step(index, None, |agent, now| agent.heard(message, now));
        }
    }

    /// Both sides notice that a link is over, each in its own time.
    pub(crate) fn cut_link(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let reached = self.machines[link.run.0].cut_off_until;
        let (master, agent) = (self.now + self.delay(), (self.now + self.delay()).max(reached));
        self.queue.add(master, Event::LinkGone(id));
        self.queue.add(agent, Event::LinkLost(id));
    }

    pub(crate) fn cut_all_links(&mut self) {
        let open: Vec<u64> = self.links.keys().copied().collect();
        for id in open {
            self.cut_link(id);
        }
    }

    fn close_link_of_agent(&mut self, id: u64, after: Duration) {
        if let Some(link) = self.links.get_mut(&id) {
            link.agent_open = false;
            let reached = self.machines[link.run.0].cut_off_until;
            self.queue.add((self.now + after).max(reached), Event::LinkGone(id));
        }
    }

    pub(crate) fn on_link_lost(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.agent_open) else { return };
        link.agent_open = false;
        let ((index, run), over) = (link.run, !link.master_open);
        if over {
            self.links.remove(&id);
        }
        if self.machines[index].run == run && self.machines[index].link == Some(id) {
            self.machines[index].link = None;
            note!(self, "agent {index} loses link {id}");
            self.agent_step(index, None, |agent, now| agent.unlinked(now));
            // Agents come back one after the other.
            let at = self.now + self.chance.seconds(0..10);
            self.queue.add(at, Event::Join((index, run)));
        }
    }

    pub(crate) fn on_link_gone(&mut self, id: u64) {
        let generation = self.master.generation;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.master_open) else { return };
        link.master_open = false;
        let of_this_master = link.generation == generation;
        if !link.agent_open {
            self.links.remove(&id);
        }
        if of_this_master {
            self.master_step(Caller::Nobody, |master, now| master.unlinked(id, now));
        }
    }
}
