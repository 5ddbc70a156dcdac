//! Serves the control plane: executors attach, get the newest configuration, and say what became of it.
//!
//! One stream per executor. Configurations come from a watch, so a slow executor misses only what is out of date; what
//! executors say goes into one bounded channel, and while it is full nothing more is read from them.
pub(crate) mod authority;

use crate::ids::{AgentId, ExecutorId};
use crate::revisions::Published;
use config::document::{Fleet, Key, Kind, Revision};
use futures_util::stream::{Stream, unfold};
use proto::control as wire;
use proto::control::control_server::{Control, ControlServer};
use proto::control::{FromExecutor, ToExecutor};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{CertificateDer, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use web::view;

/// The largest message: a whole fleet's documents.
const MESSAGE_MAX: usize = 64 << 20;
/// How often an executor hears from us.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long an executor may take to introduce itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings find connections that are dead.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What comes out of the control plane.
#[derive(Debug)]
pub(crate) enum ControlEvent {
    /// An executor asks to attach. The answer says whether it may, or why not.
    Hello(Hello, oneshot::Sender<Result<(), String>>),
    /// An executor said how it is.
    Report(ExecutorId, u64, Box<NodeReport>),
    /// An executor said what became of a revision.
    Applied(ExecutorId, u64, Revision, Vec<view::Failure>),
    /// An executor's stream ended.
    Detached(ExecutorId, u64),
}

/// How an executor introduces itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The number of its connection.
    pub(crate) connection: u64,
    pub(crate) framework: String,
    pub(crate) agent: AgentId,
    pub(crate) executor: ExecutorId,
    pub(crate) version: String,
    /// Never shown.
    pub(crate) token: String,
    /// The revision that it runs.
    pub(crate) revision: Revision,
    /// Whether its positions and spools end with its sandbox.
    pub(crate) data_in_sandbox: bool,
    /// Where they are on its node.
    pub(crate) data_dir: String,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hello({} on {}, {})", self.executor, self.agent, self.version)
    }
}

/// How a node is.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeReport {
    pub(crate) revision: Revision,
    pub(crate) docker: Option<view::Docker>,
    pub(crate) containers: Arc<[view::Container]>,
    pub(crate) counters: view::Counters,
    pub(crate) pipelines: Arc<[view::Pipeline]>,
    pub(crate) resident_bytes: u64,
}

/// Where to serve.
pub(crate) struct Reception {
    pub(crate) listener: TcpListener,
    /// With it, executors must show the certificate that came with their launch.
    pub(crate) tls: Option<ServerTlsConfig>,
}

/// Serves at `reception` until `stop`.
pub(crate) async fn serve(
    reception: Reception,
    fleet: watch::Receiver<Arc<Published>>,
    events: mpsc::Sender<ControlEvent>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let Reception { listener, tls } = reception;
    let (certified, connections) = (tls.is_some(), Arc::new(AtomicU64::new(0)));
    let desk = Desk { fleet, events, stop: stop.clone(), connections, certified };
    let service = ControlServer::new(desk)
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let mut server = tonic::transport::Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    server
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .tcp_nodelay(true)
        .serve_with_incoming_shutdown(service, TcpListenerStream::new(listener), stop.cancelled_owned())
        .await
}

struct Desk {
    fleet: watch::Receiver<Arc<Published>>,
    events: mpsc::Sender<ControlEvent>,
    stop: CancellationToken,
    connections: Arc<AtomicU64>,
    /// Whether who attaches must have shown a certificate with its id.
    certified: bool,
}

type Answers = Pin<Box<dyn Stream<Item = Result<ToExecutor, Status>> + Send>>;

#[tonic::async_trait]
impl Control for Desk {
    type AttachStream = Answers;

    async fn attach(&self, request: Request<Streaming<FromExecutor>>) -> Result<Response<Answers>, Status> {
        let shown = request.peer_certs();
        let mut said = request.into_inner();
        let first = timeout(HELLO_TIMEOUT, said.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello came"))??;
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let hello = hello(first, connection)?;
        if self.certified {
            certificate_is_of(&hello.executor, shown.as_deref())?;
        }
        let executor = hello.executor.clone();
        let (reply, answer) = oneshot::channel();
        let asked = self.events.send(ControlEvent::Hello(hello, reply)).await;
        asked.map_err(|_| Status::unavailable("the scheduler is stopping"))?;
        let admitted = answer.await.map_err(|_| Status::unavailable("the scheduler is stopping"))?;
        admitted.map_err(Status::permission_denied)?;
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fleet = self.fleet.clone();
        fleet.mark_changed();
        let guard = Guard { executor, connection, events: self.events.clone() };
        let attached = Attached { said, fleet, heartbeat, stop: self.stop.clone(), guard };
        Ok(Response::new(Box::pin(unfold(attached, |mut attached| async move {
            let answer = attached.next().await?;
            Some((answer, attached))
        }))))
    }
}

/// One executor that is attached.
struct Attached {
    said: Streaming<FromExecutor>,
    fleet: watch::Receiver<Arc<Published>>,
    heartbeat: Interval,
    stop: CancellationToken,
    guard: Guard,
}

enum Happened {
    Said(Result<Option<FromExecutor>, Status>),
    NewFleet,
    Beat,
    Over,
}

impl Attached {
    /// The next thing to send; takes in what the executor says meanwhile. `None` ends the stream.
    async fn next(&mut self) -> Option<Result<ToExecutor, Status>> {
        loop {
            let happened = tokio::select! {
                () = self.stop.cancelled() => Happened::Over,
                said = self.said.message() => Happened::Said(said),
                changed = self.fleet.changed() => if changed.is_ok() { Happened::NewFleet } else { Happened::Over },
                _ = self.heartbeat.tick() => Happened::Beat,
            };
            match happened {
                Happened::Over | Happened::Said(Ok(None) | Err(_)) => return None,
                Happened::Said(Ok(Some(message))) => match self.guard.take_in(message) {
                    Ok(None) => {}
                    Ok(Some(event)) => self.guard.events.send(event).await.ok()?,
                    Err(status) => return Some(Err(status)),
                },
                Happened::NewFleet => {
                    let published = Arc::clone(&self.fleet.borrow_and_update());
                    let body = wire::to_executor::Body::Assignment(assignment(&published.stored.fleet));
                    return Some(Ok(ToExecutor { body: Some(body) }));
                }
                Happened::Beat => {
                    let body = wire::to_executor::Body::Heartbeat(wire::Heartbeat {});
                    return Some(Ok(ToExecutor { body: Some(body) }));
                }
            }
        }
    }
}

/// Says that an executor is gone when its stream is dropped.
struct Guard {
    executor: ExecutorId,
    connection: u64,
    events: mpsc::Sender<ControlEvent>,
}

impl Guard {
    fn take_in(&self, message: FromExecutor) -> Result<Option<ControlEvent>, Status> {
        use wire::from_executor::Body;
        match message.body {
            Some(Body::Report(said)) => {
                Ok(Some(ControlEvent::Report(self.executor.clone(), self.connection, Box::new(report(said)))))
            }
            Some(Body::Applied(applied)) => {
                let failures = applied.failures.into_iter().filter_map(failure).collect();
                let revision = Revision(applied.revision);
                Ok(Some(ControlEvent::Applied(self.executor.clone(), self.connection, revision, failures)))
            }
            Some(Body::Hello(_)) => Err(Status::failed_precondition("Hello came twice")),
            // Of a newer executor: nothing that we know.
            None => Ok(None),
        }
    }
}

impl Drop for Guard {
    /// If the channel is full the message is lost; an executor that is not heard of is found out by its silence.
    fn drop(&mut self) {
        if self.events.try_send(ControlEvent::Detached(self.executor.clone(), self.connection)).is_err() {
            tracing::debug!(executor = %self.executor, "its end was not told: the scheduler is busy or stopping");
        }
    }
}

/// Refuses an executor that shows the certificate of another one.
fn certificate_is_of(executor: &ExecutorId, shown: Option<&Vec<CertificateDer<'_>>>) -> Result<(), Status> {
    let own = shown.and_then(|chain| chain.first());
    let name = own.and_then(|certificate| authority::common_name(certificate));
    match name {
        Some(name) if name == executor.0 => Ok(()),
        Some(name) => {
            let text = format!("the certificate is that of executor `{name}`, not of `{executor}`");
            Err(Status::permission_denied(text))
        }
        None => Err(Status::permission_denied("no certificate of an executor was shown")),
    }
}

fn hello(first: Option<FromExecutor>, connection: u64) -> Result<Hello, Status> {
    let Some(FromExecutor { body: Some(wire::from_executor::Body::Hello(hello)) }) = first else {
        return Err(Status::failed_precondition("the first message is not Hello"));
    };
    if hello.protocol > wire::PROTOCOL {
        let (theirs, ours) = (hello.protocol, wire::PROTOCOL);
        let text =
            format!("the executor speaks protocol {theirs}, this scheduler {ours}; use a newer scheduler");
        return Err(Status::failed_precondition(text));
    }
    Ok(Hello {
        connection,
        framework: hello.framework_id,
        agent: AgentId(hello.agent_id),
        executor: ExecutorId(hello.executor_id),
        version: hello.version,
        token: hello.token,
        revision: Revision(hello.revision),
        data_in_sandbox: hello.data_in_sandbox,
        data_dir: hello.data_dir,
    })
}

fn assignment(fleet: &Fleet) -> wire::Assignment {
    let documents = fleet.documents.iter().map(|(key, document)| wire::Document {
        kind: match key.kind {
            Kind::Docker => wire::Kind::Docker as i32,
            Kind::Host => wire::Kind::Host as i32,
        },
        name: key.name.clone(),
        text: document.text.clone(),
        revision: document.revision.0,
    });
    wire::Assignment { revision: fleet.revision.0, documents: documents.collect() }
}

fn failure(failure: wire::Failure) -> Option<view::Failure> {
    let kind = match wire::Kind::try_from(failure.kind) {
        Ok(wire::Kind::Docker) => Kind::Docker,
        Ok(wire::Kind::Host) => Kind::Host,
        Ok(wire::Kind::Unspecified) | Err(_) => return None,
    };
    Some(view::Failure { key: Key { kind, name: failure.name }, reason: failure.reason })
}

fn report(said: wire::Report) -> NodeReport {
    let docker = said.docker.map(|d| view::Docker { reachable: d.reachable, detail: d.detail });
    let pipelines = said.pipelines.into_iter().map(|p| view::Pipeline {
        id: p.id,
        state: p.state,
        reason: p.reason,
        counters: counters(p.counters),
    });
    NodeReport {
        revision: Revision(said.revision),
        docker,
        containers: said.containers.into_iter().map(container).collect(),
        counters: counters(said.counters),
        pipelines: pipelines.collect(),
        resident_bytes: said.resident_bytes,
    }
}

fn container(said: wire::Container) -> view::Container {
    use wire::container::State;
    let state = match State::try_from(said.state) {
        Ok(State::Streaming) => view::ContainerState::Streaming,
        Ok(State::NotMatched) => view::ContainerState::NotMatched,
        Ok(State::Draining) => view::ContainerState::Draining,
        Ok(State::Error | State::Unspecified) | Err(_) => view::ContainerState::Error,
    };
    let tails = said.tails.into_iter().map(|tail| view::Tail {
        path: tail.path,
        state: tail.state,
        read_position: tail.read_position,
        acknowledged_position: tail.acknowledged_position,
        spool_bytes: tail.spool_bytes,
        dropped_lines: tail.dropped_lines,
    });
    view::Container {
        id: said.id,
        name: said.name,
        image: said.image,
        state,
        reason: said.reason,
        config: said.config,
        tails: tails.collect(),
    }
}

fn counters(said: Option<wire::Counters>) -> view::Counters {
    let said = said.unwrap_or_default();
    view::Counters {
        events_in: said.events_in,
        events_out: said.events_out,
        bytes_in: said.bytes_in,
        dropped_lines: said.dropped_lines,
        dead_letters: said.dead_letters,
        retries: said.retries,
    }
}

#[cfg(test)]
mod tests;
