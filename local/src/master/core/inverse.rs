//! Asks frameworks to give back what they have on machines that are to be away, and keeps what they said. Answers change
//! nothing but how long the same question is not asked again.

use super::allocate::url;
use super::calls::refuse_duration;
use super::reconcile::time_info;
use super::state::{Agent, Core};
use super::statuses;
use crate::clock::Moment;
use crate::ids::{AgentId, FrameworkId, OfferId};
use maintenance::InverseOfferStatus;
use maintenance::inverse_offer_status::Status;
use proto::mesos::v1::{self as mesos, maintenance};
use std::collections::{BTreeMap, BTreeSet};

/// The questions that were asked and the answers to them.
#[derive(Default)]
pub(super) struct InverseOffers {
    outstanding: BTreeMap<(FrameworkId, AgentId), mesos::InverseOffer>,
    by_id: BTreeMap<OfferId, (FrameworkId, AgentId)>,
    /// Not asked again until then.
    answered_until: BTreeMap<(FrameworkId, AgentId), Moment>,
    answers: BTreeMap<(AgentId, FrameworkId), InverseOfferStatus>,
}

impl InverseOffers {
    /// What frameworks said about some agents.
    pub(super) fn answers(&self, which: impl Fn(&AgentId) -> bool) -> Vec<InverseOfferStatus> {
        self.answers.iter().filter(|((agent, _), _)| which(agent)).map(|(_, status)| status.clone()).collect()
    }

    /// The questions that a framework has not answered.
    pub(super) fn of(&self, framework: &FrameworkId) -> impl Iterator<Item = &mesos::InverseOffer> {
        let from = (framework.clone(), AgentId(String::new()));
        let own = self.outstanding.range(from..).take_while(move |((asked, _), _)| asked == framework);
        own.map(|(_, offer)| offer)
    }

    /// Forgets the questions to a framework without a word.
    pub(super) fn discard(&mut self, framework: &FrameworkId) {
        self.outstanding.retain(|(asked, _), _| asked != framework);
        self.by_id.retain(|_, (asked, _)| asked != framework);
    }

    /// Asks a framework again at once.
    pub(super) fn revive(&mut self, framework: &FrameworkId) {
        self.answered_until.retain(|(answering, _), _| answering != framework);
    }
}

impl Core {
    /// Asks every connected framework that has, or is offered, something on one of these agents that is to be away.
    pub(super) fn make_inverse_offers(&mut self, agents: &[AgentId]) {
        if self.maintenance.schedule.windows.is_empty() {
            return;
        }
        let mut made: BTreeMap<FrameworkId, Vec<mesos::InverseOffer>> = BTreeMap::new();
        for (agent, unavailability) in self.leaving(agents) {
            for framework in self.users_of(&agent) {
                if self.may_ask(&framework, &agent)
                    && let Some(offer) = self.inverse_offer(&framework, &agent, unavailability)
                {
                    made.entry(framework).or_default().push(offer);
                }
            }
        }
        for (framework, offers) in made {
            self.send(&framework, statuses::inverse_offers(offers));
        }
    }

    fn leaving(&self, agents: &[AgentId]) -> Vec<(AgentId, mesos::Unavailability)> {
        let there = agents.iter().filter(|id| self.agents.get(id).is_some_and(Agent::takes_tasks));
        there.filter_map(|id| Some((id.clone(), self.unavailability(id)?))).collect()
    }

    fn users_of(&self, agent_id: &AgentId) -> BTreeSet<FrameworkId> {
        let held = self.agents.get(agent_id).into_iter().flat_map(|agent| agent.held.keys());
        let offered = self.offers.on(agent_id);
        held.map(|(framework, _)| framework).chain(offered.map(|offer| &offer.framework)).cloned().collect()
    }

    fn may_ask(&self, framework: &FrameworkId, agent: &AgentId) -> bool {
        let inverse = &self.maintenance.inverse;
        let connected = self.frameworks.get(framework).is_some_and(|known| known.subscription.is_some());
        let key = (framework.clone(), agent.clone());
        let asked = inverse.outstanding.contains_key(&key);
        let until = inverse.answered_until.get(&key);
        connected && !asked && until.is_none_or(|until| *until <= self.now)
    }

    fn inverse_offer(
        &mut self,
        framework: &FrameworkId,
        agent_id: &AgentId,
        unavailability: mesos::Unavailability,
    ) -> Option<mesos::InverseOffer> {
        let described = &self.agents.get(agent_id)?.described;
        let url = url(&described.pid, &described.info.hostname);
        let id = self.new_offer_id();
        let offer = mesos::InverseOffer {
            id: id.wire(),
            url: Some(url),
            framework_id: framework.wire(),
            agent_id: Some(agent_id.wire()),
            unavailability,
            resources: Vec::new(),
        };
        let key = (framework.clone(), agent_id.clone());
        self.maintenance.inverse.by_id.insert(id, key.clone());
        self.maintenance.inverse.outstanding.insert(key, offer.clone());
        Some(offer)
    }

    /// Notes what a framework says to questions of its own; others are ignored.
    pub(super) fn on_inverse_answer(
        &mut self,
        id: &FrameworkId,
        (offers, filters, status): (Vec<mesos::OfferId>, Option<mesos::Filters>, Status),
    ) {
        let refuse = refuse_duration(filters.as_ref());
        for offer in offers.iter().map(OfferId::from) {
            let inverse = &mut self.maintenance.inverse;
            if inverse.by_id.get(&offer).is_none_or(|(asked, _)| asked != id) {
                continue;
            }
            let Some(key) = inverse.by_id.remove(&offer) else { continue };
            inverse.outstanding.remove(&key);
            let (_, agent) = key;
            inverse.answered_until.insert((id.clone(), agent.clone()), self.now + refuse);
            let answer = InverseOfferStatus {
                status: status.into(),
                framework_id: id.wire(),
                timestamp: time_info(self.now),
            };
            inverse.answers.insert((agent, id.clone()), answer);
        }
    }

    /// Takes questions about some agents back and says so.
    pub(super) fn rescind_inverse(&mut self, which: impl Fn(&AgentId) -> bool) {
        let inverse = &mut self.maintenance.inverse;
        let taken: Vec<_> = inverse.by_id.extract_if(.., |_, (_, agent)| which(agent)).collect();
        for (id, key) in taken {
            self.maintenance.inverse.outstanding.remove(&key);
            self.send(&key.0, statuses::rescind_inverse_offer(&id));
        }
    }

    /// Takes back everything that was offered or asked about an agent.
    pub(super) fn withdraw(&mut self, agent: &AgentId) {
        self.rescind_on(agent);
        self.rescind_inverse(|about| about == agent);
    }
}
