//! Asks Mesos how the tasks are: after each subscription and now and then, again and again for those without an answer.
use super::effects::Call;
use super::{Core, Stage};
use crate::ids::{AgentId, Moment, TaskId};
use rand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// The first pause before the unanswered tasks are asked for again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How many tasks are asked about in one call.
const ASKED_TOGETHER: usize = 1000;
/// The longest such pause: after a master failover an agent may take ten minutes to come back.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// How often everything is reconciled without any cause.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// The one reconciliation that may be running.
#[derive(Debug, Default)]
pub(super) struct Reconciler {
    /// Tasks without an answer yet.
    remaining: BTreeMap<TaskId, AgentId>,
    ask_at: Option<Moment>,
    pause: Duration,
    next_run: Option<Moment>,
}

impl Reconciler {
    pub(super) fn answered(&mut self, task: &TaskId) {
        self.remaining.remove(task);
    }

    pub(super) fn unanswered(&self) -> usize {
        self.remaining.len()
    }

    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }
}

impl Core {
    /// Begins a reconciliation of everything that Mesos was asked to launch; one that was running is replaced.
    pub(super) fn start_reconciliation(&mut self, now: Moment) {
        let asked = self.launches.iter().filter(|(_, launch)| matches!(launch.stage, Stage::Asked));
        self.reconciler.remaining =
            asked.map(|(task, launch)| (task.clone(), launch.record.agent.clone())).collect();
        self.reconciler.pause = FIRST_PAUSE;
        self.reconciler.next_run = Some(now.after(PERIOD));
        self.ask(now);
    }

    pub(super) fn go_on_reconciling(&mut self, now: Moment) {
        if self.reconciler.next_run.is_some_and(|at| at <= now) {
            self.start_reconciliation(now);
            self.call(Call::Reconcile(Vec::new()));
        } else if self.reconciler.ask_at.is_some_and(|at| at <= now) {
            self.ask(now);
        }
    }

    /// Asks about tasks, not about too many in one call: a master answers one call at a time.
    pub(super) fn call_reconcile(&mut self, tasks: Vec<(TaskId, AgentId)>) {
        for some in tasks.chunks(ASKED_TOGETHER) {
            self.call(Call::Reconcile(some.to_vec()));
        }
    }

    fn ask(&mut self, now: Moment) {
        let launches = &self.launches;
        self.reconciler
            .remaining
            .retain(|task, _| launches.get(task).is_some_and(|l| matches!(l.stage, Stage::Asked)));
        if self.reconciler.remaining.is_empty() {
            self.reconciler.ask_at = None;
            return;
        }
        let tasks: Vec<_> =
            self.reconciler.remaining.iter().map(|(task, agent)| (task.clone(), agent.clone())).collect();
        let jitter = self.rng.random_range(0.8..=1.2);
        self.reconciler.ask_at = Some(now.after(self.reconciler.pause.mul_f64(jitter)));
        self.reconciler.pause = (self.reconciler.pause * 2).min(PAUSE_MAX);
        self.call_reconcile(tasks);
    }
}
