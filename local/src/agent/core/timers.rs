//! Does what is due, and says when something will be.

use super::exits::late;
use super::state::{Core, Phase, Stage};
use super::{Effect, events};
use crate::clock::Moment;
use crate::ids::{ExecutorId, FrameworkId, TaskId};

impl Core {
    /// The moment of the next timer, if there is one.
    pub(crate) fn next_wake(&self) -> Option<Moment> {
        let executors = || self.frameworks.values().flat_map(|framework| framework.executors.values());
        let deadlines = executors().filter_map(|executor| executor.deadline);
        let heartbeats =
            executors().filter_map(|executor| executor.subscription.as_ref()).map(|s| s.next_heartbeat);
        let resends = self.streams.values().filter_map(|stream| stream.resend).filter(|_| self.registered);
        let recovery = match self.phase {
            Phase::Recovering(until) => Some(until),
            Phase::Running | Phase::Stopping | Phase::Stopped => None,
        };
        let feedback = self.feedback.iter().map(|feedback| feedback.resend).filter(|_| self.registered);
        deadlines.chain(heartbeats).chain(resends).chain(feedback).chain(recovery).min()
    }

    /// Does everything that is due now.
    pub(super) fn on_time(&mut self) {
        if let Phase::Recovering(until) = self.phase
            && (until <= self.now || !self.any_alive())
        {
            self.end_recovery();
        }
        self.destroy_late_executors();
        self.send_heartbeats();
        if self.registered {
            let now = self.now;
            let due: Vec<(FrameworkId, TaskId)> = self
                .streams
                .iter()
                .filter(|(_, stream)| stream.resend.is_some_and(|resend| resend <= now))
                .map(|(key, _)| key.clone())
                .collect();
            for (framework, task) in due {
                self.forward(&framework, &task);
            }
            self.send_feedback();
        }
        let alive = self.any_alive();
        if self.phase == Phase::Stopping && !alive {
            self.phase = Phase::Stopped;
            self.out.push(Effect::Stopped);
        }
    }

    /// Whether any executor has not ended yet.
    fn any_alive(&self) -> bool {
        let executors = self.frameworks.values().flat_map(|framework| framework.executors.values());
        executors.into_iter().any(|executor| executor.stage != Stage::Terminated)
    }

    /// Executors of the last run that did not come back are destroyed; now the agent looks for its master.
    fn end_recovery(&mut self) {
        self.phase = Phase::Running;
        let awaited: Vec<(FrameworkId, ExecutorId)> = self.executors_in(|stage| stage == Stage::Awaited);
        for (id, executor_id) in awaited {
            let Some(framework) = self.frameworks.get(&id) else { continue };
            let ending = late(&framework.info, Stage::Awaited, self.timings.executor_reregistration);
            self.destroy(&id, &executor_id, Some(ending));
        }
        self.out.push(Effect::Join);
    }

    fn executors_in(&self, wanted: impl Fn(Stage) -> bool) -> Vec<(FrameworkId, ExecutorId)> {
        self.frameworks
            .iter()
            .flat_map(|(id, framework)| {
                framework.executors.iter().map(move |(executor, kept)| (id, executor, kept))
            })
            .filter(|(_, _, executor)| wanted(executor.stage))
            .map(|(id, executor, _)| (id.clone(), executor.clone()))
            .collect()
    }

    fn destroy_late_executors(&mut self) {
        let now = self.now;
        for (id, executor_id) in
            self.executors_in(|stage| matches!(stage, Stage::Starting | Stage::Terminating))
        {
            let Some(framework) = self.frameworks.get(&id) else { continue };
            let Some(executor) = framework.executors.get(&executor_id) else { continue };
            if executor.deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            let ending = (executor.stage == Stage::Starting)
                .then(|| late(&framework.info, Stage::Starting, self.timings.executor_registration));
            self.destroy(&id, &executor_id, ending);
        }
    }

    fn send_heartbeats(&mut self) {
        let (now, interval) = (self.now, self.timings.executor_heartbeat);
        let executors = self.frameworks.values_mut().flat_map(|framework| framework.executors.values_mut());
        for subscription in executors.filter_map(|executor| executor.subscription.as_mut()) {
            if subscription.next_heartbeat <= now {
                subscription.next_heartbeat = now + interval;
                self.out.push(Effect::Send(subscription.connection, Box::new(events::heartbeat())));
            }
        }
    }
}
