//! Models what befalls agents: they vanish, return, are drained, marked gone, and planned to be away.
use super::{AWAY, Event, MACHINES, Mesos, Standing};
use crate::core::cluster::{InverseOffer, TaskState};
use crate::core::model::Fate;
use crate::ids::{AgentId, OfferId, TaskId};

impl Mesos {
    /// Something befalls the agent of a machine.
    pub(in crate::core::model) fn befall(&mut self, machine: usize, fate: Fate) {
        let (agent, standing) = (self.agents[machine].id.clone(), self.agents[machine].standing);
        match (fate, standing) {
            // One that does not come back after a failover of masters is not told task by task.
            (Fate::Unreachable, Standing::Registered | Standing::Recovered) => {
                self.leave(machine, Standing::Unreachable, TaskState::Unreachable);
            }
            (Fate::Collected, Standing::Unreachable) => self.agents[machine].standing = Standing::Collected,
            (Fate::Back, Standing::Gone | Standing::Left) => {
                let known = &mut self.agents[machine];
                known.generation += 1;
                known.id = AgentId(format!("m-S{}", machine + known.generation as usize * MACHINES));
                (known.standing, known.draining) = (Standing::Registered, false);
            }
            (Fate::Back, Standing::Unreachable | Standing::Collected | Standing::Recovered) => {
                self.agents[machine].standing = Standing::Registered;
                for (task, state) in self.living(&agent) {
                    if standing != Standing::Recovered {
                        self.tell(&task, &agent, state, None);
                        let waits = self.tasks.get(&task).is_some_and(|task| task.waits && !task.works);
                        self.waits_again += usize::from(waits && state == TaskState::Starting);
                    }
                }
                let tasks: Vec<TaskId> =
                    self.tasks.iter().filter(|(_, t)| t.agent == agent).map(|(id, _)| id.clone()).collect();
                tasks.iter().for_each(|task| self.send(task));
            }
            (Fate::MarkedGone, _) if !matches!(standing, Standing::Gone | Standing::Left) => {
                self.leave(machine, Standing::Gone, TaskState::GoneByOperator);
                self.forget(&agent);
            }
            (Fate::Unregistered, Standing::Registered) => {
                self.leave(machine, Standing::Left, TaskState::Lost);
                self.forget(&agent);
            }
            (Fate::Drained, Standing::Registered) if !self.agents[machine].draining => {
                self.agents[machine].draining = true;
                self.rescind(|_, of| *of == agent);
                self.living(&agent).iter().for_each(|(task, _)| self.kill(task, &agent));
            }
            (Fate::Planned, _) if !self.agents[machine].away => {
                self.agents[machine].away = true;
                self.rescind(|_, of| *of == agent);
                self.planned.insert(agent.clone());
                if self.tasks.values().any(|task| task.agent == agent) {
                    let id = OfferId(format!("i-{agent}"));
                    self.say(Event::InverseOffers(vec![InverseOffer {
                        id,
                        agent: Some(agent),
                        unavailability: AWAY,
                    }]));
                }
            }
            (Fate::Withdrawn, _) if self.agents[machine].away => {
                self.agents[machine].away = false;
                self.rescind(|_, of| *of == agent);
                self.filters.retain(|(of, _), _| *of != agent);
                self.say(Event::InverseRescinded(OfferId(format!("i-{agent}"))));
            }
            (Fate::Reactivated, _) => self.agents[machine].draining = false,
            _ => {}
        }
    }

    fn leave(&mut self, machine: usize, to: Standing, state: TaskState) {
        let (agent, before) = (self.agents[machine].id.clone(), self.agents[machine].standing);
        self.rescind(|_, of| *of == agent);
        for (task, _) in self.living(&agent) {
            if before == Standing::Registered {
                self.tell(&task, &agent, state, None);
            }
        }
        self.agents[machine].standing = to;
        self.say(Event::AgentLost(agent));
    }

    /// An agent that never returns ends what runs on it.
    fn forget(&mut self, agent: &AgentId) {
        self.tasks.retain(|_, task| task.agent != *agent);
        self.reserved.retain(|(of, _), _| of != agent);
        self.lingering.retain(|_, of| of != agent);
    }

    fn living(&self, agent: &AgentId) -> Vec<(TaskId, TaskState)> {
        let on_it = self.tasks.iter().filter(|(_, task)| task.agent == *agent && !task.state.is_terminal());
        on_it.map(|(id, task)| (id.clone(), task.updates.front().map_or(task.state, |of| of.0))).collect()
    }
}
