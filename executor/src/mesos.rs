//! Speaks the executor side of the Mesos v1 API with the agent: two connections, one for events, one for calls.
//!
//! [`session`] decides; this acts. Losing either connection drops both, and the executor subscribes again, several times a
//! second: an agent that restarts kills executors that are not back within two seconds of its return.
mod duration;
mod outline;
mod session;
mod way;

pub(crate) use duration::parse as parse_duration;
pub(crate) use session::{FromMesos, Rules};
pub use way::AgentTlsError;
pub(crate) use way::Way;

use bytes::Bytes;
use config::settings::Secret;
use futures_util::future::{BoxFuture, OptionFuture};
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use prost::Message;
use proto::mesos::v1::executor::Call;
use proto::recordio::{Decoder, Limits};
use session::{Effect, Session};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use way::NoWay;

const PROTOBUF: &str = "application/x-protobuf";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The longest pause between two attempts to subscribe, whatever the agent allows.
const PAUSE_MAX: Duration = Duration::from_millis(400);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const UPDATE_AGAIN_AFTER: Duration = Duration::from_millis(200);
const COMPLAINT_MAX: usize = 4096;

/// What the node tells Mesos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToMesos {
    /// Another executor has the data that we are to go on with.
    Waits,
    /// The pipelines of the first assignment are up.
    PipelinesUp,
    /// Everything is flushed and saved.
    Drained,
    /// The process was asked to stop.
    Stop,
}

/// How to reach the agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) way: Way,
    /// What to authenticate with, if the agent wants that.
    pub(crate) token: Option<Secret>,
    /// The longest pause between two attempts to subscribe.
    pub(crate) pause_max: Duration,
}

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("connect to the agent at `{0}`: {1}")]
    Connect(String, String),
    #[error("talk to the agent at `{0}`: {1}")]
    Strange(String, String),
    #[error("the agent does not answer")]
    Late,
    #[error("the request failed")]
    Broken(#[source] hyper::Error),
    #[error("the agent answered {0}: {1}")]
    Refused(u16, String),
}

/// A subscription: its stream, and the connection for calls.
struct Live {
    stream: Incoming,
    decoder: Decoder,
    /// Kept: a connection ends when nobody can use it any more.
    _events: Calls,
    /// `None` while a call is under way.
    calls: Option<Calls>,
    connections: JoinSet<()>,
}

/// A connection for requests, and the path to post them to.
struct Calls {
    sender: SendRequest<Full<Bytes>>,
    path: Uri,
}

/// One thing that happened.
enum Happened {
    Subscribed(Result<Box<Live>, RequestError>),
    Data(Option<Result<Bytes, String>>),
    Sent((Calls, Result<(), RequestError>)),
    ConnectionEnded,
    Node(Option<ToMesos>),
    Time,
}

/// Keeps subscribed until the session says that this process ends.
pub(crate) async fn stay_subscribed(
    agent: Agent,
    rules: Rules,
    to_node: mpsc::Sender<FromMesos>,
    mut from_node: mpsc::Receiver<ToMesos>,
) {
    let session = Session::new(rules, Instant::now());
    let mut client = Client {
        agent,
        session,
        live: None,
        subscribing: None,
        sending: None,
        resume_at: Instant::now(),
        complained: false,
    };
    loop {
        client.act();
        let happened = client.next(&mut from_node).await;
        let mut effects = VecDeque::from(client.decide(happened));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Tell(news) => {
                    if to_node.send(news).await.is_err() {
                        return;
                    }
                }
                Effect::Reconnect => effects.extend(client.disconnect(Instant::now())),
                Effect::Exit => {
                    drop(to_node.send(FromMesos::Exit).await);
                    return;
                }
            }
        }
    }
}

struct Client {
    agent: Agent,
    session: Session,
    live: Option<Box<Live>>,
    subscribing: Option<BoxFuture<'static, Result<Box<Live>, RequestError>>>,
    sending: Option<BoxFuture<'static, (Calls, Result<(), RequestError>)>>,
    /// No attempt to subscribe or to send an update before this.
    resume_at: Instant,
    /// It was said that the agent cannot be talked to, since the last subscription.
    complained: bool,
}

impl Client {
    /// Starts what should be under way and is not.
    fn act(&mut self) {
        if Instant::now() < self.resume_at {
            return;
        }
        match &mut self.live {
            None if self.subscribing.is_none() => {
                let call = self.session.subscribe_call();
                self.subscribing = Some(Box::pin(subscribe(self.agent.clone(), call)));
            }
            Some(live) if live.calls.is_some() => {
                if let Some(call) = self.session.next_update()
                    && let Some(calls) = live.calls.take()
                {
                    let request = request(&self.agent, &calls.path, &call);
                    self.sending = Some(Box::pin(send(calls, request)));
                }
            }
            _ => {}
        }
    }

    async fn next(&mut self, from_node: &mut mpsc::Receiver<ToMesos>) -> Happened {
        let far = Instant::now() + Duration::from_secs(3600);
        let now = Instant::now();
        let resume = if self.resume_at > now { self.resume_at } else { far };
        let wake = self.session.deadline().unwrap_or(far).max(now).min(resume);
        let (stream, connections) = match &mut self.live {
            Some(live) => (Some(&mut live.stream), Some(&mut live.connections)),
            None => (None, None),
        };
        let data = OptionFuture::from(stream.map(|stream| stream.frame()));
        let ended = OptionFuture::from(connections.map(|connections| connections.join_next()));
        let subscribing = OptionFuture::from(self.subscribing.as_mut());
        let sending = OptionFuture::from(self.sending.as_mut());
        tokio::select! {
            Some(frame) = data => Happened::Data(frame.map(|frame| {
                frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|error| error.to_string())
            })),
            Some(_) = ended => Happened::ConnectionEnded,
            Some(result) = subscribing => Happened::Subscribed(result),
            Some(result) = sending => Happened::Sent(result),
            command = from_node.recv() => Happened::Node(command),
            () = sleep_until(wake) => Happened::Time,
        }
    }

    fn decide(&mut self, happened: Happened) -> Vec<Effect> {
        let now = Instant::now();
        match happened {
            Happened::Subscribed(result) => {
                self.subscribing = None;
                self.subscribe_ended(result, now)
            }
            Happened::Data(Some(Ok(bytes))) => self.take(&bytes, now),
            Happened::Data(Some(Err(reason))) => self.lost(&reason, now),
            Happened::Data(None) => self.lost("the agent closed the event stream", now),
            Happened::ConnectionEnded => self.lost("a connection was closed", now),
            Happened::Sent((calls, result)) => {
                self.sending = None;
                if let Some(live) = &mut self.live {
                    live.calls = Some(calls);
                }
                match result {
                    Ok(()) => {
                        self.session.update_accepted();
                        Vec::new()
                    }
                    Err(RequestError::Refused(status, said)) => {
                        tracing::debug!(status, said, "the agent refused an update");
                        self.resume_at = now + UPDATE_AGAIN_AFTER;
                        self.session.update_refused(status)
                    }
                    Err(error) => self.lost(&error.to_string(), now),
                }
            }
            Happened::Node(Some(ToMesos::Waits)) => {
                self.session.waits();
                Vec::new()
            }
            Happened::Node(Some(ToMesos::PipelinesUp)) => {
                self.session.pipelines_up();
                Vec::new()
            }
            Happened::Node(Some(ToMesos::Drained)) => self.session.drained(now),
            // The node is gone: nothing is left to do.
            Happened::Node(None) => vec![Effect::Exit],
            Happened::Node(Some(ToMesos::Stop)) => self.session.stop(now),
            Happened::Time => self.session.time(now),
        }
    }

    fn subscribe_ended(&mut self, result: Result<Box<Live>, RequestError>, now: Instant) -> Vec<Effect> {
        match result {
            Ok(live) => {
                self.live = Some(live);
                self.complained = false;
                Vec::new()
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "not subscribed");
                let pause = self.agent.pause_max.min(PAUSE_MAX);
                self.resume_at = now + pause.mul_f64(rand::random_range(0.05..1.0));
                match error {
                    RequestError::Strange(..) if !std::mem::replace(&mut self.complained, true) => {
                        tracing::error!(%error, "the agent cannot be talked to; trying again");
                        self.session.lost(now)
                    }
                    RequestError::Refused(status, said) => {
                        if matches!(status, 400 | 401 | 403) {
                            tracing::warn!(status, said, "the agent does not take this executor");
                        }
                        self.session.subscribe_refused(status, now)
                    }
                    _ => self.session.lost(now),
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant) -> Vec<Effect> {
        let mut events = Vec::new();
        let mut broken = None;
        if let Some(live) = &mut self.live {
            live.decoder.push(bytes);
            loop {
                match live.decoder.next() {
                    Ok(Some(record)) => match outline::event(&record) {
                        Ok(event) => events.push(event),
                        Err(error) => tracing::warn!(%error, "an event of the agent cannot be read"),
                    },
                    Ok(None) => break,
                    Err(error) => {
                        broken = Some(error.to_string());
                        break;
                    }
                }
            }
        }
        let mut effects: Vec<Effect> =
            events.into_iter().flat_map(|event| self.session.event(event, now)).collect();
        if let Some(reason) = broken {
            effects.extend(self.lost(&reason, now));
        }
        effects
    }

    fn lost(&mut self, reason: &str, now: Instant) -> Vec<Effect> {
        tracing::info!(reason, "the agent is gone; subscribing again");
        self.disconnect(now)
    }

    fn disconnect(&mut self, now: Instant) -> Vec<Effect> {
        (self.live, self.sending, self.subscribing) = (None, None, None);
        self.resume_at = now + PAUSE_MIN;
        self.session.lost(now)
    }
}

fn request(agent: &Agent, path: &Uri, call: &Call) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(call.encode_to_vec().into()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.clone();
    let protobuf = header::HeaderValue::from_static(PROTOBUF);
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, protobuf.clone());
    headers.insert(header::ACCEPT, protobuf);
    if let Ok(host) = header::HeaderValue::from_str(agent.way.host()) {
        headers.insert(header::HOST, host);
    }
    if let Some(token) = &agent.token
        && let Ok(mut bearer) = header::HeaderValue::from_str(&format!("Bearer {}", token.expose()))
    {
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    request
}

async fn connect(agent: &Agent, connections: &mut JoinSet<()>) -> Result<Calls, RequestError> {
    let host = || agent.way.host().to_owned();
    let (stream, path) = agent.way.open().await.map_err(|error| match error {
        NoWay::Away(why) => RequestError::Connect(host(), why),
        NoWay::Strange(why) => RequestError::Strange(host(), why),
    })?;
    let failed = |reason: String| RequestError::Connect(host(), reason);
    let path = path.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
    connections.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the agent ended");
        }
    });
    Ok(Calls { sender, path })
}

async fn subscribe(agent: Agent, call: Call) -> Result<Box<Live>, RequestError> {
    let mut connections = JoinSet::new();
    let mut events = connect(&agent, &mut connections).await?;
    let calls = connect(&agent, &mut connections).await?;
    let request = request(&agent, &events.path, &call);
    let answer = timeout(ANSWER_WITHIN, events.sender.send_request(request))
        .await
        .map_err(|_| RequestError::Late)?
        .map_err(RequestError::Broken)?;
    let stream = accepted(answer).await?;
    Ok(Box::new(Live {
        stream,
        decoder: Decoder::new(Limits::default()),
        _events: events,
        calls: Some(calls),
        connections,
    }))
}

async fn send(mut calls: Calls, request: Request<Full<Bytes>>) -> (Calls, Result<(), RequestError>) {
    let sent = timeout(ANSWER_WITHIN, async {
        calls.sender.ready().await.map_err(RequestError::Broken)?;
        accepted(calls.sender.send_request(request).await.map_err(RequestError::Broken)?).await
    });
    let result = match sent.await {
        Ok(result) => result.map(drop),
        Err(_) => Err(RequestError::Late),
    };
    (calls, result)
}

async fn accepted(answer: http::Response<Incoming>) -> Result<Incoming, RequestError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.into_body());
    }
    let said = match Limited::new(answer.into_body(), COMPLAINT_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    Err(RequestError::Refused(status.as_u16(), said))
}

#[cfg(test)]
mod tests;
