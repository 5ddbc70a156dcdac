//! Decides what becomes of reservations for roles that were taken out of the settings: no offer ever shows them again.
//!
//! The operator API lists them, and takes them back where the principal may do that and nothing uses them. A framework of the
//! same name may be the one that they belong to: then they are only reported.
use super::Core;
use super::cluster::{Cluster, Leftover};
use super::effects::Effect;
use crate::ids::{AgentId, Moment};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many agents are asked for at once.
const AT_ONCE: usize = 50;
/// How long after a refusal it is tried again.
const AGAIN: Duration = Duration::from_secs(3600);
/// How many hosts are named.
const NAMED: usize = 5;

/// What was found, and how giving it up went.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// By role.
    found: BTreeMap<String, Found>,
    /// Why the master does not take them back, and until when that holds.
    refused: Option<(String, Moment)>,
    /// Whether another framework of our name may own them.
    disputed: bool,
}

/// What is reserved for one role.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    agents: usize,
    in_use: usize,
    hosts: Vec<String>,
}

impl Core {
    /// The master told about its cluster: takes note of what is reserved for roles of before, and has it given up.
    pub(super) fn look_for_leftovers(&mut self, now: Moment, cluster: &Cluster) {
        let ours = |left: &&Leftover| !self.rules.claim.roles.contains(&left.role);
        let left: Vec<&Leftover> = cluster.leftovers.iter().filter(ours).collect();
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for left in &left {
            let of_role = found.entry(left.role.clone()).or_default();
            of_role.agents += 1;
            of_role.in_use += usize::from(left.in_use);
            if of_role.hosts.len() < NAMED {
                of_role.hosts.push(left.host.clone());
            }
        }
        let known: BTreeSet<String> = self.leftovers.found.keys().cloned().collect();
        self.leftovers.found = found;
        self.leftovers.disputed =
            cluster.namesakes.iter().any(|namesake| Some(&namesake.id) != self.framework.as_ref());
        let news = self.leftovers.found.iter().filter(|(role, _)| !known.contains(*role));
        let news: Vec<String> = news.map(|(role, found)| self.leftovers.words(role, found)).collect();
        for text in news {
            self.decide(now, None, text);
        }
        let waits = self.leftovers.refused.as_ref().is_some_and(|(_, until)| *until > now);
        if waits || self.leftovers.disputed || self.framework.is_none() {
            return;
        }
        let free = left.into_iter().filter(|left| !left.in_use).take(AT_ONCE);
        self.out.extend(free.cloned().map(Effect::GiveUp));
    }

    /// The master gave up what was reserved on an agent, or refused.
    pub fn given_up(&mut self, now: Moment, agent: &AgentId, role: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.leftovers.refused = None;
                self.leftovers.gone(role);
                let text = format!("gave up what was reserved for role {role}, which is not used any more");
                self.decide(now, Some(agent.clone()), text);
            }
            Err(why) => {
                let known = self.leftovers.refused.as_ref().is_some_and(|(known, _)| *known == why);
                if !known {
                    let text = format!("what is reserved for role {role} could not be given up: {why}");
                    self.decide(now, Some(agent.clone()), text);
                }
                self.leftovers.refused = Some((why, now.after(AGAIN)));
            }
        }
    }

    /// What is wrong with reservations, for people.
    pub fn reservation_problems(&self, now: Moment) -> Vec<String> {
        let left = self.leftovers.found.iter().map(|(role, found)| self.leftovers.words(role, found));
        self.denials.words(now).chain(left).collect()
    }
}

impl Leftovers {
    /// One agent has nothing of it any more.
    fn gone(&mut self, role: &str) {
        if let Some(found) = self.found.get_mut(role) {
            found.agents = found.agents.saturating_sub(1);
        }
        self.found.retain(|_, found| found.agents > 0);
    }

    fn words(&self, role: &str, found: &Found) -> String {
        let more = if found.agents > found.hosts.len() { ", …" } else { "" };
        let mut text = format!(
            "{} agents ({}{more}) have reservations of ours for role {role}, which is not among --roles any more",
            found.agents,
            found.hosts.join(", ")
        );
        if found.in_use > 0 {
            text.push_str(&format!(
                "; on {} of them something runs on it (`logherd upgrade` replaces executors)",
                found.in_use
            ));
        }
        match &self.refused {
            _ if self.disputed => text.push_str("; another framework has our name, so they are left alone"),
            Some((why, _)) => text.push_str(&format!(
                "; they cannot be given up: {why}; allow the principal to unreserve, or unreserve them (POST /unreserve of the master)"
            )),
            None if found.in_use < found.agents => text.push_str("; what nothing uses is being given up"),
            None => {}
        }
        text
    }
}

#[cfg(test)]
mod tests;
