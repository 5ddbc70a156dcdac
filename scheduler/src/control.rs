//! Serves the control plane: executors attach, get the newest configuration, and say what became of it.
//!
//! One stream per executor. Configurations come from a watch, so a slow executor misses only what is out of date; what
//! executors say goes into one bounded channel, and while it is full nothing more is taken from them. `grpc` is the edge: what
//! goes to many is encoded once. `http2` below it is made for thousands of connections that are silent most of the time.
pub(crate) mod authority;
mod grpc;
mod http2;
mod link;
mod report;
mod said;

use crate::ids::{AgentId, ExecutorId};
use crate::revisions::Published;
use bytes::Bytes;
use config::document::{Fleet, Kind, Revision};
use proto::control as wire;
use proto::control::FromExecutor;
use rand::Rng;
use report::{Texts, failure, moved, report};
use said::Said;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::CertificateDer;
use web::view;

/// The largest message: the report of a node with very many containers.
const MESSAGE_MAX: usize = 64 << 20;
/// The largest one of somebody who was not let in yet.
const HELLO_MAX: usize = 64 << 10;
/// How often an executor hears from us, about.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long an executor may take to introduce itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings find connections that are dead: after so much silence, and so much more.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an executor may take for a handshake of TLS.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long connections have to end in good order.
const END_WITHIN: Duration = Duration::from_secs(5);
/// The pause after a connection could not be taken: there are too many files open, and some may be closed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

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
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// Serves at `reception` until `stop`.
pub(crate) async fn serve(
    reception: Reception,
    mut fleet: watch::Receiver<Arc<Published>>,
    events: mpsc::Sender<ControlEvent>,
    stop: CancellationToken,
) {
    let first = Newest::of(&fleet.borrow_and_update());
    let (newest, assignments) = watch::channel(first);
    let left = Arc::<Left>::default();
    let telling_who_left = Arc::clone(&left).tell(events.clone());
    let (counts, texts) = (Arc::default(), Arc::default());
    let certified = reception.tls.is_some();
    let desk = Desk { assignments, events, left, stop, counts, certified, texts };
    let encoding = async {
        while fleet.changed().await.is_ok() {
            let published = Arc::clone(&fleet.borrow_and_update());
            newest.send_if_modified(|newest| newest.replace(&published));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = receive(reception, desk) => {}
        () = encoding => {}
        () = telling_who_left => {}
    }
}

/// Takes connections until the desk stops; then waits until they have ended.
async fn receive(reception: Reception, desk: Desk) {
    let Reception { listener, tls } = reception;
    let acceptor = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = desk.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => {
                connections.spawn(connection(desk.clone(), socket, acceptor.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "an executor could not connect");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    let all = timeout(END_WITHIN, async { while connections.join_next().await.is_some() {} });
    if all.await.is_err() {
        tracing::debug!(left = connections.len(), "connections of executors are cut off");
    }
}

/// Serves one connection.
async fn connection(desk: Desk, socket: TcpStream, acceptor: Option<TlsAcceptor>) {
    // It only makes what follows quicker.
    socket.set_nodelay(true).ok();
    let served = match acceptor {
        None => grpc::serve(desk, socket, None).await,
        // What TLS needs would make room for itself in every task.
        Some(acceptor) => Box::pin(connection_by_tls(desk, socket, acceptor)).await,
    };
    if let Err(why) = served {
        let why = &why as &dyn std::error::Error;
        tracing::debug!(why, "a connection of the control plane has ended");
    }
}

async fn connection_by_tls(desk: Desk, socket: TcpStream, acceptor: TlsAcceptor) -> Result<(), link::Gone> {
    let shaking = timeout(HANDSHAKE_WITHIN, acceptor.accept(socket)).await;
    let socket = shaking.map_err(|_| link::Gone::Silent)??;
    let (_, session) = socket.get_ref();
    let shown = session.peer_certificates().and_then(|chain| chain.first()).cloned();
    grpc::serve(desk, socket, shown.map(CertificateDer::into_owned)).await
}

/// The newest assignment as it goes over the wire: encoded once, whoever gets it.
struct Newest {
    fleet: Fleet,
    frame: Bytes,
}

impl Newest {
    fn of(published: &Published) -> Self {
        let fleet = published.stored.fleet.clone();
        let frame = grpc::frame(wire::to_executor::Body::Assignment(assignment(&fleet)));
        Self { fleet, frame }
    }

    /// Says whether there is something to tell: what is published may differ in what is no business of executors.
    fn replace(&mut self, published: &Published) -> bool {
        let new = published.stored.fleet != self.fleet;
        if new {
            *self = Self::of(published);
        }
        new
    }
}

/// Where executors attach.
#[derive(Clone)]
struct Desk {
    assignments: watch::Receiver<Newest>,
    events: mpsc::Sender<ControlEvent>,
    left: Arc<Left>,
    stop: CancellationToken,
    counts: Arc<Counts>,
    /// Whether who attaches must have shown a certificate with its id.
    certified: bool,
    texts: Arc<Texts>,
}

#[derive(Default)]
struct Counts {
    /// All connections so far.
    connections: AtomicU64,
    /// Those that are attached now.
    attached: AtomicU64,
}

/// Ends of streams that there was no room for in the channel: one per connection at most.
#[derive(Default)]
struct Left {
    waiting: Mutex<Vec<ControlEvent>>,
    added: Notify,
}

impl Left {
    /// Tells them as soon as there is room, until nobody listens any more.
    async fn tell(self: Arc<Self>, events: mpsc::Sender<ControlEvent>) {
        loop {
            self.added.notified().await;
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for event in waiting {
                if events.send(event).await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}

impl Desk {
    /// Takes an executor in, or says why not. `shown`: the certificate that it came with.
    async fn attach<T>(
        self,
        said: &mut Said<T>,
        shown: Option<CertificateDer<'static>>,
    ) -> Result<Attached, Status>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let first = timeout(HELLO_TIMEOUT, said.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello came"))??;
        let connection = self.counts.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let hello = hello(first, connection)?;
        if self.certified {
            certificate_is_of(&hello.executor, shown.as_ref())?;
        }
        let (reply, answer) = oneshot::channel();
        let Self { mut assignments, events, left, stop, counts, texts, .. } = self;
        // From here on it may count as attached, also if it goes away before it hears so.
        let executor = hello.executor.clone();
        let reported = None;
        let mut guard = Guard { executor, connection, events, left, counts, counted: false, reported, texts };
        let asked = said.link.meanwhile(guard.events.send(ControlEvent::Hello(hello, reply))).await?;
        asked.map_err(|_| Status::unavailable("the scheduler is stopping"))?;
        let admitted = said.link.meanwhile(answer).await?;
        let admitted = admitted.map_err(|_| Status::unavailable("the scheduler is stopping"))?;
        admitted.map_err(Status::permission_denied)?;
        guard.counts.attached.fetch_add(1, Ordering::Relaxed);
        guard.counted = true;
        said.allow(MESSAGE_MAX);
        assignments.mark_changed();
        Ok(Attached { assignments, beat_at: Instant::now(), stop, guard })
    }
}

/// One executor that is attached.
struct Attached {
    assignments: watch::Receiver<Newest>,
    beat_at: Instant,
    stop: CancellationToken,
    guard: Guard,
}

enum Happened {
    Said(Result<Option<FromExecutor>, Status>),
    NewAssignment,
    Beat,
    Over,
}

impl Attached {
    /// The next thing to send; takes in what the executor says meanwhile. `None` ends the stream.
    async fn next<T>(&mut self, said: &mut Said<T>) -> Option<Result<Bytes, Status>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let happened = tokio::select! {
                () = self.stop.cancelled() => Happened::Over,
                said = said.message() => Happened::Said(said),
                changed = self.assignments.changed() => {
                    if changed.is_ok() { Happened::NewAssignment } else { Happened::Over }
                }
                () = sleep_until(self.beat_at) => Happened::Beat,
            };
            match happened {
                Happened::Over | Happened::Said(Ok(None) | Err(_)) => return None,
                Happened::Said(Ok(Some(message))) => match self.guard.take_in(message) {
                    Ok(None) => {}
                    Ok(Some(event)) => {
                        said.link.meanwhile(self.guard.events.send(event)).await.ok()?.ok()?;
                    }
                    Err(status) => return Some(Err(status)),
                },
                Happened::NewAssignment => {
                    return Some(Ok(self.assignments.borrow_and_update().frame.clone()));
                }
                Happened::Beat => {
                    self.beat_at = Instant::now() + HEARTBEAT.mul_f64(rand::rng().random_range(0.8..1.2));
                    match said.link.silent() {
                        silent if silent > KEEPALIVE + KEEPALIVE_TIMEOUT => return None,
                        silent if silent > KEEPALIVE => said.link.ping(),
                        _ => {}
                    }
                    return Some(Ok(self.beat()));
                }
            }
        }
    }

    /// What an executor hears now and then.
    fn beat(&self) -> Bytes {
        let report_pause_ms = report_pause(self.guard.counts.attached.load(Ordering::Relaxed));
        let beat = wire::Heartbeat { report_pause_ms, takes_movements: true };
        grpc::frame(wire::to_executor::Body::Heartbeat(beat))
    }
}

/// The pause between two reports of one executor, in milliseconds, when so many are attached: together they report no
/// more often than a thousand times a second, and none is silent for so long that it counts as lost.
fn report_pause(attached: u64) -> u32 {
    u32::try_from(attached.clamp(1000, 12_000)).unwrap_or(u32::MAX)
}

/// Says that an executor is gone when its stream is dropped.
struct Guard {
    executor: ExecutorId,
    connection: u64,
    events: mpsc::Sender<ControlEvent>,
    left: Arc<Left>,
    counts: Arc<Counts>,
    /// Whether it is among those that are attached.
    counted: bool,
    /// How its node was when it said so last.
    reported: Option<NodeReport>,
    texts: Arc<Texts>,
}

impl Guard {
    fn take_in(&mut self, message: FromExecutor) -> Result<Option<ControlEvent>, Status> {
        use wire::from_executor::Body;
        match message.body {
            Some(Body::Report(said)) => {
                Ok(Some(self.reported(report(said, self.reported.as_ref(), &self.texts))))
            }
            Some(Body::Movement(movement)) => {
                let before = self.reported.as_ref();
                let before =
                    before.ok_or_else(|| Status::failed_precondition("a movement came before a report"))?;
                Ok(Some(self.reported(moved(before, movement)?)))
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

impl Guard {
    fn reported(&mut self, report: NodeReport) -> ControlEvent {
        self.reported = Some(report.clone());
        ControlEvent::Report(self.executor.clone(), self.connection, Box::new(report))
    }
}

impl Drop for Guard {
    /// A full channel delays the message and does not lose it: thousands may go away at once.
    fn drop(&mut self) {
        if self.counted {
            self.counts.attached.fetch_sub(1, Ordering::Relaxed);
        }
        let event = ControlEvent::Detached(self.executor.clone(), self.connection);
        let told = match self.events.try_send(event) {
            Err(TrySendError::Full(event)) => {
                self.left.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                self.left.added.notify_one();
                true
            }
            told => told.is_ok(),
        };
        if !told {
            tracing::debug!(executor = %self.executor, "its end was not told: the scheduler is stopping");
        }
    }
}

/// Refuses an executor that shows the certificate of another one.
fn certificate_is_of(executor: &ExecutorId, shown: Option<&CertificateDer<'_>>) -> Result<(), Status> {
    match shown.and_then(|certificate| authority::common_name(certificate)) {
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

#[cfg(test)]
mod tests;
