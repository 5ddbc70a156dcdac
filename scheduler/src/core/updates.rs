//! Decides what a status update means: progress, an end, a stranger to kill; and when it is acknowledged.
use super::cluster::{TaskState, Update};
use super::effects::{Call, LaunchRecord, Phase};
use super::nodes::{End, PROVEN, Seat};
use super::{Core, LAUNCH_TIMEOUT, Stage, Then};
use crate::ids::{AgentId, ExecutorId, Moment, TaskId};
use rand::Rng;
use std::time::Duration;

impl Core {
    /// A status update or an answer to a reconciliation came in.
    pub fn updated(&mut self, now: Moment, update: &Update) {
        self.reconciler.answered(&update.task);
        let Some(launch) = self.launches.get(&update.task) else { return self.unknown_task(now, update) };
        let to_acknowledge = acknowledgement(update);
        match &launch.stage {
            Stage::Over => {
                self.acknowledge_after_end(&update.task, to_acknowledge);
                self.kill_if_it_lives(now, update, "was reported to have ended");
            }
            // Nothing was asked of Mesos yet, so this is no word about that launch.
            Stage::Storing(_) => self.acknowledge_when_stored(&update.task, to_acknowledge),
            Stage::Asked => match phase_of(update, &launch.record) {
                Some(phase) => self.progress(now, update, phase, to_acknowledge),
                None if update.state.is_terminal() || update.state == TaskState::Unknown => {
                    self.ended(now, update, to_acknowledge);
                }
                None => self.acknowledge_when_stored(&update.task, to_acknowledge),
            },
        }
    }

    /// An executor's container ended. Its task's update says what that means; it may be lost, so ask.
    pub fn executor_ended(&mut self, _now: Moment, agent: &AgentId, executor: &ExecutorId) {
        if let Some(task) = self.executors.get(executor).cloned() {
            self.ask_now(vec![(task, agent.clone())]);
        }
    }

    /// An agent was removed or cannot be reached. What it means for its task is asked.
    pub fn agent_lost(&mut self, _now: Moment, agent: &AgentId) {
        let tasks = self.nodes.tasks_on(agent);
        self.ask_now(tasks.into_iter().map(|task| (task, agent.clone())).collect());
    }

    fn ask_now(&mut self, tasks: Vec<(TaskId, AgentId)>) {
        let asked = |task: &TaskId| self.launches.get(task).is_some_and(|l| matches!(l.stage, Stage::Asked));
        let tasks: Vec<_> = tasks.into_iter().filter(|(task, _)| asked(task)).collect();
        if !tasks.is_empty() {
            self.call(Call::Reconcile(tasks));
        }
    }

    fn progress(&mut self, now: Moment, update: &Update, phase: Phase, updates: Vec<(AgentId, Vec<u8>)>) {
        let Some(launch) = self.launches.get_mut(&update.task) else { return };
        let silent = matches!(phase, Phase::Launching | Phase::Starting | Phase::Killing);
        launch.ask_at = silent.then(|| now.after(LAUNCH_TIMEOUT));
        let words = update.words();
        self.nodes.progress(&launch.record.agent, phase, update, now);
        if matches!(phase, Phase::Starting | Phase::Waiting | Phase::Running) {
            self.reservation_holds(&update.task);
        }
        let Some(launch) = self.launches.get_mut(&update.task) else { return };
        if launch.record.phase == phase {
            return self.acknowledge_when_stored(&update.task, updates);
        }
        launch.record.phase = phase;
        launch.record.lineage.waited |= phase == Phase::Waiting;
        if phase == Phase::Unreachable {
            // It may not have heard that it is to end: if it is back and works, that is decided anew.
            launch.record.lineage.replaced = false;
            self.rollouts.not_told(&update.task);
        }
        launch.waits_since = (phase == Phase::Waiting).then_some(now);
        launch.running_since = (phase == Phase::Running).then_some(now);
        let (agent, executor) = (launch.record.agent.clone(), launch.record.executor.clone());
        if phase == Phase::Running {
            self.launch_runs(&agent);
            self.takes_over(now, &agent, &update.task);
        }
        self.decide(now, Some(agent), format!("executor {executor} is {words}"));
        self.save_launch(&update.task, updates);
    }

    /// The launch is over. The next one on that agent waits longer each time until one has run for a while.
    fn ended(&mut self, now: Moment, update: &Update, updates: Vec<(AgentId, Vec<u8>)>) {
        let Some(launch) = self.launches.get(&update.task) else { return };
        let agent = launch.record.agent.clone();
        let executor = launch.record.executor.clone();
        if update.state == TaskState::GoneByOperator {
            self.decide(now, Some(agent.clone()), "the agent was marked gone; it is forgotten".to_owned());
            self.drop_launch(&update.task, updates);
            self.forget_left(&agent);
            self.nodes.gone(&agent);
            return;
        }
        let denied = self.is_denied(now, &agent, update);
        match self.nodes.seat(&agent, &update.task) {
            Seat::Successor | Seat::Alone if denied => return self.launch_without(now, update, updates),
            Seat::Succeeded => return self.predecessor_ended(now, update, updates),
            Seat::Successor => return self.successor_ended(now, update, updates),
            Seat::Alone if self.nodes.tasks_on(&agent).len() == 1 => {}
            Seat::Alone | Seat::Behind => {
                self.was_replaced(&update.task);
                let text = format!("executor {executor} ended before the one that is there now");
                self.decide(now, Some(agent), text);
                return self.drop_launch(&update.task, updates);
            }
        }
        let words = update.words();
        let mut pause = self.note_end(now, update);
        if self.was_replaced(&update.task) {
            pause = self.nodes.end_backoff(&agent, now);
        } else {
            self.note_failure(now, update);
        }
        let text =
            format!("executor {executor} ended: {words}; the next launch waits {} ms", pause.as_millis());
        self.decide(now, Some(agent), text);
        self.drop_launch(&update.task, updates);
    }

    /// How long the next launch on that agent waits now.
    pub(super) fn note_end(&mut self, now: Moment, update: &Update) -> Duration {
        let Some(launch) = self.launches.get(&update.task) else { return Duration::ZERO };
        let ran_for = launch.running_since.map(|since| now.since(since)).unwrap_or_default();
        let jitter = self.rng.random_range(0.5..=1.0);
        self.nodes.failed(&launch.record.agent, &End { update, ran_for, jitter }, now)
    }

    /// An end that nobody asked for counts as a failure of what was launched, if it came soon.
    pub(super) fn note_failure(&mut self, now: Moment, update: &Update) {
        let Some(launch) = self.launches.get(&update.task) else { return };
        let ran_for = launch.running_since.map(|since| now.since(since)).unwrap_or_default();
        let agent = launch.record.agent.clone();
        if is_failure(update.state) && ran_for < PROVEN {
            self.launch_failed(now, &agent, &update.task, &update.words());
        }
    }

    /// A task that is not ours to keep: taken note of, and killed if it lives. Intents are stored first, so it cannot be
    /// a launch that was only forgotten.
    fn unknown_task(&mut self, now: Moment, update: &Update) {
        for (agent, uuid) in acknowledgement(update) {
            self.call(Call::Acknowledge { task: update.task.clone(), agent, uuid });
        }
        self.kill_if_it_lives(now, update, "is not known");
    }

    /// Kills a task that should not live. One that cannot be reached is killed when it is back: until then the master
    /// answers a KILL with this same update.
    fn kill_if_it_lives(&mut self, now: Moment, update: &Update, why: &str) {
        let Some(agent) = update.agent.clone().filter(|_| lives(update.state)) else { return };
        let text = format!("killing task {}, which {why}: {}", update.task, update.words());
        self.decide(now, Some(agent.clone()), text);
        self.call(Call::Kill(update.task.clone(), agent));
    }

    /// Acknowledges an update that changes nothing: at once if the store holds the launch as it is, else with it.
    fn acknowledge_when_stored(&mut self, task: &TaskId, updates: Vec<(AgentId, Vec<u8>)>) {
        if updates.is_empty() {
            return;
        }
        let Some(launch) = self.launches.get(task) else { return };
        let pending = launch.pending.and_then(|ticket| self.waiting.get_mut(&ticket));
        match (pending, launch.stored) {
            (Some(Then::Acknowledge(_, waiting)), _) => waiting.extend(updates),
            (_, true) => self.acknowledge_all(task, updates),
            _ => self.save_launch(task, updates),
        }
    }

    /// Acknowledges an update of a launch that is over once the store has forgotten it.
    fn acknowledge_after_end(&mut self, task: &TaskId, updates: Vec<(AgentId, Vec<u8>)>) {
        let pending = self.launches.get(task).and_then(|launch| launch.pending);
        match pending.and_then(|ticket| self.waiting.get_mut(&ticket)) {
            Some(Then::Forgotten(_, waiting)) => waiting.extend(updates),
            _ => self.drop_launch(task, updates),
        }
    }

    pub(super) fn acknowledge_all(&mut self, task: &TaskId, updates: Vec<(AgentId, Vec<u8>)>) {
        for (agent, uuid) in updates {
            self.call(Call::Acknowledge { task: task.clone(), agent, uuid });
        }
    }
}

/// Whether that state says something about what was launched; others tell of nodes, networks and people.
fn is_failure(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Error | TaskState::Finished)
}

/// Whom to acknowledge the update to; empty: nobody wants that.
fn acknowledgement(update: &Update) -> Vec<(AgentId, Vec<u8>)> {
    update.agent.clone().zip(update.uuid.clone()).into_iter().collect()
}

/// Whether Mesos says that a task runs or is about to, on an agent that it reaches.
fn lives(state: TaskState) -> bool {
    matches!(state, TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Killing)
}

fn phase_of(update: &Update, known: &LaunchRecord) -> Option<Phase> {
    Some(match update.state {
        TaskState::Staging => Phase::Launching,
        // Mesos' own answers do not repeat what the executor said beside its state.
        TaskState::Starting if update.waits || known.lineage.waited => Phase::Waiting,
        TaskState::Starting => Phase::Starting,
        TaskState::Running => Phase::Running,
        TaskState::Killing => Phase::Killing,
        TaskState::Unreachable => Phase::Unreachable,
        _ => return None,
    })
}
