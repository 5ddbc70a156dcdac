//! Does what is due, and says when something will be.

use super::agents::Leaving;
use super::state::{Agent, Core};
use super::{Effect, describe, statuses};
use crate::clock::Moment;
use crate::faults::Fault;
use crate::ids::{AgentId, FrameworkId, OfferId};
use crate::link::ToAgent;
use proto::mesos::v1 as mesos;
use std::time::Duration;

/// However much happens, timers are looked at no more often than this: looking at all of them takes time in proportion
/// to the number of agents.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

impl Core {
    /// When timers are to be looked at next.
    pub(crate) fn next_wake(&self) -> Moment {
        self.look_at
    }

    /// Does what is due, unless it was looked at just before.
    pub(super) fn look_at_timers(&mut self) {
        let soon = self.looked_at + LOOK_PAUSE;
        if self.now < soon && self.now < self.look_at {
            // What just happened may have set a timer.
            self.look_at = self.look_at.min(soon);
            return;
        }
        self.on_time();
        self.looked_at = self.now;
        self.look_at = self.next_timer();
    }

    /// The moment of the next timer.
    fn next_timer(&self) -> Moment {
        let heartbeats =
            self.frameworks.values().filter_map(|f| f.subscription.as_ref()).map(|s| s.next_heartbeat);
        let expiries = self.frameworks.values().filter_map(|framework| framework.expires);
        let pings = self.agents.values().map(|agent| agent.next_ping);
        let returns = self.agents.values().filter_map(|agent| agent.reregister_by);
        let offers = self.offers.values().filter_map(|offer| offer.expires);
        heartbeats
            .chain(expiries)
            .chain(pings)
            .chain(returns)
            .chain(offers)
            .chain(self.recovered.values().map(|(_, by)| *by))
            .chain(self.watchers.values().copied())
            .chain(self.remember_at)
            .chain(self.late_accepts.iter().map(|late| late.due))
            .chain([self.next_allocation])
            .min()
            .unwrap_or(self.next_allocation)
    }

    /// Does everything that is due now.
    fn on_time(&mut self) {
        self.send_heartbeats();
        self.expire_frameworks();
        self.ping_agents();
        self.give_up_agents();
        self.expire_offers();
        self.apply_late_accepts();
        self.finish_drains();
        if self.next_allocation <= self.now {
            self.next_allocation = self.now + self.timings.allocation;
            self.allocate();
        }
        self.remember_if_due();
    }

    fn send_heartbeats(&mut self) {
        let (now, interval, held) = (self.now, self.timings.heartbeat, self.failing(&Fault::HeldHeartbeats));
        let mut due = Vec::new();
        for framework in self.frameworks.values_mut() {
            if let Some(subscription) = framework.subscription.as_mut().filter(|s| s.next_heartbeat <= now) {
                subscription.next_heartbeat = now + interval;
                due.push(subscription.connection);
            }
        }
        if !held {
            self.out.extend(due.into_iter().map(|c| Effect::Send(c, Box::new(statuses::heartbeat()))));
        }
        for (watcher, next) in self.watchers.iter_mut().filter(|(_, next)| **next <= now) {
            *next = now + interval;
            if !held {
                self.out.push(Effect::Publish(*watcher, Box::new(describe::heartbeat())));
            }
        }
    }

    fn expire_frameworks(&mut self) {
        let now = self.now;
        let expired: Vec<FrameworkId> = self
            .frameworks
            .iter()
            .filter(|(_, framework)| framework.expires.is_some_and(|expires| expires <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            self.remove_framework(&id, "Framework failover timeout");
        }
    }

    /// Agents are pinged whether they are linked or not; too many misses in a row make one unreachable.
    fn ping_agents(&mut self) {
        let (now, interval, misses) = (self.now, self.timings.agent_ping, self.timings.agent_ping_misses);
        let mut silent = Vec::new();
        for (id, agent) in self.agents.iter_mut().filter(|(_, agent)| agent.next_ping <= now) {
            agent.next_ping = now + interval;
            if agent.unanswered_pings >= misses {
                silent.push(id.clone());
                continue;
            }
            agent.unanswered_pings += 1;
            if let Some(link) = agent.link {
                self.out.push(Effect::Tell(link, ToAgent::Ping));
            }
        }
        for id in silent {
            self.remove_agent(&id, Leaving::Unreachable("health check timed out"));
        }
    }

    /// Agents that did not come back in time, after a broken connection or a change of masters.
    fn give_up_agents(&mut self) {
        let now = self.now;
        let late: Vec<AgentId> = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.reregister_by.is_some_and(|by| by <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            self.remove_agent(&id, Leaving::Unreachable("agent did not reregister in time"));
        }
        let late: Vec<AgentId> =
            self.recovered.iter().filter(|(_, (_, by))| *by <= now).map(|(id, _)| id.clone()).collect();
        for id in late {
            self.recovered.remove(&id);
            self.unreachable.insert(id.clone(), now);
            self.remember();
            self.broadcast_failure(&id);
        }
    }

    /// An agent is drained when the last of its tasks is over and acknowledged.
    fn finish_drains(&mut self) {
        let draining =
            |agent: &Agent| agent.drain.is_some_and(|drain| drain.state() == mesos::DrainState::Draining);
        let drained: Vec<AgentId> = self
            .agents
            .iter()
            .filter(|(id, agent)| draining(agent) && !self.has_tasks(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in drained {
            let Some(drain) = self.agents.get_mut(&id).and_then(|agent| agent.drain.as_mut()) else {
                continue;
            };
            drain.state = mesos::DrainState::Drained.into();
            if drain.config.mark_gone() {
                self.remove_agent(&id, Leaving::Gone);
            }
        }
    }

    fn has_tasks(&self, agent: &AgentId) -> bool {
        let tasks = self.frameworks.values().flat_map(|framework| framework.tasks.values());
        tasks.into_iter().any(|task| task.agent_id.value == agent.0)
    }

    fn expire_offers(&mut self) {
        let now = self.now;
        let expired: Vec<OfferId> = self
            .offers
            .values()
            .filter(|offer| offer.expires.is_some_and(|expires| expires <= now))
            .map(|offer| offer.id.clone())
            .collect();
        if !expired.is_empty() {
            self.rescind(|offer| expired.contains(&offer.id));
        }
    }
}
