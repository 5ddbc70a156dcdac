//! Plays the operator API: what it tells of the cluster, and reservations of roles of before, which it is asked to give up.
use super::super::mesos::ROLES;
use super::World;
use crate::core::cluster::{Cluster, Leftover, Namesake};
use crate::ids::AgentId;
use std::time::Duration;

/// How long after the master refused to give up what is reserved it is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(3600);

impl World {
    /// The master says what there is in its cluster.
    pub(super) fn list(&mut self) {
        self.core.agents_listed(self.now, self.mesos.listed());
        self.core.maintenance_planned(self.now, &self.mesos.schedule());
        let us = self.client.0.iter().map(|id| Namesake { id: id.clone(), connected: self.connected });
        let other = self.mesos.namesake.then(|| Namesake { id: "f-other".into(), connected: false });
        let (namesakes, leftovers) = (us.chain(other).collect(), self.mesos.leftovers());
        self.core.cluster_described(self.now, &Cluster { namesakes, leftovers, ..Cluster::default() });
    }

    /// One of the reservations that the master is asked to give up is, or it refuses.
    pub(super) fn give_up(&mut self) {
        let Some(left) = self.to_operator.pop_front() else { return };
        let result = self.mesos.give_up(&left);
        if result.is_err() {
            self.refused_at = Some(self.now);
        }
        if result.is_ok() {
            *self.seen.entry("given up").or_default() += 1;
        }
        self.core.given_up(self.now, &left.agent, &left.role, result);
    }

    /// Counts what calls do not show.
    pub(in crate::core::model) fn count_what_was_rare(&mut self) {
        let rare = [("denied", self.mesos.invalid), ("waits again", self.mesos.waits_again)];
        for (what, times) in rare.into_iter().filter(|(_, times)| *times > 0) {
            *self.seen.entry(what).or_default() += times;
        }
    }

    /// Whether what is reserved on an agent and used by nobody has to be given up soon.
    pub(super) fn is_to_be_given_up(&self, agent: &AgentId, role: &'static str) -> bool {
        if self.mesos.denied.contains(role) || self.mesos.put_off.contains(&(agent.clone(), role)) {
            return false;
        }
        if ROLES.iter().take(self.settings.roles).any(|of| *of == role) {
            return true;
        }
        // What is not offered any more goes as a whole, and not while another framework may own it.
        let refused = self.refused_at.is_some_and(|at| self.now.since(at) < ASKED_AGAIN);
        !refused && !self.mesos.namesake && !self.mesos.is_in_use(agent, role)
    }

    /// The master is asked to give up only what is ours for sure, and for no role of ours.
    pub(super) fn check_leftover(&self, left: &Leftover) -> Result<(), String> {
        let used = ROLES.iter().take(self.settings.roles).any(|role| *role == left.role);
        self.must(!used && !self.mesos.namesake && !left.in_use, || format!("{left:?} is given up"))
    }
}
