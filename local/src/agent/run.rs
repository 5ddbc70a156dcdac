//! Runs an agent: one task owns the core, its containers and its files, feeds the core what happens, and does what it
//! decides.

use super::checkpoint::Checkpoint;
use super::containers;
use super::core::{Answer, Birth, Claims, ConnectionId, ContainerId, Core, Effect, Input};
use super::environment::AgentSide;
use super::process::Process;
use crate::clock::Clock;
use crate::error::Error;
use crate::faults::Fault;
use crate::link::ToAgent;
use crate::master::run::{AgentLink, Inbox as MasterInbox, Message as MasterMessage};
use crate::settings::Chunking;
use crate::wire::body::Body;
use crate::wire::content::Encoding;
use crate::wire::stream::{self, Feed};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use proto::mesos::v1::{agent as operator_api, executor};
use std::collections::HashMap;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// So many messages wait for the agent; who sends more waits.
const INBOX: usize = 256;
/// So many container events wait for the agent; more wait in their containers' tasks.
const CONTAINER_EVENTS: usize = 64;

/// What the agent's task is told.
pub(crate) enum Message {
    Call {
        call: Box<executor::Call>,
        claims: Option<Claims>,
        encoding: Encoding,
        reply: oneshot::Sender<Reply>,
    },
    Operator {
        call: Box<operator_api::Call>,
        reply: oneshot::Sender<Reply>,
    },
    /// End every executor; answered when the last one has ended.
    Stop {
        done: oneshot::Sender<()>,
    },
    /// Leave the cluster for good.
    Unregister,
    /// Break the streams of all executors.
    DropExecutors,
    /// Do nothing until then.
    Stall(oneshot::Receiver<()>),
    /// Kill every executor without a word and end, but keep the link to the master open.
    Vanish {
        link: oneshot::Sender<Option<AgentLink>>,
    },
}

/// What an HTTP caller gets.
pub(crate) enum Reply {
    Refused(u16, String),
    Accepted,
    Stream(Body),
    Response(Box<operator_api::Response>),
}

/// What others hold of a running agent.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(mpsc::Sender<Message>);

impl Inbox {
    /// Tells the agent; false when it no longer runs.
    pub(crate) async fn tell(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }
}

/// Where the leading master is; none while there is none.
pub(crate) type Detector = watch::Receiver<Option<MasterInbox>>;

/// Everything around one agent that does not change while it runs.
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) work_dir: PathBuf,
    pub(crate) side: AgentSide,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) chunking: Chunking,
    pub(crate) detector: Detector,
    pub(crate) faults: watch::Receiver<Vec<Fault>>,
}

/// An agent that does not run yet.
pub(crate) struct Agent {
    core: Core,
    inbox: mpsc::Receiver<Message>,
    container_events: mpsc::Receiver<Input>,
    detector: Detector,
    out: Outside,
}

/// Everything outside the core.
struct Outside {
    clock: Clock,
    work_dir: PathBuf,
    side: AgentSide,
    checkpoint: Checkpoint,
    chunking: Chunking,
    feeds: HashMap<ConnectionId, Feed>,
    departures: FuturesUnordered<BoxFuture<'static, ConnectionId>>,
    containers: JoinSet<()>,
    destroy: HashMap<ContainerId, CancellationToken>,
    processes: HashMap<ContainerId, Process>,
    container_events: mpsc::Sender<Input>,
    /// The agent looks for a master only after recovery.
    joining: bool,
    faults: watch::Receiver<Vec<Fault>>,
    /// Not before then, after a master was lost.
    return_at: Option<tokio::time::Instant>,
    master: Option<Connected>,
    stopped: bool,
    waiting_for_stop: Vec<oneshot::Sender<()>>,
}

struct Connected {
    inbox: MasterInbox,
    link: AgentLink,
}

enum Event {
    Message(Option<Message>),
    Container(Input),
    Departure(ConnectionId),
    FromMaster(ToAgent),
    MasterLost,
    MasterFound(MasterInbox),
    Timer,
}

impl Agent {
    pub(crate) fn new(birth: Birth, around: Surroundings) -> (Self, Inbox) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (events, container_events) = mpsc::channel(CONTAINER_EVENTS);
        let Surroundings { clock, work_dir, side, checkpoint, chunking, detector, faults } = around;
        let mut out = Outside {
            clock,
            work_dir,
            side,
            checkpoint,
            chunking,
            feeds: HashMap::new(),
            departures: FuturesUnordered::new(),
            containers: JoinSet::new(),
            destroy: HashMap::new(),
            processes: HashMap::new(),
            container_events: events,
            joining: false,
            faults,
            return_at: None,
            master: None,
            stopped: false,
            waiting_for_stop: Vec::new(),
        };
        for executor in birth.recovered.iter().flat_map(|framework| &framework.executors) {
            out.adopt(executor.container.clone(), executor.process);
        }
        (Self { core: Core::new(birth, clock.now()), inbox, container_events, detector, out }, Inbox(sender))
    }

    /// Runs until told to stop; then the agent is gone as after `kill -9`: its containers live on.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            let wake = self.core.next_wake().map(|wake| self.out.clock.instant(wake));
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                event = self.next(wake) => event,
            };
            match event {
                Event::Message(None) => return Ok(()),
                Event::Message(Some(Message::Vanish { link })) => {
                    self.out.kill_everything();
                    // Whoever asked for the link may be gone; then it breaks.
                    drop(link.send(self.out.master.take().map(|master| master.link)));
                    return Ok(());
                }
                Event::Message(Some(Message::Stall(until))) => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        _ = until => {}
                    }
                }
                Event::Message(Some(message)) => self.on_message(message).await?,
                Event::Container(input) => {
                    self.out.note(&input);
                    self.step(input, None).await?;
                }
                Event::Departure(connection) => {
                    self.out.feeds.remove(&connection);
                    self.step(Input::Disconnected(connection), None).await?;
                }
                Event::FromMaster(message) => self.step(Input::Master(message), None).await?,
                Event::MasterLost => {
                    self.out.master = None;
                    self.out.return_at = self.out.late_return();
                    self.step(Input::Unlinked, None).await?;
                }
                Event::MasterFound(inbox) => {
                    if let Some(link) = inbox.link().await {
                        self.out.master = Some(Connected { inbox, link });
                        self.step(Input::Linked, None).await?;
                    }
                }
                Event::Timer => self.step(Input::Tick, None).await?,
            }
        }
    }

    async fn next(&mut self, wake: Option<tokio::time::Instant>) -> Event {
        let out = &mut self.out;
        let seeking = out.joining && !out.stopped && out.master.is_none();
        tokio::select! {
            Some(connection) = out.departures.next() => Event::Departure(connection),
            Some(input) = self.container_events.recv() => Event::Container(input),
            message = self.inbox.recv() => Event::Message(message),
            event = from_master(&mut out.master) => event,
            inbox = find_master(&mut self.detector, out.return_at), if seeking => Event::MasterFound(inbox),
            () = sleep_until(wake) => Event::Timer,
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Call { call, claims, encoding, reply } => {
                self.step(Input::Call(call, claims), Some((reply, encoding))).await
            }
            Message::Operator { call, reply } => {
                self.step(Input::Operator(call), Some((reply, Encoding::Protobuf))).await
            }
            Message::Stop { done } => {
                self.out.waiting_for_stop.push(done);
                if self.out.stopped {
                    self.out.tell_stopped();
                }
                self.step(Input::Stop, None).await
            }
            Message::Unregister => self.step(Input::Unregister, None).await,
            Message::DropExecutors => {
                self.out.feeds.clear();
                Ok(())
            }
            // Both are obeyed by the loop itself.
            Message::Stall(_) | Message::Vanish { .. } => Ok(()),
        }
    }

    async fn step(
        &mut self,
        input: Input,
        mut caller: Option<(oneshot::Sender<Reply>, Encoding)>,
    ) -> Result<(), Error> {
        while let Some(Ok(())) = self.out.containers.try_join_next() {}
        let effects = self.core.step(input, self.out.clock.now());
        let mut reply = None;
        for effect in effects {
            match effect {
                Effect::Answer(answer) => {
                    if let Some((caller, encoding)) = caller.take() {
                        reply = Some((self.out.reply(answer, encoding), caller));
                    }
                }
                other => self.out.act(other).await?,
            }
        }
        if let Some((reply, caller)) = reply {
            // A caller that has gone meanwhile does not want to know.
            drop(caller.send(reply));
        }
        Ok(())
    }
}

async fn from_master(master: &mut Option<Connected>) -> Event {
    let Some(master) = master else { return std::future::pending().await };
    tokio::select! {
        biased;
        message = master.link.from_master.recv() => message.map_or(Event::MasterLost, Event::FromMaster),
        () = master.link.broken.cancelled() => Event::MasterLost,
        () = master.inbox.closed() => Event::MasterLost,
    }
}

/// Waits for a master that runs.
async fn find_master(detector: &mut Detector, not_before: Option<tokio::time::Instant>) -> MasterInbox {
    if let Some(moment) = not_before {
        tokio::time::sleep_until(moment).await;
    }
    loop {
        let found = detector.borrow_and_update().clone().filter(|inbox| !inbox.is_closed());
        if let Some(inbox) = found {
            return inbox;
        }
        if detector.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

impl Outside {
    fn reply(&mut self, answer: Answer, encoding: Encoding) -> Reply {
        match answer {
            Answer::Refused(status, text) => Reply::Refused(status, text),
            Answer::Accepted => Reply::Accepted,
            Answer::Response(response) => Reply::Response(response),
            Answer::Stream(connection) => {
                let (feed, body) = stream::open("mesos.v1.executor.Event", encoding, self.chunking);
                let closed = feed.closed();
                self.departures.push(Box::pin(async move {
                    closed.await;
                    connection
                }));
                self.feeds.insert(connection, feed);
                Reply::Stream(body)
            }
        }
    }

    async fn act(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Answer(_) => {}
            Effect::Send(connection, event) => {
                if let Some(feed) = self.feeds.get(&connection) {
                    feed.send(&*event);
                }
            }
            Effect::Close(connection) => {
                if let Some(feed) = self.feeds.remove(&connection) {
                    feed.end();
                }
            }
            Effect::Tell(message) => {
                if let Some(master) = &self.master {
                    // A master that has ended meanwhile is noticed by the loop.
                    master.inbox.tell(MasterMessage::Agent(master.link.id, message)).await;
                }
            }
            Effect::Join => self.joining = true,
            Effect::Keep(keep) => self.checkpoint.keep(&keep)?,
            Effect::Launch(launch) => {
                let destroy = CancellationToken::new();
                self.destroy.insert(launch.run.container.clone(), destroy.clone());
                let (side, work_dir) = (self.side.clone(), self.work_dir.clone());
                let events = self.container_events.clone();
                let faults = self.faults.borrow().clone();
                self.containers.spawn(containers::run(*launch, side, (work_dir, faults), destroy, events));
            }
            Effect::Destroy(container) => {
                if let Some(destroy) = self.destroy.get(&container) {
                    destroy.cancel();
                }
            }
            Effect::Stopped => {
                self.stopped = true;
                self.tell_stopped();
            }
        }
        Ok(())
    }

    /// Remembers what runs in which container, for `kill_everything`.
    fn note(&mut self, input: &Input) {
        match input {
            Input::Started(container, process) => {
                self.processes.insert(container.clone(), *process);
            }
            Input::Exited { container, .. } | Input::LaunchFailed { container, .. } => {
                self.processes.remove(container);
                self.destroy.remove(container);
            }
            _ => {}
        }
    }

    /// When the agent may look for another master, if that is to take longer.
    fn late_return(&self) -> Option<tokio::time::Instant> {
        let faults = self.faults.borrow();
        let late = faults.iter().find_map(|fault| match fault {
            Fault::LateReturn(late) => Some(*late),
            _ => None,
        });
        late.map(|late| tokio::time::Instant::now() + late)
    }

    fn kill_everything(&mut self) {
        for process in self.processes.values().filter(|process| process.is_alive()) {
            process.kill_group();
        }
    }

    fn adopt(&mut self, container: ContainerId, process: Option<Process>) {
        let destroy = CancellationToken::new();
        self.destroy.insert(container.clone(), destroy.clone());
        self.processes.extend(process.map(|process| (container.clone(), process)));
        self.containers.spawn(containers::adopt(container, process, destroy, self.container_events.clone()));
    }

    fn tell_stopped(&mut self) {
        for done in self.waiting_for_stop.drain(..) {
            if done.send(()).is_err() {
                tracing::debug!("nobody waits any more for this agent to stop");
            }
        }
    }
}
