//! Decides what a Mesos executor says and when it ends: events and moments in, effects out.
//!
//! What Mesos demands of executors: nothing non-terminal about a task before its LAUNCH; RUNNING only once the pipelines
//! are up; updates keep their uuid until they are acknowledged, and are listed, with the tasks of which no update was
//! acknowledged, whenever we subscribe again; an executor without tasks ends.
use config::settings::Secret;
use proto::mesos::v1::executor::call::{Subscribe, Type as CallType, Update};
use proto::mesos::v1::executor::event::Type as EventType;
use proto::mesos::v1::executor::{Call, Event};
use proto::mesos::v1::framework_info::capability::Type as Capability;
use proto::mesos::v1::task_status::Source;
use proto::mesos::v1::{ExecutorId, FrameworkId, FrameworkInfo, KillPolicy, TaskInfo, TaskState, TaskStatus};
use proto::{announcement, handover};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long the first subscription may take when the agent does not keep executors over its restarts.
const FIRST_SUBSCRIPTION: Duration = Duration::from_secs(60);

/// What the agent said about this executor in the environment.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) executor_id: String,
    pub(crate) framework_id: String,
    /// What came with the launch: schedulers prove with it that they are ours.
    pub(crate) token: Option<Secret>,
    /// Whether we outlive a restart of the agent.
    pub(crate) checkpoint: bool,
    /// How long to wait for an agent that is gone.
    pub(crate) recovery_timeout: Duration,
    /// How long a shutdown may take.
    pub(crate) grace: Duration,
    /// Makes the uuid of an update: version 4.
    pub(crate) fresh_uuid: fn() -> [u8; 16],
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Tell the node.
    Tell(FromMesos),
    /// Drop both connections and subscribe again.
    Reconnect,
    /// End this process.
    Exit,
}

/// What the node hears from Mesos.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FromMesos {
    /// The agent took us; this is its host name.
    Subscribed {
        /// The agent's host name.
        host: String,
    },
    /// The scheduler listens elsewhere now: `host:port`.
    ControlAddress(String),
    /// Stop reading, flush, save positions; then say that it is done.
    Drain {
        /// Until when.
        by: Instant,
        /// Why.
        why: &'static str,
    },
    /// Nothing is left to do.
    Exit,
}

#[derive(Debug)]
struct Task {
    info: TaskInfo,
    /// Whether the agent has acknowledged any update of it.
    acknowledged: bool,
    running: bool,
    ended: bool,
}

#[derive(Debug)]
struct Pending {
    uuid: Vec<u8>,
    status: TaskStatus,
    /// Whether it went out on the present subscription.
    sent: bool,
}

#[derive(Debug, PartialEq)]
enum Connection {
    Subscribed,
    /// Not subscribed since then.
    Lost(Instant),
}

#[derive(Debug)]
struct Ending {
    drain_by: Instant,
    exit_by: Instant,
    drained: bool,
    /// Nobody wants to hear of us any more.
    silent: bool,
}

/// The state of this executor towards its agent.
#[derive(Debug)]
pub(crate) struct Session {
    rules: Rules,
    connection: Connection,
    knows_killing: bool,
    pipelines_up: bool,
    /// Whether another executor has the data that we are to go on with, or had them a moment ago.
    waits: bool,
    tasks: BTreeMap<String, Task>,
    updates: Vec<Pending>,
    /// The uuid of the update that is on its way.
    in_flight: Vec<u8>,
    ending: Option<Ending>,
    /// The newest leadership that a scheduler has announced.
    epoch: u64,
}

impl Session {
    /// A session that is not subscribed yet.
    pub(crate) fn new(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            connection: Connection::Lost(now),
            knows_killing: false,
            pipelines_up: false,
            waits: false,
            tasks: BTreeMap::new(),
            updates: Vec::new(),
            in_flight: Vec::new(),
            ending: None,
            epoch: 0,
        }
    }

    fn call(&self, kind: CallType) -> Call {
        Call {
            executor_id: ExecutorId { value: self.rules.executor_id.clone() },
            framework_id: FrameworkId { value: self.rules.framework_id.clone() },
            r#type: Some(kind.into()),
            ..Call::default()
        }
    }

    /// The SUBSCRIBE to send now. It lists every update that is not acknowledged, so none of them is sent again.
    pub(crate) fn subscribe_call(&mut self) -> Call {
        for update in &mut self.updates {
            update.sent = true;
        }
        let unacknowledged = self.tasks.values().filter(|task| !task.acknowledged && !task.ended);
        Call {
            subscribe: Some(Subscribe {
                unacknowledged_tasks: unacknowledged.map(|task| task.info.clone()).collect(),
                unacknowledged_updates: self
                    .updates
                    .iter()
                    .map(|update| Update { status: update.status.clone() })
                    .collect(),
            }),
            ..self.call(CallType::Subscribe)
        }
    }

    /// The oldest update that has not gone out, as a call; only while subscribed.
    pub(crate) fn next_update(&mut self) -> Option<Call> {
        if self.connection != Connection::Subscribed {
            return None;
        }
        let update = self.updates.iter().find(|update| !update.sent)?;
        self.in_flight.clone_from(&update.uuid);
        Some(Call { update: Some(Update { status: update.status.clone() }), ..self.call(CallType::Update) })
    }

    /// The agent accepted the update that [`Session::next_update`] gave.
    pub(crate) fn update_accepted(&mut self) {
        // It may be acknowledged, and gone, already.
        if let Some(update) = self.updates.iter_mut().find(|update| update.uuid == self.in_flight) {
            update.sent = true;
        }
    }

    /// The agent refused the update that [`Session::next_update`] gave. 503: it recovers, try again a little later.
    pub(crate) fn update_refused(&mut self, status: u16) -> Vec<Effect> {
        // Anything else is settled by subscribing: an orphan is told so there, and a lost subscription is renewed.
        if status == 503 { Vec::new() } else { vec![Effect::Reconnect] }
    }

    /// The agent refused SUBSCRIBE.
    pub(crate) fn subscribe_refused(&mut self, status: u16, now: Instant) -> Vec<Effect> {
        match status {
            400 => self.end("the agent does not know this executor", self.rules.grace, true, now),
            401 | 403 => self.end("the agent refuses this executor", self.rules.grace, true, now),
            _ => Vec::new(),
        }
    }

    /// A connection was lost, or could not be made.
    pub(crate) fn lost(&mut self, now: Instant) -> Vec<Effect> {
        if self.connection == Connection::Subscribed {
            self.connection = Connection::Lost(now);
            if !self.rules.checkpoint {
                return self.end(
                    "the agent is gone and does not keep executors",
                    self.rules.grace,
                    true,
                    now,
                );
            }
        }
        Vec::new()
    }

    /// Takes an event of the agent.
    pub(crate) fn event(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event.r#type() {
            EventType::Subscribed => event.subscribed.map_or_else(Vec::new, |subscribed| {
                self.connection = Connection::Subscribed;
                self.knows_killing = has_killing(&subscribed.framework_info);
                vec![Effect::Tell(FromMesos::Subscribed { host: subscribed.agent_info.hostname })]
            }),
            EventType::Launch => event.launch.map_or_else(Vec::new, |launch| self.launch(launch.task, now)),
            EventType::LaunchGroup => {
                let tasks = event.launch_group.map(|group| group.task_group.tasks).unwrap_or_default();
                tasks.into_iter().flat_map(|task| self.launch(task, now)).collect()
            }
            EventType::Kill => event
                .kill
                .map_or_else(Vec::new, |kill| self.kill(&kill.task_id.value, kill.kill_policy.as_ref(), now)),
            EventType::Acknowledged => {
                if let Some(acknowledged) = event.acknowledged {
                    self.acknowledged(&acknowledged.task_id.value, &acknowledged.uuid);
                }
                self.progress(now)
            }
            EventType::Message => event.message.map_or_else(Vec::new, |message| self.hear(&message.data)),
            EventType::Shutdown => {
                self.end("the agent shuts this executor down", self.rules.grace, false, now)
            }
            EventType::Error => vec![Effect::Reconnect],
            EventType::Heartbeat | EventType::Unknown => Vec::new(),
        }
    }

    /// Takes in what a scheduler says by MESSAGE, which anybody may have sent: where the leading one listens.
    fn hear(&mut self, data: &[u8]) -> Vec<Effect> {
        let Some(token) = &self.rules.token else {
            tracing::warn!(
                "a message of a scheduler is refused: without a launch token nobody can prove to be ours"
            );
            return Vec::new();
        };
        match announcement::read(data, token.expose(), &self.rules.executor_id) {
            Ok(said) if said.epoch < self.epoch => {
                tracing::warn!(
                    epoch = said.epoch,
                    newest = self.epoch,
                    "refused what an earlier leader said"
                );
                Vec::new()
            }
            Ok(said) => {
                self.epoch = said.epoch;
                vec![Effect::Tell(FromMesos::ControlAddress(said.control))]
            }
            Err(error) => {
                tracing::warn!(%error, "a message of a scheduler is refused");
                Vec::new()
            }
        }
    }

    fn launch(&mut self, task: TaskInfo, now: Instant) -> Vec<Effect> {
        let id = task.task_id.value.clone();
        if self.tasks.contains_key(&id) {
            return Vec::new();
        }
        self.tasks.insert(id.clone(), Task { info: task, acknowledged: false, running: false, ended: false });
        if self.ending.is_some() {
            self.say(&id, TaskState::TaskKilled, "the executor was ending when the task came");
        } else {
            if self.waits && !self.pipelines_up {
                self.say_waits(&id);
            } else {
                self.say(&id, TaskState::TaskStarting, "waiting for pipelines");
            }
            self.say_running();
        }
        self.progress(now)
    }

    /// Another executor has the data that we are to go on with. It is said to be no more than starting: RUNNING follows
    /// when there are pipelines.
    pub(crate) fn waits(&mut self) {
        self.waits = true;
        if self.pipelines_up || self.ending.is_some() {
            return;
        }
        let tasks: Vec<String> = self.tasks.keys().cloned().collect();
        tasks.iter().for_each(|id| self.say_waits(id));
    }

    fn say_waits(&mut self, id: &str) {
        self.say(id, TaskState::TaskStarting, "waiting for the executor before it to let go of its data");
        if let Some(update) = self.updates.last_mut() {
            update.status.data = Some(handover::WAITS.to_vec());
        }
    }

    /// The pipelines of the first assignment are up.
    pub(crate) fn pipelines_up(&mut self) {
        self.pipelines_up = true;
        self.say_running();
    }

    fn say_running(&mut self) {
        if !self.pipelines_up || self.ending.is_some() {
            return;
        }
        let waiting = self.tasks.iter().filter(|(_, task)| !task.running && !task.ended);
        let waiting: Vec<String> = waiting.map(|(id, _)| id.clone()).collect();
        for id in waiting {
            self.say(&id, TaskState::TaskRunning, "");
        }
    }

    fn kill(&mut self, id: &str, policy: Option<&KillPolicy>, now: Instant) -> Vec<Effect> {
        let Some(task) = self.tasks.get(id).filter(|task| !task.ended) else { return Vec::new() };
        if self.tasks.values().filter(|task| !task.ended).count() > 1 {
            self.say(id, TaskState::TaskKilled, "killed; the node works on for another task");
            return Vec::new();
        }
        let grace = policy.or(task.info.kill_policy.as_ref()).and_then(|policy| policy.grace_period.as_ref());
        let grace = grace.and_then(|grace| u64::try_from(grace.nanoseconds).ok()).map(Duration::from_nanos);
        if self.knows_killing && self.ending.is_none() {
            self.say(id, TaskState::TaskKilling, "draining");
        }
        self.end("the task was killed", grace.unwrap_or(self.rules.grace), false, now)
    }

    /// This process was asked to stop from outside.
    pub(crate) fn stop(&mut self, now: Instant) -> Vec<Effect> {
        self.end("this process was asked to stop", self.rules.grace, false, now)
    }

    fn end(&mut self, why: &'static str, grace: Duration, silent: bool, now: Instant) -> Vec<Effect> {
        let exit_by = now + grace;
        let drain_by = now + grace.mul_f64(0.75);
        match &mut self.ending {
            Some(ending) => {
                ending.silent |= silent;
                if exit_by >= ending.exit_by {
                    return self.progress(now);
                }
                (ending.exit_by, ending.drain_by) = (exit_by, drain_by);
            }
            None => self.ending = Some(Ending { drain_by, exit_by, drained: false, silent }),
        }
        let mut effects = vec![Effect::Tell(FromMesos::Drain { by: drain_by, why })];
        effects.extend(self.progress(now));
        effects
    }

    /// The node has drained.
    pub(crate) fn drained(&mut self, now: Instant) -> Vec<Effect> {
        if let Some(ending) = &mut self.ending {
            ending.drained = true;
        }
        self.progress(now)
    }

    /// The next moment at which [`Session::time`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return Some(if ending.drained { ending.exit_by } else { ending.drain_by });
        }
        match self.connection {
            Connection::Subscribed => None,
            Connection::Lost(since) => Some(since + self.patience()),
        }
    }

    fn patience(&self) -> Duration {
        if self.rules.checkpoint { self.rules.recovery_timeout } else { FIRST_SUBSCRIPTION }
    }

    /// Time has passed.
    pub(crate) fn time(&mut self, now: Instant) -> Vec<Effect> {
        match self.connection {
            Connection::Lost(since) if self.ending.is_none() && now >= since + self.patience() => {
                self.end("the agent did not come back", self.rules.grace, true, now)
            }
            _ => self.progress(now),
        }
    }

    /// Goes on with the ending: drained (or too late) → last updates; all acknowledged (or too late) → exit.
    fn progress(&mut self, now: Instant) -> Vec<Effect> {
        let Some(ending) = &mut self.ending else { return Vec::new() };
        if now >= ending.drain_by {
            ending.drained = true;
        }
        if !ending.drained {
            return Vec::new();
        }
        let (silent, exit_by) = (ending.silent, ending.exit_by);
        let alive: Vec<String> =
            self.tasks.iter().filter(|(_, task)| !task.ended).map(|(id, _)| id.clone()).collect();
        for id in alive {
            self.say(&id, TaskState::TaskKilled, "drained");
        }
        // An agent that is away for a moment still gets the last updates, if it is back in time.
        if silent || self.updates.is_empty() || now >= exit_by { vec![Effect::Exit] } else { Vec::new() }
    }

    fn say(&mut self, id: &str, state: TaskState, message: &str) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.running |= state == TaskState::TaskRunning;
        task.ended |= state == TaskState::TaskKilled;
        let uuid = (self.rules.fresh_uuid)().to_vec();
        let status = TaskStatus {
            task_id: task.info.task_id.clone(),
            state: state.into(),
            message: (!message.is_empty()).then(|| message.to_owned()),
            executor_id: Some(ExecutorId { value: self.rules.executor_id.clone() }),
            source: Some(Source::Executor.into()),
            uuid: Some(uuid.clone()),
            healthy: (state == TaskState::TaskRunning).then_some(true),
            ..TaskStatus::default()
        };
        self.updates.push(Pending { uuid, status, sent: false });
    }

    fn acknowledged(&mut self, task: &str, uuid: &[u8]) {
        self.updates.retain(|update| update.uuid != uuid);
        if let Some(task) = self.tasks.get_mut(task) {
            task.acknowledged = true;
        }
    }
}

fn has_killing(framework: &FrameworkInfo) -> bool {
    framework.capabilities.iter().any(|c| c.r#type() == Capability::TaskKillingState)
}

#[cfg(test)]
mod tests;
