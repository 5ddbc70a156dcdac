//! Talks to agents made for the test over real sockets: TCP, TLS, Unix; agents that restart and refuse.
use super::*;
use config::settings::{LibprocessTls, MesosEnvironment};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use proto::mesos::v1::executor::Event;
use proto::mesos::v1::executor::call::Type as CallType;
use proto::mesos::v1::executor::event::{Acknowledged, Launch, Subscribed, Type};
use proto::mesos::v1::{
    AgentId, AgentInfo, ExecutorId, ExecutorInfo, FrameworkInfo, TaskId, TaskInfo, TaskState, TaskStatus,
};
use proto::recordio;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// A request, and how to answer it.
struct Asked {
    path: String,
    authorization: Option<String>,
    call: Call,
    reply: oneshot::Sender<Answer>,
}

enum Answer {
    Status(u16),
    Events(mpsc::Receiver<Bytes>),
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    asked: mpsc::Sender<Asked>,
) -> Result<http::Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    let call = Call::decode(bytes).unwrap();
    let (reply, answer) = oneshot::channel();
    asked.send(Asked { path, authorization, call, reply }).await.ok();
    let mut response = http::Response::new(Full::new(Bytes::new()).boxed_unsync());
    match answer.await {
        Ok(Answer::Status(status)) => *response.status_mut() = http::StatusCode::from_u16(status).unwrap(),
        Ok(Answer::Events(events)) => {
            let frames = ReceiverStream::new(events).map(|bytes| Ok(Frame::data(bytes)));
            *response.body_mut() = StreamBody::new(frames).boxed_unsync();
        }
        Err(_) => *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR,
    }
    Ok(response)
}

/// An agent that asks the test what to answer.
struct Played {
    asked: mpsc::Receiver<Asked>,
    serving: JoinSet<()>,
}

enum Listener {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

impl Played {
    fn serve(listener: Listener) -> Self {
        let (sender, asked) = mpsc::channel(8);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let io: Box<dyn way::Duplex> = match &listener {
                    Listener::Tcp(tcp, None) => Box::new(tcp.accept().await.unwrap().0),
                    Listener::Tcp(tcp, Some(tls)) => match tls.accept(tcp.accept().await.unwrap().0).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => continue,
                    },
                    Listener::Unix(unix) => Box::new(unix.accept().await.unwrap().0),
                };
                let sender = sender.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, sender.clone()));
                    let serving = hyper::server::conn::http1::Builder::new();
                    serving.serve_connection(TokioIo::new(io), service).await.ok();
                });
            }
        });
        Self { asked, serving }
    }

    async fn next(&mut self) -> Asked {
        timeout(PATIENCE, self.asked.recv()).await.expect("a call in time").unwrap()
    }

    /// Takes the next subscription.
    async fn subscribed(&mut self) -> (Asked, mpsc::Sender<Bytes>) {
        let mut asked = self.next().await;
        let (events, receiver) = mpsc::channel(8);
        let (unused, _) = oneshot::channel();
        std::mem::replace(&mut asked.reply, unused).send(Answer::Events(receiver)).ok().unwrap();
        events.send(record(subscribed())).await.unwrap();
        (asked, events)
    }

    async fn stop(mut self) {
        self.serving.shutdown().await;
    }
}

fn record(event: Event) -> Bytes {
    recordio::encode(&event.encode_to_vec())
}

fn event(kind: Type) -> Event {
    Event { r#type: Some(kind.into()), ..Event::default() }
}

fn subscribed() -> Event {
    let subscribed = Subscribed {
        executor_info: ExecutorInfo { executor_id: ExecutorId { value: "e1".into() }, ..Default::default() },
        framework_info: FrameworkInfo::default(),
        agent_info: AgentInfo { hostname: "node-7".into(), ..Default::default() },
        container_id: None,
    };
    Event { subscribed: Some(subscribed), ..event(Type::Subscribed) }
}

fn launch() -> Event {
    let task = TaskInfo {
        task_id: TaskId { value: "t1".into() },
        agent_id: AgentId { value: "a1".into() },
        ..Default::default()
    };
    Event { launch: Some(Launch { task }), ..event(Type::Launch) }
}

fn acknowledged(status: &TaskStatus) -> Event {
    let acknowledged =
        Acknowledged { task_id: status.task_id.clone(), uuid: status.uuid.clone().unwrap_or_default() };
    Event { acknowledged: Some(acknowledged), ..event(Type::Acknowledged) }
}

fn environment(endpoint: &str) -> MesosEnvironment {
    MesosEnvironment {
        mesos_framework_id: "f1".into(),
        mesos_executor_id: "e1".into(),
        mesos_slave_id: "a1".into(),
        mesos_agent_endpoint: endpoint.to_owned(),
        mesos_directory: "/nowhere".into(),
        mesos_sandbox: None,
        mesos_checkpoint: "1".into(),
        mesos_recovery_timeout: "15mins".into(),
        mesos_subscription_backoff_max: "2secs".into(),
        mesos_executor_shutdown_grace_period: "5secs".into(),
        mesos_executor_authentication_token: None,
        mesos_slave_pid: Some("slave(3)@10.0.0.7:5051".into()),
        mesos_container_name: None,
        mesos_domain_socket: None,
        libprocess_tls: LibprocessTls::default(),
    }
}

struct Running {
    _from_mesos: mpsc::Receiver<FromMesos>,
    to_mesos: mpsc::Sender<ToMesos>,
    _task: JoinSet<()>,
}

fn start(environment: &MesosEnvironment) -> Running {
    let agent = Agent {
        way: Way::new(environment).unwrap(),
        token: Some(Secret::from("the token".to_owned())),
        pause_max: Duration::from_secs(2),
    };
    let rules = Rules {
        executor_id: "e1".into(),
        framework_id: "f1".into(),
        token: None,
        checkpoint: true,
        recovery_timeout: Duration::from_secs(900),
        grace: Duration::from_secs(5),
        fresh_uuid: || uuid::Uuid::new_v4().into_bytes(),
    };
    let (by_mesos, from_mesos) = mpsc::channel(64);
    let (to_mesos, for_mesos) = mpsc::channel(8);
    let mut task = JoinSet::new();
    task.spawn(stay_subscribed(agent, rules, by_mesos, for_mesos));
    Running { _from_mesos: from_mesos, to_mesos, _task: task }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    (listener, endpoint)
}

fn status(asked: &Asked) -> TaskStatus {
    asked.call.update.clone().unwrap().status
}

#[tokio::test]
async fn an_agent_that_restarts_gets_us_back_within_its_two_seconds_and_every_update_in_the_end() {
    let (listener, endpoint) = listen().await;
    let mut agent = Played::serve(Listener::Tcp(listener, None));
    let running = start(&environment(&endpoint));
    let (first, events) = agent.subscribed().await;
    assert_eq!(first.path, "/api/v1/executor");
    assert_eq!(first.authorization.as_deref(), Some("Bearer the token"));
    events.send(record(launch())).await.unwrap();
    let starting = agent.next().await;
    let starting_status = status(&starting);
    assert_eq!(starting_status.state(), TaskState::TaskStarting);
    starting.reply.send(Answer::Status(202)).ok().unwrap();
    // It was accepted and never acknowledged; the agent ends, and for a while nobody listens.
    agent.stop().await;
    running.to_mesos.send(ToMesos::PipelinesUp).await.unwrap();
    let again = TcpListener::bind(&endpoint).await.unwrap();
    let back = std::time::Instant::now();
    let mut agent = Played::serve(Listener::Tcp(again, None));
    for refusal in [404, 503, 503] {
        let asked = agent.next().await;
        assert_eq!(asked.call.r#type(), CallType::Subscribe);
        asked.reply.send(Answer::Status(refusal)).ok().unwrap();
    }
    let (resubscribed, events) = agent.subscribed().await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    let listed = resubscribed.call.subscribe.unwrap();
    assert_eq!(listed.unacknowledged_tasks.len(), 1);
    assert_eq!(listed.unacknowledged_updates[0].status, starting_status, "as it was, with its uuid");
    for update in &listed.unacknowledged_updates {
        events.send(record(acknowledged(&update.status))).await.unwrap();
    }
    // What was not listed is sent, and again while the agent recovers.
    if listed.unacknowledged_updates.len() == 1 {
        let mut uuids = Vec::new();
        for answer in [503, 503, 202] {
            let asked = agent.next().await;
            assert_eq!(status(&asked).state(), TaskState::TaskRunning);
            uuids.push(status(&asked).uuid);
            asked.reply.send(Answer::Status(answer)).ok().unwrap();
        }
        assert!(uuids[0] == uuids[1] && uuids[1] == uuids[2]);
    } else {
        assert_eq!(listed.unacknowledged_updates[1].status.state(), TaskState::TaskRunning);
    }
}

#[tokio::test]
async fn an_update_that_is_put_off_while_the_agent_recovers_is_sent_until_it_is_taken() {
    let (listener, endpoint) = listen().await;
    let mut agent = Played::serve(Listener::Tcp(listener, None));
    let _running = start(&environment(&endpoint));
    let (_, events) = agent.subscribed().await;
    events.send(record(launch())).await.unwrap();
    let mut uuids = std::collections::BTreeSet::new();
    for answer in [503, 503, 503, 202] {
        let asked = agent.next().await;
        uuids.insert(status(&asked).uuid);
        asked.reply.send(Answer::Status(answer)).ok().unwrap();
    }
    assert_eq!(uuids.len(), 1);
}

#[tokio::test]
async fn the_unix_socket_of_the_agent_is_used_under_its_own_name_and_tcp_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    // Longer than what fits into the address of a socket.
    let long = dir.path().join("d".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let (tcp, endpoint) = listen().await;
    let mut by_tcp = Played::serve(Listener::Tcp(tcp, None));
    for dir in [dir.path(), long.as_path()] {
        let socket = dir.join("agent.sock");
        let environment =
            MesosEnvironment { mesos_domain_socket: Some(socket.clone()), ..environment(&endpoint) };
        let running = start(&environment);
        assert_eq!(by_tcp.subscribed().await.0.path, "/api/v1/executor");
        drop(running);
        let listener = {
            let handle = std::fs::File::open(dir).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&handle);
            UnixListener::bind(format!("/proc/self/fd/{fd}/agent.sock")).unwrap()
        };
        let mut by_unix = Played::serve(Listener::Unix(listener));
        let _running = start(&environment);
        let (asked, _events) = by_unix.subscribed().await;
        assert_eq!(asked.path, "/slave(3)/api/v1/executor");
        assert_eq!(asked.authorization.as_deref(), Some("Bearer the token"));
    }
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/tls/certificates").join(name)
}

/// What an agent needs that talks TLS and wants certificates; its own is for `localhost`.
fn tls_of_the_agent() -> TlsAcceptor {
    let read = |name: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(certificate(name)).unwrap().map(Result::unwrap).collect()
    };
    let mut roots = RootCertStore::empty();
    read("ca.pem").into_iter().for_each(|ca| roots.add(ca).unwrap());
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate("master-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(read("master.pem"), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// What an operator sets for executors.
fn tls() -> LibprocessTls {
    LibprocessTls {
        libprocess_ssl_enabled: Some("true".into()),
        libprocess_ssl_verify_server_cert: Some("1".into()),
        libprocess_ssl_hostname_validation_scheme: "legacy".into(),
        libprocess_ssl_ca_file: Some(certificate("ca.pem")),
        libprocess_ssl_cert_file: Some(certificate("client.pem")),
        libprocess_ssl_key_file: Some(certificate("client-key.pem")),
        ..LibprocessTls::default()
    }
}

#[tokio::test]
async fn an_agent_with_tls_is_subscribed_to_when_its_certificate_has_a_name_of_this_machine() {
    let (listener, endpoint) = listen().await;
    let mut agent = Played::serve(Listener::Tcp(listener, Some(tls_of_the_agent())));
    let _running = start(&MesosEnvironment { libprocess_tls: tls(), ..environment(&endpoint) });
    let (asked, events) = agent.subscribed().await;
    assert_eq!(asked.authorization.as_deref(), Some("Bearer the token"));
    events.send(record(launch())).await.unwrap();
    assert_eq!(status(&agent.next().await).state(), TaskState::TaskStarting);
}

/// Why an agent with TLS is not talked to.
async fn refused(wanted: LibprocessTls) -> Option<String> {
    let (listener, endpoint) = listen().await;
    let _agent = Played::serve(Listener::Tcp(listener, Some(tls_of_the_agent())));
    let way = Way::new(&MesosEnvironment { libprocess_tls: wanted, ..environment(&endpoint) }).unwrap();
    match way.open().await {
        Ok(_) => None,
        Err(NoWay::Strange(why)) => Some(why),
        Err(NoWay::Away(why)) => panic!("{why}"),
    }
}

#[tokio::test]
async fn an_agent_is_believed_as_the_switches_of_mesos_say() {
    let scheme =
        |scheme: &str| LibprocessTls { libprocess_ssl_hostname_validation_scheme: scheme.into(), ..tls() };
    assert_eq!(refused(scheme("legacy")).await, None);
    let why = refused(scheme("openssl")).await.unwrap();
    let told = why.contains("not valid for name") || why.contains("verify failed");
    assert!(told, "its address is not in it: {why}");
    let other = LibprocessTls { libprocess_ssl_ca_file: Some(certificate("client.pem")), ..tls() };
    let why = refused(other.clone()).await.unwrap();
    assert!(why.contains("LIBPROCESS_SSL_CA_FILE"), "{why}");
    // Mesos' default is to verify nothing.
    let unverified = LibprocessTls { libprocess_ssl_verify_server_cert: None, ..other };
    assert_eq!(refused(unverified).await, None);
    let mut directory = tls();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(certificate("ca.pem"), dir.path().join("ca.pem")).unwrap();
    (directory.libprocess_ssl_ca_file, directory.libprocess_ssl_ca_dir) = (None, Some(dir.path().into()));
    assert_eq!(refused(directory).await, None);
}
