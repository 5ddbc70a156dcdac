//! Keeps whose node it is: the executor in its slot, the one that comes up beside it to take over, and what may be alive behind.
//!
//! The slot changes hands when the one in it ends, or when its successor works: that it has the data then shows that the
//! other one has let go of them.
use super::{AGENT_DRAINING, AWAITING, Nodes, Slot};
use crate::core::cluster::{Unavailability, Update};
use crate::core::effects::{LaunchRecord, Phase};
use crate::ids::{AgentId, Moment, TaskId};
use std::time::Duration;
use web::view::{Cause, Coverage};

/// An executor that comes up beside the one in the slot.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) slot: Slot,
    /// How it is, for the time when the slot is its own.
    own: Cause,
    text: String,
    /// The same beside the one in the slot.
    pub(super) beside: String,
}

/// What a launch is on its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Seat {
    /// It has the slot, and nobody waits for that.
    Alone,
    /// It has the slot, and a successor is there.
    Succeeded,
    /// It is that successor.
    Successor,
    /// It has nothing, but may be alive.
    Behind,
}

impl Nodes {
    /// A launch of an earlier scheduler, told in the order in which they were decided.
    pub(in crate::core) fn take_up(&mut self, record: &LaunchRecord, now: Moment) {
        let (node, framework) = self.node(&record.agent, now);
        node.place.host.clone_from(&record.host);
        node.trail.launched_ms = Some(record.launched_at.0);
        let of = |slot: &Slot| record.lineage.beside.as_ref() == Some(&slot.0);
        if node.successor.as_ref().is_some_and(|successor| of(&successor.slot)) {
            node.behind.extend(node.slot.take());
            node.slot = node.successor.take().map(|successor| successor.slot);
        }
        if node.slot.as_ref().is_some_and(of) && record.phase != Phase::Running {
            node.successor = Some(Successor::new(record));
            node.settle(framework, now);
            return;
        }
        node.behind.extend(node.successor.take().map(|successor| successor.slot));
        let before = node.slot.replace((record.task.clone(), record.executor.clone()));
        node.behind.extend(before);
        let text = "an executor is known from before; asking Mesos how it is".to_owned();
        self.show(&record.agent, Cause::TakenUp, text, now);
    }

    /// A launch was decided: for the free slot, or beside the one in it.
    pub(in crate::core) fn launching(&mut self, agent: &AgentId, record: &LaunchRecord, now: Moment) {
        let (node, framework) = self.node(agent, now);
        node.trail.launched_ms = Some(now.0);
        if node.slot.is_some() && record.lineage.beside.is_some() {
            node.successor = Some(Successor::new(record));
            node.settle(framework, now);
            return;
        }
        node.slot = Some((record.task.clone(), record.executor.clone()));
        self.show(agent, Cause::Intended, "an executor is being launched".to_owned(), now);
    }

    /// A launch goes on.
    pub(in crate::core) fn progress(&mut self, agent: &AgentId, phase: Phase, update: &Update, now: Moment) {
        let seat = self.seat(agent, &update.task);
        let (node, framework) = self.node(agent, now);
        match seat {
            Seat::Successor => {
                if let Some(successor) = &mut node.successor {
                    (successor.own, successor.text) = progress(phase, &successor.slot.1.0, update);
                    successor.beside = beside(phase, &successor.slot.1.0);
                }
                node.settle(framework, now);
            }
            Seat::Alone | Seat::Succeeded => {
                let executor = node.slot.as_ref().map_or("", |(_, executor)| executor.0.as_str());
                let (cause, text) = progress(phase, executor, update);
                self.show(agent, cause, text, now);
            }
            // The node is not its own any more; unless a crash left both, and it is the one that lives.
            Seat::Behind if node.own == Cause::Runs => {}
            Seat::Behind => {
                let of = node.behind.iter().find(|(task, _)| *task == update.task);
                let (cause, text) =
                    progress(phase, of.map_or("", |(_, executor)| executor.0.as_str()), update);
                self.show(agent, cause, text, now);
            }
        }
    }

    /// What a launch is on its agent.
    pub(in crate::core) fn seat(&self, agent: &AgentId, task: &TaskId) -> Seat {
        let Some(node) = self.by_agent.get(agent) else { return Seat::Alone };
        let is = |slot: &Slot| slot.0 == *task;
        if node.successor.as_ref().is_some_and(|successor| is(&successor.slot)) {
            Seat::Successor
        } else if node.slot.as_ref().is_none_or(is) {
            if node.successor.is_some() { Seat::Succeeded } else { Seat::Alone }
        } else {
            Seat::Behind
        }
    }

    /// The successor works: the slot is its own. Gives whose it was.
    pub(in crate::core) fn take_over(&mut self, agent: &AgentId, now: Moment) -> Option<TaskId> {
        let (node, _) = self.node(agent, now);
        let Successor { slot, own, text, .. } = node.successor.take()?;
        let before = node.slot.replace(slot);
        let task = before.as_ref().map(|(task, _)| task.clone());
        node.behind.extend(before);
        self.show(agent, own, text, now);
        task
    }

    /// A launch is over: who waits for its slot has it.
    pub(in crate::core) fn free(&mut self, agent: &AgentId, task: &TaskId) {
        let now = self.latest;
        let seat = self.seat(agent, task);
        let Some(node) = self.by_agent.get_mut(agent) else { return };
        match seat {
            Seat::Behind => node.behind.retain(|(behind, _)| behind != task),
            Seat::Successor => {
                node.successor = None;
                node.settle(&self.framework, now);
            }
            Seat::Succeeded => {
                if let Some(Successor { slot, own, text, .. }) = node.successor.take() {
                    node.slot = Some(slot);
                    self.show(agent, own, text, now);
                }
            }
            Seat::Alone => {
                node.slot = node.behind.pop();
                if node.slot.is_some() {
                    return;
                }
                if node.own == Cause::Unreachable
                    || matches!(node.own.coverage(), Coverage::Running | Coverage::Launching)
                {
                    (node.own, node.text) = (Cause::AwaitingOffer, AWAITING.to_owned());
                }
                node.settle(&self.framework, now);
            }
        }
    }

    /// The launch in the slot of an agent.
    pub(in crate::core) fn task_on(&self, agent: &AgentId) -> Option<TaskId> {
        self.by_agent.get(agent)?.slot.as_ref().map(|(task, _)| task.clone())
    }

    /// The launch beside it, that takes over from it.
    pub(in crate::core) fn successor_on(&self, agent: &AgentId) -> Option<TaskId> {
        self.by_agent.get(agent)?.successor.as_ref().map(|successor| successor.slot.0.clone())
    }

    /// Every launch that may be alive on an agent.
    pub(in crate::core) fn tasks_on(&self, agent: &AgentId) -> Vec<TaskId> {
        self.by_agent.get(agent).map(|node| node.tasks().cloned().collect()).unwrap_or_default()
    }

    /// Agents with a successor beside the executor in their slot: agent, that executor's task, the successor's.
    pub(in crate::core) fn successions(&self) -> Vec<(AgentId, TaskId, TaskId)> {
        let of = |(agent, node): (&AgentId, &super::Node)| {
            let successor = node.successor.as_ref()?;
            Some((agent.clone(), node.slot.as_ref()?.0.clone(), successor.slot.0.clone()))
        };
        self.by_agent.iter().filter_map(of).collect()
    }

    /// Launches that were taken over from, each behind the one in the slot: that one's task, its own.
    pub(in crate::core) fn taken_over(&self) -> Vec<(TaskId, TaskId)> {
        let with_some = self.by_agent.values().filter(|node| !node.behind.is_empty());
        let pairs = with_some.flat_map(|node| {
            let worker = node.slot.iter().map(|(task, _)| task.clone());
            worker.flat_map(|worker| node.behind.iter().map(move |(task, _)| (worker.clone(), task.clone())))
        });
        pairs.collect()
    }

    /// Executors on machines that are away, or will be within `before`.
    pub(in crate::core) fn to_leave(
        &self,
        before: Duration,
        now: Moment,
    ) -> Vec<(AgentId, TaskId, Unavailability)> {
        let away = self.by_agent.iter().filter_map(|(agent, node)| {
            let window =
                node.away.filter(|window| window.start <= now.after(before) && !window.is_over(now))?;
            Some((agent, node, window))
        });
        away.flat_map(|(agent, node, window)| {
            node.tasks().map(move |task| (agent.clone(), task.clone(), window))
        })
        .collect()
    }
}

impl super::Node {
    /// Every launch that may be alive there.
    fn tasks(&self) -> impl Iterator<Item = &TaskId> {
        let successor = self.successor.iter().map(|successor| &successor.slot);
        self.slot.iter().chain(successor).chain(&self.behind).map(|(task, _)| task)
    }
}

impl Successor {
    fn new(record: &LaunchRecord) -> Self {
        Self {
            slot: (record.task.clone(), record.executor.clone()),
            own: Cause::Asked,
            text: format!("executor {} was launched to take over", record.executor),
            beside: beside(record.phase, &record.executor.0),
        }
    }
}

/// What happens on a node whose executor is that far.
fn progress(phase: Phase, executor: &str, update: &Update) -> (Cause, String) {
    let words = update.words();
    match phase {
        Phase::Running => (Cause::Runs, format!("executor {executor} runs")),
        Phase::Unreachable => (Cause::Unreachable, format!("Mesos cannot reach the agent: {words}")),
        Phase::Killing if update.reason == AGENT_DRAINING => {
            (Cause::Draining, format!("executor {executor} is being ended: {words}"))
        }
        Phase::Killing => (Cause::Ending, format!("executor {executor} is being ended: {words}")),
        Phase::Waiting => {
            (Cause::Waits, format!("executor {executor} waits for the data of the one before it"))
        }
        Phase::Starting => (Cause::Starting, format!("executor {executor} starts its pipelines")),
        Phase::Intended | Phase::Launching => (Cause::Asked, format!("executor {executor} is {words}")),
    }
}

/// The same of an executor beside the one that works there.
fn beside(phase: Phase, executor: &str) -> String {
    match phase {
        Phase::Waiting => format!("executor {executor} waits beside it to take over"),
        Phase::Killing => format!("executor {executor} beside it is being ended"),
        Phase::Unreachable => format!("executor {executor} beside it cannot be reached"),
        _ => format!("executor {executor} comes up beside it to take over"),
    }
}
