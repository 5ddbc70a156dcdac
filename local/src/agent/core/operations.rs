//! Tells how operations ended, again and again until the scheduler has acknowledged it. A run of the agent that ends
//! forgets what was not acknowledged.

use super::state::Core;
use crate::clock::Moment;
use crate::ids::FrameworkId;
use crate::link::ToMaster;
use mesos::{OperationId, OperationState, OperationStatus};
use proto::mesos::v1 as mesos;
use std::time::Duration;

/// The status of one operation, on its way.
pub(super) struct Feedback {
    framework: FrameworkId,
    status: OperationStatus,
    pub(super) resend: Moment,
    pause: Duration,
}

impl Core {
    /// An operation was applied: reservations have no part of their own here that could fail.
    pub(super) fn on_operation(&mut self, framework: FrameworkId, operation_id: OperationId) {
        let status = OperationStatus {
            operation_id: Some(operation_id),
            state: OperationState::OperationFinished.into(),
            uuid: Some(mesos::Uuid { value: self.chance.uuid().into_bytes().to_vec() }),
            agent_id: self.described.info.id.clone(),
            ..Default::default()
        };
        let pause = self.timings.update_retry;
        self.feedback.push(Feedback { framework, status, resend: self.now, pause });
    }

    /// Sends what is due; each one waits twice as long before the next time.
    pub(super) fn send_feedback(&mut self) {
        let (now, most) = (self.now, self.timings.update_retry_max);
        let mut due = Vec::new();
        for feedback in self.feedback.iter_mut().filter(|feedback| feedback.resend <= now) {
            feedback.resend = now + feedback.pause;
            feedback.pause = (feedback.pause * 2).min(most);
            due.push((feedback.framework.clone(), feedback.status.clone()));
        }
        for (framework_id, status) in due {
            self.tell(ToMaster::OperationStatus { framework_id, status: Box::new(status) });
        }
    }

    /// Sends everything again, of one framework or of all: there is a new master, or a new subscription.
    pub(super) fn repeat_feedback(&mut self, of: Option<&FrameworkId>) {
        let (now, pause) = (self.now, self.timings.update_retry);
        let wanted = |feedback: &&mut Feedback| of.is_none_or(|framework| feedback.framework == *framework);
        for feedback in self.feedback.iter_mut().filter(wanted) {
            (feedback.resend, feedback.pause) = (now, pause);
        }
    }

    pub(super) fn on_operation_acknowledged(&mut self, uuid: &[u8]) {
        self.feedback.retain(|feedback| feedback.status.uuid.as_ref().is_none_or(|own| own.value != uuid));
    }

    pub(super) fn forget_feedback(&mut self, framework: &FrameworkId) {
        self.feedback.retain(|feedback| feedback.framework != *framework);
    }
}
