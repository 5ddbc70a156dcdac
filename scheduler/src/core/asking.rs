//! Decides when declined offers are asked for again. Everything that was declined is offered again then, of all nodes, so
//! it is done for nodes that need it and cannot be served otherwise; which ones those are is in `nodes/needs.rs`.
use super::Core;
use super::cluster::Offer;
use super::effects::Call;
use super::resources::{Needs, Piece, holds};
use crate::ids::Moment;
use std::time::Duration;

/// What is asked for is asked for once for all who come to need it within this time.
const SOON: Duration = Duration::from_secs(1);
/// For so many agents each the distance between two questions is one second longer.
const REVIVED_PER_SECOND: usize = 1000;
/// The longest distance.
const DISTANCE_MAX: Duration = Duration::from_secs(600);

/// When declined offers were asked for, and when they will be.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The last time.
    at: Option<Moment>,
    /// The next time, if it is fixed.
    next: Option<Moment>,
}

impl Core {
    /// Asks for declined offers again if a node needs that, as seldom as the size of the cluster wants.
    pub(super) fn revive_if_needed(&mut self, now: Moment) {
        // A teardown asks for what it has to give up itself.
        if self.is_tearing_down() {
            return;
        }
        let beside = self.wait_for_room();
        let needed = self.nodes.need_asking(now, &beside) || self.asking.next.is_some_and(|at| at <= now);
        if needed && self.asking.at.is_none_or(|at| at.after(self.distance()) <= now) {
            self.revive(now);
        }
    }

    /// Asks for declined offers again. No filter is in force then.
    pub(super) fn revive(&mut self, now: Moment) {
        self.call(Call::Revive);
        self.asking = Asking { at: Some(now), next: None };
        self.nodes.asked(now);
    }

    /// Offers that were declined can be used now: they are asked for soon.
    pub(super) fn revive_soon(&mut self, now: Moment) {
        let soon = now.after(SOON);
        self.asking.next = Some(self.asking.next.map_or(soon, |at| at.min(soon)));
    }

    /// Notes for whom offers of one role are kept away by being refused for so long.
    pub(super) fn note_refused(&mut self, now: Moment, offers: &[Offer], refuse: Duration) {
        let Some(agent) = offers.first().map(|offer| &offer.agent) else { return };
        let needs =
            Needs { executor: self.launches_now().0.resources.clone(), task: self.rules.needs.task.clone() };
        let pieces = offers.iter().flat_map(|offer| &offer.pieces);
        let usable: Vec<&Piece> = pieces.filter(|piece| !self.rules.claim.is_of_others(piece)).collect();
        if holds(usable.into_iter(), &needs) {
            self.nodes.refused(agent, now.after(refuse));
        }
    }

    fn distance(&self) -> Duration {
        let seconds = self.nodes.len() / REVIVED_PER_SECOND;
        Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)).min(DISTANCE_MAX)
    }
}

#[cfg(test)]
mod tests;
