//! A cluster without processes, sockets or waiting: the cores of a master and its agents, and a time that is told.

use crate::agent::core as agent;
use crate::agent::core::{Keep, RecoveredExecutor, RecoveredFramework, RecoveredTask};
use crate::agent::process::{KILLED, Process};
use crate::clock::Moment;
use crate::ids::{ExecutorId, FrameworkId, TaskId};
use crate::link::{Described, LinkId};
use crate::master::core as master;
use crate::master::registry::Registry;
use crate::settings::Timings;
use proto::mesos::v1::{self as mesos, executor, master as operator_api, scheduler};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What came over one stream, and whether the server has ended it.
pub(super) struct Heard<E> {
    pub(super) events: Vec<E>,
    pub(super) ended: bool,
}

impl<E> Default for Heard<E> {
    fn default() -> Self {
        Self { events: Vec::new(), ended: false }
    }
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) timings: Timings,
    roles: Vec<String>,
    pub(super) master: master::Core,
    pub(super) registry: Registry,
    pub(super) agents: Vec<Agent>,
    pub(super) schedulers: BTreeMap<master::ConnectionId, Heard<scheduler::Event>>,
    pub(super) operators: BTreeMap<master::ConnectionId, Heard<operator_api::Event>>,
    queue: VecDeque<(Target, Message)>,
    links: u64,
}

pub(super) struct Agent {
    pub(super) described: Described,
    pub(super) core: Option<agent::Core>,
    link: Option<LinkId>,
    pub(super) executors: BTreeMap<agent::ConnectionId, Heard<executor::Event>>,
    pub(super) containers: BTreeMap<agent::ContainerId, (FrameworkId, ExecutorId)>,
    kept: Vec<Keep>,
    pids: u32,
    /// Another one for each run, so that no two runs make the same uuids.
    seed: u64,
    /// New containers never run: their launch takes for ever.
    pub(super) slow: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Master,
    Agent(usize),
}

enum Message {
    Master(master::Input),
    Agent(agent::Input),
}

pub(super) fn described(index: usize) -> Described {
    use mesos::agent_info::capability::Type;
    let scalar = |name: &str, value: f64| mesos::Resource {
        name: name.into(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    };
    let ports = mesos::Resource {
        name: "ports".into(),
        r#type: mesos::value::Type::Ranges.into(),
        ranges: Some(mesos::value::Ranges {
            range: vec![mesos::value::Range { begin: 31_000, end: 32_000 }],
        }),
        ..Default::default()
    };
    let port = 5051 + index;
    Described {
        info: mesos::AgentInfo {
            hostname: format!("agent{}.example", index + 1),
            resources: vec![scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 10_000.0), ports],
            port: Some(port as i32),
            ..Default::default()
        },
        pid: format!("slave(1)@127.0.0.1:{port}"),
        version: "1.12.0".into(),
        capabilities: vec![
            Type::MultiRole,
            Type::ReservationRefinement,
            Type::ResourceProvider,
            Type::AgentOperationFeedback,
        ],
    }
}

impl World {
    pub(super) fn new(master_id: &str, agents: usize, timings: Timings, roles: &[&str]) -> Self {
        let now = Duration::from_secs(1_700_000_000);
        let registry = Registry::default();
        let mut world = Self {
            now,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            master: new_master(master_id, &timings, (registry.clone(), roles), now),
            timings,
            registry,
            agents: Vec::new(),
            schedulers: BTreeMap::new(),
            operators: BTreeMap::new(),
            queue: VecDeque::new(),
            links: 0,
        };
        for index in 0..agents {
            world.agents.push(Agent {
                described: described(index),
                core: None,
                link: None,
                executors: BTreeMap::new(),
                containers: BTreeMap::new(),
                kept: Vec::new(),
                pids: 100,
                seed: 1000 * index as u64,
                slow: false,
            });
            world.start_agent(index);
        }
        world
    }

    /// A new master takes over, with only the registry.
    pub(super) fn replace_master(&mut self, master_id: &str) {
        for heard in self.schedulers.values_mut() {
            heard.ended = true;
        }
        self.master = {
            let roles: Vec<&str> = self.roles.iter().map(String::as_str).collect();
            new_master(master_id, &self.timings, (self.registry.clone(), &roles), self.now)
        };
        self.schedulers.clear();
        for index in 0..self.agents.len() {
            self.agents[index].link = None;
            if self.agents[index].core.is_some() {
                self.agent(index, agent::Input::Unlinked);
            }
        }
    }

    /// The agents find their master.
    pub(super) fn link_all(&mut self) {
        for index in 0..self.agents.len() {
            if self.agents[index].core.is_some() {
                self.link(index);
            }
        }
    }

    /// Starts an agent, with what its last run has written down.
    pub(super) fn start_agent(&mut self, index: usize) {
        let (now, timings) = (self.now, self.timings.clone());
        let agent = &mut self.agents[index];
        agent.seed += 1;
        let mut described = agent.described.clone();
        if let Some(info) = agent.kept.iter().rev().find_map(|keep| match keep {
            Keep::Agent(info) => Some(info.clone()),
            _ => None,
        }) {
            described.info.id = info.id;
        }
        let birth = agent::Birth { described, timings, recovered: recovered(&agent.kept), seed: agent.seed };
        agent.executors.clear();
        agent.core = Some(agent::Core::new(birth, now));
        let gone: Vec<agent::ContainerId> = recovered(&agent.kept)
            .into_iter()
            .flat_map(|framework| framework.executors)
            .map(|executor| executor.container)
            .filter(|container| !agent.containers.contains_key(container))
            .collect();
        for container in gone {
            self.agent(index, agent::Input::Exited { container, status: -1 });
        }
        self.agent(index, agent::Input::Tick);
    }

    /// Starts an agent whose work directory was emptied.
    pub(super) fn start_empty_agent(&mut self, index: usize) {
        self.agents[index].kept.clear();
        self.start_agent(index);
    }

    /// The agent on which an executor was started; the first when there is none.
    pub(super) fn agent_of(&self, executor: &str) -> usize {
        let here = |agent: &Agent| {
            let of_containers = agent.containers.values().any(|(_, id)| id.0 == executor);
            let of_records = agent.kept.iter().any(|keep| match keep {
                Keep::Executor(run, _) => run.executor.0 == executor,
                _ => false,
            });
            of_containers || of_records
        };
        self.agents.iter().position(here).unwrap_or(0)
    }

    /// As `kill -9` of an agent: its link and streams break.
    pub(super) fn kill_agent(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        agent.core = None;
        for heard in agent.executors.values_mut() {
            heard.ended = true;
        }
        if let Some(link) = agent.link.take() {
            self.master_step(master::Input::Unlinked(link));
        }
    }

    pub(super) fn link(&mut self, index: usize) {
        self.links += 1;
        let link = LinkId(self.links);
        self.agents[index].link = Some(link);
        self.queue.push_back((Target::Master, Message::Master(master::Input::Linked(link))));
        self.queue.push_back((Target::Agent(index), Message::Agent(agent::Input::Linked)));
        self.pump();
    }

    /// A scheduler's call as the HTTP edge passes it on; its answer.
    pub(super) fn call(&mut self, call: scheduler::Call, stream_id: Option<&str>) -> master::Answer {
        if let Err(problem) = master::validate_call(&call) {
            return master::Answer::Refused(400, problem);
        }
        let stream_id = stream_id.map(str::to_owned);
        self.master_step(master::Input::Call { call: Box::new(call), stream_id, principal: None })
            .expect("every call is answered")
    }

    pub(super) fn operate(&mut self, call: operator_api::Call) -> master::Answer {
        self.master_step(master::Input::Operator(Box::new(call))).expect("every call is answered")
    }

    /// An executor's call as the HTTP edge passes it on; its answer.
    pub(super) fn executor_call(&mut self, index: usize, call: executor::Call) -> agent::Answer {
        self.executor_call_with(index, call, None)
    }

    /// As `executor_call`, of an executor that has shown a token with these claims.
    pub(super) fn executor_call_with(
        &mut self,
        index: usize,
        call: executor::Call,
        claims: Option<agent::Claims>,
    ) -> agent::Answer {
        if let Err(problem) = agent::validate_call(&call) {
            return agent::Answer::Refused(400, problem);
        }
        self.agent(index, agent::Input::Call(Box::new(call), claims)).expect("every call is answered")
    }

    pub(super) fn disconnect(&mut self, connection: master::ConnectionId) {
        self.master_step(master::Input::Disconnected(connection));
    }

    /// The process of an executor ends by itself.
    pub(super) fn exit(&mut self, index: usize, executor: &str, status: i32) {
        let found = self.agents[index]
            .containers
            .iter()
            .find(|(_, (_, id))| id.0 == executor)
            .map(|(c, _)| c.clone());
        if let Some(container) = found {
            self.agents[index].containers.remove(&container);
            self.agent(index, agent::Input::Exited { container, status });
        }
    }

    /// What an executor needs cannot be fetched.
    pub(super) fn fail_launch(&mut self, index: usize, executor: &str) {
        let found = self.agents[index]
            .containers
            .iter()
            .find(|(_, (_, id))| id.0 == executor)
            .map(|(c, _)| c.clone());
        if let Some(container) = found {
            self.agents[index].containers.remove(&container);
            let message = format!(
                "Failed to launch container: Failed to fetch all URIs for container '{}'",
                container.0
            );
            self.agent(index, agent::Input::LaunchFailed { container, message, status: 256 });
        }
    }

    pub(super) fn master_step(&mut self, input: master::Input) -> Option<master::Answer> {
        let answer = self.one_master_step(input);
        self.pump();
        answer
    }

    pub(super) fn agent(&mut self, index: usize, input: agent::Input) -> Option<agent::Answer> {
        let answer = self.one_agent_step(index, input);
        self.pump();
        answer
    }

    fn pump(&mut self) {
        while let Some((target, message)) = self.queue.pop_front() {
            match (target, message) {
                (Target::Master, Message::Master(input)) => {
                    self.one_master_step(input);
                }
                (Target::Agent(index), Message::Agent(input)) => {
                    self.one_agent_step(index, input);
                }
                _ => unreachable!("a message for the other kind"),
            }
        }
    }

    fn one_master_step(&mut self, input: master::Input) -> Option<master::Answer> {
        let mut answer = None;
        for effect in self.master.step(input, self.now) {
            match effect {
                master::Effect::Answer(given) => {
                    if let master::Answer::Stream { connection, stream_id } = &given {
                        if stream_id.is_some() {
                            self.schedulers.insert(*connection, Heard::default());
                        } else {
                            self.operators.insert(*connection, Heard::default());
                        }
                    }
                    answer = Some(given);
                }
                master::Effect::Send(connection, event) => {
                    if let Some(heard) = self.schedulers.get_mut(&connection) {
                        heard.events.push(*event);
                    }
                }
                master::Effect::Publish(connection, event) => {
                    if let Some(heard) = self.operators.get_mut(&connection) {
                        heard.events.push(*event);
                    }
                }
                master::Effect::Close(connection) | master::Effect::Abort(connection) => {
                    if let Some(heard) = self.schedulers.get_mut(&connection) {
                        heard.ended = true;
                    }
                }
                master::Effect::Tell(link, message) => {
                    if let Some(index) = self.agents.iter().position(|agent| agent.link == Some(link)) {
                        self.queue
                            .push_back((Target::Agent(index), Message::Agent(agent::Input::Master(message))));
                    }
                }
                master::Effect::Unlink(_) => {}
                master::Effect::Remember(registry) => self.registry = *registry,
            }
        }
        answer
    }

    fn one_agent_step(&mut self, index: usize, input: agent::Input) -> Option<agent::Answer> {
        let now = self.now;
        let effects = self.agents[index].core.as_mut()?.step(input, now);
        let mut answer = None;
        for effect in effects {
            let agent = &mut self.agents[index];
            match effect {
                agent::Effect::Answer(given) => {
                    if let agent::Answer::Stream(connection) = given {
                        agent.executors.insert(connection, Heard::default());
                    }
                    answer = Some(given);
                }
                agent::Effect::Send(connection, event) => {
                    if let Some(heard) = agent.executors.get_mut(&connection) {
                        heard.events.push(*event);
                    }
                }
                agent::Effect::Close(connection) => {
                    if let Some(heard) = agent.executors.get_mut(&connection) {
                        heard.ended = true;
                    }
                }
                agent::Effect::Tell(message) => {
                    if let Some(link) = agent.link {
                        self.queue.push_back((
                            Target::Master,
                            Message::Master(master::Input::Agent(link, message)),
                        ));
                    }
                }
                agent::Effect::Join => self.link(index),
                agent::Effect::Keep(keep) => agent.kept.push(keep),
                agent::Effect::Launch(launch) => {
                    let container = launch.run.container.clone();
                    let who = (launch.run.framework.clone(), launch.run.executor.clone());
                    agent.containers.insert(container.clone(), who);
                    agent.pids += 1;
                    let process = Process { pid: agent.pids, started: 1 };
                    if !agent.slow {
                        let started = agent::Input::Started(container, process);
                        self.queue.push_back((Target::Agent(index), Message::Agent(started)));
                    }
                }
                agent::Effect::Destroy(container) => {
                    if agent.containers.remove(&container).is_some() {
                        let exited = agent::Input::Exited { container, status: KILLED };
                        self.queue.push_back((Target::Agent(index), Message::Agent(exited)));
                    }
                }
                agent::Effect::Stopped => {}
            }
        }
        answer
    }

    /// Lets time pass, timer by timer.
    pub(super) fn advance(&mut self, by: Duration) {
        self.advance_to(self.now + by);
    }

    pub(super) fn advance_to(&mut self, until: Moment) {
        for _ in 0..1_000_000 {
            let of_agents = self.agents.iter().filter_map(|agent| agent.core.as_ref()?.next_wake()).min();
            let next = of_agents.into_iter().chain([self.master.next_wake()]).min().unwrap_or(until);
            if next > until {
                self.now = self.now.max(until);
                return;
            }
            self.now = self.now.max(next);
            self.master_step(master::Input::Tick);
            for index in 0..self.agents.len() {
                self.agent(index, agent::Input::Tick);
            }
        }
        panic!("time does not pass: a timer is due again and again");
    }
}

fn new_master(
    id: &str,
    timings: &Timings,
    (registry, roles): (Registry, &[&str]),
    now: Moment,
) -> master::Core {
    let info = mesos::MasterInfo { id: id.to_owned(), version: Some("1.12.0".into()), ..Default::default() };
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    master::Core::new(master::Birth { info, timings: timings.clone(), roles, registry, seed: 7 }, now)
}

/// What a new run of an agent reads back from what was written.
fn recovered(kept: &[Keep]) -> Vec<RecoveredFramework> {
    let mut frameworks: BTreeMap<FrameworkId, RecoveredFramework> = BTreeMap::new();
    let mut completed = BTreeSet::new();
    for keep in kept {
        if let Keep::Completed(run) = keep {
            completed.insert(run.clone());
        }
    }
    for keep in kept {
        match keep {
            Keep::Framework(info) => {
                let id = FrameworkId::from(info.id.as_ref().unwrap());
                let known = frameworks
                    .entry(id)
                    .or_insert_with(|| RecoveredFramework { info: (**info).clone(), executors: Vec::new() });
                known.info = (**info).clone();
            }
            Keep::Executor(run, info) if !completed.contains(run) => {
                frameworks.get_mut(&run.framework).unwrap().executors.push(RecoveredExecutor {
                    info: (**info).clone(),
                    container: run.container.clone(),
                    process: None,
                    tasks: Vec::new(),
                });
            }
            Keep::Process(run, process) => {
                with_run(&mut frameworks, run, |executor| executor.process = Some(*process))
            }
            Keep::Task(run, info) => with_run(&mut frameworks, run, |executor| {
                let info = (**info).clone();
                executor.tasks.push(RecoveredTask { info, updates: Vec::new(), acknowledged: Vec::new() });
            }),
            Keep::Update(run, task, status) => with_run(&mut frameworks, run, |executor| {
                with_task(executor, task, |task| task.updates.push((**status).clone()));
            }),
            Keep::Acknowledged(run, task, uuid) => with_run(&mut frameworks, run, |executor| {
                with_task(executor, task, |task| task.acknowledged.push(uuid.clone()));
            }),
            Keep::ForgetFramework(id) => {
                frameworks.remove(id);
            }
            Keep::Agent(_) | Keep::Executor(..) | Keep::Completed(_) => {}
        }
    }
    frameworks.into_values().filter(|framework| !framework.executors.is_empty()).collect()
}

fn with_run(
    frameworks: &mut BTreeMap<FrameworkId, RecoveredFramework>,
    run: &agent::RunKey,
    change: impl FnOnce(&mut RecoveredExecutor),
) {
    let executors = frameworks.get_mut(&run.framework).map(|framework| &mut framework.executors);
    if let Some(executor) = executors.and_then(|all| all.iter_mut().find(|e| e.container == run.container)) {
        change(executor);
    }
}

fn with_task(executor: &mut RecoveredExecutor, task: &TaskId, change: impl FnOnce(&mut RecoveredTask)) {
    if let Some(task) = executor.tasks.iter_mut().find(|t| t.info.task_id.value == task.0) {
        change(task);
    }
}
