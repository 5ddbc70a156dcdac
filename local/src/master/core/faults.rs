//! Makes the master do wrong on demand: events that get lost, events that nobody knows, operations that take their time.

use super::accept::Accepted;
use super::state::{Core, Holder};
use crate::clock::Moment;
use crate::faults::Fault;
use crate::ids::FrameworkId;
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::event::Type;

/// Numbers that no version of Mesos has given to anything.
const UNKNOWN: i32 = 9999;

/// An ACCEPT whose offers are used up and whose operations wait.
pub(super) struct LateAccept {
    pub(super) due: Moment,
    holder: Holder,
    accepted: Accepted,
}

impl Core {
    pub(super) fn failing(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }

    /// Whether an event gets lost on its way to a scheduler.
    pub(super) fn loses(&self, event: &scheduler::Event) -> bool {
        let fault = match event.r#type() {
            Type::Message => Fault::LostMessages,
            Type::Failure => Fault::LostFailures,
            Type::Update if event.update.as_ref().is_some_and(|update| update.status.uuid.is_none()) => {
                Fault::LostStatuses
            }
            _ => return false,
        };
        self.failing(&fault)
    }

    /// What comes before an event and means nothing.
    pub(super) fn strange_events(&self, event: &scheduler::Event) -> Vec<scheduler::Event> {
        let mut strange = Vec::new();
        if self.failing(&Fault::UnknownEvents) {
            strange.push(scheduler::Event { r#type: Some(UNKNOWN), ..Default::default() });
        }
        if let Some(update) = event.update.as_ref().filter(|_| self.failing(&Fault::UnknownNumbers)) {
            let status = mesos::TaskStatus {
                state: UNKNOWN,
                reason: Some(UNKNOWN),
                source: Some(UNKNOWN),
                uuid: None,
                ..update.status.clone()
            };
            let update = Some(scheduler::event::Update { status });
            strange.push(scheduler::Event { update, ..event.clone() });
        }
        strange
    }

    /// Applies what was accepted, now or, when that is wanted, later.
    pub(super) fn accept_in_time(&mut self, accepted: Accepted) {
        let late = self.faults.iter().find_map(|fault| match fault {
            Fault::LateAccepts(late) => Some(*late),
            _ => None,
        });
        let Some(late) = late else { return self.apply_accepted(accepted) };
        let holder = Holder::Accept(self.new_offer_id());
        if let Some(agent) = self.agents.get_mut(&accepted.accepting.agent) {
            let key = (accepted.accepting.framework.clone(), holder.clone());
            agent.held.insert(key, accepted.accepting.remaining.clone());
        }
        self.late_accepts.push(LateAccept { due: self.now + late, holder, accepted });
    }

    pub(super) fn apply_late_accepts(&mut self) {
        let now = self.now;
        let due: Vec<LateAccept> = self.late_accepts.extract_if(.., |late| late.due <= now).collect();
        for LateAccept { holder, accepted, .. } in due {
            let (agent, framework) = (&accepted.accepting.agent, &accepted.accepting.framework);
            self.release(agent, framework, holder);
            if self.frameworks.contains_key(framework) {
                self.apply_accepted(accepted);
            }
        }
    }

    /// Forgets what frameworks that are no more have accepted.
    pub(super) fn discard_late_accepts(&mut self, framework: &FrameworkId) {
        self.late_accepts.retain(|late| late.accepted.accepting.framework != *framework);
    }
}
