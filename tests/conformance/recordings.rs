//! Holds the expectations of this suite against exchanges recorded with a real Mesos.

use crate::{executors, launches, operators, sessions, subscriptions};
use serde_json::Value;
use std::path::Path;

/// A recorded scenario.
struct Recording(Value);

impl Recording {
    fn of(scenario: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../proto/fixtures/mesos-1.12")
            .join(scenario)
            .join("events.json");
        Self(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
    }

    fn exchange(&self, name: &str) -> &Value {
        let exchanges = self.0["exchanges"].as_array().unwrap();
        exchanges.iter().find(|one| one["exchange"] == name).unwrap_or_else(|| panic!("no exchange {name}"))
    }

    fn status(&self, name: &str) -> u64 {
        self.exchange(name)["status"].as_u64().unwrap()
    }

    fn events(&self) -> impl Iterator<Item = &Value> {
        self.0["events"].as_array().unwrap().iter()
    }

    /// The update about the task that an exchange launched.
    fn update(&self, name: &str) -> &Value {
        let exchange = self.exchange(name);
        let task = exchange
            .pointer("/message/accept/operations/0/launch/task_infos/0/task_id/value")
            .or_else(|| exchange.pointer("/call/accept/operations/0/launch/task_infos/0/task_id/value"))
            .unwrap_or_else(|| panic!("{name} launches no task: {exchange}"));
        let mut statuses = self.events().map(|event| &event["event"]["update"]["status"]);
        statuses.find(|status| status["task_id"]["value"] == *task).unwrap()
    }
}

#[test]
fn codes_of_malformed_requests_are_those_of_a_real_mesos() {
    let recording = Recording::of("08-http-errors");
    for case in sessions::MALFORMED {
        assert_eq!(recording.status(case.recorded), u64::from(case.status), "{}", case.recorded);
    }
    for name in ["14-stream-id-missing", "15-stream-id-wrong", "16-stream-id-on-subscribe"] {
        assert_eq!(recording.status(name), 400, "{name}");
    }
    assert_eq!(recording.status("30-revive-while-disconnected"), 403);
    assert_eq!(Recording::of("08-type-unknown").status("04-second-type-99"), 400);
    let takeover = Recording::of("07-resubscribe-takeover");
    assert_eq!(takeover.status("08-reconcile-after-being-superseded"), 400);
    assert_eq!(takeover.status("09-second-update-framework"), 200);
    assert_eq!(takeover.status("10-second-update-framework-user-changed"), 400);
    assert_eq!(takeover.status("13-second-reconcile-after-teardown"), 400);
}

#[test]
fn words_of_refused_frameworks_are_those_of_a_real_mesos() {
    let recording = Recording::of("08-bad-framework-info");
    for case in subscriptions::REFUSED {
        assert_eq!(recording.status(case.recorded), 200, "{}", case.recorded);
        let heard: Vec<&Value> = recording
            .events()
            .filter(|event| event["exchange"] == case.recorded)
            .map(|e| &e["event"])
            .collect();
        assert_eq!(heard.len(), 1, "{}", case.recorded);
        let message = heard[0]["error"]["message"].as_str().unwrap();
        assert!(message.contains(case.message), "{}: {message}", case.recorded);
    }
    let takeover = Recording::of("07-resubscribe-takeover");
    let errors: Vec<&str> =
        takeover.events().filter_map(|event| event["event"]["error"]["message"].as_str()).collect();
    assert_eq!(errors, ["Framework failed over", "Framework has been removed"]);
}

#[test]
fn words_of_refused_tasks_are_those_of_a_real_mesos() {
    let recording = Recording::of("08-invalid-task-or-offer");
    for case in launches::INVALID {
        let status = recording.update(case.recorded);
        assert_eq!(status["state"], "TASK_ERROR", "{}", case.recorded);
        assert_eq!(status["reason"], "REASON_TASK_INVALID", "{}", case.recorded);
        assert!(status["message"].as_str().unwrap().contains(case.message), "{}: {status}", case.recorded);
    }
    let dropped = [
        "13-offer-id-unknown",
        "14-offer-id-used-before",
        "15-offer-id-twice",
        "16-no-offer-ids",
        "17-one-valid-one-unknown-offer",
    ];
    for name in dropped {
        let status = recording.update(name);
        assert_eq!(status["state"], "TASK_DROPPED", "{name}");
        assert_eq!(status["reason"], "REASON_INVALID_OFFERS", "{name}");
    }
}

#[test]
fn codes_of_malformed_updates_are_those_of_a_real_mesos() {
    let recording = Recording::of("15-update-validation");
    for case in executors::MALFORMED {
        assert_eq!(recording.status(case.recorded), 400, "{}", case.recorded);
    }
    let others = [
        ("14-executor-update-wrong-agent-id", 202),
        ("15-executor-update-without-member", 400),
        ("16-executor-message-without-member", 400),
        ("17-executor-subscribe-without-member", 400),
        ("18-executor-without-type", 400),
        ("19-executor-malformed-body", 400),
        ("23-executor-content-type-text", 415),
        ("24-executor-subscribe-accept-text", 406),
        ("25-executor-get", 405),
        ("20-executor-subscribe-unknown-executor", 400),
        ("21-executor-subscribe-unknown-framework", 400),
        ("22-executor-heartbeat-unknown-framework", 202),
    ];
    for (name, status) in others {
        assert_eq!(recording.status(name), status, "{name}");
    }
}

#[test]
fn answers_about_unknown_tasks_are_those_of_a_real_mesos() {
    let recording = Recording::of("04-reconcile");
    let heard: Vec<(&str, &str)> = recording
        .events()
        .map(|event| &event["event"]["update"]["status"])
        .filter(|status| status["reason"] == "REASON_RECONCILIATION")
        .map(|status| (status["message"].as_str().unwrap(), status["state"].as_str().unwrap()))
        .collect();
    for answer in [
        ("Reconciliation: Task is unknown to the agent", "TASK_GONE"),
        ("Reconciliation: Task is unknown", "TASK_UNKNOWN"),
        ("Reconciliation: Task is unknown", "TASK_LOST"),
        ("Reconciliation: Latest task state", "TASK_RUNNING"),
    ] {
        assert!(heard.contains(&answer), "{answer:?} in {heard:?}");
    }
}

#[test]
fn answers_to_operators_are_those_of_a_real_mesos() {
    let recording = Recording::of("12-operator");
    for (exchange, _, answered) in operators::QUESTIONS {
        let Some(name) = exchange else { continue };
        assert_eq!(recording.exchange(name)["body"]["type"], answered.as_str_name(), "{name}");
    }
    let agents = &recording.exchange("04-operator-get-agents")["body"]["get_agents"]["agents"];
    for resource in agents[0]["total_resources"].as_array().unwrap() {
        assert_eq!(resource["role"], "*", "{resource}");
    }
}
