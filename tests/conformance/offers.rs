//! What offers say, and when they come again.

use crate::framework::Framework;
use crate::place::{Place, everywhere};
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::call::Type;
use std::collections::BTreeSet;

/// How much of a scalar an offer holds.
fn amount(offer: &mesos::Offer, name: &str) -> f64 {
    let named = offer.resources.iter().filter(|resource| resource.name == name);
    named.filter_map(|resource| resource.scalar).map(|scalar| scalar.value).sum()
}

fn offers(events: Vec<scheduler::Event>) -> Vec<mesos::Offer> {
    events.into_iter().filter_map(|event| event.offers).flat_map(|offers| offers.offers).collect()
}

#[tokio::test]
async fn an_offer_names_its_agent_its_role_and_its_resources() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let offer = framework.offer().await;
        assert_eq!(offer.framework_id, framework.id);
        assert!(!offer.hostname.is_empty());
        assert_eq!(offer.allocation_info.as_ref().unwrap().role(), place.role);
        let url = offer.url.as_ref().unwrap();
        assert!(url.scheme == "http" && url.path().starts_with("/slave(") && url.address.port > 0, "{url:?}");
        assert!(!offer.resources.is_empty());
        for resource in &offer.resources {
            assert_eq!(resource.allocation_info.as_ref().unwrap().role(), place.role, "{}", resource.name);
            assert!(
                resource.role.is_none() && resource.reservation.is_none(),
                "the refined form has neither"
            );
        }
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_framework_of_one_role_is_offered_resources_without_an_allocation() {
    everywhere(async |place: &Place| {
        let old = mesos::FrameworkInfo {
            roles: vec![],
            role: Some(place.role.clone()),
            capabilities: vec![],
            ..crate::framework::info(place)
        };
        let mut framework = Framework::with(place, old).await;
        let offer = framework.offer().await;
        assert_eq!(offer.allocation_info, None);
        for resource in &offer.resources {
            assert!(resource.reservations.is_empty() && resource.allocation_info.is_none());
        }
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_declined_stays_away_until_a_revive() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let declined = framework.offer().await;
        framework.decline(vec![declined.id.clone()], 3600.0).await;
        let foreign = scheduler::call::Revive { roles: vec!["another-role".into()] };
        framework.tell(Type::Revive, scheduler::Call { revive: Some(foreign), ..Default::default() }).await;
        // More than was refused may come: somebody else may have given something back.
        let more = |offer: &mesos::Offer| {
            amount(offer, "cpus") > amount(&declined, "cpus")
                || amount(offer, "mem") > amount(&declined, "mem")
        };
        for offer in offers(framework.events.during(place.silence).await) {
            assert!(offer.agent_id != declined.agent_id || more(&offer), "{offer:?}");
            framework.decline(vec![offer.id], 3600.0).await;
        }
        framework.tell(Type::Revive, scheduler::Call::default()).await;
        let again = |offers: scheduler::event::Offers| {
            offers.offers.into_iter().find(|offer| offer.agent_id == declined.agent_id)
        };
        let offer = framework.events.find("the offer again", |event| event.offers.and_then(again)).await;
        assert_ne!(offer.id, declined.id);
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_suppressed_role_is_offered_nothing_until_it_is_revived() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let held = framework.offer().await;
        framework.tell(Type::Suppress, scheduler::Call::default()).await;
        framework.decline(vec![held.id], 0.0).await;
        // What was on its way when the call came is still heard.
        framework.events.during(place.silence).await;
        assert!(offers(framework.events.during(place.silence).await).is_empty());
        framework.tell(Type::Revive, scheduler::Call::default()).await;
        framework.events.find("OFFERS", |event| event.offers).await;
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn no_resource_is_offered_twice_at_a_time() {
    everywhere(async |place: &Place| {
        let mut first = Framework::new(place).await;
        let held = first.offer().await;
        let mut second = Framework::new(place).await;
        let heard = offers(second.events.during(place.silence).await);
        let ids: BTreeSet<&str> = heard.iter().map(|offer| offer.id.value.as_str()).collect();
        assert_eq!(ids.len(), heard.len(), "an id comes once");
        assert!(!ids.contains(held.id.value.as_str()));
        second.tear_down().await;
        first.tear_down().await;
    })
    .await;
}
