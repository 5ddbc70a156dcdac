//! Subscribing, being refused, being superseded, leaving.

use crate::framework::{Framework, fresh, info, subscribe};
use crate::place::{Place, everywhere};
use crate::wire::Http;
use mesos::FrameworkInfo;
use mesos::framework_info::capability::Type as Can;
use proto::mesos::v1::{self as mesos, scheduler};
use scheduler::call::Type;
use scheduler::event::Type as Heard;

/// A description that is refused with an ERROR event.
pub(crate) struct Refused {
    /// The recorded exchange of `08-bad-framework-info` that shows it.
    pub(crate) recorded: &'static str,
    /// A part of the message.
    pub(crate) message: &'static str,
    spoil: fn(&mut FrameworkInfo),
}

/// Descriptions that are refused.
pub(crate) const REFUSED: &[Refused] = &[
    Refused {
        recorded: "01-subscribe-role-with-multi-role",
        message: "'FrameworkInfo.role' must not be set",
        spoil: |info| info.role = Some("*".into()),
    },
    Refused {
        recorded: "02-subscribe-roles-without-multi-role",
        message: "'FrameworkInfo.roles' must not be set",
        spoil: |info| info.capabilities.retain(|can| can.r#type() != Can::MultiRole),
    },
    Refused {
        recorded: "03-subscribe-roles-duplicate",
        message: "duplicate",
        spoil: |info| info.roles.extend_from_within(..),
    },
    Refused {
        recorded: "05-subscribe-role-with-space",
        message: "invalid role",
        spoil: |info| info.roles = vec!["log herd".into()],
    },
    Refused {
        recorded: "06-subscribe-role-starting-with-dash",
        message: "invalid role",
        spoil: |info| info.roles = vec!["-x".into()],
    },
    Refused {
        recorded: "08-subscribe-failover-timeout-too-large",
        message: "failover_timeout",
        spoil: |info| info.failover_timeout = Some(1e12),
    },
    Refused {
        recorded: "10-subscribe-id-with-slash",
        message: "invalid characters",
        spoil: |info| info.id = Some(mesos::FrameworkId { value: "a/b".into() }),
    },
    Refused {
        recorded: "12-subscribe-offer-filters-empty-quantities",
        message: "at least one quantity",
        spoil: |info| {
            let empty = mesos::offer_filters::ResourceQuantities::default();
            let least = mesos::offer_filters::MinAllocatableResources { quantities: vec![empty] };
            let filters = mesos::OfferFilters { min_allocatable_resources: Some(least) };
            info.offer_filters = [(info.roles[0].clone(), filters)].into();
        },
    },
];

/// The message of the ERROR that is all there is on a stream.
async fn refusal(place: &Place, http: &Http, info: FrameworkInfo) -> String {
    let (_, mut events) = Framework::open(place, http, &subscribe(info)).await;
    let mut heard = events.rest().await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard.remove(0).error.expect("an ERROR").message
}

#[tokio::test]
async fn a_subscription_begins_with_subscribed_and_a_heartbeat() {
    everywhere(async |place: &Place| {
        let http = Http::new(place);
        let (_, mut events) = Framework::open(place, &http, &subscribe(info(place))).await;
        let first = events.next().await.unwrap();
        let subscribed = first.subscribed.expect("SUBSCRIBED comes first");
        assert!(subscribed.heartbeat_interval_seconds() > 0.0);
        let master = subscribed.master_info.expect("the master describes itself");
        let suffix = subscribed.framework_id.value.strip_prefix(&format!("{}-", master.id)).unwrap();
        assert!(suffix.len() >= 4 && suffix.bytes().all(|byte| byte.is_ascii_digit()), "{suffix}");
        // Offers may come between the two.
        let next = [events.next().await.unwrap(), events.next().await.unwrap()];
        assert!(next.iter().any(|event| event.r#type() == Heard::Heartbeat), "{next:?}");
    })
    .await;
}

#[tokio::test]
async fn a_refused_framework_hears_one_error_and_the_end() {
    everywhere(async |place: &Place| {
        let http = Http::new(place);
        for case in REFUSED {
            let mut spoiled = info(place);
            (case.spoil)(&mut spoiled);
            let message = refusal(place, &http, spoiled).await;
            assert!(message.contains(case.message), "{}: {message}", case.recorded);
        }
        let mut suppressing = subscribe(info(place));
        suppressing.subscribe.as_mut().unwrap().suppressed_roles = vec!["other".into()];
        let (_, mut events) = Framework::open(place, &http, &suppressing).await;
        assert!(events.rest().await[0].error.as_ref().unwrap().message.contains("Suppressed roles"));
    })
    .await;
}

#[tokio::test]
async fn the_newer_subscription_wins_and_the_older_hears_why() {
    everywhere(async |place: &Place| {
        let lasting = FrameworkInfo { failover_timeout: Some(60.0), ..info(place) };
        let mut older = Framework::with(place, lasting.clone()).await;
        let newer = FrameworkInfo { id: Some(older.id.clone()), ..lasting };
        let newer = Framework::with(place, newer).await;
        assert_eq!(newer.id, older.id);
        assert_ne!(newer.stream_id, older.stream_id);
        let last = older.events.rest().await.pop().unwrap();
        assert_eq!(last.error.expect("an ERROR").message, "Framework failed over");
        assert_eq!(older.call(Type::Revive, scheduler::Call::default()).await, 400);
        newer.tell(Type::Revive, scheduler::Call::default()).await;
        newer.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_framework_that_is_torn_down_hears_the_end_only_and_never_comes_back() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        framework.tell(Type::Teardown, scheduler::Call::default()).await;
        assert!(framework.events.rest().await.iter().all(|event| event.error.is_none()));
        assert_eq!(framework.call(Type::Revive, scheduler::Call::default()).await, 400);
        let again = FrameworkInfo { id: Some(framework.id.clone()), ..info(place) };
        assert_eq!(refusal(place, &framework.http, again).await, "Framework has been removed");
    })
    .await;
}

#[tokio::test]
async fn a_framework_without_a_connection_is_forbidden_until_it_subscribes_again() {
    everywhere(async |place: &Place| {
        let lasting = FrameworkInfo { failover_timeout: Some(60.0), ..info(place) };
        let mut framework = Framework::with(place, lasting.clone()).await;
        framework.events.hang_up();
        let noticed = tokio::time::timeout(place.patience, async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            while framework.call(Type::Revive, scheduler::Call::default()).await != 403 {
                ticks.tick().await;
            }
        });
        noticed.await.expect("the master notices in time");
        let again = FrameworkInfo { id: Some(framework.id.clone()), ..lasting };
        let again = Framework::with(place, again).await;
        assert_eq!(again.id, framework.id);
        again.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_framework_without_a_failover_timeout_ends_with_its_connection() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        framework.events.hang_up();
        let removed = tokio::time::timeout(place.patience, async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            while framework.call(Type::Revive, scheduler::Call::default()).await != 400 {
                ticks.tick().await;
            }
        });
        removed.await.expect("the master removes it in time");
        let again = FrameworkInfo { id: Some(framework.id.clone()), ..info(place) };
        assert_eq!(refusal(place, &framework.http, again).await, "Framework has been removed");
    })
    .await;
}

#[tokio::test]
async fn an_id_that_the_master_never_heard_of_is_taken() {
    everywhere(async |place: &Place| {
        let id = Some(mesos::FrameworkId { value: format!("{}-0000", fresh("conformance")) });
        let framework = Framework::with(place, FrameworkInfo { id: id.clone(), ..info(place) }).await;
        assert_eq!(Some(framework.id.clone()), id);
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_framework_changes_what_may_change_and_nothing_else() {
    everywhere(async |place: &Place| {
        let framework = Framework::new(place).await;
        let update = |change: fn(&mut FrameworkInfo)| {
            let mut changed = FrameworkInfo { id: Some(framework.id.clone()), ..info(place) };
            change(&mut changed);
            let update = scheduler::call::UpdateFramework { framework_info: changed, ..Default::default() };
            scheduler::Call { update_framework: Some(update), ..Default::default() }
        };
        let renamed = update(|info| info.name = "logherd conformance, renamed".into());
        assert_eq!(framework.call(Type::UpdateFramework, renamed).await, 200);
        let moved = update(|info| info.user = "nobody-else".into());
        assert_eq!(framework.call(Type::UpdateFramework, moved).await, 400);
        let unkept = update(|info| info.checkpoint = Some(false));
        assert_eq!(framework.call(Type::UpdateFramework, unkept).await, 400);
        framework.tear_down().await;
    })
    .await;
}
