//! A crowd of agents without processes, HTTP or files, on a master that is real: what it is like to have thousands of nodes.
//!
//! Each agent is the decision core of a real one, in a task of its own, linked to the master as real ones are. It starts
//! nothing: it says which executor it would start, subscribes in the executor's name, and says what the executor says.

use super::{MasterHandle, Shared};
use crate::clock::Clock;
use crate::deterministic::{Agent, AgentDid, Answer, Disk, Launch, ToAgent, ToMaster};
use crate::directory::Directory;
use crate::error::Error;
use crate::master::run::{AgentLink, Inbox, Message};
use crate::settings::Settings;
use executor::call::Type;
use mesos::TaskState;
use prost::Message as _;
use proto::mesos::v1::{self as mesos, executor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// So many commands wait for an agent.
const COMMANDS: usize = 16;
/// How long an agent that could not be linked waits.
const LINK_AGAIN: Duration = Duration::from_millis(200);

/// What an executor in a crowd has to know or to do.
#[derive(Clone, Debug)]
pub enum Happened {
    /// It is to start; it has said that it is STARTING.
    Launched(Box<Launch>),
    /// The scheduler sent it a message.
    Message(Vec<u8>),
    /// It is to end, or its machine has lost its power.
    Ended,
}

enum Command {
    Run,
    Leave,
    Return,
    Unplug(Duration),
}

/// A master and its crowd. It ends when it is dropped.
#[derive(Debug)]
pub struct Crowd {
    master: MasterHandle,
    agents: Vec<mpsc::Sender<Command>>,
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// Starts a master, and an agent for each node of the settings. What happens to the executors comes out of `happened`,
    /// with the number of their agent; while that is full, agents wait.
    pub async fn start(settings: Settings, happened: mpsc::Sender<(usize, Happened)>) -> Result<Self, Error> {
        let directory = Directory::open(&settings.data_dir)?;
        let shared = Arc::new(Shared { settings, directory, clock: Clock::start() });
        let (leader, detector) = watch::channel(None);
        let master = MasterHandle::start(shared.clone(), leader).await?;
        let (mut agents, mut tasks) = (Vec::new(), JoinSet::new());
        for index in 0..shared.settings.nodes.len() {
            let (sender, commands) = mpsc::channel(COMMANDS);
            let member = Member {
                shared: shared.clone(),
                index,
                detector: detector.clone(),
                happened: happened.clone(),
                link: None,
                run: None,
            };
            tasks.spawn(member.live(commands));
            agents.push(sender);
        }
        Ok(Self { master, agents, _tasks: tasks })
    }

    /// Where the master listens.
    pub fn master(&self) -> SocketAddr {
        self.master.address()
    }

    /// How many agents there are.
    #[allow(clippy::len_without_is_empty, reason = "a crowd has at least somebody")]
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// The executor of this agent says that it is RUNNING.
    pub async fn runs(&self, agent: usize) {
        self.tell(agent, Command::Run).await;
    }

    /// The agent says good-bye and its executor ends; what it had written down is lost.
    pub async fn leave(&self, agent: usize) {
        self.tell(agent, Command::Leave).await;
    }

    /// A new agent comes where one has left.
    pub async fn return_anew(&self, agent: usize) {
        self.tell(agent, Command::Return).await;
    }

    /// The agent loses its connection to the master for so long; its executor goes on.
    pub async fn unplug(&self, agent: usize, pause: Duration) {
        self.tell(agent, Command::Unplug(pause)).await;
    }

    async fn tell(&self, agent: usize, command: Command) {
        if let Some(sender) = self.agents.get(agent)
            && sender.send(command).await.is_err()
        {
            tracing::error!(agent, "an agent of the crowd has ended");
        }
    }
}

/// One agent.
struct Member {
    shared: Arc<Shared>,
    index: usize,
    detector: watch::Receiver<Option<Inbox>>,
    happened: mpsc::Sender<(usize, Happened)>,
    link: Option<(Inbox, AgentLink)>,
    run: Option<Run>,
}

/// An agent that runs, and its executor.
struct Run {
    agent: Agent,
    executor: Option<Executor>,
}

struct Executor {
    launch: Launch,
    task: Option<mesos::TaskId>,
    /// It runs, as soon as it has its task.
    running: bool,
    said_running: bool,
}

impl Member {
    async fn live(mut self, mut commands: mpsc::Receiver<Command>) {
        self.begin().await;
        loop {
            let wake = self.run.as_ref().and_then(|run| run.agent.next_wake());
            let clock = self.shared.clock;
            let link = self.link.as_mut().map(|(_, link)| link);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                message = heard(link) => match message {
                    Some(message) => self.step(|agent, now| agent.heard(ToAgent(message), now)).await,
                    None => {
                        self.link = None;
                        self.step(Agent::unlinked).await;
                        tokio::time::sleep(LINK_AGAIN).await;
                        self.connect().await;
                    }
                },
                () = sleep_until(wake.map(|wake| clock.instant(wake))) => self.step(Agent::tick).await,
            }
        }
    }

    /// A machine boots: a new agent on it.
    async fn begin(&mut self) {
        let Some(node) = self.shared.settings.nodes.get(self.index) else { return };
        // Nobody listens there; it only has to be another one for each agent.
        let number = u32::try_from(self.index).unwrap_or(u32::MAX);
        let address = SocketAddr::from((Ipv4Addr::from(0x0a00_0001_u32.saturating_add(number)), 5051));
        let timings = &self.shared.settings.timings;
        let now = self.shared.clock.now();
        let agent = Agent::started((node, address), timings, Disk::default(), rand::random(), now);
        self.run = Some(Run { agent, executor: None });
        self.step(Agent::tick).await;
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Run => {
                if let Some(executor) = self.run.as_mut().and_then(|run| run.executor.as_mut()) {
                    executor.running = true;
                }
                self.say_running().await;
            }
            Command::Leave => {
                if let Some((inbox, link)) = self.link.take() {
                    inbox.tell(Message::Agent(link.id, crate::link::ToMaster::Unregister)).await;
                }
                self.run = None;
                self.report(Happened::Ended).await;
            }
            Command::Return if self.run.is_none() => self.begin().await,
            Command::Return => {}
            Command::Unplug(pause) => {
                self.link = None;
                self.step(Agent::unlinked).await;
                tokio::time::sleep(pause).await;
                self.connect().await;
            }
        }
    }

    async fn connect(&mut self) {
        if self.run.is_none() {
            return;
        }
        let found = self.detector.wait_for(|leader| leader.as_ref().is_some_and(|inbox| !inbox.is_closed()));
        let Ok(Some(inbox)) = found.await.map(|leader| leader.clone()) else { return };
        if let Some(link) = inbox.link().await {
            self.link = Some((inbox, link));
            self.step(Agent::linked).await;
        }
    }

    /// Lets the agent take something in, and does what follows from it and from that.
    async fn step(&mut self, input: impl FnOnce(&mut Agent, Duration) -> Vec<AgentDid>) {
        let Some(run) = &mut self.run else { return };
        let mut todo: Vec<AgentDid> = input(&mut run.agent, self.shared.clock.now());
        while !todo.is_empty() {
            let mut next = Vec::new();
            for did in todo {
                next.extend(Box::pin(self.follow(did)).await);
            }
            todo = next;
        }
    }

    async fn follow(&mut self, did: AgentDid) -> Vec<AgentDid> {
        let now = self.shared.clock.now();
        match did {
            AgentDid::Told(ToMaster(message)) => {
                if let Some((inbox, link)) = &self.link {
                    inbox.tell(Message::Agent(link.id, message)).await;
                }
            }
            AgentDid::Joins => self.connect().await,
            AgentDid::Launches(launch) => return self.launched(*launch, now).await,
            AgentDid::Sent(_, event) => return self.executor_heard(*event, now).await,
            AgentDid::Destroys(container) => return self.exited(&container, now).await,
            AgentDid::Answered(Answer::Refused(status, text)) => {
                tracing::error!(status, text, "a call of a virtual executor was refused");
            }
            AgentDid::Answered(_) | AgentDid::Closed(_) | AgentDid::Stopped => {}
        }
        Vec::new()
    }

    async fn launched(&mut self, launch: Launch, now: Duration) -> Vec<AgentDid> {
        let Some(run) = &mut self.run else { return Vec::new() };
        let mut did = run.agent.container_started(&launch.container, 1, now);
        let subscribe = executor::Call {
            subscribe: Some(executor::call::Subscribe::default()),
            ..call(&launch, Type::Subscribe)
        };
        did.extend(run.agent.called(&subscribe.encode_to_vec(), now));
        run.executor =
            Some(Executor { launch: launch.clone(), task: None, running: false, said_running: false });
        self.report(Happened::Launched(Box::new(launch))).await;
        did
    }

    async fn executor_heard(&mut self, event: executor::Event, now: Duration) -> Vec<AgentDid> {
        if let Some(message) = event.message {
            self.report(Happened::Message(message.data)).await;
            return Vec::new();
        }
        if let Some(launch) = event.launch {
            if let Some(executor) = self.run.as_mut().and_then(|run| run.executor.as_mut()) {
                executor.task = Some(launch.task.task_id);
            }
            let mut did = self.says(TaskState::TaskStarting, now);
            did.extend(self.runs_if_it_can(now));
            return did;
        }
        let ends = event.kill.is_some()
            || event.r#type == Some(executor::event::Type::Shutdown.into())
            || event.r#type == Some(executor::event::Type::Kill.into());
        if !ends {
            return Vec::new();
        }
        let mut did = self.says(TaskState::TaskKilled, now);
        let container = self.run.as_ref().and_then(|run| run.executor.as_ref());
        if let Some(container) = container.map(|executor| executor.launch.container.clone()) {
            did.extend(self.exited(&container, now).await);
        }
        did
    }

    async fn exited(&mut self, container: &str, now: Duration) -> Vec<AgentDid> {
        let Some(run) = &mut self.run else { return Vec::new() };
        run.executor.take_if(|executor| executor.launch.container == container);
        let did = run.agent.container_exited(container, 0, now);
        self.report(Happened::Ended).await;
        did
    }

    async fn say_running(&mut self) {
        let now = self.shared.clock.now();
        let did = self.runs_if_it_can(now);
        self.step(|_, _| did).await;
    }

    fn runs_if_it_can(&mut self, now: Duration) -> Vec<AgentDid> {
        let executor = self.run.as_mut().and_then(|run| run.executor.as_mut());
        match executor
            .filter(|executor| executor.running && executor.task.is_some() && !executor.said_running)
        {
            Some(executor) => {
                executor.said_running = true;
                self.says(TaskState::TaskRunning, now)
            }
            None => Vec::new(),
        }
    }

    fn says(&mut self, state: TaskState, now: Duration) -> Vec<AgentDid> {
        let Some(run) = &mut self.run else { return Vec::new() };
        let Some((executor, task_id)) =
            run.executor.as_ref().and_then(|executor| Some((executor, executor.task.clone()?)))
        else {
            return Vec::new();
        };
        let status = mesos::TaskStatus {
            task_id,
            state: state.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()),
            ..Default::default()
        };
        let update = executor::Call {
            update: Some(executor::call::Update { status }),
            ..call(&executor.launch, Type::Update)
        };
        run.agent.called(&update.encode_to_vec(), now)
    }

    async fn report(&self, happened: Happened) {
        if self.happened.send((self.index, happened)).await.is_err() {
            tracing::debug!("nobody plays the executors any more");
        }
    }
}

fn call(launch: &Launch, kind: Type) -> executor::Call {
    executor::Call {
        framework_id: mesos::FrameworkId { value: launch.framework_id.clone() },
        executor_id: launch.executor.executor_id.clone(),
        r#type: Some(kind.into()),
        ..Default::default()
    }
}

/// The next message of the master; `None`: the link is broken. Without a link nothing comes.
async fn heard(link: Option<&mut AgentLink>) -> Option<crate::link::ToAgent> {
    let Some(link) = link else { return std::future::pending().await };
    tokio::select! {
        biased;
        message = link.from_master.recv() => message,
        () = link.broken.cancelled() => None,
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
