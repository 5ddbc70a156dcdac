//! Starts and stops a cluster: the data directory, the master, the agents.

mod agent;
mod crowd;
mod master;

use crate::clock::Clock;
use crate::directory::Directory;
use crate::error::Error;
use crate::faults::Fault;
use crate::settings::Settings;
use proto::mesos::v1 as mesos;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub use agent::AgentHandle;
pub(crate) use agent::describe;
pub use crowd::{Crowd, Happened};
pub use master::MasterHandle;

/// Region and zone as they go over the wire.
pub(crate) fn domain((region, zone): &(String, String)) -> mesos::DomainInfo {
    mesos::DomainInfo {
        fault_domain: Some(mesos::domain_info::FaultDomain {
            region: mesos::domain_info::fault_domain::RegionInfo { name: region.clone() },
            zone: mesos::domain_info::fault_domain::ZoneInfo { name: zone.clone() },
        }),
    }
}

/// The version that master and agents say they have.
pub(crate) const VERSION: &str = "1.12.0";

/// A running cluster. Dropping it is like `kill -9`: executors live on, and the next start finds them.
#[derive(Debug)]
pub struct Cluster {
    master: MasterHandle,
    agents: Vec<AgentHandle>,
}

/// What master and agents of one cluster share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    directory: Directory,
    clock: Clock,
}

impl Cluster {
    /// Starts everything. What an earlier start left in the data directory goes on.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        if settings.nodes.is_empty() {
            return Err(Error::Settings("a cluster needs at least one node".into()));
        }
        let directory = Directory::open(&settings.data_dir)?;
        let shared = Arc::new(Shared { settings, directory, clock: Clock::start() });
        let (leader, detector) = watch::channel(None);
        let master = MasterHandle::start(shared.clone(), leader).await?;
        let mut agents = Vec::new();
        for index in 0..shared.settings.nodes.len() {
            let agent = AgentHandle::new(shared.clone(), index, detector.clone());
            agent.start().await?;
            agents.push(agent);
        }
        Ok(Self { master, agents })
    }

    /// Where the master listens.
    pub fn master(&self) -> SocketAddr {
        self.master.address()
    }

    /// The master, to make it fail.
    pub fn master_handle(&self) -> &MasterHandle {
        &self.master
    }

    /// The agent with this number, counted from zero, to look at it or to make it fail.
    pub fn agent(&self, index: usize) -> Result<&AgentHandle, Error> {
        self.agents.get(index).ok_or_else(|| Error::NotRunning(format!("agent {}", index + 1)))
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Has the agents come back to a new master one after the other, over this time. Replaces their other faults.
    pub fn spread_returns(&self, over: Duration) {
        let count = u32::try_from(self.agents.len().max(1)).unwrap_or(u32::MAX);
        for (number, agent) in (0_u32..).zip(&self.agents) {
            agent.set_faults(&[Fault::LateReturn(over / count * number)]);
        }
    }

    /// Ends agents and master as `kill -9` of this process does: executors live on.
    pub async fn kill(self) {
        for agent in &self.agents {
            agent.kill().await;
        }
        self.master.kill().await;
    }

    /// Ends every executor, each within its grace period, then agents and master. Nothing is left running.
    pub async fn stop(self) {
        let mut stopping = tokio::task::JoinSet::new();
        for agent in self.agents {
            stopping.spawn(async move { agent.stop().await });
        }
        stopping.join_all().await;
        self.master.stop().await;
    }
}
