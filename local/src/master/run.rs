//! Runs a master: one task owns the core, feeds it what happens, and does what it decides.

use super::core::{Answer, Birth, ConnectionId, Core, Effect, Input};
use super::registry;
use crate::clock::Clock;
use crate::faults::Fault;
use crate::link::{LinkId, ToAgent, ToMaster};
use crate::settings::Chunking;
use crate::wire::body::Body;
use crate::wire::content::Encoding;
use crate::wire::stream::{self, Feed};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use proto::mesos::v1::{master as operator_api, scheduler};
use std::collections::HashMap;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// So many messages wait for the master; who sends more waits.
const INBOX: usize = 1024;
/// So many messages wait for an agent; more break its link.
const LINK: usize = 1024;

/// What the master's task is told.
pub(crate) enum Message {
    Call {
        call: Box<scheduler::Call>,
        encoding: Encoding,
        stream_id: Option<String>,
        principal: Option<String>,
        reply: oneshot::Sender<Reply>,
    },
    Operator {
        call: Box<operator_api::Call>,
        encoding: Encoding,
        reply: oneshot::Sender<Reply>,
    },
    Link {
        reply: oneshot::Sender<AgentLink>,
    },
    Agent(LinkId, ToMaster),
    DropSchedulers,
    /// Put these bytes as a record into the streams of all schedulers.
    Inject(Bytes),
    /// Do nothing until then.
    Stall(oneshot::Receiver<()>),
}

/// What an HTTP caller gets.
pub(crate) enum Reply {
    Refused(u16, String),
    Accepted,
    Done,
    Stream { body: Body, stream_id: Option<String> },
    Response(Box<operator_api::Response>),
}

/// An agent's end of its link. Dropping it breaks the link.
#[derive(Debug)]
pub(crate) struct AgentLink {
    pub(crate) id: LinkId,
    pub(crate) from_master: mpsc::Receiver<ToAgent>,
    /// Cancelled when the master breaks the link.
    pub(crate) broken: CancellationToken,
}

/// What others hold of a running master.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(mpsc::Sender<Message>);

impl Inbox {
    /// Tells the master; false when it no longer runs.
    pub(crate) async fn tell(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Connects an agent.
    pub(crate) async fn link(&self) -> Option<AgentLink> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::Link { reply }).await.ok()?;
        answer.await.ok()
    }

    /// Whether the master no longer runs.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends when the master no longer runs.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A master that does not run yet.
pub(crate) struct Master {
    core: Core,
    clock: Clock,
    inbox: mpsc::Receiver<Message>,
    faults: watch::Receiver<Vec<Fault>>,
    out: Outside,
}

/// Everything outside the core.
struct Outside {
    registry: PathBuf,
    chunking: Chunking,
    feeds: HashMap<ConnectionId, Feed>,
    links: HashMap<LinkId, Link>,
    departures: FuturesUnordered<BoxFuture<'static, Departure>>,
    next_link: u64,
}

struct Link {
    to_agent: mpsc::Sender<ToAgent>,
    broken: DropGuard,
}

enum Departure {
    Reader(ConnectionId),
    Agent(LinkId),
}

enum Event {
    Message(Option<Message>),
    Departure(Departure),
    Faults,
    Timer,
}

impl Master {
    pub(crate) fn new(
        birth: Birth,
        clock: Clock,
        registry: PathBuf,
        chunking: Chunking,
        mut faults: watch::Receiver<Vec<Fault>>,
    ) -> (Self, Inbox) {
        faults.mark_changed();
        let (sender, inbox) = mpsc::channel(INBOX);
        let out = Outside {
            registry,
            chunking,
            feeds: HashMap::new(),
            links: HashMap::new(),
            departures: FuturesUnordered::new(),
            next_link: 0,
        };
        (Self { core: Core::new(birth, clock.now()), clock, inbox, faults, out }, Inbox(sender))
    }

    /// Runs until told to stop; then every stream and every link breaks.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let wake = self.clock.instant(self.core.next_wake());
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.faults.changed() => Event::Faults,
                Some(departure) = self.out.departures.next() => Event::Departure(departure),
                message = self.inbox.recv() => Event::Message(message),
                () = tokio::time::sleep_until(wake) => Event::Timer,
            };
            let message = match event {
                Event::Message(None) => return,
                Event::Message(Some(Message::Stall(until))) => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = until => continue,
                    }
                }
                Event::Message(Some(message)) => message,
                Event::Departure(Departure::Reader(connection)) => {
                    self.out.feeds.remove(&connection);
                    self.step(Input::Disconnected(connection), None);
                    continue;
                }
                Event::Departure(Departure::Agent(link)) => {
                    self.out.links.remove(&link);
                    self.step(Input::Unlinked(link), None);
                    continue;
                }
                Event::Faults => {
                    let faults = self.faults.borrow_and_update().clone();
                    self.step(Input::Faults(faults), None);
                    continue;
                }
                Event::Timer => {
                    self.step(Input::Tick, None);
                    continue;
                }
            };
            self.on_message(message);
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Call { call, encoding, stream_id, principal, reply } => {
                let caller = Caller { reply, encoding, events: "mesos.v1.scheduler.Event" };
                self.step(Input::Call { call, stream_id, principal }, Some(caller));
            }
            Message::Operator { call, encoding, reply } => {
                let caller = Caller { reply, encoding, events: "mesos.v1.master.Event" };
                self.step(Input::Operator(call), Some(caller));
            }
            Message::Link { reply } => {
                let link = self.out.link();
                let id = link.id;
                if reply.send(link).is_ok() {
                    self.step(Input::Linked(id), None);
                }
            }
            Message::Agent(link, message) => self.step(Input::Agent(link, message), None),
            Message::DropSchedulers => self.step(Input::DropSchedulers, None),
            Message::Inject(record) => {
                for feed in self.out.feeds.values() {
                    feed.send_raw(&record);
                }
            }
            // Obeyed by the loop itself.
            Message::Stall(_) => {}
        }
    }

    fn step(&mut self, input: Input, mut caller: Option<Caller>) {
        let effects = self.core.step(input, self.clock.now());
        let mut reply = None;
        for effect in effects {
            match effect {
                Effect::Answer(answer) => {
                    if let Some(caller) = caller.take() {
                        reply = Some((self.out.reply(answer, &caller), caller.reply));
                    }
                }
                other => self.out.act(other),
            }
        }
        if let Some((reply, caller)) = reply {
            // A caller that has gone meanwhile does not want to know.
            drop(caller.send(reply));
        }
    }
}

struct Caller {
    reply: oneshot::Sender<Reply>,
    encoding: Encoding,
    events: &'static str,
}

impl Outside {
    fn link(&mut self) -> AgentLink {
        self.next_link += 1;
        let id = LinkId(self.next_link);
        let (to_agent, from_master) = mpsc::channel(LINK);
        let broken = CancellationToken::new();
        let (watched, cut) = (to_agent.clone(), broken.clone());
        self.departures.push(Box::pin(async move {
            tokio::select! {
                () = watched.closed() => {}
                () = cut.cancelled() => {}
            }
            Departure::Agent(id)
        }));
        self.links.insert(id, Link { to_agent, broken: broken.clone().drop_guard() });
        AgentLink { id, from_master, broken }
    }

    fn reply(&mut self, answer: Answer, caller: &Caller) -> Reply {
        match answer {
            Answer::Refused(status, text) => Reply::Refused(status, text),
            Answer::Accepted => Reply::Accepted,
            Answer::Done => Reply::Done,
            Answer::Response(response) => Reply::Response(response),
            Answer::Stream { connection, stream_id } => {
                let (feed, body) = stream::open(caller.events, caller.encoding, self.chunking);
                let closed = feed.closed();
                self.departures.push(Box::pin(async move {
                    closed.await;
                    Departure::Reader(connection)
                }));
                self.feeds.insert(connection, feed);
                Reply::Stream { body, stream_id }
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(_) => {}
            Effect::Send(connection, event) => {
                if let Some(feed) = self.feeds.get(&connection) {
                    feed.send(&*event);
                }
            }
            Effect::Publish(connection, event) => {
                if let Some(feed) = self.feeds.get(&connection) {
                    feed.send(&*event);
                }
            }
            Effect::Close(connection) => {
                if let Some(feed) = self.feeds.remove(&connection) {
                    feed.end();
                }
            }
            Effect::Abort(connection) => {
                self.feeds.remove(&connection);
            }
            Effect::Tell(link, message) => {
                if self.links.get(&link).is_some_and(|link| link.to_agent.try_send(message).is_err()) {
                    self.break_link(link);
                }
            }
            Effect::Unlink(link) => self.break_link(link),
            Effect::Remember(registry) => {
                if let Err(error) = registry::save(&self.registry, &registry) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot keep the registry of agents"
                    );
                }
            }
        }
    }

    fn break_link(&mut self, link: LinkId) {
        if let Some(link) = self.links.remove(&link) {
            drop(link.broken);
        }
    }
}
