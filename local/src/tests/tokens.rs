//! Executors that must show their token, over TCP and over the agent's domain socket, as recorded with a real agent.

use super::client::{LONGEST, PROTOBUF, Scheduler, framework_info};
use crate::{Cluster, Settings};
use bytes::Bytes;
use executor::call::{Subscribe, Type, Update};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use prost::Message;
use proto::mesos::v1::{self as mesos, executor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

/// One of the two executors: its ids and its environment.
struct Played {
    framework: String,
    id: String,
    env: BTreeMap<String, String>,
}

/// What an agent said.
struct Said {
    status: StatusCode,
    challenge: Option<String>,
    body: String,
}

struct World {
    cluster: Cluster,
    socket: PathBuf,
    recorded: Value,
    connections: JoinSet<()>,
}

impl World {
    /// Makes a call, over TCP or (with a path that begins with the agent's name) over the domain socket.
    async fn call(&mut self, call: &executor::Call, path: &str, unix: bool, token: Option<&str>) -> Said {
        let body = Full::new(Bytes::from(call.encode_to_vec()));
        let mut request = Request::post(path).header(HOST, "localhost");
        for (name, value) in [(CONTENT_TYPE, PROTOBUF), (ACCEPT, PROTOBUF)] {
            request = request.header(name, value);
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(body).unwrap();
        if unix {
            let stream = UnixStream::connect(&self.socket).await.unwrap();
            self.ask(stream, request).await
        } else {
            let address = self.cluster.agent(0).unwrap().address().unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            self.ask(stream, request).await
        }
    }

    async fn ask<S>(&mut self, stream: S, request: Request<Full<Bytes>>) -> Said
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        self.connections.spawn(async move {
            connection.await.ok();
        });
        let answer = tokio::time::timeout(LONGEST, sender.send_request(request)).await.unwrap().unwrap();
        let challenge = answer.headers().get(WWW_AUTHENTICATE).map(|c| c.to_str().unwrap().to_owned());
        let status = answer.status();
        let body = match status {
            // A stream does not end; that it began is what counts here.
            StatusCode::OK => Bytes::new(),
            _ => answer.into_body().collect().await.unwrap().to_bytes(),
        };
        Said { status, challenge, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Checks an answer against the recorded one; `ids` are recorded ids with ours.
    fn compare(&self, exchange: &str, said: &Said, ids: &[(&str, &str)]) {
        let all = self.recorded["exchanges"].as_array().unwrap();
        let found = all.iter().find(|one| one["exchange"] == exchange).unwrap();
        assert_eq!(u64::from(said.status.as_u16()), found["status"].as_u64().unwrap(), "{exchange}");
        let mut body = found["body"].as_str().unwrap_or_default().to_owned();
        for (theirs, ours) in ids {
            body = body.replace(theirs, ours);
        }
        assert_eq!(said.body, body, "{exchange}");
    }
}

impl Played {
    fn call(&self, kind: Type) -> executor::Call {
        executor::Call {
            executor_id: mesos::ExecutorId { value: self.id.clone() },
            framework_id: mesos::FrameworkId { value: self.framework.clone() },
            r#type: Some(kind.into()),
            subscribe: (kind == Type::Subscribe).then(Subscribe::default),
            ..Default::default()
        }
    }

    fn running(&self, task: &str) -> executor::Call {
        let status = mesos::TaskStatus {
            task_id: mesos::TaskId { value: task.into() },
            state: mesos::TaskState::TaskRunning.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()),
            ..Default::default()
        };
        executor::Call { update: Some(Update { status }), ..self.call(Type::Update) }
    }

    fn token(&self) -> &str {
        &self.env["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"]
    }

    fn container(&self) -> &str {
        self.env["MESOS_DIRECTORY"].rsplit_once('/').unwrap().1
    }
}

/// Waits for the environment that an executor has written down.
async fn environment(sandbox: &Path) -> BTreeMap<String, String> {
    let read = || std::fs::read_to_string(sandbox.join("whole")).ok();
    let waited = tokio::time::timeout(LONGEST, async {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        while read().is_none() {
            again.tick().await;
        }
    });
    waited.await.expect("an environment in time");
    let text = read().unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn launch(cluster: &Cluster, scheduler: &mut Scheduler, name: &str) -> Played {
    let offer = scheduler.offer().await;
    let script = "env > env; mv env whole; exec sleep 600";
    scheduler
        .launch(&offer, name, mesos::CommandInfo { value: Some(script.into()), ..Default::default() })
        .await;
    let (agent, framework) = (&offer.agent_id.value, scheduler.framework_id.value.clone());
    let id = format!("executor-{name}");
    let runs = format!("slaves/{agent}/frameworks/{framework}/executors/{id}/runs/latest");
    let env = environment(&cluster.agent(0).unwrap().work_dir().join(runs)).await;
    Played { framework, id, env }
}

async fn world(dir: &Path) -> (World, Scheduler) {
    let mut settings = Settings::new(dir, 1);
    (settings.executor_tokens, settings.domain_sockets) = (true, true);
    settings.timings.allocation = Duration::from_millis(30);
    let cluster = Cluster::start(settings).await.unwrap();
    let scheduler = Scheduler::subscribe(cluster.master(), framework_info()).await;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/fixtures/mesos-1.12/13-executor-authentication/events.json");
    let recorded = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let socket = cluster.agent(0).unwrap().work_dir().join("agent.sock");
    (World { cluster, socket, recorded, connections: JoinSet::new() }, scheduler)
}

#[tokio::test]
async fn executors_are_let_in_and_refused_as_a_real_agent_does_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, mut scheduler) = world(dir.path()).await;
    let one = launch(&world.cluster, &mut scheduler, "a").await;
    let two = launch(&world.cluster, &mut scheduler, "b").await;
    assert_eq!(Path::new(&one.env["MESOS_DOMAIN_SOCKET"]), world.socket);
    let (plain, prefixed) = ("/api/v1/executor", "/slave(1)/api/v1/executor");
    let subscribe = one.call(Type::Subscribe);
    let said = world.call(&subscribe, plain, false, None).await;
    world.compare("01-executor-subscribe-without-token", &said, &[]);
    assert_eq!(said.challenge.as_deref(), Some("Bearer realm=\"mesos-agent-executor\""));
    let mut broken = one.token().to_owned();
    broken.truncate(broken.len() - 3);
    broken += "xyz";
    let said = world.call(&subscribe, plain, false, Some(&broken)).await;
    world.compare("02-executor-subscribe-broken-token", &said, &[]);
    assert!(said.challenge.unwrap().contains("Token signature does not match"));
    let said = world.call(&subscribe, plain, false, Some(two.token())).await;
    let ids = [
        ("b5e08672-9252-4e07-8716-792a7aef1705-0000", one.framework.as_str()),
        ("ba91d543-9aca-495a-a04a-d8394e476df6", two.container()),
        ("logherd-exec.1", &one.id),
        ("logherd-exec.2", &two.id),
    ];
    world.compare("03-executor-subscribe-other-executors-token", &said, &ids);
    let said = world.call(&subscribe, plain, false, Some(one.token())).await;
    world.compare("04-executor-subscribe", &said, &[]);
    let said = world.call(&one.running("task-a"), plain, false, Some(one.token())).await;
    world.compare("05-executor-update-running", &said, &[]);
    let said = world.call(&one.call(Type::Heartbeat), plain, false, None).await;
    world.compare("06-executor-heartbeat-without-token", &said, &[]);

    let subscribe = two.call(Type::Subscribe);
    let said = world.call(&subscribe, plain, true, Some(two.token())).await;
    world.compare("07-executor2-subscribe-unix-socket-unprefixed-path", &said, &[]);
    let said = world.call(&subscribe, prefixed, true, Some(two.token())).await;
    world.compare("08-executor2-subscribe-unix-socket", &said, &[]);
    let said = world.call(&two.running("task-b"), prefixed, true, Some(two.token())).await;
    world.compare("09-executor2-update-running-unix-socket", &said, &[]);
    for path in ["/api/v1", "/slave(1)/api/v1", "/state", "/slave(1)/state", "/health"] {
        let said = world.call(&subscribe, path, true, Some(two.token())).await;
        assert_eq!(said.status, StatusCode::FORBIDDEN, "{path}");
    }
    let said = world.call(&subscribe, prefixed, true, None).await;
    assert_eq!(said.status, StatusCode::UNAUTHORIZED, "the socket asks for a token too");
    world.cluster.stop().await;
}

#[tokio::test]
async fn a_token_is_good_after_a_restart_of_the_agent_and_not_for_another_container() {
    let dir = tempfile::tempdir().unwrap();
    let (mut world, mut scheduler) = world(dir.path()).await;
    let one = launch(&world.cluster, &mut scheduler, "a").await;
    let path = "/api/v1/executor";
    let said = world.call(&one.call(Type::Subscribe), path, false, Some(one.token())).await;
    assert_eq!(said.status, StatusCode::OK);
    world.cluster.agent(0).unwrap().restart().await.unwrap();
    let said = world.call(&one.call(Type::Subscribe), path, false, Some(one.token())).await;
    assert_eq!(said.status, StatusCode::OK);
    let said =
        world.call(&one.call(Type::Subscribe), "/slave(1)/api/v1/executor", true, Some(one.token())).await;
    assert_eq!(said.status, StatusCode::OK, "the socket is there again");
    world.cluster.stop().await;
}
