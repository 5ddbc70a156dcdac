//! Executors without processes: each plays a part that was drawn by chance.
use crate::faults::Fault;
use crate::world::{Event, World, note};
use local::deterministic::{Answer, Launch};
use prost::Message;
use proto::mesos::v1::executor::{Call, call, event};
use proto::mesos::v1::{self as mesos, TaskState, executor};
use proto::{announcement, handover};
use scheduler::deterministic::Presented;
use std::time::Duration;

/// How long an executor goes on without its agent.
const RECOVERY: Duration = Duration::from_secs(15 * 60);
const ATTACH_AGAIN: Duration = Duration::from_secs(5);
const LOOKS_AGAIN: Duration = Duration::from_millis(200);
/// When an update is sent again that its agent refused because it recovers.
const SENDS_AGAIN: Duration = Duration::from_millis(200);
const RECOVERS: u16 = 503;

/// One executor's process, from its launch to its exit.
pub(crate) struct Executor {
    pub(crate) framework: String,
    pub(crate) id: String,
    pub(crate) agent_id: String,
    token: String,
    /// Where it attaches, and who said so last.
    control: String,
    epoch: u64,
    pub(crate) attached: Option<(usize, u64)>,
    part: Part,
    pub(crate) stream: Option<u64>,
    alone_since: Option<Duration>,
    pub(crate) task: Option<String>,
    task_info: Option<mesos::TaskInfo>,
    /// Updates that the agent has not acknowledged, and whether it took them.
    pub(crate) unacknowledged: Vec<(mesos::TaskStatus, bool)>,
    pub(crate) running: bool,
    /// It has the data of its node: one at a time can.
    works: bool,
    /// It has said that it waits for them.
    waits: bool,
    /// It was told to end, or does so by itself.
    ending: bool,
}

/// What it does.
#[derive(Clone, Copy, Debug)]
struct Part {
    fetches: bool,
    registers_after: Option<Duration>,
    runs_after: Duration,
    refuses: bool,
    obeys: bool,
    flushes_for: Duration,
    crashes_after: Option<Duration>,
}

/// Something that happens to it.
#[derive(Debug)]
pub(crate) enum Act {
    Started,
    FetchFailed,
    Subscribes,
    Hears(Box<executor::Event>),
    StreamEnds(u64),
    Reports(TaskState),
    /// It sends what its agent has not taken yet.
    Sends,
    /// It works if nobody else has the data of its node, or looks again later.
    Works,
    Exits(i32),
    Attaches,
}

impl World {
    /// Draws the part of a new executor.
    pub(crate) fn draw(&mut self, launch: &Launch) -> Executor {
        let slow = self.strikes(Fault::SlowStart, 0.3);
        let start = if slow { self.chance.seconds(5..90) } else { self.chance.millis(50..3000) };
        let (never, stuck) =
            (self.strikes(Fault::ExecutorHang, 0.15), self.strikes(Fault::ExecutorHang, 0.15));
        let run = if stuck { self.chance.seconds(30..300) } else { self.chance.millis(100..4000) };
        let slow_flush = self.strikes(Fault::SlowFlush, 0.5);
        let flush = if slow_flush { self.chance.seconds(2..90) } else { self.chance.millis(1..1500) };
        let crashes = self.strikes(Fault::ExecutorCrash, 0.4);
        let crash =
            if self.chance.hits(0.5) { self.chance.seconds(0..10) } else { self.chance.seconds(0..600) };
        let part = Part {
            fetches: !self.strikes(Fault::FetchFailure, 0.3),
            registers_after: (!never).then_some(start),
            runs_after: run,
            refuses: self.strikes(Fault::ExecutorRefuses, 0.2),
            obeys: !self.strikes(Fault::ExecutorHang, 0.15),
            flushes_for: flush,
            crashes_after: crashes.then_some(crash),
        };
        let command = launch.executor.command.clone().unwrap_or_default();
        let variables = command.environment.unwrap_or_default().variables;
        let token = variables.into_iter().find(|variable| variable.name == "LOGHERD_CONTROL_TOKEN");
        let mut arguments = command.arguments.into_iter().skip_while(|argument| argument != "--control");
        Executor {
            framework: launch.framework_id.clone(),
            id: launch.executor.executor_id.value.clone(),
            agent_id: launch.agent_id.clone(),
            token: token.and_then(|token| token.value).unwrap_or_default(),
            control: arguments.nth(1).unwrap_or_default(),
            epoch: 0,
            attached: None,
            part,
            stream: None,
            alone_since: None,
            task: None,
            task_info: None,
            unacknowledged: Vec::new(),
            running: false,
            works: false,
            waits: false,
            ending: false,
        }
    }

    /// Its process starts, if what it needs can be fetched.
    pub(crate) fn begin(&mut self, machine: usize, container: &str) {
        let part = self.machines[machine].executors[container].part;
        note!(self, "agent {machine} launches {}: {part:?}", self.machines[machine].executors[container].id);
        let fetched = self.chance.millis(10..2000);
        let act = if part.fetches { Act::Started } else { Act::FetchFailed };
        self.act_in(machine, container, fetched, act);
        if let (true, Some(after)) = (part.fetches, part.registers_after) {
            self.act_in(machine, container, fetched + after, Act::Subscribes);
        }
        if let (true, Some(after)) = (part.fetches, part.crashes_after) {
            self.act_in(machine, container, fetched + after, Act::Exits(256));
        }
    }

    fn act_in(&mut self, machine: usize, container: &str, after: Duration, act: Act) {
        self.queue.add(self.now + after, Event::Executor(machine, container.to_owned(), act));
    }

    /// Hands an event to whoever reads this stream.
    pub(crate) fn read_by_executor(&mut self, machine: usize, stream: u64, act: Act) {
        let reads = |(_, executor): &(&String, &Executor)| executor.stream == Some(stream);
        let found = self.machines[machine].executors.iter().find(reads).map(|(id, _)| id.clone());
        if let Some(container) = found {
            self.act_in(machine, &container, Duration::from_millis(1), act);
        }
    }

    /// The agent of an executor is gone.
    pub(crate) fn stream_breaks(&mut self, machine: usize, container: &str) {
        if let Some(stream) = self.machines[machine].executors.get(container).and_then(|e| e.stream) {
            self.act_in(machine, container, Duration::from_millis(1), Act::StreamEnds(stream));
        }
    }

    pub(crate) fn on_act(&mut self, machine: usize, container: &str, act: Act) {
        if !self.machines[machine].executors.contains_key(container) {
            return;
        }
        match act {
            Act::Started => {
                let pid = self.machines[machine].next_pid();
                self.agent_step(machine, None, |agent, now| agent.container_started(container, pid, now));
            }
            Act::FetchFailed => {
                self.machines[machine].executors.remove(container);
                let text = "Failed to fetch all URIs";
                self.agent_step(machine, None, |agent, now| agent.container_failed(container, text, now));
            }
            Act::Subscribes => self.subscribes(machine, container),
            Act::Hears(event) => self.hears(machine, container, *event),
            Act::StreamEnds(stream) => self.stream_ends(machine, container, stream),
            Act::Reports(state) => self.reports(machine, container, state),
            Act::Sends => self.sends(machine, container),
            Act::Works => self.works(machine, container),
            Act::Exits(status) => self.exits(machine, container, status),
            Act::Attaches => self.attaches(machine, container),
        }
    }

    fn executor(&mut self, machine: usize, container: &str) -> &mut Executor {
        self.machines[machine].executors.get_mut(container).expect("it was looked for before")
    }

    /// SUBSCRIBE, the first time or again.
    fn subscribes(&mut self, machine: usize, container: &str) {
        let now = self.now;
        let executor = self.executor(machine, container);
        if executor.stream.is_some() {
            return;
        }
        if executor.alone_since.is_some_and(|since| now - since > RECOVERY) {
            return self.exits(machine, container, 0);
        }
        let update = |status: &mesos::TaskStatus| call::Update { status: status.clone() };
        let subscribe = call::Subscribe {
            unacknowledged_updates: executor
                .unacknowledged
                .iter()
                .map(|(status, _)| update(status))
                .collect(),
            unacknowledged_tasks: executor.task_info.iter().cloned().collect(),
        };
        let body = Call { subscribe: Some(subscribe), ..call_of(executor, call::Type::Subscribe) };
        let body = body.encode_to_vec();
        let answer = self.agent_step(machine, Some(container), |agent, now| agent.called(&body, now));
        let executor = self.executor(machine, container);
        match answer {
            Some(Answer::Stream { .. }) => {
                executor.alone_since = None;
                executor.unacknowledged.iter_mut().for_each(|(_, taken)| *taken = true);
            }
            // The agent is away, or does not know it.
            _ => {
                executor.alone_since.get_or_insert(now);
                let pause = self.chance.millis(200..1500);
                self.act_in(machine, container, pause, Act::Subscribes);
            }
        }
    }

    fn stream_ends(&mut self, machine: usize, container: &str, stream: u64) {
        let now = self.now;
        let executor = self.executor(machine, container);
        if executor.stream != Some(stream) {
            return;
        }
        executor.stream = None;
        executor.alone_since = Some(now);
        let pause = self.chance.millis(50..1500);
        self.act_in(machine, container, pause, Act::Subscribes);
    }

    fn hears(&mut self, machine: usize, container: &str, event: executor::Event) {
        let executor = self.executor(machine, container);
        match event.r#type() {
            event::Type::Launch => {
                let Some(task) = event.launch.map(|launch| launch.task) else { return };
                executor.task = Some(task.task_id.value.clone());
                executor.task_info = Some(task);
                let part = executor.part;
                if part.refuses {
                    return self.act_in(
                        machine,
                        container,
                        part.runs_after,
                        Act::Reports(TaskState::TaskFailed),
                    );
                }
                let soon = Duration::from_millis(20);
                self.act_in(machine, container, soon, Act::Reports(TaskState::TaskStarting));
                self.act_in(machine, container, soon + part.runs_after, Act::Works);
            }
            event::Type::Kill | event::Type::Shutdown if executor.part.obeys && !executor.ending => {
                executor.ending = true;
                let (flush, has_task) = (executor.part.flushes_for, executor.task.is_some());
                if has_task {
                    self.act_in(machine, container, flush, Act::Reports(TaskState::TaskKilled));
                } else {
                    self.act_in(machine, container, flush, Act::Exits(0));
                }
            }
            event::Type::Acknowledged => {
                let uuid = event.acknowledged.map(|acknowledged| acknowledged.uuid);
                executor.unacknowledged.retain(|(status, _)| status.uuid != uuid);
                executor.task_info = None;
            }
            event::Type::Message => {
                let data = event.message.map(|message| message.data).unwrap_or_default();
                if let Ok(said) = announcement::read(&data, &executor.token, &executor.id)
                    && said.epoch >= executor.epoch
                {
                    (executor.control, executor.epoch) = (said.control, said.epoch);
                    self.act_in(machine, container, Duration::from_millis(1), Act::Attaches);
                }
            }
            _ => {}
        }
    }

    /// What keeps its data waits for them; then it attaches.
    fn works(&mut self, machine: usize, container: &str) {
        let executor = self.executor(machine, container);
        if executor.ending || executor.works {
            return;
        }
        let framework = executor.framework.clone();
        let here = self.machines[machine].executors.iter();
        let mut others = here.filter(|(id, other)| *id != container && other.framework == framework);
        if others.any(|(_, other)| other.works) {
            if !std::mem::replace(&mut self.executor(machine, container).waits, true) {
                self.reports(machine, container, TaskState::TaskStarting);
            }
            return self.act_in(machine, container, LOOKS_AGAIN, Act::Works);
        }
        let executor = self.executor(machine, container);
        (executor.works, executor.waits) = (true, false);
        self.reports(machine, container, TaskState::TaskRunning);
        self.act_in(machine, container, Duration::from_millis(20), Act::Attaches);
    }

    /// Sends an update. After the last one it ends soon.
    fn reports(&mut self, machine: usize, container: &str, state: TaskState) {
        let (now, uuid) = (self.now, self.chance.uuid());
        let executor = self.executor(machine, container);
        let ended = matches!(state, TaskState::TaskFailed | TaskState::TaskKilled);
        let Some(task) = executor.task.clone().filter(|_| ended || !executor.ending) else { return };
        executor.running |= state == TaskState::TaskRunning;
        executor.ending |= ended;
        executor.works &= !ended;
        let waits = executor.waits && state == TaskState::TaskStarting;
        let status = mesos::TaskStatus {
            task_id: mesos::TaskId { value: task },
            state: state.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            executor_id: Some(mesos::ExecutorId { value: executor.id.clone() }),
            timestamp: Some(now.as_secs_f64()),
            uuid: Some(uuid),
            data: waits.then(|| handover::WAITS.to_vec()),
            ..Default::default()
        };
        executor.unacknowledged.push((status, false));
        self.sends(machine, container);
        if ended {
            let after = self.chance.millis(1..3000);
            self.act_in(machine, container, after, Act::Exits(0));
        }
    }

    /// Sends what its agent has not taken yet, in order. An agent that recovers takes SUBSCRIBE and refuses updates.
    fn sends(&mut self, machine: usize, container: &str) {
        loop {
            let executor = self.executor(machine, container);
            let Some((status, taken)) = executor.unacknowledged.iter_mut().find(|(_, taken)| !*taken) else {
                return;
            };
            if executor.stream.is_none() {
                return;
            }
            *taken = true;
            let (status, state) = (status.clone(), status.state());
            let uuid = status.uuid.clone();
            let body =
                Call { update: Some(call::Update { status }), ..call_of(executor, call::Type::Update) };
            let body = body.encode_to_vec();
            let answer = self.agent_step(machine, Some(container), |agent, now| agent.called(&body, now));
            if let Some(Answer::Refused(code, why)) = answer {
                note!(self, "agent {machine} refuses {state:?}: {code} {why}");
                if code == RECOVERS {
                    let executor = self.executor(machine, container);
                    let known = executor.unacknowledged.iter_mut().find(|(known, _)| known.uuid == uuid);
                    known.into_iter().for_each(|(_, taken)| *taken = false);
                    return self.act_in(machine, container, SENDS_AGAIN, Act::Sends);
                }
            }
        }
    }

    pub(crate) fn exits(&mut self, machine: usize, container: &str, status: i32) {
        let Some(executor) = self.machines[machine].executors.remove(container) else { return };
        note!(self, "{} on agent {machine} exits with {status}", executor.id);
        self.detached(&executor);
        self.agent_step(machine, None, |agent, now| agent.container_exited(container, status, now));
    }

    /// Tries to attach to the scheduler that it knows.
    fn attaches(&mut self, machine: usize, container: &str) {
        let executor = self.executor(machine, container);
        if executor.attached.is_some() {
            return;
        }
        let index = executor.control.strip_prefix('s').and_then(|rest| rest.split(':').next()?.parse().ok());
        let (framework, token) = (executor.framework.clone(), executor.token.clone());
        let (id, agent) = (executor.id.as_str().into(), executor.agent_id.as_str().into());
        let known = index.and_then(|index: usize| Some((index, self.processes.get(index)?)));
        let awake = known.filter(|(_, process)| process.frozen_until <= self.now);
        let Some(run) = awake.map(|(index, process)| (index, process.run)) else {
            return self.act_in(machine, container, ATTACH_AGAIN, Act::Attaches);
        };
        let presented = Presented { framework: &framework, executor: &id, agent: &agent, token: &token };
        let admitted = self.office(run).is_some_and(|office| office.scheduler.presented(&presented).is_ok());
        if admitted {
            note!(self, "{id} attaches to s{}", run.0);
            let data = format!("/work/{container}/data");
            if let Some(office) = self.office(run) {
                office.scheduler.keeps_data_at(&id, &data);
            }
            self.executor(machine, container).attached = Some(run);
            self.after(run);
        } else {
            self.act_in(machine, container, ATTACH_AGAIN, Act::Attaches);
        }
    }

    /// A scheduler hears that an executor is gone.
    fn detached(&mut self, executor: &Executor) {
        if let Some(run) = executor.attached
            && let Some(office) = self.office(run)
        {
            office.scheduler.detached(&executor.id.as_str().into());
            self.after(run);
        }
    }

    /// An executor loses its connection to the scheduler.
    pub(crate) fn detach(&mut self, machine: usize, container: &str) {
        let Some(executor) = self.machines[machine].executors.get_mut(container) else { return };
        let Some(run) = executor.attached.take() else { return };
        let id = executor.id.as_str().into();
        if let Some(office) = self.office(run) {
            office.scheduler.detached(&id);
            self.after(run);
        }
        self.act_in(machine, container, ATTACH_AGAIN, Act::Attaches);
    }

    /// A scheduler is gone, and with it every connection of executors.
    pub(crate) fn detach_all(&mut self, run: (usize, u64)) {
        for machine in 0..self.machines.len() {
            let attached = self.machines[machine].executors.iter().filter(|(_, e)| e.attached == Some(run));
            for container in attached.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                self.detach(machine, &container);
            }
        }
    }
}

fn call_of(executor: &Executor, kind: call::Type) -> Call {
    Call {
        executor_id: mesos::ExecutorId { value: executor.id.clone() },
        framework_id: mesos::FrameworkId { value: executor.framework.clone() },
        r#type: Some(kind.into()),
        ..Default::default()
    }
}
