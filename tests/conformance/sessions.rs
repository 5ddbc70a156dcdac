//! The HTTP session layer of the scheduler API: codes, encodings, stream ids.

use crate::framework::{Framework, info, subscribe};
use crate::place::{Place, everywhere};
use crate::wire::{Http, PLAIN, PROTOBUF};
use prost::Message;
use proto::mesos::v1::{self as mesos, scheduler};
use reqwest::Method;
use scheduler::call::Type;

/// A request that is refused for its form.
pub(crate) struct Malformed {
    /// The recorded exchange of `08-http-errors` that shows it.
    pub(crate) recorded: &'static str,
    pub(crate) status: u16,
    method: Method,
    content_type: Option<&'static str>,
    accept: &'static str,
    body: fn(&Place) -> Vec<u8>,
}

fn well_formed(place: &Place) -> Vec<u8> {
    subscribe(info(place)).encode_to_vec()
}

fn of(kind: Type) -> scheduler::Call {
    let framework_id = Some(mesos::FrameworkId { value: "none-0000".into() });
    scheduler::Call { framework_id, r#type: Some(kind.into()), ..Default::default() }
}

fn acknowledge(uuid: Vec<u8>) -> Vec<u8> {
    let acknowledge = Some(scheduler::call::Acknowledge { uuid, ..Default::default() });
    scheduler::Call { acknowledge, ..of(Type::Acknowledge) }.encode_to_vec()
}

const DEFAULT: Malformed = Malformed {
    recorded: "",
    status: 400,
    method: Method::POST,
    content_type: Some(PROTOBUF),
    accept: PROTOBUF,
    body: well_formed,
};

/// Requests that are refused before it matters who sends them.
pub(crate) const MALFORMED: &[Malformed] = &[
    Malformed { recorded: "04-malformed-body", body: |_| b"garbage".to_vec(), ..DEFAULT },
    Malformed { recorded: "05-empty-body", body: |_| Vec::new(), ..DEFAULT },
    Malformed {
        recorded: "06-no-type",
        body: |_| scheduler::Call { r#type: None, ..of(Type::Revive) }.encode_to_vec(),
        ..DEFAULT
    },
    Malformed { recorded: "07-accept-without-member", body: |_| of(Type::Accept).encode_to_vec(), ..DEFAULT },
    // KILL with an empty `kill`: `task_id` is missing.
    Malformed { recorded: "08-required-field-missing", body: |_| vec![0x10, 0x06, 0x32, 0x00], ..DEFAULT },
    Malformed { recorded: "09-acknowledge-uuid-5-bytes", body: |_| acknowledge(vec![1; 5]), ..DEFAULT },
    Malformed { recorded: "10-acknowledge-uuid-nil", body: |_| acknowledge(vec![0; 16]), ..DEFAULT },
    Malformed {
        recorded: "12-framework-id-missing",
        body: |_| scheduler::Call { framework_id: None, ..of(Type::Revive) }.encode_to_vec(),
        ..DEFAULT
    },
    Malformed { recorded: "13-framework-id-unknown", body: |_| of(Type::Revive).encode_to_vec(), ..DEFAULT },
    Malformed {
        recorded: "17-subscribe-framework-id-only-outside",
        body: |place| {
            let framework_id = Some(mesos::FrameworkId { value: "none-0000".into() });
            scheduler::Call { framework_id, ..subscribe(info(place)) }.encode_to_vec()
        },
        ..DEFAULT
    },
    Malformed { recorded: "18-content-type-missing", content_type: None, ..DEFAULT },
    Malformed { recorded: "19-content-type-text", content_type: Some("text/plain"), status: 415, ..DEFAULT },
    Malformed {
        recorded: "20-content-type-with-parameter",
        content_type: Some("application/x-protobuf; charset=utf-8"),
        status: 415,
        ..DEFAULT
    },
    Malformed { recorded: "22-accept-text-on-subscribe", accept: "text/html", status: 406, ..DEFAULT },
    Malformed { recorded: "23-get-method", method: Method::GET, status: 405, ..DEFAULT },
];

#[tokio::test]
async fn malformed_requests_are_refused_with_their_code() {
    everywhere(async |place: &Place| {
        let http = Http::new(place);
        for case in MALFORMED {
            let mut headers = vec![("accept", case.accept)];
            headers.extend(case.content_type.map(|value| ("content-type", value)));
            let body = (case.body)(place);
            let answer = http.ask(case.method.clone(), "/api/v1/scheduler", &headers, body).await;
            assert_eq!(answer.status().as_u16(), case.status, "{}", case.recorded);
        }
    })
    .await;
}

#[tokio::test]
async fn unknown_types_of_calls_are_refused_and_known_paths_have_two_names() {
    everywhere(async |place: &Place| {
        let framework = Framework::new(place).await;
        let unknown = scheduler::Call {
            r#type: Some(99),
            framework_id: Some(framework.id.clone()),
            ..Default::default()
        };
        let mut headers = PLAIN.to_vec();
        headers.push(("mesos-stream-id", &framework.stream_id));
        assert_eq!(framework.http.status(&headers, unknown.encode_to_vec()).await, 400);
        let call = scheduler::Call { framework_id: Some(framework.id.clone()), ..of(Type::Revive) };
        let prefixed =
            framework.http.ask(Method::POST, "/master/api/v1/scheduler", &headers, call.encode_to_vec());
        assert_eq!(prefixed.await.status(), 202);
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn json_is_preferred_wherever_it_is_acceptable() {
    everywhere(async |place: &Place| {
        let http = Http::new(place);
        for accept in [None, Some("*/*"), Some("application/x-protobuf, application/json")] {
            let mut headers = vec![("content-type", PROTOBUF)];
            headers.extend(accept.map(|accept| ("accept", accept)));
            let answer = http.ask(Method::POST, "/api/v1/scheduler", &headers, well_formed(place)).await;
            assert_eq!(answer.status(), 200, "{accept:?}");
            assert_eq!(answer.headers()["content-type"], "application/json", "{accept:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_id_belongs_to_every_call_but_the_first() {
    everywhere(async |place: &Place| {
        let framework = Framework::new(place).await;
        let revive = scheduler::Call::default;
        assert_eq!(framework.call_with(None, Type::Revive, revive()).await, 400);
        let other = uuid::Uuid::new_v4().to_string();
        assert_eq!(framework.call_with(Some(&other), Type::Revive, revive()).await, 400);
        assert_eq!(framework.call(Type::Revive, revive()).await, 202);
        let mut headers = PLAIN.to_vec();
        headers.push(("mesos-stream-id", &framework.stream_id));
        assert_eq!(framework.http.status(&headers, well_formed(place)).await, 400, "on a SUBSCRIBE");
        framework.tear_down().await;
    })
    .await;
}

/// Answers to inverse offers that there are not.
fn about_no_inverse_offer(offer_ids: Vec<mesos::OfferId>) -> [(Type, scheduler::Call); 2] {
    [
        (
            Type::AcceptInverseOffers,
            scheduler::Call {
                accept_inverse_offers: Some(scheduler::call::AcceptInverseOffers {
                    inverse_offer_ids: offer_ids.clone(),
                    filters: None,
                }),
                ..Default::default()
            },
        ),
        (
            Type::DeclineInverseOffers,
            scheduler::Call {
                decline_inverse_offers: Some(scheduler::call::DeclineInverseOffers {
                    inverse_offer_ids: offer_ids,
                    filters: Some(mesos::Filters { refuse_seconds: Some(3600.0) }),
                }),
                ..Default::default()
            },
        ),
    ]
}

/// Calls about offers, agents, executors and roles that there are not.
fn about_nothing() -> Vec<(Type, scheduler::Call)> {
    let offer_ids = vec![mesos::OfferId { value: "none-O1".into() }];
    let agent_id = mesos::AgentId { value: "none-S0".into() };
    let executor_id = mesos::ExecutorId { value: "none".into() };
    let decline = Some(scheduler::call::Decline { offer_ids, filters: None });
    let roles = vec!["another-role".to_owned()];
    vec![
        (Type::Decline, scheduler::Call { decline, ..Default::default() }),
        (
            Type::Suppress,
            scheduler::Call {
                suppress: Some(scheduler::call::Suppress { roles: roles.clone() }),
                ..Default::default()
            },
        ),
        (
            Type::Revive,
            scheduler::Call { revive: Some(scheduler::call::Revive { roles }), ..Default::default() },
        ),
        (
            Type::Shutdown,
            scheduler::Call {
                shutdown: Some(scheduler::call::Shutdown {
                    executor_id: executor_id.clone(),
                    agent_id: agent_id.clone(),
                }),
                ..Default::default()
            },
        ),
        (
            Type::Message,
            scheduler::Call {
                message: Some(scheduler::call::Message {
                    agent_id: agent_id.clone(),
                    executor_id,
                    data: vec![1],
                }),
                ..Default::default()
            },
        ),
        (
            Type::Acknowledge,
            scheduler::Call {
                acknowledge: Some(scheduler::call::Acknowledge {
                    agent_id,
                    task_id: mesos::TaskId { value: "none".into() },
                    uuid: uuid::Uuid::new_v4().into_bytes().to_vec(),
                }),
                ..Default::default()
            },
        ),
        (
            Type::Request,
            scheduler::Call { request: Some(scheduler::call::Request::default()), ..Default::default() },
        ),
    ]
}

#[tokio::test]
async fn calls_about_what_does_not_exist_are_accepted_and_dropped() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let no_offers = vec![mesos::OfferId { value: "none-O1".into() }];
        for (kind, call) in about_nothing().into_iter().chain(about_no_inverse_offer(no_offers)) {
            framework.tell(kind, call).await;
        }
        let heard = framework.events.during(place.silence).await;
        let about: Vec<_> =
            heard.iter().filter(|event| event.error.is_some() || event.update.is_some()).collect();
        assert!(about.is_empty(), "{about:?}");
        framework.tear_down().await;
    })
    .await;
}
