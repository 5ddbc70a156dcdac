//! Decides what happens to each offer: launch, or give back with a reason and for how long.
use super::cluster::Offer;
use super::effects::{Call, Effect, Phase};
use super::nodes::Verdict;
use super::reserve::Choice;
use super::resources::{Needs, Piece};
use super::{Core, Stage};
use crate::ids::{AgentId, ExecutorId, Moment, OfferId};
use std::collections::BTreeMap;
use std::time::Duration;
use web::view::Cause;

/// How long an offer of a node that has its executor is refused. When the executor ends, more becomes free than was
/// refused and Mesos offers again; if others take the difference, `asking` sees to it.
const REFUSE_COVERED: Duration = Duration::from_secs(3600);
/// How long an offer that is too small is refused: so long is a shortage on the page out of date at most.
const REFUSE_SHORT: Duration = Duration::from_secs(600);
/// How long offers of a node are refused where an executor of ours is still ending.
const REFUSE_ENDING: Duration = Duration::from_secs(5);
/// How many offers one call declines at most.
const DECLINED_AT_ONCE: usize = 1000;

impl Core {
    /// Offers came in. Each is answered at once, or held for as long as its intent takes to store.
    pub fn offered(&mut self, now: Moment, offers: Vec<Offer>) {
        if !self.connected {
            return;
        }
        if !self.framework_stored {
            self.held.extend(offers);
            return;
        }
        let mut by_agent: BTreeMap<AgentId, Vec<Offer>> = BTreeMap::new();
        for offer in offers {
            by_agent.entry(offer.agent.clone()).or_default().push(offer);
        }
        let before = self.out.len();
        for (agent, offers) in by_agent {
            self.answer(now, &agent, offers);
        }
        self.gather_declines(before);
    }

    /// Makes one DECLINE of all since effect `before` that are for the same time: unlike ACCEPT it may name offers of
    /// many agents, and what has to be launched does not wait behind one request per agent.
    fn gather_declines(&mut self, before: usize) {
        let mut declined: BTreeMap<Duration, Vec<OfferId>> = BTreeMap::new();
        for effect in self.out.split_off(before) {
            match effect {
                Effect::Call(Call::Decline { offers, refuse }) => {
                    declined.entry(refuse).or_default().extend(offers);
                }
                effect => self.out.push(effect),
            }
        }
        for (refuse, offers) in declined {
            for offers in offers.chunks(DECLINED_AT_ONCE) {
                self.decline(offers.to_vec(), refuse);
            }
        }
    }

    /// An offer is gone; it must not be accepted any more.
    pub fn rescinded(&mut self, offer: &OfferId) {
        self.held.retain(|held| held.id != *offer);
        let mut still_held = Vec::new();
        for launch in self.launches.values_mut() {
            if let Stage::Storing(slot) = &mut launch.stage
                && slot.as_ref().is_some_and(|held| held.offers.contains(offer))
                && let Some(held) = slot.take()
            {
                still_held.extend(held.offers.into_iter().filter(|id| id != offer));
            }
        }
        if !still_held.is_empty() {
            self.call(Call::Decline { offers: still_held, refuse: Duration::ZERO });
        }
    }

    /// Decides about all offers of one agent together: pieces that are answered apart come back apart. Only those of one
    /// role can be used together; one role's that are too small do not keep another's from being used.
    fn answer(&mut self, now: Moment, agent: &AgentId, offers: Vec<Offer>) {
        if self.is_tearing_down() {
            return self.give_back(now, offers, REFUSE_COVERED, Reservations::GiveUp);
        }
        let place = offers.first().map(|offer| offer.place.clone()).unwrap_or_default();
        self.plan(now, agent, offers.iter().find_map(|offer| offer.unavailability));
        let beside = self.to_be_succeeded(agent);
        let verdict = self.nodes.verdict(agent, &place, beside.is_some(), now);
        let left_out = self.sort_out(now, agent);
        match verdict {
            Verdict::Covered => return self.not_needed(now, agent, offers),
            _ if left_out => return self.give_back(now, offers, REFUSE_COVERED, Reservations::GiveUp),
            Verdict::BackingOff(rest) => {
                let rest = rest.max(Duration::from_millis(500));
                return self.give_back(now, offers, rest, Reservations::Keep);
            }
            Verdict::Away(rest) => return self.give_back(now, offers, rest, Reservations::Keep),
            Verdict::Free => {}
        }
        let known = beside.as_ref().and_then(|task| self.launches.get(task)).map(|l| &l.record.executor);
        let alive = offers.iter().flat_map(|offer| &offer.executors).filter(|of| Some(*of) != known);
        let alive: Vec<ExecutorId> = alive.cloned().collect();
        if !alive.is_empty() {
            return self.end_strangers(now, agent, alive, ids(&offers));
        }
        let (spec, generation) = self.launches_now();
        if let Some(rest) = self.rollouts.breaker.holds(&generation, now) {
            return self.hold_back(now, agent, offers, rest);
        }
        let needs = Needs { executor: spec.resources.clone(), task: self.rules.needs.task.clone() };
        let by_role = by_role(offers);
        match self.rules.claim.choose(&by_role, &needs, |role| self.denials.hold(role, now)) {
            Ok(Choice { role, taken, converting }) => {
                let (used, others): (Vec<_>, Vec<_>) = by_role.into_iter().partition(|(of, _)| *of == role);
                let others = others.into_iter().flat_map(|(_, offers)| offers).collect();
                self.give_back(now, others, REFUSE_COVERED, Reservations::GiveUp);
                let used: Vec<Offer> = used.into_iter().flat_map(|(_, offers)| offers).collect();
                self.intend(now, agent, (ids(&used), taken, converting), beside);
            }
            Err(shortage) if beside.is_some() => {
                self.no_room_beside(now, agent, &shortage.0);
                let offers = by_role.into_iter().flat_map(|(_, offers)| offers).collect();
                self.give_back(now, offers, REFUSE_ENDING, Reservations::Keep);
            }
            Err(shortage) => {
                let text = format!("declined: {}", shortage.0);
                if self.nodes.not_offered(agent, Cause::TooFewResources, &text, now) {
                    self.decide(now, Some(agent.clone()), text);
                }
                let offers = by_role.into_iter().flat_map(|(_, offers)| offers).collect();
                self.give_back(now, offers, REFUSE_SHORT, Reservations::Keep);
            }
        }
    }

    /// Gives back what is offered beside the executor of a node. Reservations of ours that may be used yet are looked at
    /// again soon.
    fn not_needed(&mut self, now: Moment, agent: &AgentId, offers: Vec<Offer>) {
        // One that was launched beside another one may live although Mesos called its task over.
        let unknown = |executor: &&ExecutorId| !self.executors.contains_key(*executor);
        let strangers: Vec<ExecutorId> =
            offers.iter().flat_map(|offer| &offer.executors).filter(unknown).cloned().collect();
        if !strangers.is_empty() {
            return self.end_strangers(now, agent, strangers, ids(&offers));
        }
        let reservations = self.is_settled(agent);
        let ours = offers.iter().flat_map(|offer| &offer.pieces).any(|piece| self.rules.claim.is_ours(piece));
        let again = ours && reservations == Reservations::Keep;
        self.give_back(now, offers, if again { REFUSE_ENDING } else { REFUSE_COVERED }, reservations);
    }

    /// What an agent offers beside a running executor is not what that one uses; beside one that is on its way it may be.
    fn is_settled(&self, agent: &AgentId) -> Reservations {
        let task = self.nodes.task_on(agent);
        let launch = task.and_then(|task| self.launches.get(&task));
        match launch {
            Some(launch)
                if launch.record.phase == Phase::Running && self.nodes.successor_on(agent).is_none() =>
            {
                Reservations::GiveUp
            }
            _ => Reservations::Keep,
        }
    }

    /// Gives offers back, with or without the reservations of ours in them.
    fn give_back(&mut self, now: Moment, offers: Vec<Offer>, refuse: Duration, reservations: Reservations) {
        let mut declined = Vec::new();
        for (_, offers) in by_role(offers) {
            self.note_refused(now, &offers, refuse);
            let pieces = offers.iter().flat_map(|offer| &offer.pieces);
            let ours: Vec<Piece> = pieces.filter(|piece| self.rules.claim.is_ours(piece)).cloned().collect();
            if ours.is_empty() || reservations == Reservations::Keep {
                declined.extend(ids(&offers));
            } else {
                self.call(Call::Unreserve { offers: ids(&offers), pieces: ours, refuse });
            }
        }
        if !declined.is_empty() {
            self.decline(declined, refuse);
        }
    }

    /// Launches fail everywhere: this one waits for the one that is being tried.
    fn hold_back(&mut self, now: Moment, agent: &AgentId, offers: Vec<Offer>, refuse: Duration) {
        let failure = self.rollouts.breaker.open().map_or("", |open| open.failure.as_str());
        let text = format!("held back, because launches fail on many nodes: {failure}");
        self.show_not_offered(now, agent, Cause::HeldBack, &text);
        // What is held back is not kept away: it is offered again when the next launch may be tried.
        self.decline(ids(&offers), refuse);
    }

    /// The master sees executors of this framework where no launch of ours is alive: they end first.
    fn end_strangers(&mut self, now: Moment, agent: &AgentId, alive: Vec<ExecutorId>, offers: Vec<OfferId>) {
        let names: Vec<&str> = alive.iter().map(|executor| executor.0.as_str()).collect();
        let text =
            format!("declined: executor {} still runs there and is being ended first", names.join(", "));
        if self.show_not_offered(now, agent, Cause::ExecutorEnding, &text) {
            self.decide(now, Some(agent.clone()), text);
        }
        for executor in alive {
            self.call(Call::Shutdown(executor, agent.clone()));
        }
        self.decline(offers, REFUSE_ENDING);
    }

    /// Says why nothing is launched on a node. Beside an executor that works there nothing is the matter with it.
    fn show_not_offered(&mut self, now: Moment, agent: &AgentId, cause: Cause, text: &str) -> bool {
        self.nodes.task_on(agent).is_none() && self.nodes.not_offered(agent, cause, text, now)
    }

    fn decline(&mut self, offers: Vec<OfferId>, refuse: Duration) {
        self.call(Call::Decline { offers, refuse });
    }
}

/// What becomes of reservations of ours in offers that are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reservations {
    /// They will be used yet.
    Keep,
    /// Nothing uses them.
    GiveUp,
}

fn ids(offers: &[Offer]) -> Vec<OfferId> {
    offers.iter().map(|offer| offer.id.clone()).collect()
}

fn by_role(offers: Vec<Offer>) -> Vec<(String, Vec<Offer>)> {
    let mut by_role: BTreeMap<String, Vec<Offer>> = BTreeMap::new();
    for offer in offers {
        by_role.entry(offer.role.clone()).or_default().push(offer);
    }
    by_role.into_iter().collect()
}

#[cfg(test)]
mod tests;
