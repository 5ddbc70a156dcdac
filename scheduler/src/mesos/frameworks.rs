//! Shows people the frameworks that a master knows, and removes one whose scheduler is gone.
use super::http::{Connection, HttpError};
use super::masters::{Masters, Seek, detect};
use super::outline;
use super::resource::labelled;
use super::{Access, HOPS};
use crate::{Error, access};
use config::settings::MasterAccess;
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::master::{self, call::Type};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATH: &str = "/api/v1";
/// The largest answer that is read.
const ANSWER_MAX: usize = 256 << 20;
/// How long it may take until the leading master is found and has answered for the first time.
const FIND_WITHIN: Duration = Duration::from_secs(30);

/// Why the masters do not say what is asked, or do not do it.
#[derive(Debug, thiserror::Error)]
pub enum FrameworksError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] Error),
    /// No master leads, as far as can be seen.
    #[error("no leading master was found at {masters} within {} s", FIND_WITHIN.as_secs())]
    NoLeader {
        /// Where was looked.
        masters: String,
    },
    /// None of them answers as a master does.
    #[error("reach the masters at {masters}")]
    NotReached {
        /// Where was looked, without credentials.
        masters: String,
        /// What one of them said.
        source: Box<FrameworksError>,
    },
    /// It does not answer, or not so.
    #[error("{why}{}", hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    Refused {
        /// What it said.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl From<HttpError> for FrameworksError {
    fn from(error: HttpError) -> Self {
        let hint = match &error {
            HttpError::Status { status, .. } => match status.as_u16() {
                401 => Some("check --principal and its secret"),
                403 => Some(
                    "the principal needs view_frameworks, get_agents and, to remove one, teardown_framework",
                ),
                _ => None,
            },
            _ => None,
        };
        Self::Refused { why: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

/// Whether a framework lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A scheduler of it is connected.
    Connected,
    /// None is; its executors run on until its failover timeout, if it has one.
    Abandoned,
    /// The master began to lead a while ago, and no scheduler of it has come back since.
    Recovered,
    /// It was removed.
    Completed,
}

/// A framework as the master knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its principal, if it has one.
    pub principal: Option<String>,
    /// How it is.
    pub standing: Standing,
    /// Its executors, each with the host name of its agent.
    pub executors: Vec<(String, String)>,
    /// The hosts of agents on which something is reserved under its name.
    pub reserved_on: Vec<String>,
}

/// The leading master, as operators talk to it.
pub struct Operator {
    address: String,
    access: Access,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Operator {
    /// Finds the leading one of the masters that are written so.
    pub async fn find(masters: &str, settings: &MasterAccess) -> Result<Self, FrameworksError> {
        let access = access::to_masters(&settings.credentials, &settings.master_tls, masters)?;
        let (mut known, election) = Masters::parse(masters).map_err(Error::from)?;
        let stop = CancellationToken::new();
        let mut detecting = JoinSet::new();
        if let Some(election) = election {
            let seek = if access.tls.is_some() { Seek::Name } else { Seek::Address };
            detecting.spawn(detect(election, settings.zk_session_timeout, seek, stop.clone()));
        }
        let found = timeout(FIND_WITHIN, Self::leading(&mut known, access)).await;
        stop.cancel();
        let found = found.map_err(|_| FrameworksError::NoLeader { masters: known.describe() })?;
        found.map_err(|source| FrameworksError::NotReached {
            masters: known.describe(),
            source: Box::new(source),
        })
    }

    /// Tries each master once, and whom they name.
    async fn leading(masters: &mut Masters, access: Access) -> Result<Self, FrameworksError> {
        let mut last = None;
        for _ in 0..masters.places().len().max(1) {
            let mut operator = Self { address: masters.next().await, access: access.clone() };
            for _ in 0..=HOPS {
                match operator.ask(Type::GetMaster).await {
                    Ok(_) => return Ok(operator),
                    Err(HttpError::NotLeader { leader, .. }) => operator.address = leader,
                    Err(error) => {
                        last = Some(error);
                        break;
                    }
                }
            }
        }
        Err(last.map_or_else(|| FrameworksError::NoLeader { masters: masters.describe() }, Into::into))
    }

    /// Which master it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// All frameworks that it knows.
    pub async fn frameworks(&self) -> Result<Vec<Registered>, FrameworksError> {
        let frameworks = self.ask(Type::GetFrameworks).await?.get_frameworks.unwrap_or_default();
        let agents = self.ask(Type::GetAgents).await?.get_agents.unwrap_or_default();
        let executors = self.ask(Type::GetExecutors).await?.get_executors.unwrap_or_default();
        Ok(registered(frameworks, &agents, executors))
    }

    /// Removes a framework: Mesos ends its executors, and its id is dead.
    pub async fn tear_down(&self, framework: &str) -> Result<(), FrameworksError> {
        let framework_id = v1::FrameworkId { value: framework.to_owned() };
        let call = master::Call {
            r#type: Some(Type::Teardown as i32),
            teardown: Some(master::call::Teardown { framework_id }),
            ..master::Call::default()
        };
        self.send(call.encode_to_vec()).await?;
        Ok(())
    }

    async fn ask(&self, what: Type) -> Result<master::Response, HttpError> {
        let call = master::Call { r#type: Some(what as i32), ..master::Call::default() };
        let body = self.send(call.encode_to_vec()).await?;
        outline::response(&body).map_err(|e| HttpError::Broken {
            master: self.address.clone(),
            why: format!("its answer is no protobuf: {e}"),
        })
    }

    async fn send(&self, call: Vec<u8>) -> Result<bytes::Bytes, HttpError> {
        let mut connection = Connection::open(&self.address, self.access.clone()).await?;
        connection.ask(PATH, None, call, ANSWER_MAX).await
    }
}

fn registered(
    frameworks: master::response::GetFrameworks,
    agents: &master::response::GetAgents,
    executors: master::response::GetExecutors,
) -> Vec<Registered> {
    let infos = agents.agents.iter().map(|agent| &agent.agent_info).chain(&agents.recovered_agents);
    let host = |info: &v1::AgentInfo| Some((info.id.as_ref()?.value.clone(), info.hostname.clone()));
    let hosts: BTreeMap<String, String> = infos.filter_map(host).collect();
    let mut running: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for executor in executors.executors.into_iter().chain(executors.orphan_executors) {
        let Some(framework) = executor.executor_info.framework_id else { continue };
        let agent = executor.agent_id.value;
        let on = hosts.get(&agent).cloned().unwrap_or(agent);
        running.entry(framework.value).or_default().push((on, executor.executor_info.executor_id.value));
    }
    let reserved = reserved(agents);
    let of = |info: v1::FrameworkInfo, standing: Standing| {
        let id = info.id?.value;
        Some(Registered {
            executors: running.get(&id).cloned().unwrap_or_default(),
            reserved_on: reserved.get(&info.name).into_iter().flatten().cloned().collect(),
            principal: info.principal,
            name: info.name,
            id,
            standing,
        })
    };
    let live = frameworks.frameworks.into_iter().map(|framework| {
        let standing = match (framework.connected, framework.recovered) {
            (true, _) => Standing::Connected,
            (false, true) => Standing::Recovered,
            (false, false) => Standing::Abandoned,
        };
        (framework.framework_info, standing)
    });
    let recovered = frameworks.recovered_frameworks.into_iter().map(|info| (info, Standing::Recovered));
    let completed =
        frameworks.completed_frameworks.into_iter().map(|f| (f.framework_info, Standing::Completed));
    live.chain(recovered).chain(completed).filter_map(|(info, standing)| of(info, standing)).collect()
}

/// On which hosts something is reserved, by the names of frameworks of this kind.
fn reserved(agents: &master::response::GetAgents) -> BTreeMap<String, BTreeSet<String>> {
    let mut reserved: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for agent in &agents.agents {
        let names =
            agent.total_resources.iter().filter_map(|resource| labelled(resource.reservations.last()?));
        for name in names {
            reserved.entry(name.to_owned()).or_default().insert(agent.agent_info.hostname.clone());
        }
    }
    reserved
}
