//! Holds the running master, and makes it fail on demand.

use super::{Shared, VERSION};
use crate::error::Error;
use crate::faults::{self, Fault};
use crate::master::core::Birth;
use crate::master::http::MasterHttp;
use crate::master::registry;
use crate::master::run::{Inbox, Master, Message};
use crate::wire::server::{self, Mode};
use proto::mesos::v1 as mesos;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The master of a cluster.
#[derive(Debug)]
pub struct MasterHandle {
    shared: Arc<Shared>,
    leader: watch::Sender<Option<Inbox>>,
    mode: watch::Sender<Mode>,
    faults: watch::Sender<Vec<Fault>>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    inbox: Inbox,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    resume: Option<oneshot::Sender<()>>,
}

impl MasterHandle {
    pub(super) async fn start(
        shared: Arc<Shared>,
        leader: watch::Sender<Option<Inbox>>,
    ) -> Result<Self, Error> {
        let listener = shared.directory.listen("master", shared.settings.master_listen).await?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Listen { address: SocketAddr::from(([127, 0, 0, 1], 0)), source })?;
        let (mode, _) = watch::channel(Mode::Up);
        let (faults, _) = watch::channel(Vec::new());
        let handle = Self { shared, leader, mode, faults, address, running: Mutex::new(None) };
        handle.run(listener)?;
        Ok(handle)
    }

    fn run(&self, listener: tokio::net::TcpListener) -> Result<(), Error> {
        let settings = &self.shared.settings;
        let registry_path = registry::path(&self.shared.directory.master());
        let info =
            mesos::MasterInfo { domain: settings.domain.as_ref().map(super::domain), ..info(self.address) };
        let birth = Birth {
            info: info.clone(),
            timings: settings.timings.clone(),
            roles: settings.roles.clone(),
            registry: registry::load(&registry_path)?,
            seed: rand::random(),
        };
        let (master, inbox) =
            Master::new(birth, self.shared.clock, registry_path, settings.chunking, self.faults.subscribe());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(master.run(stop.clone()));
        let credentials = settings.credentials.clone().into();
        let http = MasterHttp { inbox: inbox.clone(), info, credentials };
        tasks.spawn(server::serve(listener, http, self.mode.subscribe(), stop.clone()));
        self.leader.send_replace(Some(inbox.clone()));
        *self.lock() = Some(Running { inbox, tasks, stop, resume: None });
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the master as a crash does: every stream and every agent's link breaks, its memory is gone.
    pub async fn kill(&self) {
        self.leader.send_replace(None);
        let running = self.lock().take();
        if let Some(mut running) = running {
            running.stop.cancel();
            running.tasks.shutdown().await;
        }
    }

    /// Starts a new master at the same address, with a new id and only the registry of agents.
    pub async fn restart(&self) -> Result<(), Error> {
        self.kill().await;
        let address = self.address;
        let listener = tokio::net::TcpListener::bind(address).await;
        self.run(listener.map_err(|source| Error::Listen { address, source })?)
    }

    /// Replaces what goes wrong; nothing does when there are none. Faults outlast restarts.
    pub fn set_faults(&self, faults: &[Fault]) {
        self.mode.send_replace(faults::mode(faults));
        self.faults.send_replace(faults.to_vec());
    }

    /// Makes its HTTP side behave like a master that starts, does not lead, or does not answer.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Stops (or starts again) sending heartbeats, with streams left open.
    pub fn hold_heartbeats(&self, hold: bool) {
        self.faults.send_modify(|faults| {
            faults.retain(|fault| *fault != Fault::HeldHeartbeats);
            faults.extend(hold.then_some(Fault::HeldHeartbeats));
        });
    }

    /// Breaks the streams of all schedulers.
    pub async fn drop_schedulers(&self) -> Result<(), Error> {
        self.tell(Message::DropSchedulers).await
    }

    /// Puts a record of any content into the streams of all schedulers, such as an event that nobody knows.
    pub async fn inject(&self, record: impl Into<bytes::Bytes>) -> Result<(), Error> {
        self.tell(Message::Inject(record.into())).await
    }

    /// Stops the master's work with all connections open, until `resume`.
    pub async fn stall(&self) -> Result<(), Error> {
        let (resume, until) = oneshot::channel();
        self.tell(Message::Stall(until)).await?;
        if let Some(running) = self.lock().as_mut() {
            running.resume = Some(resume);
        }
        Ok(())
    }

    /// Goes on after `stall`.
    pub fn resume(&self) {
        if let Some(running) = self.lock().as_mut() {
            running.resume = None;
        }
    }

    async fn tell(&self, message: Message) -> Result<(), Error> {
        let inbox = self.lock().as_ref().map(|running| running.inbox.clone());
        match inbox {
            Some(inbox) if inbox.tell(message).await => Ok(()),
            _ => Err(Error::NotRunning("master".into())),
        }
    }

    pub(super) async fn stop(&self) {
        self.kill().await;
    }
}

/// How a master describes itself: a new id with every start.
fn info(address: SocketAddr) -> mesos::MasterInfo {
    use mesos::master_info::capability::Type;
    let capability = |kind: Type| mesos::master_info::Capability { r#type: Some(kind.into()) };
    let ip = match address.ip() {
        IpAddr::V4(ip) => u32::from_le_bytes(ip.octets()),
        IpAddr::V6(_) => 0,
    };
    let port = address.port();
    mesos::MasterInfo {
        id: uuid::Uuid::new_v4().to_string(),
        ip,
        port: u32::from(port),
        pid: Some(format!("master@{address}")),
        hostname: Some(address.ip().to_string()),
        version: Some(VERSION.into()),
        address: Some(mesos::Address {
            hostname: Some(address.ip().to_string()),
            ip: Some(address.ip().to_string()),
            port: i32::from(port),
        }),
        capabilities: [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2]
            .into_iter()
            .map(capability)
            .collect(),
        ..Default::default()
    }
}
