//! The executor API of an agent, and what the scheduler hears of an executor's life. The program on the agent is `sleep`;
//! the test speaks in its name.

use crate::framework::{Framework, launch, task};
use crate::place::{Place, everywhere};
use crate::wire::{Events, Http, PLAIN, PROTOBUF};
use executor::call::Type;
use mesos::task_status::{Reason, Source};
use mesos::{TaskState, TaskStatus};
use prost::Message;
use proto::mesos::v1::{self as mesos, executor, scheduler};
use reqwest::Method;

/// An executor whose program does not speak for itself.
struct Executor {
    http: Http,
    agent: String,
    framework_id: mesos::FrameworkId,
    id: mesos::ExecutorId,
    events: Events<executor::Event>,
}

/// Where the agent of an offer listens.
fn agent_of(place: &Place, offer: &mesos::Offer) -> String {
    let address = &offer.url.as_ref().unwrap().address;
    place.agent.clone().unwrap_or_else(|| format!("{}:{}", address.ip(), address.port))
}

impl Executor {
    /// Subscribes as soon as the agent has started the executor; none where executors must show a token.
    async fn subscribe(
        place: &Place,
        framework: &Framework,
        offer: &mesos::Offer,
        task: &mesos::TaskInfo,
    ) -> Option<Self> {
        let (http, agent) = (Http::new(place), agent_of(place, offer));
        let id = task.executor.as_ref().unwrap().executor_id.clone();
        let call = executor::Call {
            executor_id: id.clone(),
            framework_id: framework.id.clone(),
            r#type: Some(Type::Subscribe.into()),
            subscribe: Some(executor::call::Subscribe::default()),
            ..Default::default()
        };
        let at = (Method::POST, "/api/v1/executor");
        let subscribed = tokio::time::timeout(place.patience, async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            loop {
                let answer = http.ask_at(&agent, at.clone(), &PLAIN, call.encode_to_vec()).await;
                match answer.status().as_u16() {
                    200 => return Some(answer),
                    401 => return None,
                    // The launch is on its way.
                    400 | 503 => ticks.tick().await,
                    other => panic!("{other} to a SUBSCRIBE"),
                };
            }
        });
        let Some(answer) = subscribed.await.expect("a subscription in time") else {
            eprintln!("left out: the agents of {} let executors in with a token only", place.master);
            return None;
        };
        let events = Events::new(answer, place.patience);
        Some(Self { http, agent, framework_id: framework.id.clone(), id, events })
    }

    async fn call(&self, kind: Type, call: executor::Call) -> u16 {
        let call = executor::Call {
            executor_id: self.id.clone(),
            framework_id: self.framework_id.clone(),
            r#type: Some(kind.into()),
            ..call
        };
        let at = (Method::POST, "/api/v1/executor");
        self.http.ask_at(&self.agent, at, &PLAIN, call.encode_to_vec()).await.status().as_u16()
    }

    async fn send(&self, status: TaskStatus) -> u16 {
        let update = Some(executor::call::Update { status });
        self.call(Type::Update, executor::Call { update, ..Default::default() }).await
    }

    /// Says how the task is; the agent has it when it says so.
    async fn update(&mut self, task: &mesos::TaskInfo, state: TaskState) -> TaskStatus {
        let status = status(task, state);
        assert_eq!(self.send(status.clone()).await, 202);
        let acknowledged = self.events.find("ACKNOWLEDGED", |event| event.acknowledged).await;
        assert_eq!((&acknowledged.task_id, Some(&acknowledged.uuid)), (&task.task_id, status.uuid.as_ref()));
        status
    }
}

fn status(task: &mesos::TaskInfo, state: TaskState) -> TaskStatus {
    TaskStatus {
        task_id: task.task_id.clone(),
        state: state.into(),
        source: Some(Source::Executor.into()),
        uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()),
        ..Default::default()
    }
}

/// A framework with one executor that has its task.
async fn running(place: &Place) -> Option<(Framework, Executor, mesos::Offer, mesos::TaskInfo)> {
    let mut framework = Framework::new(place).await;
    let offer = framework.offer().await;
    let wanted = task(&offer, &["sleep", "600"]);
    framework.accept(vec![offer.id.clone()], vec![launch(vec![wanted.clone()])]).await;
    let mut executor = Executor::subscribe(place, &framework, &offer, &wanted).await?;
    let subscribed = executor.events.find("SUBSCRIBED", |event| event.subscribed).await;
    assert_eq!(subscribed.executor_info.executor_id, executor.id);
    assert_eq!(subscribed.framework_info.id.as_ref(), Some(&framework.id));
    assert_eq!(subscribed.agent_info.id.as_ref(), Some(&offer.agent_id));
    let launched = executor.events.find("LAUNCH", |event| event.launch).await.task;
    assert_eq!(launched.task_id, wanted.task_id);
    Some((framework, executor, offer, wanted))
}

#[tokio::test]
async fn an_executor_s_updates_reach_the_scheduler_and_kills_and_messages_reach_the_executor() {
    everywhere(async |place: &Place| {
        let Some((mut framework, mut executor, offer, task)) = running(place).await else { return };
        let sent = executor.update(&task, TaskState::TaskRunning).await;
        let heard = framework.status().await;
        assert_eq!((heard.state(), &heard.uuid), (TaskState::TaskRunning, &sent.uuid));
        assert_eq!(
            (heard.agent_id.clone(), heard.executor_id.clone()),
            (Some(offer.agent_id.clone()), Some(executor.id.clone()))
        );
        assert_eq!(heard.source(), Source::Executor);
        assert!(heard.timestamp.is_some());
        assert!(heard.container_status.unwrap().container_id.is_some());
        framework.reconcile(vec![]).await;
        let known = framework.status().await;
        assert_eq!((known.state(), known.reason()), (TaskState::TaskRunning, Reason::Reconciliation));
        let up = executor::call::Message { data: b"up".to_vec() };
        let call = executor::Call { message: Some(up), ..Default::default() };
        assert_eq!(executor.call(Type::Message, call).await, 202);
        assert_eq!(framework.find("MESSAGE", |event| event.message).await.data, b"up");
        let down = scheduler::call::Message {
            agent_id: offer.agent_id.clone(),
            executor_id: executor.id.clone(),
            data: b"down".to_vec(),
        };
        let call = scheduler::Call { message: Some(down), ..Default::default() };
        framework.tell(scheduler::call::Type::Message, call).await;
        assert_eq!(executor.events.find("MESSAGE", |event| event.message).await.data, b"down");
        let kill = scheduler::call::Kill { task_id: task.task_id.clone(), ..Default::default() };
        let call = scheduler::Call { kill: Some(kill), ..Default::default() };
        framework.tell(scheduler::call::Type::Kill, call).await;
        assert_eq!(executor.events.find("KILL", |event| event.kill).await.task_id, task.task_id);
        executor.update(&task, TaskState::TaskKilled).await;
        assert_eq!(framework.status().await.state(), TaskState::TaskKilled);
        let shutdown =
            scheduler::call::Shutdown { executor_id: executor.id.clone(), agent_id: offer.agent_id.clone() };
        let call = scheduler::Call { shutdown: Some(shutdown), ..Default::default() };
        framework.tell(scheduler::call::Type::Shutdown, call).await;
        let is_shutdown =
            |event: executor::Event| (event.r#type() == executor::event::Type::Shutdown).then_some(());
        executor.events.find("SHUTDOWN", is_shutdown).await;
        let ours = |failure: scheduler::event::Failure| {
            let own = failure.executor_id.as_ref() == Some(&executor.id);
            own.then_some(failure)
        };
        let failure = framework.find("FAILURE", |event| event.failure.and_then(ours)).await;
        assert_eq!(
            (failure.agent_id, failure.status),
            (Some(offer.agent_id), Some(9)),
            "killed after its grace"
        );
        framework.tear_down().await;
    })
    .await;
}

/// An update that is refused for its form.
pub(crate) struct Malformed {
    /// The recorded exchange of `15-update-validation` that shows it.
    pub(crate) recorded: &'static str,
    spoil: fn(&mut TaskStatus),
}

/// Updates that are refused with 400.
pub(crate) const MALFORMED: &[Malformed] = &[
    Malformed { recorded: "03-executor-update-without-uuid", spoil: |status| status.uuid = None },
    Malformed { recorded: "04-executor-update-uuid-5-bytes", spoil: |status| status.uuid = Some(vec![1; 5]) },
    Malformed { recorded: "05-executor-update-uuid-nil", spoil: |status| status.uuid = Some(vec![0; 16]) },
    Malformed {
        recorded: "08-executor-update-source-agent",
        spoil: |status| status.source = Some(Source::Agent.into()),
    },
    Malformed {
        recorded: "09-executor-update-source-master",
        spoil: |status| status.source = Some(Source::Master.into()),
    },
    Malformed { recorded: "10-executor-update-without-source", spoil: |status| status.source = None },
    Malformed {
        recorded: "11-executor-update-state-staging",
        spoil: |status| status.state = TaskState::TaskStaging.into(),
    },
    Malformed {
        recorded: "12-executor-update-other-executor-id",
        spoil: |status| status.executor_id = Some(mesos::ExecutorId { value: "other".into() }),
    },
    Malformed {
        recorded: "13-executor-update-check-status-without-type",
        spoil: |status| status.check_status = Some(mesos::CheckStatusInfo::default()),
    },
];

#[tokio::test]
async fn malformed_requests_to_an_agent_are_refused_with_their_code() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let agent = agent_of(place, &framework.offer().await);
        let subscribe = executor::Call {
            r#type: Some(Type::Subscribe.into()),
            subscribe: Some(executor::call::Subscribe::default()),
            ..Default::default()
        };
        let (good, protobuf) = (subscribe.encode_to_vec(), ("content-type", PROTOBUF));
        // As recorded in 15-update-validation: 17, 19, 23, 24, 25.
        let cases = [
            (Method::GET, PLAIN.to_vec(), Vec::new(), 405),
            (Method::POST, vec![("content-type", "text/plain")], good.clone(), 415),
            (Method::POST, vec![protobuf, ("accept", "text/html")], good, 406),
            (Method::POST, PLAIN.to_vec(), b"garbage".to_vec(), 400),
            (
                Method::POST,
                PLAIN.to_vec(),
                executor::Call { subscribe: None, ..subscribe }.encode_to_vec(),
                400,
            ),
        ];
        for (method, headers, body, expected) in cases {
            let at = (method.clone(), "/api/v1/executor");
            let status = framework.http.ask_at(&agent, at, &headers, body).await.status().as_u16();
            // Where executors must show a token, nothing else is looked at without one.
            assert!(status == expected || status == 401, "{method} {headers:?}: {status}, not {expected}");
        }
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn malformed_updates_and_strangers_are_refused() {
    everywhere(async |place: &Place| {
        let Some((framework, mut executor, _, task)) = running(place).await else { return };
        for case in MALFORMED {
            let mut spoiled = status(&task, TaskState::TaskRunning);
            (case.spoil)(&mut spoiled);
            assert_eq!(executor.send(spoiled).await, 400, "{}", case.recorded);
        }
        // As recorded in 15-update-validation: 14, 15, 16, 18.
        let elsewhere = mesos::AgentId { value: "none-S9".into() };
        let misplaced = TaskStatus { agent_id: Some(elsewhere), ..status(&task, TaskState::TaskRunning) };
        assert_eq!(executor.send(misplaced).await, 202, "accepted and ignored");
        assert_eq!(executor.call(Type::Update, executor::Call::default()).await, 400);
        assert_eq!(executor.call(Type::Message, executor::Call::default()).await, 400);
        let typeless = executor::Call {
            executor_id: executor.id.clone(),
            framework_id: executor.framework_id.clone(),
            ..Default::default()
        };
        let at = (Method::POST, "/api/v1/executor");
        let answer = executor.http.ask_at(&executor.agent, at, &PLAIN, typeless.encode_to_vec()).await;
        assert_eq!(answer.status(), 400);
        assert_eq!(executor.call(Type::Heartbeat, executor::Call::default()).await, 202);
        executor.update(&task, TaskState::TaskRunning).await;
        let known = (executor.framework_id.clone(), executor.id.clone());
        let subscribe =
            || executor::Call { subscribe: Some(executor::call::Subscribe::default()), ..Default::default() };
        executor.id.value = "stranger".into();
        assert_eq!(executor.call(Type::Subscribe, subscribe()).await, 400);
        (executor.framework_id.value, executor.id) = ("stranger".into(), known.1);
        assert_eq!(executor.call(Type::Subscribe, subscribe()).await, 400);
        framework.tear_down().await;
    })
    .await;
}

#[tokio::test]
async fn a_second_subscription_of_an_executor_closes_the_first() {
    everywhere(async |place: &Place| {
        let Some((framework, mut executor, offer, task)) = running(place).await else { return };
        executor.update(&task, TaskState::TaskRunning).await;
        let mut again = Executor::subscribe(place, &framework, &offer, &task).await.unwrap();
        again.events.find("SUBSCRIBED", |event| event.subscribed).await;
        executor.events.rest().await;
        let is_shutdown =
            |event: executor::Event| (event.r#type() == executor::event::Type::Shutdown).then_some(());
        framework.tear_down().await;
        again.events.find("SHUTDOWN after the teardown", is_shutdown).await;
    })
    .await;
}

#[tokio::test]
async fn an_executor_that_ends_or_cannot_start_fails_its_task() {
    everywhere(async |place: &Place| {
        let mut framework = Framework::new(place).await;
        let missing =
            mesos::command_info::Uri { value: "/no/such/file/anywhere".into(), ..Default::default() };
        // As recorded in 05-kill-shutdown-crash: 49, 53.
        let cases = [
            ("false", vec![], Reason::ExecutorTerminated),
            ("true", vec![missing], Reason::ContainerLaunchFailed),
        ];
        for (program, uris, reason) in cases {
            let offer = framework.offer().await;
            let mut failing = task(&offer, &[program]);
            failing.executor.as_mut().unwrap().command.as_mut().unwrap().uris = uris;
            framework.accept(vec![offer.id.clone()], vec![launch(vec![failing.clone()])]).await;
            let of_executor = failing.executor.as_ref().map(|executor| executor.executor_id.clone());
            let (mut failure, mut told) = (None, None);
            // The two come in either order.
            let both = |event: scheduler::Event| {
                let own = event.failure.filter(|failure| failure.executor_id == of_executor);
                failure = failure.take().or(own);
                told = told.take().or(event.update.map(|update| update.status));
                Some((failure.clone()?, told.clone()?))
            };
            let (failure, status) = framework.find("FAILURE and UPDATE", both).await;
            framework.acknowledge(&status).await;
            assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, reason), "{program}");
            assert!(status.uuid.is_some() && status.source() == Source::Agent);
            assert_eq!(failure.status, Some(256), "exit status 1");
        }
        framework.tear_down().await;
    })
    .await;
}
