//! Holds one agent, running or not, and makes it fail on demand.

mod attributes;

use super::{Shared, VERSION};
use crate::agent::checkpoint::Checkpoint;
use crate::agent::core::Birth;
use crate::agent::environment::AgentSide;
use crate::agent::http::{AgentHttp, AgentSocket};
use crate::agent::run::{Agent, Detector, Inbox, Message, Surroundings};
use crate::agent::tokens::Tokens;
use crate::directory::agent_name;
use crate::error::Error;
use crate::faults::{self, Fault};
use crate::link::Described;
use crate::master::run::AgentLink;
use crate::resources::Resources;
use crate::settings::{Ability, Node};
use crate::wire::server::{self, Mode};
use crate::wire::socket;
use mesos::agent_info::capability::Type;
use proto::mesos::v1 as mesos;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One agent of a cluster.
#[derive(Debug)]
pub struct AgentHandle {
    shared: Arc<Shared>,
    index: usize,
    detector: Detector,
    mode: watch::Sender<Mode>,
    faults: watch::Sender<Vec<Fault>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    /// The link of an agent that vanished: nobody answers on it, and it does not break.
    limbo: Option<AgentLink>,
}

#[derive(Debug)]
struct Running {
    inbox: Inbox,
    address: SocketAddr,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    resume: Option<oneshot::Sender<()>>,
}

impl AgentHandle {
    pub(super) fn new(shared: Arc<Shared>, index: usize, detector: Detector) -> Self {
        let (mode, _) = watch::channel(Mode::Up);
        let (faults, _) = watch::channel(Vec::new());
        Self { shared, index, detector, mode, faults, state: Mutex::new(State::default()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> Result<&Node, Error> {
        let node = self.shared.settings.nodes.get(self.index);
        node.ok_or_else(|| Error::NotRunning(agent_name(self.index)))
    }

    /// Where it listens, while it runs.
    pub fn address(&self) -> Option<SocketAddr> {
        self.lock().running.as_ref().map(|running| running.address)
    }

    /// Its work directory, which holds the sandboxes.
    pub fn work_dir(&self) -> PathBuf {
        self.shared.directory.agent(self.index)
    }

    /// Starts it (again): executors that live are taken over.
    pub async fn start(&self) -> Result<(), Error> {
        if self.lock().running.is_some() {
            return Ok(());
        }
        let node = self.node()?;
        let listener = self.shared.directory.listen(&agent_name(self.index), node.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Listen { address: SocketAddr::from(([127, 0, 0, 1], 0)), source })?;
        let work_dir = self.work_dir();
        let (checkpoint, left) = Checkpoint::open(&work_dir)?;
        let settings = &self.shared.settings;
        let described = describe(node, address, left.info);
        let tokens = settings.executor_tokens.then(|| Tokens::open(&work_dir)).transpose()?;
        let domain_socket = settings.domain_sockets.then(|| work_dir.join("agent.sock"));
        let side = AgentSide {
            pid: described.pid.clone(),
            endpoint: address.to_string(),
            variables: node.executor_env.clone(),
            timings: settings.timings.clone(),
            tokens: tokens.clone(),
            domain_socket: domain_socket.clone(),
        };
        let birth = Birth {
            described,
            timings: settings.timings.clone(),
            recovered: left.frameworks,
            seed: rand::random(),
        };
        let around = Surroundings {
            clock: self.shared.clock,
            work_dir: work_dir.clone(),
            side,
            checkpoint,
            chunking: settings.chunking,
            detector: self.detector.clone(),
            faults: self.faults.subscribe(),
        };
        let (agent, inbox) = Agent::new(birth, around);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(agent, agent_name(self.index), stop.clone()));
        let http = AgentHttp { inbox: inbox.clone(), version: VERSION.into(), work_dir, tokens };
        if let Some(path) = &domain_socket {
            let (listener, http) = (socket::listen(path)?, AgentSocket(http.clone()));
            tasks.spawn(server::serve(listener, http, self.mode.subscribe(), stop.clone()));
        }
        tasks.spawn(server::serve(listener, http, self.mode.subscribe(), stop.clone()));
        let mut state = self.lock();
        state.running = Some(Running { inbox, address, tasks, stop, resume: None });
        // The old link breaks only now, so that the master sees the agent come back, not go.
        state.limbo = None;
        Ok(())
    }

    /// Ends the agent as `kill -9` does: its connections break, its executors live on.
    pub async fn kill(&self) {
        let running = self.lock().running.take();
        if let Some(mut running) = running {
            running.stop.cancel();
            running.tasks.shutdown().await;
        }
    }

    /// `kill`, then `start`.
    pub async fn restart(&self) -> Result<(), Error> {
        self.kill().await;
        self.start().await
    }

    /// Ends the agent and its executors as when a machine loses its power: the master only notices that it does not
    /// answer any more.
    pub async fn vanish(&self) -> Result<(), Error> {
        let (link, kept) = oneshot::channel();
        self.tell(Message::Vanish { link }).await?;
        let link = kept.await.ok().flatten();
        self.kill().await;
        self.lock().limbo = link;
        Ok(())
    }

    /// Starts the agent after `vanish`.
    pub async fn come_back(&self) -> Result<(), Error> {
        self.start().await
    }

    /// Stops the agent's work with all connections open, until `resume`.
    pub async fn stall(&self) -> Result<(), Error> {
        let (resume, until) = oneshot::channel();
        self.tell(Message::Stall(until)).await?;
        if let Some(running) = self.lock().running.as_mut() {
            running.resume = Some(resume);
        }
        Ok(())
    }

    /// Goes on after `stall`.
    pub fn resume(&self) {
        if let Some(running) = self.lock().running.as_mut() {
            running.resume = None;
        }
    }

    /// Says good-bye to the master and ends every executor; a later start takes the agent in again.
    pub async fn unregister(&self) -> Result<(), Error> {
        self.tell(Message::Unregister).await
    }

    /// Breaks the streams of all its executors.
    pub async fn drop_executors(&self) -> Result<(), Error> {
        self.tell(Message::DropExecutors).await
    }

    /// Replaces what goes wrong; nothing does when there are none. Faults outlast restarts.
    pub fn set_faults(&self, faults: &[Fault]) {
        self.mode.send_replace(faults::mode(faults));
        self.faults.send_replace(faults.to_vec());
    }

    /// Makes its HTTP side behave like an agent that starts, recovers, or does not answer.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Ends every executor within its grace period, then the agent.
    pub(super) async fn stop(&self) {
        let (done, all_ended) = oneshot::channel();
        self.resume();
        if self.tell(Message::Stop { done }).await.is_err() {
            self.kill_leftovers();
        } else {
            // Each executor is destroyed when its grace period is over; an agent that fails meanwhile drops `done`.
            drop(tokio::time::timeout(LONGEST_STOP, all_ended).await);
        }
        self.kill().await;
    }

    /// Kills what an agent that does not run has left running.
    fn kill_leftovers(&self) {
        let left = match Checkpoint::open(&self.work_dir()) {
            Ok((_, left)) => left,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::warn!(error, "cannot find out which executors an agent has left running");
            }
        };
        for process in
            left.frameworks.iter().flat_map(|framework| &framework.executors).filter_map(|e| e.process)
        {
            if process.is_alive() {
                process.kill_group();
            }
        }
    }

    async fn tell(&self, message: Message) -> Result<(), Error> {
        let inbox = self.lock().running.as_ref().map(|running| running.inbox.clone());
        match inbox {
            Some(inbox) if inbox.tell(message).await => Ok(()),
            _ => Err(Error::NotRunning(agent_name(self.index))),
        }
    }
}

/// An executor may ask for a long grace period; a cluster that stops does not wait longer than this.
const LONGEST_STOP: Duration = Duration::from_secs(120);

async fn run(agent: Agent, name: String, stop: CancellationToken) {
    if let Err(error) = agent.run(stop.clone()).await {
        tracing::error!(name, error = &error as &dyn std::error::Error, "an agent cannot go on");
    }
    stop.cancel();
}

/// What the settings say, with the reservations that were made, as long as both are the same amounts.
fn with_reservations(wanted: Vec<mesos::Resource>, known: &[mesos::Resource]) -> Vec<mesos::Resource> {
    let (Ok(new), Ok(old)) = (Resources::read(&wanted), Resources::read(known)) else { return wanted };
    let old = old.unreserved();
    if new.contains(&old) && old.contains(&new) { known.to_vec() } else { wanted }
}

/// What an agent can do that lacks these abilities.
fn capabilities(lacks: &[Ability]) -> Vec<Type> {
    let all = [
        (Type::MultiRole, Some(Ability::MultiRole)),
        (Type::HierarchicalRole, None),
        (Type::ReservationRefinement, None),
        (Type::ResourceProvider, None),
        (Type::ResizeVolume, None),
        (Type::AgentOperationFeedback, Some(Ability::OperationFeedback)),
        (Type::AgentDraining, None),
        (Type::TaskResourceLimits, Some(Ability::TaskLimits)),
    ];
    let has = all.iter().filter(|(_, ability)| ability.is_none_or(|ability| !lacks.contains(&ability)));
    has.map(|(capability, _)| *capability).collect()
}

/// How an agent describes itself; the id that it had is kept.
pub(crate) fn describe(node: &Node, address: SocketAddr, known: Option<mesos::AgentInfo>) -> Described {
    let scalar = |name: &str, value: f64| mesos::Resource {
        name: name.to_owned(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    };
    let scalars = [("cpus", node.cpus), ("mem", node.mem), ("disk", node.disk), ("gpus", node.gpus)];
    let mut resources: Vec<mesos::Resource> = scalars
        .into_iter()
        .filter(|(_, value)| *value > 0.0)
        .map(|(name, value)| scalar(name, value))
        .collect();
    let (begin, end) = node.ports;
    resources.push(mesos::Resource {
        name: "ports".into(),
        r#type: mesos::value::Type::Ranges.into(),
        ranges: Some(mesos::value::Ranges { range: vec![mesos::value::Range { begin, end }] }),
        ..Default::default()
    });
    let domain = node.domain.as_ref().map(super::domain);
    if let Some(known) = &known {
        resources = with_reservations(resources, &known.resources);
    }
    Described {
        info: mesos::AgentInfo {
            hostname: node.hostname.clone(),
            resources,
            attributes: node.attributes.iter().map(|(name, value)| attributes::read(name, value)).collect(),
            id: known.and_then(|known| known.id),
            port: Some(i32::from(address.port())),
            domain,
        },
        pid: format!("slave(1)@{address}"),
        version: VERSION.into(),
        capabilities: capabilities(&node.lacks),
    }
}
