//! Keeps a subscription to the leading Mesos master: events come out of it, calls go in, in order.
//!
//! Two connections, as Mesos wants it: one for the subscription and its stream, one for all calls, one call at a time.
//! Losing either is losing the subscription: both are closed, and it begins again with backoff. Only this module and
//! those below it know Mesos' messages.
pub mod deterministic;
pub mod frameworks;
mod http;
mod items;
mod launch;
mod masters;
mod operator;
mod outline;
mod place;
mod resource;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use crate::core::cluster::{InverseOffer, Offer, Update};
use crate::core::effects::Call;
use crate::ids::{AgentId, ExecutorId, FrameworkId, OfferId};
use base64::Engine;
use http::{Connection, HttpError, stream_id};
use http_body_util::BodyExt;
use hyper::body::Incoming;
pub(crate) use launch::{Program, Template};
pub use masters::MasterError;
pub(crate) use masters::{Election, Masters, Seek, detect};
pub(crate) use operator::{Asking, Told, Us, watch_cluster};
use proto::recordio::{Decoder, Limits};
use proto::tls::Tls;
use rand::Rng;
use std::time::Duration;
pub use tls::TlsError;
pub(crate) use tls::{Files, read as read_tls};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wire::Heard;

const PATH: &str = "/api/v1/scheduler";
/// What masters send without being asked for; every one of them is a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After so many intervals without a sign of life the master is given up.
const MISSED: u32 = 5;
/// The first pause between two attempts to subscribe, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// The pause after a refusal that will not pass by itself soon.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// How long the stream of a subscription whose calls fail may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How many redirects are followed at once; during an election masters may point at each other.
const HOPS: usize = 3;

/// The name and the secret by which a framework proves who it is.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// The name.
    pub(crate) principal: String,
    /// Never shown.
    pub(crate) secret: String,
}

/// How masters are talked to.
#[derive(Clone, Default)]
pub(crate) struct Access {
    /// Goes with every request.
    pub(crate) credentials: Option<Credentials>,
    /// `None`: in clear text.
    pub(crate) tls: Option<Tls>,
}

impl Credentials {
    fn basic(&self) -> String {
        let pair = format!("{}:{}", self.principal, self.secret);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

/// What the framework says of itself when it subscribes.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) roles: Vec<String>,
    pub(crate) principal: Option<String>,
    pub(crate) failover_timeout: Duration,
    /// The machine of the scheduler that leads, for Mesos' pages.
    pub(crate) hostname: Option<String>,
    pub(crate) webui_url: String,
}

/// What comes out of the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MesosEvent {
    /// A subscription stands. Calls for it carry its number.
    Subscribed { framework: FrameworkId, master: String, subscription: u64 },
    /// It is over, or there is none yet, and why. The next attempt follows by itself.
    Disconnected { why: String },
    /// Mesos removed this framework for good. The client waits for [`Command::Register`].
    Removed,
    /// Another scheduler subscribed with our id. The client has ended.
    Superseded,
    /// Offers came.
    Offers(Vec<Offer>),
    /// An offer is gone.
    Rescinded(OfferId),
    /// The master wants agents back for maintenance.
    InverseOffers(Vec<InverseOffer>),
    /// It does not any more, or the maintenance has begun.
    InverseRescinded(OfferId),
    /// A status update, or an answer to a reconciliation.
    Updated(Update),
    /// An executor's container ended.
    ExecutorEnded(AgentId, ExecutorId),
    /// An agent was removed or is unreachable.
    AgentLost(AgentId),
}

/// What goes into the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Tell Mesos, if this subscription still stands.
    Call(u64, Box<Call>),
    /// Begin anew without a framework id.
    Register,
}

/// The client, before it runs.
pub(crate) struct Client {
    pub(crate) masters: Masters,
    pub(crate) registration: Registration,
    pub(crate) access: Access,
    pub(crate) template: Template,
    pub(crate) framework: Option<FrameworkId>,
}

/// Why a subscription ended or did not begin.
enum Ended {
    /// Try again after the usual backoff.
    Lost(String),
    /// The master says no; trying soon will not help.
    Refused(String),
    /// Try that one now.
    Elsewhere(String),
    /// The framework id is dead.
    Removed,
    /// Another scheduler has the framework.
    Superseded,
    /// The owner of the client is gone.
    Abandoned,
}

impl From<HttpError> for Ended {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::NotLeader { leader, .. } => Self::Elsewhere(leader),
            HttpError::Status { status, .. } if ![503, 404].contains(&status.as_u16()) => {
                let hint = match status.as_u16() {
                    401 => "; check the principal and the secret file",
                    403 => "; the principal is not allowed to do that",
                    _ => "",
                };
                Self::Refused(format!("{error}{hint}"))
            }
            other => Self::Lost(other.to_string()),
        }
    }
}

impl Client {
    /// Subscribes again and again until `stop`, the framework is taken over, or nobody listens any more.
    pub(crate) async fn run(
        mut self,
        events: mpsc::Sender<MesosEvent>,
        mut commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) {
        let running = self.subscribe_again_and_again(&events, &mut commands);
        tokio::select! {
            () = stop.cancelled() => {}
            () = running => {}
        }
    }

    async fn subscribe_again_and_again(
        &mut self,
        events: &mpsc::Sender<MesosEvent>,
        commands: &mut mpsc::Receiver<Command>,
    ) {
        let mut pause = FIRST_PAUSE;
        let mut subscription = 0;
        let mut leader: Option<String> = None;
        let mut hops = 0;
        loop {
            let master = match leader.take() {
                Some(leader) => leader,
                None => dropping(commands, self.masters.next()).await,
            };
            let before = subscription;
            let mut masters = self.masters.clone();
            let ended = tokio::select! {
                ended = self.subscribe_once(&master, &mut subscription, events, commands) => ended,
                other = masters.moved_from(&master) => Ended::Lost(format!("{other} leads now, not {master}")),
            };
            if subscription != before {
                (pause, hops) = (FIRST_PAUSE, 0);
            }
            let (why, wait) = match ended {
                Ended::Elsewhere(other) if self.masters.are_elected() => {
                    (format!("ZooKeeper says that {master} leads, which names {other}"), pause)
                }
                Ended::Elsewhere(other) if hops < HOPS => {
                    hops += 1;
                    leader = Some(other);
                    continue;
                }
                Ended::Elsewhere(other) => (format!("the masters send us around, at last to {other}"), pause),
                Ended::Lost(why) => (why, pause),
                Ended::Refused(why) => (why, REFUSED_PAUSE),
                Ended::Removed => {
                    let told = dropping(commands, events.send(MesosEvent::Removed)).await;
                    if told.is_err() || !wait_for_register(commands).await {
                        return;
                    }
                    self.framework = None;
                    continue;
                }
                Ended::Superseded => {
                    drop(dropping(commands, events.send(MesosEvent::Superseded)).await);
                    return;
                }
                Ended::Abandoned => return,
            };
            hops = 0;
            let why = format!("{why} (masters: {})", self.masters.describe());
            if dropping(commands, events.send(MesosEvent::Disconnected { why })).await.is_err() {
                return;
            }
            let jitter = rand::rng().random_range(0.5..=1.0);
            let pausing = async {
                tokio::select! {
                    () = tokio::time::sleep(wait.mul_f64(jitter)) => {}
                    _ = masters.moved_from(&master) => {}
                }
            };
            dropping(commands, pausing).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One subscription from its SUBSCRIBE to its end.
    async fn subscribe_once(
        &mut self,
        master: &str,
        subscription: &mut u64,
        events: &mpsc::Sender<MesosEvent>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Ended {
        let (mut stream, stream_id, calls) = match dropping(commands, self.open(master)).await {
            Ok(opened) => opened,
            Err(ended) => return ended,
        };
        let heartbeat = match dropping(commands, stream.subscribed()).await {
            Ok((framework, heartbeat)) => {
                self.framework = Some(framework.clone());
                *subscription += 1;
                let event = MesosEvent::Subscribed {
                    framework,
                    master: master.to_owned(),
                    subscription: *subscription,
                };
                if dropping(commands, events.send(event)).await.is_err() {
                    return Ended::Abandoned;
                }
                heartbeat
            }
            Err(ended) => return ended,
        };
        let Some(framework) = self.framework.clone() else { return Ended::Abandoned };
        let caller = Caller { connection: calls, stream_id, framework, template: &self.template };
        // Both go on independently: a reader that waits for room does not keep calls waiting, nor the other way round.
        let silence = heartbeat * MISSED;
        let call_failed = tokio::select! {
            ended = stream.forward(events, silence) => return ended,
            ended = caller.send_all(*subscription, commands) => ended,
        };
        // If another scheduler took over, calls fail too; only the stream says why, and then we must not come back.
        match dropping(commands, timeout(LAST_WORDS, stream.forward(events, silence))).await {
            Ok(said @ (Ended::Superseded | Ended::Removed)) => said,
            Ok(_) | Err(_) => call_failed,
        }
    }

    /// Opens both connections and subscribes.
    async fn open(&self, master: &str) -> Result<(Stream, String, Connection), Ended> {
        let mut connection = Connection::open(master, self.access.clone()).await?;
        let body = wire::subscribe(&self.registration, self.framework.as_ref());
        let response = connection.post(PATH, None, body).await?;
        let stream_id = stream_id(&response).unwrap_or_default();
        let calls = Connection::open(master, self.access.clone()).await?;
        let stream = Stream {
            _connection: connection,
            body: response.into_body(),
            decoder: Decoder::new(Limits::default()),
        };
        Ok((stream, stream_id, calls))
    }
}

/// Awaits something while no subscription stands. What is commanded meanwhile is of one that is over, and is dropped: whoever
/// commands may take no events as long as too many commands wait.
async fn dropping<T>(commands: &mut mpsc::Receiver<Command>, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    loop {
        // In this order: what is commanded because of an event that was just handed over is not dropped.
        tokio::select! {
            biased;
            done = &mut what => return done,
            command = commands.recv() => if command.is_none() {
                return what.await;
            },
        }
    }
}

async fn wait_for_register(commands: &mut mpsc::Receiver<Command>) -> bool {
    while let Some(command) = commands.recv().await {
        if command == Command::Register {
            return true;
        }
    }
    false
}

/// The stream of a subscription.
struct Stream {
    _connection: Connection,
    body: Incoming,
    decoder: Decoder,
}

impl Stream {
    /// Waits for the first event, which says who we are.
    async fn subscribed(&mut self) -> Result<(FrameworkId, Duration), Ended> {
        loop {
            match self.next(HEARTBEAT * MISSED).await? {
                Heard::Subscribed { framework, heartbeat, .. } => {
                    return Ok((framework, heartbeat.filter(|h| !h.is_zero()).unwrap_or(HEARTBEAT)));
                }
                Heard::Error(message) => return Err(end_of(message)),
                Heard::Event(_) | Heard::Heartbeat | Heard::Other => {}
            }
        }
    }

    /// Hands on what comes until the stream ends or is silent for too long.
    async fn forward(&mut self, events: &mpsc::Sender<MesosEvent>, silence: Duration) -> Ended {
        loop {
            match self.next(silence).await {
                Ok(Heard::Event(event)) => {
                    if events.send(event).await.is_err() {
                        return Ended::Abandoned;
                    }
                }
                Ok(Heard::Error(message)) => return end_of(message),
                Ok(Heard::Subscribed { .. } | Heard::Heartbeat | Heard::Other) => {}
                Err(ended) => return ended,
            }
        }
    }

    async fn next(&mut self, silence: Duration) -> Result<Heard, Ended> {
        loop {
            match self.decoder.next() {
                Ok(Some(record)) if record.is_empty() => continue,
                Ok(Some(record)) => {
                    return wire::read(&record)
                        .map_err(|e| Ended::Lost(format!("an event is no protobuf: {e}")));
                }
                Ok(None) => {}
                Err(error) => return Err(Ended::Lost(format!("the stream of events is garbled: {error}"))),
            }
            let frame = timeout(silence, self.body.frame()).await;
            let frame =
                frame.map_err(|_| Ended::Lost(format!("no sign of life for {} s", silence.as_secs())))?;
            match frame {
                None => return Err(Ended::Lost("the master ended the subscription".to_owned())),
                Some(Err(error)) => return Err(Ended::Lost(format!("the subscription broke: {error}"))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.decoder.push_bytes(data);
                    }
                }
            }
        }
    }
}

/// Only these two texts are stable; anything else is a refusal.
fn end_of(message: String) -> Ended {
    if message.contains("Framework has been removed") {
        Ended::Removed
    } else if message.contains("Framework failed over") {
        Ended::Superseded
    } else {
        Ended::Refused(format!("Mesos refuses the subscription: {message}"))
    }
}

/// Sends the calls of one subscription.
struct Caller<'a> {
    connection: Connection,
    stream_id: String,
    framework: FrameworkId,
    template: &'a Template,
}

impl Caller<'_> {
    /// Sends what is commanded, one call after the other: Mesos keeps the order only on one connection.
    async fn send_all(mut self, subscription: u64, commands: &mut mpsc::Receiver<Command>) -> Ended {
        while let Some(command) = commands.recv().await {
            let call = match command {
                Command::Call(of, call) if of == subscription => call,
                // Decided within a subscription that is over: what it was about is found out again in this one.
                Command::Call(..) | Command::Register => continue,
            };
            let body = wire::write(&self.framework, self.template, *call);
            if let Err(error) = self.connection.ask(PATH, Some(&self.stream_id), body, 1 << 20).await {
                return Ended::Lost(format!("a call failed: {error}"));
            }
        }
        Ended::Abandoned
    }
}
