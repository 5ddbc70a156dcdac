//! Remembers for which roles the master does not let us reserve, so that launches do without for a while.
//!
//! Mesos drops a RESERVE or an UNRESERVE that it does not allow without a word. The LAUNCH of the same call then uses what is
//! not there, and is refused as invalid. So such a refusal is taken for a denial until the same launch is refused without one.
use super::cluster::{TaskState, Update};
use super::nodes::Seat;
use super::{Core, Launch};
use crate::ids::{AgentId, Moment, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after a denial launches do without a reservation, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(600);
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3600);
/// How long the others go on without one while a single launch tries again.
const TRYING: Duration = Duration::from_secs(120);
/// How long a node waits after a denial: the next launch is another one.
const WAIT: Duration = Duration::from_secs(1);
/// Mesos' reason for what it finds wrong in a launch.
const TASK_INVALID: &str = "TASK_INVALID";

/// What a launch does about reservations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Converting {
    /// Nothing: none are wanted, or they are there.
    #[default]
    Nothing,
    /// It makes or gives up reservations for this role in its own call.
    For(String),
    /// It would, and does without because that was denied.
    Without(String),
}

/// By role.
#[derive(Debug, Default)]
pub(super) struct Denials(BTreeMap<String, Denial>);

#[derive(Debug)]
struct Denial {
    /// When it was denied last.
    since: Moment,
    until: Moment,
    pause: Duration,
    /// What Mesos said to the launch.
    said: String,
}

impl Denials {
    /// Whether a launch for that role has to do without.
    pub(super) fn hold(&self, role: &str, now: Moment) -> bool {
        self.0.get(role).is_some_and(|denial| denial.until > now)
    }

    /// A launch tries to reserve for that role. If that was denied before, it is the only one that does until it has ended.
    pub(super) fn trying(&mut self, role: &str, now: Moment) {
        if let Some(denial) = self.0.get_mut(role) {
            denial.until = now.after(TRYING);
        }
    }

    /// A launch that was decided at that moment was denied a reservation for that role. Many may have been on their way when
    /// the first of them was denied: all of them are one denial.
    fn denied(&mut self, role: &str, said: &str, decided: Moment, now: Moment) {
        if let Some(known) = self.0.get_mut(role).filter(|known| decided <= known.since) {
            said.clone_into(&mut known.said);
            return;
        }
        let before = self.0.get(role).map(|denial| denial.pause);
        let pause = before.map_or(FIRST_PAUSE, |pause| (pause * 2).min(PAUSE_MAX));
        let denial = Denial { since: now, until: now.after(pause), pause, said: said.to_owned() };
        self.0.insert(role.to_owned(), denial);
    }

    /// What is denied, for people.
    pub(super) fn words(&self, now: Moment) -> impl Iterator<Item = String> {
        self.0.iter().map(move |(role, denial)| {
            format!(
                "reservation denied: launches for role {role} do without, for {} min (Mesos: {}); allow the principal to \
                 reserve and unreserve for the role (the master's ACLs), or start without --reserve",
                denial.until.since(now).as_secs().div_ceil(60),
                denial.said
            )
        })
    }
}

impl Core {
    /// A launch that made a reservation was taken: so it may.
    pub(super) fn reservation_holds(&mut self, task: &TaskId) {
        let converting = self.launches.get_mut(task).map(|launch| std::mem::take(&mut launch.converting));
        if let Some(Converting::For(role)) = converting {
            self.denials.0.remove(&role);
        }
    }

    /// Takes in that a launch was refused as invalid; says whether that is put down to its reservation, so that the next one
    /// does without.
    pub(super) fn is_denied(&mut self, now: Moment, agent: &AgentId, update: &Update) -> bool {
        if update.state != TaskState::Error || update.reason != TASK_INVALID {
            return false;
        }
        let launch: Option<&Launch> = self.launches.get(&update.task);
        let decided = launch.map_or(now, |launch| launch.record.launched_at);
        match launch.map(|launch| launch.converting.clone()) {
            Some(Converting::For(role)) => {
                let words = update.words();
                self.denials.denied(&role, &words, decided, now);
                self.decide(now, Some(agent.clone()), denied_words(&words));
                true
            }
            // So it is not the reservation that is wrong.
            Some(Converting::Without(role)) => {
                self.denials.0.remove(&role);
                false
            }
            Some(Converting::Nothing) | None => false,
        }
    }

    /// Ends a launch that was denied its reservation: the next one is another one, and no repetition. It says nothing about
    /// what was launched, either.
    pub(super) fn launch_without(&mut self, now: Moment, update: &Update, updates: Vec<(AgentId, Vec<u8>)>) {
        let Some(agent) = self.launches.get(&update.task).map(|launch| launch.record.agent.clone()) else {
            return;
        };
        let again = now.after(WAIT);
        if self.nodes.seat(&agent, &update.task) == Seat::Successor {
            self.nodes.wait_until(&agent, again);
            self.waits_for_room_again(&agent, again);
        } else {
            self.nodes.denied(&agent, &denied_words(&update.words()), again, now);
        }
        self.drop_launch(&update.task, updates);
        self.revive_soon(again);
    }
}

fn denied_words(said: &str) -> String {
    format!("reservation denied: the launch is tried again without one ({said})")
}

#[cfg(test)]
mod tests;
