//! Holds what is offered and what is refused, each found by agent: allocation looks at one agent at a time.

use super::state::Offer;
use crate::clock::Moment;
use crate::ids::{AgentId, OfferId};
use crate::resources::Resources;
use std::collections::{BTreeMap, BTreeSet};

/// The offers that were made and not answered yet.
#[derive(Default)]
pub(super) struct Offers {
    by_id: BTreeMap<OfferId, Offer>,
    on_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
}

impl Offers {
    pub(super) fn insert(&mut self, offer: Offer) {
        self.on_agent.entry(offer.agent.clone()).or_default().insert(offer.id.clone());
        self.by_id.insert(offer.id.clone(), offer);
    }

    pub(super) fn remove(&mut self, id: &OfferId) -> Option<Offer> {
        let offer = self.by_id.remove(id)?;
        if let Some(ids) = self.on_agent.get_mut(&offer.agent) {
            ids.remove(id);
            if ids.is_empty() {
                self.on_agent.remove(&offer.agent);
            }
        }
        Some(offer)
    }

    pub(super) fn get(&self, id: &OfferId) -> Option<&Offer> {
        self.by_id.get(id)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Offer> + Clone {
        self.by_id.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Those of one agent.
    pub(super) fn on(&self, agent: &AgentId) -> impl Iterator<Item = &Offer> {
        self.on_agent.get(agent).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }
}

/// What one framework does not want to be offered for a while.
#[derive(Default)]
pub(super) struct Filters {
    on_agent: BTreeMap<AgentId, Vec<Filter>>,
}

struct Filter {
    role: String,
    refused: Resources,
    until: Moment,
}

impl Filters {
    /// These resources of an agent are not wanted in this role until then.
    pub(super) fn add(&mut self, agent: &AgentId, role: &str, refused: Resources, until: Moment) {
        let filter = Filter { role: role.to_owned(), refused, until };
        self.on_agent.entry(agent.clone()).or_default().push(filter);
    }

    pub(super) fn refuse(&self, agent: &AgentId, role: &str, resources: &Resources, now: Moment) -> bool {
        let mut filters = self.on_agent.get(agent).into_iter().flatten();
        filters.any(|filter| filter.until > now && filter.role == role && filter.refused.contains(resources))
    }

    /// Forgets those that are over.
    pub(super) fn expire(&mut self, now: Moment) {
        self.retain(|filter| filter.until > now);
    }

    /// Forgets those of these roles.
    pub(super) fn forget(&mut self, of: impl Fn(&String) -> bool) {
        self.retain(|filter| !of(&filter.role));
    }

    pub(super) fn clear(&mut self) {
        self.on_agent.clear();
    }

    fn retain(&mut self, keep: impl Fn(&Filter) -> bool) {
        self.on_agent.retain(|_, filters| {
            filters.retain(&keep);
            !filters.is_empty()
        });
    }
}
