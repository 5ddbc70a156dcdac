//! Decides what planned maintenance means: executors end, flushed, before their machine goes away, and nothing is launched
//! there until it is back.
//!
//! Windows become known by offers, by inverse offers and by the master's schedule. The schedule is the only one that tells
//! when a window is withdrawn: an inverse offer that was answered is not rescinded.
use super::cluster::{InverseOffer, Unavailability, Window};
use super::effects::{Call, Phase};
use super::{Core, Rules, Stage};
use crate::ids::{AgentId, Moment, OfferId, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an inverse offer that was answered need not come again.
const REFUSE_INVERSE: Duration = Duration::from_secs(3600);
/// What an executor gets on top of its grace to end before a window begins.
const SLACK: Duration = Duration::from_secs(30);
/// After how long an executor is told again to end: KILL may be lost.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// How long before a maintenance nothing is launched any more: what would be ended at once is not launched.
pub(super) fn lead(rules: &Rules) -> Duration {
    rules.maintenance_lead.max(rules.grace + SLACK)
}

/// What is known of maintenance beyond the nodes' windows.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// The newest inverse offer of each agent.
    inverse: BTreeMap<OfferId, AgentId>,
    /// Executors that were told to end because of a window, and when they are told again.
    told: BTreeMap<TaskId, Moment>,
}

impl Core {
    /// The master asks for machines back. It is answered whether they will be left in time; both answers are mere advice.
    pub fn inverse_offered(&mut self, now: Moment, offers: Vec<InverseOffer>) {
        if !self.connected {
            return;
        }
        let ids = offers.iter().map(|offer| offer.id.clone()).collect();
        for InverseOffer { id, agent, unavailability } in offers {
            let Some(agent) = agent else { continue };
            self.leaving.inverse.retain(|_, of| *of != agent);
            self.leaving.inverse.insert(id, agent.clone());
            self.plan(now, &agent, Some(unavailability));
        }
        self.call(match self.rules.stays {
            false => Call::AcceptInverse { offers: ids, refuse: REFUSE_INVERSE },
            true => Call::DeclineInverse { offers: ids, refuse: REFUSE_INVERSE },
        });
    }

    /// An inverse offer is gone: its window was withdrawn, or has begun.
    pub fn inverse_rescinded(&mut self, now: Moment, offer: &OfferId) {
        let Some(agent) = self.leaving.inverse.remove(offer) else { return };
        if self.nodes.window_of(&agent).is_some_and(|window| window.start > now) {
            self.plan(now, &agent, None);
        }
    }

    /// The master told its whole schedule of maintenance.
    pub fn maintenance_planned(&mut self, now: Moment, schedule: &[Window]) {
        for (agent, window) in self.nodes.planned(schedule) {
            self.plan(now, &agent, window);
        }
    }

    /// A machine is planned to be away, or not any more.
    pub(super) fn plan(&mut self, now: Moment, agent: &AgentId, window: Option<Unavailability>) {
        if !self.nodes.plan(agent, window, now) {
            return;
        }
        let text = match window {
            Some(window) => format!("its machine is planned to be away for maintenance {}", window.words()),
            None => "its machine is not planned to be away any more".to_owned(),
        };
        self.decide(now, Some(agent.clone()), text);
    }

    /// Ends executors whose machine goes away soon; each is told again until it has ended.
    pub(super) fn leave_machines(&mut self, now: Moment) {
        if self.rules.stays {
            return;
        }
        let before = self.rules.grace + SLACK;
        for (agent, task, window) in self.nodes.to_leave(before, now) {
            let Some(launch) = self.launches.get(&task) else { continue };
            let may_live = matches!(launch.stage, Stage::Asked) && launch.record.phase != Phase::Unreachable;
            let told = self.leaving.told.get(&task).copied();
            if !may_live || told.is_some_and(|again| again > now) {
                continue;
            }
            if told.is_none() {
                let executor = launch.record.executor.clone();
                let text = format!("ending executor {executor} before the maintenance {}", window.words());
                self.decide(now, Some(agent.clone()), text);
            }
            self.leaving.told.insert(task.clone(), now.after(TELL_AGAIN));
            self.call(Call::Kill(task, agent));
        }
        let launches = &self.launches;
        self.leaving.told.retain(|task, _| launches.contains_key(task));
    }
}

#[cfg(test)]
mod tests;
