//! A scheduler and an executor over real HTTP, as simple as they can be, for tests.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use proto::mesos::v1::{self as mesos, executor, master as operator_api, scheduler};
use proto::recordio::{Decoder, Limits};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const PROTOBUF: &str = "application/x-protobuf";
/// Nothing here takes longer than this unless it is broken.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

pub(super) type Http = Client<HttpConnector, Full<Bytes>>;

pub(super) fn http() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// One request with these headers.
pub(super) async fn request(
    http: &Http,
    (method, address, path): (Method, SocketAddr, &str),
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response<Incoming> {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    tokio::time::timeout(LONGEST, http.request(request)).await.expect("an answer in time").unwrap()
}

pub(super) async fn text(answer: Response<Incoming>) -> (StatusCode, String) {
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The events of one stream.
pub(super) struct Events<E> {
    body: Option<Incoming>,
    decoder: Decoder,
    kind: std::marker::PhantomData<E>,
}

impl<E: Message + Default> Events<E> {
    fn new(body: Incoming) -> Self {
        Self { body: Some(body), decoder: Decoder::new(Limits::default()), kind: std::marker::PhantomData }
    }

    fn ended() -> Self {
        Self { body: None, decoder: Decoder::new(Limits::default()), kind: std::marker::PhantomData }
    }

    /// The next event, or `None` when the stream has ended or broken.
    pub(super) async fn next(&mut self) -> Option<E> {
        loop {
            if let Some(record) = self.decoder.next().unwrap() {
                return Some(E::decode(record).unwrap());
            }
            let frame = tokio::time::timeout(LONGEST, self.body.as_mut()?.frame())
                .await
                .expect("an event in time")?;
            self.decoder.push(frame.ok()?.data_ref()?);
        }
    }

    /// The first event of which the function makes something; others are dropped.
    pub(super) async fn find<T>(&mut self, wanted: impl Fn(E) -> Option<T>) -> T {
        let found = tokio::time::timeout(LONGEST, async {
            loop {
                let event = self.next().await.expect("the stream goes on");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        });
        found.await.expect("the event in time")
    }
}

/// A subscribed scheduler.
pub(super) struct Scheduler {
    http: Http,
    master: SocketAddr,
    stream_id: String,
    pub(super) framework_id: mesos::FrameworkId,
    pub(super) events: Events<scheduler::Event>,
}

pub(super) fn framework_info() -> mesos::FrameworkInfo {
    use mesos::framework_info::capability::Type;
    let capability = |kind: Type| mesos::framework_info::Capability { r#type: Some(kind.into()) };
    mesos::FrameworkInfo {
        user: "root".into(),
        name: "logherd".into(),
        checkpoint: Some(true),
        failover_timeout: Some(3600.0),
        roles: vec!["logherd".into()],
        capabilities: [
            Type::MultiRole,
            Type::ReservationRefinement,
            Type::PartitionAware,
            Type::TaskKillingState,
        ]
        .map(capability)
        .into(),
        ..Default::default()
    }
}

impl Scheduler {
    pub(super) async fn subscribe(master: SocketAddr, info: mesos::FrameworkInfo) -> Self {
        let http = http();
        let call = scheduler::Call {
            framework_id: info.id.clone(),
            r#type: Some(scheduler::call::Type::Subscribe.into()),
            subscribe: Some(scheduler::call::Subscribe { framework_info: info, ..Default::default() }),
            ..Default::default()
        };
        let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
        let at = (Method::POST, master, "/api/v1/scheduler");
        let answer = request(&http, at, &headers, call.encode_to_vec()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], PROTOBUF);
        let stream_id = answer.headers()["mesos-stream-id"].to_str().unwrap().to_owned();
        let mut events = Events::new(answer.into_body());
        let subscribed = events.find(|event: scheduler::Event| event.subscribed).await;
        Self { http, master, stream_id, framework_id: subscribed.framework_id, events }
    }

    pub(super) async fn call(&self, kind: scheduler::call::Type, mut call: scheduler::Call) -> StatusCode {
        call.framework_id = Some(self.framework_id.clone());
        call.r#type = Some(kind.into());
        let headers =
            [("content-type", PROTOBUF), ("accept", PROTOBUF), ("mesos-stream-id", self.stream_id.as_str())];
        let at = (Method::POST, self.master, "/api/v1/scheduler");
        request(&self.http, at, &headers, call.encode_to_vec()).await.status()
    }

    /// Closes the stream and nothing else.
    pub(super) fn hang_up(&mut self) {
        self.events = Events::ended();
    }

    pub(super) async fn offer(&mut self) -> mesos::Offer {
        self.events.find(|event| event.offers.map(|mut offers| offers.offers.remove(0))).await
    }

    /// Launches one task with its executor on an offer.
    pub(super) async fn launch(&self, offer: &mesos::Offer, name: &str, command: mesos::CommandInfo) {
        let scalar = |name: &str, value: f64| mesos::Resource {
            name: name.into(),
            r#type: mesos::value::Type::Scalar.into(),
            scalar: Some(mesos::value::Scalar { value }),
            ..Default::default()
        };
        let task = mesos::TaskInfo {
            name: "logherd.executor".into(),
            task_id: mesos::TaskId { value: format!("task-{name}") },
            agent_id: offer.agent_id.clone(),
            resources: vec![scalar("cpus", 0.01), scalar("mem", 1.0)],
            executor: Some(mesos::ExecutorInfo {
                executor_id: mesos::ExecutorId { value: format!("executor-{name}") },
                r#type: Some(mesos::executor_info::Type::Custom.into()),
                command: Some(command),
                resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
                shutdown_grace_period: Some(mesos::DurationInfo { nanoseconds: 300_000_000 }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let operation = mesos::offer::Operation {
            r#type: Some(mesos::offer::operation::Type::Launch.into()),
            launch: Some(mesos::offer::operation::Launch { task_infos: vec![task] }),
            ..Default::default()
        };
        let accept = Some(scheduler::call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![operation],
            filters: None,
        });
        let status =
            self.call(scheduler::call::Type::Accept, scheduler::Call { accept, ..Default::default() }).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    /// The next update, acknowledged when it asks for it.
    pub(super) async fn update(&mut self) -> mesos::TaskStatus {
        let status = self.events.find(|event| event.update.map(|update| update.status)).await;
        self.acknowledge(&status).await;
        status
    }

    pub(super) async fn acknowledge(&self, status: &mesos::TaskStatus) {
        let Some(uuid) = status.uuid.clone() else { return };
        let acknowledge = Some(scheduler::call::Acknowledge {
            agent_id: status.agent_id.clone().unwrap(),
            task_id: status.task_id.clone(),
            uuid,
        });
        let call = scheduler::Call { acknowledge, ..Default::default() };
        assert_eq!(self.call(scheduler::call::Type::Acknowledge, call).await, StatusCode::ACCEPTED);
    }
}

/// A subscribed executor, played by the test on behalf of a process that does not speak.
pub(super) struct Executor {
    http: Http,
    agent: SocketAddr,
    executor_id: mesos::ExecutorId,
    framework_id: mesos::FrameworkId,
    pub(super) events: Events<executor::Event>,
}

impl Executor {
    /// Subscribes, again and again until the agent takes it.
    pub(super) async fn subscribe(
        agent: SocketAddr,
        framework_id: &mesos::FrameworkId,
        name: &str,
        subscribe: executor::call::Subscribe,
    ) -> Self {
        let http = http();
        let executor_id = mesos::ExecutorId { value: format!("executor-{name}") };
        let call = executor::Call {
            executor_id: executor_id.clone(),
            framework_id: framework_id.clone(),
            r#type: Some(executor::call::Type::Subscribe.into()),
            subscribe: Some(subscribe),
            ..Default::default()
        };
        let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
        let at = (Method::POST, agent, "/slave(1)/api/v1/executor");
        let subscribed = tokio::time::timeout(LONGEST, async {
            loop {
                let answer = request(&http, at.clone(), &headers, call.encode_to_vec()).await;
                if answer.status() == StatusCode::OK {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        });
        let events = Events::new(subscribed.await.expect("a subscription in time").into_body());
        Self { http, agent, executor_id, framework_id: framework_id.clone(), events }
    }

    pub(super) async fn update(&self, task: &mesos::TaskId, state: mesos::TaskState) -> mesos::TaskStatus {
        let status = mesos::TaskStatus {
            task_id: task.clone(),
            state: state.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()),
            ..Default::default()
        };
        assert_eq!(self.send(status.clone()).await, StatusCode::ACCEPTED);
        status
    }

    pub(super) async fn send(&self, status: mesos::TaskStatus) -> StatusCode {
        let call = executor::Call {
            executor_id: self.executor_id.clone(),
            framework_id: self.framework_id.clone(),
            r#type: Some(executor::call::Type::Update.into()),
            update: Some(executor::call::Update { status }),
            ..Default::default()
        };
        let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
        let at = (Method::POST, self.agent, "/api/v1/executor");
        request(&self.http, at, &headers, call.encode_to_vec()).await.status()
    }
}

/// An operator's stream.
pub(super) async fn watch(master: SocketAddr) -> Events<operator_api::Event> {
    let call =
        operator_api::Call { r#type: Some(operator_api::call::Type::Subscribe.into()), ..Default::default() };
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    let answer = request(&http(), (Method::POST, master, "/api/v1"), &headers, call.encode_to_vec()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut events = Events::new(answer.into_body());
    events.find(|event: operator_api::Event| event.subscribed).await;
    events
}

/// An operator's question.
pub(super) async fn operator(master: SocketAddr, kind: operator_api::call::Type) -> operator_api::Response {
    let call = operator_api::Call { r#type: Some(kind.into()), ..Default::default() };
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    let at = (Method::POST, master, "/api/v1");
    let answer = request(&http(), at, &headers, call.encode_to_vec()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    operator_api::Response::decode(body).unwrap()
}
