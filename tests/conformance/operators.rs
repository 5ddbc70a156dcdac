//! The operator API and the pages of a master.

use crate::framework::Framework;
use crate::place::{Place, everywhere};
use crate::wire::{Events, Http, PLAIN};
use master::call::Type;
use master::response::Type as Answered;
use master::{Call, Event, Response};
use prost::Message;
use proto::mesos::v1::{master, scheduler};
use reqwest::Method;

/// The exchange of `12-operator` that shows a question, the question, and what is answered.
pub(crate) const QUESTIONS: &[(Option<&str>, Type, Answered)] = &[
    (Some("01-operator-get-version"), Type::GetVersion, Answered::GetVersion),
    (Some("02-operator-get-health"), Type::GetHealth, Answered::GetHealth),
    (Some("03-operator-get-master"), Type::GetMaster, Answered::GetMaster),
    (Some("04-operator-get-agents"), Type::GetAgents, Answered::GetAgents),
    (Some("05-operator-get-frameworks"), Type::GetFrameworks, Answered::GetFrameworks),
    (Some("06-operator-get-tasks"), Type::GetTasks, Answered::GetTasks),
    (Some("07-operator-get-executors"), Type::GetExecutors, Answered::GetExecutors),
    (Some("08-operator-get-roles"), Type::GetRoles, Answered::GetRoles),
    (Some("09-operator-get-state"), Type::GetState, Answered::GetState),
    (None, Type::GetFlags, Answered::GetFlags),
    (None, Type::GetMetrics, Answered::GetMetrics),
    (None, Type::GetMaintenanceStatus, Answered::GetMaintenanceStatus),
    (None, Type::GetMaintenanceSchedule, Answered::GetMaintenanceSchedule),
];

async fn ask(http: &Http, kind: Type) -> Response {
    let call = Call { r#type: Some(kind.into()), ..Default::default() };
    let answer = http.ask(Method::POST, "/api/v1", &PLAIN, call.encode_to_vec()).await;
    assert_eq!(answer.status(), 200, "{kind:?}");
    Response::decode(answer.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_question_has_its_answer() {
    everywhere(async |place: &Place| {
        let framework = Framework::new(place).await;
        let http = &framework.http;
        for (_, asked, answered) in QUESTIONS {
            assert_eq!(ask(http, *asked).await.r#type, Some((*answered).into()), "{asked:?}");
        }
        assert!(ask(http, Type::GetHealth).await.get_health.unwrap().healthy);
        let agents = ask(http, Type::GetAgents).await.get_agents.unwrap().agents;
        assert!(agents.iter().any(|agent| agent.active && !agent.total_resources.is_empty()), "{agents:?}");
        // As recorded in 12-operator: 04.
        for resource in agents.iter().flat_map(|agent| &agent.total_resources) {
            let reserved = !resource.reservations.is_empty();
            assert_eq!(resource.role.as_deref() == Some("*"), !reserved, "{resource:?}");
        }
        let frameworks = ask(http, Type::GetFrameworks).await.get_frameworks.unwrap().frameworks;
        let own =
            frameworks.iter().find(|one| one.framework_info.id.as_ref() == Some(&framework.id)).unwrap();
        assert!(own.connected && own.active && !own.recovered);
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn frameworks_are_seen_to_come_and_to_go() {
    everywhere(async |place: &Place| {
        let http = Http::new(place);
        let call = Call { r#type: Some(Type::Subscribe.into()), ..Default::default() };
        let answer = http.ask(Method::POST, "/api/v1", &PLAIN, call.encode_to_vec()).await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("mesos-stream-id"));
        let mut events: Events<Event> = Events::new(answer, place.patience);
        let subscribed = events.next().await.unwrap().subscribed.expect("SUBSCRIBED comes first");
        assert!(subscribed.heartbeat_interval_seconds() > 0.0);
        assert!(subscribed.get_state.unwrap().get_agents.is_some());
        let framework = Framework::new(place).await;
        let id = Some(framework.id.clone());
        let come =
            |event: Event| event.framework_added.filter(|added| added.framework.framework_info.id == id);
        events.find("FRAMEWORK_ADDED", come).await;
        framework.tear_down().await;
        let go = |event: Event| event.framework_removed.filter(|removed| removed.framework_info.id == id);
        events.find("FRAMEWORK_REMOVED", go).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_tears_a_framework_down() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let teardown = Some(master::call::Teardown { framework_id: framework.id.clone() });
        let call = Call { r#type: Some(Type::Teardown.into()), teardown, ..Default::default() };
        let answer = framework.http.ask(Method::POST, "/api/v1", &PLAIN, call.encode_to_vec()).await;
        assert_eq!(answer.status(), 200);
        assert!(framework.events.rest().await.iter().all(|event| event.error.is_none()));
        let status = framework.call(scheduler::call::Type::Revive, scheduler::Call::default()).await;
        assert_eq!(status, 400);
    })
    .await;
}

#[tokio::test]
async fn malformed_questions_are_refused() {
    everywhere(async |place: &Place| {
        let http = Http::new(place);
        let call = Call { r#type: Some(Type::GetHealth.into()), ..Default::default() }.encode_to_vec();
        let cases = [
            (Method::GET, "/api/v1", PLAIN.to_vec(), call.clone(), 405),
            (Method::POST, "/api/v1", PLAIN.to_vec(), b"garbage".to_vec(), 400),
            (Method::POST, "/api/v1", PLAIN.to_vec(), Vec::new(), 400),
            (Method::POST, "/api/v1", vec![("content-type", "text/plain")], call, 415),
            // As recorded in 08-http-errors: 24.
            (Method::POST, "/api/v1/schedulers", PLAIN.to_vec(), b"\x10\x06".to_vec(), 400),
        ];
        for (method, path, headers, body, status) in cases {
            let answer = http.ask(method.clone(), path, &headers, body).await;
            assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_pages_that_everybody_may_see_are_there() {
    everywhere(async |place: &Place| {
        let http = Http::new(place);
        assert_eq!(http.ask(Method::GET, "/health", &[], vec![]).await.status(), 200);
        let version = http.ask(Method::GET, "/version", &[], vec![]).await;
        let version: serde_json::Value = version.json().await.unwrap();
        assert!(version["version"].as_str().unwrap().starts_with("1."), "{version}");
        let leader = http.ask(Method::GET, "/redirect", &[], vec![]).await;
        assert_eq!(leader.status(), 307);
        let location = leader.headers()["location"].to_str().unwrap();
        assert!(location.starts_with("//") && location.contains(':'), "{location}");
        let state = http.ask(Method::GET, "/state", &[], vec![]).await;
        let state: serde_json::Value = state.json().await.unwrap();
        assert!(state["id"].is_string() && state["slaves"].is_array() && state["frameworks"].is_array());
    })
    .await;
}
