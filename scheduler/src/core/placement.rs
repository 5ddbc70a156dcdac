//! Decides which nodes shall have no executor although they could: by the constraints, and where a host has several agents.
use super::cluster::Place;
use super::effects::{LaunchRecord, Phase};
use super::{Core, Stage};
use crate::ids::{AgentId, Moment, TaskId};
use config::constraint::{Constraint, Field};
use std::collections::{BTreeMap, BTreeSet};
use web::view::Cause;

/// Where executors shall run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// All of them have to be met.
    pub constraints: Vec<Constraint>,
    /// Whether a host has one executor at most, however many agents it has.
    pub one_per_host: bool,
}

impl Placement {
    fn is_everywhere(&self) -> bool {
        self.constraints.is_empty() && !self.one_per_host
    }

    /// The first constraint that a place does not meet, in words.
    fn against(&self, place: &Place) -> Option<String> {
        let unmet = self.constraints.iter().find(|c| !c.allows(&values(place, c.field())))?;
        let (name, values) = (name(unmet.field()), values(place, unmet.field()));
        let has = match values.as_slice() {
            [] => format!("it has no {name}"),
            values => format!("its {name} is `{}`", values.join("`, `")),
        };
        Some(format!("{has}, and the constraint `{unmet}` leaves it out"))
    }
}

fn values<'a>(place: &'a Place, field: &Field) -> Vec<&'a str> {
    match field {
        Field::Hostname => vec![&place.host],
        Field::Region => place.region.as_deref().into_iter().collect(),
        Field::Zone => place.zone.as_deref().into_iter().collect(),
        Field::Attribute(wanted) => {
            let named = place.attributes.iter().filter(|(name, _)| name == wanted);
            named.map(|(_, value)| value.as_str()).collect()
        }
    }
}

fn name(field: &Field) -> String {
    match field {
        Field::Hostname => "host name".to_owned(),
        Field::Region => "region".to_owned(),
        Field::Zone => "zone".to_owned(),
        Field::Attribute(name) => format!("attribute `{name}`"),
    }
}

/// The launches of each host, kept where a host shall have one.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    launches: BTreeMap<String, BTreeSet<TaskId>>,
    /// Whether some launch ended since all nodes were looked at.
    freed: bool,
}

impl Hosts {
    pub(super) fn took(&mut self, record: &LaunchRecord) {
        if !record.host.is_empty() {
            self.launches.entry(record.host.clone()).or_default().insert(record.task.clone());
        }
    }

    pub(super) fn freed(&mut self, record: &LaunchRecord) {
        let Some(launches) = self.launches.get_mut(&record.host) else { return };
        self.freed |= launches.remove(&record.task);
        if launches.is_empty() {
            self.launches.remove(&record.host);
        }
    }
}

impl Core {
    /// Whether a node shall have no executor, and why. Nothing is concluded before it is known where it is.
    pub(super) fn left_out(&self, agent: &AgentId) -> Option<(Cause, String)> {
        if self.rules.placement.is_everywhere() {
            return None;
        }
        let place = self.nodes.place_of(agent)?;
        if let Some(why) = self.rules.placement.against(place) {
            return Some((Cause::Constraint, why));
        }
        if !self.rules.placement.one_per_host {
            return None;
        }
        let keeper = self.keeper_of(&place.host).filter(|keeper| keeper.agent != *agent)?;
        let text = format!(
            "agent {} of the same host {} has its executor {}, and there is one per host",
            keeper.agent, place.host, keeper.executor
        );
        Some((Cause::OnePerHost, text))
    }

    /// Whose launch a host keeps: the oldest one, but rather one whose agent is not lost.
    fn keeper_of(&self, host: &str) -> Option<&LaunchRecord> {
        let launches = self.hosts.launches.get(host)?.iter().filter_map(|task| self.launches.get(task));
        let rank = |record: &&LaunchRecord| {
            (record.phase == Phase::Unreachable, record.launched_at, record.task.clone())
        };
        launches.map(|launch| &launch.record).min_by_key(rank).filter(|r| r.phase != Phase::Unreachable)
    }

    /// Looks at one node anew; says whether it shall have no executor.
    pub(super) fn sort_out(&mut self, now: Moment, agent: &AgentId) -> bool {
        let left_out = self.left_out(agent);
        let is_out = left_out.is_some();
        let tasks = self.nodes.tasks_on(agent);
        match tasks.is_empty() {
            false => {
                if let Some((_, why)) = left_out {
                    tasks.iter().for_each(|task| self.end_left_out(now, task, &why));
                }
            }
            true if self.nodes.leave_out(agent, left_out, now) => self.revive_soon(now),
            true => {}
        }
        is_out
    }

    /// Looks at all nodes anew.
    pub(super) fn sort_all_out(&mut self, now: Moment) {
        self.hosts.freed = false;
        if !self.rules.placement.is_everywhere() {
            for agent in self.nodes.agents() {
                self.sort_out(now, &agent);
            }
        }
    }

    /// A launch ended, so another agent of its host may have one.
    pub(super) fn sort_out_freed_hosts(&mut self, now: Moment) {
        if self.rules.placement.one_per_host && self.hosts.freed {
            self.sort_all_out(now);
        }
    }

    /// Ends the executor of a node that shall have none. One that cannot be reached is ended when its agent is back.
    fn end_left_out(&mut self, now: Moment, task: &TaskId, why: &str) {
        let asked = self.launches.get(task).is_some_and(|launch| {
            matches!(launch.stage, Stage::Asked) && launch.record.phase != Phase::Unreachable
        });
        if asked {
            self.end_launch(now, task, why);
        }
    }
}

#[cfg(test)]
mod tests;
