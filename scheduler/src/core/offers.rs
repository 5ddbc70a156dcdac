//! Decides what happens to each offer: launch, or give back with a reason and for how long.
use super::cluster::Offer;
use super::effects::Call;
use super::nodes::Verdict;
use super::resources::{Piece, take};
use super::{Core, Stage};
use crate::ids::{AgentId, ExecutorId, Moment, OfferId};
use std::collections::BTreeMap;
use std::time::Duration;
use web::view::Cause;

/// How long an offer of a node that has its executor is refused. When the executor ends, more becomes free than was
/// refused and Mesos offers again; and we revive.
const REFUSE_COVERED: Duration = Duration::from_secs(3600);
/// How long an offer that is too small is refused: so long is a shortage on the page out of date at most.
const REFUSE_SHORT: Duration = Duration::from_secs(600);
/// How long offers of a node are refused where an executor of ours is still ending.
const REFUSE_ENDING: Duration = Duration::from_secs(5);
/// The first pause after which declined offers are asked for again while a node waits for one.
pub(super) const FIRST_REVIVE: Duration = Duration::from_secs(1);
/// The longest such pause.
const REVIVE_MAX: Duration = Duration::from_secs(600);

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
        let mut groups: BTreeMap<(AgentId, String), Vec<Offer>> = BTreeMap::new();
        for offer in offers {
            groups.entry((offer.agent.clone(), offer.role.clone())).or_default().push(offer);
        }
        for ((agent, _), group) in groups {
            self.answer(now, &agent, group);
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

    /// Decides about all offers of one agent and role together: pieces that are answered apart come back apart.
    fn answer(&mut self, now: Moment, agent: &AgentId, group: Vec<Offer>) {
        let place = group.first().map(|offer| offer.place.clone()).unwrap_or_default();
        let ids: Vec<OfferId> = group.iter().map(|offer| offer.id.clone()).collect();
        let alive: Vec<ExecutorId> = group.iter().flat_map(|offer| offer.executors.clone()).collect();
        let pieces: Vec<Piece> = group.into_iter().flat_map(|offer| offer.pieces).collect();
        match self.nodes.verdict(agent, &place, now) {
            Verdict::Covered => return self.decline(ids, REFUSE_COVERED),
            Verdict::BackingOff(rest) => return self.decline(ids, rest.max(Duration::from_millis(500))),
            Verdict::Free => {}
        }
        if !alive.is_empty() {
            return self.end_strangers(now, agent, alive, ids);
        }
        match take(&pieces, &self.rules.needs) {
            Ok(taken) => self.intend(now, agent, ids, taken),
            Err(shortage) => {
                let text = format!("declined: {}", shortage.0);
                if self.nodes.not_offered(agent, Cause::TooFewResources, &text, now) {
                    self.decide(now, Some(agent.clone()), text);
                }
                self.decline(ids, REFUSE_SHORT);
            }
        }
    }

    /// The master sees executors of this framework where no launch of ours is alive: they end first.
    fn end_strangers(&mut self, now: Moment, agent: &AgentId, alive: Vec<ExecutorId>, offers: Vec<OfferId>) {
        let names: Vec<&str> = alive.iter().map(|executor| executor.0.as_str()).collect();
        let text =
            format!("declined: executor {} still runs there and is being ended first", names.join(", "));
        if self.nodes.not_offered(agent, Cause::ExecutorEnding, &text, now) {
            self.decide(now, Some(agent.clone()), text);
        }
        for executor in alive {
            self.call(Call::Shutdown(executor, agent.clone()));
        }
        self.decline(offers, REFUSE_ENDING);
    }

    fn decline(&mut self, offers: Vec<OfferId>, refuse: Duration) {
        self.call(Call::Decline { offers, refuse });
    }

    /// Asks for declined offers again while a node waits for one, less and less often.
    pub(super) fn revive_if_needed(&mut self, now: Moment) {
        if self.revive_at.is_some_and(|at| at > now) {
            return;
        }
        if !self.nodes.someone_waits(now) {
            self.revive_pause = FIRST_REVIVE;
            return;
        }
        self.call(Call::Revive);
        self.revive_at = Some(now.after(self.revive_pause));
        self.revive_pause = (self.revive_pause * 2).min(REVIVE_MAX);
    }

    /// A node needs an executor from now on: the next question for offers comes soon.
    pub(super) fn revive_soon(&mut self, now: Moment) {
        self.revive_pause = FIRST_REVIVE;
        let soon = now.after(FIRST_REVIVE);
        self.revive_at = Some(self.revive_at.map_or(soon, |at| at.min(soon)));
    }
}
